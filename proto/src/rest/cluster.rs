//! `cluster.json`: what `mete up` has started, written once everything listens.

use serde::{Deserialize, Serialize};

/// A cluster on one machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFile {
    /// In the order in which they were started.
    pub daemons: Vec<Daemon>,
    /// Set when HAProxy runs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub haproxy: Option<Haproxy>,
}

/// One daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Daemon {
    /// `master`, `agent-1`, `services`, `haproxy-sync`.
    pub name: String,
    /// Where it listens: `http://127.0.0.2:5051`.
    pub url: String,
    /// Its process.
    pub pid: u32,
}

/// The proxy in front of the services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Haproxy {
    /// Its master process.
    pub pid: u32,
    /// Address of its statistics.
    pub stats: String,
    /// Path or address of its admin socket.
    pub admin_socket: String,
    /// Address of the frontend that all HTTP services share.
    pub http_frontend: String,
}
