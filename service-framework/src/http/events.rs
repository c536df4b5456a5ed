//! `/v2/events`: what happens, as it happens, to everybody who listens.
//!
//! ```text
//! attached ──events it asked for, or a heartbeat──▶ … ──gone, too slow, or the end──▶ detached
//! ```
//! One ring of frames serves all. Each frame has an id, so that a subscriber that comes back goes on where it was; one
//! that falls behind is told so and cut, and comes back.

mod ring; // the newest events, each encoded once

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mete_daemon::clock;
use mete_model::Timestamp;
use mete_proto::rest::events::{Event as Told, Happening as What};
use mete_service_framework_core::events::{About, Event};
use mete_service_framework_core::spec::time;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::ring::{Found, Frame, Ring};
use super::access::May;
use super::backends::LAST_EVENT_ID;
use super::failure::Failure;
use super::params::{Caller, Params};
use super::{Api, at, convert};

/// Events a subscriber may be behind (Marathon's `event_stream_max_outstanding_messages`).
const MAX_BEHIND: u64 = 1024;
/// What has happened a shorter while ago has to be written yet, however much it is: whoever reads is not to be cut because
/// a thousand instances begin at once.
const IS_NEW: Duration = Duration::from_secs(5);
/// Who listens at once: load balancers and dashboards, some of each; every one is a connection and a task.
const MAX_SUBSCRIBERS: usize = 2_048;
/// After a silence of so long there is a bare line end, so that both sides know that the other lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The head of the answer goes out at once, with this.
const HELLO: Bytes = Bytes::from_static(b"\r\n");
/// What one hears who cannot go on where it was. Readers of events pass over lines that begin with a colon.
const LOST: Bytes = Bytes::from_static(
    b": what came after this Last-Event-ID is not kept: events are missing, read everything anew\r\n\r\n",
);
/// What one hears who is cut.
const CUT: Bytes = Bytes::from_static(
    b": cut for being more than 1024 events behind; say Last-Event-ID to go on\r\n\r\n",
);

/// Everybody who listens. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Subscribers {
    ring: Arc<Ring>,
    listening: Arc<AtomicUsize>,
    role: Arc<str>,
}

impl Subscribers {
    /// Nobody yet. `role` is that of the framework.
    pub(crate) fn new(role: &str) -> Self {
        Self {
            ring: Arc::new(Ring::new(uuid::Uuid::new_v4().to_string())),
            listening: Arc::default(),
            role: role.into(),
        }
    }

    /// Tells an event, also when nobody listens: somebody may come back.
    pub(crate) fn publish(&self, event: &Event) {
        let (name, about) = (event.what.type_name(), event.what.about());
        self.send(name, about, event.at, &convert::event(event, &self.role));
    }

    fn tell(&self, event_type: &'static str, what: What) {
        let now = clock::now();
        let timestamp = time::text(now);
        self.send(event_type, About::Itself, now, &Told { what, timestamp });
    }

    fn send(&self, event_type: &'static str, about: About, at: Timestamp, told: &Told) {
        let data = match serde_json::to_string(told) {
            Ok(data) => data,
            Err(error) => {
                tracing::error!(event_type, %error, "an event has no JSON form");
                return;
            }
        };
        let write =
            |id: &str| format!("event: {event_type}\r\ndata: {data}\r\nid: {id}\r\n\r\n").into();
        self.ring.push(event_type, about, at, write);
    }

    /// A place among those who listen, until it is dropped; `None` when all are taken.
    fn attach(&self, address: String) -> Option<Attached> {
        let more = |now: usize| (now < MAX_SUBSCRIBERS).then_some(now + 1);
        let taken = self
            .listening
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| Attached {
            subscribers: self.clone(),
            address,
        })
    }
}

pub(super) fn routes() -> Router<Api> {
    at("/v2/events", get(subscribe))
}

async fn subscribe(
    State(api): State<Api>,
    may: May,
    headers: HeaderMap,
    params: Params,
    caller: Caller,
) -> Result<Response, Failure> {
    let mut accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    if !accepted.any(|value| value.contains("text/event-stream")) {
        return Err(Failure::method_not_allowed());
    }
    let Some(attached) = api.subscribers.attach(caller.address.clone()) else {
        let message = format!("{MAX_SUBSCRIBERS} subscribers listen already");
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let types = params.all("event_type").map(str::to_owned).collect();
    let asked = Asked { types, may };
    let last = headers
        .get(LAST_EVENT_ID)
        .map(|id| id.to_str().unwrap_or_default());
    let listener = Listener::new(attached, asked, last, api.stop.clone());
    let remote_address = caller.address;
    let attached = What::EventStreamAttached { remote_address };
    api.subscribers.tell("event_stream_attached", attached);
    let frames = futures::stream::unfold(listener, |mut listener| async {
        let bytes = listener.next().await?;
        Some((Ok::<_, Infallible>(bytes), listener))
    });
    let kind = [(CONTENT_TYPE, "text/event-stream;charset=UTF-8")];
    Ok((kind, Body::from_stream(frames)).into_response())
}

/// What a subscriber is to hear.
struct Asked {
    /// The types it asked for; all when empty.
    types: BTreeSet<String>,
    may: May,
}

impl Asked {
    fn takes(&self, frame: &Frame) -> bool {
        let is_asked = self.types.is_empty() || self.types.contains(frame.event_type);
        is_asked
            && match &frame.about {
                About::Paths(paths) => {
                    self.may.sees_all() || paths.iter().all(|path| self.may.sees(path))
                }
                About::Itself => self.may.sees_all(),
            }
    }
}

/// One subscriber.
struct Listener {
    news: watch::Receiver<u64>,
    /// The number of the event it reads next.
    next: u64,
    /// How far it may be behind: one that came back for old events until it has caught up, then [`MAX_BEHIND`].
    may_be_behind: u64,
    asked: Asked,
    /// What it reads before anything else.
    first: Option<Bytes>,
    is_cut: bool,
    stop: CancellationToken,
    attached: Attached,
}

impl Listener {
    /// One that goes on after the event it had `last`, or begins now.
    fn new(attached: Attached, asked: Asked, last: Option<&str>, stop: CancellationToken) -> Self {
        let ring = &attached.subscribers.ring;
        let resumed = last.map(|id| ring.after(id));
        let newest = ring.next();
        let next = resumed.flatten().unwrap_or(newest);
        Self {
            news: ring.news(),
            next,
            may_be_behind: newest - next + MAX_BEHIND,
            asked,
            first: Some(if resumed == Some(None) { LOST } else { HELLO }),
            is_cut: false,
            stop,
            attached,
        }
    }

    /// What it reads next; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        if self.is_cut {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let silence = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(silence);
        loop {
            self.news.borrow_and_update(); // what comes from here on wakes it below
            match self.attached.subscribers.ring.find(self.next) {
                Found::Event(frame, behind)
                    if behind < self.may_be_behind || clock::now().since(frame.at) < IS_NEW =>
                {
                    self.next += 1;
                    self.may_be_behind = self.may_be_behind.min(behind + MAX_BEHIND);
                    if self.asked.takes(&frame) {
                        return Some(frame.bytes.clone());
                    }
                    continue;
                }
                Found::Event(..) | Found::Lost => {
                    let address = &self.attached.address;
                    tracing::warn!(
                        address,
                        next = self.next,
                        "subscriber is too slow and is cut"
                    );
                    self.is_cut = true;
                    return Some(CUT);
                }
                Found::Nothing => {}
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = &mut silence => return Some(HELLO),
                changed = self.news.changed() => changed.ok()?,
            }
        }
    }
}

/// Tells the others when a subscriber goes, however it goes.
struct Attached {
    subscribers: Subscribers,
    address: String,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.subscribers.listening.fetch_sub(1, Ordering::Relaxed);
        let remote_address = std::mem::take(&mut self.address);
        let detached = What::EventStreamDetached { remote_address };
        self.subscribers.tell("event_stream_detached", detached);
    }
}

#[cfg(test)]
mod tests {
    use mete_service_framework_core::events::Happening;

    use super::*;

    const NOBODY: Event = Event {
        at: Timestamp::from_millis(0),
        what: Happening::SchedulerDisconnected,
    };

    fn everything() -> Asked {
        Asked {
            types: BTreeSet::new(),
            may: May::everything(),
        }
    }

    /// One that has read its first line.
    fn listener(subscribers: &Subscribers, last: Option<&str>) -> Listener {
        let attached = subscribers.attach("127.0.0.1:9".to_owned());
        let attached = attached.expect("a free place");
        let stop = CancellationToken::new();
        let mut listener = Listener::new(attached, everything(), last, stop);
        assert_eq!(listener.first.take(), Some(HELLO));
        listener
    }

    async fn text(listener: &mut Listener) -> String {
        let bytes = listener.next().await.expect("news");
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    /// The id that stands in a frame.
    fn id(frame: &str) -> String {
        let line = frame.lines().find_map(|line| line.strip_prefix("id: "));
        line.expect("an id").to_owned()
    }

    #[tokio::test]
    async fn a_subscriber_that_is_too_slow_is_cut_with_a_word_and_the_others_hear_of_it() {
        let subscribers = Subscribers::new("*");
        let mut slow = listener(&subscribers, None);
        let mut quick = listener(&subscribers, None);

        for _ in 0..=MAX_BEHIND {
            subscribers.publish(&NOBODY);
            assert!(
                text(&mut quick)
                    .await
                    .starts_with("event: scheduler_disconnected")
            );
        }

        assert_eq!(slow.next().await, Some(CUT));
        assert_eq!(slow.next().await, None);
        drop(slow);
        let told = text(&mut quick).await;
        assert!(
            told.starts_with("event: event_stream_detached\r\ndata: {"),
            "{told}"
        );
    }

    #[tokio::test]
    async fn whoever_reads_is_not_cut_for_what_comes_at_once() {
        let subscribers = Subscribers::new("*");
        let mut quick = listener(&subscribers, None);
        let now = Event {
            at: clock::now(),
            what: Happening::SchedulerDisconnected,
        };

        for _ in 0..4 * MAX_BEHIND {
            subscribers.publish(&now);
        }

        for _ in 0..4 * MAX_BEHIND {
            assert!(text(&mut quick).await.starts_with("event: scheduler_disc"));
        }
    }

    #[tokio::test]
    async fn one_that_comes_back_hears_what_it_missed_however_much_it_is() {
        let subscribers = Subscribers::new("*");
        let mut first = listener(&subscribers, None);
        subscribers.publish(&NOBODY);
        let last = id(&text(&mut first).await);
        for _ in 0..2 * MAX_BEHIND {
            subscribers.publish(&NOBODY);
        }

        let mut back = listener(&subscribers, Some(&last));
        let mut seen = BTreeSet::new();
        for _ in 0..2 * MAX_BEHIND {
            seen.insert(id(&text(&mut back).await));
        }

        assert_eq!(seen.len() as u64, 2 * MAX_BEHIND);
        assert!(!seen.contains(&last));
        // It has caught up: from now on it is as any other.
        for _ in 0..=MAX_BEHIND {
            subscribers.publish(&NOBODY);
        }
        assert_eq!(back.next().await, Some(CUT));
    }

    #[tokio::test]
    async fn one_that_cannot_go_on_is_told_and_begins_now() {
        let subscribers = Subscribers::new("*");
        subscribers.publish(&NOBODY);
        let attached = subscribers.attach(String::new()).expect("a free place");

        let of_another_life = Some("1b4e28ba-1");
        let mut back = Listener::new(
            attached,
            everything(),
            of_another_life,
            CancellationToken::new(),
        );
        subscribers.publish(&NOBODY);

        assert_eq!(back.next().await, Some(LOST));
        assert!(id(&text(&mut back).await).ends_with("-2"));
    }

    #[tokio::test]
    async fn places_are_counted_and_given_back() {
        let subscribers = Subscribers::new("*");
        let mut all: Vec<Attached> =
            std::iter::from_fn(|| subscribers.attach(String::new())).collect();
        assert_eq!(all.len(), MAX_SUBSCRIBERS);

        all.pop();

        assert!(subscribers.attach(String::new()).is_some());
    }

    #[tokio::test]
    async fn a_frame_is_a_name_one_line_and_an_id() {
        let subscribers = Subscribers::new("*");
        let mut listener = listener(&subscribers, None);

        subscribers.publish(&Event {
            at: Timestamp::from_millis(0),
            what: Happening::SchedulerReregistered {
                master: "line\nend".to_owned(),
            },
        });

        let frame = text(&mut listener).await;
        let (frame, id) = frame.split_once("id: ").expect("an id");
        let expected = "event: scheduler_reregistered_event\r\ndata: {\"eventType\":\"scheduler_reregistered_event\",\
                        \"master\":\"line\\nend\",\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\r\n";
        assert_eq!(frame, expected);
        assert!(id.ends_with("-1\r\n\r\n"), "{id}");
    }
}
