//! Instances that sit on an agent, as tasks; and what they are in numbers.

use mete_model::{CheckAnswer, Timestamp};
use mete_proto::rest::tasks::{
    CheckResult, CommandResult, Health, HttpResult, IpAddress, LifeTime, LocalVolume, Stats, Task,
    TaskCounts, TaskFailure, TaskStats, TaskStatsByVersion, TcpResult,
};
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::spec::history::AppVersion;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::apps::{App, LastFailure};
use mete_service_framework_core::state::holdings::LocalVolume as Held;
use mete_service_framework_core::state::instances::{Instance, InstanceState};

/// An instance as a task; `None` while it waits for a place, and of a pod, which `/v2/tasks` does not show.
pub(in crate::http) fn task(instance: &Instance, role: &str) -> Option<Task> {
    let place = instance.place.as_ref()?;
    let spec = Some(&*instance.version.spec).filter(|spec| !spec.is_pod())?;
    let addresses = place.ip_addresses.iter();
    // What only keeps its volumes has no task to tell of.
    let is_there = !instance.is_reserved();
    let volumes = instance.holding.iter().flat_map(|one| &one.volumes);
    let domain = place.domain.as_ref();
    Some(Task {
        app_id: spec.id.to_string(),
        health_check_results: healths(instance),
        check_result: instance.check.and_then(check_result),
        host: place.host.clone(),
        id: instance.task().to_string(),
        ip_addresses: addresses
            .map(|address| IpAddress::from(address.as_str()))
            .collect(),
        ports: if is_there {
            place.ports.clone()
        } else {
            Vec::new()
        },
        service_ports: spec
            .port_definitions
            .iter()
            .map(|definition| definition.port)
            .collect(),
        slave_id: Some(place.agent.to_string()),
        state: instance.task_state().to_owned(),
        staged_at: instance.staged_at.map(time::text),
        started_at: instance.started_at.map(time::text),
        version: is_there.then(|| time::text(instance.version.version)),
        region: domain.map(|domain| domain.region.clone()),
        zone: domain.map(|domain| domain.zone.clone()),
        local_volumes: volumes
            .map(|volume| local_volume(&spec.id, volume))
            .collect(),
        role: spec.role.as_deref().unwrap_or(role).to_owned(),
    })
}

/// `None` where nobody has answered.
fn check_result(answer: CheckAnswer) -> Option<CheckResult> {
    let mut result = CheckResult::default();
    match answer {
        CheckAnswer::Command(exit_code) => {
            let exit_code = exit_code?;
            result.command = Some(CommandResult { exit_code });
        }
        CheckAnswer::Http(status_code) => {
            let status_code = status_code?;
            result.http = Some(HttpResult { status_code });
        }
        CheckAnswer::Tcp(succeeded) => {
            let succeeded = succeeded?;
            result.tcp = Some(TcpResult { succeeded });
        }
    }
    Some(result)
}

fn local_volume(app: &AppId, volume: &Held) -> LocalVolume {
    LocalVolume {
        run_spec_id: app.to_string(),
        container_path: volume.container_path.clone(),
        uuid: volume.uuid.to_string(),
        persistence_id: volume.persistence_id(app),
    }
}

/// What each of its checks says; nothing of one before its first result.
fn healths(instance: &Instance) -> Vec<Health> {
    let has_one = instance.version.spec.health_checks.len() == 1;
    let checks = 0..instance.version.spec.health_checks.len();
    let told = checks.filter_map(|at| {
        let health = instance.health_of(at).cloned().unwrap_or_default();
        // Where there is one only, its word is that of the instance.
        let word = is_healthy(instance).filter(|_| has_one);
        Some(Health {
            alive: word.or_else(|| health.is_alive())?,
            consecutive_failures: health.consecutive_failures,
            first_success: health.first_success.map(time::text),
            last_success: health.last_success.map(time::text),
            last_failure: health.last_failure.map(time::text),
            last_failure_cause: health.last_failure_cause,
            instance_id: instance.id.to_string(),
        })
    });
    told.collect()
}

const fn is_healthy(instance: &Instance) -> Option<bool> {
    match instance.state {
        InstanceState::Running { healthy } => healthy,
        InstanceState::Waiting
        | InstanceState::Launching { .. }
        | InstanceState::Staging
        | InstanceState::Starting
        | InstanceState::Unreachable { .. }
        | InstanceState::Draining { .. }
        | InstanceState::Killing { .. }
        | InstanceState::Reserved { .. } => None,
    }
}

/// How an instance failed last.
pub(in crate::http) fn failure(app: &AppId, failure: &LastFailure) -> TaskFailure {
    TaskFailure {
        app_id: app.to_string(),
        host: failure.host.clone(),
        message: failure.message.clone(),
        slave_id: failure.agent.as_ref().map(ToString::to_string),
        state: failure.state.as_str().to_owned(),
        task_id: failure.task.to_string(),
        timestamp: time::text(failure.timestamp),
        version: time::text(failure.version),
    }
}

/// Counts and life times of an app's instances, by what they run.
pub(in crate::http) fn stats(now: Timestamp, app: &App, wanted: &AppVersion) -> TaskStatsByVersion {
    let of = |chosen: &dyn Fn(&Instance) -> bool| {
        let chosen = app
            .instances
            .values()
            .map(|instance| &**instance)
            .filter(|instance| chosen(instance));
        numbers(now, &chosen.collect::<Vec<_>>())
    };
    TaskStatsByVersion {
        started_after_last_scaling: of(&|instance| {
            instance.version.same_config(wanted)
                && instance.staged_at >= Some(wanted.last_scaling_at)
        }),
        with_latest_config: of(&|instance| instance.version.same_config(wanted)),
        with_outdated_config: of(&|instance| !instance.version.same_config(wanted)),
        total_summary: of(&|_| true),
    }
}

/// Nothing when there are no instances.
fn numbers(now: Timestamp, instances: &[&Instance]) -> Option<Stats> {
    let placed: Vec<&&Instance> = instances
        .iter()
        .filter(|instance| instance.is_placed())
        .collect();
    if placed.is_empty() {
        return None;
    }
    let mut counts = TaskCounts::default();
    let mut ages = Vec::new();
    for instance in placed {
        match instance.state {
            InstanceState::Launching { .. } | InstanceState::Staging => counts.staged += 1,
            InstanceState::Running { .. } | InstanceState::Draining { .. } => counts.running += 1,
            InstanceState::Waiting
            | InstanceState::Starting
            | InstanceState::Unreachable { .. }
            | InstanceState::Killing { .. }
            | InstanceState::Reserved { .. } => {}
        }
        counts.healthy += u32::from(is_healthy(instance) == Some(true));
        counts.unhealthy += u32::from(is_healthy(instance) == Some(false));
        ages.extend(
            instance
                .started_at
                .map(|started| now.since(started).as_secs_f64()),
        );
    }
    ages.sort_by(f64::total_cmp);
    let life_time = ages.get(ages.len() / 2).map(|median| LifeTime {
        average_seconds: ages.iter().sum::<f64>() / ages.len() as f64,
        median_seconds: *median,
    });
    Some(Stats {
        stats: TaskStats { counts, life_time },
    })
}
