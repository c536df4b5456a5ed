//! An offer: what one agent has, held for one framework in one role. And its inverse: a framework is asked to leave an
//! agent in time.

use crate::agent::{Endpoint, FaultDomain};
use crate::attributes::Attributes;
use crate::ids::{AgentId, FrameworkId, OfferId};
use crate::resources::Resources;
use crate::role::Role;
use crate::unavailability::Unavailability;

/// Resources of one agent on the table for one framework.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Used once.
    pub id: OfferId,
    /// For whom.
    pub framework: FrameworkId,
    /// On which agent.
    pub agent: AgentId,
    /// Where that agent is.
    pub endpoint: Endpoint,
    /// In which of the framework's roles.
    pub role: Role,
    /// How much.
    pub resources: Resources,
    /// What the agent says of itself.
    pub attributes: Attributes,
    /// Its region and zone, when it is in one.
    pub domain: Option<FaultDomain>,
    /// When the agent will be away, when that is planned.
    pub unavailability: Option<Unavailability>,
}

/// The question to a framework whether it will have left an agent before the agent is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseOffer {
    /// Answered once; from the same numbers as those of offers.
    pub id: OfferId,
    /// Who is asked.
    pub framework: FrameworkId,
    /// Which agent it should leave.
    pub agent: AgentId,
    /// When the agent will be away.
    pub unavailability: Unavailability,
    /// Whether the agent is being drained: it is offered to nobody, and what still runs there is over by then. Else its
    /// machine is planned to be away.
    pub is_draining: bool,
}
