//! Where frameworks subscribe and call: `POST /api/v1/scheduler`.
//!
//! ```text
//! SUBSCRIBE ─▶ 200, Mesos-Stream-Id, records: SUBSCRIBED, HEARTBEAT … until either side ends it
//! each other call, with that id ─▶ 202 (200 for UPDATE_FRAMEWORK); what follows comes as records of the subscription
//! ```
//! A subscription is one stream of the same kind as over gRPC; only how calls reach it differs.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use futures::StreamExt as _;
use mete_daemon::auth::Principal;
use mete_daemon::mesos_http::{Streamed, list, text};
use mete_master_core::{Call, Input, LinkId, Reply};
use mete_model::FrameworkId;
use mete_proto::media::Media;
use mete_proto::mesos::v1 as wire;
use mete_proto::mesos::v1::scheduler::call::Type;
use mete_proto::mesos::v1::scheduler::{Call as WireCall, Event};
use mete_proto::recordio;
use tonic::Status;

use super::refusal::Refusal;
use super::request;
use super::streams::Streams;
use crate::grpc::framework::Talk;
use crate::grpc::{Desk, calls, events};
use crate::links::Opened;

/// Names a subscription, in its answer and in each call that belongs to it.
const STREAM_ID: HeaderName = HeaderName::from_static("mesos-stream-id");

/// What the handlers share.
#[derive(Clone, Debug)]
struct Door {
    desk: Desk,
    streams: Streams,
}

pub(super) fn routes(desk: Desk) -> Router {
    let door = Door {
        desk,
        streams: Streams::default(),
    };
    Router::new()
        .route("/api/v1/scheduler", any(take))
        .with_state(door)
}

async fn take(State(door): State<Door>, request: Request) -> Result<Response, Refusal> {
    let caller = request.extensions().get::<Principal>().cloned();
    let (headers, mut call): (HeaderMap, WireCall) = request::read(request).await?;
    calls::sign(&mut call, caller.as_ref(), &door.desk.handle.view()).map_err(Refusal::bad)?;
    request::has_type(call.r#type.map(Type::try_from))?;
    if call.r#type() == Type::Subscribe {
        return subscribe(&door, &headers, caller, call).await;
    }
    answer(&door, &headers, caller.as_ref(), &call).await
}

/// Its answer begins with the first record: who reads its head may call at once.
async fn subscribe(
    door: &Door,
    headers: &HeaderMap,
    caller: Option<Principal>,
    call: WireCall,
) -> Result<Response, Refusal> {
    let media = Media::accepted(list(headers, &ACCEPT).as_deref())?;
    if headers.contains_key(STREAM_ID) {
        let why = "SUBSCRIBE begins a subscription: it has no Mesos-Stream-Id yet";
        return Err(Refusal::bad(why));
    }
    if call.subscribe.is_none() {
        return Err(Refusal::bad("subscribe is missing"));
    }
    // Whether it can be one is for the subscription: what makes no sense there is said on its stream.
    if let Some(part) = &call.subscribe {
        same_id(&call, part.framework_info.id.as_ref(), "subscribe")?;
    }

    let Opened {
        link,
        outbound,
        over,
        read: told,
    } = door.desk.links.open();
    let (id, read, unread) = door.streams.open(link);
    let talk = Talk {
        desk: door.desk.clone(),
        caller,
        link,
        over,
        read: told,
        may_return: false,
    };
    // The one call that comes on this stream; then it stands until nobody reads it any more.
    let said = futures::stream::once(async { Ok::<_, Status>(call) });
    let ends = futures::stream::once(unread.cancelled_owned()).filter_map(async |()| None);
    tokio::spawn(talk.run(said.chain(ends).boxed()));

    let mut outbound = outbound.peekable();
    Pin::new(&mut outbound).peek().await;
    let records = outbound.flat_map(move |sent| {
        let _held = &read; // As long as this stream lives, somebody reads it.
        let events = sent.map(events::in_parts).unwrap_or_default(); // How a stream ends in gRPC is not said here.
        futures::stream::iter(events.into_iter().map(move |event| record(media, event)))
    });
    let headers = [
        (CONTENT_TYPE, media.name().to_owned()),
        (STREAM_ID, id.to_string()),
    ];
    Ok((headers, Extension(Streamed), Body::from_stream(records)).into_response())
}

/// As in Mesos, a call that brings a FrameworkInfo says in both places whose it is, or in neither.
fn same_id(
    call: &WireCall,
    in_info: Option<&wire::FrameworkId>,
    part: &str,
) -> Result<(), Refusal> {
    let text = |id: Option<&wire::FrameworkId>| id.map_or("", |id| id.value.as_str()).to_owned();
    let (named, in_info) = (text(call.framework_id.as_ref()), text(in_info));
    match named == in_info {
        true => Ok(()),
        false => Err(Refusal::bad(format!(
            "framework_id {named:?} is not {part}.framework_info.id {in_info:?}"
        ))),
    }
}

/// What UPDATE_FRAMEWORK may not change.
fn check_update(door: &Door, call: &WireCall, framework: &FrameworkId) -> Result<(), Refusal> {
    let Some(update) = &call.update_framework else {
        return Ok(());
    };
    let info = &update.framework_info;
    same_id(call, info.id.as_ref(), "update_framework")?;
    let view = door.desk.handle.view();
    let known = view.frameworks.get(framework);
    match known.filter(|known| known.checkpoint != info.checkpoint()) {
        None => Ok(()),
        Some(known) => Err(Refusal::bad(format!(
            "update_framework.framework_info.checkpoint cannot change from {} to {}",
            known.checkpoint,
            info.checkpoint()
        ))),
    }
}

fn record(media: Media, event: Bytes) -> Result<Bytes, Infallible> {
    let written = media.encode_from::<Event>(event.into());
    Ok(recordio::encode(&written))
}

async fn answer(
    door: &Door,
    headers: &HeaderMap,
    caller: Option<&Principal>,
    call: &WireCall,
) -> Result<Response, Refusal> {
    if call.r#type() == Type::Unknown {
        let why = format!("{} is not known here", calls::name(call));
        return Err(Refusal::with(StatusCode::NOT_IMPLEMENTED, why));
    }
    if call.r#type() == Type::ReconcileOperations {
        Media::accepted(list(headers, &ACCEPT).as_deref())?;
    }
    let framework = call.framework_id.as_ref();
    let framework = framework.ok_or_else(|| Refusal::bad("framework_id is missing"))?;
    let framework = FrameworkId::try_from(framework);
    let framework = framework.map_err(|bad| Refusal::bad(format!("framework_id: {bad}")))?;
    let converted = calls::convert(call);
    let converted = converted
        .map_err(|bad| Refusal::bad(format!("{} makes no sense: {bad}", calls::name(call))))?;
    let link = subscription(door, headers, caller, &framework)?;
    check_update(door, call, &framework)?;

    let updates = matches!(converted, Call::UpdateFramework { .. });
    let is_answered = converted.is_answered();
    let input = Input::Call {
        framework,
        link,
        call: converted,
    };
    if !is_answered {
        door.desk.handle.tell(input).await?;
    } else if let Reply::Refused(why) = door.desk.handle.ask(input).await? {
        return Err(Refusal::bad(why));
    }
    let status = if updates {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok(status.into_response())
}

/// The stream of the subscription that a call belongs to.
fn subscription(
    door: &Door,
    headers: &HeaderMap,
    caller: Option<&Principal>,
    framework: &FrameworkId,
) -> Result<LinkId, Refusal> {
    let view = door.desk.handle.view();
    let known = view.frameworks.get(framework);
    let known = known.filter(|known| !known.is_completed());
    let known =
        known.ok_or_else(|| Refusal::bad(format!("no framework has the id {framework}")))?;
    calls::check_principal(known.info.principal.as_deref(), caller).map_err(Refusal::bad)?;
    let subscribed = known.link();
    let subscribed = subscribed.and_then(|link| Some((link, door.streams.id(link)?)));
    let (link, id) = subscribed.ok_or_else(|| {
        Refusal::forbidden(format!("framework {framework} is not subscribed over HTTP"))
    })?;
    match text(headers, &STREAM_ID) {
        Some(named) if named == id.to_string() => Ok(link),
        Some(named) => Err(Refusal::bad(format!(
            "Mesos-Stream-Id {named:?} is not that of the subscription of framework {framework}"
        ))),
        None => Err(Refusal::bad("the header Mesos-Stream-Id is missing")),
    }
}
