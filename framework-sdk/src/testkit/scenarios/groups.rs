//! Tasks that are launched together.

use mete_model::{MB_MILLI, Resources, TaskState};

use super::Stage;
use super::watcher::{NO_FILTER, Watcher, id, task};
use crate::Group;

fn with_disk(megabytes: u64) -> Resources {
    let mut all = Resources::cpus_mem(4_000, 1_024);
    all.disk_milli = megabytes * MB_MILLI;
    all
}

fn group(tasks: &[(&str, u64)]) -> Group {
    let group = Group::new("pod").expect("an id");
    let tasks = tasks.iter().map(|(name, milli)| task(name, *milli));
    tasks.fold(group, Group::task)
}

/// What was said of these tasks, in order for each.
fn of_tasks(seen: &[String], names: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for name in names {
        let its = seen.iter().filter(|line| line.starts_with(name));
        lines.extend(its.cloned());
    }
    lines
}

/// All tasks of a group run; what their executor takes is gone from the offers once, and back with the last of them.
pub async fn a_group_runs_and_its_executor_is_accounted_once(mut stage: impl Stage) {
    stage.add_agent(with_disk(100)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    let client = watcher.client.clone();
    watcher.seen();

    let two = group(&[("t-1", 1_000), ("t-2", 500)]);
    client
        .launch_group(&offers, two, NO_FILTER)
        .expect("connected");
    watcher
        .states(&[("t-1", TaskState::Running), ("t-2", TaskState::Running)])
        .await;
    watcher.barrier().await;
    let started = watcher.seen();
    stage.finish_task(&id("t-1"), TaskState::Finished).await;
    watcher.state("t-1", TaskState::Finished).await;
    watcher.barrier().await;
    let one = watcher.seen();
    stage.finish_task(&id("t-2"), TaskState::Finished).await;
    watcher.state("t-2", TaskState::Finished).await;
    watcher.barrier().await;
    let none = watcher.seen();

    let offered = |seen: &[String]| {
        let mut lines = seen.iter().filter(|line| line.starts_with("offer"));
        lines.next_back().cloned().unwrap_or_default()
    };
    // Each task takes 64 MB, the executor 0.01 CPUs, 32 MB and 1 MB of disk.
    assert_eq!(
        offered(&started),
        "offer agent-1 cpus:2.49; mem:864; disk:99"
    );
    assert!(
        one.contains(&"t-1 TASK_FINISHED SOURCE_EXECUTOR on agent-1".to_owned()),
        "{one:#?}"
    );
    assert!(
        none.contains(&"t-2 TASK_FINISHED SOURCE_EXECUTOR on agent-1".to_owned()),
        "{none:#?}"
    );
}

/// One task that asks for too much, and none of its group runs.
pub async fn a_group_of_which_one_task_is_refused_does_not_run(mut stage: impl Stage) {
    stage.add_agent(with_disk(100)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    watcher.seen();

    let two = group(&[("t-1", 1_000), ("t-2", 3_500)]);
    let client = watcher.client.clone();
    client
        .launch_group(&offers, two, NO_FILTER)
        .expect("connected");
    watcher
        .states(&[("t-1", TaskState::Error), ("t-2", TaskState::Error)])
        .await;
    watcher.offers().await;

    let error = "TASK_ERROR SOURCE_MASTER REASON_TASK_GROUP_INVALID on agent-1";
    let expected = [
        format!("t-1 {error}"),
        format!("t-2 {error}"),
        "offer agent-1 cpus:4; mem:1024; disk:100".to_owned(),
    ];
    assert_eq!(watcher.seen(), expected);
}

/// A task that fails ends the others of its group.
pub async fn a_task_that_fails_takes_its_group_along(mut stage: impl Stage) {
    stage.add_agent(with_disk(100)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    let client = watcher.client.clone();
    let two = group(&[("t-1", 1_000), ("t-2", 500)]);
    client
        .launch_group(&offers, two, NO_FILTER)
        .expect("connected");
    watcher
        .states(&[("t-1", TaskState::Running), ("t-2", TaskState::Running)])
        .await;
    watcher.seen();

    stage.finish_task(&id("t-1"), TaskState::Failed).await;
    watcher
        .states(&[("t-1", TaskState::Failed), ("t-2", TaskState::Killed)])
        .await;

    let expected = [
        "t-1 TASK_FAILED SOURCE_EXECUTOR on agent-1",
        "t-2 TASK_KILLED SOURCE_EXECUTOR on agent-1",
    ];
    assert_eq!(of_tasks(&watcher.seen(), &["t-1", "t-2"]), expected);
}
