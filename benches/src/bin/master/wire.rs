//! What this program says and hears, with no more in it than it looks at: what it takes of the two cores is in every figure.
//!
//! Fields bear the numbers of the messages whose names these have in `mesos.v1` and `mete.v1`; what is not here is skipped.
//! A message within one that is only handed on stays as it came, encoded: ids, what a task is.

use bytes::Bytes;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler as full;
use prost::Message;

/// What an agent says.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AgentMessage {
    #[prost(message, optional, tag = "1")]
    pub(crate) register: Option<Register>,
    #[prost(message, optional, tag = "2")]
    pub(crate) update: Option<StatusUpdate>,
    #[prost(message, optional, tag = "3")]
    pub(crate) pong: Option<Beat>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Register {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) hello: Bytes,
    #[prost(message, required, tag = "2")]
    pub(crate) agent_info: mesos::AgentInfo,
    #[prost(string, tag = "3")]
    pub(crate) boot_id: String,
    #[prost(string, tag = "4")]
    pub(crate) version: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) tasks: Vec<AgentTask>,
    #[prost(message, repeated, tag = "6")]
    pub(crate) frameworks: Vec<mesos::FrameworkInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AgentTask {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) framework_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) task_info: Bytes,
    #[prost(message, required, tag = "3")]
    pub(crate) latest_status: TaskStatus,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct StatusUpdate {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) framework_id: Bytes,
    #[prost(message, required, tag = "2")]
    pub(crate) status: TaskStatus,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TaskStatus {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) task_id: Bytes,
    #[prost(enumeration = "mesos::TaskState", required, tag = "2")]
    pub(crate) state: i32,
    #[prost(string, optional, tag = "4")]
    pub(crate) message: Option<String>,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) agent_id: Bytes,
    #[prost(double, optional, tag = "6")]
    pub(crate) timestamp: Option<f64>,
    #[prost(enumeration = "mesos::task_status::Source", optional, tag = "9")]
    pub(crate) source: Option<i32>,
    #[prost(bytes = "bytes", optional, tag = "11")]
    pub(crate) uuid: Option<Bytes>,
}

/// A ping, or the answer to one.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Beat {
    #[prost(uint64, required, tag = "1")]
    pub(crate) sequence: u64,
}

/// What an agent hears. Orders that nobody here gives are not looked at.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MasterMessage {
    #[prost(message, optional, tag = "1")]
    pub(crate) registered: Option<Registered>,
    #[prost(message, optional, tag = "2")]
    pub(crate) refused: Option<Refused>,
    #[prost(message, optional, tag = "3")]
    pub(crate) run_task: Option<RunTask>,
    #[prost(message, optional, tag = "5")]
    pub(crate) acknowledge: Option<Acknowledged>,
    #[prost(message, optional, tag = "8")]
    pub(crate) ping: Option<Beat>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Registered {
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) agent_id: Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Refused {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct RunTask {
    #[prost(message, required, tag = "1")]
    pub(crate) framework_info: OfFramework,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) task_info: Bytes,
}

/// Which framework it is.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct OfFramework {
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) id: Bytes,
}

/// Which task it is, and where.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct OfTask {
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) task_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) agent_id: Bytes,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Acknowledged {
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) task_id: Bytes,
}

/// What a framework says.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Call {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(crate) framework_id: Option<Bytes>,
    #[prost(enumeration = "full::call::Type", required, tag = "2")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "3")]
    pub(crate) subscribe: Option<Subscribe>,
    #[prost(message, optional, tag = "4")]
    pub(crate) accept: Option<Accept>,
    #[prost(message, optional, tag = "5")]
    pub(crate) decline: Option<Decline>,
    #[prost(message, optional, tag = "8")]
    pub(crate) acknowledge: Option<Acknowledge>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Subscribe {
    #[prost(message, required, tag = "1")]
    pub(crate) framework_info: mesos::FrameworkInfo,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Accept {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) offer_ids: Vec<Bytes>,
    #[prost(message, required, tag = "2")]
    pub(crate) operation: Operation,
    #[prost(message, required, tag = "3")]
    pub(crate) filters: mesos::Filters,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Operation {
    #[prost(enumeration = "mesos::offer::operation::Type", required, tag = "1")]
    pub(crate) kind: i32,
    #[prost(message, required, tag = "2")]
    pub(crate) launch: Launch,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Launch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) task_infos: Vec<TaskInfo>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct TaskInfo {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(message, required, tag = "2")]
    pub(crate) task_id: mesos::TaskId,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) agent_id: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    pub(crate) resources: Vec<Bytes>,
    #[prost(bytes = "bytes", tag = "6")]
    pub(crate) data: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) command: Bytes,
    #[prost(bytes = "bytes", tag = "10")]
    pub(crate) labels: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Decline {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) offer_ids: Vec<Bytes>,
    #[prost(message, required, tag = "2")]
    pub(crate) filters: mesos::Filters,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Acknowledge {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) agent_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) task_id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) uuid: Bytes,
}

/// What a framework hears.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    #[prost(message, optional, tag = "2")]
    pub(crate) subscribed: Option<Subscribed>,
    #[prost(message, optional, tag = "3")]
    pub(crate) offers: Option<Offers>,
    #[prost(message, optional, tag = "5")]
    pub(crate) update: Option<Update>,
    #[prost(message, optional, tag = "7")]
    pub(crate) failure: Option<full::event::Failure>,
    #[prost(message, optional, tag = "8")]
    pub(crate) error: Option<full::event::Error>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Subscribed {
    #[prost(message, required, tag = "1")]
    pub(crate) framework_id: mesos::FrameworkId,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Offers {
    #[prost(message, repeated, tag = "1")]
    pub(crate) offers: Vec<Offer>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Offer {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) id: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) agent_id: Bytes,
    #[prost(message, repeated, tag = "5")]
    pub(crate) resources: Vec<Resource>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resource {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(message, optional, tag = "3")]
    pub(crate) scalar: Option<mesos::value::Scalar>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Update {
    #[prost(message, required, tag = "1")]
    pub(crate) status: TaskStatus,
}

/// A message as it stands in others.
pub(crate) fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

impl From<full::Event> for Event {
    fn from(event: full::Event) -> Self {
        Self {
            subscribed: event.subscribed.map(|subscribed| Subscribed {
                framework_id: subscribed.framework_id,
            }),
            offers: event.offers.map(|all| Offers {
                offers: all.offers.into_iter().map(Offer::from).collect(),
            }),
            update: event.update.map(|update| Update {
                status: update.status.into(),
            }),
            failure: event.failure,
            error: event.error,
        }
    }
}

impl From<mesos::Offer> for Offer {
    fn from(offer: mesos::Offer) -> Self {
        let resources = offer.resources.into_iter().map(|one| Resource {
            name: one.name.into(),
            scalar: one.scalar,
        });
        Self {
            id: encoded(&offer.id),
            agent_id: encoded(&offer.agent_id),
            resources: resources.collect(),
        }
    }
}

impl From<mesos::TaskStatus> for TaskStatus {
    fn from(status: mesos::TaskStatus) -> Self {
        Self {
            task_id: encoded(&status.task_id),
            state: status.state,
            message: status.message,
            agent_id: status.agent_id.as_ref().map(encoded).unwrap_or_default(),
            timestamp: status.timestamp,
            source: status.source,
            uuid: status.uuid,
        }
    }
}
