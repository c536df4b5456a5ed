//! The SDK against the master in memory: what a framework sees, how it comes back, and the examples.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "a test waits for one event among many"
)]

#[path = "scenarios/coming_back.rs"]
mod coming_back; // lost, silent, full, refused: and then?
#[path = "scenarios/demand.rs"]
mod demand; // what waits, told once a turn
#[path = "scenarios/examples.rs"]
mod examples; // whole frameworks, as users start them
#[path = "scenarios/explain.rs"]
mod explain; // who can ask why
#[path = "scenarios/kit.rs"]
mod kit; // what a test can make the master do
#[path = "scenarios/styles.rs"]
mod styles; // callbacks, streams

use std::time::Duration;

use mete_framework_sdk::testkit::scenarios::Stage;
use mete_framework_sdk::testkit::{Master, Options};
use mete_framework_sdk::{
    Connection, Event, Framework, FrameworkId, FrameworkSpec, Resources, TaskId, TaskState,
    TaskStatus,
};
use tokio::time::timeout;

/// Far longer than anything on one machine takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A framework whose tasks outlive a broken connection.
fn patient() -> FrameworkSpec {
    FrameworkSpec::new("tested").failover_timeout(Duration::from_secs(3_600))
}

/// A framework that `master` has let in.
async fn until_subscribed(master: &Master, spec: FrameworkSpec) -> (Framework, FrameworkId) {
    let connection = Connection::to(&master.address()).expect("an address");
    let mut framework = Framework::connect(connection, spec);
    match next(&mut framework).await {
        Event::Subscribed { framework: id, .. } => (framework, id),
        other => panic!("{other:?} instead of SUBSCRIBED"),
    }
}

/// The next event, which there must be.
async fn next(framework: &mut Framework) -> Event {
    let event = timeout(PATIENCE, framework.next()).await;
    event
        .expect("it comes in time")
        .expect("the stream goes on")
}

/// Why the connection was lost.
async fn until_disconnected(framework: &mut Framework) -> String {
    loop {
        if let Event::Disconnected { reason } = next(framework).await {
            return reason;
        }
    }
}

/// The next update of that state.
async fn until_update(framework: &mut Framework, state: TaskState) -> TaskStatus {
    loop {
        match next(framework).await {
            Event::Update(status) if status.state == state => return status,
            _ => {}
        }
    }
}

/// The master in memory as the stage of the scenarios.
struct InMemory(Master);

impl Stage for InMemory {
    fn master_address(&self) -> String {
        self.0.address()
    }

    async fn add_agent(&mut self, resources: Resources) {
        self.0.add_agent(resources);
    }

    async fn finish_task(&mut self, task: &TaskId, state: TaskState) {
        assert!(self.0.finish(task, state), "{task} runs");
    }
}

async fn in_memory() -> InMemory {
    let options = Options {
        repeat_updates: Duration::from_millis(200),
        ..Options::default()
    };
    InMemory(Master::start_with(options).await.expect("a free port"))
}

mete_framework_sdk::scenario_tests!(in_memory);
