//! Every error of `/v2`: status and body as Marathon's clients know them.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mete_daemon::event_loop::Gone;
use mete_proto::rest::apps::Identifiable;
use mete_proto::rest::errors::{Detail, Details, Error};
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::validate::Violation;
use mete_service_framework_core::{Missing, Reply};

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) body: Box<Error>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let body = Error {
            message: message.into(),
            ..Error::default()
        };
        Self {
            status,
            body: Box::new(body),
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn no_such_app(id: impl std::fmt::Display) -> Self {
        Self::not_found(format!("App '{id}' does not exist"))
    }

    pub(super) fn no_such_pod(id: impl std::fmt::Display) -> Self {
        Self::not_found(format!("Pod '{id}' does not exist"))
    }

    pub(super) fn no_such_group(id: impl std::fmt::Display) -> Self {
        Self::not_found(format!("Group '{id}' does not exist"))
    }

    pub(super) fn no_such_deployment(id: impl std::fmt::Display) -> Self {
        Self::not_found(format!("DeploymentPlan {id} does not exist"))
    }

    pub(super) fn no_such_task(id: &str) -> Self {
        Self::not_found(format!("Task '{id}' does not exist"))
    }

    /// Marathon's own code says 500 here, which makes clients take the whole host for down.
    pub(super) fn no_such_uri() -> Self {
        Self::not_found("URI not found")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    /// Not JSON at all: 400, and what the parser says.
    pub(super) fn unparsable(text: String) -> Self {
        let mut failure = Self::bad_request("Invalid JSON");
        failure.body.details = Some(Details::Text(text));
        failure
    }

    /// JSON of the wrong shape.
    pub(super) fn wrong_shape(violations: Vec<Violation>) -> Self {
        Self::with_details("Invalid JSON", violations)
    }

    /// JSON of the right shape that makes no sense.
    pub(super) fn invalid(violations: Vec<Violation>) -> Self {
        Self::with_details("Object is not valid", violations)
    }

    fn with_details(message: &str, violations: Vec<Violation>) -> Self {
        let mut by_path: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for violation in violations {
            by_path
                .entry(violation.path)
                .or_default()
                .push(violation.message);
        }
        let details = by_path
            .into_iter()
            .map(|(path, errors)| Detail { path, errors });
        let mut failure = Self::unprocessable(message);
        failure.body.details = Some(Details::List(details.collect()));
        failure
    }

    fn locked(deployments: impl Iterator<Item = String>) -> Self {
        let message = "App is locked by one or more deployments. Override with the option \
                       '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'.";
        let mut failure = Self::new(StatusCode::CONFLICT, message);
        failure.body.deployments = Some(deployments.map(|id| Identifiable { id }).collect());
        failure
    }

    fn missing(missing: &Missing) -> Self {
        match missing {
            Missing::App(id) => Self::no_such_app(id),
            Missing::Pod(id) => Self::no_such_pod(id),
            Missing::Group(id) => Self::no_such_group(id),
            Missing::GroupVersion(id, version) => Self::unprocessable(format!(
                "Group {} not available in version {}",
                id.as_ref().map_or("/", AppId::as_str),
                time::text(*version)
            )),
            Missing::Deployment(id) => Self::no_such_deployment(id),
            Missing::Queued(id) => Self::not_queued(id),
        }
    }

    pub(super) fn not_queued(id: &AppId) -> Self {
        Self::not_found(format!("Application {id} not found in tasks queue."))
    }
}

/// What the core turned down. Replies that are no refusals have no business here.
impl From<Reply> for Failure {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::NotFound(missing) => Self::missing(&missing),
            Reply::AlreadyExists(id) => Self::new(
                StatusCode::CONFLICT,
                format!("An app with id [{id}] already exists."),
            ),
            Reply::PodExists(id) => Self::new(
                StatusCode::CONFLICT,
                format!("A pod with id [{id}] already exists."),
            ),
            Reply::GroupExists(id) => Self::new(
                StatusCode::CONFLICT,
                format!(
                    "Group {} is already created. Use PUT to change this group.",
                    id.as_ref().map_or("/", AppId::as_str)
                ),
            ),
            Reply::AppInPlaceOfGroup(id) => Self::new(
                StatusCode::CONFLICT,
                format!("An app with the path {id} already exists."),
            ),
            Reply::Conflict { deployments } => {
                Self::locked(deployments.iter().map(ToString::to_string))
            }
            Reply::Invalid(violations) => Self::invalid(violations),
            Reply::Stale(id) => Self::new(
                StatusCode::CONFLICT,
                format!("App '{id}' is being changed by others all the time. Try again."),
            ),
            Reply::TooManyDeployments { limit } => Self::new(
                StatusCode::FORBIDDEN,
                format!(
                    "Max number ({limit}) of running deployments is achieved. Wait for existing deployments to \
                     complete or cancel one using force=true parameter."
                ),
            ),
            // Marathon says 500, but it is the user who asks for more ports than there are, and clients take a host
            // that answers 5xx for down.
            Reply::NoServicePort { first, last } => Self::unprocessable(format!(
                "All ports in the range [{first}-{last}] are already in use"
            )),
            Reply::BadProxy(reason) => Self::unprocessable(reason),
            Reply::Changed { .. }
            | Reply::Planned(_)
            | Reply::Killed(_)
            | Reply::Cancelled
            | Reply::Done => {
                tracing::error!("the core gave an answer that does not fit the question");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
        }
    }
}

/// A caller whose loop has ended learns that the daemon is going away.
impl From<Gone> for Failure {
    fn from(_: Gone) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the service framework is shutting down",
        )
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
