//! The stream of what happens, for tools that follow the cluster: SUBSCRIBE.
//!
//! ```text
//! SUBSCRIBED with all there is ─▶ HEARTBEAT ─▶ …_ADDED, …_UPDATED, …_REMOVED, HEARTBEAT … ─▶ (not read fast enough) cut
//! ```
//! One herald compares each published view with the one before, so that no decision ever waits for a reader. What happens
//! between two views is told as far as the later one knows it: every state of a task that was reported, but once.
//! Invariants: each event is written once for each form and shared by all readers, and so is what readers begin with who come
//! at the same moment; what waits for one reader is bounded, in events and in bytes.

mod backlog; // what waits for one reader
mod news; // what has happened between two views

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use mete_daemon::aside;
use mete_daemon::event_loop::{Follower, Handle};
use mete_daemon::mesos_http::Streamed;
use mete_master_core::View;
use mete_proto::encoded;
use mete_proto::json::number_of;
use mete_proto::media::Media;
use mete_proto::mesos::v1::master::{Event, event};
use mete_proto::recordio;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use self::backlog::{Backlog, Pushed};
use super::state;
use crate::grpc::framework::HEARTBEAT_INTERVAL;
use crate::rounds::Timed;
use crate::v1::refusal::Refusal;

/// Readers at the same time; one more, and the oldest is cut (as in Mesos).
const MAX_WATCHERS: usize = 1_000;
/// Readers that are welcomed together. Others who come at that moment wait for their turn.
const MAX_COMING: usize = 64;

/// The way to the herald. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Watchers {
    coming: mpsc::Sender<Coming>,
    count: Arc<AtomicUsize>,
}

/// A reader who comes.
#[derive(Debug)]
struct Coming {
    media: Media,
    backlog: Backlog,
}

/// Who tells.
struct Herald {
    views: Follower<Timed>,
    /// What all readers know; `None` while there is none, so that nothing old is held.
    told: Option<Arc<View>>,
    /// The oldest first.
    readers: VecDeque<Coming>,
    /// How many there are, for those who count.
    count: Arc<AtomicUsize>,
}

impl Watchers {
    /// Starts the herald, which lives as long as the loop.
    pub(super) fn start(handle: &Handle<Timed>) -> Self {
        let (sender, coming) = mpsc::channel(MAX_COMING);
        let count = Arc::<AtomicUsize>::default();
        let herald = Herald {
            views: handle.follow(),
            told: None,
            readers: VecDeque::new(),
            count: Arc::clone(&count),
        };
        tokio::spawn(herald.run(coming));
        Self {
            coming: sender,
            count,
        }
    }

    /// How many follow the cluster.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// A stream for one reader more.
    pub(super) async fn subscribe(&self, media: Media) -> Response {
        let (backlog, records) = backlog::open();
        if self.coming.send(Coming { media, backlog }).await.is_err() {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Refusal::with(status, "the master is shutting down").into_response();
        }
        let records = records.map(Ok::<Bytes, Infallible>);
        let kind = [(CONTENT_TYPE, media.name())];
        (kind, Extension(Streamed), Body::from_stream(records)).into_response()
    }
}

impl Herald {
    async fn run(mut self, mut coming: mpsc::Receiver<Coming>) {
        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut together = Vec::with_capacity(MAX_COMING);
        loop {
            tokio::select! {
                count = coming.recv_many(&mut together, MAX_COMING) => match count {
                    0 => return,
                    _ => self.welcome(&mut together).await,
                },
                view = self.views.changed(), if !self.readers.is_empty() => match view {
                    Ok(view) => self.tell_news(view),
                    Err(_) => return, // The loop has ended.
                },
                _ = heartbeat.tick() => self.tell(&[bare(event::Type::Heartbeat)]),
            }
        }
    }

    /// Readers begin with all that the others know by now.
    async fn welcome(&mut self, readers: &mut Vec<Coming>) {
        let view = self.views.current();
        self.tell_news(Arc::clone(&view));
        let mut written: BTreeMap<&'static str, [Bytes; 2]> = BTreeMap::new();
        for mut reader in readers.drain(..) {
            let media = reader.media;
            let first = match written.get(media.name()) {
                Some(first) => first.clone(),
                None => {
                    let view = Arc::clone(&view);
                    let first = aside::run(move || subscribed(media, &view));
                    let Ok(first) = first.await else { continue };
                    let first = [first, record(media, &bare(event::Type::Heartbeat))];
                    written.insert(media.name(), first.clone());
                    first
                }
            };
            if !reader.backlog.begin(first) {
                continue; // Gone already.
            }
            if self.readers.len() >= MAX_WATCHERS {
                warn!(
                    readers = MAX_WATCHERS,
                    "too many follow the cluster: the oldest is cut"
                );
                self.readers.pop_front();
            }
            self.told = Some(Arc::clone(&view));
            self.readers.push_back(reader);
        }
        self.rest();
    }

    fn tell_news(&mut self, now: Arc<View>) {
        if let Some(before) = self.told.replace(Arc::clone(&now)) {
            let events = news::between(&before, &now);
            self.tell(&events);
        }
    }

    /// Nothing is held for nobody.
    fn rest(&mut self) {
        self.count.store(self.readers.len(), Ordering::Relaxed);
        if self.readers.is_empty() {
            self.told = None;
        }
    }

    fn tell(&mut self, events: &[Event]) {
        for event in events {
            let mut written: BTreeMap<&'static str, Bytes> = BTreeMap::new();
            self.readers.retain(|reader| {
                let record = written
                    .entry(reader.media.name())
                    .or_insert_with(|| record(reader.media, event));
                match reader.backlog.push(record.clone()) {
                    Pushed::Waits => true,
                    Pushed::Full { events, bytes } => {
                        warn!(events, bytes, "a reader is not fast enough and is cut");
                        false
                    }
                    Pushed::Gone => {
                        debug!("a reader has gone");
                        false
                    }
                }
            });
        }
        self.rest();
    }
}

fn record(media: Media, event: &Event) -> Bytes {
    recordio::encode(&media.encode(event))
}

/// What a reader gets first, as a record.
fn subscribed(media: Media, view: &View) -> Bytes {
    const SUBSCRIBED: u32 = number_of::<Event>("subscribed");
    const STATE: u32 = number_of::<event::Subscribed>("get_state");
    let rest = event::Subscribed {
        get_state: None,
        heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL.as_secs_f64()),
    };
    let mut subscribed = Vec::new();
    encoded::put_pieces(&mut subscribed, STATE, &state::all(view));
    subscribed.extend(rest.encode_to_vec());
    let mut event = bare(event::Type::Subscribed).encode_to_vec();
    encoded::put_delimited(&mut event, SUBSCRIBED, &subscribed);
    recordio::encode(&media.encode_from::<Event>(event))
}

fn bare(kind: event::Type) -> Event {
    Event {
        r#type: Some(kind.into()),
        ..Event::default()
    }
}
