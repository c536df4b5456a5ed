//! What becomes of operations that the framework has given a name.
//!
//! ```text
//! operate ─▶ finished: told until it is acknowledged, after a reconnection too
//!        └─▶ error, dropped: told once; nothing was changed
//! ```

use mete_model::{AgentId, OperationId, Resources, UpdateId};
use mete_proto::convert::{ConvertError, ids, resources};
use mete_proto::mesos::v1 as wire;

/// How an operation stands. More states may come: match with a `_` arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationState {
    /// It is done.
    Finished,
    /// It makes no sense, or its resources do not allow it.
    Error,
    /// It was not tried: its offers were no longer there.
    Dropped,
    /// Nobody knows its name: it was never heard of, or its end was acknowledged.
    Unknown,
    /// The same, and its agent cannot be reached.
    Unreachable,
    /// The same, and its agent is gone for good.
    GoneByOperator,
    /// The same, and its agent has not come back to a new master yet.
    Recovering,
}

/// News of an operation with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationStatus {
    /// Which.
    pub id: OperationId,
    /// On whose resources.
    pub agent: Option<AgentId>,
    /// How it stands.
    pub state: OperationState,
    /// Why, for people.
    pub message: Option<String>,
    /// What the resources have become, when it is finished.
    pub made: Resources,
    /// What an acknowledgement shows; `None`: nobody waits for one.
    pub uuid: Option<UpdateId>,
}

impl OperationStatus {
    /// `None`: of an operation without a name, or in a state that is not known.
    pub(crate) fn read(status: &wire::OperationStatus) -> Result<Option<Self>, ConvertError> {
        let Some(state) = state(status.state()) else {
            return Ok(None);
        };
        let Some(id) = &status.operation_id else {
            return Ok(None);
        };
        let agent = status.agent_id.as_ref().map(AgentId::try_from);
        let uuid = status.uuid.as_ref();
        let uuid = uuid.map(|uuid| ids::update_id("uuid", &uuid.value));
        Ok(Some(Self {
            id: OperationId::try_from(id)?,
            agent: agent.transpose()?,
            state,
            message: status.message.clone(),
            made: resources::from_wire(&status.converted_resources)?,
            uuid: uuid.transpose()?,
        }))
    }
}

const fn state(state: wire::OperationState) -> Option<OperationState> {
    use wire::OperationState as State;
    match state {
        State::OperationFinished => Some(OperationState::Finished),
        State::OperationError | State::OperationFailed => Some(OperationState::Error),
        State::OperationDropped => Some(OperationState::Dropped),
        State::OperationUnknown => Some(OperationState::Unknown),
        State::OperationUnreachable => Some(OperationState::Unreachable),
        State::OperationGoneByOperator => Some(OperationState::GoneByOperator),
        State::OperationRecovering => Some(OperationState::Recovering),
        State::OperationUnsupported | State::OperationPending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_acknowledged_is_told_without_a_uuid() {
        let status = wire::OperationStatus {
            operation_id: Some(wire::OperationId {
                value: "grow".to_owned(),
            }),
            state: wire::OperationState::OperationDropped.into(),
            message: Some("offer 7 has been used".to_owned()),
            ..wire::OperationStatus::default()
        };

        let read = OperationStatus::read(&status).unwrap().unwrap();

        assert_eq!(read.state, OperationState::Dropped);
        assert_eq!(read.id.as_str(), "grow");
        assert_eq!((read.uuid, read.agent), (None, None));
    }

    #[test]
    fn states_of_newer_masters_are_passed_over() {
        let status = wire::OperationStatus {
            operation_id: Some(wire::OperationId {
                value: "grow".to_owned(),
            }),
            state: 4_711,
            ..wire::OperationStatus::default()
        };

        assert_eq!(OperationStatus::read(&status).unwrap(), None);
    }
}
