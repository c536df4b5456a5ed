//! Updates, acknowledgements, reconciliation.

use mete_model::{Resources, TaskState};

use super::Stage;
use super::watcher::{FOR_LONG, Watcher, by_executor, id, task};
use crate::{Event, FrameworkSpec};

/// Nothing follows an update that is not acknowledged but itself.
pub async fn an_update_comes_again_until_it_is_acknowledged(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario").explicit_acknowledgements();
    let mut watcher = Watcher::connect(&stage.master_address(), spec);
    let client = watcher.client.clone();
    let offers = watcher.offers().await;
    watcher.seen();

    client
        .accept(&offers, [task("t-1", 1_000)], FOR_LONG)
        .expect("connected");
    let first = watcher.state("t-1", TaskState::Starting).await;
    let again = watcher
        .until("an update", |event| matches!(event, Event::Update(_)))
        .await;
    client.acknowledge(&first).expect("connected");
    let running = watcher.state("t-1", TaskState::Running).await;
    let more = watcher
        .until("an update", |event| matches!(event, Event::Update(_)))
        .await;
    client.acknowledge(&running).expect("connected");
    stage.finish_task(&id("t-1"), TaskState::Finished).await;
    watcher.state("t-1", TaskState::Finished).await;

    assert_eq!(again, Event::Update(first), "the very same update");
    assert_eq!(more, Event::Update(running), "the very same update");
    let mut updates = watcher.seen();
    updates.retain(|line| line.starts_with("t-1"));
    let states = [TaskState::Starting, TaskState::Running, TaskState::Finished];
    assert_eq!(updates, by_executor("t-1", &states));
}

/// RECONCILE with tasks: one answer each, none to be acknowledged.
pub async fn the_state_of_a_task_is_told_when_asked_for(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    let client = watcher.client.clone();
    client
        .accept(&offers, [task("t-1", 1_000)], FOR_LONG)
        .expect("connected");
    watcher.state("t-1", TaskState::Running).await;
    watcher.seen();

    let agent = offers[0].agent.clone();
    let asked = [
        (&id("t-1"), Some(&agent)),
        (&id("t-8"), Some(&agent)),
        (&id("t-9"), None),
    ];
    client.reconcile(asked).expect("connected");
    let told = watcher.state("t-9", TaskState::Unknown).await;

    assert_eq!(told.uuid, None);
    let expected = [
        "t-1 TASK_RUNNING SOURCE_MASTER REASON_RECONCILIATION on agent-1",
        "t-8 TASK_GONE SOURCE_MASTER REASON_RECONCILIATION on agent-1",
        "t-9 TASK_UNKNOWN SOURCE_MASTER REASON_RECONCILIATION",
    ];
    assert_eq!(watcher.seen(), expected);
}

/// RECONCILE without tasks: all that are not over.
pub async fn the_states_of_all_tasks_are_told_when_none_is_named(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    let client = watcher.client.clone();
    let tasks = ["t-1", "t-2", "t-3"].map(|name| task(name, 1_000));
    client.accept(&offers, tasks, FOR_LONG).expect("connected");
    let mut to_run = vec!["t-1", "t-2", "t-3"];
    while !to_run.is_empty() {
        let event = watcher
            .until("an update", |event| matches!(event, Event::Update(_)))
            .await;
        if let Event::Update(status) = event
            && status.state == TaskState::Running
        {
            to_run.retain(|name| *name != status.task.as_str());
        }
    }
    stage.finish_task(&id("t-2"), TaskState::Finished).await;
    watcher.state("t-2", TaskState::Finished).await;
    watcher.offers().await;
    watcher.barrier().await; // By now the end is acknowledged.
    watcher.seen();

    client.reconcile([]).expect("connected");
    watcher.barrier().await;

    let expected = ["t-1", "t-3"]
        .map(|name| format!("{name} TASK_RUNNING SOURCE_MASTER REASON_RECONCILIATION on agent-1"));
    assert_eq!(watcher.seen(), expected);
}
