//! What was declined, by whom, until when.
//!
//! A filter belongs to a framework in one role and one agent. Until it expires, nothing contained in
//! the refused resources is offered there again; an offer with more of anything is (Mesos' rule).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::{Resources, Timestamp};

use crate::slots::{AgentSlot, ClientSlot};

/// The longest filter: 365 days, as in Mesos.
pub const MAX_REFUSAL: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Filters of one framework and role on one agent; beyond that the one that expires first goes. One
/// agent rarely has more than a few offers out, and a lost filter only costs an offer.
const MAX_FILTERS_PER_AGENT: usize = 8;

/// Until when, and a running number, because several may end at one moment.
type End = (Timestamp, u64);

/// All filters. The two maps hold the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    refused: BTreeMap<(ClientSlot, AgentSlot, End), Resources>,
    by_end: BTreeSet<(End, ClientSlot, AgentSlot)>,
    set_so_far: u64,
}

impl Filters {
    pub(crate) fn set(
        &mut self,
        client: ClientSlot,
        agent: AgentSlot,
        refused: Resources,
        until: Timestamp,
    ) {
        let mut covered = Vec::new();
        let (mut count, mut first) = (0, None);
        for (end, earlier) in self.of(client, agent) {
            if earlier.contains(&refused) && end.0 >= until {
                return;
            }
            if refused.contains(earlier) && end.0 <= until {
                covered.push(end);
            } else {
                count += 1;
                first = first.or(Some(end));
            }
        }
        if count >= MAX_FILTERS_PER_AGENT {
            covered.extend(first);
        }
        for end in covered {
            self.drop_one(client, agent, end);
        }
        self.set_so_far += 1;
        let end = (until, self.set_so_far);
        self.refused.insert((client, agent, end), refused);
        self.by_end.insert((end, client, agent));
    }

    pub(crate) fn blocks(&self, client: ClientSlot, agent: AgentSlot, offered: &Resources) -> bool {
        !self.refused.is_empty()
            && self
                .of(client, agent)
                .any(|(_, refused)| refused.contains(offered))
    }

    /// Drops what has ended; the agents that were filtered, each as often as it was.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<AgentSlot> {
        let mut agents = Vec::new();
        while let Some(&(end, client, agent)) = self.by_end.first() {
            if end.0 > now {
                break;
            }
            self.drop_one(client, agent, end);
            agents.push(agent);
        }
        agents
    }

    /// Drops all filters of a framework in one role; whether there were any.
    pub(crate) fn clear_client(&mut self, client: ClientSlot) -> bool {
        let from = (client, AgentSlot::from(0), FIRST_END);
        let to = (client, AgentSlot::from(u32::MAX), LAST_END);
        let ends: Vec<_> = self
            .refused
            .range(from..=to)
            .map(|((_, agent, end), _)| (*agent, *end))
            .collect();
        for &(agent, end) in &ends {
            self.drop_one(client, agent, end);
        }
        !ends.is_empty()
    }

    /// Drops the filters of `client` on one agent.
    pub(crate) fn clear(&mut self, client: ClientSlot, agent: AgentSlot) {
        let ends: Vec<End> = self.of(client, agent).map(|(end, _)| end).collect();
        for end in ends {
            self.drop_one(client, agent, end);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.by_end.first().map(|((until, _), _, _)| *until)
    }

    pub(crate) fn len(&self) -> usize {
        self.refused.len()
    }

    fn of(&self, client: ClientSlot, agent: AgentSlot) -> impl Iterator<Item = (End, &Resources)> {
        self.refused
            .range((client, agent, FIRST_END)..=(client, agent, LAST_END))
            .map(|((_, _, end), refused)| (*end, refused))
    }

    fn drop_one(&mut self, client: ClientSlot, agent: AgentSlot, end: End) {
        self.refused.remove(&(client, agent, end));
        self.by_end.remove(&(end, client, agent));
    }
}

const FIRST_END: End = (Timestamp::EPOCH, 0);
const LAST_END: End = (Timestamp::NEVER, u64::MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn cpus(milli: u64) -> Resources {
        Resources::cpus_mem(milli, 100)
    }

    #[test]
    fn a_filter_ends_at_its_moment_and_not_before() {
        let (client, agent) = (ClientSlot::from(1), AgentSlot::from(2));
        let mut filters = Filters::default();
        filters.set(client, agent, cpus(100), at(5));

        assert!(filters.expire(Timestamp::from_micros(4_999_999)).is_empty());
        assert!(filters.blocks(client, agent, &cpus(100)));
        assert_eq!(filters.expire(at(5)), [agent]);
        assert!(!filters.blocks(client, agent, &cpus(100)));
        assert_eq!(filters.next_deadline(), None);
    }

    #[test]
    fn more_of_anything_passes() {
        let (client, agent) = (ClientSlot::from(1), AgentSlot::from(2));
        let mut filters = Filters::default();
        filters.set(client, agent, cpus(100), at(5));

        assert!(filters.blocks(client, agent, &cpus(99)));
        assert!(!filters.blocks(client, agent, &cpus(101)));
        assert!(!filters.blocks(client, AgentSlot::from(3), &cpus(99)));
        assert!(!filters.blocks(ClientSlot::from(2), agent, &cpus(99)));
    }

    #[test]
    fn filters_of_one_agent_stay_few() {
        let (client, agent) = (ClientSlot::from(1), AgentSlot::from(2));
        let mut filters = Filters::default();
        for n in 0..100 {
            // More CPUs, but an earlier end: none covers another.
            filters.set(client, agent, cpus(n), at(1_000 - n));
        }

        assert_eq!(filters.len(), MAX_FILTERS_PER_AGENT);
        assert_eq!(filters.by_end.len(), MAX_FILTERS_PER_AGENT);
    }
}
