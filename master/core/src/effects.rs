//! What follows from an input: messages to be sent, streams to be closed, answers. Records are in `registry.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mete_model::{
    AgentId, Capability, ExecutorId, ExecutorSpec, FrameworkId, FrameworkInfo, InverseOffer, Offer,
    OfferId, OperationId, Reason, Resources, Role, TaskId, TaskSpec, TaskState, TaskStatus,
    Timestamp, UpdateId, VolumeName,
};

use mete_placement::Allocator;

use crate::input::LinkId;
use crate::operations::OperationError;
use crate::state::agents::Drain;
use crate::state::schedule::ScheduleError;

/// Roles for which an operator may have set weights, quotas or policies: far more than are of use, few enough to load
/// at every start.
pub(crate) const MAX_SET_ROLES: usize = 100_000;

/// Something to be carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Say something to a framework.
    ToFramework {
        /// On this stream.
        link: LinkId,
        /// What.
        event: Event,
    },
    /// Say something to an agent.
    ToAgent {
        /// On this stream.
        link: LinkId,
        /// What.
        message: MessageToAgent,
    },
    /// Say when what was said before on a framework's stream has been read: there is more than should wait on it at once.
    SayWhenRead {
        /// Which.
        link: LinkId,
    },
    /// End a stream, after what was said on it before.
    Close {
        /// Which.
        link: LinkId,
    },
}

/// What a framework hears. Heartbeats are the shell's.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is in.
    Subscribed {
        /// Its id from now on.
        framework: FrameworkId,
    },
    /// Resources to take or to decline.
    Offers {
        /// As many as the round gave.
        offers: Vec<Arc<Offer>>,
        /// What the framework understands decides on their form.
        capabilities: BTreeSet<Capability>,
        /// Its executors on the agents of the offers, where it has any.
        executors: BTreeMap<AgentId, Vec<ExecutorId>>,
    },
    /// An offer does not stand any more.
    Rescind(OfferId),
    /// Agents that the framework is asked to leave in time.
    InverseOffers(Vec<InverseOffer>),
    /// An inverse offer does not stand any more.
    RescindInverse(OfferId),
    /// News of a task.
    Update {
        /// As the framework understands it.
        status: Arc<TaskStatus>,
        /// The message as the agent sent it; `None` when the master made it.
        original: Option<Bytes>,
    },
    /// The answer about a task that never was one, as it cannot be called so.
    Misnamed {
        /// As the framework has it.
        name: String,
        /// The rest of the answer.
        refusal: Refusal,
        /// When.
        at: Timestamp,
    },
    /// How an operation went that the framework has named.
    Operation {
        /// As the framework calls it.
        id: OperationId,
        /// On which agent's resources; `None` when the offers were no good.
        agent: Option<AgentId>,
        /// How it went.
        outcome: OperationOutcome,
    },
    /// An agent is lost.
    Failure {
        /// Which.
        agent: AgentId,
    },
    /// An executor of its own is over.
    ExecutorFailure {
        /// Where it was.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// As from waitpid(2); -1 when nobody knows.
        status: i32,
    },
    /// An executor of its own says something.
    Message {
        /// Where it is.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// What; nobody looks into it.
        data: Bytes,
    },
    /// Something is wrong; when `Close` follows, the last event of the stream.
    Error(String),
}

/// Why a task never was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What has become of it, as the framework understands it.
    pub state: TaskState,
    /// Why, for programs.
    pub reason: Reason,
    /// Why, in words.
    pub why: String,
    /// Whose offers it was to be launched with, when they were good.
    pub agent: Option<AgentId>,
}

/// How an operation went.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationOutcome {
    /// Done, and on disk.
    Finished {
        /// What the resources are now.
        made: Resources,
        /// To be acknowledged; told again until it is.
        uuid: UpdateId,
    },
    /// Not done: it cannot be, or the offers were no good, in words.
    Error(String),
    /// Asked for by name, and nothing is known of it.
    Unknown,
    /// The same, and its agent cannot be reached.
    Unreachable,
    /// The same, and its agent never comes back.
    GoneByOperator,
    /// The same, and its agent may still come back to this master.
    Recovering,
}

/// What an agent hears.
#[derive(Clone, Debug, PartialEq)]
pub enum MessageToAgent {
    /// It is in.
    Registered {
        /// Its id from now on.
        agent: AgentId,
    },
    /// It is not let in; the stream ends.
    Refused {
        /// Why, in words.
        reason: String,
        /// Coming back will not help.
        permanent: bool,
    },
    /// Start a task.
    RunTask {
        /// Whose.
        framework: Arc<FrameworkInfo>,
        /// On whose account.
        role: Role,
        /// What.
        task: Arc<TaskSpec>,
    },
    /// Start the tasks of a group.
    RunGroup {
        /// Whose.
        framework: Arc<FrameworkInfo>,
        /// On whose account.
        role: Role,
        /// Who looks after them.
        executor: Arc<ExecutorSpec>,
        /// What.
        tasks: Vec<Arc<TaskSpec>>,
    },
    /// End a task.
    KillTask {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        task: TaskId,
        /// Overrides the task's own.
        grace_period: Option<Duration>,
    },
    /// An update has been dealt with.
    Acknowledge {
        /// Whose task.
        framework: FrameworkId,
        /// Which task.
        task: TaskId,
        /// Which update.
        uuid: UpdateId,
    },
    /// A framework says other things of itself than before.
    UpdateFramework {
        /// From now on.
        framework: Arc<FrameworkInfo>,
    },
    /// Say again, at once, what a framework has not acknowledged: it is back.
    ResendUpdates {
        /// Which.
        framework: FrameworkId,
    },
    /// A framework says something to an executor of its own.
    ExecutorMessage {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// What; nobody looks into it.
        data: Bytes,
    },
    /// End an executor of a framework's own, and with it its tasks.
    ShutdownExecutor {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
    },
    /// End all tasks of a framework and forget it.
    ShutdownFramework {
        /// Which.
        framework: FrameworkId,
    },
    /// End all tasks, then yourself.
    Shutdown {
        /// Why, in words.
        reason: String,
    },
    /// What the master has made of it, as it stands now.
    Standing {
        /// What it has, with what was reserved and made volumes.
        resources: Resources,
        /// How it drains, while it does.
        drain: Option<Drain>,
    },
    /// These volumes were destroyed: what is on them is to be erased.
    EraseVolumes(BTreeSet<VolumeName>),
    /// Are you there?
    Ping {
        /// Comes back in the answer.
        sequence: u64,
    },
}

/// The answer for the caller.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The framework is in.
    Subscribed(FrameworkId),
    /// The agent is in.
    Registered(AgentId),
    /// Whoever came was not let in; the reason went down the stream.
    Refused(String),
    /// Done.
    Done,
    /// Not done.
    Failed(OperatorError),
    /// The allocator as it is.
    Snapshot(Snapshot),
}

/// The allocator at one moment, to be asked at leisure: a copy, so that no decision waits for the answer.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Allocator>);

impl Snapshot {
    pub(crate) fn of(allocator: &Allocator) -> Self {
        Self(Arc::new(allocator.clone()))
    }

    /// What was copied.
    pub fn allocator(&self) -> &Allocator {
        &self.0
    }
}

/// The same copy.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Why an operator's wish was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    /// No such agent.
    #[error("agent {0} is not known")]
    UnknownAgent(AgentId),
    /// No such framework.
    #[error("framework {0} is not known")]
    UnknownFramework(FrameworkId),
    /// Limits go by top-level roles.
    #[error("role {0} is not a top-level role; limits are set on those")]
    NotTopLevel(Role),
    /// Limits hold for named roles.
    #[error("role * cannot have a limit")]
    AnyRole,
    /// What is kept for a role must be what it may have.
    #[error("role {role} would be guaranteed {resource} {guarantee} and limited to {limit}")]
    GuaranteeOverLimit {
        /// Which role.
        role: Role,
        /// Of what.
        resource: String,
        /// What would be kept for it.
        guarantee: String,
        /// What it may have.
        limit: String,
    },
    /// A limit that the role has passed already. Can be forced.
    #[error(
        "role {role} consumes {resource} {consumed}, its limit would be {limit}; it can be forced"
    )]
    LimitUnderUse {
        /// Which role.
        role: Role,
        /// Of what.
        resource: String,
        /// What it consumes: what is reserved for it, and what it uses of the rest.
        consumed: String,
        /// What it would be limited to.
        limit: String,
    },
    /// More would be kept than there is. Can be forced.
    #[error(
        "with role {role} all roles would be guaranteed {resource} {guaranteed}, the cluster has {capacity}; it can be \
         forced"
    )]
    GuaranteesOverCapacity {
        /// Which role.
        role: Role,
        /// Of what.
        resource: String,
        /// The sum over all roles.
        guaranteed: String,
        /// What all agents have.
        capacity: String,
    },
    /// Something is set for too many roles.
    #[error("something is set for {MAX_SET_ROLES} roles already")]
    TooManyRoles,
    /// An agent marked gone is not changed any more.
    #[error("agent {0} was marked gone")]
    AgentGone(AgentId),
    /// What drains cannot be called off.
    #[error("agent {0} is draining; it can be reactivated once it has drained")]
    AgentDraining(AgentId),
    /// The schedule is refused.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// Only what an agent that is there has can be changed.
    #[error("agent {0} is not connected")]
    AgentAway(AgentId),
    /// Resources of an agent cannot become what was asked for.
    #[error(transparent)]
    Operation(#[from] OperationError),
}
