//! What tasks take of the disk is measured, and bounded where the operator wants it.

use std::time::Duration;

use mete_model::{Limitation, Reason, TaskSpec, TaskState};
use serde_json::Value;

use super::master::{Master, task};
use super::volumes::volume;
use super::world::{Work, json};
use crate::support::soon;

const OFTEN: &str = "--container-disk-watch-interval=50ms";

/// A task that asks for 8 MB, and for a volume of as much, and fills both.
fn filling(sandbox: &str, kept: &str) -> TaskSpec {
    let line = format!(
        "head -c {sandbox} /dev/zero > big; head -c {kept} /dev/zero > kept/big; exec sleep 1000"
    );
    let mut spec = task("t", &line);
    spec.resources.disk_milli = 8_000;
    spec.resources.add(&volume("prod", "kept", false));
    spec
}

/// The statistics of the one task, once they are as wanted.
async fn statistics(port: i32, wanted: impl Fn(&Value) -> bool) -> Value {
    soon(async {
        loop {
            let (_, all) = json(port, "/monitor/statistics", &[]).await;
            let one = all[0]["statistics"].clone();
            if wanted(&one) {
                return one;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn what_sandbox_and_volumes_take_of_the_disk_is_told_and_bounds_nothing_by_itself() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[OFTEN]);
    let (mut link, register) = master.admit().await;

    link.run(&filling("12582912", "3145728")).await;
    link.until(TaskState::Running).await;
    let used = |one: &Value| one["disk_used_bytes"].as_u64() >= Some(12 << 20);
    let kept = |one: &Value| one["disk_statistics"][0]["used_bytes"].as_u64() >= Some(3 << 20);
    let port = register.agent_info.port();
    let one = statistics(port, |one| used(one) && kept(one)).await;

    assert_eq!(one["disk_limit_bytes"], 8 << 20);
    let volume = &one["disk_statistics"][0];
    assert_eq!(volume["persistence"]["id"], "data");
    assert_eq!(volume["limit_bytes"], 8 << 20);
}

#[tokio::test]
async fn a_task_that_takes_more_of_the_disk_than_it_asked_for_ends_where_that_is_wanted() {
    for (sandbox, kept, what) in [
        ("12582912", "1", "its sandbox takes"),
        ("1", "12582912", "its volume data takes"),
    ] {
        let mut master = Master::start().await;
        let work = Work::new();
        let _agent = work.start(master.address, &[OFTEN, "--enforce-container-disk-quota"]);
        let (mut link, _) = master.admit().await;

        link.run(&filling(sandbox, kept)).await;
        let failed = link.until(TaskState::Failed).await;

        assert_eq!(failed.reason, Some(Reason::ContainerLimitationDisk));
        assert_eq!(failed.limitation, Some(Limitation::Disk(8 << 20)));
        let message = failed.message.unwrap();
        assert!(message.starts_with(what), "{message}");
    }
}
