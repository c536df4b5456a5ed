//! All that can happen to an agent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mete_model::{
    AgentId, CheckAnswer, ContainerId, FrameworkId, FrameworkInfo, TaskGroup, TaskId, TaskKey,
    TaskSpec, TaskStatus, UpdateId, VolumeName,
};

use crate::state::executors::ExecutorKey;
use crate::state::standing::Standing;
use crate::state::tasks::Described;
use crate::task_dir::Exit;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A deadline has come.
    Deadline,
    /// The first input: what was found of the tasks in the store. Nothing else is decided before it.
    Recovered(Findings),
    /// A stream to the master is open; nothing has been said on it.
    Connected {
        /// Which attempt.
        link: u64,
    },
    /// A stream could not be opened, or has ended, or was cut.
    Disconnected {
        /// Which attempt.
        link: u64,
        /// Why, for people.
        reason: String,
    },
    /// The stream to the master has taken reports off those it was given. Need not be told of each, but within
    /// [`MAX_GIVEN_REPORTS`](crate::MAX_GIVEN_REPORTS).
    ReportsTaken {
        /// On which stream.
        link: u64,
        /// How many since it began.
        total: u64,
    },
    /// The master said something.
    FromMaster {
        /// On which stream; what an older one still says is not heard.
        link: u64,
        /// What.
        order: Order,
    },
    /// A launch job takes its time.
    Launching {
        /// Whose.
        key: TaskKey,
        /// Which container.
        container: ContainerId,
        /// How far it is, for people: `pulling layer 3 of 7`.
        how_far: String,
    },
    /// It is known where in the network the container of a task is. Comes before the launch job ends.
    Addressed {
        /// Whose.
        key: TaskKey,
        /// Which container.
        container: ContainerId,
        /// Its IP addresses, when it has a network of its own; empty: those of the agent.
        addresses: Vec<String>,
        /// What its reports carry besides.
        described: Described,
    },
    /// A launch job has ended.
    Launched {
        /// Whose.
        key: TaskKey,
        /// Which container.
        container: ContainerId,
        /// How.
        outcome: LaunchOutcome,
    },
    /// A task's process has ended.
    Exited {
        /// Whose.
        key: TaskKey,
        /// Which container.
        container: ContainerId,
        /// How; `None`: it ended and left no record of how.
        exit: Option<Exit>,
    },
    /// An executor of a framework's own says something, or nothing more.
    FromExecutor {
        /// Which.
        executor: ExecutorKey,
        /// What.
        said: FromExecutor,
    },
    /// A probe has a result.
    Probed {
        /// Whose.
        key: TaskKey,
        /// Which container.
        container: ContainerId,
        /// `Err` says what was wrong, for people.
        result: Result<(), String>,
    },
    /// A check has an answer.
    Checked {
        /// Whose.
        key: TaskKey,
        /// Which container.
        container: ContainerId,
        /// What it is.
        answer: CheckAnswer,
    },
    /// A task takes more of the disk than it asked for, and is to end for that.
    DiskUsedUp {
        /// Whose.
        key: TaskKey,
        /// Which container.
        container: ContainerId,
        /// How much it asked for, of what it takes too much of.
        limit_bytes: u64,
        /// What is too much, for people.
        excess: String,
    },
    /// The disk of the work directory was measured; `None`: it could not be.
    DiskMeasured(Option<DiskSpace>),
    /// The store ran into a full disk and went on in its reserve.
    StoreFull,
    /// A sandbox was removed, or not.
    SandboxRemoved {
        /// Which.
        container: ContainerId,
        /// Why not; `None`: it is gone.
        failure: Option<String>,
    },
    /// The work of erasing a volume has ended.
    VolumeErased {
        /// Which.
        volume: VolumeName,
        /// Why something of it is left; `None`: nothing is.
        failure: Option<String>,
    },
    /// The operator ends the agent together with its tasks.
    StopWithTasks {
        /// The longest grace period from now on.
        grace: Duration,
    },
}

/// What an executor of a framework's own says.
#[derive(Clone, Debug, PartialEq)]
pub enum FromExecutor {
    /// It subscribes, for the first time or again.
    Subscribe {
        /// Names its stream, once for as long as the agent runs.
        link: u64,
        /// Tasks it has begun, of which no report was acknowledged to it.
        tasks: BTreeSet<TaskId>,
        /// Reports that were not acknowledged to it, each with a uuid.
        updates: Vec<TaskStatus>,
    },
    /// Its stream has ended.
    Left {
        /// Which.
        link: u64,
    },
    /// How a task goes; with a uuid.
    Update(Box<TaskStatus>),
    /// Something for its framework; nobody looks into it.
    Message(Bytes),
}

/// What the master says.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// The agent is admitted.
    Registered {
        /// The master's epoch.
        epoch: u64,
        /// The agent's id, from the first time on.
        agent: AgentId,
    },
    /// The agent is not admitted.
    Refused {
        /// Why.
        reason: String,
        /// Coming back will not help.
        permanent: bool,
    },
    /// Start a task.
    Run {
        /// Whose task; has an id.
        framework: FrameworkInfo,
        /// What to run.
        task: Box<TaskSpec>,
    },
    /// Start the tasks of a group.
    RunGroup {
        /// Whose group; has an id.
        framework: FrameworkInfo,
        /// Who looks after which tasks.
        group: Box<TaskGroup>,
    },
    /// Start tasks of a group that cannot be carried out by this agent.
    UnrunnableGroup {
        /// Which.
        keys: Vec<TaskKey>,
        /// The executor of the framework's own that was to run them.
        executor: Option<ExecutorKey>,
        /// Why.
        reason: String,
    },
    /// Start a task whose description cannot be carried out by this agent.
    Unrunnable {
        /// Which.
        key: TaskKey,
        /// The executor of the framework's own that was to run it.
        executor: Option<ExecutorKey>,
        /// Why.
        reason: String,
    },
    /// End a task.
    Kill {
        /// Which.
        key: TaskKey,
        /// Overrides the task's own grace period.
        grace: Option<Duration>,
    },
    /// The framework has dealt with an update.
    Acknowledge {
        /// Of which task.
        key: TaskKey,
        /// Which update.
        update: UpdateId,
    },
    /// A framework says other things of itself than before.
    UpdateFramework(Box<FrameworkInfo>),
    /// What the master has made of the agent.
    Standing(Arc<Standing>),
    /// A framework is back: say again at once what it has not acknowledged.
    ResendUpdates(FrameworkId),
    /// These volumes were destroyed: erase what is on them.
    EraseVolumes(BTreeSet<VolumeName>),
    /// A framework says something to an executor of its own.
    MessageExecutor {
        /// Which.
        executor: ExecutorKey,
        /// What; nobody looks into it.
        data: Bytes,
    },
    /// End an executor of a framework's own.
    ShutdownExecutor(ExecutorKey),
    /// End all tasks of a framework and forget it.
    ShutdownFramework(FrameworkId),
    /// End all tasks, then the agent.
    Shutdown {
        /// Why.
        reason: String,
    },
}

/// How a launch job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchOutcome {
    /// The task's program runs.
    Started,
    /// It does not.
    Failed {
        /// How far the job came.
        stage: LaunchStage,
        /// Why, for people.
        reason: String,
    },
}

/// The stages of a launch job, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchStage {
    /// Making the sandbox.
    Sandbox,
    /// Bringing the volumes that the task holds.
    Volumes,
    /// Bringing URIs into it.
    Fetch,
    /// Starting the program.
    Start,
    /// Given up because the task is to be killed.
    Cancelled,
}

impl LaunchStage {
    /// For people: `could not <this>`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "make the sandbox",
            Self::Volumes => "bring the task's volumes",
            Self::Fetch => "fetch what the task needs",
            Self::Start => "start the task",
            Self::Cancelled => "start the task before it was killed",
        }
    }
}

/// What there is of the tasks in the store after a restart of the agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Of this boot of the machine; another one than before means that nothing can still run.
    pub boot_id: String,
    /// By task; a task that is not listed has vanished.
    pub found: BTreeMap<TaskKey, Found>,
    /// The same of executors of frameworks' own.
    pub executors: BTreeMap<ExecutorKey, Found>,
}

/// What was found of one task.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It runs.
    Running,
    /// It ended meanwhile.
    Ended(Exit),
    /// Its program never ran, and never will.
    NeverStarted,
    /// It ran, and is gone without a record of its end.
    Vanished,
}

/// How full the disk of the work directory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSpace {
    /// Size of the file system in bytes.
    pub total_bytes: u64,
    /// What files take of it, in bytes. What is kept back for root is neither used nor free.
    pub used_bytes: u64,
    /// Free for the agent, in bytes.
    pub free_bytes: u64,
}
