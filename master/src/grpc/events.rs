//! What frameworks hear: words of the core into `mesos.v1.scheduler.Event`.

use std::net::IpAddr;

use bytes::Bytes;
use mete_master_core::{Event, OperationOutcome, Refusal};
use mete_model::{
    AgentId, ExecutorId, FrameworkId, InverseOffer, OfferId, OperationId, Resources, Source,
    TaskStatus, Timestamp, UpdateId,
};
use mete_proto::convert::agent::domain_info;
use mete_proto::convert::{ids, offer, resources, status};
use mete_proto::json::number_of;
use mete_proto::mesos::v1 as wire;
use mete_proto::{MESOS_VERSION, PROTOCOL_VERSION, encoded};
use prost::Message as _;
use wire::scheduler::event::{self, Type};

use crate::grpc::About;
use crate::grpc::framework::HEARTBEAT_INTERVAL;

/// The longest event as protobuf where a stream has records. Clients of Mesos in Go take records of 4 MiB at most, and JSON
/// is up to four times as long.
const MAX_PART_BYTES: usize = 1 << 20;

/// Room for most news of tasks.
const USUAL_UPDATE_BYTES: usize = 256;

/// An event, encoded.
pub(crate) fn encode(event: Event, about: &About) -> Bytes {
    let event = match event {
        Event::Subscribed { framework } => subscribed(&framework, about),
        Event::Offers {
            offers,
            capabilities,
            executors,
        } => {
            let offers = offers.iter().map(|offer| {
                let its = executors.get(&offer.agent).into_iter().flatten();
                wire::Offer {
                    executor_ids: its.map(Into::into).collect(),
                    ..offer::to_wire(offer, &capabilities)
                }
            });
            let offers = event::Offers {
                offers: offers.collect(),
            };
            wire::scheduler::Event {
                offers: Some(offers),
                ..bare(Type::Offers)
            }
        }
        Event::Rescind(offer) => {
            let offer_id = (&offer).into();
            wire::scheduler::Event {
                rescind: Some(event::Rescind { offer_id }),
                ..bare(Type::Rescind)
            }
        }
        Event::InverseOffers(offers) => inverse_offers(&offers),
        Event::RescindInverse(offer) => rescind_inverse(&offer),
        Event::Update { status, original } => return update(&status, original.as_deref()),
        Event::Misnamed { name, refusal, at } => misnamed(name, refusal, at),
        Event::Operation { id, agent, outcome } => operation(&id, agent.as_ref(), outcome),
        Event::Failure { agent } => failure(&agent, None, None),
        Event::ExecutorFailure {
            agent,
            executor,
            status,
        } => failure(&agent, Some(&executor), Some(status)),
        Event::Message {
            agent,
            executor,
            data,
        } => message(&agent, &executor, data),
        Event::Error(message) => return error(message),
    };
    event.encode_to_vec().into()
}

/// What the master says of a task whose name cannot be an id.
fn misnamed(name: String, refusal: Refusal, at: Timestamp) -> wire::scheduler::Event {
    let mut status = wire::TaskStatus {
        task_id: wire::TaskId { value: name },
        message: Some(refusal.why),
        agent_id: refusal.agent.as_ref().map(Into::into),
        timestamp: Some(at.as_secs_f64()),
        ..wire::TaskStatus::default()
    };
    status.set_state(refusal.state.into());
    status.set_source(Source::Master.into());
    status.set_reason(refusal.reason.into());
    wire::scheduler::Event {
        update: Some(Box::new(event::Update { status })),
        ..bare(Type::Update)
    }
}

/// The end of an agent, or of an executor on it.
fn failure(
    agent: &AgentId,
    executor: Option<&ExecutorId>,
    status: Option<i32>,
) -> wire::scheduler::Event {
    let failure = event::Failure {
        agent_id: Some(agent.into()),
        executor_id: executor.map(Into::into),
        status,
    };
    wire::scheduler::Event {
        failure: Some(failure),
        ..bare(Type::Failure)
    }
}

/// What an executor says to its framework.
fn message(agent: &AgentId, executor: &ExecutorId, data: Bytes) -> wire::scheduler::Event {
    let message = event::Message {
        agent_id: agent.into(),
        executor_id: executor.into(),
        data,
    };
    wire::scheduler::Event {
        message: Some(message),
        ..bare(Type::Message)
    }
}

/// How an operation went. Without a uuid: nobody waits for an acknowledgement.
fn operation(
    id: &OperationId,
    agent: Option<&AgentId>,
    outcome: OperationOutcome,
) -> wire::scheduler::Event {
    use wire::OperationState as State;
    let (state, message) = match outcome {
        OperationOutcome::Finished { made, uuid } => {
            let status = finished(id, agent, &made, uuid);
            return operation_status(status);
        }
        OperationOutcome::Error(why) => (State::OperationError, Some(why)),
        OperationOutcome::Unknown => (State::OperationUnknown, None),
        OperationOutcome::Unreachable => (State::OperationUnreachable, None),
        OperationOutcome::GoneByOperator => (State::OperationGoneByOperator, None),
        OperationOutcome::Recovering => (State::OperationRecovering, None),
    };
    operation_status(wire::OperationStatus {
        operation_id: Some(id.into()),
        state: state.into(),
        message,
        agent_id: agent.map(Into::into),
        ..wire::OperationStatus::default()
    })
}

/// The status of an operation that is done.
pub(crate) fn finished(
    id: &OperationId,
    agent: Option<&AgentId>,
    made: &Resources,
    uuid: UpdateId,
) -> wire::OperationStatus {
    wire::OperationStatus {
        operation_id: Some(id.into()),
        state: wire::OperationState::OperationFinished.into(),
        converted_resources: resources::to_wire(made),
        uuid: Some(wire::Uuid {
            value: ids::uuid(uuid),
        }),
        agent_id: agent.map(Into::into),
        ..wire::OperationStatus::default()
    }
}

fn operation_status(status: wire::OperationStatus) -> wire::scheduler::Event {
    wire::scheduler::Event {
        update_operation_status: Some(Box::new(event::UpdateOperationStatus { status })),
        ..bare(Type::UpdateOperationStatus)
    }
}

fn subscribed(framework: &FrameworkId, about: &About) -> wire::scheduler::Event {
    let subscribed = event::Subscribed {
        framework_id: framework.into(),
        heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL.as_secs_f64()),
        master_info: Some(master_info(about)),
        protocol_version: Some(PROTOCOL_VERSION),
        protocol_capabilities: Vec::new(),
        master_epoch: Some(about.settings.epoch),
    };
    wire::scheduler::Event {
        subscribed: Some(Box::new(subscribed)),
        ..bare(Type::Subscribed)
    }
}

fn inverse_offers(offers: &[InverseOffer]) -> wire::scheduler::Event {
    let inverse_offers = event::InverseOffers {
        inverse_offers: offers.iter().map(Into::into).collect(),
    };
    wire::scheduler::Event {
        inverse_offers: Some(inverse_offers),
        ..bare(Type::InverseOffers)
    }
}

fn rescind_inverse(offer: &OfferId) -> wire::scheduler::Event {
    let rescind = event::RescindInverseOffer {
        inverse_offer_id: offer.into(),
    };
    wire::scheduler::Event {
        rescind_inverse_offer: Some(rescind),
        ..bare(Type::RescindInverseOffer)
    }
}

/// One event, or several of less than [`MAX_PART_BYTES`] each as far as offers can be told apart; all of them encoded.
pub(crate) fn in_parts(event: Bytes) -> Vec<Bytes> {
    if event.len() <= MAX_PART_BYTES {
        return vec![event];
    }
    let read = wire::scheduler::Event::decode(&event[..]).ok();
    let Some(event::Offers { offers }) = read.and_then(|event| event.offers) else {
        return vec![event];
    };
    let mut parts: Vec<event::Offers> = Vec::new();
    let mut room = 0;
    for offer in offers {
        let length = offer.encoded_len();
        match parts.last_mut().filter(|_| length <= room) {
            Some(part) => part.offers.push(offer),
            None => {
                room = MAX_PART_BYTES;
                let offers = vec![offer];
                parts.push(event::Offers { offers });
            }
        }
        room = room.saturating_sub(length);
    }
    let parts = parts.into_iter().map(|offers| {
        let event = wire::scheduler::Event {
            offers: Some(offers),
            ..bare(Type::Offers)
        };
        event.encode_to_vec().into()
    });
    parts.collect()
}

/// The event that says that nothing happens, encoded.
pub(crate) fn heartbeat() -> Bytes {
    bare(Type::Heartbeat).encode_to_vec().into()
}

/// An event without a part.
fn bare(kind: Type) -> wire::scheduler::Event {
    wire::scheduler::Event {
        r#type: Some(kind.into()),
        ..wire::scheduler::Event::default()
    }
}

/// Something is wrong, in words; encoded.
pub(crate) fn error(message: String) -> Bytes {
    let event = wire::scheduler::Event {
        error: Some(event::Error { message }),
        ..bare(Type::Error)
    };
    event.encode_to_vec().into()
}

/// News of a task: the message as the agent sent it, in the state that the framework understands, and with the reason and the
/// words that the master knows better.
fn update(status: &TaskStatus, original: Option<&[u8]>) -> Bytes {
    const TYPE: u32 = number_of::<wire::scheduler::Event>("type");
    const UPDATE: u32 = number_of::<wire::scheduler::Event>("update");
    const STATUS: u32 = number_of::<event::Update>("status");
    let mut out = Vec::with_capacity(USUAL_UPDATE_BYTES);
    encoded::put_enum(&mut out, TYPE, Type::Update.into());
    let from = encoded::open(&mut out, UPDATE);
    match original {
        Some(came) => status::put_as_it_came(&mut out, STATUS, came, status),
        None => status::put(&mut out, STATUS, status),
    }
    encoded::close(&mut out, from);
    out.into()
}

/// This master as frameworks and tools know it.
pub(crate) fn master_info(about: &About) -> wire::MasterInfo {
    let (ip, port) = (about.address.ip(), about.address.port());
    wire::MasterInfo {
        id: about.settings.incarnation.clone(),
        // IPv4 in network byte order, as the field has it; an IPv6 address has no place there.
        ip: match ip {
            IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
            IpAddr::V6(_) => 0,
        },
        port: port.into(),
        pid: Some(format!("master@{}", about.address)),
        hostname: Some(about.hostname.clone()),
        version: Some(MESOS_VERSION.to_owned()),
        address: Some(wire::Address {
            hostname: Some(about.hostname.clone()),
            ip: Some(ip.to_string()),
            port: port.into(),
        }),
        domain: about.settings.domain.as_ref().map(domain_info),
        ..wire::MasterInfo::default()
    }
}
