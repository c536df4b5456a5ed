//! Whether a pod makes sense, in Marathon's words where it has some.

use std::collections::BTreeSet;

use mete_model::TaskLimits;
use mete_model::container::MAX_PORT_MAPPINGS;
use mete_model::executor::MAX_GROUP_TASKS;
use mete_model::ids::MAX_ID_BYTES;

use super::{
    Roles, Violation, are_unique, bounded, entries, fetches, few, health_check, named_networks,
    placement, secrets, size, strategies, texts, variables,
};
use crate::spec::app::{
    AppNetwork, AppSpec, Mapping, NamedNetwork, PodContainer, PodProgram, PodSpec, VolumeSource,
};
use crate::state::instances::TASK_ID_BYTES;

/// Most endpoints of a pod: each may map a port for TCP and one for UDP.
const MAX_ENDPOINTS: usize = MAX_PORT_MAPPINGS / 2;

/// What has other names in a pod than in an app.
const NAMES: [(&str, &str); 6] = [
    ("/env", "/environment"),
    ("/upgradeStrategy", "/scheduling/upgrade"),
    ("/backoffFactor", "/scheduling/backoff/backoffFactor"),
    ("/unreachableStrategy", "/scheduling/unreachableStrategy"),
    ("/constraints", "/scheduling/placement/constraints"),
    (
        "/acceptedResourceRoles",
        "/scheduling/placement/acceptedResourceRoles",
    ),
];

pub(super) fn pod(spec: &AppSpec, pod: &PodSpec, roles: &Roles) -> Vec<Violation> {
    let mut found = Vec::new();
    texts(spec, &mut found);
    entries(spec, &mut found);
    secrets::named("/env", &spec.env_secrets, &spec.secrets, &mut found);
    secrets::sources(spec, &mut found);
    secrets::in_files(spec, &mut found);
    strategies(spec, &mut found);
    placement(spec, roles, &mut found);
    let mut found: Vec<Violation> = found.into_iter().map(in_a_pod).collect();
    size(spec, &mut found);
    named_networks(spec, &mut found);
    containers(pod, &mut found);
    volumes(pod, &mut found);
    endpoints(pod, &mut found);
    for (at, container) in pod.containers.iter().enumerate() {
        let place = format!("/containers({at})");
        let mut own = Vec::new();
        of_container(spec, container, &mut own);
        bounded("/labels", &container.labels, &mut own);
        let count = container.env.len() + container.env_secrets.len();
        few("/environment", count, &mut own);
        found.extend(own.into_iter().map(|found| found.below(&place)));
    }
    found
}

fn in_a_pod(found: Violation) -> Violation {
    let renamed = NAMES.iter().find_map(|(app, pod)| {
        let rest = found.path.strip_prefix(app)?;
        Some(format!("{pod}{rest}"))
    });
    Violation {
        path: renamed.unwrap_or(found.path),
        ..found
    }
}

fn containers(pod: &PodSpec, found: &mut Vec<Violation>) {
    let path = "/containers";
    if pod.containers.is_empty() {
        found.push(Violation::new(path, "must not be empty"));
    }
    if pod.containers.len() > MAX_GROUP_TASKS {
        let text = format!("must have at most {MAX_GROUP_TASKS} elements");
        found.push(Violation::new(path, text));
    }
    let names: Vec<&String> = pod.containers.iter().map(|one| &one.name).collect();
    if !are_unique(&names) {
        found.push(Violation::new(path, "container names are unique"));
    }
}

fn volumes(pod: &PodSpec, found: &mut Vec<Violation>) {
    let names: Vec<&String> = pod.volumes.iter().map(|one| &one.name).collect();
    if !are_unique(&names) {
        found.push(Violation::new("/volumes", "volume names are unique"));
    }
    let mounts = pod.containers.iter().flat_map(|one| &one.mounts);
    let mounted: BTreeSet<&String> = mounts.map(|mount| &mount.name).collect();
    for (at, volume) in pod.volumes.iter().enumerate() {
        let path = format!("/volumes({at})");
        if volume.source == VolumeSource::Host(String::new()) {
            found.push(Violation::new(format!("{path}/host"), "must not be empty"));
        }
        if !mounted.contains(&volume.name) {
            let text = "volume must be referenced by at least one container";
            found.push(Violation::new(path, text));
        }
    }
    let there: BTreeSet<&String> = names.into_iter().collect();
    for (at, container) in pod.containers.iter().enumerate() {
        for (number, mount) in container.mounts.iter().enumerate() {
            if !there.contains(&mount.name) {
                let text = "Referenced Volume in VolumeMount should exist";
                let path = format!("/containers({at})/volumeMounts({number})/name");
                found.push(Violation::new(path, text));
            }
        }
    }
}

/// What endpoints of all containers share.
fn endpoints(pod: &PodSpec, found: &mut Vec<Violation>) {
    let all = pod.containers.iter().flat_map(|one| &one.endpoints);
    let (mut names, mut inner, mut host) = (Vec::new(), Vec::new(), Vec::new());
    for endpoint in all {
        names.push(&endpoint.port.name);
        if let Some(mapping) = &endpoint.port.mapping {
            inner.extend((mapping.container_port != 0).then_some(mapping.container_port));
            host.extend(mapping.host_port.filter(|port| *port != 0));
        }
    }
    if names.len() > MAX_ENDPOINTS {
        let text = format!("must have at most {MAX_ENDPOINTS} endpoints");
        found.push(Violation::new("/", text));
    }
    for (is_so, text) in [
        (are_unique(&names), "Endpoint names are unique"),
        (are_unique(&inner), "Container ports are unique"),
        (are_unique(&host), "Host ports are unique"),
    ] {
        if !is_so {
            found.push(Violation::new("/", text));
        }
    }
}

fn of_container(spec: &AppSpec, container: &PodContainer, found: &mut Vec<Violation>) {
    program(container, found);
    let bytes = spec.id.flat().len() + TASK_ID_BYTES + container.name.len();
    if bytes > MAX_ID_BYTES {
        let text =
            format!("the ids of its tasks would have {bytes} bytes, may have {MAX_ID_BYTES}");
        found.push(Violation::new("/name", text));
    }
    if container.cpus_milli == 0 {
        found.push(Violation::new("/resources/cpus", "is less than 0.001"));
    }
    let TaskLimits {
        cpus_milli,
        mem_bytes,
    } = container.limits.of_task();
    for (name, limit, asked) in [
        ("cpus", cpus_milli, container.cpus_milli),
        ("mem", mem_bytes, container.mem_bytes),
    ] {
        if limit.is_some_and(|limit| limit.is_below(asked)) {
            let text = format!("is less than {name}, which the container asks for");
            found.push(Violation::new(format!("/resourceLimits/{name}"), text));
        }
    }
    variables(
        "/environment",
        &container.env,
        &container.env_secrets,
        found,
    );
    secrets::named("/environment", &container.env_secrets, &spec.secrets, found);
    fetches("/artifacts", &container.fetch, found);
    if container
        .kill_grace_period
        .is_some_and(|grace| grace.is_zero())
    {
        let path = "/lifecycle/killGracePeriodSeconds";
        found.push(Violation::new(path, "is not greater than 0"));
    }
    for (at, endpoint) in container.endpoints.iter().enumerate() {
        if let Some(mapping) = &endpoint.port.mapping {
            let path = format!("/endpoints({at})");
            let mut own = Vec::new();
            of_endpoint(&spec.network, mapping, &mut own);
            found.extend(own.into_iter().map(|found| found.below(&path)));
        }
    }
    if let Some(check) = &container.check {
        super::check("/check", check, container.endpoints.len(), found);
    }
    if let Some(check) = &container.health_check {
        health_check("/healthCheck", check, container.endpoints.len(), found);
        if check.timeout >= check.interval {
            let text = format!(
                "is {}, must be less than intervalSeconds, which is {}",
                check.timeout.as_secs(),
                check.interval.as_secs()
            );
            found.push(Violation::new("/healthCheck/timeoutSeconds", text));
        }
    }
}

/// What its port has to do with the network of the pod.
fn of_endpoint(network: &AppNetwork, mapping: &Mapping, found: &mut Vec<Violation>) {
    let has_port = mapping.container_port != 0;
    match (network.is_host(), has_port) {
        (true, true) => {
            let text = "is not allowed when using host-mode networking";
            found.push(Violation::new("/containerPort", text));
        }
        (false, false) => {
            let text = "is required when using container-mode networking";
            found.push(Violation::new("/containerPort", text));
        }
        (true, false) | (false, true) => {}
    }
    let networks: &[NamedNetwork] = match network {
        AppNetwork::Host | AppNetwork::Bridge => &[],
        AppNetwork::Named(networks) => networks,
    };
    let known = |name: &String| networks.iter().any(|network| network.name == *name);
    if let Some(name) = mapping.network_names.iter().find(|name| !known(name)) {
        let text = format!("{name:?} is no network of the pod");
        found.push(Violation::new("/networkNames", text));
    } else if let [first, _, ..] = networks
        && mapping.host_port.is_some()
        && mapping.network_names != [first.name.clone()]
    {
        let text = format!(
            "must be [{:?}]: of several networks, ports of the host lead to the first",
            first.name
        );
        found.push(Violation::new("/networkNames", text));
    }
}

fn program(container: &PodContainer, found: &mut Vec<Violation>) {
    let path = "/exec/command";
    let words: &[String] = match &container.program {
        Some(PodProgram::Shell(line)) => std::slice::from_ref(line),
        Some(PodProgram::Argv { words, .. }) => words,
        None if container.image.is_none() => {
            let text = "must have exec, or an image that says what it runs";
            found.push(Violation::new("/", text));
            return;
        }
        None => return,
    };
    if words.first().is_none_or(String::is_empty) {
        found.push(Violation::new(path, "must not be empty"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        found.push(Violation::new(path, "must not hold the character NUL"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::{
        AppId, Endpoint, HealthCheckSpec, HealthProtocol, PodVolume, PortDefinition, VolumeMount,
    };
    use std::time::Duration;

    fn good() -> AppSpec {
        let mut container = PodContainer::new("web");
        container.program = Some(PodProgram::Shell("serve".to_owned()));
        container.endpoints = vec![endpoint("http", 0)];
        container.health_check = Some(HealthCheckSpec {
            port_index: Some(0),
            ..HealthCheckSpec::new(HealthProtocol::MesosTcp)
        });
        let pod = PodSpec {
            containers: vec![container],
            ..PodSpec::default()
        };
        AppSpec::new_pod(AppId::new("/p").expect("good"), pod)
    }

    fn endpoint(name: &str, host_port: u16) -> Endpoint {
        let mapping = Mapping {
            container_port: 0,
            host_port: Some(host_port),
            network_names: Vec::new(),
        };
        Endpoint {
            port: PortDefinition {
                name: Some(name.to_owned()),
                mapping: Some(mapping),
                ..PortDefinition::default_port()
            },
            protocols: Vec::new(),
        }
    }

    /// Where something is wrong with a good pod that was changed.
    fn wrong(change: impl FnOnce(&mut AppSpec, &mut PodSpec)) -> Vec<String> {
        let mut spec = good();
        let mut pod = *spec.pod.take().expect("a pod");
        change(&mut spec, &mut pod);
        spec.pod = Some(Box::new(pod));
        let found = crate::validate::app(&spec, &Roles::only("*"));
        found.into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn a_pod_is_told_each_place_that_is_wrong_in_its_own_words() {
        assert_eq!(wrong(|_, _| {}), [""; 0]);
        assert_eq!(
            wrong(|spec, _| {
                spec.upgrade_strategy.maximum_over_capacity = 2.0;
                spec.role = Some("other".to_owned());
                spec.env.insert("A=".to_owned(), String::new());
                let network = NamedNetwork {
                    name: "blue".to_owned(),
                    labels: Default::default(),
                };
                spec.network = AppNetwork::Named(vec![network.clone(), network]);
            }),
            [
                "/environment",
                "/scheduling/upgrade/maximumOverCapacity",
                "/role",
                "/networks",
                "/containers(0)/endpoints(0)/containerPort",
                "/containers(0)/endpoints(0)/networkNames",
            ]
        );
        assert_eq!(wrong(|_, pod| pod.containers.clear()), ["/containers"]);
    }

    #[test]
    fn names_and_ports_are_unique_over_all_containers() {
        let twice = wrong(|_, pod| {
            let again = pod.containers[0].clone();
            pod.containers.push(again);
        });
        assert_eq!(twice, ["/containers", "/"]);
        let ports = wrong(|_, pod| {
            let endpoints = vec![endpoint("a", 80), endpoint("b", 80)];
            pod.containers[0].endpoints = endpoints;
        });
        assert_eq!(ports, ["/"]);
        let long = wrong(|spec, _| {
            spec.id = AppId::new(&"x".repeat(189)).expect("good");
        });
        assert_eq!(long, [""; 0]);
        let longer = wrong(|spec, pod| {
            spec.id = AppId::new(&"x".repeat(189)).expect("good");
            pod.containers[0].name = "y".repeat(18);
        });
        assert_eq!(longer, ["/containers(0)/name"]);
    }

    #[test]
    fn ports_of_the_host_lead_into_a_network_of_the_pods_own() {
        let on = |network: AppNetwork, inner: u16, names: &[&str]| {
            wrong(|spec, pod| {
                spec.network = network;
                let mapping = pod.containers[0].endpoints[0].port.mapping.as_mut();
                let mapping = mapping.expect("mapped");
                mapping.container_port = inner;
                mapping.network_names = names.iter().map(|&name| name.to_owned()).collect();
            })
        };
        let named = |names: &[&str]| {
            let networks = names.iter().map(|&name| NamedNetwork {
                name: name.to_owned(),
                labels: Default::default(),
            });
            AppNetwork::Named(networks.collect())
        };
        let names = ["/containers(0)/endpoints(0)/networkNames"];

        assert_eq!(on(AppNetwork::Bridge, 80, &[]), [""; 0]);
        assert_eq!(
            on(AppNetwork::Bridge, 0, &[]),
            ["/containers(0)/endpoints(0)/containerPort"]
        );
        assert_eq!(on(AppNetwork::Bridge, 80, &["blue"]), names);
        assert_eq!(on(named(&["blue"]), 80, &[]), [""; 0]);
        assert_eq!(on(named(&["blue", "red"]), 80, &[]), names);
        assert_eq!(on(named(&["blue", "red"]), 80, &["red"]), names);
        assert_eq!(on(named(&["blue", "red"]), 80, &["blue"]), [""; 0]);
    }

    #[test]
    fn volumes_are_there_and_are_mounted() {
        let volume = |name: &str| PodVolume {
            name: name.to_owned(),
            source: VolumeSource::Ephemeral,
        };
        let mount = |name: &str| VolumeMount {
            name: name.to_owned(),
            path: "/data".to_owned(),
            read_only: None,
        };
        let found = wrong(|_, pod| {
            pod.volumes = vec![volume("a"), volume("b"), volume("b")];
            pod.containers[0].mounts = vec![mount("b"), mount("c")];
        });
        assert_eq!(
            found,
            [
                "/volumes",
                "/volumes(0)",
                "/containers(0)/volumeMounts(1)/name"
            ]
        );
    }

    #[test]
    fn a_container_says_what_it_runs_and_how_it_is_checked() {
        let with = |change: fn(&mut PodContainer)| {
            wrong(|_, pod| {
                for container in &mut pod.containers {
                    change(container);
                }
            })
        };
        assert_eq!(with(|one| one.program = None), ["/containers(0)"]);
        let empty = with(|one| {
            one.program = Some(PodProgram::Argv {
                words: Vec::new(),
                overrides_entrypoint: None,
            });
        });
        assert_eq!(empty, ["/containers(0)/exec/command"]);
        let check = with(|one| {
            let check = one.health_check.as_mut().expect("a check");
            check.timeout = Duration::from_secs(60);
        });
        assert_eq!(check, ["/containers(0)/healthCheck/timeoutSeconds"]);
        let secret = with(|one| {
            one.env_secrets.insert("A".to_owned(), "none".to_owned());
        });
        assert_eq!(secret, ["/containers(0)/environment/A/secret"]);
        let inner = with(|one| {
            let mapping = one.endpoints[0].port.mapping.as_mut().expect("mapped");
            mapping.container_port = 80;
        });
        assert_eq!(inner, ["/containers(0)/endpoints(0)/containerPort"]);
    }
}
