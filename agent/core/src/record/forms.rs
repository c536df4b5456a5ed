//! The JSON of each record. Words of the model do not derive `Serialize`; these do, and are turned into words here.
//!
//! Times are microseconds since the epoch, durations microseconds, byte strings base64.

mod container; // the container around a task
mod executor; // executors and their groups
mod limits; // how far a task may go beyond what it asks for
mod network; // which network it has
mod quantities; // what a task has
mod spec; // tasks and frameworks as they came
mod volume; // persistent volumes
mod words; // bytes, times, states, reports

use bytes::Bytes;
use mete_model::{BadId, ContainerId, ExecutorId, TaskKey, TaskState, TaskStatus, Timestamp};
use serde::{Deserialize, Serialize};

pub(super) use self::executor::{CustomExecutor, Executor, Unheard};
pub(super) use self::spec::Framework;
use self::spec::Spec;
pub(super) use self::volume::Volume;
use self::words::{Base64, Status, agent, state};
use crate::state::sandboxes::Within;
use crate::state::tasks::{Described, Kill, Phase, Task, Why};

/// Who the agent is.
#[derive(Serialize, Deserialize)]
pub(super) struct Identity {
    agent: Option<String>,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    boot_id: String,
}

impl From<&super::Identity> for Identity {
    fn from(identity: &super::Identity) -> Self {
        Self {
            agent: identity.agent.as_ref().map(ToString::to_string),
            epoch: identity.epoch,
            boot_id: identity.boot_id.clone(),
        }
    }
}

impl Identity {
    pub(super) fn read(self) -> Result<super::Identity, String> {
        Ok(super::Identity {
            agent: self.agent.as_deref().map(agent).transpose()?,
            epoch: self.epoch,
            boot_id: self.boot_id,
        })
    }
}

/// A launch as it came.
#[derive(Serialize, Deserialize)]
pub(super) struct Accepted {
    container: String,
    agent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    executor: Option<String>,
    accepted_at: u64,
    spec: Spec,
}

impl From<&Task> for Accepted {
    fn from(task: &Task) -> Self {
        Self {
            container: task.container.to_string(),
            agent: task.agent.to_string(),
            executor: task.executor.as_ref().map(ToString::to_string),
            accepted_at: task.accepted_at.as_micros(),
            spec: Spec::from(&*task.spec),
        }
    }
}

impl Accepted {
    /// The task as it was before anything happened to it.
    pub(super) fn read(self, key: TaskKey) -> Result<Task, String> {
        let spec = self.spec.read(key.task.clone())?;
        let accepted_at = Timestamp::from_micros(self.accepted_at);
        let mut latest = TaskStatus::new(
            key.task.clone(),
            TaskState::Staging,
            mete_model::Source::Agent,
            accepted_at,
        );
        let agent = agent(&self.agent)?;
        let executor = self.executor.as_deref().map(ExecutorId::new).transpose();
        latest.agent = Some(agent.clone());
        Ok(Task {
            key,
            spec: spec.into(),
            container: ContainerId::new(&self.container).map_err(|bad| bad.to_string())?,
            agent,
            executor: executor.map_err(|bad| bad.to_string())?,
            accepted_at,
            started_at: None,
            phase: Phase::Accepted,
            addresses: Vec::new(),
            described: Described::default(),
            ailment: None,
            latest,
        })
    }
}

/// Where a task stands.
#[derive(Serialize, Deserialize)]
pub(super) struct Life {
    phase: PhaseForm,
    #[serde(default)]
    started_at: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    described: Option<Base64>,
    latest: Status,
    #[serde(default)]
    waiting: Vec<Status>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseForm {
    Accepted,
    Starting,
    Running,
    Delegated,
    Killing {
        since: u64,
        next: u64,
        forced: u32,
        why: WhyForm,
        note: Option<String>,
        launching: bool,
        /// Of a task that took more of the disk.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disk_limit_bytes: Option<u64>,
    },
    Ended {
        at: u64,
    },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhyForm {
    Asked,
    Unhealthy,
    TimeIsUp,
    DiskUsedUp,
    FrameworkRemoved,
    Group,
    AgentStops,
}

impl Life {
    pub(super) fn new(task: &Task, waiting: &[TaskStatus]) -> Self {
        Self {
            phase: PhaseForm::from(&task.phase),
            started_at: task.started_at.map(Timestamp::as_micros),
            addresses: task.addresses.clone(),
            described: task
                .described
                .always
                .as_deref()
                .map(|bytes| Base64(Bytes::copy_from_slice(bytes))),
            latest: Status::from(&task.latest),
            waiting: waiting.iter().map(Status::from).collect(),
        }
    }

    pub(super) fn read(self, key: TaskKey) -> Result<super::Life, String> {
        let latest = self.latest.read(&key.task)?;
        let waiting = self
            .waiting
            .into_iter()
            .map(|status| status.read(&key.task));
        Ok(super::Life {
            waiting: waiting.collect::<Result<_, _>>()?,
            key,
            phase: self.phase.read(),
            started_at: self.started_at.map(Timestamp::from_micros),
            addresses: self.addresses,
            described: self.described.map(|bytes| bytes.0.to_vec().into()),
            latest,
        })
    }
}

impl From<&Phase> for PhaseForm {
    fn from(phase: &Phase) -> Self {
        match phase {
            Phase::Accepted => Self::Accepted,
            Phase::Starting => Self::Starting,
            Phase::Running => Self::Running,
            Phase::Delegated => Self::Delegated,
            Phase::Killing(kill) => Self::Killing {
                since: kill.since.as_micros(),
                next: kill.next.as_micros(),
                forced: kill.forced,
                why: match kill.why {
                    Why::Asked => WhyForm::Asked,
                    Why::Unhealthy => WhyForm::Unhealthy,
                    Why::TimeIsUp => WhyForm::TimeIsUp,
                    Why::DiskUsedUp { .. } => WhyForm::DiskUsedUp,
                    Why::FrameworkRemoved => WhyForm::FrameworkRemoved,
                    Why::Group => WhyForm::Group,
                    Why::AgentStops => WhyForm::AgentStops,
                },
                note: kill.note.clone(),
                launching: kill.launching,
                disk_limit_bytes: match kill.why {
                    Why::DiskUsedUp { limit_bytes } => limit_bytes,
                    Why::Asked
                    | Why::Unhealthy
                    | Why::TimeIsUp
                    | Why::FrameworkRemoved
                    | Why::Group
                    | Why::AgentStops => None,
                },
            },
            Phase::Ended { at } => Self::Ended { at: at.as_micros() },
        }
    }
}

impl PhaseForm {
    fn read(self) -> Phase {
        match self {
            Self::Accepted => Phase::Accepted,
            Self::Starting => Phase::Starting,
            Self::Running => Phase::Running,
            Self::Delegated => Phase::Delegated,
            Self::Killing {
                since,
                next,
                forced,
                why,
                note,
                launching,
                disk_limit_bytes: limit_bytes,
            } => Phase::Killing(Kill {
                since: Timestamp::from_micros(since),
                next: Timestamp::from_micros(next),
                forced,
                why: match why {
                    WhyForm::Asked => Why::Asked,
                    WhyForm::Unhealthy => Why::Unhealthy,
                    WhyForm::TimeIsUp => Why::TimeIsUp,
                    WhyForm::DiskUsedUp => Why::DiskUsedUp { limit_bytes },
                    WhyForm::FrameworkRemoved => Why::FrameworkRemoved,
                    WhyForm::Group => Why::Group,
                    WhyForm::AgentStops => Why::AgentStops,
                },
                note,
                launching,
            }),
            Self::Ended { at } => Phase::Ended {
                at: Timestamp::from_micros(at),
            },
        }
    }
}

/// What an ended task left behind.
#[derive(Serialize, Deserialize)]
pub(super) struct Sandbox {
    framework: String,
    task: String,
    name: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_executor: bool,
    /// Executor and its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<(String, String)>,
    agent: String,
    ended_at: u64,
    state: String,
    #[serde(default)]
    message: Option<String>,
}

impl From<&crate::state::sandboxes::Sandbox> for Sandbox {
    fn from(sandbox: &crate::state::sandboxes::Sandbox) -> Self {
        Self {
            framework: sandbox.key.framework.to_string(),
            task: sandbox.key.task.to_string(),
            name: sandbox.name.clone(),
            is_executor: sandbox.is_executor,
            within: sandbox
                .within
                .as_ref()
                .map(|within| (within.executor.to_string(), within.container.to_string())),
            agent: sandbox.agent.to_string(),
            ended_at: sandbox.ended_at.as_micros(),
            state: sandbox.state.as_str().to_owned(),
            message: sandbox.message.clone(),
        }
    }
}

impl Sandbox {
    pub(super) fn read(
        self,
        container: ContainerId,
    ) -> Result<crate::state::sandboxes::Sandbox, String> {
        let within = |(executor, container): (String, String)| {
            Ok::<_, BadId>(Within {
                executor: ExecutorId::new(executor)?,
                container: ContainerId::new(container)?,
            })
        };
        let within = self.within.map(within).transpose();
        Ok(crate::state::sandboxes::Sandbox {
            is_executor: self.is_executor,
            within: within.map_err(|bad| bad.to_string())?,
            key: super::named(&self.framework, &self.task)?,
            name: self.name,
            container,
            agent: agent(&self.agent)?,
            ended_at: Timestamp::from_micros(self.ended_at),
            state: state(&self.state)?,
            message: self.message,
        })
    }
}
