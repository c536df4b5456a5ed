//! The agents a round looks at for those who take whole agents, in the order they are given away.
//!
//! Clients walk along a line each at its own pace. Finding the next agent that is left takes next to
//! no time however many have dropped out: each place points at or before the next one left, and the
//! pointers are shortened on the way.

use std::collections::BTreeMap;

use mete_model::Resources;

use super::agents::Agents;
use crate::packing::Policy;
use crate::slots::AgentSlot;

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    agents: Vec<AgentSlot>,
    next: Vec<u32>,
    /// All before this place have dropped out: who walks more slowly goes on from here.
    head: u32,
    /// Agents before this place have been brought near.
    near: u32,
}

/// So many agents are brought near together: what a processor keeps close at hand, and enough to wait once for many.
const NEAR: u32 = 32;

impl Line {
    /// `agents` in the order in which a policy gives whole agents away; `before`: what was free on those from which something
    /// was taken since the round began.
    pub(super) fn new(
        agents: &[AgentSlot],
        of: &Agents,
        before: &BTreeMap<AgentSlot, Resources>,
        policy: Policy,
    ) -> Self {
        let end = u32::try_from(agents.len()).expect("slots are u32");
        let agents = if end < 2 {
            agents.to_vec()
        } else {
            let places = agents.iter().map(|&slot| {
                let agent = of.get(slot);
                let free = before.get(&slot).unwrap_or_else(|| agent.free());
                Place::new(whole_rank(policy, free, &agent.facts.total), slot)
            });
            let mut places: Vec<Place> = places.collect();
            places.sort_unstable();
            places.into_iter().map(Place::slot).collect()
        };
        Self {
            next: (0..=end).collect(),
            agents,
            head: 0,
            near: 0,
        }
    }

    /// The first agent left at or after a place, and its place.
    pub(super) fn at_or_after(&mut self, place: u32) -> Option<(u32, AgentSlot)> {
        let from = place.max(self.head);
        let mut place = from;
        loop {
            let after = self.next[place as usize];
            if after == place {
                break;
            }
            self.next[place as usize] = self.next[after as usize];
            place = after;
        }
        if from == self.head {
            self.head = place;
        }
        let agent = *self.agents.get(place as usize)?;
        Some((place, agent))
    }

    /// The agents to be brought near, when whoever walks farthest has come to a place.
    pub(super) fn coming(&mut self, place: u32) -> &[AgentSlot] {
        if place < self.near {
            return &[];
        }
        self.near = place.saturating_add(NEAR);
        let end = self.agents.len().min(self.near as usize);
        self.agents.get(place as usize..end).unwrap_or(&[])
    }

    /// The agent at a place has nothing left.
    pub(super) fn drop_out(&mut self, place: u32) {
        self.next[place as usize] = place + 1;
    }
}

/// An agent's rank and, among those of one rank, its number.
///
/// One number, so that two are compared in one step: a round that looks at all agents sorts them all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u128);

impl Place {
    fn new((gpus_milli, left): Rank, slot: AgentSlot) -> Self {
        // Four parts in millionths at most, so nothing is cut.
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        Self(u128::from(gpus_milli) << 64 | u128::from(left) << 32 | u128::from(slot.number()))
    }

    fn slot(self) -> AgentSlot {
        AgentSlot::from(self.0 as u32)
    }
}

/// How early an agent is given away whole; the lower the earlier, equal ones by number.
pub type Rank = (u64, u64);

/// Agents with idle GPUs come last; then, as parts of the agent in millionths summed over CPUs, memory, disk and GPUs, the
/// most used first (`spread`: the emptiest first; `first-fit`: all are equal).
pub fn whole_rank(policy: Policy, free: &Resources, total: &Resources) -> Rank {
    const WHOLE: u64 = 1_000_000;
    let part = |free: u64, whole: u64| match whole {
        0 => 0,
        whole => (free as f64 / whole as f64 * WHOLE as f64) as u64,
    };
    let left = part(free.cpus_milli, total.cpus_milli)
        + part(free.mem_milli, total.mem_milli)
        + part(free.disk_milli, total.disk_milli)
        + part(free.gpus_milli, total.gpus_milli);
    match policy {
        Policy::FirstFit => (0, 0),
        Policy::Spread => (free.gpus_milli, (4 * WHOLE).saturating_sub(left)),
        Policy::BestFit | Policy::DotProduct | Policy::L2 | Policy::Fgd | Policy::Worth => {
            (free.gpus_milli, left)
        }
    }
}
