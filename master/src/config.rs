//! The options of `mete master`: each field's comment is its help text.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mete_daemon::auth::credentials::{self, CallersError};
use mete_daemon::auth::{Callers, ListenOptions, check_exposure};
use mete_daemon::config::{self, Checked, Fault};
use mete_daemon::host;
use mete_daemon::telemetry::TelemetryOptions;
use mete_master_core::{Policy, Settings};
use mete_model::FaultDomain;

/// Offers the agents' resources to frameworks, and keeps what is known of their tasks.
///
/// What must survive a restart lies in --state-dir; tasks come back with their agents.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Port to listen on, for gRPC and HTTP; 0 picks a free one.
    #[arg(long, default_value_t = 5050)]
    pub port: u16,
    /// Name under which others reach this master. Default: the address it listens on.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Directory for the master's state; one per master.
    #[arg(long, value_name = "DIR", default_value = ".mete/master")]
    pub state_dir: PathBuf,
    /// Name of the cluster, for people and tools.
    #[arg(long, value_name = "NAME", default_value = "mete")]
    pub cluster: String,
    /// How places are chosen until operators say otherwise: worth, best-fit, spread, first-fit, dot-product, l2 or fgd.
    #[arg(long, default_value_t)]
    pub allocation_policy: Policy,
    /// Where the master is, as `region/zone`. Agents in other regions are offered only to frameworks that say that they are
    /// REGION_AWARE.
    #[arg(long, value_name = "REGION/ZONE")]
    pub domain: Option<FaultDomain>,
    /// An offer that is neither used nor declined is withdrawn after this; `0s`: never.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = config::duration)]
    pub offer_timeout: Duration,
    /// From one ping of an agent to the next.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = config::duration)]
    pub agent_ping_timeout: Duration,
    /// So many pings in a row without an answer make an agent unreachable.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    pub max_agent_ping_timeouts: u32,
    /// An agent whose stream broke has so long to come back before it is unreachable.
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = config::duration)]
    pub agent_reregister_timeout: Duration,
    /// After a restart of the master, agents have so long to come back before they are unreachable; nothing is said of
    /// their tasks until then.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = config::duration)]
    pub return_window: Duration,
    /// After a restart of the master, frameworks have at least so long to come back, also with a shorter failover timeout.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = config::duration)]
    pub framework_return_grace: Duration,
    /// A kill is sent again when the task has not ended after this.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = config::duration)]
    pub kill_repeat: Duration,
    /// A stream that has not said who it is within this is ended.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = config::duration)]
    pub greeting_timeout: Duration,
    /// File with principals and their secrets, in the form of Mesos: {"credentials":[{"principal":"…","secret":"…"}]}.
    /// Each may call with HTTP Basic or its secret as bearer token; a framework that does has its name as principal.
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Where the master listens, and the token.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}

impl Options {
    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        self.listen.address(self.port)
    }

    /// Who may call.
    ///
    /// # Errors
    /// When the token or the credentials cannot be read or make no sense.
    pub(crate) fn callers(&self) -> Result<Callers, CallersError> {
        let token = self.listen.token()?;
        Ok(credentials::callers(token, self.credentials.as_deref())?)
    }

    /// The file with what survives a restart.
    pub(crate) fn store(&self) -> PathBuf {
        self.state_dir.join("master.redb")
    }

    /// The name under which others reach a master that listens on `ip`.
    pub(crate) fn hostname(&self, ip: IpAddr) -> String {
        let own = || host::name_for(ip);
        self.hostname.clone().unwrap_or_else(own)
    }

    /// What it was started with, by the names and in the units of Mesos' flags where it has them. No secrets.
    pub(crate) fn flags(&self) -> BTreeMap<String, String> {
        let span = |span: Duration| format!("{}secs", span.as_secs_f64());
        let flags = [
            ("ip", self.listen.ip.to_string()),
            ("port", self.port.to_string()),
            ("cluster", self.cluster.clone()),
            ("work_dir", self.state_dir.display().to_string()),
            ("agent_ping_timeout", span(self.agent_ping_timeout)),
            (
                "max_agent_ping_timeouts",
                self.max_agent_ping_timeouts.to_string(),
            ),
            (
                "agent_reregister_timeout",
                span(self.agent_reregister_timeout),
            ),
            ("offer_timeout", span(self.offer_timeout)),
            ("allocation_policy", self.allocation_policy.to_string()),
            (
                "authenticate_http_readwrite",
                (self.listen.token_file.is_some() || self.credentials.is_some()).to_string(),
            ),
        ];
        let named = flags.map(|(name, value)| (name.to_owned(), value));
        let mut flags = BTreeMap::from(named);
        if let Some(hostname) = &self.hostname {
            flags.insert("hostname".to_owned(), hostname.clone());
        }
        if let Some(domain) = &self.domain {
            flags.insert("domain".to_owned(), domain.to_string());
        }
        flags
    }

    /// The cluster's behaviour, for one start of the master.
    pub(crate) fn settings(&self, incarnation: String, epoch: u64) -> Settings {
        Settings {
            ping_interval: self.agent_ping_timeout,
            max_missed_pings: self.max_agent_ping_timeouts,
            agent_reregister_timeout: self.agent_reregister_timeout,
            return_window: self.return_window,
            recovered_framework_grace: self.framework_return_grace,
            offer_timeout: Some(self.offer_timeout).filter(|timeout| !timeout.is_zero()),
            kill_repeat: self.kill_repeat,
            policy: self.allocation_policy,
            domain: self.domain.clone(),
            ..Settings::new(incarnation, epoch)
        }
    }
}

impl Checked for Options {
    fn faults(&self) -> Vec<Fault> {
        let is_guarded = self.listen.token_file.is_some() || self.credentials.is_some();
        let exposed = check_exposure(self.listen.ip, is_guarded, self.listen.insecure_no_auth);
        let mut faults: Vec<Fault> = exposed.err().into_iter().collect();
        faults.extend(self.telemetry.faults());
        for (key, span) in [
            ("agent-ping-timeout", self.agent_ping_timeout),
            ("kill-repeat", self.kill_repeat),
            ("greeting-timeout", self.greeting_timeout),
        ] {
            if span < SHORTEST_RHYTHM {
                faults.push(Fault::new(
                    key,
                    format!("must be at least {SHORTEST_RHYTHM:?}"),
                ));
            }
        }
        if self.max_agent_ping_timeouts == 0 {
            faults.push(Fault::new("max-agent-ping-timeouts", "must be above 0"));
        }
        if self.hostname.as_ref().is_some_and(String::is_empty) {
            faults.push(Fault::new("hostname", "must not be empty"));
        }
        faults
    }
}

/// What is done again and again is not done more often than this: thousands of agents times this is still little work.
const SHORTEST_RHYTHM: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use mete_daemon::config::{ConfigError, load};

    use super::*;

    fn read(arguments: &[&str]) -> Result<Options, ConfigError> {
        load("master", arguments, [("", "")])
    }

    #[test]
    fn defaults_are_those_of_mesos_on_loopback() {
        let options = read(&[]).expect("defaults");
        let settings = options.settings("m".to_owned(), 1);

        assert_eq!(options.address(), SocketAddr::from(([127, 0, 0, 1], 5050)));
        assert_eq!(settings, Settings::new("m", 1));
    }

    #[test]
    fn all_faults_come_together() {
        let refused = read(&[
            "--ip=0.0.0.0",
            "--agent-ping-timeout=0s",
            "--max-agent-ping-timeouts=0",
            "--prot=1",
        ]);

        let Err(ConfigError::Faults(faults)) = refused else {
            panic!("refused: {refused:?}");
        };
        assert_eq!(faults.0.len(), 4, "{faults}");
    }

    #[test]
    fn a_domain_is_a_region_and_a_zone() {
        let domain = read(&["--domain=eu/eu-1"])
            .expect("fine")
            .settings("m".to_owned(), 1)
            .domain;

        let domain = domain.expect("said");
        assert_eq!((&*domain.region, &*domain.zone), ("eu", "eu-1"));
        for bad in ["eu", "/eu-1", "eu/", "eu/a/b"] {
            assert!(read(&[&format!("--domain={bad}")]).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_offer_timeout_is_said_with_zero() {
        let options = read(&["--offer-timeout=0s"]).expect("fine");

        assert_eq!(options.settings("m".to_owned(), 1).offer_timeout, None);
    }
}
