//! Why an agent ends; the exit code is found in the chain of causes.

use std::io;

use mete_agent_core::StopReason;
use mete_daemon::auth::credentials::CallersError;
use mete_daemon::config::Faults;
use mete_daemon::directory::DirectoryError;
use mete_daemon::event_loop::LoopError;
use mete_daemon::server::BindError;
use mete_daemon::store::StoreError;

use crate::images::ImageError;
use crate::inventory::InventoryError;
use crate::oci_runtime::OciRuntimeError;

/// Why an agent ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The options contradict each other, the machine, or what runs on it.
    #[error("the configuration cannot be used here")]
    Config(#[from] Faults),
    /// The work directory cannot be made.
    #[error("the agent has no work directory")]
    Directory(#[from] DirectoryError),
    /// The work directory cannot be used.
    #[error("the work directory cannot be used")]
    WorkDir(#[source] io::Error),
    /// Another agent works in the same directory.
    #[error("another agent works in {work_dir}; give each agent a --work-dir of its own")]
    TwoAgents {
        /// The directory.
        work_dir: String,
        /// The lock.
        source: StoreError,
    },
    /// The store cannot be used.
    #[error("the agent's store cannot be used")]
    Store(#[from] StoreError),
    /// The token or the credentials cannot be read.
    #[error(transparent)]
    Callers(#[from] CallersError),
    /// The machine cannot be measured.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// Tasks cannot be run here.
    #[error("tasks cannot be run here")]
    Containerizer(#[source] io::Error),
    /// The tasks of before cannot be looked after.
    #[error(
        "there are too few file descriptors to look after the tasks that run here; raise the limit (ulimit -n, LimitNOFILE=)"
    )]
    Descriptors(#[source] io::Error),
    /// What is to build containers cannot.
    #[error(transparent)]
    OciRuntime(#[from] OciRuntimeError),
    /// The images cannot be used.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// What tasks fetch has no place, or the operator's certificates cannot be used.
    #[error("fetching cannot be set up")]
    Fetcher(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The event loop ended by itself.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// A part of the agent panicked.
    #[error("a part of the agent broke")]
    Broken(#[from] tokio::task::JoinError),
    /// The descriptors of the gRPC services are damaged.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The master wants it so.
    #[error(transparent)]
    Stopped(StopReason),
}
