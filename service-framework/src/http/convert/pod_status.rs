//! How a pod and its instances stand, in Marathon's words.

use mete_model::TaskState;
use mete_proto::convert::container::BRIDGE_NAME;
use mete_proto::rest::pods::{
    AgentInfo, ContainerStatus, ContainerTermination, EndpointStatus, Instance as Told,
    InstanceState as Stands, NetworkStatus, PodInstanceStatus, PodStatus, Resources,
    StatusCondition, Termination, TerminationState,
};
use mete_service_framework_core::spec::app::{
    AppNetwork, AppSpec, Endpoint, InstancePort, PodContainer,
};
use mete_service_framework_core::spec::history::AppVersion;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::apps::{App, LastFailure};
use mete_service_framework_core::state::containers::Container;
use mete_service_framework_core::state::instances::{Instance, InstanceId, InstanceState, Place};

use super::app_out::unreachable;
use super::pod_out::{pod, resources};

const STABLE: &str = "STABLE";
const DEGRADED: &str = "DEGRADED";
const TERMINAL: &str = "TERMINAL";

/// How a pod stands that is wanted in this version. `role` is that of the framework.
pub(in crate::http) fn pod_status(app: &App, version: &AppVersion, role: &str) -> PodStatus {
    let instances = app.instances.values();
    let instances: Vec<_> = instances.map(|one| instance(one, role)).collect();
    let stable = instances.iter().filter(|one| one.status == STABLE).count();
    let status = match stable >= version.spec.instances as usize {
        true => STABLE,
        false => DEGRADED,
    };
    let since = app.instances.values().map(|one| one.since).max();
    let since = time::text(since.unwrap_or(version.version));
    PodStatus {
        id: app.id.to_string(),
        spec: pod(version, role),
        status: status.to_owned(),
        status_since: since.clone(),
        instances,
        termination_history: app
            .failures()
            .filter_map(|failure| termination(failure))
            .collect(),
        last_updated: since.clone(),
        last_changed: since,
    }
}

fn termination(failure: &LastFailure) -> Option<Termination> {
    let message = Some(failure.message.clone()).filter(|message| !message.is_empty());
    Some(Termination {
        instance_id: InstanceId::parse(failure.task.as_str())?.to_string(),
        started_at: time::text(failure.started_at?),
        terminated_at: time::text(failure.timestamp),
        message: message.clone(),
        containers: vec![ContainerTermination {
            container_id: failure.task.to_string(),
            last_known_state: Some(failure.state.as_str().to_owned()),
            termination: termination_state(message),
        }],
    })
}

/// `None` when nothing was said.
fn termination_state(message: Option<String>) -> Option<TerminationState> {
    let message = message?;
    Some(TerminationState {
        exit_code: exit_code(&message),
        message: Some(message),
    })
}

/// The exit code that a report names: its words are those of the agent's `Exit`, or of Mesos' executor. Reports have no field
/// for it. How the task ended is the last that is said; before it may stand what a check's command said.
fn exit_code(message: &str) -> Option<i32> {
    // The first as agents said it in older reports.
    let words = ["exited with code ", "Command exited with status "];
    let by_signal = ["killed by signal ", "Command terminated with signal "];
    let digits = |part: &str| {
        let rest = words.iter().find_map(|words| part.strip_prefix(words))?;
        rest.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let mut parts = message.rsplit([';', ':']).map(str::trim_start);
    let end = parts.find(|part| {
        let mut ends = by_signal.iter().chain(&words);
        ends.any(|words| part.starts_with(words))
    });
    digits(end?)
}

fn instance(instance: &Instance, role: &str) -> PodInstanceStatus {
    let spec = &*instance.version.spec;
    let containers: Vec<ContainerStatus> = instance
        .containers
        .iter()
        .map(|one| container(instance, one))
        .collect();
    let (status, message) = status(instance, &containers);
    let since = time::text(instance.since);
    let place = instance.place.as_ref();
    let domain = place.and_then(|place| place.domain.as_ref());
    PodInstanceStatus {
        id: instance.id.to_string(),
        status: status.to_owned(),
        status_since: since.clone(),
        message: message.map(str::to_owned),
        agent_hostname: place.map(|place| place.host.clone()),
        agent_id: place.map(|place| place.agent.to_string()),
        agent_region: domain.map(|domain| domain.region.clone()),
        agent_zone: domain.map(|domain| domain.zone.clone()),
        resources: taken(spec, &containers),
        networks: place.map(|place| networks(spec, place)).unwrap_or_default(),
        containers,
        spec_reference: format!(
            "/v2/pods{}::versions/{}",
            spec.id,
            time::text(instance.version.version)
        ),
        local_volumes: Vec::new(),
        last_updated: since.clone(),
        last_changed: since,
        role: spec.role.as_deref().unwrap_or(role).to_owned(),
    }
}

/// The networks that an instance is on, each with its addresses there.
fn networks(spec: &AppSpec, place: &Place) -> Vec<NetworkStatus> {
    let all = |name: Option<&str>| {
        vec![NetworkStatus {
            name: name.map(str::to_owned),
            addresses: place.ip_addresses.clone(),
        }]
    };
    let networks = match &spec.network {
        AppNetwork::Host => return all(None),
        AppNetwork::Bridge => return all(Some(BRIDGE_NAME)),
        AppNetwork::Named(networks) => networks,
    };
    // An agent tells one address of each, in the order in which they were joined.
    if networks.len() != place.ip_addresses.len() {
        return all(networks.first().map(|network| network.name.as_str()));
    }
    let each = networks.iter().zip(&place.ip_addresses);
    each.map(|(network, address)| NetworkStatus {
        name: Some(network.name.clone()),
        addresses: vec![address.clone()],
    })
    .collect()
}

fn status(instance: &Instance, all: &[ContainerStatus]) -> (&'static str, Option<&'static str>) {
    let mut conditions = all.iter().flat_map(|one| &one.conditions);
    match instance.state {
        InstanceState::Waiting
        | InstanceState::Launching { .. }
        | InstanceState::Reserved { .. } => ("PENDING", None),
        InstanceState::Staging | InstanceState::Starting => ("STAGING", None),
        InstanceState::Running { .. } if instance.is_ending => (TERMINAL, None),
        InstanceState::Running { .. } | InstanceState::Draining { .. } => {
            match conditions.any(|condition| condition.value == "false") {
                true => (DEGRADED, Some("at least one container is not healthy")),
                false => (STABLE, None),
            }
        }
        InstanceState::Unreachable { .. } => {
            (DEGRADED, Some("pod instance has become unreachable"))
        }
        InstanceState::Killing { .. } => (TERMINAL, None),
    }
}

/// What an instance takes: what is around its containers, and those that have not ended.
fn taken(spec: &AppSpec, containers: &[ContainerStatus]) -> Resources {
    let executor = spec
        .pod
        .as_ref()
        .map(|pod| pod.executor)
        .unwrap_or_default();
    let around = resources(&PodContainer {
        cpus_milli: executor.cpus_milli,
        mem_bytes: executor.mem_bytes,
        disk_bytes: executor.disk_bytes,
        ..PodContainer::new("")
    });
    let parts = containers.iter().filter_map(|one| one.resources.as_ref());
    let plus = |one: Option<f64>, other: Option<f64>| {
        let sum = one.unwrap_or_default() + other.unwrap_or_default();
        Some((sum * 1e6).round() / 1e6) // 0.3, not 0.30000000000000004
    };
    parts.fold(around, |sum, one| Resources {
        cpus: plus(sum.cpus, one.cpus),
        mem: plus(sum.mem, one.mem),
        disk: plus(sum.disk, one.disk),
        gpus: Some(sum.gpus.unwrap_or_default() + one.gpus.unwrap_or_default()),
    })
}

fn container(instance: &Instance, container: &Container) -> ContainerStatus {
    let spec = &*instance.version.spec;
    let wanted = spec
        .containers()
        .iter()
        .find(|one| one.name == container.name);
    let is_there = !container.has_ended();
    let since = time::text(container.since);
    let message = container.message.clone();
    let message = message.filter(|message| !message.is_empty());
    let mut conditions = Vec::new();
    if wanted.is_some_and(|wanted| wanted.health_check.is_some()) && container.started_at.is_some()
    {
        let reason = match container.healthy {
            Some(_) => "health-reported-by-mesos",
            None => "health-unreported-by-mesos",
        };
        conditions.push(StatusCondition {
            name: "healthy".to_owned(),
            last_changed: since.clone(),
            last_updated: since.clone(),
            value: container.healthy.unwrap_or_default().to_string(),
            reason: Some(reason.to_owned()),
        });
    }
    let ended = || TerminationState {
        exit_code: message.as_deref().and_then(exit_code),
        message: message.clone(),
    };
    ContainerStatus {
        name: container.name.clone(),
        status: container.state.as_str().to_owned(),
        status_since: since.clone(),
        conditions,
        container_id: Some(instance.id.task_of(&container.name).to_string()),
        endpoints: match wanted {
            Some(wanted) if is_there => endpoints(instance, container, wanted),
            Some(_) | None => Vec::new(),
        },
        resources: wanted.filter(|_| is_there).map(resources),
        termination: (!is_there).then(ended),
        message,
        last_updated: since.clone(),
        last_changed: since,
    }
}

fn endpoints(
    instance: &Instance,
    container: &Container,
    wanted: &PodContainer,
) -> Vec<EndpointStatus> {
    let spec = &*instance.version.spec;
    let granted = instance.place.as_ref().map(|place| place.ports.as_slice());
    let ports = spec.instance_ports(granted.unwrap_or_default());
    let own = spec.of_container(&wanted.name, &ports);
    let check = wanted.health_check.as_ref();
    let asked = check.and_then(|check| check.port_index);
    let runs = container.state == TaskState::Running;
    let one = |((endpoint, port), at): ((&Endpoint, &InstancePort), u32)| EndpointStatus {
        name: endpoint.port.name.clone().unwrap_or_default(),
        allocated_host_port: port.host,
        healthy: container.healthy.filter(|_| runs && asked == Some(at)),
    };
    wanted.endpoints.iter().zip(own).zip(0..).map(one).collect()
}

/// An instance as it is told when it is killed.
pub(in crate::http) fn pod_instance(instance: &Instance) -> Told {
    let goal = match instance.is_condemned() {
        true => "Decommissioned",
        false => "Running",
    };
    Told {
        instance_id: instance.id.to_string(),
        state: Stands {
            condition: instance.condition().to_owned(),
            since: time::text(instance.since),
            active_since: instance.started_at.map(time::text),
            healthy: match instance.state {
                InstanceState::Running { healthy } => healthy,
                InstanceState::Waiting
                | InstanceState::Launching { .. }
                | InstanceState::Staging
                | InstanceState::Starting
                | InstanceState::Unreachable { .. }
                | InstanceState::Draining { .. }
                | InstanceState::Killing { .. }
                | InstanceState::Reserved { .. } => None,
            },
            goal: goal.to_owned(),
        },
        agent_info: instance.place.as_ref().map(|place| AgentInfo {
            host: place.host.clone(),
            agent_id: Some(place.agent.to_string()),
            attributes: Vec::new(),
        }),
        run_spec_version: time::text(instance.version.version),
        unreachable_strategy: Some(unreachable(instance.version.spec.unreachable_strategy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_read_out_of_the_words_of_agents() {
        for (message, code) in [
            ("exited with code 3", Some(3)),
            (
                "exited with code 126 (a command could not be executed)",
                Some(126),
            ),
            ("Command exited with status 0", Some(0)),
            ("killed by signal 9", None),
            (
                "task one of its group failed (Command exited with status 3); Command terminated with signal Killed (9, SIGKILL)",
                None,
            ),
            (
                "Command exited with status 126 (a command could not be executed)",
                Some(126),
            ),
            (
                "the task used more than its 32 MB of memory: exited with code 137",
                Some(137),
            ),
            (
                "its health check failed 3 times in a row: the command exited with code 1: no; killed by signal 9 (SIGKILL)",
                None,
            ),
            (
                "its health check failed 3 times in a row: exited with code 1; exited with code 4; 7 bytes of output could not be written",
                Some(4),
            ),
            ("exited with code", None),
            ("exited with code 99999999999", None),
        ] {
            assert_eq!(exit_code(message), code, "{message}");
        }
    }
}
