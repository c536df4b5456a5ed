//! Checks that the service framework runs itself, through a rolling upgrade; and one of the agent that is for information only.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Cluster, eventually};

/// Two checks of the service framework; ready once somebody has said `POST /fail`.
fn app(colour: &str) -> Value {
    json!({
        "id": "/web", "cmd": "exec mete whoami", "instances": 2, "cpus": 0.1, "mem": 32,
        "env": { "COLOUR": colour },
        "portDefinitions": [{ "port": 10_000, "name": "http-api" }],
        "healthChecks": [
            { "protocol": "HTTP", "path": "/", "intervalSeconds": 2, "timeoutSeconds": 2 },
            { "protocol": "HTTP", "path": "/slow?ms=1", "intervalSeconds": 2, "timeoutSeconds": 2 },
        ],
        "readinessChecks": [{
            "path": "/health", "intervalSeconds": 2, "timeoutSeconds": 1, "httpStatusCodesForReady": [500],
            "preserveLastResponse": true,
        }],
    })
}

fn ids(tasks: &[Value]) -> Vec<String> {
    let ids = tasks.iter().filter_map(|task| task["id"].as_str());
    ids.map(str::to_owned).collect()
}

/// Waits until so many instances have said that they are not ready, both of whose checks have passed; they, by task.
async fn unready(cluster: &Cluster, count: usize) -> Vec<Value> {
    eventually("they are healthy and not ready", async || {
        let (_, answer) = cluster.rest("GET", "/v2/apps/web", None).await;
        let results = answer["app"]["readinessCheckResults"].as_array()?.clone();
        let said = |result: &&Value| {
            result["ready"] == false && result["lastResponse"]["body"] == "healthy\n"
        };
        let asked: Vec<Value> = results
            .iter()
            .filter(said)
            .map(|result| result["taskId"].clone())
            .collect();
        let tasks = answer["app"]["tasks"].as_array()?.iter();
        let are_well = |task: &&Value| {
            let health = task["healthCheckResults"].as_array();
            let health = health.map(Vec::as_slice).unwrap_or_default();
            health.len() == 2 && health.iter().all(|one| one["alive"] == true)
        };
        let waiting = tasks
            .filter(|task| asked.contains(&task["id"]))
            .filter(are_well);
        let waiting: Vec<Value> = waiting.cloned().collect();
        (waiting.len() == count).then_some(waiting)
    })
    .await
}

async fn make_ready(cluster: &Cluster, tasks: &[Value]) {
    for task in tasks {
        let host = task["host"].as_str().expect("a host");
        let url = format!("http://{host}:{}/fail", task["ports"][0]);
        assert_eq!(cluster.call("POST", &url, None).await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_upgrade_waits_until_new_instances_are_well_and_say_that_they_are_ready() {
    let mut cluster = Cluster::start(&[]).await;
    cluster.ok("POST", "/v2/apps", Some(&app("red"))).await;
    let old = unready(&cluster, 2).await;
    let deployments = cluster.ok("GET", "/v2/deployments", None).await;
    let current = &deployments[0]["currentActions"][0];
    assert_eq!(current["readinessCheckResults"][0]["ready"], false);
    assert_eq!(cluster.servers_up("web_10000"), [""; 0]);
    make_ready(&cluster, &old).await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    let served = cluster.servers_up("web_10000");

    cluster.ok("PUT", "/v2/apps/web", Some(&app("blue"))).await;
    let new = unready(&cluster, 2).await;
    assert_eq!(cluster.servers_up("web_10000"), served);
    cluster.kill("services").await;
    let again = unready(&cluster, 2).await;
    assert_eq!(ids(&again), ids(&new), "nothing was started anew");
    assert_eq!(cluster.servers_up("web_10000"), served);
    make_ready(&cluster, &new).await;
    eventually("the upgrade is over", async || {
        let up = cluster.servers_up("web_10000");
        assert!(up.len() >= 2, "only {up:?} serve");
        let tasks = ids(&cluster.tasks("/web").await);
        (tasks == ids(&new)).then_some(())
    })
    .await;

    let app = cluster.healthy("/web").await;
    assert_eq!(app["readinessCheckResults"], json!([]));
    cluster.haproxy_follows("/web", "web_10000").await;
    let (status, _) = cluster.down().await;
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_for_information_is_told_and_kills_nobody() {
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    let mut wanted = json!({
        "id": "/told", "cmd": "echo 0 > code; exec mete whoami --port $PORT0", "cpus": 0.05, "mem": 32,
        "portDefinitions": [{ "port": 0, "name": "http" }],
        "check": { "exec": { "command": { "shell": "exit $(cat code)" } },
            "intervalSeconds": 1, "timeoutSeconds": 5, "delaySeconds": 0 },
    });
    cluster.ok("POST", "/v2/apps", Some(&wanted)).await;
    let told = async |cluster: &Cluster, what: &str, result: Value| {
        eventually(what, async || {
            let task = cluster.tasks("/told").await.into_iter().next()?;
            (task["checkResult"] == result).then_some(task)
        })
        .await
    };
    let first = told(&cluster, "0", json!({ "command": { "exitCode": 0 } })).await;
    let code = Command::new("find")
        .arg(cluster.dir.path())
        .args([
            "-path",
            "*/runs/*",
            "-name",
            "code",
            "-not",
            "-path",
            "*/latest/*",
        ])
        .output()
        .expect("find runs");
    let code = String::from_utf8_lossy(&code.stdout).trim().to_owned();
    std::fs::write(code, "3").expect("written");
    let second = told(&cluster, "3", json!({ "command": { "exitCode": 3 } })).await;
    assert_eq!(
        (&first["id"], &second["state"]),
        (&second["id"], &json!("TASK_RUNNING"))
    );

    // It is known to a new life of the service framework, and of the agent.
    cluster.kill("services").await;
    cluster.kill("agent-1").await;
    let third = told(&cluster, "3", json!({ "command": { "exitCode": 3 } })).await;
    assert_eq!(third["id"], first["id"]);

    wanted["check"] =
        json!({ "http": { "path": "/none" }, "intervalSeconds": 1, "delaySeconds": 0 });
    cluster.ok("PUT", "/v2/apps/told", Some(&wanted)).await;
    told(&cluster, "404", json!({ "http": { "statusCode": 404 } })).await;
    cluster.down().await;
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}
