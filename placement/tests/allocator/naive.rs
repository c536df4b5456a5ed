//! An allocator that is obviously right: plain tables, everything computed anew for each grant.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{AgentId, FrameworkId, Resources, Role, Timestamp};
use mete_placement::packing::Packing;
use mete_placement::quota::is_allocatable;
use mete_placement::{Amounts, Grant, Policy};

pub(crate) type Client = (FrameworkId, Role);

#[derive(Clone, Default)]
pub(crate) struct Framework {
    pub(crate) known: bool,
    pub(crate) active: bool,
    /// Its roles, and whether they are suppressed.
    pub(crate) roles: BTreeMap<Role, bool>,
}

#[derive(Clone)]
pub(crate) struct Filter {
    pub(crate) client: Client,
    pub(crate) agent: AgentId,
    pub(crate) refused: Resources,
    pub(crate) until: Timestamp,
}

#[derive(Clone, Default)]
pub(crate) struct Naive {
    pub(crate) policy: Policy,
    /// Total, and whether it may be offered.
    pub(crate) agents: BTreeMap<AgentId, (Resources, bool)>,
    pub(crate) frameworks: BTreeMap<FrameworkId, Framework>,
    pub(crate) held: BTreeMap<(AgentId, Client), Resources>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) weights: BTreeMap<Role, u32>,
    pub(crate) limits: BTreeMap<Role, Amounts>,
    pub(crate) guarantees: BTreeMap<Role, Amounts>,
    turns: u64,
    client_turns: BTreeMap<Client, u64>,
    /// Of the role, and of the role's own frameworks.
    role_turns: BTreeMap<Role, (u64, u64)>,
}

fn ancestors(role: &Role) -> Vec<Role> {
    let mut path: Vec<Role> = std::iter::successors(Some(role.clone()), Role::parent).collect();
    path.reverse();
    path
}

fn stated(amounts: &Amounts) -> Vec<(String, u64)> {
    let main = [
        ("cpus", amounts.cpus_milli),
        ("mem", amounts.mem_bytes),
        ("disk", amounts.disk_bytes),
        ("gpus", amounts.gpus_milli),
    ];
    main.into_iter()
        .filter_map(|(name, amount)| Some((name.to_owned(), amount?)))
        .chain(amounts.other.iter().map(|(name, n)| (name.to_string(), *n)))
        .collect()
}

fn get(resources: &Resources, name: &str) -> u64 {
    match name {
        "cpus" => resources.cpus_milli,
        "mem" => resources.mem_bytes,
        "disk" => resources.disk_bytes,
        "gpus" => resources.gpus_milli,
        other => resources.other(other),
    }
}

fn cap(resources: &mut Resources, name: &str, most: u64) {
    match name {
        "cpus" => resources.cpus_milli = resources.cpus_milli.min(most),
        "mem" => resources.mem_bytes = resources.mem_bytes.min(most),
        "disk" => resources.disk_bytes = resources.disk_bytes.min(most),
        "gpus" => resources.gpus_milli = resources.gpus_milli.min(most),
        other => resources.set_other(other, resources.other(other).min(most)),
    }
}

impl Naive {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            ..Self::default()
        }
    }

    pub(crate) fn total(&self) -> Resources {
        let mut sum = Resources::none();
        self.agents.values().for_each(|(total, _)| sum.add(total));
        sum.ports = mete_model::Ranges::new();
        sum
    }

    pub(crate) fn sum(&self, counts: impl Fn(&AgentId, &Client) -> bool) -> Resources {
        let mut sum = Resources::none();
        for ((agent, client), held) in &self.held {
            if counts(agent, client) {
                sum.add(held);
            }
        }
        sum.ports = mete_model::Ranges::new();
        sum
    }

    pub(crate) fn free(&self, agent: &AgentId) -> Resources {
        let mut used = Resources::none();
        for ((on, _), held) in &self.held {
            if on == agent {
                used.add(held);
            }
        }
        self.agents[agent].0.minus_at_most(&used)
    }

    fn is_client(&self, client: &Client) -> bool {
        let known = self.frameworks.get(&client.0);
        known.is_some_and(|framework| framework.roles.contains_key(&client.1))
            || self.held.keys().any(|(_, holder)| holder == client)
    }

    fn in_line(&self, client: &Client) -> bool {
        self.frameworks.get(&client.0).is_some_and(|framework| {
            framework.active && framework.roles.get(&client.1) == Some(&false)
        })
    }

    /// Gives those who came a turn, and forgets the turns of those who went.
    pub(crate) fn settle(&mut self) {
        self.held.retain(|_, held| !held.is_empty());
        let holders: BTreeSet<FrameworkId> = self
            .held
            .keys()
            .map(|(_, client)| client.0.clone())
            .collect();
        self.frameworks
            .retain(|id, framework| framework.known || holders.contains(id));
        for id in holders {
            self.frameworks.entry(id).or_default();
        }
        let mut clients: BTreeSet<Client> = self.held.keys().map(|(_, c)| c.clone()).collect();
        for (id, framework) in &self.frameworks {
            clients.extend(
                framework
                    .roles
                    .keys()
                    .map(|role| (id.clone(), role.clone())),
            );
        }
        self.client_turns
            .retain(|client, _| clients.contains(client));
        let mut roles: BTreeSet<Role> = clients.iter().map(|client| client.1.clone()).collect();
        roles.extend(self.weights.keys().cloned());
        roles.extend(self.limits.keys().cloned());
        roles.extend(self.guarantees.keys().cloned());
        roles = roles.iter().flat_map(ancestors).collect();
        self.role_turns.retain(|role, _| roles.contains(role));
        for client in clients {
            self.ensure_role(&client.1);
            if !self.client_turns.contains_key(&client) {
                self.turns += 1;
                self.client_turns.insert(client, self.turns);
            }
        }
        for role in roles {
            self.ensure_role(&role);
        }
        let served: Vec<bool> = self
            .filters
            .iter()
            .map(|f| {
                let framework = self.frameworks.get(&f.client.0);
                self.agents.contains_key(&f.agent)
                    && framework.is_some_and(|framework| {
                        framework.active && framework.roles.contains_key(&f.client.1)
                    })
            })
            .collect();
        let mut served = served.into_iter();
        self.filters.retain(|_| served.next() == Some(true));
    }

    fn ensure_role(&mut self, role: &Role) {
        for role in ancestors(role) {
            if !self.role_turns.contains_key(&role) {
                self.turns += 1;
                self.role_turns.insert(role, (self.turns, self.turns));
            }
        }
    }

    /// All clients in line, the next to be served first.
    fn fair_order(&self, below: Option<&Role>) -> Vec<Client> {
        let total = self.total();
        let mut groups: Vec<((f64, u64, u8), Vec<Client>)> = Vec::new();
        for (role, turns) in &self.role_turns {
            if role.parent().as_ref() == below {
                let held = self.sum(|_, client| client.1.is_within(role));
                let weight = self.weights.get(role).copied().unwrap_or(1_000);
                let share = held.dominant_share(&total) / (f64::from(weight) / 1e3);
                groups.push(((share, turns.0, 1), self.fair_order(Some(role))));
            }
        }
        if let Some(role) = below {
            let mut own: Vec<((f64, u64), Client)> = Vec::new();
            for (client, turn) in &self.client_turns {
                if client.1 == *role && self.in_line(client) {
                    let held = self.sum(|_, holder| holder == client);
                    own.push(((held.dominant_share(&total), *turn), client.clone()));
                }
            }
            own.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("numbers"));
            let held = self.sum(|_, client| client.1 == *role);
            let key = (held.dominant_share(&total), self.role_turns[role].1, 0);
            groups.push((key, own.into_iter().map(|(_, client)| client).collect()));
        }
        groups.retain(|(_, clients)| !clients.is_empty());
        groups.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("numbers"));
        groups
            .into_iter()
            .flat_map(|(_, clients)| clients)
            .collect()
    }

    /// As much of `free` as the client's role may have.
    fn cut(&self, client: &Client, free: &Resources) -> Resources {
        let top = client.1.top_level();
        let held = |role: &Role| self.sum(|_, client| client.1.is_within(role));
        let mut part = free.clone();
        if let Some(limit) = self.limits.get(&top) {
            for (name, most) in stated(limit) {
                cap(
                    &mut part,
                    &name,
                    most.saturating_sub(get(&held(&top), &name)),
                );
            }
        }
        let mut required: BTreeMap<String, u64> = BTreeMap::new();
        let mut own: BTreeMap<String, u64> = BTreeMap::new();
        for (role, guarantee) in &self.guarantees {
            for (name, amount) in stated(guarantee) {
                let unmet = amount.saturating_sub(get(&held(role), &name));
                *required.entry(name.clone()).or_default() += unmet;
                if *role == top {
                    own.insert(name, unmet);
                }
            }
        }
        for (name, required) in required.into_iter().filter(|(_, required)| *required > 0) {
            let free: u64 = self
                .agents
                .iter()
                .filter(|(_, (_, offerable))| *offerable)
                .map(|(agent, _)| get(&self.free(agent), &name))
                .sum();
            let most = free.saturating_sub(required) + own.get(&name).copied().unwrap_or(0);
            cap(&mut part, &name, most);
        }
        part
    }

    /// The definition of a round: the agents in the order they had at its start; the first client in
    /// fair order that may have something of one gets it; again until nobody may.
    pub(crate) fn round(&mut self, now: Timestamp) -> Vec<Grant> {
        self.filters.retain(|filter| filter.until > now);
        let mut agents: Vec<_> = self
            .agents
            .iter()
            .map(|(agent, (total, _))| {
                let free = self.free(agent);
                (
                    self.policy.score(&Resources::none(), &free, total),
                    agent.clone(),
                )
            })
            .collect();
        agents.sort();
        let mut grants = Vec::new();
        while let Some(grant) = self.next_grant(&agents) {
            let client = (grant.framework.clone(), grant.role.clone());
            let held = self.held.entry((grant.agent.clone(), client.clone()));
            held.or_default().add(&grant.resources);
            self.turns += 1;
            self.client_turns.insert(client, self.turns);
            for role in ancestors(&grant.role) {
                let turns = self.role_turns.get_mut(&role).expect("it has a framework");
                turns.0 = self.turns;
                if role == grant.role {
                    turns.1 = self.turns;
                }
            }
            grants.push(grant);
        }
        grants
    }

    fn next_grant<S>(&self, agents: &[(S, AgentId)]) -> Option<Grant> {
        for client in self.fair_order(None) {
            debug_assert!(self.is_client(&client));
            for (_, agent) in agents {
                if !self.agents[agent].1 {
                    continue;
                }
                let free = self.free(agent);
                if !is_allocatable(&free) {
                    continue;
                }
                let part = self.cut(&client, &free);
                let is_filtered = self.filters.iter().any(|filter| {
                    filter.client == client
                        && filter.agent == *agent
                        && filter.refused.contains(&part)
                });
                if is_allocatable(&part) && !is_filtered {
                    return Some(Grant {
                        framework: client.0,
                        role: client.1,
                        agent: agent.clone(),
                        resources: part,
                    });
                }
            }
        }
        None
    }
}
