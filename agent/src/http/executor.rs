//! Where executors of frameworks' own subscribe and call: `POST /api/v1/executor`.
//!
//! ```text
//! SUBSCRIBE ─▶ 200, records: SUBSCRIBED, LAUNCH, KILL, ACKNOWLEDGED … until either side ends it
//! UPDATE, MESSAGE, HEARTBEAT ─▶ 202
//! ```
//! The order in which a request is looked at, and the status that each fault gets, are those of Mesos.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures::StreamExt as _;
use futures::stream;
use mete_agent_core::{CustomExecutor, ExecutorKey, FromExecutor, Input, Node};
use mete_daemon::auth::Principal;
use mete_daemon::clock;
use mete_daemon::event_loop::{Gone, Handle};
use mete_daemon::mesos_http::{self, list, text};
use mete_model::{ContainerId, ExecutorId, FrameworkId, TaskId, TaskStatus};
use mete_proto::convert::{ConvertError, status};
use mete_proto::media::Media;
use mete_proto::mesos::v1 as wire;
use mete_proto::recordio;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;
use wire::executor::call::{Subscribe, Type};
use wire::executor::{Call, Event};

use super::refusal::Refusal;
use crate::executors::{self, ExecutorStreams, ExecutorTokens};
use crate::own_address;

/// Under both names that Mesos' agents have, the second also as clients write it that put an address together from its
/// parts. Executors show tokens of their own here.
pub(crate) const PATHS: &[&str] = &[
    "/api/v1/executor",
    "/slave(1)/api/v1/executor",
    "/slave%281%29/api/v1/executor",
];

/// From one sign of life to the next (Mesos: 30 min).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// The longest report or message of an executor: it goes to its framework in one piece, and those of many agents pass
/// through the master.
const MAX_SAID_BYTES: usize = 1 << 20;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) handle: Handle<Node>,
    pub(crate) streams: ExecutorStreams,
    /// `None`: anyone is let in.
    pub(crate) tokens: Option<ExecutorTokens>,
    /// Who calls from an address of this machine need show nothing.
    pub(crate) trusts_machine: bool,
    /// The agent ends, and all streams with it.
    pub(crate) end: CancellationToken,
}

pub(crate) fn routes(door: Door) -> Router {
    let routes = PATHS
        .iter()
        .fold(Router::new(), |routes, path| routes.route(path, any(take)));
    routes.with_state(door)
}

/// The loop has ended: so does the agent.
impl From<Gone> for Refusal {
    fn from(_: Gone) -> Self {
        let why = "the agent is shutting down";
        Self(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
    }
}

async fn take(State(door): State<Door>, request: Request) -> Result<Response, Refusal> {
    let shown = door.who(&request)?;
    if !door.handle.view().recovered {
        let why = "the agent looks for what still runs; come again".to_owned();
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, why));
    }
    let kind = |named: Option<&str>| Ok::<_, Refusal>(Media::of_content(named)?);
    let (headers, media, body) = mesos_http::call(request, kind).await?;
    let call: Call = media.decode(&body)?;
    let kind = call
        .r#type
        .ok_or_else(|| Refusal::bad("the call has no type"))?;
    let key = key_of(&call)?;
    let executor = door.executor(&key)?;
    if shown.is_some_and(|container| container != executor.container) {
        let why = format!("the token is not that of executor {}", key.executor);
        return Err(Refusal(StatusCode::FORBIDDEN, why));
    }
    let kind = Type::try_from(kind).unwrap_or(Type::Unknown);
    if kind != Type::Subscribe && executor.stream.is_none() {
        let why = format!("executor {} is not subscribed", key.executor);
        return Err(Refusal(StatusCode::FORBIDDEN, why));
    }
    match kind {
        Type::Subscribe => {
            let subscribe = call.subscribe.ok_or_else(|| missing("subscribe"))?;
            return door.subscribe(&headers, key, &subscribe).await;
        }
        Type::Update => {
            let update = call.update.ok_or_else(|| missing("update"))?;
            let status = Box::new(news(&key, update.status)?);
            door.tell(key, FromExecutor::Update(status)).await?;
        }
        Type::Message => {
            let message = call.message.ok_or_else(|| missing("message"))?;
            let data = bounded(message.data.len(), message.data)?;
            door.tell(key, FromExecutor::Message(data)).await?;
        }
        Type::Heartbeat => {}
        Type::Unknown => {
            let why = format!("call {} is not known here", call.r#type.unwrap_or_default());
            return Err(Refusal(StatusCode::NOT_IMPLEMENTED, why));
        }
    }
    Ok(StatusCode::ACCEPTED.into_response())
}

fn missing(part: &str) -> Refusal {
    Refusal::bad(format!("{part} is missing"))
}

fn key_of(call: &Call) -> Result<ExecutorKey, Refusal> {
    let framework = FrameworkId::try_from(&call.framework_id)
        .map_err(|bad| Refusal::bad(format!("framework_id: {bad}")))?;
    let executor = ExecutorId::try_from(&call.executor_id)
        .map_err(|bad| Refusal::bad(format!("executor_id: {bad}")))?;
    Ok(ExecutorKey {
        framework,
        executor,
    })
}

fn bounded<T>(length: usize, said: T) -> Result<T, Refusal> {
    if length <= MAX_SAID_BYTES {
        return Ok(said);
    }
    let why = format!("{length} bytes are more than the {MAX_SAID_BYTES} that are passed on");
    Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, why))
}

/// What only a master can know of a task, and what is so before its executor hears of it. Mesos refuses the latter alone,
/// and gives resources away that a task of the others still uses.
const fn is_the_masters(state: wire::TaskState) -> bool {
    match state {
        wire::TaskState::TaskStaging
        | wire::TaskState::TaskUnreachable
        | wire::TaskState::TaskGoneByOperator
        | wire::TaskState::TaskUnknown => true,
        wire::TaskState::TaskStarting
        | wire::TaskState::TaskRunning
        | wire::TaskState::TaskKilling
        | wire::TaskState::TaskFinished
        | wire::TaskState::TaskFailed
        | wire::TaskState::TaskKilled
        | wire::TaskState::TaskError
        | wire::TaskState::TaskLost
        | wire::TaskState::TaskDropped
        | wire::TaskState::TaskGone => false,
    }
}

/// How a task goes, by the rules of Mesos.
fn news(key: &ExecutorKey, mut said: wire::TaskStatus) -> Result<TaskStatus, Refusal> {
    if said.source() != wire::task_status::Source::Executor || said.source.is_none() {
        return Err(Refusal::bad("status.source must be SOURCE_EXECUTOR"));
    }
    if said.uuid.is_none() {
        return Err(missing("status.uuid"));
    }
    if is_the_masters(said.state()) {
        let why = format!(
            "status.state is {}, which is no news of an executor",
            said.state().as_str_name()
        );
        return Err(Refusal::bad(why));
    }
    let executor = said
        .executor_id
        .get_or_insert_with(|| (&key.executor).into());
    if executor.value != key.executor.as_str() {
        let why = format!(
            "status.executor_id is {:?}, not {}",
            executor.value, key.executor
        );
        return Err(Refusal::bad(why));
    }
    said.timestamp
        .get_or_insert_with(|| clock::now().as_secs_f64());
    bounded(said.encoded_len(), ())?;
    Ok(status::from_executor(&said)?)
}

/// Nobody knows who calls.
fn unknown(why: &str) -> Refusal {
    Refusal(StatusCode::UNAUTHORIZED, why.to_owned())
}

/// Whether a call comes from an address of this machine.
fn is_from_here(request: &Request) -> bool {
    let connection = request.extensions().get::<TcpConnectInfo>();
    let peer = connection.and_then(TcpConnectInfo::remote_addr);
    peer.is_some_and(own_address::is_own)
}

impl Door {
    /// Whose token was shown; `None` for who may speak for any executor.
    fn who(&self, request: &Request) -> Result<Option<ContainerId>, Refusal> {
        let Some(tokens) = &self.tokens else {
            return Ok(None);
        };
        if request.extensions().get::<Principal>().is_some() {
            return Ok(None);
        }
        if !request.headers().contains_key(AUTHORIZATION) {
            let is_let_in = self.trusts_machine && is_from_here(request);
            let why = "the token of the executor is required: MESOS_EXECUTOR_AUTHENTICATION_TOKEN of its environment, as \
                       Authorization: Bearer. An agent with --authenticate-http-executors=false asks nobody for it who calls \
                       from its own machine";
            return is_let_in.then_some(None).ok_or_else(|| unknown(why));
        }
        let shown = text(request.headers(), &AUTHORIZATION);
        let shown = shown.and_then(|shown| shown.split_once(' '));
        let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let container = shown.and_then(|(_, token)| tokens.container(token.trim()));
        let why = "what was shown is not the token of an executor, MESOS_EXECUTOR_AUTHENTICATION_TOKEN of its environment \
                   (see --authenticate-http-executors)";
        container.map(Some).ok_or_else(|| unknown(why))
    }

    fn executor(&self, key: &ExecutorKey) -> Result<Arc<CustomExecutor>, Refusal> {
        let view = self.handle.view();
        if !view.frameworks.contains_key(&key.framework) {
            let why = format!("framework {} has nothing here", key.framework);
            return Err(Refusal::bad(why));
        }
        let executor = view.custom_executors.get(key).map(Arc::clone);
        executor.ok_or_else(|| Refusal::bad(format!("executor {} is not here", key.executor)))
    }

    async fn tell(&self, executor: ExecutorKey, said: FromExecutor) -> Result<(), Gone> {
        let input = Input::FromExecutor { executor, said };
        self.handle.tell(input).await
    }

    async fn subscribe(
        &self,
        headers: &HeaderMap,
        key: ExecutorKey,
        subscribe: &Subscribe,
    ) -> Result<Response, Refusal> {
        let media = Media::accepted(list(headers, &ACCEPT).as_deref())?;
        let tasks = subscribe.unacknowledged_tasks.iter();
        let tasks: Result<BTreeSet<TaskId>, _> =
            tasks.map(|info| (&info.task_id).try_into()).collect();
        let tasks = tasks.map_err(|bad: ConvertError| {
            Refusal::bad(format!("subscribe.unacknowledged_tasks: {bad}"))
        })?;
        let updates = subscribe.unacknowledged_updates.iter();
        let updates: Result<Vec<_>, Refusal> = updates
            .map(|update| news(&key, update.status.clone()))
            .collect();
        let updates = updates?;

        let (link, mut events) = self.streams.open();
        let listener = Listener {
            handle: self.handle.clone(),
            streams: self.streams.clone(),
            executor: key.clone(),
            link,
        };
        let said = FromExecutor::Subscribe {
            link,
            tasks,
            updates,
        };
        self.tell(key, said).await?;
        // Who reads the head of the answer may call at once: what it has said is in force by then.
        let first = tokio::select! {
            first = events.recv() => first,
            () = self.end.cancelled() => None,
        };
        let first =
            first.map(|event| Ok::<_, Infallible>(recordio::encode(&media.encode(&*event))));
        let records = records(media, events, listener, self.end.clone());
        let records = stream::iter(first).chain(records);
        let headers = [(CONTENT_TYPE, media.name().to_owned())];
        Ok((headers, Body::from_stream(records)).into_response())
    }
}

/// An executor as long as somebody reads what it is told; dropped with the body of the answer.
struct Listener {
    handle: Handle<Node>,
    streams: ExecutorStreams,
    executor: ExecutorKey,
    link: u64,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.streams.close(self.link);
        let (handle, link) = (self.handle.clone(), self.link);
        let executor = self.executor.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let said = FromExecutor::Left { link };
                // The loop has ended when this fails.
                let _ = handle.tell(Input::FromExecutor { executor, said }).await;
            });
        }
    }
}

/// What one executor hears, as records.
fn records(
    media: Media,
    events: mpsc::Receiver<Box<Event>>,
    listener: Listener,
    end: CancellationToken,
) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let heartbeats = interval_at(Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
    let state = (events, heartbeats, listener, end);
    stream::unfold(
        state,
        move |(mut events, mut heartbeats, listener, end)| async move {
            let event = tokio::select! {
                event = events.recv() => event?,
                _ = heartbeats.tick() => Box::new(executors::heartbeat()),
                () = end.cancelled() => return None,
            };
            let record = recordio::encode(&media.encode(&*event));
            Some((Ok(record), (events, heartbeats, listener, end)))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_other_machines_and_of_nobody_knows_where_are_not_from_here() {
        let from = |peer: &str| {
            let mut request = Request::new(Body::empty());
            request.extensions_mut().insert(TcpConnectInfo {
                local_addr: None,
                remote_addr: Some(peer.parse().expect("an address")),
            });
            is_from_here(&request)
        };

        assert!(from("127.0.0.1:4711") && from("[::ffff:127.0.0.1]:4711"));
        assert!(!from("192.0.2.1:4711") && !from("[2001:db8::1]:4711"));
        assert!(!is_from_here(&Request::new(Body::empty())));
    }
}
