//! What happens: one file per happening. A transition joins what the state files keep apart.

mod cancel; // a deployment is stopped or undone
mod change; // POST, PUT, PATCH, DELETE, restart, scale
mod container; // a report about a container of a pod
mod deadline; // time alone
mod deploy; // a plan begins, goes on, ends
mod group; // what is wanted of a group → apps and groups that are put or go
mod health; // what a check says
mod kill; // instances are condemned, drained, killed
mod leave; // an agent drains, and what is there moves
mod offers; // match, record, accept; decline the rest
mod probe; // the framework asks instances itself
mod readiness; // instances that a deployment has started say that they are ready
pub mod reconcile; // the link to the master comes and goes; what it is asked
mod recover; // what the store held is taken back
mod removed; // the master has removed us
mod reserved; // what instances hold is kept, used again, given back
mod settle; // what follows from everything else
mod status; // a report about a task
mod wish; // what a change comes down to

pub(crate) use kill::Killing;
