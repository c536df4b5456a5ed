//! Write a framework for Mete: take offers, launch tasks, hear what becomes of them.
//!
//! ```no_run
//! use mete_framework_sdk::{Connection, Event, Filters, Framework, FrameworkSpec, Resources, Task};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut framework = Framework::connect(Connection::to("http://127.0.0.1:5050")?, FrameworkSpec::new("hello"));
//!     let client = framework.client();
//!     let task = Task::shell("hello-1", "echo hello from $MESOS_TASK_ID")?.cpus_milli(100).mem_mb(32);
//!     let mut waiting = vec![task];
//!     while let Some(event) = framework.next().await {
//!         match event {
//!             Event::Offers(offers) => {
//!                 for offer in offers {
//!                     let fits = waiting.pop_if(|task| offer.resources.contains(task.needs()));
//!                     client.accept([&offer], fits, Filters::default())?;
//!                 }
//!             }
//!             Event::Update(status) => {
//!                 println!("{} is {}", status.task, status.state);
//!                 if status.state.is_terminal() {
//!                     client.teardown()?;
//!                 }
//!             }
//!             Event::Error(text) => return Err(text.into()),
//!             _ => {}
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! The connection is kept for you: when it breaks, [`Event::Disconnected`] tells, the SDK comes back with growing
//! pauses (0.1 to 5 s) and the framework's id, and [`Event::Subscribed`] tells that it is there again. A master that is
//! silent for three heartbeats, or takes no calls, counts as gone. Calls made in between fail with
//! [`CallError::NotConnected`]; nothing is queued behind your back, but what you wish for good is remembered: to be
//! suppressed, a demand, a teardown.
//!
//! Status updates are acknowledged by themselves when the next event is asked for, so what you do with an update
//! before that is done before it counts as heard. Those who store updates first say
//! [`FrameworkSpec::explicit_acknowledgements`] and call [`Client::acknowledge`]. The same holds for operations that were
//! given a name ([`Operation::named`]) and [`Client::acknowledge_operation`].
//!
//! Which task goes onto which offer is for you to say; [`matching`] does it well. Say what waits
//! ([`Client::demand_for`]) and the master offers what fits; a framework that says nothing is offered whole machines.
//! Where no offers come, [`Client::explain`] asks the master why. Test your framework against [`testkit::Master`], a master
//! in memory that offers what the test says.

mod ask; // a question to the operator service of a master
mod calls; // what a framework can ask for
mod client; // a framework as a stream of events
mod connection; // where the masters are, and who we are
pub mod demand; // what waits, as the master is told it
mod events; // what a framework hears
pub mod explain; // why a framework waits, as the master says it
mod feedback; // what becomes of operations with a name
mod group; // tasks that start together
mod keeper; // the connection: subscribe, follow, come back
mod launch; // a task, built step by step
pub mod matching; // waiting tasks × offers: what runs where
mod operation; // what can be done with offers
pub mod reserved; // what is reserved under a framework's label
mod scheduler; // callbacks, for those who like them
pub mod testkit; // a master in memory, for tests

pub use calls::{CallError, Client, Filters};
pub use client::Framework;
pub use connection::{BadAddress, Connection, FrameworkSpec};
pub use events::{Event, MasterAddress};
pub use feedback::{OperationState, OperationStatus};
pub use group::Group;
pub use launch::{Task, TaskPort};
pub use operation::{Operation, Order};
pub use scheduler::{Scheduler, run};

pub use mete_model::{
    AgentId, Attributes, BadId, Capability, CheckAnswer, CommandSpec, ContainerSpec, Endpoint,
    ExecutorId, FaultDomain, FetchUri, FrameworkId, HealthCheck, InverseOffer, Offer, OfferId,
    OperationId, Probe, Program, Question, Ranges, Reason, Resources, Role, Source, TaskCheck,
    TaskId, TaskState, TaskStatus, Timestamp, Unavailability, UpdateId,
};
