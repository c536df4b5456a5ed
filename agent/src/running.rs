//! What runs in a container of its own: tasks, and executors of frameworks' own with their tasks in them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mete_agent_core::{ExecutorKey, ExecutorPhase, Task, View};
use mete_model::{ContainerId, ExecutorSpec, FrameworkId, Limit, Resources, TaskStatus};
use mete_proto::mesos::v1 as wire;

use crate::launch::cpu_limit;

/// One of them.
pub(crate) struct Running<'a> {
    pub(crate) container: &'a ContainerId,
    pub(crate) framework: &'a FrameworkId,
    /// What the framework said it is; else the name of the executor, or of the task.
    pub(crate) source: Cow<'a, str>,
    /// Who looks after it: a task that came alone does itself.
    pub(crate) executor: &'a str,
    pub(crate) name: &'a str,
    /// What it was given; an executor with its tasks.
    pub(crate) resources: Resources,
    /// The most CPU time it gets; `None`: as the agent is set.
    pub(crate) cpu_limit: Option<Limit>,
    /// Of a task.
    pub(crate) status: Option<&'a TaskStatus>,
}

/// All of them, tasks first.
pub(crate) fn all(view: &View) -> Vec<Running<'_>> {
    let mut held: BTreeMap<&ExecutorKey, Resources> = BTreeMap::new();
    let mut running = Vec::new();
    for task in view.tasks.values().filter(|task| task.is_live()) {
        match own_executor(view, task) {
            Some(key) => held.entry(key).or_default().add(&task.spec.resources),
            None => running.push(of_task(view, task)),
        }
    }
    for (key, one) in view.custom_executors.iter() {
        if one.phase == ExecutorPhase::Starting {
            continue;
        }
        let tasks = held.remove(key).unwrap_or_default();
        running.push(Running {
            container: &one.container,
            framework: &key.framework,
            source: source_of(&one.spec).map_or_else(|| key.executor.as_str().into(), Cow::from),
            executor: key.executor.as_str(),
            name: &one.spec.name,
            resources: one.spec.resources.plus(&tasks),
            cpu_limit: None,
            status: None,
        });
    }
    running
}

fn of_task<'a>(view: &'a View, task: &'a Task) -> Running<'a> {
    let id = task.key.task.as_str();
    let group = task.executor.as_ref().map(|executor| {
        let key = ExecutorKey {
            framework: task.key.framework.clone(),
            executor: executor.clone(),
        };
        let said = view.executors.get(&key);
        let said = said.and_then(|known| source_of(&known.spec));
        said.map_or_else(|| executor.as_str().into(), Cow::from)
    });
    Running {
        container: &task.container,
        framework: &task.key.framework,
        source: group.unwrap_or_else(|| id.into()),
        executor: task
            .executor
            .as_ref()
            .map_or(id, |executor| executor.as_str()),
        name: &task.spec.name,
        resources: task.spec.resources.clone(),
        cpu_limit: cpu_limit(&task.spec),
        status: Some(&task.latest),
    }
}

/// What a framework said that an executor of its own is, for people.
pub(crate) fn source_of(spec: &ExecutorSpec) -> Option<String> {
    wire::ExecutorInfo::from(spec).source
}

/// The executor of its framework's own in which a task is.
fn own_executor<'a>(view: &'a View, task: &Task) -> Option<&'a ExecutorKey> {
    let key = ExecutorKey {
        framework: task.key.framework.clone(),
        executor: task.executor.clone()?,
    };
    let known = view.custom_executors.get_key_value(&key);
    known.map(|(key, _)| key)
}
