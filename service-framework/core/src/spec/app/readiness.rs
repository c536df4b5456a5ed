//! Readiness checks as users describe them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest path, in bytes (Marathon's schema).
pub const MAX_PATH_BYTES: usize = 1024;

/// When an instance that a deployment has started is ready to do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadinessCheckSpec {
    /// For people (`readinessCheck`).
    pub name: String,
    /// Over TLS, whatever certificate the instance shows.
    pub secure: bool,
    /// Path and query (`/`).
    pub path: String,
    /// Which of the app's ports, by name (`http-api`).
    pub port_name: String,
    /// Between two questions (30 s).
    pub interval: Duration,
    /// An answer that takes longer is none (10 s); less than `interval`.
    pub timeout: Duration,
    /// Statuses that mean "ready" (200); at least one.
    pub statuses: BTreeSet<u16>,
    /// Whether the last answer is kept for people to see.
    pub keeps_response: bool,
}

impl Default for ReadinessCheckSpec {
    fn default() -> Self {
        Self {
            name: "readinessCheck".to_owned(),
            secure: false,
            path: "/".to_owned(),
            port_name: "http-api".to_owned(),
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(10),
            statuses: BTreeSet::from([200]),
            keeps_response: false,
        }
    }
}
