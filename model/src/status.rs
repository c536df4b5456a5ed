//! One report about one task.

use std::fmt;
use std::sync::Arc;

use crate::health::CheckAnswer;
use crate::ids::{AgentId, ContainerId, ExecutorId, TaskId, UpdateId};
use crate::machine::Timestamp;
use crate::task::TaskState;

/// One report about one task: what `mesos.v1.TaskStatus` says, as far as it is decided on.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskStatus {
    /// Which task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// Who says so.
    pub source: Source,
    /// Why, for programs.
    pub reason: Option<Reason>,
    /// Why, for people.
    pub message: Option<String>,
    /// Where it runs or ran.
    pub agent: Option<AgentId>,
    /// Who looks after it there; a task that came alone is an executor of its own.
    pub executor: Option<ExecutorId>,
    /// What it runs in there.
    pub container: Option<ContainerId>,
    /// When this became so.
    pub timestamp: Timestamp,
    /// Set when an acknowledgement is asked for; then the report is repeated until it comes.
    pub uuid: Option<UpdateId>,
    /// What its health check says; `None` without check or before the first result.
    pub healthy: Option<bool>,
    /// What its check, if it has one, was answered last.
    pub check: Option<CheckAnswer>,
    /// Since when its agent is not heard of.
    pub unreachable_time: Option<Timestamp>,
    /// The IP addresses the task can be reached at.
    pub ip_addresses: Vec<String>,
    /// What it had too little of when it was ended for that.
    pub limitation: Option<Limitation>,
    /// What of its `mesos.v1.TaskStatus` is not decided on, as such a message: the whole one that an executor of a
    /// framework's own sent; of others networks by name, labels and data. `None`: there is nothing.
    pub original: Option<Arc<[u8]>>,
}

impl TaskStatus {
    /// A report with nothing but task, state and source in it.
    pub const fn new(task: TaskId, state: TaskState, source: Source, timestamp: Timestamp) -> Self {
        Self {
            task,
            state,
            source,
            reason: None,
            message: None,
            agent: None,
            executor: None,
            container: None,
            timestamp,
            uuid: None,
            healthy: None,
            check: None,
            unreachable_time: None,
            ip_addresses: Vec::new(),
            limitation: None,
            original: None,
        }
    }
}

/// What a task took more of than it was given, and how much that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limitation {
    /// Memory, in bytes.
    Memory(u64),
    /// Disk, in bytes: that of its sandbox, or of one of its volumes.
    Disk(u64),
}

/// Who made a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The master.
    Master,
    /// The agent.
    Agent,
    /// The executor of the task.
    Executor,
}

impl Source {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "SOURCE_MASTER",
            Self::Agent => "SOURCE_AGENT",
            Self::Executor => "SOURCE_EXECUTOR",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// Why a task is in its state. Names are those of `mesos.v1.TaskStatus.Reason`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name on the wire: `REASON_RECONCILIATION`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

reasons! {
    /// The agent's link to the master broke.
    AgentDisconnected = "REASON_AGENT_DISCONNECTED",
    /// The agent is being drained.
    AgentDraining = "REASON_AGENT_DRAINING",
    /// The agent left or was marked unreachable.
    AgentRemoved = "REASON_AGENT_REMOVED",
    /// An operator marked the agent gone.
    AgentRemovedByOperator = "REASON_AGENT_REMOVED_BY_OPERATOR",
    /// The agent came back.
    AgentReregistered = "REASON_AGENT_REREGISTERED",
    /// The agent was restarted before the task had started.
    AgentRestarted = "REASON_AGENT_RESTARTED",
    /// No such agent.
    AgentUnknown = "REASON_AGENT_UNKNOWN",
    /// The command could not be run.
    CommandExecutorFailed = "REASON_COMMAND_EXECUTOR_FAILED",
    /// The container could not be started.
    ContainerLaunchFailed = "REASON_CONTAINER_LAUNCH_FAILED",
    /// Some limit was reached.
    ContainerLimitation = "REASON_CONTAINER_LIMITATION",
    /// The disk limit was reached.
    ContainerLimitationDisk = "REASON_CONTAINER_LIMITATION_DISK",
    /// The memory limit was reached.
    ContainerLimitationMemory = "REASON_CONTAINER_LIMITATION_MEMORY",
    /// The container made room for another.
    ContainerPreempted = "REASON_CONTAINER_PREEMPTED",
    /// The container could not be changed.
    ContainerUpdateFailed = "REASON_CONTAINER_UPDATE_FAILED",
    /// The executor did not come back in time.
    ExecutorReregistrationTimeout = "REASON_EXECUTOR_REREGISTRATION_TIMEOUT",
    /// The executor did not come in time.
    ExecutorRegistrationTimeout = "REASON_EXECUTOR_REGISTRATION_TIMEOUT",
    /// The executor ended.
    ExecutorTerminated = "REASON_EXECUTOR_TERMINATED",
    /// The executor was not registered.
    ExecutorUnregistered = "REASON_EXECUTOR_UNREGISTERED",
    /// The framework was torn down.
    FrameworkRemoved = "REASON_FRAMEWORK_REMOVED",
    /// Old files could not be removed.
    GcError = "REASON_GC_ERROR",
    /// No such framework.
    InvalidFrameworkid = "REASON_INVALID_FRAMEWORKID",
    /// An offer was used, withdrawn, or another's.
    InvalidOffers = "REASON_INVALID_OFFERS",
    /// The terminal server of the container ended.
    IoSwitchboardExited = "REASON_IO_SWITCHBOARD_EXITED",
    /// No master is heard of.
    MasterDisconnected = "REASON_MASTER_DISCONNECTED",
    /// The task ran longer than it may.
    MaxCompletionTimeReached = "REASON_MAX_COMPLETION_TIME_REACHED",
    /// The answer to a question, not news.
    Reconciliation = "REASON_RECONCILIATION",
    /// The resources are not there any more.
    ResourcesUnknown = "REASON_RESOURCES_UNKNOWN",
    /// A check has a new result.
    TaskCheckStatusUpdated = "REASON_TASK_CHECK_STATUS_UPDATED",
    /// One task of the group was refused.
    TaskGroupInvalid = "REASON_TASK_GROUP_INVALID",
    /// One task of the group is not allowed.
    TaskGroupUnauthorized = "REASON_TASK_GROUP_UNAUTHORIZED",
    /// A health check has a new result.
    TaskHealthCheckStatusUpdated = "REASON_TASK_HEALTH_CHECK_STATUS_UPDATED",
    /// The description is wrong.
    TaskInvalid = "REASON_TASK_INVALID",
    /// The kill came before the start.
    TaskKilledDuringLaunch = "REASON_TASK_KILLED_DURING_LAUNCH",
    /// The task is not allowed.
    TaskUnauthorized = "REASON_TASK_UNAUTHORIZED",
    /// No such task.
    TaskUnknown = "REASON_TASK_UNKNOWN",
}

impl Reason {
    /// From the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
