//! What the operator may say, as flag, variable or key of a file; checked once, all faults together.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use mete_daemon::auth::{ListenOptions, Token, TokenError, check_exposure};
use mete_daemon::config::{self, Checked, Fault};
use mete_daemon::host;
use mete_daemon::telemetry::TelemetryOptions;
use mete_framework_sdk::{BadAddress, Connection, Role};
use mete_service_framework_core::orchestrator::Settings;

/// Name of the store in the state directory.
pub(crate) const STORE_FILE: &str = "services.redb";

/// Keeps apps running on a cluster: Marathon's REST API under /v2.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to listen, and who may call.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// Port of the REST API; 0 picks a free one.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Name under which this machine is found by others, for Location headers and the leader's address. The
    /// listening address when absent.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Address of the master; may be given several times, they are tried in turn.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5050")]
    pub master: Vec<String>,
    /// File with the token to show to the master; the one of --token-file when absent.
    #[arg(long, value_name = "FILE")]
    pub master_token_file: Option<PathBuf>,
    /// File of principals, each with a secret of its own and rights to apps by their paths; it is read again on SIGHUP.
    /// Without it whoever is let in may everything.
    #[arg(long, value_name = "FILE")]
    pub access_file: Option<PathBuf>,
    /// File to which a line of JSON is added for each request that changes something or was to: who, from where, what,
    /// with which end. It is put aside at 16 MiB; four old ones are kept.
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// Directory in which apps, deployments and instances are kept.
    #[arg(long, value_name = "DIR", default_value = ".mete/services")]
    pub state_dir: PathBuf,
    /// Name of this framework, for people.
    #[arg(long, value_name = "NAME", default_value = "marathon")]
    pub framework_name: String,
    /// Role in which resources are taken for apps that have no other.
    #[arg(long, default_value = "*")]
    pub role: String,
    /// How long the master keeps our tasks while we are away, e.g. `168h`.
    #[arg(long, value_name = "TIME", default_value = "168h", value_parser = config::duration)]
    pub failover_timeout: Duration,
    /// First of the service ports given to apps that ask for none.
    #[arg(long, value_name = "PORT", default_value_t = 10_000)]
    pub service_port_min: u16,
    /// Last of them.
    #[arg(long, value_name = "PORT", default_value_t = 20_000)]
    pub service_port_max: u16,
    /// How long a planned kill waits for proxies to finish with the instance, e.g. `10s`.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = config::duration)]
    pub drain_deadline: Duration,
    /// How long offers of no use are declined, e.g. `2m`.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = config::duration)]
    pub decline_time: Duration,
    /// Directory of secrets: an app names one by its path below it. None when absent.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// How it logs.
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}

/// Why the master cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum BadMaster {
    /// Its address makes no sense.
    #[error(transparent)]
    Address(#[from] BadAddress),
    /// The token for it cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Options {
    /// The store.
    pub(crate) fn store(&self) -> PathBuf {
        self.state_dir.join(STORE_FILE)
    }

    /// Under which name others find us.
    pub(crate) fn hostname(&self) -> String {
        let listening = || match self.listen.ip {
            IpAddr::V6(ip) if !ip.is_unspecified() => format!("[{ip}]"),
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => host::name_for(ip),
        };
        self.hostname.clone().unwrap_or_else(listening)
    }

    /// What the core needs of this.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            role: self.role.clone(),
            first_service_port: self.service_port_min,
            last_service_port: self.service_port_max,
            drain_deadline: self.drain_deadline,
            decline: self.decline_time,
            ..Settings::default()
        }
    }

    /// The way to the master.
    pub(crate) fn connection(&self) -> Result<Connection, BadMaster> {
        let connection = Connection::to_any(self.master.iter().map(String::as_str))?;
        let file = self.master_token_file.as_ref();
        let Some(file) = file.or(self.listen.token_file.as_ref()) else {
            return Ok(connection);
        };
        let header = Token::read(file)?.header();
        let shown = header
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix("Bearer "));
        Ok(connection.with_token(shown.unwrap_or_default())?)
    }
}

impl Checked for Options {
    fn faults(&self) -> Vec<Fault> {
        let is_guarded = self.listen.token_file.is_some() || self.access_file.is_some();
        let exposed = check_exposure(self.listen.ip, is_guarded, self.listen.insecure_no_auth);
        let mut faults: Vec<Fault> = exposed.err().into_iter().collect();
        faults.extend(self.telemetry.faults());
        let mut fault = |key: &str, reason: String| faults.push(Fault::new(key, reason));
        if let Err(bad) = Role::new(&self.role) {
            fault("role", bad.to_string());
        }
        for address in &self.master {
            let is_http = address.starts_with("http://");
            if !is_http || Connection::to(address).is_err() {
                fault(
                    "master",
                    format!("`{address}` is not an address such as http://127.0.0.1:5050"),
                );
            }
        }
        if self.framework_name.is_empty() {
            fault("framework-name", "must not be empty".to_owned());
        }
        if self.service_port_min == 0 {
            fault("service-port-min", "must be above 0".to_owned());
        }
        if self.service_port_min > self.service_port_max {
            let (first, last) = (self.service_port_min, self.service_port_max);
            fault(
                "service-port-max",
                format!("{last} is below service-port-min, which is {first}"),
            );
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mete_daemon::config::ConfigError;

    fn load(arguments: &[&str]) -> Result<Options, ConfigError> {
        config::load(
            "services",
            arguments.iter().copied(),
            std::iter::empty::<(&str, &str)>(),
        )
    }

    #[test]
    fn defaults_are_those_of_the_contracts() {
        let options = load(&[]).expect("defaults are good");

        assert_eq!(
            (options.port, options.hostname()),
            (8080, "127.0.0.1".to_owned())
        );
        assert_eq!(options.master, ["http://127.0.0.1:5050"]);
        assert_eq!(options.failover_timeout, Duration::from_secs(604_800));
        assert_eq!(options.settings(), Settings::default());
    }

    #[test]
    fn all_faults_are_reported_together() {
        let bad = [
            "--role=a b",
            "--master=ftp://x",
            "--service-port-min=20",
            "--service-port-max=10",
            "--ip=0.0.0.0",
        ];

        let Err(ConfigError::Faults(faults)) = load(&bad) else {
            panic!("faults")
        };

        let keys: Vec<&str> = faults.0.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["ip", "role", "master", "service-port-max"]);
    }
}
