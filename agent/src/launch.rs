//! One job per task: image, sandbox, fetch, start. Ends as a running shim, or with the stage at which it failed.
//!
//! ```text
//! image, user ─▶ sandbox ─▶ volumes, secrets ─▶ fetch ─▶ start ─▶ running
//!    └──────────────┴───────────┴──────────────┴────────┴─▶ failed{stage}   cancelled before the start: given up
//! ```

mod described; // what reports of a task carry besides
mod engine; // the same of what runs on a Docker Engine
mod environment; // what a task finds in its environment
mod fetched_login; // the login for its image that a task fetches
mod group; // what a task shares with others of its group
mod inner; // what runs, on the machine or in a container
mod secrets; // the secrets that it reads in files
pub(crate) mod volumes; // the volumes that a task holds

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::task_dir::session::Size;
use mete_agent_core::task_dir::{OutputLimits, User};
use mete_agent_core::{Executor, LaunchStage};
use mete_daemon::chain;
use mete_model::resources::megabytes::bytes_of;
use mete_model::{AgentId, ContainerId, Endpoint, FrameworkInfo, Limit, TaskKey, TaskSpec};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::cgroups::Limits;
use crate::containerizer::image::{ImageSource, Tell};
use crate::containerizer::permissions::Permissions;
use crate::containerizer::{Containerizer, Start, StartError, users};
use crate::docker::presence::Presence;
use crate::executors::ExecutorTokens;
use crate::fetcher::Fetcher;
use crate::group_networks::GroupNetworks;
use crate::places::Places;
use crate::sandbox;
use crate::secrets::Secrets;
use crate::shims::Shim;
use crate::volumes::Volumes;
pub(crate) use described::described;
use inner::Inner;

/// A task, or an executor of a framework's own, to be started.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) key: TaskKey,
    pub(crate) container: ContainerId,
    pub(crate) agent: AgentId,
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) framework: Arc<FrameworkInfo>,
    /// What it shares with others, when it came in a group.
    pub(crate) parent: Option<Arc<Executor>>,
    /// Set when it is an executor of a framework's own: from SHUTDOWN to SIGKILL.
    pub(crate) shutdown_grace: Option<Duration>,
}

/// Why a task was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) stage: LaunchStage,
    pub(crate) reason: String,
    /// The disk has no room: worth a look before the next launch.
    pub(crate) disk_full: bool,
}

impl Failure {
    fn new(stage: LaunchStage, reason: impl ToString) -> Self {
        Self {
            stage,
            reason: reason.to_string(),
            disk_full: false,
        }
    }

    fn cancelled() -> Self {
        Self::new(LaunchStage::Cancelled, "the task is to be killed")
    }

    fn io(stage: LaunchStage, error: &io::Error) -> Self {
        let mut failure = Self::new(stage, error);
        failure.disk_full = sandbox::is_full(error);
        failure
    }
}

/// Tasks that are started at once: it is work for CPUs and disk, some milliseconds each.
const STARTS_AT_ONCE: usize = 16;

/// Tasks that fetch at once: each has connections, and descriptors.
const FETCHES_AT_ONCE: usize = 64;

/// Turns of launch jobs. Nobody holds one while it waits for a registry.
#[derive(Debug)]
pub(crate) struct Turns {
    starts: Semaphore,
    fetches: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            starts: Semaphore::new(STARTS_AT_ONCE),
            fetches: Semaphore::new(FETCHES_AT_ONCE),
        }
    }
}

/// What all jobs share.
pub(crate) struct Launcher {
    pub(crate) turns: Turns,
    pub(crate) places: Places,
    pub(crate) volumes: Volumes,
    pub(crate) secrets: Secrets,
    pub(crate) group_networks: GroupNetworks,
    pub(crate) containerizer: Arc<dyn Containerizer>,
    pub(crate) fetcher: Fetcher,
    pub(crate) images: ImageSource,
    /// What containers may do here, or why there can be none.
    pub(crate) oci: Result<Permissions, String>,
    /// Whether tasks may run with nothing around them.
    pub(crate) process: bool,
    /// The Docker Engine, if there is to be one.
    pub(crate) docker: Option<Arc<Presence>>,
    pub(crate) endpoint: Endpoint,
    /// What executors of frameworks' own show to be let in; `None` where all are.
    pub(crate) executor_tokens: Option<ExecutorTokens>,
    pub(crate) output: OutputLimits,
    /// With less free disk than this nothing is launched. The core knows the disk as it was measured last, up to a
    /// minute ago.
    pub(crate) disk_reserve_bytes: u64,
}

impl Launcher {
    /// Runs one job to its end; `tell` hears how far what takes long is.
    pub(crate) async fn launch(
        &self,
        job: Job,
        cancelled: &CancellationToken,
        tell: Tell,
    ) -> Result<Shim, Failure> {
        let job = secrets::tell_variables(job)?;
        let within = job.parent.as_ref().map(|parent| parent.within());
        let sandbox =
            self.places
                .sandbox_within(&job.agent, &job.key, &job.container, within.as_ref());
        let mut inner = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Err(Failure::cancelled()),
            inner = self.inner(&job, &sandbox, &tell) => inner?,
        };
        let user = inner.owner.clone();
        let alone = job.parent.is_none();
        let turn = turn(&self.turns.starts, cancelled).await?;
        self.make_sandbox(&sandbox, user.clone(), alone).await?;
        self.share(&job, &mut inner).await?;
        self.bring_volumes(&job, &sandbox, &mut inner).await?;
        self.bring_secrets(&job, &sandbox, &mut inner).await?;
        let turn = match job.spec.command.uris.is_empty() {
            true => turn,
            false => {
                drop(turn);
                self.fetch(&job, &sandbox, user.as_ref(), cancelled).await?;
                self::turn(&self.turns.starts, cancelled).await?
            }
        };
        if cancelled.is_cancelled() {
            return Err(Failure::cancelled());
        }
        let start = self.start(&job, sandbox, inner);
        let started = self.containerizer.start(start).await;
        drop(turn);
        started.map_err(|error| not_started(&error))
    }

    async fn fetch(
        &self,
        job: &Job,
        sandbox: &Path,
        user: Option<&User>,
        cancelled: &CancellationToken,
    ) -> Result<(), Failure> {
        let _turn = turn(&self.turns.fetches, cancelled).await?;
        let uris = &job.spec.command.uris;
        tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(Failure::cancelled()),
            fetched = self.fetcher.fetch(uris, sandbox, user) => {
                fetched.map_err(|error| Failure {
                    disk_full: error.is_disk_full(),
                    ..Failure::new(LaunchStage::Fetch, error)
                })
            }
        }
    }

    async fn make_sandbox(
        &self,
        sandbox: &Path,
        user: Option<User>,
        alone: bool,
    ) -> Result<(), Failure> {
        let (places, sandbox) = (self.places.clone(), sandbox.to_owned());
        let reserve = self.disk_reserve_bytes;
        let made = spawn_blocking(move || {
            if sandbox::space(places.root()).is_ok_and(|space| space.free_bytes < reserve) {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the disk of the agent's work directory is full",
                ));
            }
            sandbox::create(&sandbox, user.as_ref())?;
            match alone {
                true => places.link_latest(&sandbox),
                false => Ok(()),
            }
        });
        match made.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::io(LaunchStage::Sandbox, &error)),
            Err(error) => Err(Failure::new(LaunchStage::Sandbox, error)),
        }
    }

    fn start(&self, job: &Job, sandbox: PathBuf, inner: Inner) -> Start {
        let resources = job.spec.resources.flat();
        let isolation = job.spec.container.as_ref().map(|spec| &spec.isolation);
        Start {
            container: job.container.clone(),
            environment: inner.environment,
            sandbox,
            command: inner.command,
            user: inner.user,
            limits: Limits {
                cpus_milli: resources.cpus_milli,
                mem_bytes: bytes_of(resources.mem_milli),
                cpu_limit: cpu_limit(&job.spec),
                mem_limit: job.spec.limits.mem_bytes,
                max_pids: isolation.and_then(|isolation| isolation.max_pids),
            },
            output: self.output,
            terminal: job.spec.command.terminal.map(|size| Size {
                rows: size.rows,
                columns: size.columns,
            }),
            around: inner.around,
            docker: inner.docker,
        }
    }
}

/// Waits for a turn.
async fn turn<'a>(
    turns: &'a Semaphore,
    cancelled: &CancellationToken,
) -> Result<SemaphorePermit<'a>, Failure> {
    tokio::select! {
        biased;
        () = cancelled.cancelled() => Err(Failure::cancelled()),
        turn = turns.acquire() => turn.map_err(|error| Failure::new(LaunchStage::Start, error)),
    }
}

/// The most CPU time it gets: what it says itself, else what its container says; `None`: as the agent is set.
pub(crate) fn cpu_limit(spec: &TaskSpec) -> Option<Limit> {
    let isolation = spec.container.as_ref().map(|spec| &spec.isolation);
    let of_container = isolation.and_then(|isolation| isolation.cpu_limit_milli);
    spec.limits
        .cpus_milli
        .or_else(|| of_container.map(Limit::At))
}

/// Whom the task runs as: the user it names, or that of its framework. An agent that is not root runs the latter as
/// itself; it could not do otherwise.
async fn user_of(job: &Job, own: Option<String>) -> Result<Option<User>, Failure> {
    let own = own.or_else(|| job.spec.command.user.clone());
    let name = match own {
        Some(name) => name,
        None if job.framework.user.is_empty() || !rustix::process::geteuid().is_root() => {
            return Ok(None);
        }
        None => job.framework.user.clone(),
    };
    let found = spawn_blocking(move || users::look_up(&name)).await;
    match found {
        Ok(Ok(user)) => Ok(user),
        Ok(Err(error)) => Err(Failure::new(LaunchStage::Start, chain(&error))),
        Err(error) => Err(Failure::new(LaunchStage::Start, error)),
    }
}

fn not_started(error: &StartError) -> Failure {
    Failure {
        stage: LaunchStage::Start,
        reason: chain(error),
        disk_full: matches!(error, StartError::DiskFull),
    }
}
