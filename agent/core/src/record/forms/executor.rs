//! Executors and their groups.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::{ContainerId, ExecutorKind, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use super::container::Container;
use super::quantities::Quantities;
use super::spec::{Command, micros};
use super::words::{Base64, agent};
use crate::state::executors::{self, ExecutorKey};

/// One executor.
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

#[derive(Serialize, Deserialize)]
struct Spec {
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
            spec: Spec {
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
            },
            groups: executor.groups.iter().map(Group::from).collect(),
        }
    }
}

impl Executor {
    pub(in crate::record) fn read(self, key: ExecutorKey) -> Result<executors::Executor, String> {
        let spec = self.spec;
        let spec = mete_model::ExecutorSpec {
            id: key.executor.clone(),
            kind: match spec.kind {
                KindForm::Default => ExecutorKind::Default,
                KindForm::Custom => ExecutorKind::Custom,
            },
            name: spec.name,
            resources: spec.resources.read()?,
            command: spec.command.map(Command::read),
            container: spec
                .container
                .map(Container::read)
                .transpose()?
                .map(Box::new),
            shutdown_grace_period: spec.shutdown_grace_us.map(Duration::from_micros),
            original: spec.original.0,
        };
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
            tasks: group.tasks.iter().map(ToString::to_string).collect(),
            init: group.init.iter().map(ToString::to_string).collect(),
            done: group.done.iter().map(ToString::to_string).collect(),
            failed: group.failed.as_ref().map(ToString::to_string),
        }
    }
}

impl Group {
    fn read(self) -> Result<executors::Group, String> {
        fn all<C: FromIterator<TaskId>>(names: &[String]) -> Result<C, String> {
            names.iter().map(|name| one(name)).collect()
        }
        fn one(name: &str) -> Result<TaskId, String> {
            TaskId::new(name).map_err(|bad| bad.to_string())
        }
        Ok(executors::Group {
            tasks: all(&self.tasks)?,
            init: all(&self.init)?,
            done: all::<BTreeSet<_>>(&self.done)?,
            failed: self.failed.as_deref().map(one).transpose()?,
        })
    }
}
