//! What is: apps with their instances, deployments, the launch queue, proxies, what is to be given back. They do not know each other.

pub mod apps; // what is wanted, what is kept
pub mod containers; // where each container of a pod stands
pub(crate) mod demand; // what waits, as the master is told it
pub mod deployments; // running plans, who locks which app
pub mod groups; // groups of apps, and their former versions
pub mod holdings; // what an instance keeps on its agent: reservations, volumes
pub mod instances; // one copy of an app
pub mod launch_queue; // who waits for an offer; back-off after failures
pub(crate) mod leaving; // agents that drain, and who is still there
pub mod master; // the link to the master
pub(crate) mod probes; // which instance is asked when
pub mod proxies; // who follows the list, and what each has in effect
pub mod releases; // what is held for instances that are no more
pub(crate) mod roles; // in which roles resources are taken
