//! What outlives a restart, and its bytes: one version byte, then JSON.
//!
//! ```text
//! agent/identity                  id, epoch, boot
//! framework/<id>                  a framework with tasks here
//! task/<framework>/<task>         the launch as it came; written once
//! life/<framework>/<task>         where the task stands, and its unacknowledged reports
//! executor/<framework>/<executor> what tasks of groups have in common
//! program/<framework>/<executor>  an executor of a framework's own
//! exit/<framework>/<executor>     how one of those ended, until a master has heard of it
//! sandbox/<container>             what an ended task left behind
//! volume/<role>: <id>             a persistent volume, or one that is to be erased
//! ```
//! Ids hold no slashes and roles no spaces, so keys are unambiguous. Readers ignore fields they do not know.

mod forms; // the JSON of each word

use std::sync::Arc;

use mete_model::{
    AgentId, Change, ContainerId, Durable, ExecutorId, FrameworkId, FrameworkInfo, TaskId, TaskKey,
    TaskStatus, VolumeName,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::custom_executors::CustomExecutor;
use crate::state::executors::{Executor, ExecutorKey};
use crate::state::sandboxes::Sandbox;
use crate::state::tasks::Task;
use crate::state::volumes::Volume;

/// The version that is written; readers accept this one. A later one will accept this one too.
const FORMAT: u8 = 1;

const IDENTITY: &str = "agent/identity";

/// A change that must outlive a restart.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// Who the agent is.
    Identity(Identity),
    /// A framework with tasks here.
    Framework {
        /// Which.
        id: FrameworkId,
        /// What it said of itself.
        info: Arc<FrameworkInfo>,
        /// Its tasks end without reports.
        leaving: bool,
    },
    /// A framework has no tasks here any more.
    FrameworkForgotten(FrameworkId),
    /// A launch was accepted.
    Accepted(Arc<Task>),
    /// A task's life went on.
    Life {
        /// The task as it is now.
        task: Arc<Task>,
        /// Its reports that nobody has acknowledged.
        waiting: Vec<TaskStatus>,
    },
    /// A task is over, its end acknowledged.
    Forgotten(TaskKey),
    /// A group came below an executor, or went on.
    Executor(Arc<Executor>),
    /// The last task of an executor has ended.
    ExecutorGone(ExecutorKey),
    /// An executor of a framework's own was started, is awaited, or is being ended.
    CustomExecutor(Arc<CustomExecutor>),
    /// Such an executor is over.
    CustomExecutorGone(ExecutorKey),
    /// Such an executor has ended, and no master was there to hear it.
    Unheard {
        /// Which.
        key: ExecutorKey,
        /// How, as from waitpid(2); -1 when nobody knows.
        status: i32,
    },
    /// A master has heard of that.
    Heard(ExecutorKey),
    /// A sandbox is kept.
    SandboxKept(Arc<Sandbox>),
    /// A sandbox is gone.
    SandboxGone(ContainerId),
    /// A volume is kept, or to be erased.
    Volume(Arc<Volume>),
    /// A volume is erased.
    VolumeGone(VolumeName),
}

/// Who the agent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Given by the master.
    pub agent: Option<AgentId>,
    /// The last epoch obeyed; 0 for none.
    pub epoch: u64,
    /// Of the boot that the tasks ran in.
    pub boot_id: String,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the record {key:?} in the agent's store cannot be read: {problem}")]
pub struct BadRecord {
    key: String,
    problem: String,
}

/// A record as it was read.
pub(crate) enum Entry {
    Identity(Identity),
    Framework {
        id: FrameworkId,
        info: FrameworkInfo,
        leaving: bool,
    },
    Accepted(Box<Task>),
    Executor(Box<Executor>),
    CustomExecutor(Box<CustomExecutor>),
    Unheard {
        key: ExecutorKey,
        status: i32,
    },
    Life(Box<Life>),
    Sandbox(Sandbox),
    Volume(Volume),
}

/// The changing part of a task.
pub(crate) struct Life {
    pub(crate) key: TaskKey,
    pub(crate) phase: crate::state::tasks::Phase,
    pub(crate) started_at: Option<mete_model::Timestamp>,
    pub(crate) addresses: Vec<String>,
    pub(crate) described: Option<std::sync::Arc<[u8]>>,
    pub(crate) latest: TaskStatus,
    pub(crate) waiting: Vec<TaskStatus>,
}

impl Durable for Record {
    fn changes(&self) -> Vec<Change> {
        match self {
            Self::Identity(identity) => {
                vec![put(IDENTITY.to_owned(), &forms::Identity::from(identity))]
            }
            Self::Framework { id, info, leaving } => {
                let form = forms::Framework::new(info, *leaving);
                vec![put(framework_key(id), &form)]
            }
            Self::FrameworkForgotten(id) => vec![remove(framework_key(id))],
            Self::Accepted(task) => {
                vec![put(
                    task_key("task", &task.key),
                    &forms::Accepted::from(&**task),
                )]
            }
            Self::Life { task, waiting } => {
                vec![put(
                    task_key("life", &task.key),
                    &forms::Life::new(task, waiting),
                )]
            }
            Self::Forgotten(key) => {
                vec![remove(task_key("task", key)), remove(task_key("life", key))]
            }
            Self::Executor(executor) => {
                let form = forms::Executor::from(&**executor);
                vec![put(executor_key("executor", &executor.key), &form)]
            }
            Self::ExecutorGone(key) => vec![remove(executor_key("executor", key))],
            Self::CustomExecutor(executor) => {
                let form = forms::CustomExecutor::from(&**executor);
                vec![put(executor_key("program", &executor.key), &form)]
            }
            Self::CustomExecutorGone(key) => vec![remove(executor_key("program", key))],
            Self::Unheard { key, status } => {
                let form = forms::Unheard { status: *status };
                vec![put(executor_key("exit", key), &form)]
            }
            Self::Heard(key) => vec![remove(executor_key("exit", key))],
            Self::SandboxKept(sandbox) => {
                let form = forms::Sandbox::from(&**sandbox);
                vec![put(format!("sandbox/{}", sandbox.container), &form)]
            }
            Self::SandboxGone(container) => vec![remove(format!("sandbox/{container}"))],
            Self::Volume(volume) => {
                let form = forms::Volume::from(&**volume);
                vec![put(format!("volume/{}", volume.name), &form)]
            }
            Self::VolumeGone(name) => vec![remove(format!("volume/{name}"))],
        }
    }
}

fn framework_key(id: &FrameworkId) -> String {
    format!("framework/{id}")
}

fn task_key(kind: &str, key: &TaskKey) -> String {
    format!("{kind}/{}/{}", key.framework, key.task)
}

fn executor_key(kind: &str, key: &ExecutorKey) -> String {
    format!("{kind}/{}/{}", key.framework, key.executor)
}

fn put(key: String, form: &impl Serialize) -> Change {
    let mut value = vec![FORMAT];
    serde_json::to_writer(&mut value, form)
        .expect("forms have text keys and writing into memory does not fail");
    Change {
        key: key.into_bytes(),
        value: Some(value),
    }
}

fn remove(key: String) -> Change {
    Change {
        key: key.into_bytes(),
        value: None,
    }
}

/// Reads one entry of the store.
///
/// # Errors
/// [`BadRecord`] names the key and what is wrong.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<Entry, BadRecord> {
    let key = String::from_utf8_lossy(key).into_owned();
    parse(&key, value).map_err(|problem| BadRecord { key, problem })
}

fn parse(key: &str, value: &[u8]) -> Result<Entry, String> {
    let json = match value.split_first() {
        Some((&FORMAT, json)) => json,
        Some((version, _)) => {
            return Err(format!(
                "it has format {version}, this version reads {FORMAT}"
            ));
        }
        None => return Err("it is empty".to_owned()),
    };
    if key == IDENTITY {
        return Ok(Entry::Identity(form::<forms::Identity>(json)?.read()?));
    }
    if key.starts_with("volume/") {
        return Ok(Entry::Volume(form::<forms::Volume>(json)?.read()?));
    }
    let parts: Vec<&str> = key.split('/').collect();
    match parts[..] {
        ["framework", id] => {
            let (info, leaving) = form::<forms::Framework>(json)?.read()?;
            let id = FrameworkId::new(id).map_err(|bad| bad.to_string())?;
            Ok(Entry::Framework { id, info, leaving })
        }
        ["task", framework, task] => {
            let task = form::<forms::Accepted>(json)?.read(named(framework, task)?)?;
            Ok(Entry::Accepted(Box::new(task)))
        }
        ["life", framework, task] => {
            let life = form::<forms::Life>(json)?.read(named(framework, task)?)?;
            Ok(Entry::Life(Box::new(life)))
        }
        ["executor", framework, executor] => {
            let key = named_executor(framework, executor)?;
            let executor = form::<forms::Executor>(json)?.read(key)?;
            Ok(Entry::Executor(Box::new(executor)))
        }
        ["program", framework, executor] => {
            let key = named_executor(framework, executor)?;
            let executor = form::<forms::CustomExecutor>(json)?.read(key)?;
            Ok(Entry::CustomExecutor(Box::new(executor)))
        }
        ["exit", framework, executor] => {
            let key = named_executor(framework, executor)?;
            let status = form::<forms::Unheard>(json)?.status;
            Ok(Entry::Unheard { key, status })
        }
        ["sandbox", container] => {
            let container = ContainerId::new(container).map_err(|bad| bad.to_string())?;
            Ok(Entry::Sandbox(
                form::<forms::Sandbox>(json)?.read(container)?,
            ))
        }
        _ => Err("no such kind of record".to_owned()),
    }
}

fn named(framework: &str, task: &str) -> Result<TaskKey, String> {
    Ok(TaskKey {
        framework: FrameworkId::new(framework).map_err(|bad| bad.to_string())?,
        task: TaskId::new(task).map_err(|bad| bad.to_string())?,
    })
}

fn named_executor(framework: &str, executor: &str) -> Result<ExecutorKey, String> {
    Ok(ExecutorKey {
        framework: FrameworkId::new(framework).map_err(|bad| bad.to_string())?,
        executor: ExecutorId::new(executor).map_err(|bad| bad.to_string())?,
    })
}

fn form<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    serde_json::from_slice(json).map_err(|error| error.to_string())
}
