//! Executors and their groups.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::{ContainerId, ExecutorId, ExecutorKind, ExecutorSpec, Reason, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use super::container::Container;
use super::quantities::Quantities;
use super::spec::{Command, micros};
use super::words::{Base64, agent};
use crate::state::custom_executors::{self, Ending, ExecutorPhase};
use crate::state::executors::{self, ExecutorKey};

/// An executor of the agent's own.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Executor {
    container: String,
    agent: String,
    since: u64,
    spec: Spec,
    groups: Vec<Group>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindForm {
    Default,
    Custom,
}

/// What an executor is.
#[derive(Serialize, Deserialize)]
pub(super) struct Spec {
    kind: KindForm,
    name: String,
    resources: Quantities,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Command>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<Container>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shutdown_grace_us: Option<u64>,
    original: Base64,
}

impl From<&ExecutorSpec> for Spec {
    fn from(spec: &ExecutorSpec) -> Self {
        Self {
            kind: match spec.kind {
                ExecutorKind::Default => KindForm::Default,
                ExecutorKind::Custom => KindForm::Custom,
            },
            name: spec.name.clone(),
            resources: Quantities::from(&spec.resources),
            command: spec.command.as_ref().map(Command::from),
            container: spec.container.as_deref().map(Container::from),
            shutdown_grace_us: spec.shutdown_grace_period.map(micros),
            original: Base64(spec.original.clone()),
        }
    }
}

impl Spec {
    pub(super) fn read(self, id: ExecutorId) -> Result<ExecutorSpec, String> {
        Ok(ExecutorSpec {
            id,
            kind: match self.kind {
                KindForm::Default => ExecutorKind::Default,
                KindForm::Custom => ExecutorKind::Custom,
            },
            name: self.name,
            resources: self.resources.read()?,
            command: self.command.map(Command::read),
            container: self
                .container
                .map(Container::read)
                .transpose()?
                .map(Box::new),
            shutdown_grace_period: self.shutdown_grace_us.map(Duration::from_micros),
            original: self.original.0,
        })
    }
}

/// An executor of a framework's own. How far its start has come is found out by a look at it.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct CustomExecutor {
    container: String,
    agent: String,
    since: u64,
    mem_bytes: u64,
    spec: Spec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ending: Option<EndingForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct EndingForm {
    next: u64,
    reason: String,
    note: String,
}

/// How one of them ended.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Unheard {
    pub(in crate::record) status: i32,
}

impl From<&custom_executors::CustomExecutor> for CustomExecutor {
    fn from(one: &custom_executors::CustomExecutor) -> Self {
        Self {
            container: one.container.to_string(),
            agent: one.agent.to_string(),
            since: one.since.as_micros(),
            mem_bytes: one.mem_bytes,
            spec: Spec::from(&*one.spec),
            ending: one.ending().map(|ending| EndingForm {
                next: ending.next.as_micros(),
                reason: ending.reason.as_str().to_owned(),
                note: ending.note.clone(),
            }),
            groups: one.groups.iter().map(|group| names(group)).collect(),
        }
    }
}

impl CustomExecutor {
    pub(in crate::record) fn read(
        self,
        key: ExecutorKey,
    ) -> Result<custom_executors::CustomExecutor, String> {
        let phase = match self.ending {
            None => ExecutorPhase::Starting,
            Some(ending) => ExecutorPhase::Ending(Ending {
                next: Timestamp::from_micros(ending.next),
                forced: 0,
                reason: Reason::from_name(&ending.reason).unwrap_or(Reason::ExecutorTerminated),
                note: ending.note,
                launching: false,
            }),
        };
        let groups = self.groups.iter().map(|group| tasks(group));
        Ok(custom_executors::CustomExecutor {
            spec: self.spec.read(key.executor.clone())?.into(),
            key,
            container: ContainerId::new(&self.container).map_err(|bad| bad.to_string())?,
            agent: agent(&self.agent)?,
            since: Timestamp::from_micros(self.since),
            phase,
            stream: None,
            mem_bytes: self.mem_bytes,
            groups: groups.collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Group {
    tasks: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    init: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<String>,
}

impl From<&executors::Executor> for Executor {
    fn from(executor: &executors::Executor) -> Self {
        let spec = &executor.spec;
        Self {
            container: executor.container.to_string(),
            agent: executor.agent.to_string(),
            since: executor.since.as_micros(),
            spec: Spec::from(&**spec),
            groups: executor.groups.iter().map(Group::from).collect(),
        }
    }
}

impl Executor {
    pub(in crate::record) fn read(self, key: ExecutorKey) -> Result<executors::Executor, String> {
        let spec = self.spec.read(key.executor.clone())?;
        let groups = self.groups.into_iter().map(Group::read);
        Ok(executors::Executor {
            key,
            spec: spec.into(),
            container: ContainerId::new(&self.container).map_err(|bad| bad.to_string())?,
            agent: agent(&self.agent)?,
            since: Timestamp::from_micros(self.since),
            groups: groups.collect::<Result<_, _>>()?,
        })
    }
}

impl From<&executors::Group> for Group {
    fn from(group: &executors::Group) -> Self {
        Self {
            tasks: names(&group.tasks),
            init: names(&group.init),
            done: group.done.iter().map(ToString::to_string).collect(),
            failed: group.failed.as_ref().map(ToString::to_string),
        }
    }
}

impl Group {
    fn read(self) -> Result<executors::Group, String> {
        Ok(executors::Group {
            tasks: tasks(&self.tasks)?,
            init: tasks(&self.init)?,
            done: tasks::<BTreeSet<_>>(&self.done)?,
            failed: self.failed.as_deref().map(task).transpose()?,
        })
    }
}

fn names(tasks: &[TaskId]) -> Vec<String> {
    tasks.iter().map(ToString::to_string).collect()
}

fn tasks<C: FromIterator<TaskId>>(names: &[String]) -> Result<C, String> {
    names.iter().map(|name| task(name)).collect()
}

fn task(name: &str) -> Result<TaskId, String> {
    TaskId::new(name).map_err(|bad| bad.to_string())
}
