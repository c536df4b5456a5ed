//! The cluster, plain values in, effects compared: one module per noun.

#[path = "cluster/accept.rs"]
mod accept;
#[path = "cluster/agent_life.rs"]
mod agent_life;
#[path = "cluster/drain.rs"]
mod drain;
#[path = "cluster/executors.rs"]
mod executors;
#[path = "cluster/feedback.rs"]
mod feedback;
#[path = "cluster/framework_life.rs"]
mod framework_life;
#[path = "cluster/groups.rs"]
mod groups;
#[path = "cluster/leader_change.rs"]
mod leader_change;
#[path = "cluster/maintenance.rs"]
mod maintenance;
#[path = "cluster/offers.rs"]
mod offers;
#[path = "cluster/reservations.rs"]
mod reservations;
#[path = "cluster/roles.rs"]
mod roles;
#[path = "cluster/sums.rs"]
mod sums;
#[path = "cluster/tasks.rs"]
mod tasks;
#[path = "cluster/world.rs"]
mod world;
