//! Many who follow the events: how long after a change the last of them has heard of it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mete_benches::answers::Answers;
use reqwest::Method;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::step;
use crate::world::{PATIENCE, World};

/// Changes that are heard of.
const ROUNDS: usize = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) async fn measure(mete: &Path, count: u16, answers: &mut Answers) -> Result<()> {
    step(&format!("{count} subscribers"));
    let world = World::start(mete, 2).await?;
    let (tell, mut told) = mpsc::channel(usize::from(count) * 2);
    let mut listening = JoinSet::new();
    for _ in 0..count {
        let mut stream = world
            .stream("/v2/events?event_type=group_change_success")
            .await?;
        let tell = tell.clone();
        listening.spawn(async move {
            let mut text = String::new();
            while let Ok(Some(chunk)) = stream.chunk().await {
                text.push_str(&String::from_utf8_lossy(&chunk));
                // An event is small and comes whole; what is left over of it does not matter.
                if text.contains("group_change_success")
                    && text.ends_with("\n\r\n") | text.ends_with("\n\n")
                {
                    text.clear();
                    let _ = tell.send(Instant::now()).await;
                }
            }
        });
    }
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let app = json!({ "id": format!("/heard-{round}"), "cmd": "true", "instances": 0 });
        let begin = Instant::now();
        world.rest(Method::POST, "/v2/apps", Some(&app)).await?;
        let mut last = begin;
        for heard in 0..count {
            let Ok(at) = timeout(PATIENCE, told.recv()).await else {
                bail!("only {heard} of {count} subscribers have heard of a change")
            };
            last = last.max(at.context("the subscribers have ended")?);
        }
        took.push(last - begin);
        sleep(PAUSE).await;
    }
    answers.time(
        &format!("POST → the last of {count} subscribers has heard of it"),
        took,
    );
    Ok(())
}
