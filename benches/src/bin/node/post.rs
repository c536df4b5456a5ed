//! One app of many instances, from its POST until all of them run.

use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::world::{PATIENCE, World};

/// Between two looks. Each costs the server what a few launches cost, on the cores that are measured.
const LOOK: Duration = Duration::from_millis(10);
/// Its id.
const APP: &str = "/v2/apps/many";

/// Posts an app of `instances`, waits until all run, and takes it away.
pub(crate) async fn many(world: &World, instances: usize) -> Result<Duration> {
    let app = json!({
        "id": "/many",
        "cmd": "exec sleep 100000",
        "cpus": 0.01,
        "mem": 32,
        "instances": instances,
        "portDefinitions": [],
    });
    let begin = Instant::now();
    world.rest(Method::POST, "/v2/apps", Some(&app)).await?;
    until_running(world, instances).await?;
    let took = begin.elapsed();
    let gone = format!("{APP}?force=true");
    world.rest(Method::DELETE, &gone, None).await?;
    until_gone(world).await?;
    Ok(took)
}

async fn until_running(world: &World, instances: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let answer = world.rest(Method::GET, APP, None).await?;
        if answer["app"]["tasksRunning"].as_u64() == u64::try_from(instances).ok() {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    bail!("not all instances run within {PATIENCE:?}")
}

async fn until_gone(world: &World) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let answer = world.rest(Method::GET, "/v2/tasks", None).await?;
        if answer["tasks"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    bail!("instances still run after {PATIENCE:?}")
}
