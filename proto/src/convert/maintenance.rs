//! When machines are away, and the offers that ask to leave them.

use mete_model::{InverseOffer, Unavailability};

use super::{ConvertError, Within as _, duration_info, duration_of, moment_of, time_info};
use crate::mesos::v1 as wire;

/// A span of time in which a machine is away.
pub fn to_wire(plan: Unavailability) -> wire::Unavailability {
    wire::Unavailability {
        start: time_info(plan.start),
        duration: plan.duration.map(duration_info),
    }
}

/// The same, read.
///
/// # Errors
/// When it begins before 1970 or takes less than no time.
pub fn from_wire(plan: &wire::Unavailability) -> Result<Unavailability, ConvertError> {
    let duration = plan.duration.map(|span| duration_of("duration", span));
    Ok(Unavailability {
        start: moment_of("start", plan.start)?,
        duration: duration.transpose()?,
    })
}

impl From<&InverseOffer> for wire::InverseOffer {
    fn from(offer: &InverseOffer) -> Self {
        Self {
            id: (&offer.id).into(),
            framework_id: (&offer.framework).into(),
            agent_id: Some((&offer.agent).into()),
            unavailability: to_wire(offer.unavailability),
            draining: offer.is_draining.then_some(true),
            ..Self::default()
        }
    }
}

impl TryFrom<&wire::InverseOffer> for InverseOffer {
    type Error = ConvertError;
    fn try_from(offer: &wire::InverseOffer) -> Result<Self, ConvertError> {
        let agent = offer.agent_id.as_ref();
        let agent = agent.ok_or_else(|| ConvertError::missing("agent_id"))?;
        Ok(Self {
            id: (&offer.id).try_into().within("id")?,
            framework: (&offer.framework_id).try_into().within("framework_id")?,
            agent: agent.try_into().within("agent_id")?,
            unavailability: from_wire(&offer.unavailability).within("unavailability")?,
            is_draining: offer.draining.unwrap_or_default(),
        })
    }
}
