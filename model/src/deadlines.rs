//! What happens by time alone: each thing that waits has at most one moment at which it is over. For a machine that must tell
//! its next deadline after each input, whatever the number of things that wait.
//!
//! ```text
//! moment of each thing ─┐
//!                       ├─ changed together
//! things by moment ─────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::Timestamp;

/// Moments by thing, and things by moment.
#[derive(Clone, Debug)]
pub struct Deadlines<T> {
    moment_of: BTreeMap<T, Timestamp>,
    by_moment: BTreeSet<(Timestamp, T)>,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self {
            moment_of: BTreeMap::new(),
            by_moment: BTreeSet::new(),
        }
    }
}

impl<T: Ord + Clone> Deadlines<T> {
    /// Sets the moment of a thing; the one it had is off.
    pub fn set(&mut self, due: T, at: Timestamp) {
        if let Some(before) = self.moment_of.insert(due.clone(), at) {
            self.by_moment.remove(&(before, due.clone()));
        }
        self.by_moment.insert((at, due));
    }

    /// Calls a thing off.
    pub fn clear(&mut self, due: &T) {
        if let Some((due, at)) = self.moment_of.remove_entry(due) {
            self.by_moment.remove(&(at, due));
        }
    }

    /// Calls everything off.
    pub fn clear_all(&mut self) {
        self.moment_of.clear();
        self.by_moment.clear();
    }

    /// The first moment.
    pub fn next(&self) -> Option<Timestamp> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// Takes the first thing whose moment has come; things of one moment in their own order.
    pub fn pop(&mut self, now: Timestamp) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        let (_, due) = self.by_moment.pop_first()?;
        self.moment_of.remove(&due);
        Some(due)
    }

    /// Takes all things whose moment has come.
    pub fn pop_all(&mut self, now: Timestamp) -> Vec<T> {
        std::iter::from_fn(|| self.pop(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_has_one_moment_the_last_one_set() {
        let mut deadlines = Deadlines::default();
        let at = Timestamp::from_millis;
        deadlines.set("offer", at(1_000));
        deadlines.set("ping", at(2_000));
        deadlines.set("offer", at(3_000));

        assert_eq!(deadlines.pop(at(2_500)), Some("ping"));
        assert_eq!(deadlines.pop(at(2_500)), None);
        deadlines.clear(&"offer");
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_its_time() {
        let mut deadlines = Deadlines::default();
        let at = Timestamp::from_millis;
        for (thing, moment) in [("c", 1), ("b", 2), ("a", 2), ("d", 4)] {
            deadlines.set(thing, at(moment));
        }

        assert_eq!(deadlines.pop_all(at(3)), ["c", "a", "b"]);
        assert_eq!(deadlines.next(), Some(at(4)));
        deadlines.clear_all();
        assert_eq!(deadlines.next(), None);
    }
}
