//! The part of the agent that decides: which task starts, when it is killed, what is reported until it is
//! acknowledged, what a restart makes of what it finds. No sockets, no disk, no clock, no processes: see `mete-agent`
//! for those.
//!
//! Start with [`Node`] and its `step`, then follow one [`Input`] into `transitions`; what there is lies in `state`.

mod counters; // what has happened how often
mod effects; // what follows: messages, launches, kills
pub mod executor_environment; // what tasks and executors find in their environment
mod fit; // is what the agent has enough for the tasks of before?
pub mod image; // what an image says of the program in it
mod input; // all that can happen
mod names; // ids and chances from a seed
mod node; // the whole state, and `step`
mod record; // what outlives a restart, and its bytes
mod state; // what is: link, tasks, executors, frameworks' own executors, reports, probes, sandboxes, what is over, volumes, disk
pub mod task_dir; // layout of one task's directory: the protocol between agent and shim
mod transitions; // what happens: register, run, finish, kill, report, probe, recover, collect

pub use counters::Counters;
pub use effects::{Action, ForExecutor, Outgoing, Registration, Report, StopReason};
pub use input::{
    DiskSpace, Findings, Found, FromExecutor, Input, LaunchOutcome, LaunchStage, Order,
};
pub use node::{Node, Settings, Unaccounted, View};
pub use record::{BadRecord, Record};
pub use state::custom_executors::{CustomExecutor, Ending, ExecutorPhase, ToExecutor};
pub use state::executors::{Executor, ExecutorKey, Group};
pub use state::link::Stage;
pub use state::past::{Past, PastExecutor};
pub use state::sandboxes::{Sandbox, Within};
pub use state::standing::{Drain, Standing};
pub use state::tasks::{Described, Kill, Phase, Task, Why};
pub use state::turns::MAX_GIVEN_REPORTS;
pub use state::volumes::{Volume, VolumePhase};
