//! Questions to instances: one each, answered or not within its time. When to ask, and what an answer means, is decided
//! in the core.
//!
//! Invariants: a question is over at its timeout; the number asked at once is bounded; one that waits for its turn does
//! not use up its time.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use mete_daemon::event_loop::Handle;
use mete_daemon::http_client;
use mete_service_framework_core::probe::{Answer, MAX_BODY_BYTES, Probe, Question, Response};
use mete_service_framework_core::{Input, Orchestrator};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Questions asked at once, as in Marathon: each is a connection, of which a process has some thousands.
const MAX_AT_ONCE: usize = 256;

/// Of the type of an answer so much is kept: those of RFC 6838 are shorter.
const MAX_TYPE_CHARS: usize = 255;

/// Who asks.
const ASKER: &str = concat!("mete-health-check/", env!("CARGO_PKG_VERSION"));

/// Instances cannot be asked how they are.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client of health checks cannot be made")]
pub struct NoClient(#[source] reqwest::Error);

/// Asks instances. What is being asked ends with it.
pub(crate) struct Probes {
    handle: Handle<Orchestrator>,
    client: Client,
    turns: Arc<Semaphore>,
    /// One for each question that is asked or waits for its turn: the core asks a check once at a time.
    asked: JoinSet<()>,
}

impl Probes {
    /// Tells answers to the loop behind `handle`.
    ///
    /// # Errors
    /// [`NoClient`], which does not happen where TLS works at all.
    pub(crate) fn new(handle: Handle<Orchestrator>) -> Result<Self, NoClient> {
        let client = http_client::probing().user_agent(ASKER);
        Ok(Self {
            handle,
            client: client.build().map_err(NoClient)?,
            turns: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            asked: JoinSet::new(),
        })
    }

    /// Begins to ask; the answer goes to the loop.
    pub(crate) fn ask(&mut self, probe: Probe) {
        while self.asked.try_join_next().is_some() {} // those that are over
        let (handle, client) = (self.handle.clone(), self.client.clone());
        let turns = Arc::clone(&self.turns);
        self.asked.spawn(async move {
            let answer = {
                let _turn = turns.acquire().await;
                answer(&client, &probe).await
            };
            let told = Input::Probed {
                instance: probe.instance,
                check: probe.check,
                answer,
            };
            // Fails when the loop has ended, and then nobody waits for it.
            let _ = handle.tell(told).await;
        });
    }
}

async fn answer(client: &Client, probe: &Probe) -> Answer {
    let asked = async {
        match &probe.question {
            Question::Http {
                secure,
                path,
                keeps_response,
            } => {
                let scheme = if *secure { "https" } else { "http" };
                let url = format!("{scheme}://{}:{}{path}", host(&probe.host), probe.port);
                get(client, &url, *keeps_response).await
            }
            Question::Tcp => connect(probe).await,
        }
    };
    tokio::time::timeout(probe.timeout, asked)
        .await
        .unwrap_or_else(|_| Answer::None(no_answer(probe.timeout)))
}

async fn get(client: &Client, url: &str, keeps_response: bool) -> Answer {
    match client.get(url).send().await {
        Ok(response) if keeps_response => Answer::Response(kept(response).await),
        Ok(response) => Answer::Status(response.status().as_u16()),
        Err(error) => Answer::None(format!("GET {url}: {}", mete_daemon::innermost(&error))),
    }
}

/// Reads the beginning of the body; where it breaks off, what has come is kept.
async fn kept(mut response: reqwest::Response) -> Response {
    let (status, mut body) = (response.status().as_u16(), Vec::new());
    let content_type = response.headers().get(CONTENT_TYPE);
    let content_type = content_type
        .map(|text| String::from_utf8_lossy(text.as_bytes()))
        .map(|text| text.chars().take(MAX_TYPE_CHARS).collect())
        .unwrap_or_default();
    while body.len() < MAX_BODY_BYTES
        && let Ok(Some(part)) = response.chunk().await
    {
        let room = part.len().min(MAX_BODY_BYTES - body.len());
        body.extend_from_slice(part.get(..room).unwrap_or_default());
    }
    Response {
        status,
        content_type,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// That it is accepted is the answer.
async fn connect(probe: &Probe) -> Answer {
    match TcpStream::connect((probe.host.as_str(), probe.port)).await {
        Ok(_) => Answer::Connected,
        Err(error) => Answer::None(format!(
            "connecting to {}:{}: {error}",
            host(&probe.host),
            probe.port
        )),
    }
}

/// A host as addresses have it: an IPv6 address in brackets.
fn host(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

fn no_answer(timeout: Duration) -> String {
    format!("no answer within {} s", timeout.as_secs_f64())
}
