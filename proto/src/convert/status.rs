//! Reports about tasks. What is not decided on (data, labels, networks by name) is carried in the model as it came, where
//! somebody is to be told of it.

use mete_model::{ContainerId, Limitation, MEBIBYTE, Reason, Source, TaskState, TaskStatus};
use prost::Message as _;

use super::ids::{update_id, uuid};
use super::{ConvertError, Within as _, check, moment, moment_of, time_info};
use crate::encoded;
use crate::json::number_of;
use crate::mesos::v1 as wire;
use crate::mete::v1::StatusUpdate;
use crate::strict;

/// The name of memory on the wire.
const MEMORY: &str = "mem";

/// The name of the disk among resources.
const DISK: &str = "disk";

impl TryFrom<&wire::TaskStatus> for TaskStatus {
    type Error = ConvertError;
    fn try_from(status: &wire::TaskStatus) -> Result<Self, ConvertError> {
        let state = wire::TaskState::try_from(status.state).map_err(|_| {
            ConvertError::bad_value("state", status.state, "no state has this number")
        })?;
        let source = status
            .source
            .ok_or_else(|| ConvertError::missing("source"))?;
        let source = wire::task_status::Source::try_from(source)
            .map_err(|_| ConvertError::bad_value("source", source, "no source has this number"))?;
        let timestamp = status
            .timestamp
            .ok_or_else(|| ConvertError::missing("timestamp"))?;
        Ok(Self {
            task: (&status.task_id).try_into().within("task_id")?,
            state: state.into(),
            source: source.into(),
            reason: status.reason.and_then(reason),
            message: status.message.clone(),
            agent: status
                .agent_id
                .as_ref()
                .map(TryInto::try_into)
                .transpose()
                .within("agent_id")?,
            executor: status
                .executor_id
                .as_ref()
                .map(TryInto::try_into)
                .transpose()
                .within("executor_id")?,
            container: container(status.container_status.as_ref()),
            timestamp: moment("timestamp", timestamp)?,
            uuid: status
                .uuid
                .as_ref()
                .map(|bytes| update_id("uuid", bytes))
                .transpose()?,
            healthy: status.healthy,
            check: status.check_status.as_deref().and_then(check::answer),
            unreachable_time: status
                .unreachable_time
                .map(|time| moment_of("unreachable_time", time))
                .transpose()?,
            ip_addresses: ip_addresses(status.container_status.as_ref()),
            limitation: status.limitation.as_deref().and_then(limited),
            original: None,
        })
    }
}

/// The report in news of an agent.
///
/// # Errors
/// When it is none.
pub fn of_update(update: &StatusUpdate) -> Result<wire::TaskStatus, ConvertError> {
    strict::decode(update.status.clone())
        .map_err(|bad| ConvertError::bad_value("status", bad, "it cannot be read"))
}

/// Most bytes of what is not decided on that are kept of one report: eight networks with labels take a few thousand.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// A report as whoever shows it later keeps it: with its labels, with what its networks are called and with what its container
/// is in, without its data
/// (as Mesos' master does), and without either when they are too long.
///
/// # Errors
/// Names the field that makes no sense.
pub fn kept(status: &wire::TaskStatus) -> Result<TaskStatus, ConvertError> {
    let networks = status.container_status.as_ref();
    let networks = networks.map_or(&[][..], |status| &status.network_infos);
    let plain = |info: &wire::NetworkInfo| {
        info.name.is_none() && info.labels.is_none() && info.port_mappings.is_empty()
    };
    let container = status.container_status.as_ref();
    let container = container.and_then(|status| status.container_id.clone());
    let container = container.filter(|id| id.parent.is_some());
    let told = networks.len() > 1 || !networks.iter().all(plain) || container.is_some();
    let rest = wire::TaskStatus {
        labels: status.labels.clone(),
        container_status: told.then(|| wire::ContainerStatus {
            network_infos: networks.to_vec(),
            container_id: container,
            ..wire::ContainerStatus::default()
        }),
        ..wire::TaskStatus::default()
    };
    let is_worth_it = rest.labels.is_some() || rest.container_status.is_some();
    let is_short = is_worth_it && rest.encoded_len() <= MAX_KEPT_BYTES;
    Ok(TaskStatus {
        original: is_short.then(|| rest.encode_to_vec().into()),
        ..TaskStatus::try_from(status)?
    })
}

/// A report as an executor of a framework's own sends it: kept whole, so that its framework hears all of it.
///
/// # Errors
/// Names the field that makes no sense.
pub fn from_executor(status: &wire::TaskStatus) -> Result<TaskStatus, ConvertError> {
    let original = status.encode_to_vec();
    Ok(TaskStatus {
        original: Some(original.into()),
        ..TaskStatus::try_from(status)?
    })
}

/// The message an executor sent, with what is decided on written over; made anew when there is none.
impl From<&TaskStatus> for wire::TaskStatus {
    fn from(status: &TaskStatus) -> Self {
        let came = status.original.as_deref();
        let came = came.and_then(|bytes| Self::decode(bytes).ok());
        let came = came.unwrap_or_default();
        let named = came.container_status.as_ref();
        let named = named.filter(|named| !named.network_infos.is_empty());
        let mut container_status = match named {
            Some(_) => came.container_status.clone(),
            None => container_status(&status.ip_addresses),
        };
        if let Some(container) = &status.container {
            let within = container_status.get_or_insert_default();
            // With what it is in, as far as its executor has said.
            let said = came.container_status.as_ref();
            let said = said.and_then(|said| said.container_id.clone());
            let said = said.filter(|said| said.value == container.as_str());
            within
                .container_id
                .get_or_insert_with(|| said.unwrap_or_else(|| container.into()));
        }
        Self {
            task_id: (&status.task).into(),
            state: wire::TaskState::from(status.state).into(),
            message: status.message.clone(),
            agent_id: status.agent.as_ref().map(Into::into),
            executor_id: status
                .executor
                .as_ref()
                .map(Into::into)
                .or(came.executor_id),
            timestamp: Some(status.timestamp.as_secs_f64()),
            healthy: status.healthy,
            check_status: status
                .check
                .map(|answer| Box::new(check::answer_to_wire(answer)))
                .or(came.check_status),
            source: Some(wire::task_status::Source::from(status.source).into()),
            reason: status
                .reason
                .map(|reason| wire::task_status::Reason::from(reason).into()),
            uuid: status.uuid.map(uuid),
            container_status,
            unreachable_time: status.unreachable_time.map(time_info),
            limitation: status.limitation.map(|of| Box::new(limitation(of))),
            ..came
        }
    }
}

/// Appends the message as a field. What was made here, as nearly all are, is written without making the message first.
pub fn put(out: &mut Vec<u8>, number: u32, status: &TaskStatus) {
    if status.original.is_some() {
        return encoded::put_message(out, number, &wire::TaskStatus::from(status));
    }
    let from = encoded::open(out, number);
    put_fields(out, status);
    encoded::close(out, from);
}

/// Appends the message as it came, encoded, as a field: in the state that `status` has by now, and with the reason and the
/// words that `status` has, if any.
pub fn put_as_it_came(out: &mut Vec<u8>, number: u32, came: &[u8], status: &TaskStatus) {
    let (state, reason, message) = const { (of("state"), of("reason"), of("message")) };
    let from = encoded::open(out, number);
    encoded::put_others(out, came, |field| {
        field == state
            || (field == reason && status.reason.is_some())
            || (field == message && status.message.is_some())
    });
    encoded::put_enum(out, state, wire::TaskState::from(status.state).into());
    if let Some(known) = status.reason {
        let known = wire::task_status::Reason::from(known).into();
        encoded::put_enum(out, reason, known);
    }
    if let Some(words) = &status.message {
        encoded::put_delimited(out, message, words.as_bytes());
    }
    encoded::close(out, from);
}

const fn of(field: &str) -> u32 {
    number_of::<wire::TaskStatus>(field)
}

fn put_fields(out: &mut Vec<u8>, status: &TaskStatus) {
    encoded::put_id(out, const { of("task_id") }, status.task.as_str());
    let state = wire::TaskState::from(status.state).into();
    encoded::put_enum(out, const { of("state") }, state);
    if let Some(message) = &status.message {
        encoded::put_delimited(out, const { of("message") }, message.as_bytes());
    }
    if let Some(agent) = &status.agent {
        encoded::put_id(out, const { of("agent_id") }, agent.as_str());
    }
    let timestamp = status.timestamp.as_secs_f64().to_bits();
    encoded::put_fixed64(out, const { of("timestamp") }, timestamp);
    if let Some(executor) = &status.executor {
        encoded::put_id(out, const { of("executor_id") }, executor.as_str());
    }
    if let Some(healthy) = status.healthy {
        encoded::put_varint(out, const { of("healthy") }, healthy.into());
    }
    let source = wire::task_status::Source::from(status.source).into();
    encoded::put_enum(out, const { of("source") }, source);
    if let Some(reason) = status.reason {
        let reason = wire::task_status::Reason::from(reason).into();
        encoded::put_enum(out, const { of("reason") }, reason);
    }
    if let Some(uuid) = status.uuid {
        encoded::put_delimited(out, const { of("uuid") }, &uuid.0);
    }
    put_container_status(out, const { of("container_status") }, status);
    if let Some(time) = status.unreachable_time {
        encoded::put_message(out, const { of("unreachable_time") }, &time_info(time));
    }
    if let Some(answer) = status.check {
        let answer = check::answer_to_wire(answer);
        encoded::put_message(out, const { of("check_status") }, &answer);
    }
    if let Some(limited) = status.limitation {
        encoded::put_message(out, const { of("limitation") }, &limitation(limited));
    }
}

fn put_container_status(out: &mut Vec<u8>, number: u32, status: &TaskStatus) {
    const NETWORKS: u32 = number_of::<wire::ContainerStatus>("network_infos");
    const CONTAINER: u32 = number_of::<wire::ContainerStatus>("container_id");
    const ADDRESSES: u32 = number_of::<wire::NetworkInfo>("ip_addresses");
    const ADDRESS: u32 = number_of::<wire::network_info::IpAddress>("ip_address");
    if status.container.is_none() && status.ip_addresses.is_empty() {
        return;
    }
    let from = encoded::open(out, number);
    if !status.ip_addresses.is_empty() {
        let network = encoded::open(out, NETWORKS);
        for address in &status.ip_addresses {
            let one = encoded::open(out, ADDRESSES);
            encoded::put_delimited(out, ADDRESS, address.as_bytes());
            encoded::close(out, one);
        }
        encoded::close(out, network);
    }
    if let Some(container) = &status.container {
        encoded::put_id(out, CONTAINER, container.as_str());
    }
    encoded::close(out, from);
}

/// A reason of a number we do not know is one that a newer peer has learned: it says nothing to us.
fn reason(number: i32) -> Option<Reason> {
    wire::task_status::Reason::try_from(number)
        .ok()
        .map(Into::into)
}

/// What the task runs in. An executor of a framework's own may say what is no name of a container here: then it says nothing.
fn container(status: Option<&wire::ContainerStatus>) -> Option<ContainerId> {
    let id = status?.container_id.as_ref()?;
    id.try_into().ok()
}

fn ip_addresses(status: Option<&wire::ContainerStatus>) -> Vec<String> {
    let networks = status.map_or(&[][..], |status| &status.network_infos);
    networks
        .iter()
        .flat_map(|network| &network.ip_addresses)
        .filter_map(|address| address.ip_address.clone())
        .collect()
}

/// In MB, as everywhere on the wire.
fn limitation(of: Limitation) -> wire::TaskResourceLimitation {
    let (name, bytes) = match of {
        Limitation::Memory(bytes) => (MEMORY, bytes),
        Limitation::Disk(bytes) => (DISK, bytes),
    };
    let resource = wire::Resource {
        name: name.to_owned(),
        r#type: wire::value::Type::Scalar.into(),
        scalar: Some(wire::value::Scalar {
            value: bytes as f64 / MEBIBYTE as f64,
        }),
        ..wire::Resource::default()
    };
    wire::TaskResourceLimitation {
        resources: vec![resource],
    }
}

fn limited(limitation: &wire::TaskResourceLimitation) -> Option<Limitation> {
    limitation.resources.iter().find_map(|resource| {
        let of = match resource.name.as_str() {
            MEMORY => Limitation::Memory,
            DISK => Limitation::Disk,
            _ => return None,
        };
        let megabytes = resource.scalar.as_ref()?.value;
        // A float becomes the nearest integer there is; what is no number becomes 0.
        let bytes = (megabytes * MEBIBYTE as f64).round() as u64;
        (bytes > 0).then(|| of(bytes))
    })
}

fn container_status(ip_addresses: &[String]) -> Option<wire::ContainerStatus> {
    let address = |ip: &String| wire::network_info::IpAddress {
        ip_address: Some(ip.clone()),
        protocol: None,
    };
    let network = wire::NetworkInfo {
        ip_addresses: ip_addresses.iter().map(address).collect(),
        ..wire::NetworkInfo::default()
    };
    let status = wire::ContainerStatus {
        network_infos: vec![network],
        ..wire::ContainerStatus::default()
    };
    (!ip_addresses.is_empty()).then_some(status)
}

macro_rules! both_ways {
    ($wire:ty, $model:ty, $($theirs:ident = $ours:ident,)*) => {
        impl From<$wire> for $model {
            fn from(value: $wire) -> Self {
                match value { $(<$wire>::$theirs => Self::$ours,)* }
            }
        }

        impl From<$model> for $wire {
            fn from(value: $model) -> Self {
                match value { $(<$model>::$ours => Self::$theirs,)* }
            }
        }
    };
}

both_ways! { wire::TaskState, TaskState,
    TaskStaging = Staging, TaskStarting = Starting, TaskRunning = Running, TaskKilling = Killing,
    TaskFinished = Finished, TaskFailed = Failed, TaskKilled = Killed, TaskError = Error, TaskLost = Lost,
    TaskDropped = Dropped, TaskUnreachable = Unreachable, TaskGone = Gone, TaskGoneByOperator = GoneByOperator,
    TaskUnknown = Unknown,
}

both_ways! { wire::task_status::Source, Source,
    Master = Master, Agent = Agent, Executor = Executor,
}

both_ways! { wire::task_status::Reason, Reason,
    AgentDisconnected = AgentDisconnected, AgentDraining = AgentDraining, AgentRemoved = AgentRemoved,
    AgentRemovedByOperator = AgentRemovedByOperator, AgentReregistered = AgentReregistered,
    AgentRestarted = AgentRestarted, AgentUnknown = AgentUnknown, CommandExecutorFailed = CommandExecutorFailed,
    ContainerLaunchFailed = ContainerLaunchFailed, ContainerLimitation = ContainerLimitation,
    ContainerLimitationDisk = ContainerLimitationDisk, ContainerLimitationMemory = ContainerLimitationMemory,
    ContainerPreempted = ContainerPreempted, ContainerUpdateFailed = ContainerUpdateFailed,
    ExecutorReregistrationTimeout = ExecutorReregistrationTimeout,
    ExecutorRegistrationTimeout = ExecutorRegistrationTimeout, ExecutorTerminated = ExecutorTerminated,
    ExecutorUnregistered = ExecutorUnregistered, FrameworkRemoved = FrameworkRemoved, GcError = GcError,
    InvalidFrameworkid = InvalidFrameworkid, InvalidOffers = InvalidOffers, IoSwitchboardExited = IoSwitchboardExited,
    MasterDisconnected = MasterDisconnected, MaxCompletionTimeReached = MaxCompletionTimeReached,
    Reconciliation = Reconciliation, ResourcesUnknown = ResourcesUnknown,
    TaskCheckStatusUpdated = TaskCheckStatusUpdated, TaskGroupInvalid = TaskGroupInvalid,
    TaskGroupUnauthorized = TaskGroupUnauthorized, TaskHealthCheckStatusUpdated = TaskHealthCheckStatusUpdated,
    TaskInvalid = TaskInvalid, TaskKilledDuringLaunch = TaskKilledDuringLaunch, TaskUnauthorized = TaskUnauthorized,
    TaskUnknown = TaskUnknown,
}

#[cfg(test)]
mod tests {
    use mete_model::{CheckAnswer, TaskId, Timestamp, UpdateId};

    use super::*;

    fn written(status: &TaskStatus) -> wire::TaskStatus {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Outer {
            #[prost(message, required, tag = "7")]
            status: wire::TaskStatus,
        }
        let mut out = Vec::new();
        put(&mut out, 7, status);
        Outer::decode(out.as_slice()).expect("a field").status
    }

    #[test]
    fn what_is_written_piece_by_piece_is_the_message() {
        let id = TaskId::new("t").expect("an id");
        let now = Timestamp::from_millis(1_234_567);
        let bare = TaskStatus::new(id.clone(), TaskState::Lost, Source::Master, now);
        let full = TaskStatus {
            reason: Some(Reason::Reconciliation),
            message: Some("w".repeat(200)),
            agent: Some("m-S1".parse().expect("an id")),
            executor: Some(id.as_executor()),
            container: Some("c".parse().expect("an id")),
            uuid: Some(UpdateId([7; 16])),
            healthy: Some(false),
            check: Some(CheckAnswer::Tcp(Some(true))),
            unreachable_time: Some(now),
            ip_addresses: vec!["10.0.0.1".to_owned(), "::1".to_owned()],
            limitation: Some(Limitation::Memory(MEBIBYTE)),
            ..bare.clone()
        };
        let of_disk = TaskStatus {
            limitation: Some(Limitation::Disk(8 * MEBIBYTE)),
            ..bare.clone()
        };
        let only_container = TaskStatus {
            container: full.container.clone(),
            ..bare.clone()
        };
        let came = TaskStatus {
            original: Some(wire::TaskStatus::from(&full).encode_to_vec().into()),
            ..bare.clone()
        };
        for status in [bare, full, of_disk, only_container, came] {
            let whole = written(&status);
            assert_eq!(whole, wire::TaskStatus::from(&status));
            let read = TaskStatus::try_from(&whole).expect("good");
            assert_eq!(read.limitation, status.limitation);
        }
    }
}
