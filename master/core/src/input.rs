//! All that can happen to a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mete_model::{
    AgentId, AgentInfo, ExecutorId, ExecutorSpec, FrameworkId, FrameworkInfo, OfferId, OperationId,
    Resources, Role, TaskGroup, TaskId, TaskSpec, TaskState, TaskStatus, UpdateId, VolumeName,
};
use mete_placement::{Amounts, Policy, Shape};

use crate::operations::OperationKind;
use crate::state::frameworks::OfferRules;
use crate::state::schedule::{MachineId, Window};
use crate::state::tasks::TaskBrief;

/// Names one stream of an agent or a framework, once; given out by the shell. What a stream says after another has taken
/// its place is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What an operator sets for a role, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleQuota {
    /// At most so much; `None`: no limit.
    pub limit: Option<Amounts>,
    /// So much is kept for it; `None`: nothing.
    pub guarantee: Option<Amounts>,
}

impl RoleQuota {
    /// Sets it for one role.
    pub fn for_role(self, role: Role, force: bool) -> Input {
        let quotas = BTreeMap::from([(role, self)]);
        Input::SetQuotas { quotas, force }
    }
}

/// Something happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A deadline has come.
    Deadline,
    /// An agent comes, or comes back with its tasks. Answered with `Registered` or `Refused`.
    RegisterAgent(Box<Registration>),
    /// An agent answers a ping.
    Pong {
        /// Which agent.
        agent: AgentId,
        /// On which stream.
        link: LinkId,
        /// Of the ping.
        sequence: u64,
    },
    /// News of a task.
    Update {
        /// From which agent.
        agent: AgentId,
        /// On which stream.
        link: LinkId,
        /// The news.
        update: Box<Update>,
    },
    /// An agent answers for a volume that it is to erase.
    VolumeErased {
        /// Which agent.
        agent: AgentId,
        /// On which stream; what comes on an older one does not count.
        link: LinkId,
        /// Which volume.
        volume: VolumeName,
        /// Why it is still there; `None`: nothing of it is left.
        failure: Option<String>,
    },
    /// News of an executor of a framework's own.
    OfExecutor(Box<ExecutorNews>),
    /// The stream of an agent broke.
    AgentDisconnected {
        /// Which agent.
        agent: AgentId,
        /// Which stream.
        link: LinkId,
    },
    /// A framework comes, or comes back. Answered with `Subscribed` or `Refused`.
    Subscribe(Box<Subscription>),
    /// The stream of a framework broke.
    FrameworkDisconnected {
        /// Which framework.
        framework: FrameworkId,
        /// Which stream.
        link: LinkId,
    },
    /// All has been read that was said on the stream of a framework before it was asked to say so.
    StreamRead {
        /// Which framework.
        framework: FrameworkId,
        /// Which stream.
        link: LinkId,
    },
    /// A framework calls. DEMAND, UPDATE_FRAMEWORK and TEARDOWN are answered with `Done`, each call that cannot be acted on, or
    /// comes on a stream that is not the framework's, with `Refused`; the others have no answer but what follows.
    Call {
        /// Which framework.
        framework: FrameworkId,
        /// On which stream.
        link: LinkId,
        /// What it wants.
        call: Call,
    },
    /// An operator sets weights of roles, in thousandths. Answered with `Done` or `Failed`.
    SetWeights(BTreeMap<Role, NonZeroU32>),
    /// An operator sets or lifts what roles may have and what is kept for them, all or none. Answered with `Done` or
    /// `Failed`.
    SetQuotas {
        /// By role; top-level ones.
        quotas: BTreeMap<Role, RoleQuota>,
        /// Also when a limit is below what is consumed, or more is guaranteed than there is.
        force: bool,
    },
    /// An operator says how places are chosen. Answered with `Done` or `Failed`.
    SetPolicy {
        /// For this role and those below it; `None`: for the cluster.
        role: Option<Role>,
        /// `None`: as one level up; for the cluster, as the master was started.
        policy: Option<Policy>,
    },
    /// An operator empties an agent, which gets no new tasks. Answered with `Done` or `Failed`.
    DrainAgent {
        /// Which agent.
        agent: AgentId,
        /// For so long frameworks may move what they have there; `None`: all tasks are killed at once.
        deadline: Option<Duration>,
        /// No task has longer than this to end; `None`: each has its own grace period.
        max_grace: Option<Duration>,
        /// The agent is marked gone when its last task is over.
        mark_gone: bool,
    },
    /// An operator wants no new tasks on an agent. Answered with `Done` or `Failed`.
    DeactivateAgent {
        /// Which agent.
        agent: AgentId,
    },
    /// An operator wants new tasks on an agent that was deactivated or has drained. Answered with `Done` or `Failed`.
    ReactivateAgent {
        /// Which agent.
        agent: AgentId,
    },
    /// An operator plans when machines will be away; replaces what was planned. Answered with `Done` or `Failed`.
    SetSchedule(Vec<Window>),
    /// An operator takes planned machines down: their agents are out. Answered with `Done` or `Failed`.
    MachinesDown(BTreeSet<MachineId>),
    /// Machines that were down are up again, and not planned any more. Answered with `Done` or `Failed`.
    MachinesUp(BTreeSet<MachineId>),
    /// An operator says that an agent never comes back. Answered with `Done` or `Failed`.
    MarkAgentGone {
        /// Which agent.
        agent: AgentId,
    },
    /// An operator reserves resources of an agent, makes volumes, and back. Answered with `Done` or `Failed`.
    ReshapeAgent(Box<AgentOperation>),
    /// An operator ends a framework. Answered with `Done` or `Failed`.
    TearDown {
        /// Which framework.
        framework: FrameworkId,
    },
    /// Somebody wants to ask the allocator at leisure. Answered with `Snapshot`; changes nothing.
    Snapshot,
}

/// What an operator makes of an agent's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentOperation {
    /// Which agent.
    pub agent: AgentId,
    /// What is made of it.
    pub kind: OperationKind,
    /// What is to be reserved or created, or what is not to be any more; a volume that grows, with what is added to it.
    pub resources: Resources,
}

/// How an agent comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Its stream.
    pub link: LinkId,
    /// Set when it comes back.
    pub id: Option<AgentId>,
    /// What it says of itself.
    pub info: AgentInfo,
    /// Changes when the machine restarts.
    pub boot_id: Option<String>,
    /// Version of its program.
    pub version: String,
    /// The last epoch it has obeyed; 0 for none.
    pub obeyed_epoch: u64,
    /// Every task it knows.
    pub tasks: Vec<AgentTask>,
    /// Every executor of a framework's own that lives there, and whose it is.
    pub executors: Vec<(FrameworkId, Arc<ExecutorSpec>)>,
    /// Executors of frameworks' own that ended while nobody heard, and how.
    pub exited: Vec<(FrameworkId, ExecutorId, i32)>,
    /// Each framework that has tasks there.
    pub frameworks: Vec<FrameworkInfo>,
    /// Updates that nobody has acknowledged, in the order in which they happened.
    pub unacknowledged: Vec<Update>,
}

/// What an agent says of an executor of a framework's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorNews {
    /// Which agent.
    pub agent: AgentId,
    /// On which stream.
    pub link: LinkId,
    /// Whose executor.
    pub framework: FrameworkId,
    /// Which.
    pub executor: ExecutorId,
    /// What.
    pub news: FromExecutor,
}

/// What an executor of a framework's own does that others hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromExecutor {
    /// It says something to its framework; nobody looks into it.
    Message(Bytes),
    /// It is over.
    Exited {
        /// As from waitpid(2); -1 when nobody knows.
        status: i32,
    },
}

/// A task as its agent knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentTask {
    /// Whose.
    pub framework: FrameworkId,
    /// Its name among them.
    pub task: TaskId,
    /// What it is.
    pub brief: TaskBrief,
    /// Who looks after it: when it came in a group, or with an executor of its framework's own.
    pub executor: Option<Arc<ExecutorSpec>>,
    /// On whose account, when the task says so.
    pub role: Option<Role>,
    /// Where it stands, acknowledged or not.
    pub status: TaskStatus,
}

/// News of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Whose task.
    pub framework: FrameworkId,
    /// The news.
    pub status: TaskStatus,
    /// The state it is in by now, when that is later than the news.
    pub latest: Option<TaskState>,
    /// The `mesos.v1.TaskStatus` as it came, so that nothing in it is lost on the way up.
    pub original: Bytes,
}

/// How a framework comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Its stream.
    pub link: LinkId,
    /// What it says of itself; its `id` is set when it comes back.
    pub info: FrameworkInfo,
    /// Whether its tasks outlive agents.
    pub checkpoint: bool,
    /// Roles for which it wants no offers yet.
    pub suppressed: BTreeSet<Role>,
    /// Which offers it takes at all.
    pub rules: OfferRules,
    /// Whether it may come back after it was removed because it was away for too long; in Mesos it may not.
    pub may_return: bool,
}

/// What a framework wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    /// Use offers.
    Accept(Accept),
    /// Hand offers back.
    Decline {
        /// Which; unknown ones do not matter.
        offers: Vec<OfferId>,
        /// What is handed back stays away so long.
        refuse_for: Duration,
    },
    /// Answer inverse offers.
    AnswerInverse {
        /// Which; unknown ones do not matter.
        offers: Vec<OfferId>,
        /// Whether the framework will have left in time.
        accepted: bool,
        /// When not, it is not asked again for so long.
        refuse_for: Duration,
    },
    /// Forget filters, send offers again.
    Revive {
        /// For these roles; none: for all.
        roles: BTreeSet<Role>,
    },
    /// Send no offers.
    Suppress {
        /// For these roles; none: for all.
        roles: BTreeSet<Role>,
    },
    /// End a task.
    Kill {
        /// Which.
        task: TaskId,
        /// Where the framework thinks it runs.
        agent: Option<AgentId>,
        /// Overrides the task's own.
        grace_period: Option<Duration>,
    },
    /// An update has been dealt with.
    Acknowledge {
        /// Where the task runs.
        agent: AgentId,
        /// Which task.
        task: TaskId,
        /// Which update.
        uuid: UpdateId,
    },
    /// News of an operation has been dealt with.
    AcknowledgeOperation {
        /// On whose resources it was.
        agent: AgentId,
        /// Which.
        operation: OperationId,
        /// As the news had it.
        uuid: UpdateId,
    },
    /// Tell the latest state of these tasks, or of all when there are none.
    Reconcile(Vec<(TaskId, Option<AgentId>)>),
    /// Tell how these operations stand, each by the framework's name for it and the agent where it thinks it happened; or all
    /// that are not acknowledged when there are none.
    ReconcileOperations(Vec<(OperationId, Option<AgentId>)>),
    /// End the framework with all its tasks.
    Teardown,
    /// What waits to run, most urgent first.
    Demand(Vec<Shape>),
    /// Change what the framework says of itself; all or nothing.
    UpdateFramework {
        /// From now on.
        info: Box<FrameworkInfo>,
        /// Roles for which it wants no offers.
        suppressed: BTreeSet<Role>,
        /// Which offers it takes at all; replaces what was said before.
        rules: OfferRules,
    },
    /// Say something to an executor of the framework's own.
    MessageExecutor {
        /// Where it is.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
        /// What; nobody looks into it.
        data: Bytes,
    },
    /// End an executor of the framework's own.
    ShutdownExecutor {
        /// Where it is.
        agent: AgentId,
        /// Which.
        executor: ExecutorId,
    },
    /// Known, legal, and without effect here; counted.
    Ignored {
        /// Its name.
        name: &'static str,
    },
    /// Unknown, not carried yet, or not understood. Answered with `Refused`; the stream stays.
    Refused {
        /// What is wrong with it.
        why: String,
    },
}

impl Input {
    /// The message that it is, by the name under which Mesos counts those of its kind; `None`: no message, or one that Mesos
    /// does not have or count.
    pub(crate) fn message(&self) -> Option<&'static str> {
        match self {
            Self::RegisterAgent(agent) => Some(match agent.id {
                None => "register_slave",
                Some(_) => "reregister_slave",
            }),
            Self::Update { .. } => Some("status_update"),
            Self::OfExecutor(news) => Some(match news.news {
                FromExecutor::Message(_) => "executor_to_framework",
                FromExecutor::Exited { .. } => "exited_executor",
            }),
            Self::Subscribe(subscription) => Some(match subscription.info.id {
                None => "register_framework",
                Some(_) => "reregister_framework",
            }),
            Self::Call { call, .. } => call.message(),
            Self::Deadline
            | Self::Pong { .. }
            | Self::VolumeErased { .. }
            | Self::AgentDisconnected { .. }
            | Self::FrameworkDisconnected { .. }
            | Self::StreamRead { .. }
            | Self::SetWeights(_)
            | Self::SetQuotas { .. }
            | Self::SetPolicy { .. }
            | Self::DrainAgent { .. }
            | Self::DeactivateAgent { .. }
            | Self::ReactivateAgent { .. }
            | Self::SetSchedule(_)
            | Self::MachinesDown(_)
            | Self::MachinesUp(_)
            | Self::MarkAgentGone { .. }
            | Self::ReshapeAgent(_)
            | Self::TearDown { .. }
            | Self::Snapshot => None,
        }
    }
}

impl Call {
    /// As [`Input::message`]. An ACCEPT counts by what it does with its offers.
    fn message(&self) -> Option<&'static str> {
        match self {
            Self::Accept(accept) if accept.operations.is_empty() => Some("decline_offers"),
            Self::Accept(accept) => accept.launches().then_some("launch_tasks"),
            Self::Decline { .. } => Some("decline_offers"),
            Self::Revive { .. } => Some("revive_offers"),
            Self::Suppress { .. } => Some("suppress_offers"),
            Self::Kill { .. } => Some("kill_task"),
            Self::Acknowledge { .. } => Some("status_update_acknowledgement"),
            Self::AcknowledgeOperation { .. } => Some("operation_status_update_acknowledgement"),
            Self::Reconcile(_) => Some("reconcile_tasks"),
            Self::ReconcileOperations(_) => Some("reconcile_operations"),
            Self::Teardown => Some("unregister_framework"),
            Self::MessageExecutor { .. } => Some("framework_to_executor"),
            Self::Ignored { name } => (*name == "REQUEST").then_some("resource_request"),
            Self::AnswerInverse { .. }
            | Self::Demand(_)
            | Self::UpdateFramework { .. }
            | Self::ShutdownExecutor { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// Whether it has an answer of its own, which may be that it is refused.
    pub const fn is_answered(&self) -> bool {
        match self {
            Self::Demand(_)
            | Self::UpdateFramework { .. }
            | Self::Teardown
            | Self::Refused { .. } => true,
            Self::Accept(_)
            | Self::Decline { .. }
            | Self::AnswerInverse { .. }
            | Self::Revive { .. }
            | Self::Suppress { .. }
            | Self::Kill { .. }
            | Self::Acknowledge { .. }
            | Self::AcknowledgeOperation { .. }
            | Self::Reconcile(_)
            | Self::ReconcileOperations(_)
            | Self::MessageExecutor { .. }
            | Self::ShutdownExecutor { .. }
            | Self::Ignored { .. } => false,
        }
    }
}

/// ACCEPT: use offers of one agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Accept {
    /// Used up by this, whatever comes of it.
    pub offers: Vec<OfferId>,
    /// In order, on what the offers hold.
    pub operations: Vec<Operation>,
    /// What is left stays away so long.
    pub refuse_for: Duration,
}

/// What to do with offered resources.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Start tasks.
    Launch(Vec<Result<TaskSpec, BadTask>>),
    /// Start the tasks of a group, all or none.
    LaunchGroup(Result<Box<TaskGroup>, BadGroup>),
    /// Reserve, make volumes, and back; change the size of one.
    Reshape {
        /// What the framework calls it; it hears how the operation went.
        id: Option<OperationId>,
        /// What is made of them.
        kind: OperationKind,
        /// What is to be reserved or created, or what is not to be any more; a volume that grows, with what is added to it.
        resources: Resources,
        /// On whose account the framework says that they were handed out; `None`: it does not say, and means the role of the
        /// offers.
        account: Option<Role>,
    },
    /// Not carried yet.
    NotCarried {
        /// `CREATE_DISK`.
        name: String,
    },
}

/// What a framework calls a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskName {
    /// An id.
    Good(TaskId),
    /// What cannot be one; the answer has it as it came.
    Bad(String),
}

impl TaskName {
    /// As a framework says it.
    pub fn of(text: &str) -> Self {
        TaskId::new(text).map_or_else(|_| Self::Bad(text.to_owned()), Self::Good)
    }
}

impl From<TaskId> for TaskName {
    fn from(id: TaskId) -> Self {
        Self::Good(id)
    }
}

/// A task whose description makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTask {
    /// Which.
    pub task: TaskName,
    /// What is wrong.
    pub why: String,
}

/// A group whose description makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadGroup {
    /// Its tasks.
    pub tasks: Vec<TaskName>,
    /// What is wrong.
    pub why: String,
}

impl Accept {
    /// Every task that is to be started.
    pub(crate) fn tasks(&self) -> Vec<TaskName> {
        let mut all = Vec::new();
        for operation in &self.operations {
            match operation {
                Operation::Launch(tasks) => all.extend(tasks.iter().map(|task| match task {
                    Ok(spec) => TaskName::Good(spec.id.clone()),
                    Err(bad) => bad.task.clone(),
                })),
                Operation::LaunchGroup(Ok(group)) => {
                    let names = group.tasks.iter().map(|spec| spec.id.clone().into());
                    all.extend(names);
                }
                Operation::LaunchGroup(Err(bad)) => all.extend(bad.tasks.iter().cloned()),
                Operation::Reshape { .. } | Operation::NotCarried { .. } => {}
            }
        }
        all
    }

    /// Whether tasks are to be started with it.
    fn launches(&self) -> bool {
        self.operations.iter().any(|operation| match operation {
            Operation::Launch(_) | Operation::LaunchGroup(_) => true,
            Operation::Reshape { .. } | Operation::NotCarried { .. } => false,
        })
    }

    /// The operations that the framework wants to hear of.
    pub(crate) fn named_operations(&self) -> Vec<OperationId> {
        let ids = self
            .operations
            .iter()
            .filter_map(|operation| match operation {
                Operation::Reshape { id, .. } => id.clone(),
                Operation::Launch(_) | Operation::LaunchGroup(_) | Operation::NotCarried { .. } => {
                    None
                }
            });
        ids.collect()
    }
}
