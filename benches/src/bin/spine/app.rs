//! Apps of `mete whoami`, and waiting until they are as they should be.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cluster::{Cluster, by_and_by};

/// An app of the shape of `examples/web.json`, quick to be checked.
pub(crate) fn web(id: &str, service_port: u16, instances: usize) -> Value {
    json!({
        "id": id,
        "cmd": "exec mete whoami --port $PORT0",
        "cpus": 0.05,
        "mem": 32,
        "instances": instances,
        "portDefinitions": [{ "port": service_port, "name": "http", "protocol": "tcp" }],
        "labels": { "HAPROXY_0_MODE": "http", "HAPROXY_0_VHOST": format!("{}.localhost", &id[1..]) },
        // What is killed on purpose must not make the next round wait.
        "backoffSeconds": 0,
        "healthChecks": [{
            "protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "delaySeconds": 0,
            "intervalSeconds": 1, "timeoutSeconds": 2, "gracePeriodSeconds": 5, "maxConsecutiveFailures": 2
        }]
    })
}

/// Tasks of an app that run now.
pub(crate) async fn running(cluster: &Cluster, id: &str) -> Option<Vec<Value>> {
    let path = format!("/v2/apps{id}/tasks");
    let answer = cluster.rest("GET", &path, None).await.ok()?;
    let tasks = answer["tasks"].as_array()?.iter();
    let running = tasks.filter(|task| task["state"] == "TASK_RUNNING");
    Some(running.cloned().collect())
}

/// `host:port` of a task.
pub(crate) fn address(task: &Value) -> String {
    let host = task["host"].as_str().unwrap_or_default();
    format!("{host}:{}", task["ports"][0])
}

/// Waits until HAProxy sends requests to all of `instances` tasks of an app, and returns these.
pub(crate) async fn in_haproxy(
    cluster: &Cluster,
    id: &str,
    instances: usize,
) -> Result<Vec<Value>> {
    by_and_by(&format!("{instances} of {id} in HAProxy"), async || {
        let tasks = running(cluster, id).await?;
        let up = cluster.servers_up().await?;
        let all = tasks.iter().all(|task| up.contains(&address(task)));
        (tasks.len() == instances && all).then_some(tasks)
    })
    .await
}

/// Deletes an app, and waits until nothing of it runs.
pub(crate) async fn delete(cluster: &Cluster, id: &str) -> Result<()> {
    let path = format!("/v2/apps{id}?force=true");
    cluster.rest("DELETE", &path, None).await?;
    by_and_by(&format!("the end of {id}"), async || {
        let answer = cluster.rest("GET", "/v2/tasks", None).await.ok()?;
        let tasks = answer["tasks"].as_array()?;
        (!tasks.iter().any(|task| task["appId"] == id)).then_some(())
    })
    .await
}
