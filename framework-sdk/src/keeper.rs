//! What keeps the connection of a framework: one stream each way, made again for as long as the framework wants events.
//!
//! ```text
//! connecting ──SUBSCRIBED──▶ subscribed ──broken, silent, full──▶ waiting ──back-off──▶ connecting
//!      └──refused for good──▶ over ◀──ERROR as the last word, torn down, closed──┘
//! ```
//! Calls are taken only while subscribed. Wishes that outlive a connection (suppressed, demand, teardown) are said again
//! on the next.

use std::time::Duration;

use mete_model::FrameworkId;
use mete_proto::PROTOCOL_VERSION;
use mete_proto::lost;
use mete_proto::mesos::v1::scheduler::{Call, Event as Message, call};
use mete_proto::mete::v1::scheduler_client::SchedulerClient;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming};

use crate::calls::{Client, Link, MAX_QUEUED_CALLS, Said, Shared};
use crate::connection::Connection;
use crate::events::{Event, Heard, MISSED_HEARTBEATS, read};

/// From the beginning of an attempt to SUBSCRIBED.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after a lost connection; each next is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts: a cluster that comes back has its frameworks back soon. A connection that
/// held for longer begins with the first pause again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The largest event taken: many offers of large agents.
const MAX_EVENT_BYTES: usize = 64 << 20;
/// An ERROR is the last word when the stream ends so soon after it, and nothing stands between. An ERROR about a single
/// call leaves the stream open.
const LAST_WORD: Duration = Duration::from_secs(2);
/// What Mesos' masters say, and clients look for, when another has come with our id, or the id is worn out. Coming back
/// after the first would throw the other out, which would come back and throw us out.
const FINAL_WORDS: [&str; 2] = ["Framework failed over", "Framework has been removed"];
/// For the master to take the last calls and end the stream.
const WIND_UP: Duration = Duration::from_secs(2);

/// Why a connection ended.
enum End {
    /// Worth another try.
    Broken(String),
    /// Another try would be answered the same.
    Refused(String),
    /// Nobody wants it any more, or all has been said.
    Over,
}

/// One connection, from the attempt to its end.
struct Session {
    calls: mpsc::Sender<Call>,
    cut: CancellationToken,
    /// What SUBSCRIBE said of it.
    said: Said,
    /// How long the master may be silent; `None` before SUBSCRIBED.
    patience: Option<Duration>,
    /// The ERROR that was the latest message, and when it came.
    error: Option<(String, Instant)>,
}

/// The task that keeps the connection.
pub(crate) struct Keeper {
    connection: Connection,
    client: Client,
    events: mpsc::Sender<Event>,
    closing: CancellationToken,
    /// Of the masters that let us in, the latest reign: older ones are not obeyed.
    epoch: u64,
    /// The framework has been told that there is no connection.
    told: bool,
}

impl Keeper {
    pub(crate) fn new(
        connection: Connection,
        client: Client,
        events: mpsc::Sender<Event>,
        closing: CancellationToken,
    ) -> Self {
        Self {
            connection,
            client,
            events,
            closing,
            epoch: 0,
            told: false,
        }
    }

    pub(crate) async fn keep(mut self) {
        let mut pause = FIRST_PAUSE;
        for attempt in 0_usize.. {
            let began = Instant::now();
            let end = self.connect(attempt).await;
            self.client.unlink();
            match end {
                End::Over => return,
                End::Refused(reason) => {
                    tracing::warn!(reason, "the master does not let us in");
                    return self.tell(Event::Error(reason)).await;
                }
                End::Broken(reason) => self.disconnected(reason).await,
            }
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = self.events.closed() => return,
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Said once, not at every failed attempt.
    async fn disconnected(&mut self, reason: String) {
        if self.told {
            tracing::debug!(reason, "still not connected to a master");
        } else {
            self.told = true;
            tracing::warn!(reason, "not connected to a master");
            self.tell(Event::Disconnected { reason }).await;
        }
    }

    /// Waits while the framework has too much to read, but not when it closes.
    async fn tell(&self, event: Event) {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => {}
            _gone = self.events.send(event) => {}
        }
    }

    async fn connect(&mut self, attempt: usize) -> End {
        let (calls, queue) = mpsc::channel(MAX_QUEUED_CALLS);
        let (subscribe, said) = self.client.with(|shared| {
            let said = Said {
                suppressed: shared.suppressed,
                roles: shared.info.roles.clone(),
            };
            (subscribe(shared), said)
        });
        if calls.try_send(subscribe).is_err() {
            return End::Broken("the queue of a new link is full".to_owned());
        }
        let session = Session {
            calls,
            cut: CancellationToken::new(),
            said,
            patience: None,
            error: None,
        };
        let deadline = Instant::now() + SUBSCRIBE_TIMEOUT;
        let opened = tokio::select! {
            biased;
            () = self.closing.cancelled() => return End::Over,
            () = self.events.closed() => return End::Over,
            opened = timeout_at(deadline, self.open(attempt, queue)) => opened,
        };
        match opened {
            Ok(Ok(stream)) => self.follow(stream, session, deadline).await,
            Ok(Err(end)) => end,
            Err(_) => no_answer(),
        }
    }

    async fn open(
        &self,
        attempt: usize,
        queue: mpsc::Receiver<Call>,
    ) -> Result<Streaming<Message>, End> {
        let masters = &self.connection.masters;
        let endpoint = &masters[attempt % masters.len()];
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| End::Broken(format!("{}: {}", endpoint.uri(), chain(&error))))?;
        let mut request = Request::new(ReceiverStream::new(queue));
        if let Some(authorization) = &self.connection.authorization {
            request
                .metadata_mut()
                .insert("authorization", authorization.clone());
        }
        SchedulerClient::new(channel)
            .max_decoding_message_size(MAX_EVENT_BYTES)
            .connect(request)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| refused_or_broken(&status))
    }

    async fn follow(
        &mut self,
        mut stream: Streaming<Message>,
        mut session: Session,
        subscribe_until: Instant,
    ) -> End {
        loop {
            // Set anew each time: while the framework did not read, nothing was read here either.
            let until = session
                .patience
                .map_or(subscribe_until, |patience| Instant::now() + patience);
            let message = tokio::select! {
                biased;
                () = self.closing.cancelled() => return self.wind_up(stream, session).await,
                () = self.events.closed() => return End::Over,
                () = session.cut.cancelled() => return End::Broken("the master takes no calls".to_owned()),
                message = timeout_at(until, stream.message()) => message,
            };
            let message = match message {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return self.ended(&session, None),
                Ok(Err(status)) => return self.ended(&session, Some(&status)),
                Err(_) => return session.patience.map_or_else(no_answer, silent),
            };
            match self.hear(message, &mut session) {
                Ok(Some(event)) => self.tell(event).await,
                Ok(None) => {}
                Err(end) => return end,
            }
        }
    }

    /// What a message means for the connection, and what of it is for the framework.
    fn hear(&mut self, message: Message, session: &mut Session) -> Result<Option<Event>, End> {
        session.error = None;
        let is_in = session.patience.is_some();
        let event = match read(message) {
            Ok(Heard::Subscribed {
                framework,
                master,
                heartbeat,
                epoch,
            }) => {
                if epoch < self.epoch {
                    let reason = format!("a master of epoch {epoch} after one of {}", self.epoch);
                    return Err(End::Broken(reason));
                }
                self.epoch = epoch;
                session.patience = Some(heartbeat * MISSED_HEARTBEATS);
                self.link(&framework, session);
                Event::Subscribed { framework, master }
            }
            Ok(Heard::Event(Event::Error(text))) => {
                session.error = Some((text.clone(), Instant::now()));
                if self.is_wanted_end(&text) {
                    return Err(End::Over);
                }
                return Ok(Some(Event::Error(text)));
            }
            Ok(Heard::Event(event)) if is_in => event,
            Ok(Heard::Heartbeat) => return Ok(None),
            Ok(Heard::Ignored(kind)) => {
                tracing::debug!(
                    kind,
                    "an event of a kind that is not carried is passed over"
                );
                return Ok(None);
            }
            Ok(Heard::Event(_)) => {
                return Err(End::Broken("the master spoke before SUBSCRIBED".to_owned()));
            }
            Err(error) if is_in => {
                // To leave for that would not help: what comes again makes no more sense then.
                tracing::warn!(%error, "an event makes no sense and is passed over");
                return Ok(None);
            }
            Err(error) => {
                let reason = format!("the answer to SUBSCRIBE makes no sense: {error}");
                return Err(End::Broken(reason));
            }
        };
        Ok(Some(event))
    }

    /// From here on calls are taken. What was wished while there was no connection is said first.
    fn link(&mut self, framework: &FrameworkId, session: &Session) {
        tracing::info!(%framework, "subscribed");
        self.told = false;
        let link = Link {
            framework: framework.clone(),
            calls: session.calls.clone(),
            cut: session.cut.clone(),
        };
        self.client.link(link, &session.said);
    }

    /// The framework was torn down at its own wish, in a connection before this one.
    fn is_wanted_end(&self, error: &str) -> bool {
        error.starts_with(FINAL_WORDS[1]) && self.client.with(|shared| shared.torn_down)
    }

    /// The stream is at its end, well (`None`) or not.
    fn ended(&self, session: &Session, status: Option<&Status>) -> End {
        if let Some((text, at)) = &session.error {
            let is_final = FINAL_WORDS.iter().any(|words| text.starts_with(words));
            if is_final || (status.is_none() && at.elapsed() < LAST_WORD) {
                return End::Over; // The framework has been told.
            }
        }
        match status {
            Some(status) => refused_or_broken(status),
            None if self.client.with(|shared| shared.torn_down) => End::Over,
            None => End::Broken("the master closed the stream".to_owned()),
        }
    }

    /// Says no more, and waits until the master has heard all and ended the stream.
    async fn wind_up(&self, mut stream: Streaming<Message>, session: Session) -> End {
        self.client.unlink();
        drop(session);
        let until = Instant::now() + WIND_UP;
        while let Ok(Ok(Some(_))) = timeout_at(until, stream.message()).await {}
        End::Over
    }
}

/// The first call of a connection.
fn subscribe(shared: &Shared) -> Call {
    let mut call = Call {
        framework_id: shared.info.id.clone(),
        subscribe: Some(Box::new(call::Subscribe {
            framework_info: shared.info.clone(),
            suppressed_roles: shared.suppressed_roles(),
            protocol_version: Some(PROTOCOL_VERSION),
            ..call::Subscribe::default()
        })),
        ..Call::default()
    };
    call.set_type(call::Type::Subscribe);
    call
}

fn no_answer() -> End {
    End::Broken(format!(
        "no answer to SUBSCRIBE within {SUBSCRIBE_TIMEOUT:?}"
    ))
}

fn silent(patience: Duration) -> End {
    End::Broken(format!("the master was silent for {patience:?}"))
}

/// Some codes stay the same however often one asks.
fn refused_or_broken(status: &Status) -> End {
    if lost::is_lost(status) {
        tracing::debug!(
            cause = chain(status),
            "the connection to the master was lost"
        );
        return End::Broken("the connection to the master was lost".to_owned());
    }
    let reason = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::Unimplemented => End::Refused(reason),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => End::Broken(reason),
    }
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
