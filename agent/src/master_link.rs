//! The stream to the master: opened when the core asks for it, one at a time.
//!
//! ```text
//! Connect ─▶ channel ─▶ Connected ─▶ stream: register … ─▶ orders in, reports out, pings answered ─▶ Disconnected
//! ```
//! What the stream has taken of reports the core is told, which gives no more than there is room for. Invariants: each attempt ends with exactly one `Disconnected`, unless the core has closed it itself. A stream that
//! cannot take what is to be said is cut. A master that is silent for longer than it promised is gone. When to come
//! back is the core's business.

mod messages; // from and to the words of the core

pub(crate) use messages::agent_info;

use std::time::Duration;

use futures::StreamExt as _;
use mete_agent_core::{Input, MAX_GIVEN_REPORTS, Node, Order, Outgoing};
use mete_daemon::auth::Credentials;
use mete_daemon::chain;
use mete_daemon::event_loop::Handle;
use mete_model::{Attributes, Endpoint, FaultDomain, Resources};
use mete_proto::lost;
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::agent_client::AgentClient;
use mete_proto::mete::v1::agent_message::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint as Address;
use tonic::{Code, Status, Streaming};
use tracing::{debug, warn};

/// Messages that may wait to be sent: more than the reports that are given at once. A report is some hundred bytes; a stream on
/// which thousands wait is not read.
const OUTBOUND_CAPACITY: usize = 4_096;
/// The core hears after so many reports that they are taken: often enough never to wait for it, seldom enough to cost nothing.
const TAKEN_AT_ONCE: u64 = MAX_GIVEN_REPORTS / 2;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence before the master has said how often it pings: the core gives up first.
const FIRST_SILENCE: Duration = Duration::from_secs(60);
/// Shortest silence that means something, whatever the master promises: a busy machine is not a dead one.
const MIN_SILENCE: Duration = Duration::from_secs(1);
/// The largest order: exec takes 2 MiB of command and environment, and a description may say as much again around it.
const MAX_ORDER_BYTES: usize = 16 << 20;
/// A half-open connection is known within twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What the agent says of itself when it registers. It registers again when its attributes change.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    pub(crate) endpoint: Endpoint,
    pub(crate) resources: Resources,
    pub(crate) attributes: watch::Receiver<Attributes>,
    pub(crate) domain: Option<FaultDomain>,
}

/// The way to the master.
pub(crate) struct MasterLink {
    masters: Vec<String>,
    credentials: Credentials,
    introduction: Introduction,
    handle: Handle<Node>,
    current: Option<Current>,
}

/// The stream there is.
struct Current {
    link: u64,
    outbound: mpsc::Sender<wire::AgentMessage>,
    closed: CancellationToken,
    cut: CancellationToken,
}

impl MasterLink {
    pub(crate) const fn new(
        masters: Vec<String>,
        credentials: Credentials,
        introduction: Introduction,
        handle: Handle<Node>,
    ) -> Self {
        Self {
            masters,
            credentials,
            introduction,
            handle,
            current: None,
        }
    }

    /// Begins an attempt; the masters are tried in turn.
    pub(crate) fn connect(&mut self, link: u64) {
        self.disconnect_current();
        let count = self.masters.len() as u64;
        let at = usize::try_from(link.wrapping_sub(1).checked_rem(count).unwrap_or(0)).unwrap_or(0);
        let Some(master) = self.masters.get(at).cloned() else {
            return;
        };
        let (outbound, waiting) = mpsc::channel(OUTBOUND_CAPACITY);
        let current = Current {
            link,
            outbound: outbound.clone(),
            closed: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let mut attributes = self.introduction.attributes.clone();
        attributes.mark_unchanged();
        let stream = Stream {
            link,
            master,
            attributes,
            credentials: self.credentials.clone(),
            outbound,
            taken: watch::Sender::default(),
            handle: self.handle.clone(),
        };
        let (closed, cut) = (current.closed.clone(), current.cut.clone());
        self.current = Some(current);
        tokio::spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = stream.run(waiting, cut) => {}
            }
        });
    }

    /// Closes a stream; nobody is told.
    pub(crate) fn disconnect(&mut self, link: u64) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.link == link)
        {
            self.disconnect_current();
        }
    }

    fn disconnect_current(&mut self) {
        if let Some(current) = self.current.take() {
            current.closed.cancel();
        }
    }

    /// Says something on a stream, which is cut when it cannot take it.
    pub(crate) fn send(&self, link: u64, message: &Outgoing) {
        let Some(current) = self.current.as_ref().filter(|current| current.link == link) else {
            debug!(link, "message for a stream that is gone");
            return;
        };
        let message = messages::to_wire(message, &self.introduction);
        if current.outbound.try_send(message).is_err() {
            current.cut.cancel();
        }
    }
}

impl Drop for MasterLink {
    fn drop(&mut self) {
        self.disconnect_current();
    }
}

/// One attempt.
struct Stream {
    link: u64,
    master: String,
    /// Those that are registered on it are older than any change.
    attributes: watch::Receiver<Attributes>,
    credentials: Credentials,
    outbound: mpsc::Sender<wire::AgentMessage>,
    /// Reports that were taken from those that wait.
    taken: watch::Sender<u64>,
    handle: Handle<Node>,
}

impl Stream {
    async fn run(self, waiting: mpsc::Receiver<wire::AgentMessage>, cut: CancellationToken) {
        let mut attributes = self.attributes.clone();
        let reason = tokio::select! {
            () = cut.cancelled() => "too much waited to be sent".to_owned(),
            Ok(()) = attributes.changed() => "the agent has something new to say of itself".to_owned(),
            reason = self.talk(waiting) => reason,
            reason = self.tell_taken() => reason,
        };
        let link = self.link;
        // The loop has ended when this fails.
        let _ = self.handle.tell(Input::Disconnected { link, reason }).await;
    }

    /// Tells the core for as long as the stream lasts how many reports were taken.
    async fn tell_taken(&self) -> String {
        let mut taken = self.taken.subscribe();
        let mut told = 0;
        loop {
            // The sender lives in this stream.
            let is_more = |total: &u64| *total >= told + TAKEN_AT_ONCE;
            let Ok(total) = taken.wait_for(is_more).await.map(|total| *total) else {
                return "the agent ends".to_owned();
            };
            let link = self.link;
            if self
                .handle
                .tell(Input::ReportsTaken { link, total })
                .await
                .is_err()
            {
                return "the agent ends".to_owned();
            }
            told = total;
        }
    }

    /// From the first byte to the last; why it was the last.
    async fn talk(&self, waiting: mpsc::Receiver<wire::AgentMessage>) -> String {
        let address = match Address::from_shared(self.master.clone()) {
            Ok(address) => address
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE)
                .keep_alive_while_idle(true),
            Err(error) => return format!("{} is no address: {error}", self.master),
        };
        let channel = match address.connect().await {
            Ok(channel) => channel,
            Err(error) => return format!("no connection to {}: {}", self.master, chain(&error)),
        };
        // The registration waits in the stream before the master answers the call.
        let link = self.link;
        if self.handle.tell(Input::Connected { link }).await.is_err() {
            return "the agent ends".to_owned();
        }
        let mut client = AgentClient::with_interceptor(channel, self.credentials.clone())
            .max_decoding_message_size(MAX_ORDER_BYTES);
        let taken = self.taken.clone();
        let waiting = ReceiverStream::new(waiting).inspect(move |message| {
            if matches!(&message.message, Some(Message::Update(_))) {
                taken.send_modify(|total| *total += 1);
            }
        });
        match client.connect(waiting).await {
            Ok(answer) => self.listen(answer.into_inner()).await,
            Err(status) => self.ended(&status),
        }
    }

    async fn listen(&self, mut inbound: Streaming<wire::MasterMessage>) -> String {
        let mut silence = FIRST_SILENCE;
        loop {
            let message = match timeout(silence, inbound.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => return "the master has ended the stream".to_owned(),
                Ok(Err(status)) => return self.ended(&status),
                Err(_) => return format!("the master was silent for {} s", silence.as_secs_f64()),
            };
            match messages::from_wire(message) {
                Ok(messages::Heard::Ping(sequence)) => {
                    if self.outbound.try_send(messages::pong(sequence)).is_err() {
                        return "too much waited to be sent".to_owned();
                    }
                }
                Ok(messages::Heard::Registered {
                    order,
                    silence: promised,
                }) => {
                    silence = promised.max(MIN_SILENCE);
                    self.tell(order).await;
                }
                Ok(messages::Heard::Order(order)) => self.tell(order).await,
                Ok(messages::Heard::Nothing) => debug!("message without content is ignored"),
                Err(bad) => {
                    warn!(master = self.master, error = %bad, "order that makes no sense is ignored")
                }
            }
        }
    }

    async fn tell(&self, order: Order) {
        let link = self.link;
        // The loop has ended when this fails, and with it the stream.
        let _ = self.handle.tell(Input::FromMaster { link, order }).await;
    }

    fn ended(&self, status: &Status) -> String {
        if status.code() == Code::Unauthenticated {
            warn!(
                master = self.master,
                "master refuses the token of this agent; see --token-file"
            );
        }
        if lost::is_lost(status) {
            debug!(
                cause = chain(status),
                "the connection to the master was lost"
            );
            return format!("the connection to {} was lost", self.master);
        }
        format!("{}: {}", self.master, status.message())
    }
}
