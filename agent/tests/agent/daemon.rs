//! The whole agent: real store, real port, real tasks, and a master that is the test.

mod busy; // what cannot be removed at first
mod changed; // another configuration
mod chaos; // tasks and agent killed at random
mod contained; // tasks in containers
mod devices; // GPUs as they were given
mod disks; // what tasks take of the disk
mod engine; // tasks on a Docker Engine
mod engine_sessions; // commands inside their containers
mod executors; // of frameworks' own, as they were written for Mesos
mod faults; // crashes, two agents, a full disk, a silent master
mod files; // sandboxes over HTTP
mod group_networks; // on the bridge and on networks by name
mod groups; // tasks that share, begin in order, end together
mod images; // images over HTTP
mod killed; // an agent as a process, and what it leaves
mod life; // from launch to acknowledgement
mod limits; // what tasks may have beyond what they ask for
mod logins; // that tasks fetch, at a real registry
mod master; // a master that says what the test wants
mod nested; // sessions over HTTP
mod networks; // containers on a bridge
mod privileged; // as good as root, where the operator allows it
mod questions; // what tools ask
mod runtime; // an agent whose containers a runtime builds
mod sessions; // commands inside tasks, what tasks print
mod stages; // killed at each stage of a launch
mod terminals; // of tasks' own programs
mod users; // users of containers that are others outside
mod volumes; // written, read, erased
mod world; // an agent in a directory of its own
