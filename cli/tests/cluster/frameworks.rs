//! Two levels: frameworks of others beside the service framework.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Cluster, web};

/// An example of the SDK, as cargo has built it beside the binary.
fn example(name: &str) -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_mete"));
    let path = beside
        .parent()
        .expect("a directory")
        .join("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} is not built: cargo build --workspace --examples",
        path.display()
    );
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_runs_its_task_and_ends() {
    let cluster = Cluster::start(&[]).await;

    let output = Command::new(example("hello"))
        .arg(cluster.url("master"))
        .output()
        .expect("hello runs");

    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        cluster.logs()
    );
    assert!(said.contains("TASK_FINISHED"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_and_services_share_the_cluster() {
    let cluster = Cluster::start(&[]).await;
    cluster.ok("POST", "/v2/apps", Some(&web(2))).await;
    cluster.healthy("/web").await;

    let output = Command::new(example("batch"))
        .arg(cluster.url("master"))
        .output()
        .expect("batch runs");

    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        cluster.logs()
    );
    println!("{said}");
    cluster.healthy("/web").await;
}
