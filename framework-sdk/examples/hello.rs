//! A whole framework: it runs one task that says hello, and leaves. `hello [http://master:5050]`
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what later versions tell besides is not needed here"
)]

use mete_framework_sdk::matching::{self, WaitingTask};
use mete_framework_sdk::{Connection, Event, Filters, Framework, FrameworkSpec, Task, TaskState};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = std::env::args().nth(1);
    let master = given.or_else(|| std::env::var("METE_MASTER").ok());
    let master = master.unwrap_or_else(|| "http://127.0.0.1:5050".to_owned());

    let mut framework = Framework::connect(Connection::to(&master)?, FrameworkSpec::new("hello"));
    let client = framework.client();
    let task = Task::shell("hello-1", "echo hello from $MESOS_TASK_ID")?;
    let mut waiting = vec![WaitingTask::new(task.cpus_milli(100).mem_mb(32))];
    client.demand_for(&waiting);
    let mut end = None;
    while let Some(event) = framework.next().await {
        match event {
            Event::Offers(offers) => {
                let plan = matching::plan(waiting, &offers);
                waiting = plan.carry_out(&client, Filters::default());
            }
            Event::Update(status) => {
                println!("{} is {}", status.task, status.state);
                if status.state.is_terminal() {
                    end = Some(status.state);
                    client.teardown()?;
                }
            }
            Event::Disconnected { reason } => eprintln!("no master: {reason}"),
            Event::Error(text) => return Err(text.into()),
            _ => {}
        }
    }
    if end == Some(TaskState::Finished) {
        Ok(())
    } else {
        Err("the task did not finish".into())
    }
}
