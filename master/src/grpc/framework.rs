//! Where frameworks connect: one stream of calls up, one of events down.
//!
//! ```text
//! (open) ─▶ SUBSCRIBE in time ─▶ SUBSCRIBED, HEARTBEAT … ─▶ calls ─▶ broken, closed, garbage
//! ```
//! A call that makes no sense is answered with an ERROR event and the stream stays; bytes that are no call end it.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use mete_daemon::auth::Principal;
use mete_daemon::event_loop::Gone;
use mete_master_core::{Input, LinkId, Reply, Subscription};
use mete_model::FrameworkId;
use mete_proto::connect::Connect;
use mete_proto::mesos::v1::scheduler::{Call, call};
use mete_proto::mete::v1::scheduler_server;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};
use tracing::debug;

use crate::grpc::{Desk, calls, events};
use crate::links::Outbound;

/// From one HEARTBEAT to the next, as Mesos has it.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// Calls of one framework that go to the cluster together, when that many wait: it may have tasks on thousands of agents, of
/// which each has its own turn.
const MAX_CALLS_AT_ONCE: usize = 128;

/// `mete.v1.Scheduler`.
#[derive(Clone, Debug)]
pub(crate) struct Frameworks(pub(crate) Desk);

impl Connect for Frameworks {
    const SERVICE: &'static str = scheduler_server::SERVICE_NAME;
    type Said = Call;
    type Outbound = Outbound;

    fn connect(&self, request: Request<Streaming<Call>>) -> Outbound {
        let opened = self.0.links.open();
        let stream = Talk {
            desk: self.0.clone(),
            caller: request.extensions().get().cloned(),
            link: opened.link,
            over: opened.over,
            read: opened.read,
            may_return: true,
        };
        tokio::spawn(stream.run(request.into_inner()));
        opened.outbound
    }
}

/// What a framework says on one stream.
pub(crate) trait Calls: Stream<Item = Result<Call, Status>> + Send + Unpin {}

impl<T: Stream<Item = Result<Call, Status>> + Send + Unpin> Calls for T {}

/// One stream, from the side of who reads the calls on it.
pub(crate) struct Talk {
    pub(crate) desk: Desk,
    /// Who says them.
    pub(crate) caller: Option<Principal>,
    pub(crate) link: LinkId,
    pub(crate) over: CancellationToken,
    /// Told when what was said on it has been read.
    pub(crate) read: Arc<Notify>,
    /// As in [`Subscription`].
    pub(crate) may_return: bool,
}

impl Talk {
    /// Reads calls, the first of which must be SUBSCRIBE, until the stream breaks or is over.
    pub(crate) async fn run(self, mut calls: impl Calls) {
        match self.talk(&mut calls).await {
            Ok(()) => self.desk.links.close(self.link),
            Err(status) => {
                debug!(link = self.link.0, %status, "stream of a framework ended");
                self.desk.links.end(self.link, status);
            }
        }
    }

    async fn talk(&self, calls: &mut impl Calls) -> Result<(), Status> {
        let Some(framework) = self.subscribe(calls).await? else {
            return Ok(());
        };
        let ended = self.follow(&framework, calls).await;
        let link = self.link;
        let broken = Input::FrameworkDisconnected { framework, link };
        self.desk.handle.tell(broken).await.map_err(leaving)?;
        ended
    }

    /// The first call; `None` when it was answered with why not.
    async fn subscribe(&self, calls: &mut impl Calls) -> Result<Option<FrameworkId>, Status> {
        let first = tokio::select! {
            first = timeout(self.desk.greeting_timeout, calls.next()) => first,
            () = self.over.cancelled() => return Ok(None),
        };
        let first = first.map_err(|_| {
            let seconds = self.desk.greeting_timeout.as_secs_f64();
            Status::deadline_exceeded(format!("no SUBSCRIBE came within {seconds} s"))
        })?;
        let Some(mut first) = first.transpose()? else {
            return Ok(None);
        };
        if first.r#type() != call::Type::Subscribe {
            let name = calls::name(&first);
            let why = format!("the first call must be SUBSCRIBE, not {name}");
            return Err(Status::failed_precondition(why));
        }
        calls::sign(&mut first, self.caller.as_ref(), &self.desk.handle.view())
            .map_err(Status::permission_denied)?;
        let subscription = match calls::subscription(&first, self.link) {
            Ok(subscription) => Subscription {
                may_return: self.may_return,
                ..subscription
            },
            Err(bad) => {
                let event = events::error(format!("SUBSCRIBE makes no sense: {bad}"));
                self.desk.links.send(self.link, event);
                return Ok(None);
            }
        };
        let input = Input::Subscribe(Box::new(subscription));
        match self.desk.handle.ask(input).await.map_err(leaving)? {
            Reply::Subscribed(framework) => Ok(Some(framework)),
            Reply::Refused(_)
            | Reply::Registered(_)
            | Reply::Done
            | Reply::Failed(_)
            | Reply::Snapshot(_) => Ok(None),
        }
    }

    async fn follow(&self, framework: &FrameworkId, calls: &mut impl Calls) -> Result<(), Status> {
        // The first is said with SUBSCRIBED.
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut calls = calls.ready_chunks(MAX_CALLS_AT_ONCE);
        loop {
            tokio::select! {
                some = calls.next() => match some {
                    Some(some) => self.take_all(framework, some).await?,
                    None => return Ok(()),
                },
                _ = heartbeat.tick() => {
                    self.desk.links.send(self.link, events::heartbeat());
                }
                () = self.read.notified() => {
                    let framework = framework.clone();
                    let read = Input::StreamRead { framework, link: self.link };
                    self.desk.handle.tell(read).await.map_err(leaving)?;
                }
                () = self.over.cancelled() => return Ok(()),
            }
        }
    }

    /// Those that came together go on together, up to one that is answered.
    async fn take_all(
        &self,
        framework: &FrameworkId,
        calls: Vec<Result<Call, Status>>,
    ) -> Result<(), Status> {
        let mut inputs = Vec::with_capacity(calls.len());
        let view = self.desk.handle.view();
        for call in calls {
            let read = call.and_then(|mut call| {
                calls::sign(&mut call, self.caller.as_ref(), &view)
                    .map_err(Status::permission_denied)?;
                Ok(calls::from_wire(&call, framework))
            });
            let call = match read {
                Ok(call) => call,
                Err(status) => {
                    self.tell(&mut inputs).await?;
                    return Err(status);
                }
            };
            let is_answered = call.is_answered();
            let input = Input::Call {
                framework: framework.clone(),
                link: self.link,
                call,
            };
            if !is_answered {
                inputs.push(input);
                continue;
            }
            self.tell(&mut inputs).await?;
            if let Reply::Refused(why) = self.desk.handle.ask(input).await.map_err(leaving)? {
                let event = events::error(why);
                self.desk.links.send(self.link, event);
            }
        }
        self.tell(&mut inputs).await
    }

    async fn tell(&self, inputs: &mut Vec<Input>) -> Result<(), Status> {
        let inputs = std::mem::take(inputs);
        self.desk.handle.tell_all(inputs).await.map_err(leaving)
    }
}

/// The loop has ended: so does the master.
pub(crate) fn leaving(_: Gone) -> Status {
    Status::unavailable("the master is shutting down")
}
