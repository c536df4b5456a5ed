//! The one place where rights are asked: before a handler what its method and path need, in it what only it knows.
//!
//! A path that is not in the table is for admins, so that a new endpoint is closed until somebody opens it. What one may
//! not see is not there (404, and left out of lists); what one sees and may not change is 403.

use std::borrow::Cow;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mete_daemon::auth::Principal;
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::state::deployments::Deployment;
use percent_encoding::percent_decode_str;

use super::failure::Failure;
use super::params::Target;
use super::{Api, pods};
use crate::access::{Right, Rights};

/// What a request needs before its handler is asked.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    /// Nothing, or the handler asks itself: lists leave out what one may not see, bodies name what they are about.
    Nothing,
    /// To see an app.
    See(AppId),
    /// To change an app that is there.
    Change(AppId),
    /// To see a pod.
    SeePod(AppId),
    /// To change a pod that is there.
    ChangePod(AppId),
    /// To change what may not be there yet; `None` is the root.
    Make(Option<AppId>),
    /// To see everything.
    SeeAll,
    /// To be an admin.
    Admin,
}

/// What the caller may, for handlers.
#[derive(Clone, Debug)]
pub(super) struct May(Arc<Rights>);

impl<S: Send + Sync> FromRequestParts<S> for May {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Whoever comes without having passed `check` may nothing.
        let may = parts.extensions.get::<Self>().cloned();
        Ok(may.unwrap_or_else(|| Self(Arc::default())))
    }
}

impl May {
    #[cfg(test)]
    pub(super) fn everything() -> Self {
        Self(Arc::new(Rights::all()))
    }

    /// Whether an app, or a group and all in it, may be seen.
    pub(super) fn sees(&self, path: &AppId) -> bool {
        self.0.has(Right::View, Some(path))
    }

    /// Whether everything may be seen.
    pub(super) fn sees_all(&self) -> bool {
        self.0.has(Right::View, None)
    }

    /// Whether there is something to be seen in a group.
    pub(super) fn sees_in(&self, group: &AppId) -> bool {
        self.0.has_below(group)
    }

    /// Whether a deployment may be seen: all that it is about.
    pub(super) fn sees_deployment(&self, deployment: &Deployment) -> bool {
        self.sees_all() || deployment.affected.keys().all(|app| self.sees(app))
    }

    /// Lets through who may change a path, whether something is there or not; `None` is the root.
    pub(super) fn make(&self, path: Option<&AppId>) -> Result<(), Failure> {
        let may = self.0.has(Right::Change, path);
        may.then_some(()).ok_or_else(forbidden)
    }

    /// Lets through who may change an app that is there; to others it is not there, or they are refused.
    pub(super) fn change(&self, app: &AppId) -> Result<(), Failure> {
        if self.sees(app) {
            return self.make(Some(app));
        }
        Err(Failure::no_such_app(app))
    }

    /// Lets through who may change all that a deployment is about.
    pub(super) fn change_deployment(&self, deployment: &Deployment) -> Result<(), Failure> {
        if !self.sees_deployment(deployment) {
            return Err(Failure::no_such_deployment(&deployment.id));
        }
        let mut all = deployment.affected.keys();
        all.try_for_each(|app| self.make(Some(app)))
    }

    fn meets(&self, need: &Need) -> Result<(), Failure> {
        match need {
            Need::Nothing => Ok(()),
            Need::See(app) if self.sees(app) => Ok(()),
            Need::See(app) => Err(Failure::no_such_app(app)),
            Need::Change(app) => self.change(app),
            Need::SeePod(pod) | Need::ChangePod(pod) if !self.sees(pod) => {
                Err(Failure::no_such_pod(pod))
            }
            Need::SeePod(_) => Ok(()),
            Need::ChangePod(pod) => self.make(Some(pod)),
            Need::Make(path) => self.make(path.as_ref()),
            Need::SeeAll if self.sees_all() => Ok(()),
            Need::Admin if self.0.has(Right::Admin, None) => Ok(()),
            Need::SeeAll | Need::Admin => Err(forbidden()),
        }
    }
}

/// In Marathon's words.
fn forbidden() -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        "Not Authorized to perform this action!",
    )
}

/// Lets through who may what the method and the path say, and tells handlers what the caller may.
pub(super) async fn check(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    // Health is open to those nobody has asked who they are; there is nothing else that they reach.
    let principal = request.extensions().get::<Principal>();
    let rights = principal.map_or_else(Arc::default, |principal| api.doors.access.of(principal));
    let may = May(rights);
    let path = percent_decoded(request.uri().path());
    if let Err(refused) = may.meets(&need(request.method(), &path)) {
        return refused.into_response();
    }
    request.extensions_mut().insert(may);
    next.run(request).await
}

/// The table.
fn need(method: &Method, path: &str) -> Need {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    if let Some(path) = below(path, "/v2/apps") {
        return of_app(method, reads, path);
    }
    if let Some(group) = below(path, "/v2/groups") {
        // Reading leaves out what one may not see.
        return if reads {
            Need::Nothing
        } else {
            of_group(group)
        };
    }
    if let Some(path) = below(path, "/v2/queue") {
        return of_queue(reads, path);
    }
    if let Some(path) = below(path, "/v2/pods") {
        return of_pod(method, reads, path);
    }
    let is_below = |of| below(path, of).is_some();
    match path.strip_suffix('/').unwrap_or(path) {
        "/ping" | "/health" | "/v2/info" | "/v2/leader" | "/v2/plugins" if reads => Need::Nothing,
        "/v2/tasks" | "/v2/pods::status" if reads => Need::Nothing,
        "/v2/events" | "/v2/backends" if reads => Need::Nothing,
        "/v2/tasks/delete" => Need::Nothing,
        "/metrics" | "/metrics/prometheus" if reads => Need::SeeAll,
        _ if is_below("/v2/deployments") => Need::Nothing,
        // A proxy that shows everything tells what it has in effect.
        _ if is_below("/v2/backends/acks") => Need::SeeAll,
        _ => Need::Admin,
    }
}

/// What follows a part of a path, which ends where it ends or with a slash.
fn below<'a>(path: &'a str, of: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(of)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn of_app(method: &Method, reads: bool, path: &str) -> Need {
    if path.trim_matches('/').is_empty() {
        return Need::Nothing;
    }
    match Target::parse(path) {
        // The handler has the words for it.
        Target::Bad(..) => Need::Nothing,
        Target::Below(_) | Target::TasksBelow(_) if reads => Need::Nothing,
        Target::Below(group) | Target::TasksBelow(group) => Need::Make(group),
        Target::App(id) if method == Method::PUT => Need::Make(Some(id)),
        Target::App(id)
        | Target::Restart(id)
        | Target::Versions(id)
        | Target::Version(id, _)
        | Target::Tasks(id)
        | Target::Task(id, _) => {
            if reads {
                Need::See(id)
            } else {
                Need::Change(id)
            }
        }
    }
}

fn of_pod(method: &Method, reads: bool, path: &str) -> Need {
    if path.trim_matches('/').is_empty() {
        return Need::Nothing;
    }
    match pods::Target::parse(path) {
        // The handler has the words for it.
        pods::Target::Bad(..) | pods::Target::Unknown => Need::Nothing,
        pods::Target::AllStatuses => Need::Nothing,
        pods::Target::Pod(id) if method == Method::PUT => Need::Make(Some(id)),
        pods::Target::Pod(id)
        | pods::Target::Status(id)
        | pods::Target::Versions(id)
        | pods::Target::Version(id, _)
        | pods::Target::Instances(id)
        | pods::Target::Instance(id, _) => {
            if reads {
                Need::SeePod(id)
            } else {
                Need::ChangePod(id)
            }
        }
    }
}

/// A body may name another group in the one of the path: the handler asks again.
fn of_group(path: &str) -> Need {
    let path = path.trim_matches('/');
    if path.is_empty() {
        // Whether of the root or of a group that the body names, the handler knows.
        return Need::Nothing;
    }
    AppId::new(path).map_or(Need::Nothing, |id| Need::Make(Some(id)))
}

fn of_queue(reads: bool, path: &str) -> Need {
    let path = path.trim_matches('/');
    let id = path
        .strip_suffix("/why")
        .or_else(|| path.strip_suffix("/delay"));
    match id.and_then(|id| AppId::new(id).ok()) {
        Some(id) if reads => Need::See(id),
        Some(id) => Need::Change(id),
        None => Need::Nothing,
    }
}

/// The path as handlers see it; what is no UTF-8 stays as it is, and no handler takes it.
fn percent_decoded(path: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(path).decode_utf8();
    decoded.unwrap_or(Cow::Borrowed(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_needs_what_it_is_about() {
        let id = |text| AppId::new(text).expect("good");
        for (method, path, expected) in [
            (Method::GET, "/v2/apps", Need::Nothing),
            (Method::GET, "/v2/apps/a/*", Need::Nothing),
            (Method::GET, "/v2/apps/a/tasks", Need::See(id("/a"))),
            (Method::PUT, "/v2/apps//a", Need::Make(Some(id("/a")))),
            (Method::PATCH, "/v2/apps/a", Need::Change(id("/a"))),
            (Method::POST, "/v2/apps/a/restart", Need::Change(id("/a"))),
            (Method::DELETE, "/v2/apps/a/tasks/x", Need::Change(id("/a"))),
            (Method::PUT, "/v2/groups/a/b", Need::Make(Some(id("/a/b")))),
            (Method::HEAD, "/v2/pods", Need::Nothing),
            (Method::GET, "/v2/pods::status", Need::Nothing),
            (Method::GET, "/v2/pods/::status", Need::Nothing),
            (Method::GET, "/v2/pods/a::status", Need::SeePod(id("/a"))),
            (Method::PUT, "/v2/pods/a", Need::Make(Some(id("/a")))),
            (Method::DELETE, "/v2/pods/a", Need::ChangePod(id("/a"))),
            (
                Method::DELETE,
                "/v2/pods/a::instances",
                Need::ChangePod(id("/a")),
            ),
            (Method::GET, "/v2/queue/a/why", Need::See(id("/a"))),
            (Method::GET, "/v2/queue/", Need::Nothing),
            (Method::GET, "/v2/info/", Need::Nothing),
            (Method::DELETE, "/v2/leader/", Need::Admin),
            (Method::DELETE, "/v2/queue/a/delay", Need::Change(id("/a"))),
            (Method::PUT, "/v2/backends/acks/edge", Need::SeeAll),
            (Method::GET, "/metrics", Need::SeeAll),
            (Method::GET, "/metrics/prometheus", Need::SeeAll),
            (Method::DELETE, "/v2/leader", Need::Admin),
            (Method::GET, "/logging", Need::Admin),
            (Method::GET, "/v2/backup", Need::Admin),
            (Method::GET, "/v2/audit", Need::Admin),
            (Method::GET, "/v2/appsx", Need::Admin),
            (Method::GET, "/of-tomorrow", Need::Admin),
        ] {
            assert_eq!(need(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_path_is_asked_about_as_handlers_see_it() {
        assert_eq!(percent_decoded("/v2/apps/%61%2Fb"), "/v2/apps/a/b");
        assert_eq!(percent_decoded("/a%"), "/a%");
        assert_eq!(percent_decoded("/%2"), "/%2");
        assert_eq!(percent_decoded("/%+1"), "/%+1");
        assert_eq!(percent_decoded("/%FF"), "/%FF");
    }
}
