//! Frameworks in `/state`, with their executors and tasks, those that are over included. A task that comes alone is its own
//! executor here, as in Mesos.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_agent_core::{Executor, Sandbox, Task, View, Within};
use mete_model::{
    Capability, ContainerId, ExecutorKind, ExecutorSpec, FrameworkId, FrameworkInfo, Resources,
};
use mete_proto::convert::said::Said;
use mete_proto::mesos::v1 as wire;
use serde_json::{Value, json};

use crate::http::{About, json as shapes};
use crate::running::source_of;

/// Executors that are over, shown of a framework, and their tasks, shown of an executor (as many as Mesos).
const MAX_COMPLETED_EXECUTORS: usize = 150;
const MAX_COMPLETED_TASKS: usize = 200;

/// Those with tasks here, and those of which there are only sandboxes left.
pub(super) fn all(about: &About, view: &View) -> (Vec<Value>, Vec<Value>) {
    let ended = Ended::of(about, view);
    let present = view.frameworks.iter();
    let present = present.map(|(id, info)| {
        let role = info.roles.first().map_or("*", |role| role.as_str());
        let mut shape = described(id, info);
        shape["executors"] = executors(&ended, id, role).collect();
        shape["completed_executors"] = ended.executors_of(id, role);
        shape
    });
    let gone: BTreeSet<&FrameworkId> = ended
        .sandboxes
        .keys()
        .copied()
        .filter(|id| !view.frameworks.contains_key(*id))
        .collect();
    let infos: BTreeMap<_, _> = view
        .past
        .frameworks()
        .map(|(id, info)| (id, info))
        .collect();
    let gone = gone.into_iter().map(|id| {
        let info = infos.get(id);
        let role = info.and_then(|info| info.roles.first());
        let role = role.map_or("*", |role| role.as_str());
        let mut shape = match info {
            Some(info) => described(id, info),
            None => nameless(id),
        };
        shape["executors"] = json!([]);
        shape["completed_executors"] = ended.executors_of(id, role);
        shape
    });
    (present.collect(), gone.collect())
}

fn described(id: &FrameworkId, info: &FrameworkInfo) -> Value {
    let checkpoint = wire::FrameworkInfo::from(info).checkpoint;
    let mut shape = json!({
        "id": id.as_str(),
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout.as_secs_f64(),
        "checkpoint": checkpoint.unwrap_or_default(),
        "hostname": info.hostname,
    });
    if let Some(principal) = &info.principal {
        shape["principal"] = json!(principal);
    }
    // As in Mesos: one that holds several roles has a list, another one its role.
    let mut roles = info.roles.iter().map(|role| role.as_str());
    if info.can(Capability::MultiRole) {
        shape["roles"] = roles.collect();
    } else {
        shape["role"] = json!(roles.next().unwrap_or("*"));
    }
    shape
}

/// One of which a restart of the agent has left the id alone.
fn nameless(id: &FrameworkId) -> Value {
    json!({
        "id": id.as_str(),
        "name": "",
        "user": "",
        "failover_timeout": 0.0,
        "checkpoint": false,
        "hostname": "",
        "role": "*",
    })
}

/// Tasks that came alone, executors that look after groups, and those of frameworks' own, with all their tasks.
fn executors<'a>(
    ended: &'a Ended<'a>,
    framework: &'a FrameworkId,
    role: &'a str,
) -> impl Iterator<Item = Value> + 'a {
    let view = ended.view;
    let tasks = view.tasks.values();
    let tasks = tasks.filter(|task| task.key.framework == *framework && task.executor.is_none());
    let alone = tasks.map(move |task| {
        let place = ended
            .about
            .places
            .sandbox(&task.agent, &task.key, &task.container);
        let shape = Shape {
            id: task.key.task.as_str(),
            source: task.key.task.as_str(),
            name: &task.spec.name,
            container: &task.container,
            directory: place.display().to_string(),
            kind: None,
            resources: task.spec.resources.clone(),
            role,
        };
        let entry = one_task(task, role);
        match task.is_live() {
            true => shape.json(vec![entry], vec![]),
            false => shape.json(vec![], vec![entry]),
        }
    });
    let of_groups = view.executors.values();
    let of_groups =
        of_groups.map(|one: &Arc<Executor>| (&one.key, &one.spec, one.within(), &one.agent));
    let own = view.custom_executors.values();
    let own = own.map(|one| (&one.key, &one.spec, one.within(), &one.agent));
    let named = of_groups.chain(own);
    let named = named.filter(move |(key, ..)| key.framework == *framework);
    let named = named.map(move |(key, spec, within, agent)| {
        let tasks = view.tasks.values().filter(|task| {
            task.key.framework == *framework && task.executor.as_ref() == Some(&key.executor)
        });
        let (live, over): (Vec<_>, Vec<_>) = tasks.partition(|task| task.is_live());
        let mut resources = spec.resources.clone();
        live.iter()
            .for_each(|task| resources.add(&task.spec.resources));
        let place = ended
            .about
            .places
            .executor_sandbox(agent, framework, &within);
        let source = source_of(spec).unwrap_or_default();
        let shape = Shape {
            id: key.executor.as_str(),
            source: &source,
            name: &spec.name,
            container: &within.container,
            directory: place.display().to_string(),
            kind: Some(spec.kind),
            resources,
            role,
        };
        let live = live.into_iter().map(|task| one_task(task, role));
        let over = over.into_iter().map(|task| one_task(task, role));
        let past = ended.tasks_of(&within, role);
        shape.json(live.collect(), over.chain(past).collect())
    });
    alone.chain(named)
}

/// What is over, found by where it ran.
struct Ended<'a> {
    about: &'a About,
    view: &'a View,
    sandboxes: BTreeMap<&'a FrameworkId, Vec<&'a Sandbox>>,
    /// By container: that of a task, or that of the executor which ran it.
    tasks: BTreeMap<&'a ContainerId, Vec<&'a Task>>,
    executors: BTreeMap<&'a ContainerId, &'a ExecutorSpec>,
}

impl<'a> Ended<'a> {
    fn of(about: &'a About, view: &'a View) -> Self {
        let mut sandboxes: BTreeMap<_, Vec<&Sandbox>> = BTreeMap::new();
        // What is there from the end of a task until that is acknowledged shows with the task.
        let is_known = |one: &Sandbox| {
            let task = view.tasks.get(&one.key);
            task.is_some_and(|task| task.container == one.container)
        };
        for one in view.sandboxes.values().filter(|one| !is_known(one)) {
            sandboxes.entry(&one.key.framework).or_default().push(one);
        }
        let mut tasks: BTreeMap<_, Vec<&Task>> = BTreeMap::new();
        for task in view.past.tasks() {
            // What an executor of its framework's own ran has no container, and tells that of the executor.
            let told = task
                .latest
                .container
                .as_ref()
                .filter(|_| task.is_delegated());
            let container = told.unwrap_or(&task.container);
            tasks.entry(container).or_default().push(task);
        }
        let executors = view.past.executors();
        let executors = executors.map(|one| (&one.container, &*one.spec));
        Self {
            about,
            view,
            sandboxes,
            tasks,
            executors: executors.collect(),
        }
    }

    /// Executors of a framework, those first that ended last.
    fn executors_of(&self, framework: &FrameworkId, role: &str) -> Value {
        let known = self.sandboxes.get(framework);
        let known = known.map_or(&[][..], Vec::as_slice);
        let view = self.view;
        let here: BTreeSet<ContainerId> = view
            .executors
            .values()
            .map(|one| one.container.clone())
            .chain(
                known
                    .iter()
                    .filter(|one| one.is_executor)
                    .map(|one| one.container.clone()),
            )
            .collect();
        // Tasks of a group stand below their executor, if that is there.
        let is_below = |one: &Sandbox| {
            let within = one.within.as_ref();
            within.is_some_and(|within| here.contains(&within.container))
        };
        let mut shown: Vec<_> = known.iter().filter(|one| !is_below(one)).collect();
        shown.sort_by_key(|one| Reverse(one.ended_at));
        let shown = shown.into_iter().take(MAX_COMPLETED_EXECUTORS);
        shown.map(|one| self.executor(one, role)).collect()
    }

    fn executor(&self, sandbox: &Sandbox, role: &str) -> Value {
        let id = sandbox.key.task.as_str();
        let spec = self.executors.get(&sandbox.container);
        let source = spec.and_then(|spec| source_of(spec));
        let task = self.task(sandbox);
        let resources = match spec {
            Some(spec) => spec.resources.clone(),
            None => task.map_or_else(Resources::none, |task| task.spec.resources.clone()),
        };
        let place = self.about.places.sandbox_left(sandbox);
        let shape = Shape {
            id,
            source: source.as_deref().unwrap_or(id),
            name: &sandbox.name,
            container: &sandbox.container,
            directory: place.display().to_string(),
            kind: spec.map(|spec| spec.kind),
            resources,
            role,
        };
        if !sandbox.is_executor {
            return shape.json(vec![], vec![self.one(sandbox, role)]);
        }
        let within = Within {
            executor: sandbox.key.task.as_executor(),
            container: sandbox.container.clone(),
        };
        shape.json(vec![], self.tasks_of(&within, role))
    }

    /// Tasks of one run of an executor, those first that ended last.
    fn tasks_of(&self, within: &Within, role: &str) -> Vec<Value> {
        let all = self.sandboxes.values().flatten();
        let mut left: Vec<_> = all
            .filter(|one| one.within.as_ref() == Some(within))
            .collect();
        left.sort_by_key(|one| Reverse(one.ended_at));
        let left = left.into_iter().map(|one| self.one(one, role));
        let delegated = self
            .tasks
            .get(&within.container)
            .into_iter()
            .flatten()
            .rev();
        let delegated = delegated.filter(|task| task.is_delegated());
        let all = left.chain(delegated.map(|task| one_task(task, role)));
        all.take(MAX_COMPLETED_TASKS).collect()
    }

    fn task(&self, sandbox: &Sandbox) -> Option<&'a Task> {
        let known = self.tasks.get(&sandbox.container)?.last();
        known.copied().filter(|task| task.key == sandbox.key)
    }

    /// A task that has left a sandbox.
    fn one(&self, sandbox: &Sandbox, role: &str) -> Value {
        match self.task(sandbox) {
            Some(task) => one_task(task, role),
            None => left(sandbox, role),
        }
    }
}

/// An executor but for its tasks.
struct Shape<'a> {
    id: &'a str,
    source: &'a str,
    name: &'a str,
    container: &'a ContainerId,
    directory: String,
    kind: Option<ExecutorKind>,
    resources: Resources,
    role: &'a str,
}

impl Shape<'_> {
    fn json(self, tasks: Vec<Value>, completed: Vec<Value>) -> Value {
        let mut shape = json!({
            "id": self.id,
            "name": self.name,
            "source": self.source,
            "container": self.container.as_str(),
            "directory": self.directory,
            "resources": shapes::resources(&self.resources),
            "role": self.role,
            "tasks": tasks,
            "queued_tasks": [],
            "completed_tasks": completed,
        });
        match self.kind {
            Some(ExecutorKind::Default) => shape["type"] = json!("DEFAULT"),
            Some(ExecutorKind::Custom) => shape["type"] = json!("CUSTOM"),
            None => {}
        }
        shape
    }
}

fn one_task(task: &Task, role: &str) -> Value {
    let spec = &task.spec;
    let said = Said::of(&spec.original);
    let mut shape = json!({
        "id": task.key.task.as_str(),
        "name": spec.name,
        "framework_id": task.key.framework.as_str(),
        "executor_id": task.executor.as_ref().map_or("", |id| id.as_str()),
        "slave_id": task.agent.as_str(),
        "state": task.latest.state.as_str(),
        "resources": shapes::resources(&spec.resources),
        "role": role,
        "statuses": [shapes::status(&task.latest)],
        "labels": shapes::labels(&spec.labels),
    });
    if let Some(user) = &spec.command.user {
        shape["user"] = json!(user);
    }
    if let Some(discovery) = said.discovery() {
        shape["discovery"] = shapes::message(&discovery);
    }
    if let Some(container) = said.container() {
        shape["container"] = shapes::message(&container);
    }
    if let Some(check) = said.health_check() {
        shape["health_check"] = shapes::message(&check);
    }
    shape
}

/// A task of which a restart of the agent has left the sandbox alone.
fn left(sandbox: &Sandbox, role: &str) -> Value {
    let executor = sandbox.within.as_ref().map(|within| &within.executor);
    let mut status = json!({
        "state": sandbox.state.as_str(),
        "timestamp": sandbox.ended_at.as_secs_f64(),
        "container_status": { "container_id": { "value": sandbox.container.as_str() } },
    });
    if let Some(message) = &sandbox.message {
        status["message"] = json!(message);
    }
    json!({
        "id": sandbox.key.task.as_str(),
        "name": sandbox.name,
        "framework_id": sandbox.key.framework.as_str(),
        "executor_id": executor.map_or("", |id| id.as_str()),
        "slave_id": sandbox.agent.as_str(),
        "state": sandbox.state.as_str(),
        "resources": shapes::resources(&Resources::none()),
        "role": role,
        "statuses": [status],
        "labels": [],
    })
}
