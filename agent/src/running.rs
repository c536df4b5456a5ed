//! What runs in a container of its own: tasks, and executors of frameworks' own with their tasks in them. Tasks of a group are
//! together their executor's, too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use mete_agent_core::{Executor, ExecutorKey, ExecutorPhase, Task, View};
use mete_model::{ContainerId, ExecutorSpec, FrameworkId, Limit, Resources, TaskStatus};
use mete_proto::mesos::v1 as wire;

use crate::launch::cpu_limit;
use crate::statistics::{Look, Sample};

/// One of them.
pub(crate) struct Running<'a> {
    pub(crate) container: &'a ContainerId,
    /// That in which it is, of a task in a group.
    pub(crate) parent: Option<&'a Executor>,
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
            parent: None,
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

/// What runs at the top, with what it uses: the tasks of a group in one, as in Mesos. With `nested` each of them, too. What
/// has begun since the look is in the next one.
pub(crate) fn used<'a>(view: &'a View, look: &Look, nested: bool) -> Vec<(Running<'a>, Sample)> {
    let mut found = Vec::new();
    let mut groups: BTreeMap<&ContainerId, (Running<'a>, Sample)> = BTreeMap::new();
    for one in all(view) {
        let Some(sample) = look.get(one.container) else {
            continue;
        };
        if let Some(parent) = one.parent {
            match groups.entry(&parent.container) {
                Entry::Occupied(mut group) => {
                    let (group, used) = group.get_mut();
                    group.resources.add(&one.resources);
                    used.add(sample);
                }
                Entry::Vacant(free) => drop(free.insert((of_group(parent, &one), sample.clone()))),
            }
        }
        if one.parent.is_none() || nested {
            found.push((one, sample.clone()));
        }
    }
    found.extend(groups.into_values());
    found
}

/// An executor that looks after groups, with the first of its tasks. They have one network.
fn of_group<'a>(executor: &'a Executor, task: &Running<'a>) -> Running<'a> {
    let id = executor.key.executor.as_str();
    Running {
        container: &executor.container,
        parent: None,
        framework: &executor.key.framework,
        source: source_of(&executor.spec).map_or_else(|| id.into(), Cow::from),
        executor: id,
        name: &executor.spec.name,
        resources: executor.spec.resources.plus(&task.resources),
        cpu_limit: None,
        status: task.status,
    }
}

fn of_task<'a>(view: &'a View, task: &'a Task) -> Running<'a> {
    let id = task.key.task.as_str();
    let parent = task.executor.as_ref().and_then(|executor| {
        let key = ExecutorKey {
            framework: task.key.framework.clone(),
            executor: executor.clone(),
        };
        view.executors.get(&key)
    });
    Running {
        container: &task.container,
        parent: parent.map(AsRef::as_ref),
        framework: &task.key.framework,
        source: id.into(),
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
