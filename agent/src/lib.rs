//! Shell of a node.

pub mod cgroups; // limits and usage of tasks; how all of one is killed
pub mod containerizer; // trait: start, find, kill, usage, destroy; tasks as plain processes
pub mod inventory; // what this machine has for tasks
pub mod probes; // one health probe, run once
pub mod processes; // processes by pid and start time
pub mod sandbox; // working directories of tasks: made, read, removed; the disk below them
pub mod shims; // start a shim, find it again, learn when it ends
