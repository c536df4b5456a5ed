//! Thousands of apps of ten instances each: what they weigh, how soon a restarted framework serves them, how long a large
//! answer takes.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use mete_benches::answers::Answers;
use mete_benches::process::Memory;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::step;
use crate::world::World;

/// Instances of each app.
const INSTANCES: usize = 10;
/// Apps of one PUT.
const TOGETHER: usize = 250;
/// Apps of the large answer, which has 5,000 tasks.
const SHOWN: usize = 500;
/// How often it is read, and how often the framework is started again.
const ROUNDS: usize = 5;
/// Until what is freed has been given back.
const REST: Duration = Duration::from_secs(5);

pub(crate) async fn measure(mete: &Path, apps: u16, answers: &mut Answers) -> Result<()> {
    let (apps, instances) = (usize::from(apps), usize::from(apps) * INSTANCES);
    step(&format!("{apps} apps with {instances} instances"));
    let agents = u16::try_from(instances / 1_000 + 2)?;
    let mut world = World::start(mete, agents).await?;
    sleep(REST).await;
    let empty = Memory::of(world.services.pid()?)?;
    let begin = Instant::now();
    let ids: Vec<usize> = (0..apps).collect();
    for chunk in ids.chunks(TOGETHER) {
        let list: Vec<Value> = chunk.iter().map(|number| app(*number)).collect();
        world
            .rest(Method::PUT, "/v2/apps", Some(&Value::from(list)))
            .await?;
        world
            .until("/v2/deployments", |all| *all == json!([]))
            .await?;
    }
    answers.time(
        &format!("{apps} apps, {TOGETHER} a PUT → all run"),
        vec![begin.elapsed()],
    );
    sleep(REST).await;
    weigh(&world, "after they started", empty, instances, answers)?;

    posts(&world, answers).await?;
    read(&world, apps, answers).await?;
    let mut back = Vec::new();
    for _ in 0..ROUNDS {
        step("the framework starts again");
        world.services.end()?;
        back.push(world.begin().await?);
    }
    answers.time(
        &format!("start with {apps} apps, {instances} instances → serving"),
        back,
    );
    sleep(REST).await;
    weigh(&world, "after a restart", empty, instances, answers)
}

/// One more app among all of them.
async fn posts(world: &World, answers: &mut Answers) -> Result<()> {
    step("one more");
    let (mut empty, mut launched) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS * 4 {
        let mut one = app(0);
        (one["id"], one["instances"]) = (json!(format!("/one-more-{round}")), json!(0));
        let begin = Instant::now();
        world.rest(Method::POST, "/v2/apps", Some(&one)).await?;
        empty.push(begin.elapsed());
        let path = format!("/v2/apps/one-more-{round}");
        let begin = Instant::now();
        let scaled = json!({ "instances": 1 });
        world.rest(Method::PATCH, &path, Some(&scaled)).await?;
        let runs = |answer: &Value| answer["app"]["tasksRunning"] == 1;
        world.until(&path, runs).await?;
        launched.push(begin.elapsed());
    }
    answers.time("POST of one more app → its answer", empty);
    answers.time("PATCH of it to one instance → it runs", launched);
    Ok(())
}

/// Large answers.
async fn read(world: &World, apps: usize, answers: &mut Answers) -> Result<()> {
    step("large answers");
    let (mut first, mut last, mut size) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let shown = "/v2/apps?embed=apps.tasks&label=part%3D%3Dfirst";
        let (begun, ended, bytes) = world.read(shown).await?;
        first.push(begun);
        last.push(ended);
        size = bytes;
    }
    answers.figure(
        "GET of those apps with their tasks",
        format!("{size} bytes"),
    );
    let tasks = SHOWN.min(apps) * INSTANCES;
    answers.time(
        &format!("GET /v2/apps with {tasks} tasks: first byte"),
        first,
    );
    answers.time(&format!("GET /v2/apps with {tasks} tasks: last byte"), last);
    let (_, all, bytes) = world.read("/v2/apps?embed=apps.tasks").await?;
    answers.time(
        &format!("the same of all {} tasks, {bytes} bytes", apps * INSTANCES),
        vec![all],
    );
    Ok(())
}

fn app(number: usize) -> Value {
    let part = if number < SHOWN { "first" } else { "rest" };
    json!({
        "id": format!("/group-{}/app-{number}", number % 50),
        "cmd": "sleep 1000",
        "cpus": 0.01,
        "mem": 32,
        "instances": INSTANCES,
        "labels": { "part": part },
    })
}

fn weigh(
    world: &World,
    when: &str,
    empty: Memory,
    instances: usize,
    answers: &mut Answers,
) -> Result<()> {
    let full = Memory::of(world.services.pid()?)?;
    let each = full.private_kib().saturating_sub(empty.private_kib()) as f64 / instances as f64;
    let told = format!(
        "{} MiB, {each:.2} KiB an instance",
        full.private_kib() / 1_024
    );
    answers.figure(&format!("private memory {when}"), told);
    Ok(())
}
