//! Apps that belong together, an app on every agent, and an app that waits: as people see them on the command line.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Cluster, eventually, mete};

/// What `mete` printed, which must have done what it should.
pub(crate) async fn done(cluster: &Cluster, arguments: &[&str]) -> String {
    let mut command = mete(arguments);
    command
        .env("METE_SERVICES", cluster.url("services"))
        .env("METE_MASTER", cluster.url("master"));
    let ran = tokio::task::spawn_blocking(move || command.output());
    let output = ran.await.expect("no panic").expect("mete runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn app(id: &str, more: Value) -> Value {
    let mut app = json!({ "id": id, "cmd": "exec sleep 1000", "cpus": 0.05, "mem": 16, "portDefinitions": [] });
    for (key, value) in more.as_object().into_iter().flatten() {
        app[key] = value.clone();
    }
    app
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_starts_in_order_scales_goes_back_and_ends() {
    let mut cluster = Cluster::start(&[]).await;
    let check = json!({ "healthChecks": [{ "protocol": "COMMAND", "command": { "value": "test -e ready" },
        "intervalSeconds": 1, "delaySeconds": 0 }], "cmd": "sleep 2; touch ready; exec sleep 1000" });
    let shop = json!({ "id": "/shop", "groups": [
        { "id": "db", "apps": [app("sql", check)] },
        { "id": "service", "dependencies": ["../db"], "apps": [app("web", json!({ "instances": 2 }))] },
    ] });
    let file = cluster.dir.path().join("shop.json");
    fs::write(&file, shop.to_string()).expect("written");
    let file = file.to_str().expect("text");

    let planned = done(&cluster, &["group", "add", file, "--dry-run"]).await;
    assert!(
        planned.ends_with("3 ScaleApplication /shop/service/web\n"),
        "{planned}"
    );
    done(&cluster, &["group", "add", file]).await;
    cluster.healthy("/shop/service/web").await;

    let started = |task: &Value| task["stagedAt"].as_str().expect("a time").to_owned();
    let db = cluster.tasks("/shop/db/sql").await;
    let healthy = db[0]["healthCheckResults"][0]["firstSuccess"].as_str();
    for web in cluster.tasks("/shop/service/web").await {
        assert!(Some(&*started(&web)) >= healthy, "{web} before {db:?}");
    }
    let shown = done(&cluster, &["group", "show", "/shop"]).await;
    assert!(shown.contains("/shop/service (after /shop/db)"), "{shown}");
    assert!(shown.contains("/shop/service/web × 2"), "{shown}");

    done(&cluster, &["group", "scale", "/shop/service", "2"]).await;
    assert_eq!(cluster.healthy("/shop/service/web").await["instances"], 4);
    cluster.kill("services").await;
    let versions = done(&cluster, &["group", "versions", "/shop"]).await;
    let first = versions.lines().last().expect("a version");
    done(&cluster, &["group", "rollback", "/shop", first]).await;
    assert_eq!(cluster.healthy("/shop/service/web").await["instances"], 2);
    done(&cluster, &["group", "rm", "/shop"]).await;
    eventually("the group is gone", async || {
        let (_, tasks) = cluster.rest("GET", "/v2/tasks", None).await;
        let (status, _) = cluster.rest("GET", "/v2/groups/shop", None).await;
        (tasks["tasks"] == json!([]) && status == 404).then_some(())
    })
    .await;

    cluster.down().await;
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_runs_on_every_agent_and_what_waits_is_told_why() {
    let mut cluster = Cluster::start(&["--agents", "2"]).await;
    let daemon = app("/daemon", json!({ "labels": { "METE_DAEMON": "true" } }));
    cluster.ok("POST", "/v2/apps", Some(&daemon)).await;
    eventually("one runs on each of two agents", async || {
        let tasks = cluster.tasks("/daemon").await;
        let mut hosts: Vec<&str> = tasks
            .iter()
            .filter(|task| task["state"] == "TASK_RUNNING")
            .filter_map(|task| task["host"].as_str())
            .collect();
        hosts.sort_unstable();
        (hosts == ["127.0.0.2", "127.0.0.3"]).then_some(())
    })
    .await;
    let (_, queue) = cluster.rest("GET", "/v2/queue", None).await;
    assert_eq!(queue["queue"], json!([]));

    let big = app("/big", json!({ "cpus": 1_000 }));
    cluster.ok("POST", "/v2/apps", Some(&big)).await;
    let told = eventually("why it waits", async || {
        let told = done(&cluster, &["app", "why", "/big"]).await;
        told.contains("smallest change").then_some(told)
    })
    .await;
    assert!(told.contains("/big: 0 of 1 run"), "{told}");
    assert!(told.contains("1 wait since"), "{told}");
    assert!(told.contains("2 agents"), "{told}");
    let told = done(&cluster, &["app", "why", "/daemon"]).await;
    assert!(told.contains("/daemon: 2 of 2 run"), "{told}");

    let huge = json!({ "id": "/huge", "containers": [{
        "name": "one", "exec": { "command": { "shell": "sleep 1000" } },
        "resources": { "cpus": 1_000, "mem": 32 },
    }] });
    cluster.ok("POST", "/v2/pods", Some(&huge)).await;
    for kind in ["pod", "app"] {
        let told = eventually("why the pod waits", async || {
            let told = done(&cluster, &[kind, "why", "/huge"]).await;
            told.contains("smallest change").then_some(told)
        })
        .await;
        assert!(told.contains("/huge: 0 of 1 run well"), "{told}");
        assert!(told.contains("is under way"), "{told}");
        assert!(told.contains("1 wait since"), "{told}");
    }

    for gone in [
        "/v2/apps/big",
        "/v2/apps/daemon",
        "/v2/pods/huge?force=true",
    ] {
        cluster.ok("DELETE", gone, None).await;
    }
    cluster.down().await;
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}
