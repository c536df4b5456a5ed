//! `/v2/events`: what happens, as it happens, to everybody who listens.
//!
//! ```text
//! attached ──events it asked for, or a heartbeat──▶ … ──gone, too slow, or the end──▶ detached
//! ```
//! One ring of frames serves all: a subscriber that falls behind by the whole ring has lost some and is cut, so that
//! it comes back and reads everything anew.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mete_daemon::clock;
use mete_proto::rest::events::{Event as Told, Happening as What};
use mete_service_framework_core::events::Event;
use mete_service_framework_core::spec::time;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::params::{Caller, Params};
use super::{Api, convert};

/// Events a subscriber may be behind (Marathon's `event_stream_max_outstanding_messages`).
const MAX_BEHIND: usize = 1024;
/// Who listens at once: load balancers and dashboards, some of each; every one is a connection and a task.
const MAX_SUBSCRIBERS: usize = 512;
/// After a silence of so long there is a bare line end, so that both sides know that the other lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// One event, ready to be sent.
#[derive(Debug)]
struct Frame {
    event_type: String,
    bytes: Bytes,
}

/// Everybody who listens. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Subscribers {
    ring: Sender<Arc<Frame>>,
    role: Arc<str>,
}

impl Subscribers {
    /// Nobody yet. `role` is that of the framework.
    pub(crate) fn new(role: &str) -> Self {
        Self {
            ring: Sender::new(MAX_BEHIND),
            role: role.into(),
        }
    }

    /// Tells an event; costs nothing when nobody listens.
    pub(crate) fn publish(&self, event: &Event) {
        if self.ring.receiver_count() > 0 {
            self.send(&convert::event(event, &self.role));
        }
    }

    fn tell(&self, what: What) {
        let timestamp = time::text(clock::now());
        self.send(&Told { what, timestamp });
    }

    fn send(&self, told: &Told) {
        let frame = serde_json::to_value(told).ok().and_then(|value| {
            let event_type = value.get("eventType")?.as_str()?.to_owned();
            let text = format!("event: {event_type}\r\ndata: {value}\r\n\r\n");
            let bytes = Bytes::from(text);
            Some(Frame { event_type, bytes })
        });
        if let Some(frame) = frame {
            // Nobody to hear it is no failure.
            drop(self.ring.send(Arc::new(frame)));
        }
    }
}

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v2/events", get(subscribe))
}

async fn subscribe(
    State(api): State<Api>,
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
    if api.subscribers.ring.receiver_count() >= MAX_SUBSCRIBERS {
        let message = format!("{MAX_SUBSCRIBERS} subscribers listen already");
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, message));
    }
    let listener = Listener {
        frames: api.subscribers.ring.subscribe(),
        asked: params.all("event_type").map(str::to_owned).collect(),
        is_new: true,
        stop: api.stop.clone(),
        attached: Attached {
            subscribers: api.subscribers.clone(),
            address: caller.address.clone(),
        },
    };
    api.subscribers.tell(What::EventStreamAttached {
        remote_address: caller.address,
    });
    let frames = futures::stream::unfold(listener, |mut listener| async {
        let bytes = listener.next().await?;
        Some((Ok::<_, Infallible>(bytes), listener))
    });
    let kind = [(CONTENT_TYPE, "text/event-stream;charset=UTF-8")];
    Ok((kind, Body::from_stream(frames)).into_response())
}

/// One subscriber.
struct Listener {
    frames: Receiver<Arc<Frame>>,
    /// The types it asked for; all when empty.
    asked: BTreeSet<String>,
    is_new: bool,
    stop: CancellationToken,
    attached: Attached,
}

impl Listener {
    /// What it reads next; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        const LINE_END: Bytes = Bytes::from_static(b"\r\n");
        if std::mem::take(&mut self.is_new) {
            return Some(LINE_END); // the head of the answer goes out at once
        }
        let silence = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(silence);
        loop {
            let frame = tokio::select! {
                () = self.stop.cancelled() => return None,
                () = &mut silence => return Some(LINE_END),
                frame = self.frames.recv() => frame,
            };
            match frame {
                Ok(frame) if self.asked.is_empty() || self.asked.contains(&frame.event_type) => {
                    return Some(frame.bytes.clone());
                }
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => {
                    let address = &self.attached.address;
                    tracing::warn!(address, lost, "subscriber is too slow and is cut");
                    return None;
                }
                Err(RecvError::Closed) => return None,
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
        let remote_address = std::mem::take(&mut self.address);
        self.subscribers
            .tell(What::EventStreamDetached { remote_address });
    }
}

#[cfg(test)]
mod tests {
    use mete_model::Timestamp;
    use mete_service_framework_core::events::Happening;

    use super::*;

    fn listener(subscribers: &Subscribers) -> Listener {
        Listener {
            frames: subscribers.ring.subscribe(),
            asked: BTreeSet::new(),
            is_new: false,
            stop: CancellationToken::new(),
            attached: Attached {
                subscribers: subscribers.clone(),
                address: "127.0.0.1:9".to_owned(),
            },
        }
    }

    #[tokio::test]
    async fn a_subscriber_that_is_too_slow_is_cut_and_the_others_hear_of_it() {
        let subscribers = Subscribers::new("*");
        let (mut slow, mut quick) = (listener(&subscribers), listener(&subscribers));
        let event = Event {
            at: Timestamp::from_millis(0),
            what: Happening::SchedulerDisconnected,
        };

        for _ in 0..=MAX_BEHIND {
            subscribers.publish(&event);
            assert!(quick.next().await.is_some());
        }

        assert_eq!(slow.next().await, None);
        drop(slow);
        let told = quick.next().await.expect("news");
        assert!(told.starts_with(b"event: event_stream_detached\r\ndata: {"));
    }

    #[tokio::test]
    async fn a_frame_is_a_name_and_one_line() {
        let subscribers = Subscribers::new("*");
        let mut listener = listener(&subscribers);

        subscribers.publish(&Event {
            at: Timestamp::from_millis(0),
            what: Happening::SchedulerReregistered {
                master: "line\nend".to_owned(),
            },
        });

        let frame = listener.next().await.expect("a frame");
        let expected = "event: scheduler_reregistered_event\r\ndata: {\"eventType\":\"scheduler_reregistered_event\",\
                        \"master\":\"line\\nend\",\"timestamp\":\"1970-01-01T00:00:00.000Z\"}\r\n\r\n";
        assert_eq!(std::str::from_utf8(&frame).expect("text"), expected);
    }
}
