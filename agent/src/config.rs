//! The options of `mete agent`: each field's comment is its help text.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mete_agent_core::task_dir::{DEFAULT_OUTPUT_BYTES, DEFAULT_OUTPUT_FILES, IdRange};
use mete_daemon::auth::{ListenOptions, check_exposure};
use mete_daemon::config::{self, Checked, Fault};
use mete_daemon::telemetry::TelemetryOptions;
use mete_model::{FaultDomain, LinuxCapability, MEBIBYTE};
use mete_proto::convert::ConvertError;
use mete_proto::resources_text::{parse_attributes, parse_total};
use tonic::transport::Endpoint;

use crate::cgroups::DEFAULT_MAX_PIDS;
use crate::devices::GpuDevice;
use crate::images::ImageOptions;
use crate::inventory::Given;
use crate::networks::NetworkOptions;
use crate::sandbox::DEFAULT_RESERVE_BYTES;

/// Mesos' size of the cache: 2 GiB.
const DEFAULT_FETCHER_CACHE_BYTES: u64 = 2 << 30;

/// The least a store can live on: it grows by steps of some hundred KiB.
const MIN_RESERVE_BYTES: u64 = MEBIBYTE;

/// The largest file with resources or attributes: they are a few lines.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Runs tasks on this machine.
///
/// Tasks outlive the agent, also when it is killed: started again on the same work directory, it takes them over. With
/// --stop-tasks-on-exit they end with it on SIGTERM or SIGINT.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Name of this agent, a part of the names of its control groups.
    #[arg(long, default_value = "agent")]
    pub name: String,
    /// Base URL of the master, http://host:port. Given more than once, they are tried in turn.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5050")]
    pub master: Vec<String>,
    /// Directory for the agent's state and the sandboxes; one per agent.
    #[arg(long, value_name = "DIR", default_value = ".mete/agent")]
    pub work_dir: PathBuf,
    /// Port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 5051)]
    pub port: u16,
    /// Name under which tasks and this agent are reached. Default: the name of the machine.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// IP address under which tasks and this agent are reached, when it is not the one to listen on.
    #[arg(long, value_name = "IP")]
    pub advertise_ip: Option<IpAddr>,
    /// What to offer, in Mesos' form: `cpus:4;mem:2048;disk:10000;ports:[31000-32000]`, memory and disk in MB, or a list of
    /// `Resource` in JSON; either may stand in a file, `file:///etc/mete/resources.json`. What is not named is measured,
    /// ports are 31000 to 32000; of what is named with 0 there is nothing.
    #[arg(long, value_name = "TEXT")]
    pub resources: Option<String>,
    /// What constraints may ask for: `rack:r1;zone:b;disk:ssd`, or a file with that.
    #[arg(long, value_name = "TEXT")]
    pub attributes: Option<String>,
    /// Where the machine stands, as `region/zone`: for constraints, and for frameworks that stay in the master's region.
    #[arg(long, value_name = "REGION/ZONE")]
    pub domain: Option<FaultDomain>,
    /// From SIGTERM to SIGKILL for tasks that say nothing about it.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = config::duration)]
    pub kill_grace: Duration,
    /// Ends the tasks too when the agent ends on SIGTERM or SIGINT.
    #[arg(long)]
    pub stop_tasks_on_exit: bool,
    /// What tasks run in: `process` (nothing), `oci` (containers that the agent builds), `docker` (those of a Docker
    /// Engine). Tasks of Docker's kind go to the engine where there is one.
    #[arg(long, value_name = "NAMES", default_value = "process,oci")]
    pub containerizers: ContainerizerChoices,
    /// Socket of the Docker Engine.
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock")]
    pub docker_socket: PathBuf,
    /// Which limits tasks get: `auto` for what the machine has, `none` for none.
    #[arg(long, value_enum, default_value_t = IsolationChoice::Auto)]
    pub isolation: IsolationChoice,
    /// Caps the CPU time of a task at what it asked for; without it, idle CPUs are shared.
    #[arg(long)]
    pub cpu_quota: bool,
    /// Processes and threads that a task may have.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_MAX_PIDS)]
    pub max_pids: u64,
    /// Directory below which tasks in containers may mount what they like. Given more than once, each of them; without
    /// it, none.
    #[arg(long, value_name = "DIR")]
    pub volume_root: Vec<PathBuf>,
    /// Power of root that tasks in containers may ask for beyond the usual ones, as NET_ADMIN. May be given more than
    /// once.
    #[arg(long, value_name = "NAME")]
    pub allow_capability: Vec<LinuxCapability>,
    /// Lets tasks in containers do without the filter of system calls.
    #[arg(long)]
    pub allow_unconfined: bool,
    /// Lets tasks in containers be privileged, and be in groups that they name: as good as root of the machine.
    #[arg(long)]
    pub allow_privileged: bool,
    /// Gives containers users of their own: number n inside is FIRST + n on the machine, for COUNT of them. Root of a
    /// container is nobody outside. Without it they are the same.
    #[arg(long, value_name = "FIRST:COUNT")]
    pub user_namespaces: Option<IdRange>,
    /// Has containers built by an OCI runtime, crun or runc, in place of the agent's own code: the path of its program.
    #[arg(long, value_name = "PATH")]
    pub oci_runtime: Option<PathBuf>,
    /// The device nodes of one GPU, by its number: `0=/dev/nvidia0,/dev/nvidiactl`. A task in a container that was given the
    /// GPU has them in its `/dev`; others have not. May be given more than once. Offer GPUs by --resources.
    #[arg(long, value_name = "INDEX=PATHS")]
    pub gpu_device: Vec<GpuDevice>,
    /// Bytes of a task's stdout, and of its stderr, per file; then the file is rotated.
    #[arg(long, value_name = "SIZE", default_value_t = DEFAULT_OUTPUT_BYTES, value_parser = config::bytes)]
    pub output_bytes: u64,
    /// Files kept of a task's stdout, and of its stderr, the current one included.
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_OUTPUT_FILES)]
    pub output_files: u32,
    /// How long sandboxes of ended tasks are kept on an empty disk; on a fuller one shorter, from 90 % on not at all.
    #[arg(long, value_name = "TIME", default_value = "168h", value_parser = config::duration)]
    pub gc_delay: Duration,
    /// How long executors of frameworks' own have to subscribe again after a restart of the agent (Mesos: 2 s, at most 15 s).
    /// They wait up to 2 s between two attempts, and longer on a busy machine.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = config::duration)]
    pub executor_reregistration_timeout: Duration,
    /// Whether executors of frameworks' own show the token of their environment. With false, who calls from an address of
    /// this machine and shows nothing may speak for any of them. Default: true where callers of the agent show who they are.
    #[arg(long, value_name = "true|false")]
    pub authenticate_http_executors: Option<bool>,
    /// How often it is measured what sandboxes and volumes of running tasks take of the disk.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = config::duration)]
    pub container_disk_watch_interval: Duration,
    /// Ends tasks whose sandbox or volume takes more of the disk than they asked for.
    #[arg(long)]
    pub enforce_container_disk_quota: bool,
    /// With less free disk than this nothing is launched; as much again is kept for the agent's own state.
    #[arg(long, value_name = "SIZE", default_value_t = DEFAULT_RESERVE_BYTES, value_parser = config::bytes)]
    pub disk_reserve: u64,
    /// Most bytes of fetched files that are kept for other tasks (`cache` of a URI); 0 keeps none. Emptied at each start.
    #[arg(long, value_name = "SIZE", default_value_t = DEFAULT_FETCHER_CACHE_BYTES, value_parser = config::bytes)]
    pub fetcher_cache_size: u64,
    /// Certificates in PEM form of authorities that vouch for https servers tasks fetch from, besides those the machine
    /// trusts.
    #[arg(long, value_name = "PATH")]
    pub fetcher_ca_file: Option<PathBuf>,
    /// Images of containers.
    #[command(flatten)]
    pub images: ImageOptions,
    /// Networks of containers.
    #[command(flatten)]
    pub networks: NetworkOptions,
    /// File with principals and their secrets, in the form of Mesos: {"credentials":[{"principal":"…","secret":"…"}]}.
    /// Each may call the agent with HTTP Basic or its secret as bearer token. The master is shown the token.
    #[arg(long, value_name = "FILE")]
    pub http_credentials: Option<PathBuf>,
    /// Where the agent listens, and the token.
    #[command(flatten)]
    pub listen: ListenOptions,
    /// How the agent logs.
    #[command(flatten)]
    pub telemetry: TelemetryOptions,
}

/// Which limits tasks get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum IsolationChoice {
    /// What the machine has.
    #[default]
    Auto,
    /// None.
    None,
}

/// What tasks run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerizerChoice {
    /// Nothing: they see the files of the machine.
    Process,
    /// Containers that the agent builds.
    Oci,
    /// Containers of a Docker Engine.
    Docker,
}

/// Some of them, in the order in which they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerizerChoices(pub Vec<ContainerizerChoice>);

impl std::str::FromStr for ContainerizerChoices {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let one = |name: &str| {
            let known = ContainerizerChoice::ALL;
            let found = known.into_iter().find(|one| one.as_str() == name.trim());
            found.ok_or_else(|| format!("{name:?} is none of process, oci, docker"))
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl ContainerizerChoice {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Process, Self::Oci, Self::Docker];

    /// The name in options and attributes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Oci => "oci",
            Self::Docker => "docker",
        }
    }
}

impl Options {
    /// Where the agent listens.
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.listen.ip, self.port)
    }

    /// Whether callers have to show who they are.
    pub const fn is_guarded(&self) -> bool {
        self.listen.token_file.is_some() || self.http_credentials.is_some()
    }

    /// Whether executors of frameworks' own have to show who they are, wherever they call from.
    pub fn authenticates_executors(&self) -> bool {
        self.is_guarded() && self.authenticate_http_executors != Some(false)
    }

    /// The address under which tasks and the agent are reached.
    pub fn advertised_ip(&self) -> IpAddr {
        self.advertise_ip.unwrap_or(self.listen.ip)
    }

    /// What was said of resources, attributes and the name.
    ///
    /// # Errors
    /// What is wrong, by key.
    pub fn given(&self) -> Result<Given, Vec<Fault>> {
        let resources = said("resources", self.resources.as_deref(), parse_total);
        let attributes = said("attributes", self.attributes.as_deref(), parse_attributes);
        match (resources, attributes) {
            (Ok((resources, named)), Ok(attributes)) => Ok(Given {
                resources,
                named,
                attributes,
                hostname: self.hostname.clone(),
            }),
            (resources, attributes) => {
                let faults = resources.err().into_iter().chain(attributes.err());
                Err(faults.collect())
            }
        }
    }
}

/// What an option says, itself or in a file that it names (so in Mesos).
fn said<T>(
    key: &'static str,
    text: Option<&str>,
    parse: fn(&str) -> Result<T, ConvertError>,
) -> Result<T, Fault> {
    let text = text.unwrap_or_default();
    let Some(path) = text.strip_prefix("file://") else {
        return parse(text).map_err(|bad| Fault::new(key, bad.to_string()));
    };
    let fault = |why: &dyn std::fmt::Display| Fault::new(key, format!("{path}: {why}"));
    let mut content = String::new();
    let file = File::open(path).map_err(|error| fault(&error))?;
    let read = file.take(MAX_FILE_BYTES).read_to_string(&mut content);
    read.map_err(|error| fault(&error))?;
    parse(&content).map_err(|bad| fault(&bad))
}

impl Options {
    fn fault_of_runtime(&self) -> Option<Fault> {
        let path = self.oci_runtime.as_ref()?;
        if !path.is_absolute() || path.to_str().is_none() {
            let reason = format!("{} is not an absolute UTF-8 path", path.display());
            return Some(Fault::new("oci-runtime", reason));
        }
        let users = self.user_namespaces?;
        let reason = format!(
            "{} cannot build containers with users of their own: leave out user-namespaces ({users})",
            path.display()
        );
        Some(Fault::new("oci-runtime", reason))
    }
}

impl Checked for Options {
    fn faults(&self) -> Vec<Fault> {
        let exposed = check_exposure(
            self.listen.ip,
            self.is_guarded(),
            self.listen.insecure_no_auth,
        );
        let mut faults: Vec<Fault> = exposed.err().into_iter().collect();
        faults.extend(self.telemetry.faults());
        faults.extend(self.images.faults());
        faults.extend(self.given().err().into_iter().flatten());
        for master in &self.master {
            if !master.starts_with("http://") || Endpoint::from_shared(master.clone()).is_err() {
                let reason = format!("{master:?} is not a URL of the form http://host:port");
                faults.push(Fault::new("master", reason));
            }
        }
        if self.authenticate_http_executors == Some(true) && !self.is_guarded() {
            let reason = "executors have tokens where the agent asks its callers for something: give token-file or \
                          http-credentials";
            faults.push(Fault::new("authenticate-http-executors", reason));
        }
        if self.advertised_ip().is_unspecified() {
            let reason =
                "an agent that listens on every address must say under which one it is reached";
            faults.push(Fault::new("advertise-ip", reason));
        }
        for root in self.volume_root.iter().filter(|root| !root.is_absolute()) {
            let reason = format!("{} is not an absolute path", root.display());
            faults.push(Fault::new("volume-root", reason));
        }
        if !self.docker_socket.is_absolute() || self.docker_socket.to_str().is_none() {
            let reason = format!(
                "{} is not an absolute UTF-8 path",
                self.docker_socket.display()
            );
            faults.push(Fault::new("docker-socket", reason));
        }
        faults.extend(self.fault_of_runtime());
        if self.name.is_empty() {
            faults.push(Fault::new("name", "must not be empty"));
        }
        if self.hostname.as_deref().is_some_and(str::is_empty) {
            faults.push(Fault::new("hostname", "must not be empty"));
        }
        let counts = [
            ("max-pids", self.max_pids),
            ("output-bytes", self.output_bytes),
            ("output-files", u64::from(self.output_files)),
        ];
        for (key, _) in counts.into_iter().filter(|(_, count)| *count == 0) {
            faults.push(Fault::new(key, "must be above zero"));
        }
        if self.container_disk_watch_interval.is_zero() {
            let key = "container-disk-watch-interval";
            faults.push(Fault::new(key, "must be above zero"));
        }
        if self.disk_reserve < MIN_RESERVE_BYTES {
            faults.push(Fault::new("disk-reserve", "must be at least 1MiB"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use mete_daemon::config::{ConfigError, load};

    use super::*;

    const NOTHING: [(&str, &str); 0] = [];

    #[test]
    fn everything_has_a_default() {
        let options: Options = load("agent", [""; 0], NOTHING).expect("defaults are fine");

        assert_eq!(options.address().to_string(), "127.0.0.1:5051");
        assert_eq!(options.master, ["http://127.0.0.1:5050"]);
        assert_eq!(options.gc_delay, Duration::from_secs(7 * 24 * 3_600));
        assert_eq!(options.fetcher_cache_size, 2 << 30);
        assert!(!options.stop_tasks_on_exit);
    }

    #[test]
    fn all_faults_come_together() {
        let arguments = [
            "--ip=0.0.0.0",
            "--insecure-no-auth",
            "--master=ftp://x",
            "--resources=cpus:many",
            "--attributes=a:1;a:2",
            "--disk-reserve=1kB",
            "--max-pids=0",
            "--docker-socket=s",
            "--insecure-registry=http://x",
            "--image-high-water=0",
            "--authenticate-http-executors=true",
        ];

        let Err(ConfigError::Faults(faults)) = load::<Options>("agent", arguments, NOTHING) else {
            panic!("there are faults");
        };

        let keys: Vec<_> = faults.0.iter().map(|fault| fault.key.as_str()).collect();
        for key in [
            "resources",
            "attributes",
            "master",
            "advertise-ip",
            "max-pids",
            "docker-socket",
            "disk-reserve",
            "insecure-registry",
            "image-high-water",
            "authenticate-http-executors",
        ] {
            assert!(keys.contains(&key), "{key} in {keys:?}");
        }
    }

    #[test]
    fn a_runtime_is_an_absolute_path_and_has_no_users_of_its_own() {
        let refused = |arguments: &[&str]| match load::<Options>("agent", arguments, NOTHING) {
            Err(ConfigError::Faults(faults)) => faults.to_string(),
            other => panic!("{other:?}"),
        };

        let relative = refused(&["--oci-runtime=crun"]);
        let both = refused(&[
            "--oci-runtime=/usr/bin/crun",
            "--user-namespaces=100000:65536",
        ]);

        assert!(
            relative.contains("crun is not an absolute UTF-8 path"),
            "{relative}"
        );
        assert!(
            both.contains("/usr/bin/crun cannot build containers with users"),
            "{both}"
        );
        assert!(both.contains("100000:65536"), "{both}");
    }

    #[test]
    fn containerizers_are_named_in_one_word() {
        use ContainerizerChoice::{Docker, Process};
        let chosen = |text: &str| text.parse::<ContainerizerChoices>();

        assert_eq!(
            chosen("docker,process").map(|all| all.0),
            Ok(vec![Docker, Process])
        );
        let refused = chosen("process,rkt").expect_err("unknown");
        assert_eq!(refused, "\"rkt\" is none of process, oci, docker");
    }

    #[test]
    fn what_is_offered_can_be_said() {
        let arguments = ["--resources=cpus:1.5;ports:[31000-31009]"];

        let options: Options = load("agent", arguments, NOTHING).expect("fine");

        let resources = options.given().expect("reads").resources;
        assert_eq!((resources.cpus_milli, resources.ports.count()), (1_500, 10));
    }

    #[test]
    fn parts_of_gpus_are_refused_at_the_start() {
        for gpus in ["gpus:0.5", "gpus:2000"] {
            let arguments = [format!("--resources={gpus}")];

            let Err(ConfigError::Faults(faults)) = load::<Options>("agent", arguments, NOTHING)
            else {
                panic!("{gpus} is not whole");
            };

            let text = faults.to_string();
            assert!(
                text.contains("an agent has whole GPUs, at most 1024"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_offered_can_stand_in_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("resources.json");
        let list = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":1.5}}]"#;
        std::fs::write(&file, list).expect("written");
        let arguments = [format!("--resources=file://{}", file.display())];
        let options: Options = load("agent", arguments, NOTHING).expect("fine");

        let given = options.given().expect("reads");
        assert_eq!(given.resources.cpus_milli, 1_500);

        std::fs::remove_file(&file).expect("removed");
        let faults = options.given().expect_err("it is gone");
        let text = faults[0].to_string();
        assert!(text.contains("resources.json: No such file"), "{text}");
    }
}
