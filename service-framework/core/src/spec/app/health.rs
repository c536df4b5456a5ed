//! Health checks as users describe them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AppSpec;

/// When an instance counts as healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckSpec {
    /// What is asked.
    pub protocol: HealthProtocol,
    /// Path of the HTTP kinds, as it was said: what is asked begins with a slash. Of GRPC the name of the service; `None`: the whole server.
    pub path: Option<String>,
    /// A fixed port: of the host, or of the container on a network of its own.
    pub port: Option<u16>,
    /// Which of the app's ports, when `port` is not given.
    pub port_index: Option<u32>,
    /// The line of the COMMAND kind.
    pub command: Option<String>,
    /// The argument vector of the COMMAND kind in place of a line; containers of pods only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
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
            argv: Vec::new(),
            grace_period: Duration::from_secs(300),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
            max_consecutive_failures: 3,
            delay: Duration::from_secs(15),
            ignore_http_1xx: false,
        }
    }
}

impl HealthCheckSpec {
    /// What the HTTP kinds ask for.
    pub(crate) fn http_path(&self) -> String {
        with_slash(self.path.as_deref().unwrap_or_default())
    }
}

/// A path as it is asked for: people leave the slash at its beginning out.
pub(crate) fn with_slash(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    }
}

/// What a health check asks. Who runs it: see [`AppSpec::agent_check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthProtocol {
    /// `HTTP`
    Http,
    /// `HTTPS`: whatever certificate the instance shows.
    Https,
    /// `TCP`
    Tcp,
    /// `COMMAND`
    Command,
    /// `MESOS_HTTP`
    MesosHttp,
    /// `MESOS_HTTPS`: whatever certificate the instance shows.
    MesosHttps,
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
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
            Self::Command => "COMMAND",
            Self::MesosHttp => "MESOS_HTTP",
            Self::MesosHttps => "MESOS_HTTPS",
            Self::MesosTcp => "MESOS_TCP",
            Self::Grpc => "GRPC",
        }
    }

    /// From the name in the API, in upper or lower case.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Http,
            Self::Https,
            Self::Tcp,
            Self::Command,
            Self::MesosHttp,
            Self::MesosHttps,
            Self::MesosTcp,
            Self::Grpc,
        ]
        .into_iter()
        .find(|protocol| protocol.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether it asks a port.
    pub const fn needs_port(self) -> bool {
        match self {
            Self::Http
            | Self::Https
            | Self::Tcp
            | Self::MesosHttp
            | Self::MesosHttps
            | Self::MesosTcp
            | Self::Grpc => true,
            Self::Command => false,
        }
    }

    /// Whether it speaks HTTP, over TLS or not.
    pub const fn is_http(self) -> bool {
        match self {
            Self::Http | Self::Https | Self::MesosHttp | Self::MesosHttps => true,
            Self::Tcp | Self::Command | Self::MesosTcp | Self::Grpc => false,
        }
    }

    /// Whether it speaks TLS.
    pub const fn is_secure(self) -> bool {
        match self {
            Self::Https | Self::MesosHttps => true,
            Self::Http
            | Self::Tcp
            | Self::Command
            | Self::MesosHttp
            | Self::MesosTcp
            | Self::Grpc => false,
        }
    }

    /// Whether only an agent can run it, or its user wants it there.
    pub const fn is_of_agents(self) -> bool {
        match self {
            Self::Command | Self::MesosHttp | Self::MesosHttps | Self::MesosTcp | Self::Grpc => {
                true
            }
            Self::Http | Self::Https | Self::Tcp => false,
        }
    }
}

impl AppSpec {
    /// Which of an app's health checks the agents run, by place in the list: the only one, whatever it asks, so that it goes
    /// on while the framework is down; of several that of the agents' kinds, of which validation lets in one.
    pub fn agent_check(&self) -> Option<usize> {
        let is_of_agents = |check: &HealthCheckSpec| check.protocol.is_of_agents();
        match self.health_checks.len() {
            1 => Some(0),
            _ => self.health_checks.iter().position(is_of_agents),
        }
    }

    /// Which of its health checks the framework runs itself: of an app all others, of a pod none.
    pub fn own_checks(&self) -> impl Iterator<Item = usize> {
        let others = self.agent_check();
        (0..self.health_checks.len()).filter(move |at| Some(*at) != others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_begins_with_a_slash() {
        let asked = |path: Option<&str>| {
            let mut check = HealthCheckSpec::new(HealthProtocol::Http);
            check.path = path.map(str::to_owned);
            check.http_path()
        };

        assert_eq!(
            [None, Some(""), Some("health"), Some("/health")].map(asked),
            ["/", "/", "/health", "/health"]
        );
    }
}
