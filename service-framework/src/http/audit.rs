//! Notes what changes something, or was to: what the request says of itself, and what its answer says. `/v2/audit` tells
//! what was noted.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::auth::{Principal, Witness};
use mete_service_framework_core::spec::app::AppId;
use serde_json::{Value, json};
use tonic::transport::server::TcpConnectInfo;
use tracing::error;

use super::Api;
use super::change::DEPLOYMENT;
use super::failure::Failure;
use super::params::Params;
use crate::audit::{self, Audit, Line, Page};

/// Ids in one line; a list may have ten thousand apps.
const MAX_IDS: usize = 100;
/// Bytes of a path in one line: the longest that makes sense, and some more.
const MAX_PATH_BYTES: usize = 1_024;

/// The apps and groups that a request was about, where its path does not say.
#[derive(Clone)]
struct Touched(Vec<String>);

/// An answer that says what it was about.
pub(super) fn touched<'a>(
    answer: impl IntoResponse,
    ids: impl IntoIterator<Item = &'a AppId>,
) -> Response {
    let mut response = answer.into_response();
    let ids = ids.into_iter().take(MAX_IDS).map(ToString::to_string);
    response.extensions_mut().insert(Touched(ids.collect()));
    response
}

/// Lines of an answer, unless the caller says how many.
const USUAL_LINES: usize = 100;
/// The most lines of one answer: some hundred KiB.
const MAX_LINES: usize = 1_000;
/// Questions that are written down, too: they tell everything.
const NOTED_QUESTIONS: [&str; 2] = ["/v2/backup", "/v2/audit"];

/// What proxies say every few seconds is not written down, unless it is refused.
const ACKS: &str = "/v2/backends/acks/";

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v2/audit", get(list))
}

/// What was written down last, the newest first.
async fn list(State(api): State<Api>, params: Params) -> Result<Json<Value>, Failure> {
    let Some(audit) = api.doors.audit else {
        let text = "No audit log is kept: the service framework was started without --audit-log";
        return Err(Failure::not_found(text));
    };
    let offset = params.number("offset", 0, 0..=usize::MAX)?;
    let limit = params.number("limit", USUAL_LINES, 1..=MAX_LINES)?;
    let path = audit.path();
    let read = tokio::task::spawn_blocking(move || audit::read(&path, offset, limit)).await;
    let Ok(Ok(Page { lines, more })) = read else {
        error!(path = %audit.path().display(), "audit log cannot be read");
        let text = "The audit log cannot be read";
        return Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text));
    };
    Ok(Json(json!({ "lines": lines, "more": more })))
}

/// Writes down every request that is more than a question, also one that is refused; of questions, those that are
/// refused for want of a right, and those that ask for everything. What proxies tell of themselves changes nothing.
pub(super) async fn note(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Some(audit) = api.doors.audit else {
        return next.run(request).await;
    };
    let asks = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let is_quiet = asks && !NOTED_QUESTIONS.contains(&request.uri().path());
    let mut line = line(&request);
    let response = next.run(request).await;
    let is_refused = response.status() == StatusCode::FORBIDDEN;
    let is_of_proxy = line.path.starts_with(ACKS) && response.status().is_success();
    if (is_quiet && !is_refused) || is_of_proxy {
        return response;
    }
    if let Some(Touched(ids)) = response.extensions().get() {
        line.ids.clone_from(ids);
    }
    line.deployment = deployment(response.headers());
    line.status = response.status().as_u16();
    audit.note(line);
    response
}

/// Writes down those who are refused because nobody knows them.
pub(super) fn strangers(audit: Audit) -> Witness {
    Witness::from(move |request: &Request| {
        let status = StatusCode::UNAUTHORIZED.as_u16();
        audit.note_stranger(Line {
            status,
            ..line(request)
        });
    })
}

/// What a request says of itself.
fn line(request: &Request) -> Line {
    let extensions = request.extensions();
    let principal = extensions
        .get::<Principal>()
        .map(|who| who.name.to_string());
    let connection = extensions.get::<TcpConnectInfo>();
    let address = connection.and_then(TcpConnectInfo::remote_addr);
    let mut path = request.uri().path().to_owned();
    path.truncate(MAX_PATH_BYTES); // a path on the wire is ASCII
    Line {
        principal: principal.unwrap_or_default(),
        address: address.map_or_else(String::new, |address| address.to_string()),
        method: request.method().to_string(),
        path,
        ids: Vec::new(),
        deployment: None,
        status: 0,
        unlisted: 0,
    }
}

fn deployment(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(DEPLOYMENT)?.to_str().ok()?;
    Some(id.to_owned())
}
