//! The definition of a round: the first client in fair order that may have something gets it; again,
//! until nobody may.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{Resources, Timestamp};
use mete_placement::Grant;
use mete_placement::allocator::whole_rank;

use super::{Client, Naive, exclusive};

/// What a round remembers of its beginning and of what it did.
struct Round {
    /// What was free when it began, by slot.
    free: BTreeMap<usize, Resources>,
    /// Who was given which agent whole.
    took: BTreeSet<(Client, usize)>,
    grants: Vec<Grant>,
    /// Where in `grants` the tasks of a client on an agent are.
    aimed: BTreeMap<(Client, usize), usize>,
}

/// What one client is given.
struct Given {
    slot: usize,
    resources: Resources,
    /// For which of its wishes.
    wish: Option<usize>,
}

impl Naive {
    pub(crate) fn round(&mut self, now: Timestamp) -> Vec<Grant> {
        self.filters.retain(|filter| filter.until > now);
        let mut round = Round {
            free: self
                .agents()
                .map(|(slot, agent)| (slot, agent.free()))
                .collect(),
            took: BTreeSet::new(),
            grants: Vec::new(),
            aimed: BTreeMap::new(),
        };
        while let Some((client, given)) = self.next_grant(&round) {
            self.grant(client, given, &mut round);
        }
        round.grants
    }

    fn next_grant(&self, round: &Round) -> Option<(Client, Given)> {
        self.fair_order().into_iter().find_map(|client| {
            let given = if self.frameworks[&client.0].wishes.contains_key(&client.1) {
                self.aimed(&client)
            } else {
                self.silent(&client, round)
            };
            Some((client, given?))
        })
    }

    /// The first agent that the client may have, in the order they stood in when the round began; none twice.
    fn silent(&self, client: &Client, round: &Round) -> Option<Given> {
        let policy = self.policy(client);
        let mut slots: Vec<usize> = self.agents().map(|(slot, _)| slot).collect();
        slots.sort_by_key(|slot| {
            let total = &self.agent(*slot).facts.total;
            (whole_rank(policy, &round.free[slot], total), *slot)
        });
        let room = self.room(&client.1);
        let is_new = |slot: &usize| !round.took.contains(&(client.clone(), *slot));
        slots.into_iter().filter(is_new).find_map(|slot| {
            let resources = self.whole(client, slot, &room)?;
            Some(Given {
                slot,
                resources,
                wish: None,
            })
        })
    }

    /// The best place for one task of the first shape that has any: where it prefers, else anywhere; of these where
    /// something is reserved for it, else anywhere.
    fn aimed(&self, client: &Client) -> Option<Given> {
        let room = self.room(&client.1);
        let wishes = &self.frameworks[&client.0].wishes[&client.1];
        let open = wishes
            .iter()
            .enumerate()
            .filter(|(_, wish)| wish.open() > 0);
        for (at, wish) in open {
            let places: Vec<(usize, Resources)> = self
                .agents()
                .filter_map(|(slot, _)| Some((slot, self.unit(client, wish, slot, &room)?)))
                .collect();
            let best = |reserved: bool, preferred: bool| {
                let prefers = |slot: usize| wish.shape.prefers(self.agent(slot).place());
                places
                    .iter()
                    .filter(|(slot, unit)| {
                        unit.has_parts() == reserved && (!preferred || prefers(*slot))
                    })
                    .min_by_key(|(slot, _)| (self.score(client, &wish.shape, *slot), *slot))
            };
            let order = [(true, true), (false, true), (true, false), (false, false)];
            let found = order
                .into_iter()
                .find_map(|(reserved, preferred)| best(reserved, preferred));
            if let Some((slot, unit)) = found {
                return Some(Given {
                    slot: *slot,
                    resources: unit.clone(),
                    wish: Some(at),
                });
            }
        }
        None
    }

    fn grant(&mut self, client: Client, given: Given, round: &mut Round) {
        let Given {
            slot,
            resources,
            wish,
        } = given;
        let booked = exclusive(&resources);
        let agent = self.agent_mut(slot);
        if !booked.is_empty() {
            let offered = agent.offered.entry(client.clone()).or_default();
            offered.add(&booked);
        }
        let id = agent.id.clone();
        self.turns.served(&client);
        let grants = &mut round.grants;
        let Some(at) = wish else {
            round.took.insert((client.clone(), slot));
            grants.push(new_grant(&client, id, resources));
            return;
        };
        self.units_granted += 1;
        let framework = self.frameworks.get_mut(&client.0).expect("it is in line");
        let wish = &mut framework.wishes.get_mut(&client.1).expect("it has some")[at];
        wish.offer(slot);
        let place = *round
            .aimed
            .entry((client.clone(), slot))
            .or_insert_with(|| {
                grants.push(new_grant(&client, id, Resources::none()));
                grants.len() - 1
            });
        let grant = &mut grants[place];
        grant.resources.add(&resources);
        match grant.units.iter_mut().find(|(id, _)| *id == wish.id) {
            Some((_, units)) => *units += 1,
            None => grant.units.push((wish.id, 1)),
        }
    }
}

fn new_grant(client: &Client, agent: mete_model::AgentId, resources: Resources) -> Grant {
    Grant {
        framework: client.0.clone(),
        role: client.1.clone(),
        agent,
        resources,
        units: Vec::new(),
    }
}
