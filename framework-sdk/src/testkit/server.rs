//! Streams in, streams out, and the clock. One lock around the whole state: a test kit has no need of more.

use std::sync::{Arc, Mutex, PoisonError};

use mete_model::{FrameworkId, Timestamp};
use mete_proto::mesos::v1::scheduler::{Call as Message, Event};
use mete_proto::mete::v1::scheduler_server::Scheduler;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Refusal;
use super::calls::{self, Call, Received};
use super::messages::error;
use super::state::{MAX_QUEUED_EVENTS, State, Stream, finish};

/// When every master in memory starts: 2023-11-14T22:13:20Z. From there its clock runs as any.
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// What the test, the streams and the clock share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    started: Instant,
    /// Counts changes: somebody has called, a deadline has moved.
    changes: watch::Sender<u64>,
    /// Whether calls are taken from the network.
    pub(super) takes_calls: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            started: Instant::now(),
            changes: watch::Sender::new(0),
            takes_calls: watch::Sender::new(true),
        }
    }

    /// Changes the state; what follows from it goes out.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let now = START + self.started.elapsed();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state, now);
        state.settle(now);
        drop(state);
        self.changes.send_modify(|count| *count += 1);
        result
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Lets time do its part, for ever.
    pub(super) async fn pass_time(self: Arc<Self>) {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let due = self
                .look(State::next_deadline)
                .map(|at| self.started + at.since(START));
            let sleep = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => {
                    self.change(|_, _| ());
                }
                _more = changes.changed() => {}
            }
        }
    }
}

/// Where frameworks connect.
pub(super) struct Service(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl Scheduler for Service {
    type ConnectStream = ReceiverStream<Result<Event, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<Message>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (token, refusal) = self
            .0
            .look(|state| (state.options.token.clone(), state.refusal.clone()));
        if let Some(token) = token {
            let shown = request.metadata().get("authorization");
            let is_right = shown.is_some_and(|shown| *shown == format!("Bearer {token}"));
            if !is_right {
                return Err(Status::unauthenticated(
                    "the bearer token is missing or wrong",
                ));
            }
        }
        match refusal {
            Some(Refusal::Unavailable(why)) => return Err(Status::unavailable(why)),
            Some(Refusal::Unauthenticated(why)) => return Err(Status::unauthenticated(why)),
            Some(Refusal::Error(_)) | None => {}
        }
        let (events, queue) = mpsc::channel(MAX_QUEUED_EVENTS);
        let stream = Stream {
            events,
            ended: CancellationToken::new(),
        };
        tokio::spawn(listen(Arc::clone(&self.0), stream, request.into_inner()));
        Ok(Response::new(ReceiverStream::new(queue)))
    }
}

/// Hears one framework until its stream ends.
async fn listen(shared: Arc<Shared>, stream: Stream, mut calls: Streaming<Message>) {
    let mut takes_calls = shared.takes_calls.subscribe();
    let mut framework: Option<FrameworkId> = None;
    loop {
        let next = async {
            // The one who sends lives in `shared`.
            let _ = takes_calls.wait_for(|takes| *takes).await;
            calls.message().await
        };
        let message = tokio::select! {
            biased;
            () = stream.ended.cancelled() => break,
            () = stream.events.closed() => break,
            message = next => message,
        };
        match (message, &framework) {
            (Ok(Some(message)), None) => match subscribe(&shared, &stream, &message) {
                Ok(id) => framework = Some(id),
                Err(why) => {
                    finish(stream, &why);
                    return;
                }
            },
            (Ok(Some(message)), Some(framework)) => hear(&shared, framework, &message),
            (Ok(None) | Err(_), _) => break,
        }
    }
    if let Some(framework) = framework {
        shared.change(|state, now| state.stream_ended(now, &framework, &stream.ended));
    }
}

fn subscribe(shared: &Shared, stream: &Stream, message: &Message) -> Result<FrameworkId, String> {
    let received = calls::read(message).map_err(|error| error.to_string())?;
    shared.change(|state, now| {
        state.record(received.clone());
        let Call::Subscribe {
            info,
            suppressed,
            facts,
        } = received.call
        else {
            return Err("the first call is SUBSCRIBE".to_owned());
        };
        state.subscribe(now, *info, &suppressed, *facts, stream.clone())
    })
}

fn hear(shared: &Shared, framework: &FrameworkId, message: &Message) {
    let received = calls::read(message);
    shared.change(|state, now| match received {
        Ok(Received { call, .. }) => {
            state.record(Received {
                framework: Some(framework.clone()),
                call: call.clone(),
            });
            state.answer(now, framework, call);
        }
        Err(fault) => {
            let why = format!("{}: {fault}", message.r#type().as_str_name());
            state.say(framework, error(&why));
        }
    });
}
