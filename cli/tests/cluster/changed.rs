//! An agent that is started again with other resources: its id and its tasks stay, what it has more is used.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Cluster, alive, eventually, mete};

/// An agent beside those of `mete up`; it is killed when dropped.
struct Extra(Child);

impl Extra {
    /// `mete agent` with so many CPUs, in the same directory each time.
    fn command(cluster: &Cluster, cpus: &str) -> Command {
        let dir = cluster.dir.path();
        let log = fs::OpenOptions::new();
        let log = log.clone().create(true).append(true).open(log_of(cluster));
        let mut command = mete(&["agent", "--port=0", "--hostname=extra", "--master"]);
        command
            .arg(cluster.url("master"))
            .arg("--work-dir")
            .arg(dir.join("extra"))
            .arg(format!(
                "--resources=cpus:{cpus};mem:512;disk:512;ports:[29000-29099]"
            ))
            .stdout(Stdio::null())
            .stderr(log.expect("a log"));
        command
    }

    fn start(cluster: &Cluster, cpus: &str) -> Self {
        let mut command = Self::command(cluster, cpus);
        Self(command.spawn().expect("mete agent starts"))
    }

    fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it was started");
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn log_of(cluster: &Cluster) -> PathBuf {
    cluster.dir.path().join("extra.log")
}

/// The master's words about the agent, once it has so many CPUs and is connected.
async fn known(cluster: &Cluster, cpus: f64) -> Value {
    let url = format!("{}/state", cluster.url("master"));
    eventually("the master knows the agent as it is now", async || {
        let (_, state) = cluster.call("GET", &url, None).await;
        let agents = state["slaves"].as_array()?;
        let is_it = |agent: &&Value| {
            agent["hostname"] == "extra"
                && agent["active"] == true
                && agent["resources"]["cpus"] == cpus
        };
        agents.iter().find(is_it).cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_comes_back_with_more_is_the_same_agent_with_more_room() {
    let cluster = Cluster::start(&["--agents", "1"]).await;
    let extra = Extra::start(&cluster, "1");
    let before = known(&cluster, 1.0).await;
    let app = json!({
        "id": "/wide", "cmd": "exec sleep 1000", "cpus": 1, "mem": 32, "instances": 1,
        "constraints": [["hostname", "CLUSTER", "extra"]]
    });
    cluster.ok("POST", "/v2/apps", Some(&app)).await;
    cluster.healthy("/wide").await;
    let task = cluster.tasks("/wide").await.remove(0);
    let pid = cluster.task_pid(&task).await;
    let scale = json!({ "instances": 2 });
    cluster.ok("PUT", "/v2/apps/wide", Some(&scale)).await;
    extra.kill();

    let refused = Extra::command(&cluster, "0.5").output();
    let refused = refused.expect("mete agent runs");
    let words = fs::read_to_string(log_of(&cluster)).expect("a log");
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("cpus 1 asked, 0.5 there"), "{words}");
    assert!(alive(pid), "its task runs on");

    let _extra = Extra::start(&cluster, "2");
    let after = known(&cluster, 2.0).await;

    assert_eq!(after["id"], before["id"]);
    cluster.healthy("/wide").await;
    let tasks = cluster.tasks("/wide").await;
    assert!(
        tasks.len() == 2 && tasks.iter().any(|one| one["id"] == task["id"]),
        "{tasks:?}"
    );
    assert!(tasks.iter().all(|one| one["host"] == "extra"), "{tasks:?}");
    assert!(alive(pid), "the same process");
}
