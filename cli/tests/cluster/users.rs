//! An app whose users are others outside, from REST to the process on the machine, and into it.

use std::fs;

use serde_json::json;

use crate::harness::{Cluster, eventually};
use crate::images::registry;
use crate::inside::exec;

#[tokio::test(flavor = "multi_thread")]
async fn root_of_an_app_is_nobody_on_the_machine_and_is_found_again() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can build containers");
        return;
    }
    let registry = registry().await;
    let environment = [
        ("METE_AGENT_INSECURE_REGISTRY", registry.address()),
        ("METE_AGENT_USER_NAMESPACES", "100000:65536"),
    ];
    let mut cluster = Cluster::start_with(&["--agents", "1"], &environment).await;
    let app = json!({
        "id": "/mapped",
        "cmd": "echo x > kept; exec busybox sleep 1000",
        "cpus": 0.05,
        "mem": 32,
        "container": { "type": "MESOS", "docker": { "image": registry.image() } }
    });

    cluster.ok("POST", "/v2/apps", Some(&app)).await;
    cluster.healthy("/mapped").await;

    let task = cluster.tasks("/mapped").await.remove(0);
    let pid = cluster.task_pid(&task).await;
    let of = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).expect("it runs");
    let map: Vec<_> = of("uid_map")
        .split_ascii_whitespace()
        .map(str::to_owned)
        .collect();
    assert_eq!(map, ["0", "100000", "65536"]);
    let status = of("status");
    assert!(
        status.contains("Uid:\t100000\t100000\t100000\t100000"),
        "{status}"
    );
    cluster.kill("agent-1").await;
    let url = format!("{}/state", cluster.url("agent-1"));
    eventually("the agent is back", async || {
        let (status, state) = cluster.call("GET", &url, None).await;
        (status == 200 && state["registered"] == true).then_some(())
    })
    .await;
    let id = task["id"].as_str().expect("an id");
    let line = "busybox id -u; busybox stat -c %u /bin/busybox kept";
    let said = exec(&cluster, id, &["/bin/sh", "-c", line]);
    let stdout = String::from_utf8_lossy(&said.stdout);
    assert_eq!(stdout, "0\n0\n0\n", "{said:?}");

    cluster
        .ok("DELETE", "/v2/apps/mapped?force=true", None)
        .await;
    eventually("the process is gone", async || {
        (!fs::exists(format!("/proc/{pid}")).expect("seen")).then_some(())
    })
    .await;
    cluster.down().await;
    let mounts = fs::read_to_string("/proc/self/mounts").expect("there");
    let place = cluster.state_dir().display().to_string();
    assert!(!mounts.contains(&place), "mounts are left: {mounts}");
}
