//! A framework as a stream of events, for as long as it wants them. What keeps the connection is in `keeper.rs`.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mete_model::TaskStatus;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use crate::calls::Client;
use crate::connection::{Connection, FrameworkSpec};
use crate::events::Event;
use crate::feedback::OperationStatus;
use crate::keeper::Keeper;

/// Events that wait for the framework; when they are this many, the master has to wait too.
const MAX_QUEUED_EVENTS: usize = 256;
/// From [`Framework::close`] until the last calls are given up; a little more than the keeper gives the master.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A framework connected to a master, as a stream of events.
///
/// Dropping it cuts the connection at once, and calls that were just made may be lost with it;
/// [`close`](Self::close) sends them first.
#[derive(Debug)]
pub struct Framework {
    events: mpsc::Receiver<Event>,
    client: Client,
    acknowledge: bool,
    /// Handed out and, when the next event is asked for, dealt with.
    in_hand: Option<News>,
    closing: CancellationToken,
    keeper: JoinHandle<()>,
}

/// What is acknowledged.
#[derive(Debug)]
enum News {
    Task(TaskStatus),
    Operation(OperationStatus),
}

impl Framework {
    /// Begins to connect; the first event tells whether it worked: [`Event::Subscribed`], [`Event::Disconnected`] when
    /// no master answers (the SDK goes on trying), or [`Event::Error`] when one refuses for good.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(connection: Connection, spec: FrameworkSpec) -> Self {
        let (sender, events) = mpsc::channel(MAX_QUEUED_EVENTS);
        let client = Client::new(connection.clone(), &spec);
        let closing = CancellationToken::new();
        let keeper = Keeper::new(connection, client.clone(), sender, closing.clone());
        Self {
            events,
            client,
            acknowledge: spec.acknowledge,
            in_hand: None,
            closing,
            keeper: tokio::spawn(keeper.keep()),
        }
    }

    /// Makes calls; stays valid over reconnections.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The next event; `None` when the framework is torn down or refused for good. The update handed out before is
    /// acknowledged by this call, unless acknowledgements are explicit. After [`Client::teardown`] nothing comes but the
    /// end, or what stands against it. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// Ends the connection after the calls made so far have gone out, the acknowledgement of the last update handed
    /// out included. Takes as long as the master takes to answer, 3 s at most. Tasks run on for the
    /// [`failover_timeout`](FrameworkSpec::failover_timeout); [`Client::teardown`] ends them.
    pub async fn close(mut self) {
        self.acknowledge_in_hand();
        self.closing.cancel();
        // When this is not enough, dropping ends it.
        let _ = timeout(CLOSE_TIMEOUT, &mut self.keeper).await;
    }

    fn acknowledge_in_hand(&mut self) {
        // Without a connection the update comes again by itself.
        let _ = match self.in_hand.take() {
            Some(News::Task(status)) => self.client.acknowledge(&status),
            Some(News::Operation(status)) => self.client.acknowledge_operation(&status),
            None => Ok(()),
        };
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.acknowledge_in_hand();
        self.client.end_turn(context.waker());
        loop {
            let Some(event) = std::task::ready!(self.events.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            if is_for_the_living(&event) && self.client.with(|shared| shared.torn_down) {
                continue;
            }
            if self.acknowledge {
                self.in_hand = news(&event);
            }
            return Poll::Ready(Some(event));
        }
    }
}

/// What of an event is acknowledged.
fn news(event: &Event) -> Option<News> {
    match event {
        Event::Update(status) => Some(News::Task(status.clone())),
        Event::Operation(status) => Some(News::Operation(status.clone())),
        Event::Subscribed { .. }
        | Event::Offers(_)
        | Event::Rescind(_)
        | Event::InverseOffers(_)
        | Event::RescindInverse(_)
        | Event::Failure { .. }
        | Event::Error(_)
        | Event::Disconnected { .. } => None,
    }
}

/// Whether an event means nothing any more to a framework that has been torn down.
const fn is_for_the_living(event: &Event) -> bool {
    match event {
        Event::Subscribed { .. }
        | Event::Offers(_)
        | Event::Rescind(_)
        | Event::InverseOffers(_)
        | Event::RescindInverse(_)
        | Event::Update(_)
        | Event::Operation(_)
        | Event::Failure { .. } => true,
        Event::Error(_) | Event::Disconnected { .. } => false,
    }
}

/// The same as [`Framework::next`], for those who combine streams.
impl Stream for Framework {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(context)
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        self.keeper.abort();
        self.client.unlink();
    }
}
