//! Proxies: who follows the healthy-task list, and what each has in effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{TaskId, Timestamp};

/// A proxy silent for three heartbeats of 15 s is no longer waited for (contracts §5).
pub const PROXY_SILENCE: Duration = Duration::from_secs(45);
/// Proxies remembered at once; more than one per machine of a large cluster's edge is a mistake somewhere.
pub const MAX_PROXIES: usize = 256;
/// The longest name of a proxy, in bytes.
pub const MAX_PROXY_ID_BYTES: usize = 128;

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// When it was last heard of.
    pub seen: Timestamp,
    /// The version of the list it has in effect; 0: none of this epoch.
    pub version: u64,
    /// Tasks it drains, with the sessions left.
    pub sessions: BTreeMap<TaskId, u64>,
}

/// Proxies by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(pub(crate) Arc<BTreeMap<String, Proxy>>);
