//! What "healthy" means for a task: a probe, its rhythm, and how many failures are too many. And checks, from whose answers
//! nothing follows.

use std::time::Duration;

use crate::container::CommandSpec;

/// A health check of a task, run by its agent. Defaults are those of Mesos' `HealthCheck`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Wait after the task runs before the first probe (15 s).
    pub delay: Duration,
    /// From the end of a probe to the start of the next (10 s).
    pub interval: Duration,
    /// A probe that takes longer has failed (20 s).
    pub timeout: Duration,
    /// After the task runs, failures in this time do not count until the first success (10 s).
    pub grace_period: Duration,
    /// So many failures in a row kill the task (3); 0 is as 1 (so in Mesos), [`NEVER_KILLS`](Self::NEVER_KILLS) far away.
    pub consecutive_failures: u32,
}

impl HealthCheck {
    /// As many failures in a row as no task lives to see.
    pub const NEVER_KILLS: u32 = u32::MAX;

    /// A check with Mesos' defaults.
    pub const fn new(probe: Probe) -> Self {
        Self {
            probe,
            delay: Duration::from_secs(15),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(20),
            grace_period: Duration::from_secs(10),
            consecutive_failures: 3,
        }
    }
}

/// What a health check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// GET; a status from 200 to 399 passes, or one of `statuses` when there are any.
    Http {
        /// Port of the task: on its agent, or in its container when that has a network of its own.
        port: u16,
        /// Path and query, beginning with a slash.
        path: String,
        /// Statuses that pass; empty: 200 to 399.
        statuses: Vec<u16>,
        /// Over TLS, whatever certificate the task shows.
        secure: bool,
    },
    /// A connection passes.
    Tcp {
        /// Port of the task, as above.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc {
        /// Port of the task, as above.
        port: u16,
        /// Which service is asked about; empty: the whole server.
        service: String,
    },
    /// Exit code 0 passes.
    Command(CommandSpec),
}

/// A question to a task, asked by its agent, whose answers are told and have no other consequence: Mesos' `CheckInfo`, with
/// its defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCheck {
    /// What is asked.
    pub question: Question,
    /// Wait after the task runs before it is asked first (15 s).
    pub delay: Duration,
    /// From the end of an answer to the next question (10 s).
    pub interval: Duration,
    /// Whoever takes longer has not answered (20 s).
    pub timeout: Duration,
}

impl TaskCheck {
    /// A check with Mesos' defaults.
    pub const fn new(question: Question) -> Self {
        Self {
            question,
            delay: Duration::from_secs(15),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(20),
        }
    }
}

/// What a check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// How a command ends.
    Command(CommandSpec),
    /// With which status a GET is answered.
    Http {
        /// Port of the task, as in [`Probe`].
        port: u16,
        /// Path and query, beginning with a slash.
        path: String,
    },
    /// Whether a connection is accepted.
    Tcp {
        /// Port of the task, as above.
        port: u16,
    },
}

impl Question {
    /// The answer as long as it was not asked.
    pub const fn unasked(&self) -> CheckAnswer {
        match self {
            Self::Command(_) => CheckAnswer::Command(None),
            Self::Http { .. } => CheckAnswer::Http(None),
            Self::Tcp { .. } => CheckAnswer::Tcp(None),
        }
    }
}

/// The last answer to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckAnswer {
    /// The exit code; `None`: the command did not end in time, or not by itself, or was not asked yet.
    Command(Option<i32>),
    /// The status; `None`: there was none in time, or it was not asked yet.
    Http(Option<u16>),
    /// Whether a connection was accepted; `None`: it was not asked yet.
    Tcp(Option<bool>),
}
