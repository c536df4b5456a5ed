//! Apps on the bridges of their agents, behind HAProxy: three agents on one machine do not get into each other's way.

use std::collections::BTreeSet;
use std::fs;

use mete_agent::cgroups::scope_of;
use mete_agent::networks::{NetworkOptions, Networks};
use serde_json::{Value, json};

use crate::harness::{Cluster, eventually};
use crate::images::{Registry, registry};

const AGENTS: [&str; 3] = ["agent-1", "agent-2", "agent-3"];

/// Three instances of the image on bridges, one on each agent.
fn app(registry: &Registry) -> Value {
    json!({
        "id": "/bridged",
        "cmd": "exec busybox httpd -f -p 80 -h /www",
        "cpus": 0.05,
        "mem": 32,
        "instances": 3,
        "constraints": [["hostname", "MAX_PER", "1"]],
        "networks": [{ "mode": "container/bridge" }],
        "container": {
            "type": "MESOS",
            "docker": { "image": registry.image() },
            "portMappings": [{ "containerPort": 80, "hostPort": 0, "servicePort": 10_000, "name": "http" }]
        },
        "labels": { "HAPROXY_0_MODE": "http" },
        "healthChecks": [{
            "protocol": "MESOS_HTTP", "path": "/index.html", "portIndex": 0, "delaySeconds": 0,
            "intervalSeconds": 1, "timeoutSeconds": 2, "gracePeriodSeconds": 20, "maxConsecutiveFailures": 3
        }]
    })
}

/// What there is on this machine of the networks of an agent.
fn traces(cluster: &Cluster, agent: &str) -> Vec<String> {
    let work_dir = cluster.state_dir().join(agent);
    let work_dir = work_dir.canonicalize().unwrap_or(work_dir);
    let here = [127, 0, 0, 1].into();
    Networks::new(&scope_of(agent, &work_dir), NetworkOptions::default(), here).traces()
}

/// Address and port of the host of each task, by its id.
fn places(tasks: &[Value]) -> BTreeSet<(String, String, String)> {
    let place = |task: &Value| {
        let address = task["ipAddresses"][0]["ipAddress"].to_string();
        let port = format!(
            "{}:{}",
            task["host"].as_str().unwrap_or_default(),
            task["ports"][0]
        );
        (task["id"].to_string(), address, port)
    };
    tasks.iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_on_bridges_is_served_found_again_and_leaves_nothing() {
    let here = [127, 0, 0, 1].into();
    if let Err(why) = Networks::new("", NetworkOptions::default(), here).bridge() {
        eprintln!("skipped: no bridge: {why}");
        return;
    }
    let registry = registry().await;
    let environment = [("METE_AGENT_INSECURE_REGISTRY", registry.address())];
    let mut cluster = Cluster::start_with(&[], &environment).await;

    cluster.ok("POST", "/v2/apps", Some(&app(&registry))).await;

    cluster.healthy("/bridged").await;
    cluster.haproxy_follows("/bridged", "bridged_10000").await;
    let answer = cluster.through_haproxy(10_000).await;
    assert_eq!(answer.expect("HAProxy passes it on")["app"], "/box");
    let before = places(&cluster.tasks("/bridged").await);
    let addresses: BTreeSet<_> = before.iter().map(|(_, address, _)| address).collect();
    assert_eq!(addresses.len(), 3, "an address each: {before:?}");
    assert!(
        addresses.iter().all(|one| one.starts_with("\"172.31.")),
        "{before:?}"
    );
    for agent in AGENTS {
        // Bridge, link, namespace, table.
        assert_eq!(traces(&cluster, agent).len(), 4, "{agent}");
    }

    for agent in AGENTS {
        cluster.kill(agent).await;
    }
    for agent in AGENTS {
        let url = format!("{}/state", cluster.url(agent));
        eventually("the agent is back", async || {
            let (status, state) = cluster.call("GET", &url, None).await;
            (status == 200 && state["registered"] == true).then_some(())
        })
        .await;
    }
    cluster.healthy("/bridged").await;
    assert_eq!(places(&cluster.tasks("/bridged").await), before);
    for (_, _, place) in &before {
        let url = format!("http://{place}/index.html");
        let (status, page) = cluster.call("GET", &url, None).await;
        assert_eq!((status, &page["app"]), (200, &json!("/box")), "{place}");
    }

    cluster
        .ok("DELETE", "/v2/apps/bridged?force=true", None)
        .await;
    eventually("nothing is left of any network", async || {
        let left: Vec<_> = AGENTS
            .iter()
            .flat_map(|agent| traces(&cluster, agent))
            .collect();
        left.is_empty().then_some(())
    })
    .await;
    cluster.down().await;
    let mounts = fs::read_to_string("/proc/self/mounts").expect("there");
    let place = cluster.state_dir().display().to_string();
    assert!(!mounts.contains(&place), "mounts are left: {mounts}");
}
