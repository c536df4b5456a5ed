//! Write a framework for Mete: take offers, launch tasks, hear what becomes of them.
//!
//! ```no_run
//! use mete_framework_sdk::{Connection, Event, Filters, Framework, FrameworkSpec, Resources, Task};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut framework = Framework::connect(Connection::to("http://127.0.0.1:5050")?, FrameworkSpec::new("hello"));
//!     let client = framework.client();
//!     let need = Resources::cpus_mem(100, 32);
//!     let mut waiting = vec![Task::shell("hello-1", "echo hello from $MESOS_TASK_ID")?];
//!     while let Some(event) = framework.next().await {
//!         match event {
//!             Event::Offers(offers) => {
//!                 for offer in offers {
//!                     let fits = offer.resources.contains(&need);
//!                     let tasks = waiting.pop().filter(|_| fits).map(|task| task.resources(need.clone()));
//!                     client.accept([&offer], tasks, Filters::default())?;
//!                 }
//!             }
//!             Event::Update(status) => {
//!                 println!("{} is {}", status.task, status.state);
//!                 if status.state.is_terminal() {
//!                     client.teardown()?;
//!                 }
//!             }
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The connection is kept for you: when it breaks, [`Event::Disconnected`] tells, the SDK comes back with growing
//! pauses and the framework's id, and [`Event::Subscribed`] tells that it is there again. Calls made in between
//! fail with [`CallError::NotConnected`]; nothing is queued behind your back.
//!
//! Status updates are acknowledged by themselves when the next event is asked for, so what you do with an update
//! before that is done before it counts as heard. Those who store updates first say
//! [`FrameworkSpec::explicit_acknowledgements`] and call [`Client::acknowledge`].

mod calls; // what a framework can ask for
mod client; // the connection: subscribe, follow, come back
mod connection; // where the masters are, and who we are
mod events; // what a framework hears
mod launch; // a task, built step by step
// pub mod matching; // waiting tasks × offers: what runs where
mod scheduler; // callbacks, for those who like them

pub use calls::{CallError, Client, Filters};
pub use client::Framework;
pub use connection::{BadAddress, Connection, FrameworkSpec};
pub use events::{Event, MasterAddress};
pub use launch::{Task, TaskPort};
pub use scheduler::{Scheduler, run};

pub use mete_model::{
    AgentId, Attributes, BadId, Capability, CommandSpec, Endpoint, ExecutorId, FetchUri,
    FrameworkId, HealthCheck, Offer, OfferId, Probe, Program, Ranges, Reason, Resources, Role,
    Source, TaskId, TaskState, TaskStatus, Timestamp, UpdateId,
};
