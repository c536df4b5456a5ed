//! Agents as the allocator sees them: what is there, who holds it, what is left.
//!
//! Invariants: `used` is what `held` adds up to; `free` is `total` less `used`, nothing where that is
//! negative; an agent is in `ranking` exactly when it may be offered and has enough left to be worth
//! it; `touched` agents are those where something came free since a round looked at them.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{AgentId, Attributes, Resources};

use crate::packing::{Packing, Policy, Score};
use crate::quota::is_allocatable;
use crate::slots::{AgentSlot, ClientSlot, Slots};
use crate::sums::Sums;

/// One agent.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) total: Resources,
    used: Resources,
    pub(super) free: Resources,
    attributes: Attributes,
    offerable: bool,
    touched: bool,
    rank: Option<Score>,
    pub(super) held: Vec<(ClientSlot, Resources)>,
}

/// An agent's place in the order in which agents are given away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    score: Score,
    id: AgentId,
    pub(super) agent: AgentSlot,
}

/// All agents.
#[derive(Clone, Debug)]
pub(super) struct Agents {
    policy: Policy,
    slots: Slots<AgentSlot, Agent>,
    by_id: BTreeMap<AgentId, AgentSlot>,
    ranking: BTreeSet<Place>,
    touched: Vec<AgentSlot>,
    /// Free on agents that may be offered.
    free: Sums,
    /// By client: on how many agents it holds something.
    holdings: Vec<u32>,
}

impl Agents {
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            slots: Slots::default(),
            by_id: BTreeMap::new(),
            ranking: BTreeSet::new(),
            touched: Vec::new(),
            free: Sums::default(),
            holdings: Vec::new(),
        }
    }

    pub(super) fn find(&self, id: &AgentId) -> Option<AgentSlot> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, slot: AgentSlot) -> &Agent {
        &self.slots[slot]
    }

    pub(super) fn add(&mut self, id: AgentId, total: Resources, attributes: Attributes) {
        let slot = self.slots.insert(Agent {
            id: id.clone(),
            total: total.clone(),
            used: Resources::none(),
            free: Resources::none(),
            attributes,
            offerable: true,
            touched: false,
            rank: None,
            held: Vec::new(),
        });
        self.by_id.insert(id, slot);
        self.set_free(slot, total);
    }

    /// Sets what an agent has in all; the total it had.
    pub(super) fn resize(&mut self, slot: AgentSlot, total: Resources) -> Resources {
        let agent = &mut self.slots[slot];
        let before = std::mem::replace(&mut agent.total, total);
        let free = agent.total.minus_at_most(&agent.used);
        self.set_free(slot, free);
        before
    }

    /// Sets what an agent says of itself; whether that is new.
    pub(super) fn describe(&mut self, slot: AgentSlot, attributes: Attributes) -> bool {
        let agent = &mut self.slots[slot];
        let changed = agent.attributes != attributes;
        agent.attributes = attributes;
        if changed {
            self.touch(slot);
        }
        changed
    }

    pub(super) fn set_offerable(&mut self, slot: AgentSlot, offerable: bool) {
        let agent = &mut self.slots[slot];
        if agent.offerable == offerable {
            return;
        }
        let free = agent.free.clone();
        self.set_free(slot, Resources::none());
        self.slots[slot].offerable = offerable;
        self.set_free(slot, free);
    }

    /// Forgets an agent on which nobody holds anything any more; what it had in all.
    pub(super) fn remove(&mut self, slot: AgentSlot) -> Resources {
        self.set_free(slot, Resources::none());
        self.touched.retain(|touched| *touched != slot);
        match self.slots.remove(slot) {
            Some(agent) => {
                debug_assert!(agent.held.is_empty(), "all was put back before");
                self.by_id.remove(&agent.id);
                agent.total
            }
            None => Resources::none(),
        }
    }

    /// A client takes something, whether it is free or not.
    pub(super) fn take(&mut self, slot: AgentSlot, client: ClientSlot, part: &Resources) {
        if part.is_empty() {
            return;
        }
        let agent = &mut self.slots[slot];
        agent.used.add(part);
        match agent.held.iter_mut().find(|(who, _)| *who == client) {
            Some((_, held)) => held.add(part),
            None => {
                agent.held.push((client, part.clone()));
                let at = usize::from(client);
                if self.holdings.len() <= at {
                    self.holdings.resize(at + 1, 0);
                }
                self.holdings[at] += 1;
            }
        }
        let free = if agent.free == *part {
            Resources::none()
        } else {
            agent.free.minus_at_most(part)
        };
        self.set_free(slot, free);
    }

    /// A client gives back as much of `part` as it holds; that much.
    pub(super) fn put_back(
        &mut self,
        slot: AgentSlot,
        client: ClientSlot,
        part: &Resources,
    ) -> Option<Resources> {
        let agent = &mut self.slots[slot];
        let at = agent.held.iter().position(|(who, _)| *who == client)?;
        let held = &mut agent.held[at].1;
        let left = held.minus_at_most(part);
        let part = held.minus_at_most(&left);
        *held = left;
        if held.is_empty() {
            agent.held.swap_remove(at);
            self.holdings[usize::from(client)] -= 1;
        }
        agent.used = agent.used.minus_at_most(&part);
        let free = agent.total.minus_at_most(&agent.used);
        self.set_free(slot, free);
        Some(part)
    }

    /// On how many agents a client holds something.
    pub(super) fn holdings(&self, client: ClientSlot) -> u32 {
        self.holdings.get(usize::from(client)).copied().unwrap_or(0)
    }

    /// What a client holds on an agent.
    pub(super) fn held_by(&self, slot: AgentSlot, client: ClientSlot) -> Option<&Resources> {
        let held = &self.slots.get(slot)?.held;
        held.iter()
            .find(|(who, _)| *who == client)
            .map(|(_, held)| held)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = AgentSlot> {
        self.slots.iter().map(|(slot, _)| slot)
    }

    /// The next round looks at this agent for everybody.
    pub(super) fn touch(&mut self, slot: AgentSlot) {
        let agent = &mut self.slots[slot];
        if !std::mem::replace(&mut agent.touched, true) {
            self.touched.push(slot);
        }
    }

    pub(super) const fn is_any_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    pub(super) fn is_any_ranked(&self) -> bool {
        !self.ranking.is_empty()
    }

    pub(super) const fn free(&self) -> &Sums {
        &self.free
    }

    /// Takes up to `most` agents with something to give, best first, and whether each is touched:
    /// those that are touched, or all. What is beyond `most` is touched for the next round.
    pub(super) fn line_up(&mut self, all: bool, most: usize) -> Vec<(AgentSlot, bool)> {
        let mut line: Vec<(AgentSlot, bool)> = if all {
            self.ranking
                .iter()
                .map(|place| (place.agent, self.slots[place.agent].touched))
                .collect()
        } else {
            let mut places: Vec<Place> = self
                .touched
                .iter()
                .filter_map(|slot| self.slots[*slot].place(*slot))
                .collect();
            places.sort_unstable();
            places
                .into_iter()
                .map(|place| (place.agent, true))
                .collect()
        };
        for slot in std::mem::take(&mut self.touched) {
            self.slots[slot].touched = false;
        }
        let beyond = line.split_off(line.len().min(most));
        for (slot, _) in beyond {
            self.touch(slot);
        }
        line
    }

    /// Sets what is free on an agent, and with it the agent's rank.
    fn set_free(&mut self, slot: AgentSlot, free: Resources) {
        let agent = &mut self.slots[slot];
        let grew = !agent.free.contains(&free);
        if agent.offerable {
            self.free.remove(&agent.free);
            self.free.add(&free);
        }
        agent.free = free;
        let rank = (agent.offerable && is_allocatable(&agent.free)).then(|| {
            self.policy
                .score(&Resources::none(), &agent.free, &agent.total)
        });
        if rank != agent.rank {
            if let Some(place) = agent.place(slot) {
                self.ranking.remove(&place);
            }
            agent.rank = rank;
            if let Some(place) = agent.place(slot) {
                self.ranking.insert(place);
            }
        }
        if grew && rank.is_some() {
            self.touch(slot);
        }
    }
}

impl Agent {
    fn place(&self, agent: AgentSlot) -> Option<Place> {
        Some(Place {
            score: self.rank?,
            id: self.id.clone(),
            agent,
        })
    }
}
