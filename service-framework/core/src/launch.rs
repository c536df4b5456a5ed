//! What an instance is launched with: command, environment, resources, check. Pure.
//!
//! The environment is Marathon's, name for name; the app's own variables win over all of it.

mod pod; // the tasks of a pod's instance

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::container::{
    ContainerKind as Kind, Isolation, Login, Mount, MountSource, Network, PortMapping, Pull,
    Transport,
};
use mete_model::resources::megabytes::milli_nearest;
use mete_model::{
    AgentId, CommandSpec, ContainerSpec, FetchUri, HealthCheck, MEBIBYTE, Probe, Program, Question,
    Resources, TaskCheck, TaskId, TaskSpec, WindowSize,
};

use crate::effects::LaunchSecrets;
use crate::spec::app::{
    AppNetwork, AppSpec, Container, ContainerKind, HealthCheckSpec, HealthProtocol, HostVolume,
    InstancePort, PortDefinition, Protocol,
};
use crate::spec::history::AppVersion;
use crate::spec::time;

/// The variable that says whether an app has the role of its group because all in it have.
const ENFORCES_ROLE: &str = "MARATHON_APP_ENFORCE_GROUP_ROLE";
/// Labels and their values become variables only up to this length (Marathon's bound).
const MAX_LABEL_BYTES: usize = 512;

/// How others find a task: DiscoveryInfo, of visibility FRAMEWORK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Of the app or the pod: `web.shop` for `/shop/web`.
    pub name: String,
    /// Its ports.
    pub ports: Vec<TaskPort>,
}

/// A port of a task, as others find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPort {
    /// On the host, or in its container when it has none there.
    pub number: u16,
    /// Whether it is one of the host, which the task takes.
    pub is_of_host: bool,
    /// Its name, when it has one.
    pub name: Option<String>,
    /// What it speaks: it is told once for each.
    pub protocols: Vec<String>,
    /// Labels of the port definition, and on a network of the task's own where the port is.
    pub labels: Vec<(String, String)>,
}

/// The label that says whether a port is one of the host or of the container (Marathon's word, and Mesos-DNS').
const SCOPE_LABEL: &str = "network-scope";

/// Where an instance is launched, and with what.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant<'a> {
    /// On which agent.
    pub agent: &'a AgentId,
    /// That agent's name.
    pub host: &'a str,
    /// One port for each port definition that takes one of the host.
    pub ports: &'a [u16],
    /// All it takes of the offer.
    pub resources: Resources,
    /// Whether all that is in its group at the top has the role of that group.
    pub enforces_role: bool,
}

pub use pod::group;

/// What an instance takes, its ports aside and its volumes included.
pub fn resources(spec: &AppSpec) -> Resources {
    if let Some(pod) = &spec.pod {
        return pod::resources(pod);
    }
    let mut resources = Resources::none();
    resources.cpus_milli = spec.cpus_milli;
    resources.mem_milli = milli_nearest(spec.mem_bytes);
    resources.disk_milli = milli_nearest(spec.disk_bytes.saturating_add(spec.volume_bytes()));
    resources.gpus_milli = u64::from(spec.gpus) * 1_000;
    resources
}

/// The task of an app's instance; `original` is left empty.
pub fn task(task: TaskId, version: &AppVersion, grant: &Grant<'_>) -> TaskSpec {
    let spec = &*version.spec;
    let environment = environment(version, &task, grant);
    let ports = spec.instance_ports(grant.ports);
    let command = CommandSpec {
        program: program(spec),
        environment,
        secrets: BTreeMap::new(),
        user: spec.user.clone(),
        uris: spec.fetch.iter().map(fetch).collect(),
        terminal: spec.tty.then(WindowSize::default),
    };
    let health_check = spec
        .agent_check()
        .and_then(|at| health_check(spec.health_checks.get(at)?, &ports, &command));
    TaskSpec {
        id: task,
        name: spec.id.task_name(),
        agent: grant.agent.clone(),
        resources: grant.resources.clone(),
        account: None,
        limits: spec.limits.of_task(),
        executor: None,
        container: around(spec, &ports).map(Box::new),
        check: spec
            .check
            .as_ref()
            .and_then(|check| task_check(check, &ports, &command)),
        command,
        health_check,
        kill_grace_period: spec.task_kill_grace_period,
        max_completion_time: None,
        labels: spec
            .labels
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.clone())))
            .collect(),
        original: Default::default(),
    }
}

/// The secrets of an app's task.
pub fn secrets(spec: &AppSpec) -> LaunchSecrets {
    let files = spec.container.iter().flat_map(|one| &one.secrets);
    let files = files.map(|file| (&file.container_path, &file.secret));
    let login = spec
        .container
        .as_ref()
        .and_then(|one| one.pull_secret.as_ref());
    LaunchSecrets {
        variables: sources(spec, spec.env_secrets.iter()),
        files: sources(spec, files),
        login: login.and_then(|secret| spec.secrets.get(secret)).cloned(),
    }
}

/// How the registry of an image is told who asks; what the secret holds is told when the task is launched.
fn login(secret: Option<&String>) -> Login {
    secret.map_or(Login::Agents, |_| Login::Own(None))
}

/// Where the secrets of these names are kept, by what wants them.
fn sources<'a>(
    spec: &AppSpec,
    wanted: impl Iterator<Item = (&'a String, &'a String)>,
) -> BTreeMap<String, String> {
    let source = |(by, secret): (&String, &String)| {
        let source = spec.secrets.get(secret)?;
        Some((by.clone(), source.clone()))
    };
    wanted.filter_map(source).collect()
}

/// How an app's task is found.
pub fn discovery(spec: &AppSpec, ports: &[u16]) -> Discovery {
    let ports = spec.instance_ports(ports);
    let told = spec.ports().zip(&ports);
    let told = told.map(|(definition, port)| {
        let protocols = definition.protocol.each().map(ToString::to_string);
        task_port(spec, definition, *port, protocols.collect())
    });
    Discovery {
        name: spec.id.task_name(),
        ports: told.collect(),
    }
}

fn task_port(
    spec: &AppSpec,
    definition: &PortDefinition,
    port: InstancePort,
    protocols: Vec<String>,
) -> TaskPort {
    let labels = definition.labels.iter();
    let mut labels: Vec<_> = labels
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if !spec.network.is_host() {
        let scope = if port.host.is_some() {
            "host"
        } else {
            "container"
        };
        labels.push((SCOPE_LABEL.to_owned(), scope.to_owned()));
    }
    TaskPort {
        number: port.told(),
        is_of_host: port.host.is_some(),
        name: definition.name.clone(),
        protocols,
        labels,
    }
}

fn program(spec: &AppSpec) -> Program {
    if spec.cmd.is_none() && spec.image().is_some() {
        return Program::Image {
            arguments: spec.args.clone(),
        };
    }
    match (&spec.cmd, spec.args.first()) {
        (None, Some(path)) => Program::Exec {
            path: path.clone(),
            argv: spec.args.clone(),
        },
        (cmd, _) => Program::Shell(cmd.clone().unwrap_or_default()),
    }
}

/// What is around an instance; on a network of its own there is always something.
fn around(spec: &AppSpec, ports: &[InstancePort]) -> Option<ContainerSpec> {
    let around = spec.container.as_ref().map(container);
    let network = network(spec, ports);
    if network == Network::Host {
        return around;
    }
    Some(ContainerSpec {
        network,
        ..around.unwrap_or_default()
    })
}

/// The network of an instance, with the ports of the host that lead into it.
fn network(spec: &AppSpec, ports: &[InstancePort]) -> Network {
    let ports = mapped(spec, ports);
    match &spec.network {
        AppNetwork::Host => Network::Host,
        AppNetwork::Bridge => Network::Bridge { ports },
        AppNetwork::Named(networks) => Network::Named {
            names: networks
                .iter()
                .map(|network| network.name.clone())
                .collect(),
            ports,
        },
    }
}

fn mapped(spec: &AppSpec, ports: &[InstancePort]) -> Vec<PortMapping> {
    let mut all = Vec::new();
    for (definition, port) in spec.ports().zip(ports) {
        let transports: &[Transport] = match definition.protocol {
            Protocol::Tcp => &[Transport::Tcp],
            Protocol::Udp => &[Transport::Udp],
            Protocol::UdpTcp => &[Transport::Udp, Transport::Tcp],
        };
        let Some(host) = port.host else { continue };
        all.extend(transports.iter().map(|transport| PortMapping {
            host,
            container: port.inner,
            transport: *transport,
        }));
    }
    all
}

/// A file at this place that holds a secret; what it holds is told when the task is launched.
fn secret(target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        source: MountSource::Secret(None),
        read_only: true,
    }
}

fn container(container: &Container) -> ContainerSpec {
    let mut isolation = Isolation::default();
    if container.privileged {
        isolation.raze();
    }
    let mount = |volume: &HostVolume| Mount {
        target: volume.container_path.clone(),
        source: match volume.host_path.starts_with('/') {
            true => MountSource::Host(volume.host_path.clone()),
            false => MountSource::Sandbox(volume.host_path.clone()),
        },
        read_only: volume.read_only,
    };
    let volumes = container.volumes.iter().map(mount);
    let secrets = container.secrets.iter();
    let secrets = secrets.map(|file| secret(&file.container_path));
    ContainerSpec {
        // Without an image there is nothing for an engine to run.
        kind: match (container.kind, &container.image) {
            (ContainerKind::Docker, Some(_)) => Kind::Docker,
            (ContainerKind::Docker, None) | (ContainerKind::Mesos, _) => Kind::Mesos,
        },
        image: container.image.clone(),
        pull: match container.force_pull {
            true => Pull::Always,
            false => Pull::IfMissing,
        },
        login: login(container.pull_secret.as_ref()),
        mounts: volumes.chain(secrets).collect(),
        isolation,
        ..ContainerSpec::default()
    }
}

fn fetch(fetch: &crate::spec::app::Fetch) -> FetchUri {
    FetchUri {
        value: fetch.uri.clone(),
        extract: fetch.extract,
        executable: fetch.executable,
        cache: fetch.cache,
        output_file: fetch.dest_path.clone(),
    }
}

/// `None` when it asks a port that is not there, which validation does not let in.
fn health_check(
    check: &HealthCheckSpec,
    ports: &[InstancePort],
    command: &CommandSpec,
) -> Option<HealthCheck> {
    let port = || {
        let own = ports.get(check.port_index.unwrap_or(0) as usize);
        check.port.or_else(|| own.map(|port| port.inner))
    };
    let probe = match check.protocol {
        HealthProtocol::Http
        | HealthProtocol::Https
        | HealthProtocol::MesosHttp
        | HealthProtocol::MesosHttps => {
            let path = check.http_path();
            Probe::Http {
                port: port()?,
                path,
                statuses: Vec::new(),
                secure: check.protocol.is_secure(),
            }
        }
        HealthProtocol::Tcp | HealthProtocol::MesosTcp => Probe::Tcp { port: port()? },
        HealthProtocol::Grpc => Probe::Grpc {
            port: port()?,
            service: check.path.clone().unwrap_or_default(),
        },
        HealthProtocol::Command => Probe::Command(CommandSpec {
            program: match check.argv.first() {
                Some(path) => Program::Exec {
                    path: path.clone(),
                    argv: check.argv.clone(),
                },
                None => Program::Shell(check.command.clone()?),
            },
            uris: Vec::new(),
            terminal: None,
            ..command.clone()
        }),
    };
    // Marathon's own checks know no delay; their grace period does its work.
    let delay = match check.protocol {
        HealthProtocol::Http | HealthProtocol::Https | HealthProtocol::Tcp => Duration::ZERO,
        HealthProtocol::Command
        | HealthProtocol::MesosHttp
        | HealthProtocol::MesosHttps
        | HealthProtocol::MesosTcp
        | HealthProtocol::Grpc => check.delay,
    };
    Some(HealthCheck {
        probe,
        delay,
        interval: check.interval,
        timeout: check.timeout,
        grace_period: check.grace_period,
        consecutive_failures: match check.max_consecutive_failures {
            // Marathon's word for never is Mesos' word for at once.
            0 => HealthCheck::NEVER_KILLS,
            most => most,
        },
    })
}

/// [`ENFORCES_ROLE`] in Marathon's words.
fn enforces_role(grant: &Grant<'_>) -> String {
    if grant.enforces_role { "TRUE" } else { "FALSE" }.to_owned()
}

/// `None` when it asks a port that is not there, or of a kind that validation does not let in.
fn task_check(
    check: &HealthCheckSpec,
    ports: &[InstancePort],
    command: &CommandSpec,
) -> Option<Box<TaskCheck>> {
    let asked = health_check(check, ports, command)?;
    let question = match asked.probe {
        Probe::Http { port, path, .. } => Question::Http { port, path },
        Probe::Tcp { port } => Question::Tcp { port },
        Probe::Command(command) => Question::Command(command),
        Probe::Grpc { .. } => return None,
    };
    Some(Box::new(TaskCheck {
        question,
        delay: asked.delay,
        interval: asked.interval,
        timeout: asked.timeout,
    }))
}

/// The variables of a task.
pub fn environment(
    version: &AppVersion,
    task: &TaskId,
    grant: &Grant<'_>,
) -> BTreeMap<String, String> {
    let spec = &*version.spec;
    let mut all = BTreeMap::from([
        ("HOST".to_owned(), grant.host.to_owned()),
        ("MESOS_TASK_ID".to_owned(), task.to_string()),
        ("MARATHON_APP_ID".to_owned(), spec.id.to_string()),
        (
            "MARATHON_APP_VERSION".to_owned(),
            time::text(version.version),
        ),
        (
            "MARATHON_APP_RESOURCE_CPUS".to_owned(),
            number(spec.cpus_milli as f64 / 1e3),
        ),
        (
            "MARATHON_APP_RESOURCE_MEM".to_owned(),
            number(spec.mem_bytes as f64 / MEBIBYTE as f64),
        ),
        (
            "MARATHON_APP_RESOURCE_DISK".to_owned(),
            number(spec.disk_bytes as f64 / MEBIBYTE as f64),
        ),
        (
            "MARATHON_APP_RESOURCE_GPUS".to_owned(),
            spec.gpus.to_string(),
        ),
        (ENFORCES_ROLE.to_owned(), enforces_role(grant)),
    ]);
    if let Some(image) = spec.image() {
        all.insert("MARATHON_APP_DOCKER_IMAGE".to_owned(), image.to_owned());
    }
    add_labels(&mut all, &spec.labels);
    add_ports(&mut all, spec, grant.ports);
    all.extend(
        spec.env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    all
}

/// 1.0 and 0.1, as Scala prints them.
fn number(value: f64) -> String {
    format!("{value:?}")
}

fn add_labels(all: &mut BTreeMap<String, String>, labels: &BTreeMap<String, String>) {
    let is_short = |(name, value): &(&String, &String)| {
        name.len() < MAX_LABEL_BYTES && value.len() < MAX_LABEL_BYTES
    };
    let mut names = Vec::new();
    for (name, value) in labels.iter().filter(is_short) {
        let name = variable(name).to_ascii_uppercase();
        all.insert(format!("MARATHON_APP_LABEL_{name}"), value.clone());
        names.push(name);
    }
    all.insert("MARATHON_APP_LABELS".to_owned(), names.join(" "));
}

fn add_ports(all: &mut BTreeMap<String, String>, spec: &AppSpec, ports: &[u16]) {
    let ports = spec.instance_ports(ports);
    for (at, (definition, port)) in spec.port_definitions.iter().zip(&ports).enumerate() {
        let told = port.told().to_string();
        all.insert(format!("PORT{at}"), told.clone());
        all.insert(format!("PORT_{}", port.asked), told.clone());
        if let Some(name) = &definition.name {
            all.insert(format!("PORT_{}", name.to_uppercase()), told);
        }
    }
    let given = ports.iter().filter(|port| port.given);
    let list: Vec<String> = given.map(|port| port.told().to_string()).collect();
    if let Some(first) = list.first() {
        all.insert("PORT".to_owned(), first.clone());
        all.insert("PORTS".to_owned(), list.join(","));
    }
}

/// Runs of characters that no variable has become one `_`.
fn variable(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() || letter == '_' {
            out.push(letter);
        } else if !out.ends_with('\u{0}') {
            out.push('\u{0}'); // stands for a run until all is read, so that `_` itself begins none
        }
    }
    out.replace('\u{0}', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::{AppId, Mapping, NamedNetwork};
    use mete_model::Timestamp;
    use std::sync::Arc;

    fn version() -> AppVersion {
        let mut spec = AppSpec::new(AppId::new("/shop/web").expect("good"));
        spec.cmd = Some("serve".to_owned());
        spec.cpus_milli = 100;
        spec.port_definitions = vec![
            PortDefinition {
                port: 10_000,
                name: Some("http".to_owned()),
                ..PortDefinition::default_port()
            },
            PortDefinition {
                port: 0,
                name: None,
                ..PortDefinition::default_port()
            },
        ];
        spec.labels
            .insert("HAPROXY_0 vhost..x".to_owned(), "a.b".to_owned());
        spec.labels.insert("long".to_owned(), "x".repeat(512));
        AppVersion::first(Timestamp::from_millis(1_700_000_000_123), Arc::new(spec))
    }

    /// The variables of a task `t` with these ports.
    fn variables(version: &AppVersion, host: &str, ports: &[u16]) -> BTreeMap<String, String> {
        let grant = Grant {
            agent: &AgentId::new("S1").expect("good"),
            host,
            ports,
            resources: Resources::none(),
            enforces_role: false,
        };
        environment(version, &TaskId::new("t").expect("good"), &grant)
    }

    #[test]
    fn the_environment_is_marathons() {
        let environment = variables(&version(), "node-1", &[31_004, 31_005]);

        let text: Vec<String> = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let expected = [
            "HOST=node-1",
            "MARATHON_APP_ENFORCE_GROUP_ROLE=FALSE",
            "MARATHON_APP_ID=/shop/web",
            "MARATHON_APP_LABELS=HAPROXY_0_VHOST_X",
            "MARATHON_APP_LABEL_HAPROXY_0_VHOST_X=a.b",
            "MARATHON_APP_RESOURCE_CPUS=0.1",
            "MARATHON_APP_RESOURCE_DISK=0.0",
            "MARATHON_APP_RESOURCE_GPUS=0",
            "MARATHON_APP_RESOURCE_MEM=128.0",
            "MARATHON_APP_VERSION=2023-11-14T22:13:20.123Z",
            "MESOS_TASK_ID=t",
            "PORT=31004",
            "PORT0=31004",
            "PORT1=31005",
            "PORTS=31004,31005",
            "PORT_10000=31004",
            "PORT_31005=31005",
            "PORT_HTTP=31004",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn an_app_with_an_image_runs_what_the_image_says_with_its_own_arguments() {
        let mut version = version();
        let mut spec = (*version.spec).clone();
        spec.cmd = None;
        spec.args = vec!["-x".to_owned()];
        let volume = |host: &str| HostVolume {
            container_path: "/data".to_owned(),
            host_path: host.to_owned(),
            read_only: true,
        };
        spec.container = Some(Container {
            kind: crate::spec::app::ContainerKind::Docker,
            image: Some("busybox".to_owned()),
            force_pull: true,
            privileged: true,
            pull_secret: None,
            volumes: vec![volume("/srv/data"), volume("kept")],
            secrets: Vec::new(),
            persistent: Vec::new(),
        });
        assert_eq!(
            program(&spec),
            Program::Image {
                arguments: vec!["-x".to_owned()]
            }
        );
        let around = container(spec.container.as_ref().expect("there"));
        version.spec = Arc::new(spec);
        let environment = variables(&version, "h", &[1, 2]);

        assert_eq!(environment["MARATHON_APP_DOCKER_IMAGE"], "busybox");
        assert_eq!(around.pull, Pull::Always);
        assert!(around.isolation.privileged);
        let sources: Vec<_> = around.mounts.iter().map(|mount| &mount.source).collect();
        let expected = [
            &MountSource::Host("/srv/data".to_owned()),
            &MountSource::Sandbox("kept".to_owned()),
        ];
        assert_eq!(sources, expected);
    }

    fn mapping(container_port: u16, host_port: Option<u16>) -> PortDefinition {
        PortDefinition {
            name: None,
            mapping: Some(Mapping {
                container_port,
                host_port,
                network_names: Vec::new(),
            }),
            ..PortDefinition::default_port()
        }
    }

    #[test]
    fn on_the_bridge_the_ports_of_the_host_lead_to_those_of_the_container() {
        let mut spec = AppSpec::new(AppId::new("/web").expect("good"));
        spec.network = AppNetwork::Bridge;
        spec.port_definitions = vec![mapping(80, Some(0)), mapping(0, Some(31_500))];
        spec.port_definitions[1].protocol = Protocol::UdpTcp;
        let ports = spec.instance_ports(&[31_004, 31_500]);

        let around = around(&spec, &ports).expect("a container");

        let one = |host, container, transport| PortMapping {
            host,
            container,
            transport,
        };
        let expected = [
            one(31_004, 80, Transport::Tcp),
            one(31_500, 31_500, Transport::Udp),
            one(31_500, 31_500, Transport::Tcp),
        ];
        assert_eq!(around.network.ports(), expected);
        let check = HealthCheckSpec::new(HealthProtocol::MesosTcp);
        let check = health_check(&check, &ports, &CommandSpec::shell("x")).expect("a check");
        assert_eq!(check.probe, Probe::Tcp { port: 80 });
        let mut all = BTreeMap::new();
        add_ports(&mut all, &spec, &[31_004, 31_500]);
        let text: Vec<_> = all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let expected = [
            "PORT=31004",
            "PORT0=31004",
            "PORT1=31500",
            "PORTS=31004,31500",
            "PORT_31500=31500",
            "PORT_80=31004",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn a_port_without_one_of_the_host_is_that_of_the_container() {
        let mut spec = AppSpec::new(AppId::new("/web").expect("good"));
        spec.network = AppNetwork::Named(vec![NamedNetwork {
            name: "blue".to_owned(),
            labels: BTreeMap::new(),
        }]);
        spec.port_definitions = vec![mapping(80, None), mapping(0, None), mapping(90, Some(0))];

        let mut all = BTreeMap::new();
        add_ports(&mut all, &spec, &[31_004]);

        let text: Vec<_> = all
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let expected = [
            "PORT=10001",
            "PORT0=80",
            "PORT1=10001",
            "PORT2=31004",
            "PORTS=10001,31004",
            "PORT_10001=10001",
            "PORT_80=80",
            "PORT_90=31004",
        ];
        assert_eq!(text, expected);
        let around = around(&spec, &spec.instance_ports(&[31_004])).expect("a container");
        let Network::Named { names, ports } = around.network else {
            panic!("by name")
        };
        assert_eq!((names, ports.len()), (vec!["blue".to_owned()], 1));
    }

    #[test]
    fn the_apps_own_variables_win() {
        let mut version = version();
        let mut spec = (*version.spec).clone();
        spec.env.insert("PORT0".to_owned(), "mine".to_owned());
        version.spec = Arc::new(spec);

        let environment = variables(&version, "h", &[1, 2]);

        assert_eq!(environment["PORT0"], "mine");
    }

    #[test]
    fn a_check_asks_the_port_that_was_given() {
        let mut check = HealthCheckSpec::new(HealthProtocol::Http);
        check.port_index = Some(1);
        let command = CommandSpec::shell("serve");

        let version = version();
        let ports = |granted: &[u16]| version.spec.instance_ports(granted);
        let http = health_check(&check, &ports(&[31_004, 31_005]), &command).expect("a check");

        assert_eq!(
            http.probe,
            Probe::Http {
                port: 31_005,
                path: "/".to_owned(),
                statuses: Vec::new(),
                secure: false,
            }
        );
        assert_eq!((http.delay, http.consecutive_failures), (Duration::ZERO, 3));
        assert_eq!(health_check(&check, &ports(&[31_004]), &command), None);

        check.max_consecutive_failures = 0;
        let never = health_check(&check, &ports(&[31_004, 31_005]), &command).expect("a check");
        assert_eq!(never.consecutive_failures, HealthCheck::NEVER_KILLS);
    }
}
