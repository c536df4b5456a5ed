//! Who is next: shares counted anew; equal ones in turn.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{Resources, Role};

use super::{Client, Naive};

/// When whom was served last, or came.
#[derive(Clone, Default)]
pub(super) struct Turns {
    last: u64,
    clients: BTreeMap<Client, u64>,
    /// Of the role, and of the role's own frameworks.
    roles: BTreeMap<Role, (u64, u64)>,
}

/// The dominant share of all that some clients hold.
type ShareOf<'a> = &'a dyn Fn(&dyn Fn(&Client) -> bool) -> f64;

fn ancestors(role: &Role) -> Vec<Role> {
    let mut path: Vec<Role> = std::iter::successors(Some(role.clone()), Role::parent).collect();
    path.reverse();
    path
}

impl Turns {
    /// A client was served.
    pub(super) fn served(&mut self, client: &Client) {
        self.last += 1;
        self.clients.insert(client.clone(), self.last);
        for role in ancestors(&client.1) {
            let turns = self.roles.get_mut(&role).expect("it has a framework");
            turns.0 = self.last;
            if role == client.1 {
                turns.1 = self.last;
            }
        }
    }

    fn come(&mut self, role: &Role) {
        for role in ancestors(role) {
            if !self.roles.contains_key(&role) {
                self.last += 1;
                self.roles.insert(role, (self.last, self.last));
            }
        }
    }
}

impl Naive {
    /// All that there are: in roles that frameworks have, or in which they hold something.
    pub(crate) fn clients(&self) -> BTreeSet<Client> {
        let held = self.agents().flat_map(|(_, agent)| agent.held());
        let mut clients: BTreeSet<Client> = held.map(|(client, _)| client.clone()).collect();
        for (id, framework) in &self.frameworks {
            let roles = framework.roles.keys();
            clients.extend(roles.map(|role| (id.clone(), role.clone())));
        }
        clients
    }

    /// Gives those who came a turn, and forgets those who went.
    pub(super) fn settle(&mut self) {
        let clients = self.clients();
        for client in &clients {
            self.frameworks.entry(client.0.clone()).or_default();
        }
        for (id, framework) in &mut self.frameworks {
            framework
                .wishes
                .retain(|role, _| clients.contains(&(id.clone(), role.clone())));
        }
        self.frameworks
            .retain(|id, framework| framework.known || clients.iter().any(|(of, _)| of == id));
        self.turns
            .clients
            .retain(|client, _| clients.contains(client));
        let mut roles: BTreeSet<Role> = clients.iter().map(|client| client.1.clone()).collect();
        roles.extend(self.weights.keys().cloned());
        roles.extend(self.limits.keys().cloned());
        roles.extend(self.guarantees.keys().cloned());
        let roles: BTreeSet<Role> = roles.iter().flat_map(ancestors).collect();
        self.turns.roles.retain(|role, _| roles.contains(role));
        for client in clients {
            self.turns.come(&client.1);
            if !self.turns.clients.contains_key(&client) {
                self.turns.last += 1;
                let turn = self.turns.last;
                self.turns.clients.insert(client, turn);
            }
        }
        for role in roles {
            self.turns.come(&role);
        }
    }

    fn in_line(&self, client: &Client) -> bool {
        self.frameworks.get(&client.0).is_some_and(|framework| {
            let wants_something = match framework.wishes.get(&client.1) {
                None => true,
                Some(wishes) => wishes.iter().any(|wish| wish.open() > 0),
            };
            framework.active && framework.roles.get(&client.1) == Some(&false) && wants_something
        })
    }

    /// All clients in line, the next to be served first.
    pub(super) fn fair_order(&self) -> Vec<Client> {
        let mut held: BTreeMap<Client, Resources> = BTreeMap::new();
        for (client, more) in self.agents().flat_map(|(_, agent)| agent.held()) {
            held.entry(client.clone()).or_default().add(&more.flat());
        }
        let total = self.total();
        self.order_below(None, &|counts| {
            let mut sum = Resources::none();
            for (client, held) in &held {
                if counts(client) {
                    sum.add(held);
                }
            }
            sum.dominant_share(&total)
        })
    }

    fn order_below(&self, below: Option<&Role>, share: ShareOf<'_>) -> Vec<Client> {
        let mut groups: Vec<((f64, u64), Vec<Client>)> = Vec::new();
        for (role, turns) in &self.turns.roles {
            if role.parent().as_ref() == below {
                let weight = self.weights.get(role).copied().unwrap_or(1_000);
                let share_of_role = share(&|client| client.1.is_within(role));
                let share_of_role = share_of_role / (f64::from(weight) / 1e3);
                let clients = self.order_below(Some(role), share);
                groups.push(((share_of_role, turns.0), clients));
            }
        }
        if let Some(role) = below {
            let of_role = self
                .turns
                .clients
                .iter()
                .filter(|(client, _)| client.1 == *role && self.in_line(client));
            let mut own: Vec<((f64, u64), Client)> = of_role
                .map(|(client, turn)| ((share(&|holder| holder == client), *turn), client.clone()))
                .collect();
            own.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("numbers"));
            let key = (share(&|client| client.1 == *role), self.turns.roles[role].1);
            groups.push((key, own.into_iter().map(|(_, client)| client).collect()));
        }
        groups.retain(|(_, clients)| !clients.is_empty());
        groups.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("numbers"));
        groups
            .into_iter()
            .flat_map(|(_, clients)| clients)
            .collect()
    }
}
