//! Questions to instances: one each, answered or not within its time. When to ask, and what an answer means, is decided
//! in the core.
//!
//! Invariants: a question is over at its timeout; the number asked at once is bounded; one that waits for its turn does
//! not use up its time.

use std::error::Error;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Duration;

use mete_daemon::event_loop::Handle;
use mete_daemon::http_client;
use mete_service_framework_core::probe::{Answer, Probe, Question};
use mete_service_framework_core::{Input, Orchestrator};
use reqwest::Client;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Questions asked at once, as in Marathon: each is a connection, of which a process has some thousands.
const MAX_AT_ONCE: usize = 256;

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
            Question::Http { secure, path } => get(client, probe, *secure, path).await,
            Question::Tcp => connect(probe).await,
        }
    };
    tokio::time::timeout(probe.timeout, asked)
        .await
        .unwrap_or_else(|_| Answer::None(no_answer(probe.timeout)))
}

async fn get(client: &Client, probe: &Probe, secure: bool, path: &str) -> Answer {
    let scheme = if secure { "https" } else { "http" };
    let url = format!("{scheme}://{}:{}{path}", host(&probe.host), probe.port);
    match client.get(&url).send().await {
        Ok(response) => Answer::Status(response.status().as_u16()),
        Err(error) => Answer::None(format!("GET {url}: {}", innermost(&error))),
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

/// The cause at the bottom, which is the one that tells something: `connection refused`.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
