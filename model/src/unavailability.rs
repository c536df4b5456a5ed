//! When a machine will not be there: what maintenance announces and offers carry.

use std::time::Duration;

use crate::machine::Timestamp;

/// A span of time in which a machine is planned to be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unavailability {
    /// When it begins; it may lie in the past.
    pub start: Timestamp,
    /// How long it takes; `None`: for good.
    pub duration: Option<Duration>,
}
