//! An app with a persistent volume, in the role of its group, through all levels: what one task wrote the next finds, on the same agent, whoever dies;
//! and when the app goes nothing stays.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Cluster, eventually};

/// Writes a line into its volume with each start.
fn app() -> Value {
    json!({
        "id": "/dev/db", "cpus": 0.05, "mem": 32, "instances": 1,
        "cmd": "echo $MESOS_TASK_ID >> data/starts; exec mete whoami --port $PORT0",
        "container": { "type": "MESOS", "volumes": [
            { "containerPath": "data", "mode": "RW", "persistent": { "size": 8 } },
        ] },
        "backoffSeconds": 0,
        "healthChecks": [{ "protocol": "MESOS_HTTP", "path": "/health", "intervalSeconds": 2, "delaySeconds": 0 }],
    })
}

/// What was written, one line for each start.
fn starts(cluster: &Cluster) -> Vec<String> {
    let find = Command::new("find")
        .arg(cluster.dir.path())
        .args(["-path", "*/volumes/roles/dev/*/starts"])
        .output()
        .expect("find runs");
    let path = String::from_utf8_lossy(&find.stdout).trim().to_owned();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The task of the app, when it has had so many before and is healthy.
async fn nth(cluster: &Cluster, number: usize) -> Value {
    let ending = format!("._app.{number}");
    let task = eventually("the next task runs", async || {
        let task = cluster.tasks("/dev/db").await.into_iter().next()?;
        let is_it = task["id"].as_str()?.ends_with(&ending) && task["state"] == "TASK_RUNNING";
        is_it.then_some(task)
    })
    .await;
    cluster.healthy("/dev/db").await;
    task
}

async fn kill(cluster: &Cluster, task: &Value) {
    let pid = i32::try_from(cluster.task_pid(task).await).expect("a pid");
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it was there");
}

/// What is reserved for the role on some agent, as tools of Mesos see it.
async fn reserved(cluster: &Cluster) -> Vec<Value> {
    let url = format!("{}/slaves", cluster.url("master"));
    let (_, told) = cluster.call("GET", &url, None).await;
    let agents = told["slaves"].as_array().cloned().unwrap_or_default();
    let of = |agent: &Value| agent["reserved_resources"]["dev"].clone();
    agents.iter().map(of).filter(|one| !one.is_null()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_outlives_tasks_and_the_service_framework_and_goes_with_its_app() {
    let mut cluster = Cluster::start(&["--agents", "2"]).await;
    let group = json!({ "id": "/dev", "enforceRole": true });
    cluster.ok("POST", "/v2/groups", Some(&group)).await;
    cluster.ok("POST", "/v2/apps", Some(&app())).await;
    let first = nth(&cluster, 1).await;
    let volume = &first["localVolumes"][0];
    assert_eq!(
        (&volume["containerPath"], &first["role"]),
        (&json!("data"), &json!("dev"))
    );
    assert_eq!(reserved(&cluster).await.len(), 1);

    kill(&cluster, &first).await;
    let second = nth(&cluster, 2).await;
    assert_eq!(second["slaveId"], first["slaveId"]);
    assert_eq!(second["localVolumes"], first["localVolumes"]);

    // It dies while nobody listens.
    let pid = i32::try_from(cluster.task_pid(&second).await).expect("a pid");
    cluster.kill("services").await;
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it was there");
    let third = nth(&cluster, 3).await;
    assert_eq!(third["slaveId"], first["slaveId"]);
    let ids = [&first, &second, &third].map(|task| task["id"].as_str().unwrap_or_default());
    assert_eq!(starts(&cluster), ids);

    // Killed by a user, it goes on just as well.
    let path = format!(
        "/v2/apps/dev/db/tasks/{}",
        third["id"].as_str().unwrap_or_default()
    );
    cluster.ok("DELETE", &path, None).await;
    let fourth = nth(&cluster, 4).await;
    assert_eq!(fourth["localVolumes"], first["localVolumes"]);
    assert_eq!(starts(&cluster).len(), 4);

    // Asked for none, it keeps what it has; asked for one again, it goes on.
    cluster
        .ok("PUT", "/v2/apps/dev/db", Some(&json!({ "instances": 0 })))
        .await;
    let kept = eventually("it has no task", async || {
        let task = cluster.tasks("/dev/db").await.into_iter().next()?;
        (task["state"] == "TASK_KILLED" && task["ports"] == json!([])).then_some(task)
    })
    .await;
    assert_eq!(kept["localVolumes"], first["localVolumes"]);
    cluster
        .ok("PUT", "/v2/apps/dev/db", Some(&json!({ "instances": 1 })))
        .await;
    nth(&cluster, 5).await;
    assert_eq!(starts(&cluster).len(), 5);

    cluster.ok("DELETE", "/v2/apps/dev/db", None).await;
    eventually("nothing is reserved, and no volume is left", async || {
        let is_erased = starts(&cluster).is_empty();
        (is_erased && reserved(&cluster).await.is_empty()).then_some(())
    })
    .await;
    cluster.down().await;
    assert_eq!(cluster.leftovers(), Vec::<String>::new());
}
