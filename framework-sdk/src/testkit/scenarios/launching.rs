//! Tasks that run, and tasks that cannot.

use mete_model::{Resources, TaskState};

use super::Stage;
use super::watcher::{FOR_LONG, NO_FILTER, Watcher, by_executor, id, task};
use crate::FrameworkSpec;

const STARTED: [TaskState; 2] = [TaskState::Starting, TaskState::Running];

/// A whole life, each report acknowledged; what the task used is offered again when it is over.
pub async fn a_task_starts_runs_and_finishes(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario");
    let mut watcher = Watcher::running(&stage.master_address(), spec).await;

    stage.finish_task(&id("t-1"), TaskState::Finished).await;
    watcher.state("t-1", TaskState::Finished).await;
    watcher.offers().await;

    let mut expected = vec![
        "subscribed".to_owned(),
        "offer agent-1 cpus:4; mem:1024".to_owned(),
    ];
    let states = [TaskState::Starting, TaskState::Running, TaskState::Finished];
    expected.extend(by_executor("t-1", &states));
    expected.push("offer agent-1 cpus:4; mem:1024".to_owned());
    assert_eq!(watcher.seen(), expected);
}

/// Several offers of one agent are one; several tasks share them, and the rest is offered again.
pub async fn tasks_share_offers_of_one_agent(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario");
    let mut watcher = Watcher::running(&stage.master_address(), spec).await;
    watcher.client.revive().expect("connected");
    let mut offers = watcher.offers().await;
    stage.finish_task(&id("t-1"), TaskState::Finished).await;
    watcher.state("t-1", TaskState::Finished).await;
    offers.extend(watcher.offers().await);
    watcher.seen();

    let tasks = [task("t-2", 3_500), task("t-3", 250)];
    watcher
        .client
        .accept(&offers, tasks, NO_FILTER)
        .expect("connected");
    watcher.state("t-3", TaskState::Running).await;
    watcher.barrier().await;

    let seen = watcher.seen();
    assert_eq!(seen[0], "offer agent-1 cpus:0.25; mem:896");
    for name in ["t-2", "t-3"] {
        let mut its = seen.clone();
        its.retain(|line| line.starts_with(name));
        assert_eq!(its[0], by_executor(name, &STARTED)[0], "{seen:#?}");
    }
}

/// KILL ends a task; of one that nobody knows, an update tells.
pub async fn a_killed_task_ends(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario");
    let mut watcher = Watcher::running(&stage.master_address(), spec).await;
    watcher.seen();

    watcher
        .client
        .kill(&id("t-1"), None, None)
        .expect("connected");
    watcher.state("t-1", TaskState::Killed).await;
    watcher.offers().await;
    watcher
        .client
        .kill(&id("t-9"), None, None)
        .expect("connected");
    watcher.state("t-9", TaskState::Unknown).await;

    let mut expected = by_executor("t-1", &[TaskState::Killed]);
    expected.push("offer agent-1 cpus:4; mem:1024".to_owned());
    expected.push("t-9 TASK_UNKNOWN SOURCE_MASTER REASON_RECONCILIATION".to_owned());
    assert_eq!(watcher.seen(), expected);
}

/// Tasks on an offer that is not on the table any more are dropped; what runs is not touched.
pub async fn a_used_offer_cannot_be_used_again(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    let client = watcher.client.clone();
    client
        .accept(&offers, [task("t-1", 1_000)], FOR_LONG)
        .expect("connected");
    watcher.state("t-1", TaskState::Running).await;
    watcher.seen();

    client
        .accept(&offers, [task("t-2", 1_000)], FOR_LONG)
        .expect("connected");
    watcher.state("t-2", TaskState::Dropped).await;
    client.reconcile([(&id("t-1"), None)]).expect("connected");
    watcher.state("t-1", TaskState::Running).await;

    let expected = [
        "t-2 TASK_DROPPED SOURCE_MASTER REASON_INVALID_OFFERS",
        "t-1 TASK_RUNNING SOURCE_MASTER REASON_RECONCILIATION on agent-1",
    ];
    assert_eq!(watcher.seen(), expected);
}

/// An offer is for the one it was made to.
pub async fn an_offer_to_another_framework_cannot_be_used(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let (mut owner, offers) = Watcher::offered(&stage.master_address()).await;
    let mut thief = Watcher::connect(&stage.master_address(), FrameworkSpec::new("thief"));
    thief.until("SUBSCRIBED", |_| true).await;
    thief.seen();

    thief
        .client
        .accept(&offers, [task("t-1", 1_000)], FOR_LONG)
        .expect("connected");
    thief.state("t-1", TaskState::Dropped).await;
    owner
        .client
        .accept(&offers, [task("t-1", 1_000)], FOR_LONG)
        .expect("connected");
    owner.state("t-1", TaskState::Running).await;

    let dropped = "t-1 TASK_DROPPED SOURCE_MASTER REASON_INVALID_OFFERS";
    assert_eq!(thief.seen()[0], dropped);
}

/// A task id names one task at a time, until its end is acknowledged.
pub async fn a_task_id_in_use_is_refused_and_free_afterwards(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario");
    let mut watcher = Watcher::running(&stage.master_address(), spec).await;
    let client = watcher.client.clone();
    client.revive().expect("connected");
    let offers = watcher.offers().await;
    watcher.seen();

    client
        .accept(&offers, [task("t-1", 1_000)], NO_FILTER)
        .expect("connected");
    watcher.state("t-1", TaskState::Error).await;
    let offers = watcher.offers().await;
    let refused = watcher.seen();
    stage.finish_task(&id("t-1"), TaskState::Failed).await;
    watcher.state("t-1", TaskState::Failed).await;
    watcher.barrier().await; // By now the end is acknowledged.
    client
        .accept(&offers, [task("t-1", 2_000)], FOR_LONG)
        .expect("connected");
    watcher.state("t-1", TaskState::Running).await;

    let error = "t-1 TASK_ERROR SOURCE_MASTER REASON_TASK_INVALID on agent-1";
    assert_eq!(refused, [error, "offer agent-1 cpus:3; mem:960"]);
    let mut again = watcher.seen();
    again.retain(|line| line.starts_with("t-1"));
    let states = [TaskState::Failed, TaskState::Starting, TaskState::Running];
    assert_eq!(again, by_executor("t-1", &states));
}

/// Nobody gets more than was offered, and what was offered is offered again.
pub async fn a_task_beyond_its_offer_is_refused(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    watcher.seen();

    let tasks = [
        task("t-1", 4_001),
        task("t-2", 0).resources(Resources::none()),
    ];
    watcher
        .client
        .accept(&offers, tasks, NO_FILTER)
        .expect("connected");
    watcher.state("t-2", TaskState::Error).await;
    watcher.offers().await;

    let expected = [
        "t-1 TASK_ERROR SOURCE_MASTER REASON_TASK_INVALID on agent-1",
        "t-2 TASK_ERROR SOURCE_MASTER REASON_TASK_INVALID on agent-1",
        "offer agent-1 cpus:4; mem:1024",
    ];
    assert_eq!(watcher.seen(), expected);
}
