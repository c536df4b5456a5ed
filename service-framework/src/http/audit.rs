//! Notes what changes something, or was to: what the request says of itself, and what its answer says.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mete_daemon::auth::Principal;
use mete_service_framework_core::spec::app::AppId;
use tonic::transport::server::TcpConnectInfo;

use super::Api;
use super::change::DEPLOYMENT;
use crate::audit::Line;

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

/// Writes down every request that is more than a question, also one that is refused.
pub(super) async fn note(State(api): State<Api>, request: Request, next: Next) -> Response {
    let Some(audit) = api.doors.audit else {
        return next.run(request).await;
    };
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return next.run(request).await;
    }
    let extensions = request.extensions();
    let principal = extensions
        .get::<Principal>()
        .map(|who| who.name.to_string());
    let connection = extensions.get::<TcpConnectInfo>();
    let address = connection.and_then(TcpConnectInfo::remote_addr);
    let mut path = request.uri().path().to_owned();
    path.truncate(MAX_PATH_BYTES); // a path on the wire is ASCII
    let mut line = Line {
        principal: principal.unwrap_or_default(),
        address: address.map_or_else(String::new, |address| address.to_string()),
        method: request.method().to_string(),
        path,
        ids: Vec::new(),
        deployment: None,
        status: 0,
    };
    let response = next.run(request).await;
    if let Some(Touched(ids)) = response.extensions().get() {
        line.ids.clone_from(ids);
    }
    line.deployment = deployment(response.headers());
    line.status = response.status().as_u16();
    audit.note(line);
    response
}

fn deployment(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(DEPLOYMENT)?.to_str().ok()?;
    Some(id.to_owned())
}
