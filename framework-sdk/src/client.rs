//! The connection of a framework: one stream each way, kept for as long as the framework wants events.
//!
//! ```text
//! connecting ──SUBSCRIBED──▶ connected ──broken, silent, full──▶ waiting ──back-off──▶ connecting
//!      └──refused for good──▶ ended ◀──ERROR, then the end of the stream──┘
//! ```

use std::time::Duration;

use mete_model::TaskStatus;
use mete_proto::PROTOCOL_VERSION;
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::{Call, Event as Message, call};
use mete_proto::mete::v1::scheduler_client::SchedulerClient;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status, Streaming};

use crate::calls::{Client, Link, MAX_QUEUED_CALLS};
use crate::connection::{Connection, FrameworkSpec};
use crate::events::{Event, Heard, MISSED_HEARTBEATS, read};

/// Events that wait for the framework; when they are this many, the master has to wait too.
const MAX_QUEUED_EVENTS: usize = 256;
/// From the SUBSCRIBE to its answer.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after a lost connection; each next is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between two attempts: a cluster that comes back has its frameworks back soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The largest event taken: many offers of large agents.
const MAX_EVENT_BYTES: usize = 64 << 20;

/// A framework connected to a master, as a stream of events. Dropping it closes the connection.
#[derive(Debug)]
pub struct Framework {
    events: mpsc::Receiver<Event>,
    client: Client,
    acknowledge: bool,
    /// Handed out and, when the next event is asked for, dealt with.
    in_hand: Option<TaskStatus>,
    keeper: JoinHandle<()>,
}

impl Framework {
    /// Begins to connect; the first event tells whether it worked. Must be called within a tokio runtime.
    pub fn connect(connection: Connection, spec: FrameworkSpec) -> Self {
        let (sender, events) = mpsc::channel(MAX_QUEUED_EVENTS);
        let client = Client::new(spec.roles(), spec.suppressed.clone());
        let acknowledge = spec.acknowledge;
        let keeper = Keeper {
            connection,
            info: spec.info,
            client: client.clone(),
            events: sender,
        };
        Self {
            events,
            client,
            acknowledge,
            in_hand: None,
            keeper: tokio::spawn(keeper.keep()),
        }
    }

    /// Makes calls; stays valid over reconnections.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The next event; `None` when the framework is refused for good or torn down. Updates handed out before are
    /// acknowledged by this call, unless acknowledgements are explicit. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(status) = self.in_hand.take() {
            // Without a connection the update comes again by itself.
            let _ = self.client.acknowledge(&status);
        }
        let event = self.events.recv().await?;
        if let (true, Event::Update(status)) = (self.acknowledge, &event) {
            self.in_hand = Some(status.clone());
        }
        Some(event)
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        self.keeper.abort();
        self.client.with(|shared| shared.link = None);
    }
}

/// Why a connection ended.
enum End {
    /// Worth another try.
    Broken(String),
    /// Another try would be answered the same.
    Refused(String),
    /// Refused, and the framework has been told.
    Told,
    /// Nobody listens any more.
    Unheard,
}

/// The task that keeps the connection.
struct Keeper {
    connection: Connection,
    info: wire::FrameworkInfo,
    client: Client,
    events: mpsc::Sender<Event>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut pause = FIRST_PAUSE;
        for attempt in 0_usize.. {
            let mut subscribed = false;
            let end = self.connect(attempt, &mut subscribed).await;
            self.client.with(|shared| shared.link = None);
            match end {
                End::Unheard | End::Told => return,
                End::Refused(reason) => {
                    let _ = self.events.send(Event::Error(reason)).await;
                    return;
                }
                End::Broken(reason) => {
                    tracing::debug!(reason, "not connected to a master");
                    if subscribed {
                        pause = FIRST_PAUSE;
                        if self
                            .events
                            .send(Event::Disconnected { reason })
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))) => {}
                () = self.events.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&mut self, attempt: usize, subscribed: &mut bool) -> End {
        let (calls, queue) = mpsc::channel(MAX_QUEUED_CALLS);
        if calls.try_send(self.subscribe()).is_err() {
            return End::Broken("the queue of a new link is full".to_owned());
        }
        let mut stream = match timeout(SUBSCRIBE_TIMEOUT, self.open(attempt, queue)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(end)) => return end,
            Err(_) => return End::Broken("the master did not answer SUBSCRIBE".to_owned()),
        };
        let cut = CancellationToken::new();
        let mut patience = SUBSCRIBE_TIMEOUT;
        let mut error = None;
        loop {
            let message = tokio::select! {
                biased;
                () = self.events.closed() => return End::Unheard,
                () = cut.cancelled() => return End::Broken("the master takes no calls".to_owned()),
                message = timeout(patience, stream.message()) => message,
            };
            let message: Message = match message {
                Err(_) => return End::Broken(format!("the master was silent for {patience:?}")),
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) if error.is_some() => return End::Told,
                Ok(Ok(None)) => return End::Broken("the master closed the stream".to_owned()),
                Ok(Err(status)) => return ended(&status),
            };
            let event = match read(message) {
                Ok(Heard::Subscribed(event, heartbeat)) => {
                    patience = heartbeat * MISSED_HEARTBEATS;
                    *subscribed = true;
                    self.link(&event, &calls, &cut);
                    event
                }
                Ok(Heard::Event(event)) => event,
                Ok(Heard::Heartbeat) => continue,
                Ok(Heard::Ignored(kind)) => {
                    tracing::debug!(kind, "an event this version does not carry");
                    continue;
                }
                Err(fault) => {
                    return End::Broken(format!("the master said what makes no sense: {fault}"));
                }
            };
            // An ERROR counts as the last word only when nothing follows it.
            error = matches!(event, Event::Error(_)).then_some(());
            if self.events.send(event).await.is_err() {
                return End::Unheard;
            }
        }
    }

    async fn open(
        &self,
        attempt: usize,
        queue: mpsc::Receiver<Call>,
    ) -> Result<Streaming<Message>, End> {
        let masters = &self.connection.masters;
        let Some(endpoint) = masters.get(attempt % masters.len().max(1)) else {
            return Err(End::Refused("no master address is given".to_owned()));
        };
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| End::Broken(chain(&error)))?;
        let mut request = Request::new(ReceiverStream::new(queue));
        if let Some(authorization) = &self.connection.authorization {
            request
                .metadata_mut()
                .insert("authorization", authorization.clone());
        }
        let mut client = SchedulerClient::new(channel).max_decoding_message_size(MAX_EVENT_BYTES);
        client
            .connect(request)
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status| ended(&status))
    }

    fn subscribe(&self) -> Call {
        let suppressed = self.client.with(|shared| shared.suppressed.clone());
        let mut call = Call {
            framework_id: self.info.id.clone(),
            subscribe: Some(call::Subscribe {
                framework_info: self.info.clone(),
                suppressed_roles: suppressed.iter().map(ToString::to_string).collect(),
                protocol_version: Some(PROTOCOL_VERSION),
                ..call::Subscribe::default()
            }),
            ..Call::default()
        };
        call.set_type(call::Type::Subscribe);
        call
    }

    fn link(&mut self, event: &Event, calls: &mpsc::Sender<Call>, cut: &CancellationToken) {
        let Event::Subscribed { framework, .. } = event else {
            return;
        };
        self.info.id = Some(framework.into());
        let link = Link {
            framework: framework.clone(),
            calls: calls.clone(),
            cut: cut.clone(),
        };
        self.client.with(|shared| shared.link = Some(link));
    }
}

/// Codes that stay the same however often one asks.
fn ended(status: &Status) -> End {
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
