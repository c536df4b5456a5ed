//! From the moment an instance fails to the moment HAProxy sends it nothing more.
//!
//! ```text
//! POST /fail ─▶ (next check, every second) ─▶ out of the list ─▶ out of HAProxy
//! ```
//! HAProxy's own checks do not see it: they only connect.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::app;
use crate::cluster::{CLOSE_LOOK, Cluster, eventually};
use crate::report::Report;
use crate::stream::Stream;

const APP: &str = "/sick";
const SERVICE_PORT: u16 = 11_000;
const INSTANCES: usize = 2;
/// Of the health check, as the app says.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn measure(cluster: &Cluster, rounds: usize, report: &mut Report) -> Result<()> {
    let backends = Stream::follow(cluster, "/v2/backends?watch=true").await?;
    let definition = app::web(APP, SERVICE_PORT, INSTANCES);
    cluster.rest("POST", "/v2/apps", Some(&definition)).await?;
    let (mut all, mut listed, mut applied) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let tasks = app::in_haproxy(cluster, APP, INSTANCES).await?;
        // Between two checks, evenly: a task just started has just been checked.
        sleep(INTERVAL * u32::try_from(round % 10)? / 10).await;
        let sick = tasks.first().context("a task")?;
        let (id, address) = (&sick["id"], app::address(sick));

        let begin = Instant::now();
        let fail = format!("http://{address}/fail");
        let (status, _) = cluster.call("POST", &fail, None).await?;
        ensure!(status == 200, "POST {fail}: {status}");
        let left_list = backends.first("the sick one leaves the list", begin, |change| {
            let services = change["services"].as_array().into_iter().flatten();
            let mut mine = services.filter(|service| service["appId"] == APP);
            mine.any(|service| {
                let mut instances = service["instances"].as_array().into_iter().flatten();
                !instances.any(|have| have["taskId"] == *id && have["state"] == "up")
            })
        });
        let left_haproxy = eventually("the sick one leaves HAProxy", CLOSE_LOOK, async || {
            let up = cluster.servers_up().await?;
            (!up.contains(&address)).then(Instant::now)
        });
        let (left_list, left_haproxy) = tokio::try_join!(left_list, left_haproxy)?;
        all.push(left_haproxy - begin);
        listed.push(left_list - begin);
        // HAProxy may be seen first: the list has been told to the sync and to us at the same time.
        applied.push(left_haproxy.saturating_duration_since(left_list));
        // The next round must not begin with it.
        eventually("the sick one ends", CLOSE_LOOK, async || {
            let tasks = app::running(cluster, APP).await?;
            (!tasks.iter().any(|task| task["id"] == *id)).then_some(())
        })
        .await?;
    }
    app::delete(cluster, APP).await?;
    report.time("instance fails → out of HAProxy (check every 1 s)", all);
    report.time("instance fails → out of /v2/backends", listed);
    report.time("out of /v2/backends → out of HAProxy", applied);
    Ok(())
}
