//! The healthy-task list: which tasks take requests for which service.
//!
//! `GET /v2/backends` answers with [`Backends`]. With `?watch=true` it is a stream: first `snapshot` with all of it, then
//! `change` with each service that is different, and `heartbeat`. A proxy tells with [`Ack`] what it has in effect; a
//! task is killed on purpose only when no live proxy sends it requests any more.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Name of the event that carries [`Backends`].
pub const SNAPSHOT: &str = "snapshot";
/// Name of the event that carries [`Change`].
pub const CHANGE: &str = "change";
/// Name of the event that carries [`Heartbeat`].
pub const HEARTBEAT: &str = "heartbeat";

/// The whole list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backends {
    /// New whenever the service framework starts; versions of two epochs cannot be compared.
    pub epoch: String,
    /// Counts up with every change.
    pub version: u64,
    /// By app and port.
    pub services: Vec<Service>,
}

/// What has changed since the version before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The epoch of `version`.
    pub epoch: String,
    /// The version that this change leads to.
    pub version: u64,
    /// New and changed services, each whole.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Services that are gone.
    #[serde(default)]
    pub removed: Vec<ServiceKey>,
}

/// A sign of life, every 15 s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The epoch of `version`.
    pub epoch: String,
    /// The latest version.
    pub version: u64,
}

/// Which service: a port of an app, and where proxies offer it. While an app moves to another service port both are in
/// the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceKey {
    /// The app, `/web`.
    pub app_id: String,
    /// Which of its ports, counted from 0.
    pub port_index: u32,
    /// The port under which proxies offer it.
    pub service_port: u16,
}

/// One port of an app and those who answer on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The app, `/web`.
    pub app_id: String,
    /// Which of its ports, counted from 0.
    pub port_index: u32,
    /// The port under which proxies offer it.
    pub service_port: u16,
    /// Since when the app has had the service port, `2026-11-29T13:00:11.014Z`: of several that have one, it belongs to the
    /// first. Empty: for ever.
    #[serde(default)]
    pub since: String,
    /// Whether the app wants the service port no more, so that it belongs to another app that does as soon as no instance
    /// is up. Not written when it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// What runs over IP.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether proxies look into the stream.
    #[serde(default)]
    pub mode: Mode,
    /// Labels of the app and of the port; those of the port win.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// By task.
    #[serde(default)]
    pub instances: Vec<Instance>,
}

impl Service {
    /// Which service this is.
    pub fn key(&self) -> ServiceKey {
        ServiceKey {
            app_id: self.app_id.clone(),
            port_index: self.port_index,
            service_port: self.service_port,
        }
    }
}

/// What runs over IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP, which proxies for TCP leave out.
    Udp,
    /// Both on the same port.
    #[serde(rename = "udp,tcp")]
    Both,
}

/// Whether proxies look into the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Bytes.
    #[default]
    Tcp,
    /// Requests.
    Http,
}

/// One task that answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The task.
    pub task_id: String,
    /// Name or IP address of its agent.
    pub host: String,
    /// The port on that agent.
    pub port: u16,
    /// Whether it takes new requests.
    pub state: InstanceState,
}

/// Whether a task takes new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// It does.
    Up,
    /// It ends those it has, no new ones.
    Draining,
}

/// What a proxy has in effect: body of `PUT /v2/backends/acks/{proxyId}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ack {
    /// The epoch of `version`.
    pub epoch: String,
    /// The version whose servers are in effect.
    pub version: u64,
    /// Each draining task that the proxy knows.
    #[serde(default)]
    pub draining: Vec<DrainingTask>,
}

/// What proxies have in effect: `GET /v2/backends/acks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acks {
    /// The epoch of all versions.
    pub epoch: String,
    /// The newest version.
    pub version: u64,
    /// Those that live, by id.
    pub proxies: Vec<Acked>,
}

/// What one proxy has in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acked {
    /// The proxy.
    pub proxy_id: String,
    /// The version it has acknowledged; 0: none of this epoch.
    pub version: u64,
}

/// A draining task as a proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainingTask {
    /// The task.
    pub task_id: String,
    /// Sessions that have not ended yet.
    pub sessions: u64,
}

/// Id of an event of the stream: epoch and version, `<epoch>-42`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The epoch of `version`.
    pub epoch: String,
    /// The version that the event leads to.
    pub version: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.version)
    }
}

/// A text that is not the id of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad event id {0:?}: it is an epoch, '-', and a version")]
pub struct BadEventId(String);

impl FromStr for EventId {
    type Err = BadEventId;
    fn from_str(text: &str) -> Result<Self, BadEventId> {
        let bad = || BadEventId(text.chars().take(80).collect());
        let (epoch, version) = text.rsplit_once('-').ok_or_else(bad)?;
        Ok(Self {
            epoch: epoch.to_owned(),
            version: version.parse().map_err(|_| bad())?,
        })
    }
}
