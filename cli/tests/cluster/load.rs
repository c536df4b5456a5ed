//! Under a steady load through HAProxy nobody notices that instances come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::{Cluster, SHIFT, eventually, signal, web};

/// Half over connections that are kept, half over a new one each.
const REQUESTS_PER_SECOND: u64 = 200;

/// Requests until it is told to stop; the failures in words.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    workers: JoinSet<Vec<String>>,
}

impl Load {
    pub(crate) fn start(url: String) -> Self {
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut workers = JoinSet::new();
        const WORKERS: u64 = 10;
        for number in 0..WORKERS {
            let (url, stop, sent) = (url.clone(), Arc::clone(&stop), Arc::clone(&sent));
            workers.spawn(async move {
                let keep = if number % 2 == 0 { 8 } else { 0 };
                let client = mete_daemon::http_client::plain()
                    .pool_max_idle_per_host(keep)
                    .timeout(Duration::from_secs(10));
                let client = client.build().expect("a client");
                let mut tick = interval(Duration::from_micros(
                    1_000_000 * WORKERS / REQUESTS_PER_SECOND,
                ));
                tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    tick.tick().await;
                    sent.fetch_add(1, Ordering::Relaxed);
                    match client.get(&url).send().await {
                        Ok(answer) if answer.status() == 200 => {
                            if let Err(error) = answer.bytes().await {
                                failures.push(format!("body: {error:?}"));
                            }
                        }
                        Ok(answer) => failures.push(format!("status {}", answer.status())),
                        Err(error) => failures.push(format!("{error:?}")),
                    }
                }
                failures
            });
        }
        Self {
            stop,
            sent,
            workers,
        }
    }

    pub(crate) async fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self
            .workers
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect();
        (self.sent.load(Ordering::Relaxed), failures)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_instances_come_and_go() {
    let cluster = Cluster::start(&[]).await;
    cluster.ok("POST", "/v2/apps", Some(&web(2))).await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    let load = Load::start(format!("http://127.0.0.1:{}/", 10_000 + SHIFT));

    for instances in [10, 3] {
        cluster
            .ok(
                "PUT",
                "/v2/apps/web",
                Some(&json!({ "instances": instances })),
            )
            .await;
        cluster.healthy("/web").await;
        cluster.haproxy_follows("/web", "web_10000").await;
    }
    let before = cluster.tasks("/web").await;
    cluster.ok("POST", "/v2/apps/web/restart", None).await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    let after = cluster.tasks("/web").await;
    assert!(
        before
            .iter()
            .all(|old| after.iter().all(|new| new["id"] != old["id"])),
        "every instance is new"
    );
    let sync = cluster.pid("haproxy-sync");
    signal(sync, Signal::TERM);
    eventually("haproxy-sync is back", async || {
        (cluster.pid("haproxy-sync") != sync).then_some(())
    })
    .await;
    cluster.haproxy_follows("/web", "web_10000").await;

    let (sent, failures) = load.stop().await;
    assert!(
        failures.is_empty(),
        "{} of {sent} requests failed: {:#?}",
        failures.len(),
        &failures[..failures.len().min(10)]
    );
    println!("{sent} requests, none failed");
}
