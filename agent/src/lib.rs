//! The agent: runs tasks on one machine for a master. What to do is decided in `mete-agent-core`; here it is done, with
//! sockets, disks and processes.
//!
//! ```text
//! master ⇄ master_link ─▶ event loop around the core ─▶ journal (stored) ─▶ hands ─▶ launch ─▶ fetcher, containerizer, shims
//!                               ▲                                             │          probes, sandbox, master_link
//!                               └──────────── what came of it ◀───────────────┘
//! ```
//! It never decides, and holds no timers that do. Tasks are not its children in any way that matters: each has a shim that
//! outlives it. Start with [`run`], then follow an action through `hands`.

pub mod cgroups; // limits and usage of tasks; how all of one is killed
pub mod containerizer; // trait: start, find, kill, usage, destroy; tasks as processes, plain or in containers
pub mod devices; // GPUs as device nodes
pub mod docker; // containers that a Docker Engine makes
pub mod images; // roots of containers: pulled, verified, unpacked, shared, collected
pub mod inventory; // what this machine has for tasks
pub mod probes; // one health probe, run once
pub mod processes; // processes by pid and start time
pub mod sandbox; // working directories of tasks: made, read, removed; the disk below them
pub mod shims; // start a shim, find it again, learn when it ends

pub mod config; // the options
mod disk_watch; // how much of the disk running tasks take
mod equipment; // what tasks are run with, set up and tried
mod executors; // streams to executors of frameworks' own, and their tokens
mod fetcher; // what tasks need, into their sandboxes
mod group_networks; // networks that tasks of groups share
mod grpc; // commands inside tasks, and what tasks print, over gRPC
mod hands; // actions become work
mod http; // state, tasks, sandboxes, metrics
mod journal; // the store, and its reserve
mod launch; // one job per task: sandbox, fetch, start
mod master_link; // the stream to the master
mod named; // which task people mean
mod namespaces; // networks of groups that have a loopback and nothing else
pub mod networks; // networks of containers: bridge, addresses, mapped ports
pub mod oci_runtime; // crun or runc, where containers are built by one
mod output; // what tasks print, followed
mod own_address; // which addresses are the machine's own
pub mod places; // what lies where in the work directory
mod release; // what ended tasks held, removed
pub mod remains; // tasks that a killed agent has left, ended
mod run; // measure, recover, serve, end
mod running; // what runs in a container of its own
mod secrets; // what secrets of tasks hold, in files
mod sessions; // commands that people run inside tasks
mod statistics; // what running tasks use, looked at when asked
mod survivors; // what there still is of the tasks of before
mod tarball; // tar archives, entry by entry
mod task_desk; // what people may ask of a task while they watch it
mod traffic; // what went over the network of a task's own
mod volumes; // directories that outlive tasks

pub use config::Options;
pub use run::{RunError, run, run_with};
