//! Server-sent events of the service framework, each with the moment at which it came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::cluster::{CLOSE_LOOK, Cluster, eventually};

/// Events that are kept: more than a round makes.
const MAX_EVENTS: usize = 4096;
/// A single event: a snapshot of everything that this program ever runs is far smaller.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// What a stream has said; it is read in the background, so that the moments are those of arrival.
#[derive(Debug)]
pub(crate) struct Stream {
    seen: Arc<Mutex<VecDeque<(Instant, Value)>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    /// Opens `path` and follows it until it is dropped.
    pub(crate) async fn follow(cluster: &Cluster, path: &str) -> Result<Self> {
        let response = cluster.open_stream(path).await?;
        let seen = Arc::new(Mutex::new(VecDeque::new()));
        let reader = tokio::spawn(read(response, Arc::clone(&seen)));
        Ok(Self { seen, reader })
    }

    /// When the first event since `since` came that is the one; waits for it.
    pub(crate) async fn first(
        &self,
        what: &str,
        since: Instant,
        is_it: impl Fn(&Value) -> bool,
    ) -> Result<Instant> {
        eventually(what, CLOSE_LOOK, async || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let mut later = seen.iter().filter(|(at, _)| *at >= since);
            later.find(|(_, event)| is_it(event)).map(|(at, _)| *at)
        })
        .await
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Until the stream ends; whoever waits for an event then says that it did not come.
async fn read(mut response: reqwest::Response, seen: Arc<Mutex<VecDeque<(Instant, Value)>>>) {
    let mut rest: Vec<u8> = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let at = Instant::now();
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data:") else {
                continue;
            };
            let Ok(event) = serde_json::from_slice(data) else {
                continue;
            };
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() == MAX_EVENTS {
                seen.pop_front();
            }
            seen.push_back((at, event));
        }
        if rest.len() > MAX_EVENT_BYTES {
            return;
        }
    }
}
