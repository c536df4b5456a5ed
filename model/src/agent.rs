//! An agent as it describes itself.

use std::fmt;

use bytes::Bytes;

use crate::attributes::Attributes;
use crate::resources::Resources;

/// Where an agent can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Name of the machine; tasks are found by it.
    pub hostname: String,
    /// IP address the agent listens on.
    pub ip: String,
    /// Port of the agent's HTTP API.
    pub port: u16,
}

/// `hostname:port`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hostname, self.port)
    }
}

/// What an agent says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentInfo {
    /// Where it is.
    pub endpoint: Endpoint,
    /// All it has to give.
    pub resources: Resources,
    /// What constraints may ask for.
    pub attributes: Attributes,
    /// Fault domain, region and zone, when it is in one.
    pub domain: Option<FaultDomain>,
    /// The `mesos.v1.AgentInfo` as it came.
    pub original: Bytes,
}

/// Where a machine stands as far as faults go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultDomain {
    /// Far apart.
    pub region: String,
    /// Close, but failing on their own.
    pub zone: String,
}
