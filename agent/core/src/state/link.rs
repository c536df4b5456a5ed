//! The link to the master.
//!
//! ```text
//! Idle ─▶ Opening ─▶ Greeting ─▶ Registered
//!            ▲ │         │           │
//!            │ ▼         ▼           ▼
//!           Waiting ◀──── lost ──────┘         Refused: never again
//! ```
//! Each attempt has a number, so that what an older stream still says is not heard. Waiting is 1 s, doubled at each
//! failure up to 1 min, of which chance takes away up to a half.

use std::time::Duration;

use mete_model::Timestamp;

/// First wait before coming back (Mesos' registration back-off: 1 s doubling to 1 min, random).
pub(crate) const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait before coming back.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A stream that is not open, or a registration not answered, after this long has failed: a busy master with many
/// agents at its door answers within seconds.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Where the agent stands with its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was tried yet: the agent is recovering.
    Idle,
    /// Comes back later.
    Waiting {
        /// Then.
        until: Timestamp,
    },
    /// A stream is being opened.
    Opening {
        /// Given up then.
        until: Timestamp,
    },
    /// The registration has been sent.
    Greeting {
        /// Given up then.
        until: Timestamp,
    },
    /// Admitted.
    Registered {
        /// Since then.
        since: Timestamp,
    },
    /// Refused for good.
    Refused,
}

/// The link and how often it has failed in a row.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    stage: Stage,
    number: u64,
    failures: u32,
}

impl Link {
    pub(crate) const fn new() -> Self {
        Self {
            stage: Stage::Idle,
            number: 0,
            failures: 0,
        }
    }

    pub(crate) const fn stage(&self) -> Stage {
        self.stage
    }

    /// The number of the stream on which the master may be spoken to; `None` when not registered.
    pub(crate) const fn registered(&self) -> Option<u64> {
        match self.stage {
            Stage::Registered { .. } => Some(self.number),
            Stage::Idle
            | Stage::Waiting { .. }
            | Stage::Opening { .. }
            | Stage::Greeting { .. }
            | Stage::Refused => None,
        }
    }

    /// The number of the stream there is now.
    pub(crate) const fn number(&self) -> Option<u64> {
        if self.is_current(self.number) {
            Some(self.number)
        } else {
            None
        }
    }

    /// Whether `number` is the stream there is now.
    pub(crate) const fn is_current(&self, number: u64) -> bool {
        match self.stage {
            Stage::Opening { .. } | Stage::Greeting { .. } | Stage::Registered { .. } => {
                number == self.number
            }
            Stage::Idle | Stage::Waiting { .. } | Stage::Refused => false,
        }
    }

    /// Begins an attempt; its number.
    pub(crate) fn open(&mut self, now: Timestamp) -> u64 {
        self.number += 1;
        self.stage = Stage::Opening {
            until: now + ANSWER_TIMEOUT,
        };
        self.number
    }

    pub(crate) fn greet(&mut self, now: Timestamp) {
        self.stage = Stage::Greeting {
            until: now + ANSWER_TIMEOUT,
        };
    }

    pub(crate) const fn registered_at(&mut self, now: Timestamp) {
        self.failures = 0;
        self.stage = Stage::Registered { since: now };
    }

    /// The stream is gone; waits. `chance`, 0 to 999, takes up to half of the wait away.
    pub(crate) fn lost(&mut self, now: Timestamp, chance: u32) -> Duration {
        let full = FIRST_WAIT
            .saturating_mul(1 << self.failures.min(6))
            .min(LONGEST_WAIT);
        let wait = full - full * chance.min(1_000) / 2_000;
        self.failures = self.failures.saturating_add(1);
        self.stage = Stage::Waiting { until: now + wait };
        wait
    }

    pub(crate) const fn refused(&mut self) {
        self.stage = Stage::Refused;
    }

    pub(crate) const fn deadline(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Waiting { until } | Stage::Opening { until } | Stage::Greeting { until } => {
                Some(until)
            }
            Stage::Idle | Stage::Registered { .. } | Stage::Refused => None,
        }
    }
}
