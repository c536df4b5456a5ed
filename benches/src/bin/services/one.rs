//! One app: how soon it is launched, how soon a thousand instances run, how long an upgrade of five hundred takes.

use std::path::Path;

use anyhow::{Context as _, Result};
use mete_benches::answers::Answers;
use mete_framework_sdk::testkit::Call;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::step;
use crate::world::World;

/// Launches one after the other: enough that the median stands still.
const ROUNDS: usize = 100;
/// Bursts and upgrades.
const BURSTS: usize = 5;
/// Instances of a burst.
const MANY: usize = 1_000;
/// Instances of an upgrade.
const UPGRADED: usize = 500;

fn app(id: &str, instances: usize) -> Value {
    json!({ "id": id, "cmd": "sleep 1000", "cpus": 0.01, "mem": 32, "instances": instances })
}

/// POST of an app → the call that launches it, as the master hears it.
pub(crate) async fn launches(mete: &Path, answers: &mut Answers) -> Result<()> {
    step("launches one by one");
    let world = World::start(mete, 10).await?;
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let id = format!("/one-{round}");
        let prefix = format!("one-{round}.");
        let is_it = |call: &Call| {
            let Call::Accept { tasks, .. } = call else {
                return false;
            };
            let mut ids = tasks.iter().flatten().map(|task| task.id.as_str());
            ids.any(|id| id.starts_with(&prefix))
        };
        let begin = Instant::now();
        let (posted, app) = (Method::POST, app(&id, 1));
        let posted = world.rest(posted, "/v2/apps", Some(&app));
        let heard = async {
            let heard = world.master.heard(is_it).await;
            heard.map(|_| begin.elapsed()).context("no launch")
        };
        let (posted, heard) = tokio::join!(posted, heard);
        posted?;
        took.push(heard?);
        let run = format!("/v2/apps{id}");
        world
            .until(&run, |answer| answer["app"]["tasksRunning"] == 1)
            .await?;
    }
    answers.time("POST of an app → its launch call", took);
    Ok(())
}

/// POST of a thousand instances → all of them run.
pub(crate) async fn bursts(mete: &Path, answers: &mut Answers) -> Result<()> {
    step("many instances at once");
    let world = World::start(mete, 10).await?;
    let mut took = Vec::new();
    for round in 0..BURSTS {
        let id = format!("/many-{round}");
        let begin = Instant::now();
        world
            .rest(Method::POST, "/v2/apps", Some(&app(&id, MANY)))
            .await?;
        let running = |answer: &Value| answer["app"]["tasksRunning"] == MANY;
        until_app(&world, &id, running).await?;
        took.push(begin.elapsed());
        gone(&world, &id).await?;
    }
    answers.time(&format!("POST of {MANY} instances → all run"), took);
    Ok(())
}

/// PUT of another version of five hundred instances → the deployment is over.
pub(crate) async fn upgrades(mete: &Path, answers: &mut Answers) -> Result<()> {
    step("upgrades");
    let world = World::start(mete, 10).await?;
    let mut took = Vec::new();
    let id = "/upgraded";
    world
        .rest(Method::POST, "/v2/apps", Some(&app(id, UPGRADED)))
        .await?;
    let over = |answer: &Value| answer["app"]["deployments"] == json!([]);
    until_app(&world, id, over).await?;
    for round in 0..BURSTS {
        let change = json!({ "env": { "ROUND": round.to_string() }, "upgradeStrategy": { "minimumHealthCapacity": 0.8, "maximumOverCapacity": 0.2 } });
        let begin = Instant::now();
        let path = format!("/v2/apps{id}");
        world.rest(Method::PUT, &path, Some(&change)).await?;
        until_app(&world, id, over).await?;
        took.push(begin.elapsed());
    }
    answers.time(
        &format!("rolling upgrade of {UPGRADED} instances, 80 to 120 %"),
        took,
    );
    Ok(())
}

/// Looks at an app without its tasks: they would cost more than what is measured.
async fn until_app(world: &World, id: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
    let list = format!("/v2/apps?id={id}");
    let first = |answer: &Value| is_so(&json!({ "app": answer["apps"][0] }));
    world.until(&list, first).await
}

async fn gone(world: &World, id: &str) -> Result<()> {
    let path = format!("/v2/apps{id}");
    world.rest(Method::DELETE, &path, None).await?;
    world
        .until("/v2/tasks", |answer| answer["tasks"] == json!([]))
        .await
}
