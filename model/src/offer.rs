//! An offer: what one agent has, held for one framework in one role.

use crate::agent::{Endpoint, FaultDomain};
use crate::attributes::Attributes;
use crate::ids::{AgentId, FrameworkId, OfferId};
use crate::resources::Resources;
use crate::role::Role;

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
}
