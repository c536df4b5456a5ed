//! What runs tasks: a narrow trait, so that containers of other kinds can take the place of plain
//! processes without the agent noticing.
//!
//! A containerizer keeps nothing in memory that it could not find again on disk: every call names
//! the container, and works for one that an earlier agent started.

pub mod docker; // all of an agent as one, a Docker Engine among them
pub(crate) mod host_paths; // paths of the machine, looked at before anything is mounted
pub mod image; // an image, and who gives it
pub mod image_root; // its layers as the root of a container
pub mod image_users; // users inside an image
mod mounts; // what a task sees besides the root of its container
mod names; // who is who on the network, as a container sees it
pub mod oci; // what a shim is to build around a task
pub mod permissions; // what the operator allows containers
pub mod process; // the life of tasks, with a container around them or without
pub mod users; // users of the machine
pub mod volume_mount; // persistent volumes, and the paths that lead to them

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;
use mete_agent_core::task_dir::session::Size;
use mete_agent_core::task_dir::{Command, OutputLimits, User};
use mete_model::ContainerId;

pub use crate::cgroups::{Limits, Usage};
pub use crate::shims::{Found, Shim, ShimError};

/// A task as it is to be started.
#[derive(Clone, Debug)]
pub struct Start {
    /// Names this run of the task.
    pub container: ContainerId,
    /// The working directory, which is there already.
    pub sandbox: PathBuf,
    /// What to run.
    pub command: Command,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Whom to run as; `None`: as the agent.
    pub user: Option<User>,
    /// What it may use.
    pub limits: Limits,
    /// How much of its output is kept.
    pub output: OutputLimits,
    /// The terminal that it reads from and writes to, if it has one.
    pub terminal: Option<Size>,
    /// What is around it; `None`: it runs on the files of the machine.
    pub around: Option<oci::Around>,
    /// What a Docker Engine is to make instead; then `around` is not asked.
    pub docker: Option<crate::docker::Wanted>,
}

/// What a task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillSignal {
    /// Please end: SIGTERM to each of its processes, or the signal that its image names.
    Terminate,
    /// End: SIGKILL, until none of its processes is left.
    Kill,
}

/// Why a container could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no room on the disk for what must be written down before a task may run.
    #[error("the disk of the work directory is full")]
    DiskFull,
    /// Something about the task cannot be carried out.
    #[error("{0}")]
    Unusable(String),
    /// The task directory cannot be made.
    #[error("{what}")]
    Directory {
        /// What was tried.
        what: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// What is around it cannot be built.
    #[error(transparent)]
    Container(#[from] oci::OciError),
    /// It cannot be joined to its network.
    #[error(transparent)]
    Network(#[from] crate::networks::NetworkError),
    /// Its limits cannot be set.
    #[error("the limits of the task cannot be set")]
    Limits(#[from] crate::cgroups::CgroupError),
    /// The Docker Engine does not make its container.
    #[error(transparent)]
    Engine(#[from] crate::docker::EngineError),
    /// The shim, or the program in it, does not run.
    #[error(transparent)]
    Shim(#[from] ShimError),
}

/// Why a container could not be ended or removed.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Some processes do not die.
    #[error("{left} processes of the task do not die; they hang in the kernel")]
    Undead {
        /// How many.
        left: usize,
    },
    /// Its groups are still busy.
    #[error("the control groups of the task cannot be removed")]
    Groups(#[from] crate::cgroups::CgroupError),
    /// Its Docker Engine does not do its part.
    #[error("the container stays in its engine")]
    Engine(#[from] crate::docker::EngineError),
    /// What it has of networks cannot be removed.
    #[error("the network of the task cannot be removed")]
    Network(#[from] crate::networks::NetworkError),
    /// What its secrets hold cannot be removed.
    #[error("the secrets of the task cannot be removed")]
    Secrets(#[source] io::Error),
    /// Its directory cannot be removed.
    #[error("the directory of the task cannot be removed")]
    Directory(#[source] io::Error),
}

/// Runs tasks.
pub trait Containerizer: Send + Sync + 'static {
    /// Starts a task; done when its program runs. [`Shim::ended`] tells when it has ended.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left of the task then but its sandbox.
    fn start(&self, task: Start) -> BoxFuture<'static, Result<Shim, StartError>>;

    /// Looks for a task that an earlier agent may have started. One that nobody has begun is given
    /// up, and never begins.
    ///
    /// # Errors
    /// When its directory cannot be read.
    fn find(&self, container: ContainerId) -> BoxFuture<'static, io::Result<Found>>;

    /// Sends a signal to all processes of a task; one that has ended is fine. [`KillSignal::Kill`]
    /// is done when none is left.
    ///
    /// # Errors
    /// [`EndError::Undead`].
    fn kill(
        &self,
        container: ContainerId,
        signal: KillSignal,
    ) -> BoxFuture<'static, Result<(), EndError>>;

    /// What a task has used; all unknown for one that is not there.
    fn usage(&self, container: ContainerId) -> BoxFuture<'static, Usage>;

    /// What an engine says of the container that it runs for a task, for people and tools that read `docker inspect`;
    /// `None`: it runs without an engine, or the engine does not say.
    fn inspect(&self, _container: ContainerId) -> BoxFuture<'static, Option<String>> {
        std::future::ready(None).boxed()
    }

    /// Removes what a task held, except its sandbox; kills what still runs first. A task that is not
    /// there is fine.
    ///
    /// # Errors
    /// [`EndError`] says what is left.
    fn destroy(&self, container: ContainerId) -> BoxFuture<'static, Result<(), EndError>>;
}
