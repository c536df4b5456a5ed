//! From SIGKILL of a task's process to the event that tells it. The tasks sleep; meanwhile their shims can be looked at.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::app;
use mete_benches::process::signal;

use crate::cluster::{Cluster, by_and_by};
use crate::report::Report;
use crate::stream::Stream;

const APP: &str = "/sleepers";
/// So many at least, for a median over their shims.
const MIN_SLEEPERS: usize = 5;
/// Between two deaths: one is not measured while the one before is dealt with.
const PAUSE: Duration = Duration::from_millis(100);

/// An app of tasks that sleep.
#[derive(Debug)]
pub(crate) struct Sleepers {
    rounds: usize,
    tasks: Vec<Value>,
}

impl Sleepers {
    /// Starts one for each round, and waits until all run.
    pub(crate) async fn start(cluster: &Cluster, rounds: usize) -> Result<Self> {
        let instances = rounds.max(MIN_SLEEPERS);
        let definition = json!({
            "id": APP,
            "cmd": "exec sleep 100000",
            "cpus": 0.01,
            "mem": 8,
            "instances": instances,
            "portDefinitions": []
        });
        cluster.rest("POST", "/v2/apps", Some(&definition)).await?;
        let tasks = by_and_by("all sleepers run", async || {
            let tasks = app::running(cluster, APP).await?;
            (tasks.len() == instances).then_some(tasks)
        })
        .await?;
        Ok(Self { rounds, tasks })
    }

    /// Kills one after the other.
    pub(crate) async fn measure(self, cluster: &Cluster, report: &mut Report) -> Result<()> {
        let events = Stream::follow(cluster, "/v2/events").await?;
        let mut all = Vec::new();
        for task in self.tasks.iter().take(self.rounds) {
            let id = task["id"].as_str().context("a task has an id")?;
            let variable = format!("MESOS_TASK_ID={id}");
            let processes = cluster.processes();
            let mut processes = processes.iter();
            let process = processes.find(|process| process.environment.contains(&variable));
            let pid = process.with_context(|| format!("no process of {id}"))?.pid;

            let begin = Instant::now();
            signal(pid, Signal::KILL);
            let told = events.first("TASK_FAILED", begin, |event| {
                event["eventType"] == "status_update_event"
                    && event["taskId"] == id
                    && event["taskStatus"] == "TASK_FAILED"
            });
            all.push(told.await? - begin);
            sleep(PAUSE).await;
        }
        report.time("SIGKILL of a task → TASK_FAILED on /v2/events", all);
        app::delete(cluster, APP).await
    }
}
