//! What follows from an input: the work for the shell, in words of the core.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mete_model::{
    AgentId, ContainerId, FrameworkId, FrameworkInfo, Probe, TaskKey, TaskSpec, TaskState,
    TaskStatus, VolumeName,
};

use crate::state::custom_executors::{CustomExecutor, ToExecutor};
use crate::state::executors::{Executor, ExecutorKey};
use crate::state::sandboxes::Within;
use crate::state::tasks::Task;

/// One piece of work for the shell. It starts the work and returns; what comes of it is a later input.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Open a stream to the master; answered by `Connected` or `Disconnected`.
    Connect {
        /// The number of this attempt.
        link: u64,
    },
    /// Close a stream; not answered.
    Disconnect {
        /// Which.
        link: u64,
    },
    /// Say something to the master. A stream that cannot take it is cut.
    Send {
        /// On which stream.
        link: u64,
        /// What.
        message: Box<Outgoing>,
    },
    /// One launch job: sandbox, fetch, start. Answered by `Launched`; then, if it started, watched until `Exited`.
    Launch {
        /// Whose.
        key: TaskKey,
        /// Names this run of it.
        container: ContainerId,
        /// The agent's id, a part of the sandbox's path.
        agent: AgentId,
        /// What to run.
        spec: Arc<TaskSpec>,
        /// For whom.
        framework: Arc<FrameworkInfo>,
        /// What it shares with others, when it came in a group.
        parent: Option<Arc<Executor>>,
    },
    /// Something for an executor of a framework's own.
    ForExecutor(ForExecutor),
    /// Give a launch job up if it has not started its program; it is still answered by `Launched`.
    CancelLaunch {
        /// Which.
        container: ContainerId,
    },
    /// Watch a task that was found running; answered by `Exited` in the end.
    Adopt {
        /// Whose.
        key: TaskKey,
        /// Which.
        container: ContainerId,
    },
    /// Ask a task to end: SIGTERM.
    Terminate {
        /// Whose.
        key: TaskKey,
        /// Which.
        container: ContainerId,
    },
    /// End everything that belongs to a task: SIGKILL.
    Kill {
        /// Whose.
        key: TaskKey,
        /// Which.
        container: ContainerId,
    },
    /// A task has ended: remove what it held but its sandbox.
    Release {
        /// Whose.
        key: TaskKey,
        /// Which.
        container: ContainerId,
    },
    /// Run a health probe once; answered by `Probed`.
    Probe {
        /// Whose.
        key: TaskKey,
        /// Which.
        container: ContainerId,
        /// What to ask.
        probe: Arc<Probe>,
        /// After this long it has failed.
        timeout: Duration,
    },
    /// Ask the question of a check once; answered by `Checked`.
    Check {
        /// Whose.
        key: TaskKey,
        /// Which.
        container: ContainerId,
        /// What to ask.
        probe: Arc<Probe>,
        /// Who takes longer has not answered.
        timeout: Duration,
    },
    /// Measure the disk of the work directory; answered by `DiskMeasured`.
    MeasureDisk,
    /// There is room again: put the store's reserve back.
    RestoreReserve,
    /// Remove a sandbox; answered by `SandboxRemoved`.
    RemoveSandbox {
        /// Whose.
        key: TaskKey,
        /// Which.
        container: ContainerId,
        /// The sandbox of the executor that it lies in, when the task came in a group.
        within: Option<Within>,
        /// The agent's id when it ran, a part of the path.
        agent: AgentId,
    },
    /// An executor is over: remove what its tasks shared but its sandbox.
    ReleaseExecutor {
        /// Whose, and the executor's id.
        key: TaskKey,
        /// Which.
        container: ContainerId,
    },
    /// Erase a volume with all that is on it, there or not; answered by `VolumeErased`.
    EraseVolume {
        /// Which.
        volume: VolumeName,
    },
    /// End the agent.
    Stop(StopReason),
}

/// What is done for executors of frameworks' own. They are adopted, killed and released as tasks are.
#[derive(Clone, Debug, PartialEq)]
pub enum ForExecutor {
    /// One launch job, as for a task; `Launched` and `Exited` name it by `key`.
    Launch {
        /// Whose, and the executor's id.
        key: TaskKey,
        /// Which.
        executor: Arc<CustomExecutor>,
        /// What to run, with what it and its tasks may use.
        program: Arc<TaskSpec>,
        /// For whom.
        framework: Arc<FrameworkInfo>,
        /// From SHUTDOWN to SIGKILL, as it is told.
        shutdown_grace: Duration,
    },
    /// It was given one more task: from now on it may use so much. One that cannot be widened stays as it is.
    Widen {
        /// Which.
        container: ContainerId,
        /// Its share of the CPUs.
        cpus_milli: u64,
        /// Its memory.
        mem_bytes: u64,
    },
    /// Say something to it. A stream that cannot take it is cut.
    Tell {
        /// On which stream.
        link: u64,
        /// What.
        event: Box<ToExecutor>,
    },
    /// End its stream, after what was said on it before.
    Close {
        /// Which.
        link: u64,
    },
}

/// Why the agent ends by its own decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The operator asked for it; the tasks have ended.
    #[error("asked to stop; all tasks have ended")]
    Asked,
    /// The master told it to; the tasks have ended.
    #[error("the master shut this agent down: {0}; all tasks have ended")]
    ShutDown(String),
    /// The master does not want it; the tasks run on.
    #[error(
        "the master refuses this agent for good: {0}; its tasks run on. To join as a new agent, end them and start with an empty work directory"
    )]
    Refused(String),
}

/// What the agent says to the master.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// It comes, or comes back with its tasks.
    Register(Registration),
    /// News of a task.
    Update(Report),
    /// An executor says something to its framework.
    ExecutorMessage {
        /// Which.
        executor: ExecutorKey,
        /// What; nobody looks into it.
        data: Bytes,
    },
    /// An executor of a framework's own is over.
    ExecutorExited {
        /// Which.
        executor: ExecutorKey,
        /// As from waitpid(2); -1 when nobody knows.
        status: i32,
    },
    /// It answers for a volume that it is to erase.
    VolumeErased {
        /// Which.
        volume: VolumeName,
        /// Why something of it is left; `None`: nothing is.
        failure: Option<String>,
    },
}

/// How the agent introduces itself; the shell adds what the machine has.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// The last epoch obeyed; 0 for none.
    pub epoch: u64,
    /// Its id when it comes back.
    pub agent: Option<AgentId>,
    /// Of this boot of the machine.
    pub boot_id: String,
    /// Every task, terminal ones until their last update is acknowledged.
    pub tasks: Vec<Arc<Task>>,
    /// Each executor of a group that has live tasks here.
    pub executors: Vec<Arc<Executor>>,
    /// Each executor of a framework's own.
    pub custom_executors: Vec<Arc<CustomExecutor>>,
    /// Those that ended while no master was there to hear it, and how, as from waitpid(2).
    pub exited: Vec<(ExecutorKey, i32)>,
    /// Each framework that has tasks here.
    pub frameworks: Vec<Arc<FrameworkInfo>>,
    /// What nobody has acknowledged yet, in the order in which it happened.
    pub unacknowledged: Vec<Report>,
}

/// News of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whose task.
    pub framework: FrameworkId,
    /// The news, with a uuid.
    pub status: TaskStatus,
    /// The state the task is in by now, when that is later.
    pub latest: Option<TaskState>,
}
