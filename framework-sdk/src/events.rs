//! What a framework hears, in the words of the model.

use std::time::Duration;

use mete_model::{AgentId, ExecutorId, FrameworkId, InverseOffer, Offer, OfferId, TaskStatus};
use mete_proto::convert::ConvertError;
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::{Event as Message, event};

use crate::feedback::OperationStatus;

/// Where the master that let us in is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MasterAddress {
    /// Its id: new at every start of a master.
    pub id: String,
    /// Its name.
    pub hostname: String,
    /// Its port.
    pub port: u16,
    /// The region it is in, as far as it says.
    pub region: Option<String>,
}

/// Something a framework hears. More kinds may come: match with a `_` arm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The master has let us in, at first or again. All offers from before are void; ask for the state of tasks
    /// with [`reconcile`](crate::Client::reconcile) where it matters.
    Subscribed {
        /// Ours from now on: keep it to come back with.
        framework: FrameworkId,
        /// Who let us in.
        master: MasterAddress,
    },
    /// Resources to take or leave. Each must be answered, by accept or decline: what lies on the table is kept from all
    /// others.
    Offers(Vec<Offer>),
    /// An offer is withdrawn. Tasks launched on it all the same become TASK_DROPPED.
    Rescind(OfferId),
    /// Agents that will be away, as far as planned: the master asks to leave them in time. Answer with
    /// [`accept_inverse`](crate::Client::accept_inverse) or [`decline_inverse`](crate::Client::decline_inverse); nobody is
    /// made to leave by this.
    InverseOffers(Vec<InverseOffer>),
    /// An inverse offer is withdrawn: the plan has changed, or the agent is gone.
    RescindInverse(OfferId),
    /// News of a task. The same news may come more than once: it is repeated until it is acknowledged.
    Update(TaskStatus),
    /// How an operation with a [name](crate::Operation::named) went. The same news may come more than once: it is repeated
    /// until it is acknowledged.
    Operation(OperationStatus),
    /// An agent is lost (`executor` is `None`), or a custom executor has ended with `status`.
    Failure {
        /// Where.
        agent: Option<AgentId>,
        /// Which executor.
        executor: Option<ExecutorId>,
        /// How it ended; -1 when nobody knows.
        status: Option<i32>,
    },
    /// The master refuses something, in words. When the stream ends after it, the framework is refused for good:
    /// no event follows.
    Error(String),
    /// There is no connection: it is lost, or the first attempt to make one failed. Offers are void. The SDK is already
    /// trying again; further failed attempts are not told, [`Subscribed`](Self::Subscribed) is.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
}

/// What the connection makes of a message.
pub(crate) enum Heard {
    /// For the framework.
    Event(Event),
    /// We are in.
    Subscribed {
        /// Our id.
        framework: FrameworkId,
        /// By whom.
        master: MasterAddress,
        /// The master sends a sign of life this often.
        heartbeat: Duration,
        /// Which reign of a master this is; 0 when it does not say.
        epoch: u64,
    },
    /// Nothing but a sign of life.
    Heartbeat,
    /// A kind this version does not know, or does not carry.
    Ignored(i32),
}

/// Without word for this many heartbeats, the connection is taken for dead.
pub(crate) const MISSED_HEARTBEATS: u32 = 3;
/// What Mesos' masters say, for those who say nothing.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(15);
/// Shorter than that is noise of the clock and the network.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(10);
/// With longer ones the silence of a dead master would never be noticed.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3_600);

/// Offers that make no sense are left out and named in the log; the master takes them back in time.
pub(crate) fn read(message: Message) -> Result<Heard, ConvertError> {
    let missing = || ConvertError::missing("event");
    let kind = message.r#type.unwrap_or_default();
    let heard = match message.r#type() {
        event::Type::Subscribed => return subscribed(*message.subscribed.ok_or_else(missing)?),
        event::Type::Heartbeat => Heard::Heartbeat,
        event::Type::Offers => {
            Heard::Event(Event::Offers(offers(message.offers.unwrap_or_default())))
        }
        event::Type::Rescind => Heard::Event(Event::Rescind(OfferId::try_from(
            &message.rescind.ok_or_else(missing)?.offer_id,
        )?)),
        event::Type::InverseOffers => {
            let message = message.inverse_offers.unwrap_or_default();
            Heard::Event(Event::InverseOffers(inverse_offers(message)))
        }
        event::Type::RescindInverseOffer => {
            let rescind = message.rescind_inverse_offer.ok_or_else(missing)?;
            let offer = OfferId::try_from(&rescind.inverse_offer_id)?;
            Heard::Event(Event::RescindInverse(offer))
        }
        event::Type::Update => Heard::Event(Event::Update(TaskStatus::try_from(
            &message.update.ok_or_else(missing)?.status,
        )?)),
        event::Type::Failure => Heard::Event(failure(message.failure.ok_or_else(missing)?)?),
        event::Type::Error => {
            Heard::Event(Event::Error(message.error.ok_or_else(missing)?.message))
        }
        event::Type::UpdateOperationStatus => {
            let update = message.update_operation_status.ok_or_else(missing)?;
            OperationStatus::read(&update.status)?.map_or(Heard::Ignored(kind), |status| {
                Heard::Event(Event::Operation(status))
            })
        }
        event::Type::Unknown | event::Type::Message => Heard::Ignored(kind),
    };
    Ok(heard)
}

fn subscribed(message: event::Subscribed) -> Result<Heard, ConvertError> {
    let heartbeat = message
        .heartbeat_interval_seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|interval| !interval.is_zero())
        .unwrap_or(DEFAULT_HEARTBEAT);
    Ok(Heard::Subscribed {
        framework: FrameworkId::try_from(&message.framework_id)?,
        master: message.master_info.map(address).unwrap_or_default(),
        heartbeat: heartbeat.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT),
        epoch: message.master_epoch.unwrap_or_default(),
    })
}

fn address(info: wire::MasterInfo) -> MasterAddress {
    let ip = std::net::Ipv4Addr::from(info.ip.to_le_bytes()).to_string();
    MasterAddress {
        id: info.id,
        hostname: info.hostname.unwrap_or(ip),
        port: u16::try_from(info.port).unwrap_or_default(),
        region: info.domain.and_then(region),
    }
}

fn region(domain: wire::DomainInfo) -> Option<String> {
    Some(domain.fault_domain?.region.name)
}

fn offers(message: event::Offers) -> Vec<Offer> {
    let read = |offer: &wire::Offer| match Offer::try_from(offer) {
        Ok(offer) => Some(offer),
        Err(error) => {
            tracing::warn!(offer = %offer.id.value, %error, "an offer makes no sense and is left out");
            None
        }
    };
    message.offers.iter().filter_map(read).collect()
}

fn inverse_offers(message: event::InverseOffers) -> Vec<InverseOffer> {
    let read = |offer: &wire::InverseOffer| match InverseOffer::try_from(offer) {
        Ok(offer) => Some(offer),
        Err(error) => {
            tracing::warn!(offer = %offer.id.value, %error, "an inverse offer makes no sense and is left out");
            None
        }
    };
    message.inverse_offers.iter().filter_map(read).collect()
}

fn failure(message: event::Failure) -> Result<Event, ConvertError> {
    Ok(Event::Failure {
        agent: message
            .agent_id
            .as_ref()
            .map(AgentId::try_from)
            .transpose()?,
        executor: message
            .executor_id
            .as_ref()
            .map(ExecutorId::try_from)
            .transpose()?,
        status: message.status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subscribed_with(heartbeat_interval_seconds: Option<f64>) -> Message {
        let subscribed = event::Subscribed {
            framework_id: wire::FrameworkId {
                value: "f".to_owned(),
            },
            heartbeat_interval_seconds,
            ..event::Subscribed::default()
        };
        let mut message = Message {
            subscribed: Some(Box::new(subscribed)),
            ..Message::default()
        };
        message.set_type(event::Type::Subscribed);
        message
    }

    proptest! {
        #[test]
        fn any_heartbeat_interval_leaves_a_patience_that_can_be_waited(seconds in any::<Option<f64>>()) {
            let Ok(Heard::Subscribed { heartbeat, .. }) = read(subscribed_with(seconds)) else {
                return Err(TestCaseError::fail("not subscribed"));
            };

            let patience = heartbeat * MISSED_HEARTBEATS;
            prop_assert!(patience >= Duration::from_millis(30) && patience <= Duration::from_secs(3 * 3_600));
        }
    }

    #[test]
    fn a_message_without_its_part_is_refused_by_kind() {
        for kind in [
            event::Type::Subscribed,
            event::Type::Rescind,
            event::Type::RescindInverseOffer,
            event::Type::Update,
            event::Type::UpdateOperationStatus,
            event::Type::Failure,
            event::Type::Error,
        ] {
            let mut message = Message::default();
            message.set_type(kind);

            assert!(read(message).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn kinds_from_a_newer_master_are_passed_over() {
        let message = Message {
            r#type: Some(4_711),
            ..Message::default()
        };

        assert!(matches!(read(message), Ok(Heard::Ignored(_))));
    }
}
