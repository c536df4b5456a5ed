//! What masters and agents of Mete can do, in the words of Mesos.

use crate::mesos::v1::agent_info::capability::Type as AgentCapability;

/// Every master.
pub const MASTER_CAPABILITIES: [&str; 3] = ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"];

/// Every agent.
pub const AGENT_CAPABILITIES: [AgentCapability; 7] = [
    AgentCapability::MultiRole,
    AgentCapability::HierarchicalRole,
    AgentCapability::ReservationRefinement,
    AgentCapability::ResizeVolume,
    AgentCapability::AgentOperationFeedback,
    AgentCapability::AgentDraining,
    AgentCapability::TaskResourceLimits,
];
