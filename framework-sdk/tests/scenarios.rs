//! The SDK against the master in memory: what a framework sees, how it comes back, and the examples.

#[path = "scenarios/coming_back.rs"]
mod coming_back; // lost, silent, full, refused: and then?
#[path = "scenarios/examples.rs"]
mod examples; // whole frameworks, as users start them
#[path = "scenarios/kit.rs"]
mod kit; // what a test can make the master do

use std::time::Duration;

use mete_framework_sdk::testkit::scenarios::Stage;
use mete_framework_sdk::testkit::{Master, Options};
use mete_framework_sdk::{Resources, TaskId, TaskState};

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
