//! What the agent decides, asked with plain values: one module per happening.

mod collect; // old sandboxes, a full disk
mod executors; // of frameworks' own: started, told, heard, ended
mod fit; // resources that have changed
mod fixture; // an agent with a master and a memory
mod groups;
mod health; // probes and verdicts
mod kill; // tasks, frameworks, the agent
mod launch; // from the order to the first news
mod link; // with a master, without one
mod recover; // what a restart makes of what it finds
mod reports; // until they are acknowledged
mod volumes; // kept for tasks, erased on order // accepted, begun, ended together
