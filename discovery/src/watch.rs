//! Following the healthy-task list: `GET /v2/backends?watch=true`, for as long as the sync lives.
//!
//! ```text
//! connecting ──200──► following ──end, error, silence of three heartbeats──► waiting (back-off) ──► connecting
//! ```
//! Invariants: the list handed on is always whole and belongs to the epoch and version it names; a change that does not
//! fit what we have is never applied: the stream is opened again without an id, and begins with everything. The last
//! list stays in force while nobody answers.

pub mod list; // snapshot and changes → the list
pub mod sse; // bytes → events

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use mete_daemon::chain;
use mete_proto::rest::backends::Backends;
use rand::RngExt;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::watch::Sender;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::list::{Follow, Followed};
use self::sse::{BadStream, MAX_EVENT_BYTES, Parser};

/// A heartbeat comes every 15 s; after three that did not the connection is taken for dead.
const SILENCE: Duration = Duration::from_secs(45);

/// From the request to the head of the answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The first pause between two attempts: a service framework that restarts is back within a second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest: what a restart of the service framework may cost at most on top.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What is known of the list, and how fresh it is.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The last whole list; `None` before the first.
    pub list: Option<Arc<Backends>>,
    /// Counts heartbeats.
    pub heartbeats: u64,
    /// Whether the stream is open.
    pub is_connected: bool,
    /// Counts all events, of whatever kind.
    pub events: u64,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("cannot reach the service framework")]
    Request(#[from] reqwest::Error),
    #[error("no answer within {} s", ANSWER_DEADLINE.as_secs())]
    NoAnswer,
    #[error("the service framework answers {0}")]
    Status(StatusCode),
    #[error("nothing heard for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the stream ended")]
    Closed,
    #[error("the stream cannot be read")]
    BadStream(#[from] BadStream),
    #[error("the list cannot be followed")]
    BadList(#[from] list::BadList),
}

/// Follows the list at `url` (the base address of the service framework) until `shutdown`; what is known goes to
/// `known`, each time it changes.
pub async fn follow(
    client: reqwest::Client,
    url: String,
    known: Sender<Watched>,
    shutdown: CancellationToken,
) {
    let address = format!("{}/v2/backends?watch=true", url.trim_end_matches('/'));
    let mut follow = Follow::default();
    let mut pause = FIRST_PAUSE;
    let mut is_first_failure = true;
    loop {
        let before = known.borrow().events;
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = read_stream(&client, &address, &mut follow, &known) => ended.err().unwrap_or(Ended::Closed),
        };
        known.send_modify(|watched| watched.is_connected = false);
        if known.borrow().events != before {
            pause = FIRST_PAUSE;
            is_first_failure = true;
        }
        let cause = chain(&ended);
        if let Ended::BadList(_) | Ended::BadStream(_) = ended {
            follow.forget();
        }
        if std::mem::replace(&mut is_first_failure, false) {
            warn!(%address, cause, "not following the list, trying again");
        } else {
            debug!(%address, cause, "not following the list, trying again");
        }
        // Jitter: proxies that lost one service framework at one moment do not come back at one moment.
        let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(jittered) => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One connection, from request to end.
async fn read_stream(
    client: &reqwest::Client,
    address: &str,
    follow: &mut Follow,
    known: &Sender<Watched>,
) -> Result<(), Ended> {
    let request = client
        .get(address)
        .headers(headers(follow.last_event_id().as_deref()));
    let answer = timeout(ANSWER_DEADLINE, request.send())
        .await
        .map_err(|_| Ended::NoAnswer)??;
    if answer.status() != StatusCode::OK {
        return Err(Ended::Status(answer.status()));
    }
    info!(address, "following the list");
    known.send_modify(|watched| watched.is_connected = true);
    let mut body = answer.bytes_stream();
    let mut parser = Parser::new(MAX_EVENT_BYTES);
    loop {
        let Some(bytes) = timeout(SILENCE, body.next())
            .await
            .map_err(|_| Ended::Silent)?
        else {
            return Ok(());
        };
        for event in parser.push(&bytes?)? {
            let followed = follow.take(&event)?;
            known.send_modify(|watched| {
                watched.events += 1;
                match followed {
                    Followed::List(list) => watched.list = Some(list),
                    Followed::Alive => watched.heartbeats += 1,
                    Followed::Unknown => {}
                }
            });
        }
    }
}

fn headers(last_event_id: Option<&str>) -> HeaderMap {
    let mut headers =
        HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
    if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(HeaderName::from_static("last-event-id"), id);
    }
    headers
}
