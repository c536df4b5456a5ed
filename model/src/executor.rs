//! Executors, and groups of tasks below one: tasks that start together, share network and volumes, and end together when
//! one of them fails.

use std::time::Duration;

use bytes::Bytes;

use crate::container::{CommandSpec, ContainerSpec};
use crate::ids::{ExecutorId, TaskId};
use crate::resources::Resources;
use crate::task::TaskSpec;

/// The label of a task of a group that is to end with success before the next one begins.
pub const INIT_LABEL: &str = "mete.init";

/// Most tasks of one group. Groups are a handful of containers around one program; each costs a shim.
pub const MAX_GROUP_TASKS: usize = 64;

/// What looks after tasks on an agent, as its framework describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorSpec {
    /// Chosen by the framework; several groups may name the same, described alike.
    pub id: ExecutorId,
    /// Whose program it is.
    pub kind: ExecutorKind,
    /// For people.
    pub name: String,
    /// What it takes from the offers besides its tasks, once, as long as one of them lives.
    pub resources: Resources,
    /// What it runs; only for [`ExecutorKind::Custom`].
    pub command: Option<CommandSpec>,
    /// What is around it: its network is that of its tasks.
    pub container: Option<Box<ContainerSpec>>,
    /// From SHUTDOWN to SIGKILL; `None`: the agent's own.
    pub shutdown_grace_period: Option<Duration>,
    /// The `mesos.v1.ExecutorInfo` as it came, so that nothing we do not understand is lost.
    pub original: Bytes,
}

/// Whose program an executor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExecutorKind {
    /// The agent's own, which runs groups of tasks.
    Default,
    /// The framework's.
    Custom,
}

/// Tasks that start together below one executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskGroup {
    /// Who looks after them.
    pub executor: ExecutorSpec,
    /// In the order given.
    pub tasks: Vec<TaskSpec>,
}

/// A label [`INIT_LABEL`] that says neither yes nor no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "task {task} has label {INIT_LABEL} with value {value:?}; it is true, false, or none, which means true"
)]
pub struct BadInitLabel {
    task: TaskId,
    value: String,
}

impl TaskSpec {
    /// Whether it is to end with success before the tasks behind it in its group begin.
    ///
    /// # Errors
    /// [`BadInitLabel`] names the value.
    pub fn is_init(&self) -> Result<bool, BadInitLabel> {
        let label = self.labels.iter().find(|(key, _)| key == INIT_LABEL);
        match label.map(|(_, value)| value.as_deref()) {
            None | Some(Some("false")) => Ok(false),
            Some(None | Some("" | "true")) => Ok(true),
            Some(Some(value)) => Err(BadInitLabel {
                task: self.id.clone(),
                value: value.chars().take(80).collect(),
            }),
        }
    }
}
