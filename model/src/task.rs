//! A task: what a framework asks an agent to run, and the states it goes through.
//!
//! ```text
//! STAGING ─▶ STARTING ─▶ RUNNING ─▶ KILLING ─▶ FINISHED | FAILED | KILLED
//!    │                      ▲ │
//!    ├─▶ ERROR | DROPPED    │ ▼
//!    └───────────────── UNREACHABLE ─▶ GONE | GONE_BY_OPERATOR      (LOST: for frameworks of the old kind)
//! ```
//! A terminal state is final: nothing follows it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::container::{CommandSpec, ContainerSpec};
use crate::executor::ExecutorSpec;
use crate::health::{HealthCheck, TaskCheck};
use crate::ids::{AgentId, TaskId};
use crate::limits::TaskLimits;
use crate::resources::Resources;
use crate::role::Role;

/// What a framework asks an agent to run: the fields that are decided on, and the message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// Chosen by the framework, never used twice.
    pub id: TaskId,
    /// For people.
    pub name: String,
    /// Where it runs.
    pub agent: AgentId,
    /// What it takes from the offers.
    pub resources: Resources,
    /// On whose account its framework says that these and those of its executor were handed out; `None`: it does not say, and
    /// means the role of the offers.
    pub account: Option<Role>,
    /// How much more it may have.
    pub limits: TaskLimits,
    /// What it runs; an empty line where its executor knows what to do.
    pub command: CommandSpec,
    /// The framework's own program that is told to run it; `None`: its agent runs it.
    pub executor: Option<Arc<ExecutorSpec>>,
    /// What is around it; `None`: nothing but the limits every task has.
    pub container: Option<Box<ContainerSpec>>,
    /// Run by the agent.
    pub health_check: Option<HealthCheck>,
    /// Run by the agent, too; nothing follows from it.
    pub check: Option<Box<TaskCheck>>,
    /// From SIGTERM to SIGKILL; `None`: the agent's own.
    pub kill_grace_period: Option<Duration>,
    /// How long it may run before its agent ends it; `None`: for ever.
    pub max_completion_time: Option<Duration>,
    /// For people and tools, in the order given; a label may have no value.
    pub labels: Vec<(String, Option<String>)>,
    /// The `mesos.v1.TaskInfo` as it came, so that nothing we do not understand is lost.
    pub original: Bytes,
}

impl TaskSpec {
    /// A task with nothing around it but what it takes and runs, called as its id.
    pub fn new(id: TaskId, agent: AgentId, resources: Resources, command: CommandSpec) -> Self {
        Self {
            name: id.to_string(),
            id,
            agent,
            resources,
            account: None,
            limits: TaskLimits::default(),
            command,
            executor: None,
            container: None,
            health_check: None,
            check: None,
            kill_grace_period: None,
            max_completion_time: None,
            labels: Vec::new(),
            original: Bytes::new(),
        }
    }

    /// Whether it holds what a secret holds. `original` never does.
    pub fn tells_secrets(&self) -> bool {
        let container = self.container.as_deref();
        self.command.tells_secrets() || container.is_some_and(ContainerSpec::tells_secrets)
    }

    /// Forgets what its secrets hold: who has passed them on needs them no more.
    pub fn forget_secrets(&mut self) {
        self.command.forget_secrets();
        if let Some(container) = &mut self.container {
            container.forget_secrets();
        }
    }
}

/// Where a task stands. Names are those of `mesos.v1.TaskState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaskState {
    /// Accepted by the master, nothing heard from the agent.
    Staging,
    /// The agent prepares it.
    Starting,
    /// It runs.
    Running,
    /// A kill is under way.
    Killing,
    /// Ended by itself with exit code 0.
    Finished,
    /// Ended in another way, or could not be started.
    Failed,
    /// Ended because it was told to.
    Killed,
    /// Its description was refused.
    Error,
    /// Lost, for frameworks that are not partition-aware.
    Lost,
    /// Never started.
    Dropped,
    /// Its agent is not heard of; it may come back.
    Unreachable,
    /// Its agent does not know it any more.
    Gone,
    /// Its agent was marked gone by an operator.
    GoneByOperator,
    /// The master has never heard of it.
    Unknown,
}

impl TaskState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 14] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Error,
        Self::Lost,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// Whether nothing follows this state.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Error
            | Self::Lost
            | Self::Dropped
            | Self::Gone
            | Self::GoneByOperator => true,
            Self::Staging
            | Self::Starting
            | Self::Running
            | Self::Killing
            | Self::Unreachable
            | Self::Unknown => false,
        }
    }

    /// Whether a task in this state may next be in `next`. Repeating a live state is allowed (health
    /// changes within RUNNING); going back is not, but for a return from UNREACHABLE.
    pub fn may_become(self, next: Self) -> bool {
        let rank = |state: Self| match state {
            Self::Staging => 0,
            Self::Starting => 1,
            Self::Running => 2,
            Self::Killing => 3,
            Self::Unreachable | Self::Unknown => 0,
            Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Error
            | Self::Lost
            | Self::Dropped
            | Self::Gone
            | Self::GoneByOperator => 4,
        };
        !self.is_terminal() && (next == Self::Unreachable || rank(next) >= rank(self))
    }

    /// The name on the wire: `TASK_RUNNING`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Lost => "TASK_LOST",
            Self::Dropped => "TASK_DROPPED",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }

    /// From the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_terminal_state() {
        for from in TaskState::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
        {
            for to in TaskState::ALL {
                assert!(!from.may_become(to), "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_task_never_goes_back_but_from_unreachable() {
        assert!(TaskState::Staging.may_become(TaskState::Running));
        assert!(!TaskState::Running.may_become(TaskState::Starting));
        assert!(TaskState::Running.may_become(TaskState::Unreachable));
        assert!(TaskState::Unreachable.may_become(TaskState::Running));
        assert!(TaskState::Running.may_become(TaskState::Running));
    }

    #[test]
    fn names_are_read_back() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_name(state.as_str()), Some(state));
        }
    }
}
