//! Times and bounds that a master may be started with; the defaults are those of Mesos where it has them.

use std::time::Duration;

use mete_model::FaultDomain;
use mete_placement::Policy;

/// How the cluster behaves. All times count from the moment the thing in question happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Names this start of the master; new ids begin with it. A UUID.
    pub incarnation: String,
    /// Counts up with each start; agents obey no master of an older epoch than the last.
    pub epoch: u64,
    /// From one ping of an agent to the next.
    pub ping_interval: Duration,
    /// So many pings in a row without an answer make an agent unreachable.
    pub max_missed_pings: u32,
    /// An agent whose stream broke has so long to come back before it is unreachable.
    pub agent_reregister_timeout: Duration,
    /// After a restart of the master, agents have so long to come back before they are unreachable.
    pub return_window: Duration,
    /// An unreachable agent is forgotten after this.
    pub forget_after: Duration,
    /// A framework known only from agents has at least so long to subscribe, whatever its `failover_timeout`: it was the
    /// master that went away, and clients back off before they come again.
    pub recovered_framework_grace: Duration,
    /// An offer that is neither used nor declined is withdrawn after this; `None`: never.
    pub offer_timeout: Option<Duration>,
    /// A kill is sent again when the task has not ended after this.
    pub kill_repeat: Duration,
    /// Which agents are offered first.
    pub policy: Policy,
    /// Where the master itself is. Agents in other regions are offered only to frameworks that are REGION_AWARE; `None`:
    /// there is no such difference.
    pub domain: Option<FaultDomain>,
}

impl Settings {
    /// The defaults.
    pub fn new(incarnation: impl Into<String>, epoch: u64) -> Self {
        Self {
            incarnation: incarnation.into(),
            epoch,
            ping_interval: Duration::from_secs(15),
            max_missed_pings: 5, // 5 pings × 15 s: 75 s, as in Mesos
            agent_reregister_timeout: Duration::from_secs(75), // as one that answers no pings
            return_window: Duration::from_secs(600),
            forget_after: Duration::from_secs(14 * 24 * 3_600), // registry_max_agent_age of Mesos
            recovered_framework_grace: Duration::from_secs(60),
            offer_timeout: Some(Duration::from_secs(300)), // Mesos has none: there an idle framework hoards for ever
            kill_repeat: Duration::from_secs(15),
            policy: Policy::default(),
            domain: None,
        }
    }
}
