//! An agent as it describes itself.

use std::fmt;
use std::str::FromStr;

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
        f.write_str(&authority(&self.hostname, self.port))
    }
}

impl Endpoint {
    /// `ip:port`.
    pub fn address(&self) -> String {
        authority(&self.ip, self.port)
    }
}

/// A host, by its name or address, and a port, as they stand in a URL: addresses of IPv6 in brackets (RFC 3986, 3.2.2).
pub fn authority(host: &str, port: impl fmt::Display) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
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

/// A text that is no fault domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad domain {0:?}: it is a region and a zone with a slash between, such as eu/eu-1")]
pub struct BadDomain(String);

/// `region/zone`.
impl fmt::Display for FaultDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.zone)
    }
}

impl FromStr for FaultDomain {
    type Err = BadDomain;
    fn from_str(text: &str) -> Result<Self, BadDomain> {
        let bad = || BadDomain(text.chars().take(80).collect());
        let (region, zone) = text.split_once('/').ok_or_else(bad)?;
        if region.is_empty() || zone.is_empty() || zone.contains('/') {
            return Err(bad());
        }
        Ok(Self {
            region: region.to_owned(),
            zone: zone.to_owned(),
        })
    }
}
