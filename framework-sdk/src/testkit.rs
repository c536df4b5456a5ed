//! A master in memory, for tests of frameworks: a real gRPC server on a loopback port, with agents that are no more than
//! their resources.
//!
//! By default everybody cooperates: agents that the test adds are offered in fair order, accepted tasks become
//! TASK_STARTING and TASK_RUNNING, killed ones TASK_KILLED, and updates are repeated until they are acknowledged. How
//! tasks end, which offers are withdrawn, who is refused or cut off, when the master falls silent: all that is said by
//! the test. What frameworks call is recorded, in words of the model.
//!
//! ```
//! use mete_framework_sdk::testkit::{Call, Master};
//! use mete_framework_sdk::{Connection, Event, Filters, Framework, FrameworkSpec, Resources, Task, TaskState};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let master = Master::start().await?;
//! master.add_agent(Resources::cpus_mem(4_000, 1_024));
//!
//! let mut framework = Framework::connect(Connection::to(&master.address())?, FrameworkSpec::new("tested"));
//! let client = framework.client();
//! let mut states = Vec::new();
//! while let Some(event) = framework.next().await {
//!     match event {
//!         Event::Offers(offers) if states.is_empty() => {
//!             let task = Task::shell("t-1", "never run")?.cpus_milli(500).mem_mb(64);
//!             client.accept(&offers, [task], Filters::default())?;
//!         }
//!         Event::Update(status) => {
//!             if status.state == TaskState::Running {
//!                 master.finish(&status.task, TaskState::Failed); // What does the framework make of that?
//!             }
//!             states.push(status.state);
//!             if status.state.is_terminal() {
//!                 break;
//!             }
//!         }
//!         _ => {}
//!     }
//! }
//! framework.close().await;
//!
//! assert_eq!(states, [TaskState::Starting, TaskState::Running, TaskState::Failed]);
//! let acknowledged = |call: &Call| matches!(call, Call::Acknowledge { .. });
//! assert_eq!(master.calls().iter().filter(|heard| acknowledged(&heard.call)).count(), 3);
//! # Ok(())
//! # }
//! ```
//!
//! It makes offers with the allocator of the real master, gives out ids of the same form, and answers in the same states
//! and reasons: one suite of scenarios runs against both.

mod agents; // what agents do: run tasks, report, go and come back
mod answers; // what a call leads to
mod calls; // what a framework has said, typed
mod groups; // tasks that are launched together
mod master; // the master as the test sees it
mod messages; // what is said, as it goes over the network
mod offers; // what is free, what is on the table
#[doc(hidden)]
pub mod scenarios; // what a framework sees of any master
mod server; // streams in, streams out, and the clock
mod state; // all that the master knows
mod tasks; // a task and its reports

use std::time::Duration;

use mete_model::{Attributes, Endpoint, FaultDomain, Resources};
use mete_placement::AgentFacts;

pub use calls::{BadGroup, BadTask, Call, Received};
pub use master::Master;
pub use mete_model::{AttributeValue, FrameworkInfo, TaskGroup, TaskSpec};

/// How a master is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port on 127.0.0.1; 0, the default: any that is free.
    pub port: u16,
    /// From one heartbeat to the next; 1 s by default. Frameworks wait for three.
    pub heartbeat: Duration,
    /// An update that is not acknowledged is sent again after this; 1 s by default.
    pub repeat_updates: Duration,
    /// Whether agents do what they are told; true by default. If not, launched and killed tasks stay as they are until
    /// [`Master::report`].
    pub cooperative: bool,
    /// When set, frameworks must present this bearer token.
    pub token: Option<String>,
    /// Comes with SUBSCRIBED; frameworks do not obey a master of an older epoch than they have seen. 1 by default.
    pub epoch: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            heartbeat: Duration::from_secs(1),
            repeat_updates: Duration::from_secs(1),
            cooperative: true,
            token: None,
            epoch: 1,
        }
    }
}

/// An agent to be offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// All it has.
    pub resources: Resources,
    /// Where it is said to be; nothing listens there.
    pub endpoint: Endpoint,
    /// What constraints may ask for.
    pub attributes: Attributes,
    /// Region and zone.
    pub domain: Option<FaultDomain>,
}

impl Agent {
    /// What an allocator needs to know of it.
    fn facts(&self) -> AgentFacts {
        AgentFacts {
            total: self.resources.clone(),
            attributes: self.attributes.clone(),
            hostname: self.endpoint.hostname.clone(),
            domain: self.domain.clone(),
        }
    }
}

/// An agent on `localhost` without attributes.
impl From<Resources> for Agent {
    fn from(resources: Resources) -> Self {
        Self {
            resources,
            endpoint: Endpoint {
                hostname: "localhost".to_owned(),
                ip: "127.0.0.1".to_owned(),
                port: 5_051, // The default of agents.
            },
            attributes: Attributes::new(),
            domain: None,
        }
    }
}

impl Agent {
    /// On another host.
    #[must_use]
    pub fn on_host(mut self, hostname: impl Into<String>) -> Self {
        self.endpoint.hostname = hostname.into();
        self
    }

    /// With an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, text: &str) -> Self {
        self.attributes.set(name, AttributeValue::Text(text.into()));
        self
    }
}

/// How subscriptions are turned down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As by a master that is not ready: worth another try.
    Unavailable(String),
    /// As for a wrong token: for good.
    Unauthenticated(String),
    /// An ERROR event and the end of the stream: for good.
    Error(String),
}
