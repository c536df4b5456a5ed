//! Cut off, taken over, torn down.

use std::time::Duration;

use mete_model::{Offer, Resources, TaskState};

use super::Stage;
use super::cable::Cable;
use super::watcher::{Watcher, by_executor, id};
use crate::FrameworkSpec;

fn patient() -> FrameworkSpec {
    FrameworkSpec::new("scenario").failover_timeout(Duration::from_secs(3_600))
}

/// A stream that breaks costs offers, no tasks; and no update is lost.
pub async fn a_framework_that_was_cut_off_comes_back_to_its_tasks(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let cable = Cable::to(&stage.master_address()).await;
    let mut watcher = Watcher::running(&cable.address(), patient()).await;
    watcher.barrier().await;
    watcher.seen();

    cable.cut();
    watcher.offers().await;
    watcher.client.reconcile([]).expect("connected");
    watcher.state("t-1", TaskState::Running).await;
    stage.finish_task(&id("t-1"), TaskState::Finished).await;
    watcher.state("t-1", TaskState::Finished).await;

    let mut expected = vec![
        "disconnected".to_owned(),
        "subscribed again".to_owned(),
        "offer agent-1 cpus:3; mem:960".to_owned(),
        "t-1 TASK_RUNNING SOURCE_MASTER REASON_RECONCILIATION on agent-1".to_owned(),
    ];
    expected.extend(by_executor("t-1", &[TaskState::Finished]));
    assert_eq!(watcher.seen(), expected);
}

/// With a `failover_timeout` of zero tasks end as soon as their framework is away. Its id stays good.
pub async fn a_framework_without_failover_loses_its_tasks_with_its_stream(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario");
    let mut watcher = Watcher::running(&stage.master_address(), spec.clone()).await;
    watcher.barrier().await;
    let framework = watcher.id.clone().expect("subscribed");
    watcher.close().await;

    let (mut other, mut offers) = Watcher::offered(&stage.master_address()).await;
    while total(&offers) != Resources::cpus_mem(4_000, 1_024) {
        offers.extend(other.offers().await); // What the task had comes when its agent is done with it.
    }
    let mut later = Watcher::connect(&stage.master_address(), spec.id(&framework));
    later.until("SUBSCRIBED", |_| true).await;
    later.client.reconcile([]).expect("connected");
    later.barrier().await;

    assert_eq!(later.id, Some(framework));
    assert_eq!(later.seen(), ["subscribed"]);
}

fn total(offers: &[Offer]) -> Resources {
    let mut total = Resources::none();
    for offer in offers {
        total.add(&offer.resources);
    }
    total
}

/// Whoever comes with the id has the tasks; who had it is told, and does not fight back.
pub async fn a_framework_fails_over_to_its_newer_self(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let mut older = Watcher::running(&stage.master_address(), patient()).await;
    older.barrier().await;
    older.seen();
    let framework = older.id.clone().expect("subscribed");

    let mut newer = Watcher::connect(&stage.master_address(), patient().id(&framework));
    newer.offers().await;
    older.end().await;
    newer.client.reconcile([]).expect("connected");
    newer.state("t-1", TaskState::Running).await;
    newer
        .client
        .kill(&id("t-1"), None, None)
        .expect("connected");
    newer.state("t-1", TaskState::Killed).await;

    assert_eq!(older.seen(), ["error Framework failed over", "end"]);
    assert_eq!(newer.id, Some(framework));
    let mut expected = vec![
        "subscribed".to_owned(),
        "offer agent-1 cpus:3; mem:960".to_owned(),
        "t-1 TASK_RUNNING SOURCE_MASTER REASON_RECONCILIATION on agent-1".to_owned(),
    ];
    expected.extend(by_executor("t-1", &[TaskState::Killed]));
    assert_eq!(newer.seen(), expected);
}

/// TEARDOWN ends the stream, the tasks, and the id.
pub async fn a_torn_down_framework_is_gone_for_good(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let mut watcher = Watcher::running(&stage.master_address(), patient()).await;
    watcher.barrier().await;
    watcher.seen();
    let framework = watcher.id.clone().expect("subscribed");

    watcher.client.teardown().expect("connected");
    watcher.end().await;
    let mut again = Watcher::connect(&stage.master_address(), patient().id(&framework));
    again.end().await;
    let (mut other, offers) = Watcher::offered(&stage.master_address()).await;

    assert_eq!(watcher.seen(), ["end"]);
    assert_eq!(again.seen(), ["error Framework has been removed", "end"]);
    assert_ne!(other.id, Some(framework));
    assert!(!offers.is_empty(), "{:?}", other.seen());
}
