//! The state of the service framework is lost and put back, while what it runs goes on.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Cluster, alive, eventually, mete, signal, web};
use crate::together::done;

fn ids(tasks: &[Value]) -> Vec<&str> {
    tasks
        .iter()
        .filter_map(|task| task["id"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_adopted_after_the_state_was_lost_and_restored() {
    let cluster = Cluster::start(&[]).await;
    cluster.ok("POST", "/v2/apps", Some(&web(3))).await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    let before = cluster.tasks("/web").await;
    let mut pids = Vec::new();
    for task in &before {
        pids.push(cluster.task_pid(task).await);
    }
    let framework = cluster.ok("GET", "/v2/info", None).await["frameworkId"].clone();
    let file = cluster.dir.path().join("services.backup");
    let file = file.to_str().expect("text");
    let state = cluster.state_dir().join("services");
    let state = state.to_str().expect("text");

    let told = done(&cluster, &["services", "backup", file]).await;
    let id = framework.as_str().expect("an id");
    assert!(told.contains(id), "{told}");
    // Nobody starts it again meanwhile.
    let (up, services) = (cluster.up_pid(), cluster.pid("services"));
    signal(up, Signal::STOP);
    let restore = ["services", "restore", file, "--state-dir", state];
    let refused = mete(&restore).output().expect("mete runs");
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("is not empty"), "{errors}");
    let locked = ["services", "backup", file, "--state-dir", state];
    let locked = mete(&locked).output().expect("mete runs");
    assert_eq!(locked.status.code(), Some(3), "the daemon has it");
    signal(services, Signal::KILL);
    eventually("the end of the service framework", async || {
        (!alive(services)).then_some(())
    })
    .await;
    fs::remove_dir_all(state).expect("removed");
    done(&cluster, &restore).await;
    signal(up, Signal::CONT);
    eventually("the service framework is started again", async || {
        (cluster.pid("services") != services).then_some(())
    })
    .await;
    cluster.healthy("/web").await;

    let after = cluster.tasks("/web").await;
    assert_eq!(ids(&after), ids(&before), "adopted, not replaced");
    assert!(pids.iter().all(|pid| alive(*pid)), "the same processes");
    let again = cluster.ok("GET", "/v2/info", None).await["frameworkId"].clone();
    assert_eq!(again, framework);
    // What was adopted is watched: a death is noticed.
    signal(pids[0], Signal::KILL);
    eventually("the dead one is replaced", async || {
        let now = cluster.tasks("/web").await;
        let now = ids(&now);
        (now.len() == 3 && !now.contains(&ids(&before)[0])).then_some(())
    })
    .await;
}
