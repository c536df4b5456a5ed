//! An agent is emptied by a deadline: what is on it moves first, and no request is lost.

use serde_json::Value;

use crate::harness::{Cluster, SHIFT, eventually, mete, web};
use crate::load::Load;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_agent_is_left_before_anything_on_it_ends() {
    let cluster = Cluster::start(&[]).await;
    cluster.ok("POST", "/v2/apps", Some(&web(3))).await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    let host = cluster.tasks("/web").await[0]["host"].clone();
    let host = host.as_str().expect("a host");
    let load = Load::start(format!("http://127.0.0.1:{}/", 10_000 + SHIFT));

    let master = cluster.url("master");
    let order = ["--master", &master, "agent", "drain", host];
    let output = mete(&order).args(["--deadline", "1h"]).output();

    let output = output.expect("mete runs");
    assert!(output.status.success(), "{output:?}");
    eventually("the agent has drained", async || {
        let (_, state) = cluster.call("GET", &format!("{master}/state"), None).await;
        let mut agents = state["slaves"].as_array().into_iter().flatten();
        let is_it = |agent: &&Value| agent["hostname"] == host && agent["admission"] == "drained";
        agents.find(is_it).map(|_| ())
    })
    .await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    let tasks = cluster.tasks("/web").await;
    assert!(tasks.iter().all(|task| task["host"] != host), "{tasks:?}");
    let client = mete_daemon::http_client::plain().build().expect("a client");
    let metrics = client.get(format!("{master}/metrics")).send().await;
    let metrics = metrics.expect("an answer").text().await.expect("text");
    let killed_by_drain = metrics.lines().find(|line| line.contains("AGENT_DRAINING"));
    assert_eq!(killed_by_drain, None, "services end their tasks themselves");
    let (sent, failures) = load.stop().await;
    assert!(sent > 0, "there was a load");
    assert!(failures.is_empty(), "of {sent}: {failures:?}");
}
