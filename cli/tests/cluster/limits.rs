//! What an app asks for and what it may have beyond, from REST to the control groups of its container.

use std::fs;

use mete_agent::cgroups::{Cgroups, Hierarchies, Options};
use serde_json::{Value, json};

use crate::harness::Cluster;
use crate::images::registry;

fn possible() -> bool {
    let scope = format!("limits-{}", std::process::id());
    let groups = Cgroups::set_up(&Hierarchies::of_this_host(), Options::new(scope));
    let is_possible = groups.isolation().missing.is_empty();
    if !is_possible {
        eprintln!("skipped: needs control groups: {}", groups.isolation());
    }
    groups.tear_down();
    is_possible
}

/// What stands in a file of the groups a process is in: of version 1 where the machine has the controller there, with
/// its name of version 1, else of version 2.
fn in_groups(pid: u32, controller: &str, names: [&str; 2]) -> String {
    let found = Hierarchies::of_this_host();
    let (root, list, name) = match (found.v1.get(controller), &found.v2) {
        (Some(root), _) => (root, controller, names[0]),
        (None, Some(root)) => (root, "", names[1]),
        (None, None) => panic!("no hierarchy has {controller}"),
    };
    // <number>:<controllers>:<path>
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let mut lines = text.lines().map(|line| line.splitn(3, ':').skip(1));
    let path = lines.find_map(|mut parts| {
        let is_it = parts.next()?.split(',').any(|one| one == list);
        parts.next().filter(|_| is_it)
    });
    let path = path.unwrap_or_else(|| panic!("no group of {controller} in {text}"));
    let file = root.join(path.trim_start_matches('/')).join(name);
    let value = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    value.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_limits_of_an_app_reach_the_control_groups_of_its_container() {
    if !possible() {
        return;
    }
    let registry = registry().await;
    let environment = [("METE_AGENT_INSECURE_REGISTRY", registry.address())];
    let mut cluster = Cluster::start_with(&[], &environment).await;
    let app = json!({
        "id": "/limited",
        "cmd": "exec busybox sleep 1000",
        "cpus": 0.1,
        "mem": 40,
        "resourceLimits": { "cpus": 1.5, "mem": 96 },
        "container": { "type": "MESOS", "docker": { "image": registry.image() } }
    });

    let made = cluster.ok("POST", "/v2/apps", Some(&app)).await;
    cluster.healthy("/limited").await;

    assert_eq!(made["resourceLimits"], json!({ "cpus": 1.5, "mem": 96 }));
    let tasks: Vec<Value> = cluster.tasks("/limited").await;
    let pid = cluster.task_pid(&tasks[0]).await;
    let is_in_container = fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("it runs");
    assert_ne!(
        is_in_container,
        fs::read_link("/proc/self/ns/mnt").expect("there")
    );
    let kept = in_groups(pid, "memory", ["memory.soft_limit_in_bytes", "memory.low"]);
    let most = in_groups(pid, "memory", ["memory.limit_in_bytes", "memory.max"]);
    assert_eq!(
        (kept, most),
        ((40 << 20).to_string(), (96 << 20).to_string())
    );
    let weight = in_groups(pid, "cpu", ["cpu.shares", "cpu.weight"]);
    assert!(["102", "4"].contains(&weight.as_str()), "{weight}");
    let cap = in_groups(pid, "cpu", ["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["150000", "150000 100000"].contains(&cap.as_str()), "{cap}");
    cluster.down().await;
}
