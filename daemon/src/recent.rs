//! How long something took, the last times: for those who ask for percentiles, which the buckets of a histogram do not give.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many times are kept (as Mesos keeps them for a timer).
const KEPT: usize = 1_000;

/// The last times. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    /// How many there were at all.
    count: u64,
    /// The newest last.
    last: VecDeque<Duration>,
}

/// What they were like, in order of length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many times there were since the start.
    pub count: u64,
    /// The newest; 0 when there was none.
    pub newest: Duration,
    sorted: Vec<Duration>,
}

impl Recent {
    /// One more time.
    pub fn observe(&self, took: Duration) {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.count += 1;
        if times.last.len() == KEPT {
            times.last.pop_front();
        }
        times.last.push_back(took);
    }

    /// Of the times that are kept.
    pub fn spread(&self) -> Spread {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, newest) = (times.count, times.last.back().copied());
        let mut sorted: Vec<_> = times.last.iter().copied().collect();
        drop(times);
        sorted.sort_unstable();
        Spread {
            count,
            newest: newest.unwrap_or_default(),
            sorted,
        }
    }
}

impl Spread {
    /// The time that this part of all were within, from 0 for the shortest to 1 for the longest; 0 when there was none.
    pub fn within(&self, part: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        let at = (part.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.sorted.get(at).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_last_thousand() {
        let recent = Recent::default();
        assert_eq!(recent.spread(), Spread::default());
        assert_eq!(recent.spread().within(0.5), Duration::ZERO);

        recent.observe(Duration::from_secs(3600));
        for ms in 1..=1_000 {
            recent.observe(Duration::from_millis(ms));
        }

        let spread = recent.spread();
        assert_eq!(spread.count, 1_001);
        assert_eq!(spread.newest, Duration::from_millis(1_000));
        let within = [0.0, 0.5, 0.99, 1.0].map(|part| spread.within(part).as_millis());
        assert_eq!(within, [1, 501, 990, 1_000]);
    }
}
