//! Frameworks, executors, tasks and containers of an agent, as messages: GET_STATE and its parts.

use std::collections::BTreeMap;

use mete_agent_core::{Sandbox, Task, View};
use mete_model::ContainerId;
use mete_proto::convert::said::Said;
use mete_proto::convert::{resources, task as words, task_limits};
use mete_proto::json;
use mete_proto::mesos::v1 as wire;
use wire::agent::response::{self, get_containers, get_executors, get_frameworks};

use crate::http::containers;
use crate::running::{self, Running};
use crate::statistics::Sample;

/// Everything.
pub(super) fn all(view: &View) -> response::GetState {
    response::GetState {
        get_tasks: Some(tasks(view)),
        get_executors: Some(executors(view)),
        get_frameworks: Some(frameworks(view)),
    }
}

/// Frameworks that have tasks here.
pub(super) fn frameworks(view: &View) -> response::GetFrameworks {
    let all = view.frameworks.iter().map(|(id, info)| {
        let mut framework_info = wire::FrameworkInfo::from(info.as_ref());
        framework_info.id = Some(id.into());
        get_frameworks::Framework { framework_info }
    });
    response::GetFrameworks {
        frameworks: all.collect(),
        completed_frameworks: Vec::new(),
    }
}

/// Executors of groups and of frameworks' own; and each task that came alone is one of its own.
pub(super) fn executors(view: &View) -> response::GetExecutors {
    let of_groups = view.executors.values().map(|one| (&one.key, &one.spec));
    let own = view.custom_executors.values();
    let named = of_groups.chain(own.map(|one| (&one.key, &one.spec)));
    let named = named.map(|(key, spec)| {
        let mut info = wire::ExecutorInfo::from(spec.as_ref());
        info.framework_id = Some((&key.framework).into());
        info
    });
    let alone = view.tasks.values().filter(|task| task.executor.is_none());
    let (live, ended): (Vec<_>, Vec<_>) = alone.partition(|task| task.is_live());
    let executor = |executor_info| get_executors::Executor { executor_info };
    let own = |tasks: Vec<&std::sync::Arc<Task>>| -> Vec<_> {
        let infos = tasks.into_iter().map(|task| executor(its_own(task)));
        infos.collect()
    };
    response::GetExecutors {
        executors: named.map(executor).chain(own(live)).collect(),
        completed_executors: own(ended),
    }
}

fn its_own(task: &Task) -> wire::ExecutorInfo {
    let id = task.key.task.as_str().to_owned();
    let mut command = task.spec.command.clone();
    command.forget_secrets(); // It has them until it is launched.
    wire::ExecutorInfo {
        executor_id: wire::ExecutorId { value: id.clone() },
        framework_id: Some((&task.key.framework).into()),
        command: Some((&command).into()),
        name: Some(task.spec.name.clone()),
        source: Some(id),
        ..wire::ExecutorInfo::default()
    }
}

/// Tasks: those that run, those whose end is not acknowledged, and those that left a sandbox.
pub(super) fn tasks(view: &View) -> response::GetTasks {
    let (live, ended): (Vec<_>, Vec<_>) = view.tasks.values().partition(|task| task.is_live());
    let known =
        |tasks: Vec<&std::sync::Arc<Task>>| tasks.into_iter().map(|task| one(task)).collect();
    let left = view.sandboxes.values();
    let left = left.filter(|one| !one.is_executor && !view.tasks.contains_key(&one.key));
    response::GetTasks {
        launched_tasks: known(live),
        terminated_tasks: known(ended),
        completed_tasks: left.map(|sandbox| completed(sandbox)).collect(),
        ..response::GetTasks::default()
    }
}

fn one(task: &Task) -> wire::Task {
    let spec = &task.spec;
    let said = Said::of(&spec.original);
    let state = wire::TaskState::from(task.latest.state).into();
    wire::Task {
        name: spec.name.clone(),
        task_id: (&task.key.task).into(),
        framework_id: (&task.key.framework).into(),
        executor_id: task.executor.as_ref().map(Into::into),
        agent_id: (&task.agent).into(),
        state,
        resources: resources::to_wire(&spec.resources),
        statuses: vec![(&task.latest).into()],
        status_update_state: Some(state),
        status_update_uuid: None,
        labels: words::labels_to_wire(&spec.labels),
        discovery: said.discovery(),
        container: said.container().map(Box::new),
        health_check: said.health_check().map(Box::new),
        kill_policy: said.kill_policy(),
        user: spec.command.user.clone(),
        limits: task_limits::to_wire(&spec.limits),
    }
}

fn completed(sandbox: &Sandbox) -> wire::Task {
    wire::Task {
        name: sandbox.name.clone(),
        task_id: (&sandbox.key.task).into(),
        framework_id: (&sandbox.key.framework).into(),
        agent_id: (&sandbox.agent).into(),
        state: wire::TaskState::from(sandbox.state).into(),
        ..wire::Task::default()
    }
}

/// What runs, and what it uses. What has begun since the last look is in the next one.
pub(super) fn containers(
    view: &View,
    look: &BTreeMap<ContainerId, Sample>,
) -> response::GetContainers {
    let running = running::all(view).into_iter();
    let all = running.filter_map(|one| Some(container(&one, look.get(one.container)?)));
    response::GetContainers {
        containers: all.collect(),
    }
}

fn container(one: &Running<'_>, sample: &Sample) -> get_containers::Container {
    let id = wire::ContainerId {
        value: one.container.as_str().to_owned(),
        ..wire::ContainerId::default()
    };
    let status = one.status.map(wire::TaskStatus::from);
    let status = status.and_then(|status| status.container_status);
    get_containers::Container {
        framework_id: Some(one.framework.into()),
        executor_id: Some(wire::ExecutorId {
            value: one.executor.to_owned(),
        }),
        executor_name: Some(one.name.to_owned()),
        container_id: id.clone(),
        container_status: Some(wire::ContainerStatus {
            container_id: Some(id),
            ..status.unwrap_or_default()
        }),
        resource_statistics: statistics(one, sample),
    }
}

/// As `/monitor/statistics` has them, but for what has no place in the message.
fn statistics(one: &Running<'_>, sample: &Sample) -> Option<wire::ResourceStatistics> {
    let shown = containers::of(one, sample).to_string();
    json::from_slice(shown.as_bytes()).ok()
}
