//! What is: one file per noun. They do not know each other; a transition joins them.

pub(crate) mod custom_executors; // Starting · Awaited · Subscribed · Ending
pub(crate) mod disk; // how full the work directory's disk is
pub(crate) mod executors; // what tasks of groups have in common
pub(crate) mod link; // with or without a master
pub(crate) mod past; // what is over, the last of it
pub(crate) mod probes; // counts per health check
pub(crate) mod sandboxes; // what ended tasks left behind
pub(crate) mod standing; // what the master has made of the agent
pub(crate) mod tasks; // Accepted · Starting · Running · Killing · Ended
pub(crate) mod turns; // whose report the stream to the master is given next
pub(crate) mod updates; // per task a queue of reports, one in flight
pub(crate) mod volumes; // persistent volumes: kept, to be erased
