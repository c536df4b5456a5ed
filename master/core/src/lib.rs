//! The part of the master that decides: who may come, who is offered what, which task runs where. No sockets, no disk, no
//! clock, no wire format: see `mete-master` for those.
//!
//! ```text
//! agent      Registered ─▶ Disconnected ─▶ Unreachable        and  Active ─▶ … ─▶ Gone        state/agents.rs
//! framework  Active ◀─▶ Disconnected ─▶ Completed                                             state/frameworks.rs
//! offer      on the table ─▶ taken | handed back | withdrawn | timed out                      state/offers.rs
//! operation  done ─▶ acknowledged                                                             state/operations.rs
//! task       Staging ─▶ Running ─▶ ended ─▶ acknowledged                                      state/tasks.rs
//! ```
//! Start with [`Cluster`] and its `step`, then follow one [`Input`] into `transitions`.

mod cluster; // the whole state, and `step`
mod counters; // what has happened how often
mod effects; // actions and replies
mod input; // all that can happen
mod operations; // RESERVE, CREATE, GROW_VOLUME and the others: what turns into what
mod quantities; // amounts by name, in the words of people
mod registry; // what survives a restart, and each change to it as a value
mod settings; // times and bounds
mod state; // what is: agents, frameworks, offers, tasks
mod transitions; // what happens
mod validate; // offers and tasks against the state: a table of rules
mod view; // what readers see

pub use cluster::Cluster;
pub use counters::Counters;
pub use effects::{
    Action, Event, MessageToAgent, OperationOutcome, OperatorError, Refusal, Reply, Snapshot,
};
pub use input::{
    Accept, AgentOperation, AgentTask, BadGroup, BadTask, Call, ExecutorNews, FromExecutor, Input,
    LinkId, Operation, Registration, RoleQuota, Subscription, TaskName, Update,
};
pub use mete_placement::{Amounts, InverseAnswer, OfferConstraints, Policy, Shape};
pub use operations::{OperationError, OperationKind};
pub use registry::{AgentRecord, BadRecord, Record, Registry};
pub use settings::Settings;
pub use state::agents::{Admission, Agent, Drain, Pace, Reach};
pub use state::executors::{Executor, ExecutorKey};
pub use state::frameworks::{Framework, Life, OfferRules};
pub use state::offers::OpenOffer;
pub use state::operations::{DoneOperation, OperationKey};
pub use state::reports::Report;
pub use state::schedule::{BadMachine, MachineId, Schedule, ScheduleError, Window};
pub use state::tasks::{Kill, Task, TaskBrief};
pub use view::{RoleView, View};
