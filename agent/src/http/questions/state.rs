//! Frameworks, executors, tasks and containers of an agent, as messages: GET_STATE and its parts.

use std::collections::BTreeSet;

use mete_agent_core::{Sandbox, Task, View};
use mete_model::{ContainerId, ExecutorSpec, FrameworkId, FrameworkInfo};
use mete_proto::convert::said::Said;
use mete_proto::convert::{resources, task as words, task_limits};
use mete_proto::json;
use mete_proto::mesos::v1 as wire;
use wire::agent::response::{self, get_containers, get_executors, get_frameworks};

use crate::http::containers;
use crate::running::{self, Running};
use crate::statistics::{Look, Sample};

/// Everything.
pub(super) fn all(view: &View) -> response::GetState {
    response::GetState {
        get_tasks: Some(tasks(view)),
        get_executors: Some(executors(view)),
        get_frameworks: Some(frameworks(view)),
    }
}

/// Frameworks that have tasks here, and the last of those that had.
pub(super) fn frameworks(view: &View) -> response::GetFrameworks {
    let framework = |id: &FrameworkId, info: &FrameworkInfo| {
        let mut framework_info = wire::FrameworkInfo::from(info);
        framework_info.id = Some(id.into());
        get_frameworks::Framework { framework_info }
    };
    let all = view.frameworks.iter();
    let all = all.map(|(id, info)| framework(id, info));
    let over = view.past.frameworks();
    let over = over.filter(|(id, _)| !view.frameworks.contains_key(id));
    response::GetFrameworks {
        frameworks: all.collect(),
        completed_frameworks: over.map(|(id, info)| framework(id, info)).collect(),
    }
}

/// Executors of groups and of frameworks' own, and the last of those that are over; each task that came alone is one of its
/// own.
pub(super) fn executors(view: &View) -> response::GetExecutors {
    let of_groups = view.executors.values().map(|one| (&one.key, &one.spec));
    let own = view.custom_executors.values();
    let named = of_groups.chain(own.map(|one| (&one.key, &one.spec)));
    let described = |framework: &FrameworkId, spec: &ExecutorSpec| {
        let mut info = wire::ExecutorInfo::from(spec);
        info.framework_id = Some(framework.into());
        info
    };
    let named = named.map(|(key, spec)| described(&key.framework, spec));
    let past = view.past.executors();
    let past = past.map(|one| described(&one.framework, &one.spec));
    let past_alone = view.past.tasks().filter(|task| task.executor.is_none());
    let alone = view.tasks.values().filter(|task| task.executor.is_none());
    let (live, ended): (Vec<_>, Vec<_>) = alone.partition(|task| task.is_live());
    let executor = |executor_info| get_executors::Executor { executor_info };
    let own = |tasks: Vec<&std::sync::Arc<Task>>| -> Vec<_> {
        let infos = tasks.into_iter().map(|task| executor(its_own(task)));
        infos.collect()
    };
    response::GetExecutors {
        executors: named.map(executor).chain(own(live)).collect(),
        completed_executors: own(ended.into_iter().chain(past_alone).collect())
            .into_iter()
            .chain(past.map(executor))
            .collect(),
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

/// Tasks: those that run, those whose end is not acknowledged, the last of those that are over, and those that left a
/// sandbox.
pub(super) fn tasks(view: &View) -> response::GetTasks {
    let (live, ended): (Vec<_>, Vec<_>) = view.tasks.values().partition(|task| task.is_live());
    let known =
        |tasks: Vec<&std::sync::Arc<Task>>| tasks.into_iter().map(|task| one(task)).collect();
    let past: BTreeSet<&ContainerId> = view.past.tasks().map(|task| &task.container).collect();
    let left = view.sandboxes.values();
    let left = left.filter(|one| {
        let is_known = view.tasks.contains_key(&one.key) || past.contains(&one.container);
        !one.is_executor && !is_known
    });
    let left = left.map(|sandbox| completed(sandbox));
    response::GetTasks {
        launched_tasks: known(live),
        terminated_tasks: known(ended),
        completed_tasks: view
            .past
            .tasks()
            .map(|task| one(task))
            .chain(left)
            .collect(),
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

/// What runs, and what it uses; with `nested` also each task of a group.
pub(super) fn containers(view: &View, look: &Look, nested: bool) -> response::GetContainers {
    let all = running::used(view, look, nested).into_iter();
    response::GetContainers {
        containers: all.map(|(one, sample)| container(&one, &sample)).collect(),
    }
}

fn container(one: &Running<'_>, sample: &Sample) -> get_containers::Container {
    let id = containers::id(one);
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
