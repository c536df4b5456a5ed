//! The options of `mete haproxy-sync`: each field's comment is its help text.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mete_daemon::auth::{ListenOptions, check_exposure};
use mete_daemon::config::{self, Checked, Fault};
use mete_daemon::telemetry::TelemetryOptions;

/// The longest name of a proxy; it stands in the path of every acknowledgement.
const MAX_PROXY_ID: usize = 128;

/// Keeps an HAProxy in step with the service framework's list of healthy tasks.
///
/// Starts HAProxy as a process of its own, or takes over the one that an earlier sync has left. HAProxy goes on when the
/// sync ends, unless --stop-haproxy-on-exit is given.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Base URL of the service framework, whose list of healthy tasks is followed.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub services: String,
    /// Directory for HAProxy's configuration, sockets and pid file; one per HAProxy. Its absolute path may have at most
    /// 85 characters, because HAProxy's sockets lie in it.
    #[arg(long, value_name = "DIR", default_value = ".mete/haproxy")]
    pub state_dir: PathBuf,
    /// The HAProxy program, 2.6 or newer; looked up in PATH, /usr/sbin and /usr/local/sbin when it is a bare name.
    #[arg(long, value_name = "PROGRAM", default_value = "haproxy")]
    pub haproxy: PathBuf,
    /// Port for health and metrics of the sync itself; 0 picks a free one.
    #[arg(long, default_value_t = 9102)]
    pub port: u16,
    /// Where HAProxy's shared HTTP frontend listens, which routes by host name (label HAPROXY_0_VHOST).
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9080)))]
    pub http_bind: SocketAddr,
    /// Where HAProxy's stats page listens.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)))]
    pub stats_bind: SocketAddr,
    /// Address on which HAProxy listens on the service ports.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub service_bind: IpAddr,
    /// Added to each service port where HAProxy binds it, so that several clusters on one machine keep apart.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub service_port_shift: u16,
    /// Template to use for haproxy.cfg in place of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Name under which this proxy acknowledges to the service framework. Default: `haproxy-<host name>-<port of
    /// http-bind>`.
    #[arg(long, value_name = "NAME")]
    pub proxy_id: Option<String>,
    /// How long an old HAProxy worker may end its connections after a reload, e.g. `10m`; then they are cut.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = config::duration)]
    pub hard_stop_after: Duration,
    /// Stops HAProxy when the sync ends on SIGTERM or SIGINT.
    #[arg(long)]
    pub stop_haproxy_on_exit: bool,
    /// Where the sync's own port listens, and the token.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// How the sync logs.
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}

impl Options {
    /// The name under which this proxy acknowledges.
    pub fn proxy_id(&self) -> String {
        let host = || {
            rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .replace(|c| !is_plain(c), "-")
        };
        let default = || format!("haproxy-{}-{}", host(), self.http_bind.port());
        self.proxy_id
            .clone()
            .unwrap_or_else(default)
            .chars()
            .take(MAX_PROXY_ID)
            .collect()
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

impl Checked for Options {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = [self.listen.faults(), self.telemetry.faults()].concat();
        if !self.services.starts_with("http://") || self.services.parse::<reqwest::Url>().is_err() {
            let reason = format!("{:?} is not a URL that begins with http://", self.services);
            faults.push(Fault::new("services", reason));
        }
        if let Some(id) = &self.proxy_id
            && (id.is_empty() || id.len() > MAX_PROXY_ID || !id.chars().all(is_plain))
        {
            let reason = format!("{id:?} is not 1 to {MAX_PROXY_ID} letters, digits and . - _");
            faults.push(Fault::new("proxy-id", reason));
        }
        // The page shows what runs where; it has no token of its own.
        if let Err(fault) =
            check_exposure(self.stats_bind.ip(), false, self.listen.insecure_no_auth)
        {
            let reason = fault.reason.replace("give --token-file, or say", "say");
            faults.push(Fault::new("stats-bind", reason));
        }
        for (key, port) in [
            ("http-bind", self.http_bind.port()),
            ("stats-bind", self.stats_bind.port()),
        ] {
            if port == 0 {
                faults.push(Fault::new(key, "needs a port above 0"));
            }
        }
        if self.http_bind.port() == self.stats_bind.port() {
            faults.push(Fault::new(
                "stats-bind",
                format!("port {} is http-bind's too", self.stats_bind.port()),
            ));
        }
        if self.hard_stop_after.is_zero() {
            faults.push(Fault::new("hard-stop-after", "must be above zero"));
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
            "haproxy-sync",
            arguments.iter().copied(),
            std::iter::empty::<(&str, &str)>(),
        )
    }

    #[test]
    fn defaults_are_those_of_the_contracts() {
        let options = load(&[]).expect("defaults are fine");

        assert_eq!(options.http_bind.to_string(), "127.0.0.1:9080");
        assert_eq!(options.stats_bind.to_string(), "127.0.0.1:9090");
        assert_eq!(options.port, 9102);
        assert!(
            options.proxy_id().starts_with("haproxy-") && options.proxy_id().ends_with("-9080")
        );
    }

    #[test]
    fn all_faults_are_told_together() {
        let arguments = [
            "--services=ftp://x",
            "--proxy-id=a/b",
            "--stats-bind=0.0.0.0:9080",
            "--hard-stop-after=0s",
            "--ip=0.0.0.0",
        ];

        let Err(ConfigError::Faults(faults)) = load(&arguments) else {
            panic!("faults")
        };

        let keys: Vec<_> = faults.0.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "ip",
                "services",
                "proxy-id",
                "stats-bind",
                "stats-bind",
                "hard-stop-after"
            ]
        );
    }
}
