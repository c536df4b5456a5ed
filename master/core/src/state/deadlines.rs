//! What happens by time alone: each thing that waits has at most one moment at which it is over.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{AgentId, FrameworkId, OfferId, TaskKey, Timestamp};

/// What is over, or to be done again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The next ping of a connected agent; the last one should be answered by now.
    Ping(AgentId),
    /// A disconnected agent, or one known from before the restart, should be back by now.
    Return(AgentId),
    /// An agent has been unreachable so long that it is forgotten.
    Forget(AgentId),
    /// A framework that is away should be back by now.
    Failover(FrameworkId),
    /// An offer has been on the table long enough.
    Offer(OfferId),
    /// A task that was to be killed should have ended by now, or is to be killed because its agent drains.
    Kill(TaskKey),
}

/// Moments by thing, and things by moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    moment_of: BTreeMap<Due, Timestamp>,
    by_moment: BTreeSet<(Timestamp, Due)>,
}

impl Deadlines {
    /// Sets the moment of a thing; the one it had is off.
    pub(crate) fn set(&mut self, due: Due, at: Timestamp) {
        if let Some(before) = self.moment_of.insert(due.clone(), at) {
            self.by_moment.remove(&(before, due.clone()));
        }
        self.by_moment.insert((at, due));
    }

    /// Calls a thing off.
    pub(crate) fn clear(&mut self, due: &Due) {
        if let Some((due, at)) = self.moment_of.remove_entry(due) {
            self.by_moment.remove(&(at, due));
        }
    }

    /// The first moment.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// Takes the first thing whose moment has come.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        let (_, due) = self.by_moment.pop_first()?;
        self.moment_of.remove(&due);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_has_one_moment_the_last_one_set() {
        let mut deadlines = Deadlines::default();
        let at = Timestamp::from_secs_f64;
        let offer = Due::Offer(OfferId::new("o").expect("good"));
        let ping = Due::Ping(AgentId::new("a").expect("good"));
        deadlines.set(offer.clone(), at(1.0).expect("good"));
        deadlines.set(ping.clone(), at(2.0).expect("good"));
        deadlines.set(offer.clone(), at(3.0).expect("good"));

        assert_eq!(deadlines.pop(at(2.5).expect("good")), Some(ping));
        assert_eq!(deadlines.pop(at(2.5).expect("good")), None);
        deadlines.clear(&offer);
        assert_eq!(deadlines.next(), None);
    }
}
