//! Health checks as users describe them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When an instance counts as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckSpec {
    /// What is asked.
    pub protocol: HealthProtocol,
    /// Path of the HTTP kinds; `None`: `/`. Of GRPC the name of the service; `None`: the whole server.
    pub path: Option<String>,
    /// A fixed port: of the host, or of the container on a network of its own.
    pub port: Option<u16>,
    /// Which of the app's ports, when `port` is not given.
    pub port_index: Option<u32>,
    /// The line of the COMMAND kind.
    pub command: Option<String>,
    /// Failures in this time do not count until the first success (300 s).
    pub grace_period: Duration,
    /// Between two probes (60 s).
    pub interval: Duration,
    /// A probe that takes longer has failed (20 s).
    pub timeout: Duration,
    /// So many failures in a row kill the instance (3); 0: never.
    pub max_consecutive_failures: u32,
    /// Wait before the first probe, of the MESOS kinds and COMMAND (15 s).
    pub delay: Duration,
    /// Whether 1xx answers are passed over, of the HTTP kind.
    pub ignore_http_1xx: bool,
}

impl HealthCheckSpec {
    /// A check with Marathon's defaults.
    pub const fn new(protocol: HealthProtocol) -> Self {
        Self {
            protocol,
            path: None,
            port: None,
            port_index: None,
            command: None,
            grace_period: Duration::from_secs(300),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
            max_consecutive_failures: 3,
            delay: Duration::from_secs(15),
            ignore_http_1xx: false,
        }
    }
}

/// What a health check asks. HTTP and TCP are run by the agent too, like their MESOS kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthProtocol {
    /// `HTTP`
    Http,
    /// `TCP`
    Tcp,
    /// `COMMAND`
    Command,
    /// `MESOS_HTTP`
    MesosHttp,
    /// `MESOS_TCP`
    MesosTcp,
    /// `GRPC`: Mete's own, `grpc.health.v1`.
    Grpc,
}

impl HealthProtocol {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tcp => "TCP",
            Self::Command => "COMMAND",
            Self::MesosHttp => "MESOS_HTTP",
            Self::MesosTcp => "MESOS_TCP",
            Self::Grpc => "GRPC",
        }
    }

    /// From the name in the API; `None` for those not carried (HTTPS, MESOS_HTTPS) and unknown ones.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Http,
            Self::Tcp,
            Self::Command,
            Self::MesosHttp,
            Self::MesosTcp,
            Self::Grpc,
        ]
        .into_iter()
        .find(|protocol| protocol.as_str() == name)
    }

    /// Whether it asks a port.
    pub const fn needs_port(self) -> bool {
        match self {
            Self::Http | Self::Tcp | Self::MesosHttp | Self::MesosTcp | Self::Grpc => true,
            Self::Command => false,
        }
    }

    /// Whether it speaks HTTP.
    pub const fn is_http(self) -> bool {
        match self {
            Self::Http | Self::MesosHttp => true,
            Self::Tcp | Self::Command | Self::MesosTcp | Self::Grpc => false,
        }
    }
}
