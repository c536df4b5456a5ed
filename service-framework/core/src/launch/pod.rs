//! What an instance of a pod is launched with: a task for each container, and what is around them.
//!
//! The environment is Marathon's for pods, name for name. Unlike that of apps it wins over the user's own.

use std::collections::BTreeMap;

use mete_model::container::{ContainerKind, Mount, MountSource, Pull};
use mete_model::resources::megabytes::milli_nearest;
use mete_model::{
    CommandSpec, ContainerSpec, MEBIBYTE, Program, Ranges, Resources, TaskId, TaskSpec,
};

use super::{
    Discovery, ENFORCES_ROLE, Grant, add_labels, enforces_role, fetch, health_check, number,
    sources, task_check, variable,
};
use crate::accepted::draw;
use crate::effects::{Launch, LaunchGroup, LaunchSecrets};
use crate::spec::app::{
    AppSpec, InstancePort, PodContainer, PodProgram, PodSpec, PodVolume, VolumeMount, VolumeSource,
};
use crate::spec::history::AppVersion;
use crate::spec::time;
use crate::state::instances::InstanceId;

/// Where ephemeral volumes lie below the sandbox that containers share (as Marathon has it).
const VOLUMES: &str = "volumes";

/// What the containers of an instance and their executor take together, ports aside.
pub(super) fn resources(pod: &PodSpec) -> Resources {
    let containers = pod.containers.iter().map(of_container);
    containers.fold(of_executor(pod), |sum, one| sum.plus(&one))
}

fn of_executor(pod: &PodSpec) -> Resources {
    let mut resources = Resources::none();
    resources.cpus_milli = pod.executor.cpus_milli;
    resources.mem_milli = milli_nearest(pod.executor.mem_bytes);
    resources.disk_milli = milli_nearest(pod.executor.disk_bytes);
    resources
}

fn of_container(container: &PodContainer) -> Resources {
    let mut resources = Resources::none();
    resources.cpus_milli = container.cpus_milli;
    resources.mem_milli = milli_nearest(container.mem_bytes);
    resources.disk_milli = milli_nearest(container.disk_bytes);
    resources.gpus_milli = u64::from(container.gpus) * 1_000;
    resources
}

/// The tasks of an instance, in the order of its containers; `original` of each is left empty.
pub fn group(
    id: &InstanceId,
    version: &AppVersion,
    pod: &PodSpec,
    grant: &Grant<'_>,
) -> LaunchGroup {
    let spec = &*version.spec;
    let ports = spec.instance_ports(grant.ports);
    let of_all = of_endpoints(spec, &ports);
    let mut left = grant.resources.clone();
    let tasks = pod.containers.iter().map(|container| {
        let own = spec.of_container(&container.name, &ports);
        let mut asked = of_container(container);
        if spec.network.is_host() {
            asked = asked.with_ports(of_host(own));
        }
        let resources = take(&mut left, asked);
        let task = id.task_of(&container.name);
        let mut environment = own_environment(spec, container);
        environment.extend(context(id, version, container, &task, grant));
        add_labels(&mut environment, &labels(spec, container));
        environment.extend(of_all.clone());
        let command = CommandSpec {
            program: program(container),
            environment,
            secrets: std::collections::BTreeMap::new(),
            user: container.user.clone().or_else(|| spec.user.clone()),
            uris: container.fetch.iter().map(fetch).collect(),
            terminal: container.tty.then(mete_model::WindowSize::default),
        };
        let (check, told) = (container.health_check.as_ref(), container.check.as_deref());
        let task = TaskSpec {
            id: task,
            name: container.name.clone(),
            agent: grant.agent.clone(),
            resources,
            account: None,
            limits: container.limits.of_task(),
            health_check: check.and_then(|check| health_check(check, own, &command)),
            check: told.and_then(|check| task_check(check, own, &command)),
            container: around(container, &pod.volumes).map(Box::new),
            command,
            executor: None,
            kill_grace_period: container.kill_grace_period,
            max_completion_time: None,
            labels: labels_of(container),
            original: Default::default(),
        };
        Launch {
            task,
            discovery: discovery(spec, container, own),
            secrets: secrets(spec, container, &pod.volumes),
        }
    });
    let tasks = tasks.collect();
    let mut around = of_executor(pod);
    if !spec.network.is_host() {
        // They lead into the network that all share, as long as one of them lives.
        around = around.with_ports(of_host(&ports));
    }
    LaunchGroup {
        tasks,
        executor: id.executor(),
        name: spec.id.task_name(),
        overhead: take(&mut left, around),
        network: super::network(spec, &ports),
    }
}

/// Each of its containers is found by the name of the pod.
fn discovery(spec: &AppSpec, container: &PodContainer, own: &[InstancePort]) -> Discovery {
    let told = container.endpoints.iter().zip(own);
    let told = told
        .map(|(endpoint, port)| super::task_port(spec, &endpoint.port, *port, endpoint.spoken()));
    Discovery {
        name: spec.id.task_name(),
        ports: told.collect(),
    }
}

/// What a part of the pod takes of what was granted to all: as it is reserved, and its GPUs by device where they have names.
fn take(left: &mut Resources, asked: Resources) -> Resources {
    let flat = left.flat();
    let own = flat.pin(&asked).unwrap_or(asked);
    draw(left, &own)
}

fn of_host(ports: &[InstancePort]) -> Ranges {
    let ports = ports.iter().filter_map(|port| port.host);
    ports.map(u64::from).collect()
}

fn program(container: &PodContainer) -> Program {
    match (&container.program, &container.image) {
        (Some(PodProgram::Shell(line)), _) => Program::Shell(line.clone()),
        (
            Some(PodProgram::Argv {
                words,
                overrides_entrypoint: None | Some(false),
            }),
            Some(_),
        ) => Program::Image {
            arguments: words.clone(),
        },
        (Some(PodProgram::Argv { words, .. }), _) => Program::Exec {
            path: words.first().cloned().unwrap_or_default(),
            argv: words.clone(),
        },
        (None, _) => Program::Image {
            arguments: Vec::new(),
        },
    }
}

/// Its labels, as a task has them.
fn labels_of(container: &PodContainer) -> Vec<(String, Option<String>)> {
    let labels = container.labels.iter();
    labels
        .map(|(name, value)| (name.clone(), Some(value.clone())))
        .collect()
}

/// What is around a container; `None` when it runs plainly on the files of the agent.
fn around(container: &PodContainer, volumes: &[PodVolume]) -> Option<ContainerSpec> {
    if container.image.is_none() && container.mounts.is_empty() {
        return None;
    }
    let force_pull = container.image.as_ref().and_then(|image| image.force_pull);
    let mounts = container.mounts.iter();
    Some(ContainerSpec {
        kind: ContainerKind::Mesos,
        image: container.image.as_ref().map(|image| image.id.clone()),
        pull: match force_pull.unwrap_or_default() {
            true => Pull::Always,
            false => Pull::IfMissing,
        },
        login: super::login(
            container
                .image
                .as_ref()
                .and_then(|image| image.pull_secret.as_ref()),
        ),
        mounts: mounts.filter_map(|one| mount(one, volumes)).collect(),
        ..ContainerSpec::default()
    })
}

/// `None` when there is no such volume, which validation does not let in.
fn mount(mount: &VolumeMount, volumes: &[PodVolume]) -> Option<Mount> {
    let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
    let source = match &volume.source {
        VolumeSource::Ephemeral => MountSource::Parent(format!("{VOLUMES}/{}", volume.name)),
        VolumeSource::Host(path) if path.starts_with('/') => MountSource::Host(path.clone()),
        VolumeSource::Host(path) => MountSource::Sandbox(path.clone()),
        VolumeSource::Secret(_) => return Some(super::secret(&mount.path)),
    };
    Some(Mount {
        target: mount.path.clone(),
        source,
        read_only: mount.read_only.unwrap_or_default(),
    })
}

/// What the user wants of the pod and of the container, which wins.
fn own_environment(spec: &AppSpec, container: &PodContainer) -> BTreeMap<String, String> {
    let of_pod = spec.env.iter();
    let of_pod = of_pod.filter(|(name, _)| !container.env_secrets.contains_key(*name));
    let all = of_pod.chain(&container.env);
    all.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn secrets(spec: &AppSpec, container: &PodContainer, volumes: &[PodVolume]) -> LaunchSecrets {
    let of_pod = spec.env_secrets.iter();
    let of_pod = of_pod.filter(|(name, _)| !container.env.contains_key(*name));
    let files = container.mounts.iter().filter_map(|mount| {
        let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
        Some((&mount.path, volume.secret()?))
    });
    let login = container
        .image
        .as_ref()
        .and_then(|image| image.pull_secret.as_ref());
    LaunchSecrets {
        variables: sources(spec, of_pod.chain(&container.env_secrets)),
        files: sources(spec, files),
        login: login.and_then(|secret| spec.secrets.get(secret)).cloned(),
    }
}

fn labels(spec: &AppSpec, container: &PodContainer) -> BTreeMap<String, String> {
    let all = spec.labels.iter().chain(&container.labels);
    all.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn context(
    id: &InstanceId,
    version: &AppVersion,
    container: &PodContainer,
    task: &TaskId,
    grant: &Grant<'_>,
) -> [(String, String); 11] {
    let megabytes = |bytes: u64| number(bytes as f64 / MEBIBYTE as f64);
    [
        ("HOST", grant.host.to_owned()),
        (ENFORCES_ROLE, enforces_role(grant)),
        ("MESOS_TASK_ID", task.to_string()),
        ("MESOS_EXECUTOR_ID", id.executor().to_string()),
        ("MARATHON_APP_ID", version.spec.id.to_string()),
        ("MARATHON_APP_VERSION", time::text(version.version)),
        ("MARATHON_CONTAINER_ID", container.name.clone()),
        (
            "MARATHON_CONTAINER_RESOURCE_CPUS",
            number(container.cpus_milli as f64 / 1e3),
        ),
        (
            "MARATHON_CONTAINER_RESOURCE_MEM",
            megabytes(container.mem_bytes),
        ),
        (
            "MARATHON_CONTAINER_RESOURCE_DISK",
            megabytes(container.disk_bytes),
        ),
        (
            "MARATHON_CONTAINER_RESOURCE_GPUS",
            container.gpus.to_string(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// Where each endpoint of the pod is: every container is told of all.
fn of_endpoints(spec: &AppSpec, ports: &[InstancePort]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (definition, port) in spec.ports().zip(ports) {
        let name = definition.name.as_deref().unwrap_or_default();
        let name = variable(&name.to_ascii_uppercase());
        let fixed = definition
            .mapping
            .as_ref()
            .map_or(0, |mapping| mapping.container_port);
        let inner = (fixed != 0).then_some(fixed);
        let listens = match spec.network.is_host() {
            true => port.host,
            false => inner,
        };
        for (kind, number) in [
            ("ENDPOINT", listens),
            ("EP_HOST", port.host),
            ("EP_CONTAINER", inner),
        ] {
            all.extend(number.map(|number| (format!("{kind}_{name}"), number.to_string())));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::{
        AppId, AppNetwork, Endpoint, HealthCheckSpec, HealthProtocol, Mapping, PodImage,
        PortDefinition,
    };
    use mete_model::container::{Login, Network};
    use mete_model::{AgentId, Probe, Timestamp};
    use std::sync::Arc;

    fn endpoint(name: &str) -> Endpoint {
        Endpoint {
            port: PortDefinition {
                name: Some(name.to_owned()),
                mapping: Some(Mapping {
                    container_port: 0,
                    host_port: Some(0),
                    network_names: Vec::new(),
                }),
                ..PortDefinition::default_port()
            },
            protocols: Vec::new(),
        }
    }

    fn pod() -> AppSpec {
        let mut web = PodContainer::new("web");
        web.program = Some(PodProgram::Shell("serve".to_owned()));
        web.cpus_milli = 100;
        web.endpoints = vec![endpoint("http-api"), endpoint("admin")];
        web.env = BTreeMap::from([("A".to_owned(), "web".to_owned())]);
        web.labels = BTreeMap::from([("tier".to_owned(), "1".to_owned())]);
        web.health_check = Some(HealthCheckSpec {
            port_index: Some(1),
            ..HealthCheckSpec::new(HealthProtocol::MesosTcp)
        });
        web.mounts = vec![VolumeMount {
            name: "data".to_owned(),
            path: "/data".to_owned(),
            read_only: Some(true),
        }];
        let mut cache = PodContainer::new("cache");
        cache.image = Some(PodImage {
            id: "redis:7".to_owned(),
            force_pull: Some(true),
            pull_secret: Some("registry".to_owned()),
            labels: BTreeMap::new(),
        });
        cache.program = Some(PodProgram::Argv {
            words: vec!["--save".to_owned()],
            overrides_entrypoint: None,
        });
        cache.user = Some("nobody".to_owned());
        cache.endpoints = vec![endpoint("redis")];
        cache.env_secrets = BTreeMap::from([("B".to_owned(), "db".to_owned())]);
        let mut spec = AppSpec::new_pod(
            AppId::new("/shop/web").expect("good"),
            PodSpec {
                containers: vec![web, cache],
                volumes: vec![PodVolume {
                    name: "data".to_owned(),
                    source: VolumeSource::Ephemeral,
                }],
                ..PodSpec::default()
            },
        );
        spec.user = Some("www".to_owned());
        spec.env = BTreeMap::from([("A", "pod"), ("B", "pod"), ("HOST", "mine")])
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let lie = [("db", "db/password"), ("registry", "db/config.json")];
        spec.secrets = lie
            .map(|(name, at)| (name.to_owned(), at.to_owned()))
            .into();
        spec
    }

    fn launched(spec: AppSpec) -> LaunchGroup {
        let (version, agent) = (
            Timestamp::from_millis(1_700_000_000_123),
            AgentId::new("S1"),
        );
        let version = AppVersion::first(version, Arc::new(spec));
        let id = InstanceId::new(&version.spec.id, *b"0123456789abcdef");
        let ports = [31_000, 31_001, 31_002];
        let mut resources = super::super::resources(&version.spec);
        resources.ports = ports.iter().map(|port| u64::from(*port)).collect();
        let grant = Grant {
            agent: &agent.expect("good"),
            host: "node-1",
            ports: &ports,
            resources,
            enforces_role: false,
        };
        let pod = version.spec.pod.as_deref().expect("a pod");
        group(&id, &version, pod, &grant)
    }

    #[test]
    fn each_container_is_told_who_it_is_and_where_all_are() {
        let group = launched(pod());

        let text: Vec<String> = group.tasks[0]
            .task
            .command
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let uuid = "30313233-3435-3637-3839-616263646566";
        let expected = [
            "A=web",
            "B=pod",
            "ENDPOINT_ADMIN=31001",
            "ENDPOINT_HTTP_API=31000",
            "ENDPOINT_REDIS=31002",
            "EP_HOST_ADMIN=31001",
            "EP_HOST_HTTP_API=31000",
            "EP_HOST_REDIS=31002",
            "HOST=node-1",
            "MARATHON_APP_ENFORCE_GROUP_ROLE=FALSE",
            "MARATHON_APP_ID=/shop/web",
            "MARATHON_APP_LABELS=TIER",
            "MARATHON_APP_LABEL_TIER=1",
            "MARATHON_APP_VERSION=2023-11-14T22:13:20.123Z",
            "MARATHON_CONTAINER_ID=web",
            "MARATHON_CONTAINER_RESOURCE_CPUS=0.1",
            "MARATHON_CONTAINER_RESOURCE_DISK=0.0",
            "MARATHON_CONTAINER_RESOURCE_GPUS=0",
            "MARATHON_CONTAINER_RESOURCE_MEM=128.0",
            &format!("MESOS_EXECUTOR_ID=instance-shop_web.{uuid}"),
            &format!("MESOS_TASK_ID=shop_web.instance-{uuid}.web.1"),
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn what_was_granted_is_shared_out_and_nothing_is_left() {
        let group = launched(pod());

        let [web, cache] = &*group.tasks else {
            panic!("{group:?}")
        };
        assert_eq!(web.task.resources.cpus_milli, 100);
        assert_eq!(web.task.resources.ports, Ranges::interval(31_000, 31_001));
        assert_eq!(cache.task.resources.ports, Ranges::interval(31_002, 31_002));
        let all = [&web.task.resources, &cache.task.resources];
        let sum = all
            .into_iter()
            .fold(group.overhead.clone(), |sum, one| sum.plus(one));
        let mut granted = super::super::resources(&pod());
        granted.ports = Ranges::interval(31_000, 31_002);
        assert_eq!(sum, granted);
    }

    #[test]
    fn on_a_network_of_its_own_the_ports_of_the_host_lead_to_all_and_are_told_by_both_numbers() {
        let mut spec = pod();
        spec.network = AppNetwork::Bridge;
        for (endpoint, inner) in spec
            .pod
            .iter_mut()
            .flat_map(|pod| &mut pod.containers)
            .flat_map(|one| &mut one.endpoints)
            .zip(8_080..)
        {
            let mapping = endpoint.port.mapping.as_mut().expect("mapped");
            mapping.container_port = inner;
        }
        let group = launched(spec);

        let Network::Bridge { ports } = &group.network else {
            panic!("{:?}", group.network)
        };
        let mapped: Vec<_> = ports
            .iter()
            .map(|port| (port.host, port.container))
            .collect();
        assert_eq!(mapped, [(31_000, 8_080), (31_001, 8_081), (31_002, 8_082)]);
        assert_eq!(group.overhead.ports, Ranges::interval(31_000, 31_002));
        let [web, cache] = &*group.tasks else {
            panic!("{group:?}")
        };
        assert!(web.task.resources.ports.is_empty() && cache.task.resources.ports.is_empty());
        let check = web.task.health_check.as_ref().map(|check| &check.probe);
        assert_eq!(check, Some(&Probe::Tcp { port: 8_081 }));
        let told = |name: &str| cache.task.command.environment.get(name).map(String::as_str);
        assert_eq!(
            ["ENDPOINT_ADMIN", "EP_HOST_ADMIN", "EP_CONTAINER_ADMIN"].map(told),
            [Some("8081"), Some("31001"), Some("8081")]
        );
    }

    #[test]
    fn a_container_has_its_own_program_user_check_and_secrets_and_shares_volumes() {
        let group = launched(pod());

        let [web, cache] = &*group.tasks else {
            panic!("{group:?}")
        };
        assert_eq!(web.task.command.user.as_deref(), Some("www"));
        assert_eq!(cache.task.command.user.as_deref(), Some("nobody"));
        let check = web.task.health_check.as_ref().map(|check| &check.probe);
        assert_eq!(check, Some(&Probe::Tcp { port: 31_001 }));
        assert_eq!(
            cache.task.command.program,
            Program::Image {
                arguments: vec!["--save".to_owned()]
            }
        );
        assert!(!cache.task.command.environment.contains_key("B"));
        let secrets = BTreeMap::from([("B".to_owned(), "db/password".to_owned())]);
        let secrets = LaunchSecrets {
            variables: secrets,
            files: BTreeMap::new(),
            login: Some("db/config.json".to_owned()),
        };
        let around = cache.task.container.as_ref().expect("one");
        assert_eq!(around.login, Login::Own(None));
        let none = LaunchSecrets::default();
        assert_eq!((&web.secrets, &cache.secrets), (&none, &secrets));
        let mounts = |launch: &Launch| launch.task.container.clone().map(|around| around.mounts);
        let shared = Mount {
            target: "/data".to_owned(),
            source: MountSource::Parent("volumes/data".to_owned()),
            read_only: true,
        };
        assert_eq!(mounts(web), Some(vec![shared]));
        assert_eq!(mounts(cache), Some(Vec::new()));
        assert_eq!(cache.discovery.ports[0].number, 31_002);
    }
}
