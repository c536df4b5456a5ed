//! Small words: bytes, times, states, reports.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mete_model::{
    AgentId, CheckAnswer, ContainerId, ExecutorId, Limitation, Reason, Source, TaskId, TaskState,
    TaskStatus, Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes as base64 text.
pub(super) struct Base64(pub(super) Bytes);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

pub(super) fn agent(text: &str) -> Result<AgentId, String> {
    AgentId::new(text).map_err(|bad| bad.to_string())
}

pub(super) fn state(name: &str) -> Result<TaskState, String> {
    TaskState::from_name(name).ok_or_else(|| format!("no task state is called {name:?}"))
}

/// What a check was answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Command(Option<i32>),
    Http(Option<u16>),
    Tcp(Option<bool>),
}

impl From<CheckAnswer> for Answer {
    fn from(answer: CheckAnswer) -> Self {
        match answer {
            CheckAnswer::Command(code) => Self::Command(code),
            CheckAnswer::Http(status) => Self::Http(status),
            CheckAnswer::Tcp(accepted) => Self::Tcp(accepted),
        }
    }
}

impl From<Answer> for CheckAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Command(code) => Self::Command(code),
            Answer::Http(status) => Self::Http(status),
            Answer::Tcp(accepted) => Self::Tcp(accepted),
        }
    }
}

/// One report.
#[derive(Serialize, Deserialize)]
pub(super) struct Status {
    state: String,
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    executor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    timestamp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unreachable_time: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ip_addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_limitation_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk_limitation_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original: Option<Base64>,
}

impl From<&TaskStatus> for Status {
    fn from(status: &TaskStatus) -> Self {
        let (memory, disk) = match status.limitation {
            Some(Limitation::Memory(bytes)) => (Some(bytes), None),
            Some(Limitation::Disk(bytes)) => (None, Some(bytes)),
            None => (None, None),
        };
        Self {
            state: status.state.as_str().to_owned(),
            source: status.source.as_str().to_owned(),
            reason: status.reason.map(|reason| reason.as_str().to_owned()),
            message: status.message.clone(),
            agent: status.agent.as_ref().map(ToString::to_string),
            executor: status.executor.as_ref().map(ToString::to_string),
            container: status.container.as_ref().map(ToString::to_string),
            timestamp: status.timestamp.as_micros(),
            uuid: status.uuid.map(|uuid| uuid.to_string()),
            healthy: status.healthy,
            check: status.check.map(Answer::from),
            unreachable_time: status.unreachable_time.map(Timestamp::as_micros),
            ip_addresses: status.ip_addresses.clone(),
            memory_limitation_bytes: memory,
            disk_limitation_bytes: disk,
            original: status
                .original
                .as_deref()
                .map(|bytes| Base64(Bytes::copy_from_slice(bytes))),
        }
    }
}

impl Status {
    pub(super) fn read(self, task: &TaskId) -> Result<TaskStatus, String> {
        let source = [Source::Master, Source::Agent, Source::Executor]
            .into_iter()
            .find(|source| source.as_str() == self.source)
            .ok_or_else(|| format!("no source is called {:?}", self.source))?;
        let uuid = self.uuid.as_deref().map(str::parse).transpose();
        let memory = self.memory_limitation_bytes.map(Limitation::Memory);
        let disk = self.disk_limitation_bytes.map(Limitation::Disk);
        Ok(TaskStatus {
            task: task.clone(),
            state: state(&self.state)?,
            source,
            // A reason that this version has no word for is not worth losing a task for.
            reason: self.reason.as_deref().and_then(Reason::from_name),
            message: self.message,
            agent: self.agent.as_deref().map(agent).transpose()?,
            executor: self
                .executor
                .map(ExecutorId::new)
                .transpose()
                .map_err(|bad| bad.to_string())?,
            container: self
                .container
                .map(ContainerId::new)
                .transpose()
                .map_err(|bad| bad.to_string())?,
            timestamp: Timestamp::from_micros(self.timestamp),
            uuid: uuid.map_err(|bad: mete_model::BadId| bad.to_string())?,
            healthy: self.healthy,
            check: self.check.map(CheckAnswer::from),
            unreachable_time: self.unreachable_time.map(Timestamp::from_micros),
            ip_addresses: self.ip_addresses,
            limitation: memory.or(disk),
            original: self.original.map(|bytes| bytes.0.to_vec().into()),
        })
    }
}
