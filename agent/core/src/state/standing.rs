//! What the master has made of the agent, as it has last said it. Not on disk: it says so again after each registration.

use std::time::Duration;

use mete_model::{Resources, Timestamp};

/// How the agent stands with its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it has, what was reserved and made volumes at run time as such.
    pub resources: Resources,
    /// How it drains, while it does.
    pub drain: Option<Drain>,
}

/// How the agent drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Since when.
    pub since: Timestamp,
    /// The longest grace period that tasks have; `None`: each has its own.
    pub max_grace: Option<Duration>,
    /// When the last task is over, the agent is marked gone.
    pub mark_gone: bool,
}
