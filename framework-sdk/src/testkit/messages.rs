//! What a master says, as it goes over the network.

use std::collections::BTreeSet;

use mete_model::{AgentId, Capability, FrameworkId, Offer, OfferId, TaskStatus};
use mete_proto::PROTOCOL_VERSION;
use mete_proto::convert::offer;
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::{Event, event};

use super::state::State;

pub(super) fn subscribed(id: &FrameworkId, state: &State) -> Event {
    let master = wire::MasterInfo {
        id: state.incarnation.clone(),
        ip: u32::from_le_bytes([127, 0, 0, 1]), // Octets in the order of the network, as Mesos has it.
        port: state.port.into(),
        hostname: Some("localhost".to_owned()),
        ..wire::MasterInfo::default()
    };
    Event {
        subscribed: Some(Box::new(event::Subscribed {
            framework_id: id.into(),
            heartbeat_interval_seconds: Some(state.options.heartbeat.as_secs_f64()),
            master_info: Some(master),
            protocol_version: Some(PROTOCOL_VERSION),
            master_epoch: Some(state.options.epoch),
            ..event::Subscribed::default()
        })),
        ..of_type(event::Type::Subscribed)
    }
}

pub(super) fn offers(offers: &[Offer], can: &BTreeSet<Capability>) -> Event {
    let offers = offers.iter().map(|offer| offer::to_wire(offer, can));
    Event {
        offers: Some(event::Offers {
            offers: offers.collect(),
        }),
        ..of_type(event::Type::Offers)
    }
}

pub(super) fn rescind(offer: &OfferId) -> Event {
    Event {
        rescind: Some(event::Rescind {
            offer_id: offer.into(),
        }),
        ..of_type(event::Type::Rescind)
    }
}

pub(super) fn update(status: &TaskStatus) -> Event {
    Event {
        update: Some(Box::new(event::Update {
            status: status.into(),
        })),
        ..of_type(event::Type::Update)
    }
}

pub(super) fn failure(agent: &AgentId) -> Event {
    Event {
        failure: Some(event::Failure {
            agent_id: Some(agent.into()),
            ..event::Failure::default()
        }),
        ..of_type(event::Type::Failure)
    }
}

pub(super) fn error(text: &str) -> Event {
    Event {
        error: Some(event::Error {
            message: text.to_owned(),
        }),
        ..of_type(event::Type::Error)
    }
}

pub(super) fn heartbeat() -> Event {
    of_type(event::Type::Heartbeat)
}

fn of_type(kind: event::Type) -> Event {
    let mut event = Event::default();
    event.set_type(kind);
    event
}
