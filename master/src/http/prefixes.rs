//! Paths as Mesos takes them: a path that is not there is taken for the longest part of it that is, segments dropped from
//! the right. Clients rely on it: some call `/api/v1/operator`, some end every path with a slash.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use axum::routing::any;
use mete_daemon::server;
use tower::ServiceExt as _;

/// The paths of Mesos; ours are taken by their whole name.
const KNOWN: [&str; 31] = [
    "/api/v1",
    "/api/v1/scheduler",
    "/create-volumes",
    "/destroy-volumes",
    "/files/browse",
    "/files/debug",
    "/files/download",
    "/files/read",
    "/flags",
    "/frameworks",
    "/health",
    "/machine/down",
    "/machine/up",
    "/maintenance/schedule",
    "/maintenance/status",
    "/metrics",
    "/metrics/snapshot",
    "/quota",
    "/redirect",
    "/reserve",
    "/roles",
    "/slaves",
    "/state",
    "/state-summary",
    "/tasks",
    "/teardown",
    "/unreserve",
    "/version",
    "/weights",
    "/policy",
    "/explain",
];

/// The process that these paths belong to, by whose name they are reached too.
const PROCESS: &str = "/master";

/// Whatever `routes` has, also below `/master`, and by longer paths.
pub(super) fn route(routes: Router) -> Router {
    let shorter = routes.clone();
    let shorter = move |request: Request| take(shorter.clone(), request);
    Router::new()
        .merge(routes.clone())
        .nest(PROCESS, routes)
        .route("/{*path}", any(shorter))
}

async fn take(routes: Router, mut request: Request) -> Response {
    let Some(path) = known(request.uri().path()) else {
        return server::unknown(request).await;
    };
    let path = match request.uri().query() {
        None => path.to_owned(),
        Some(query) => format!("{path}?{query}"),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    let Ok(uri) = Uri::from_parts(parts) else {
        return server::unknown(request).await;
    };
    *request.uri_mut() = uri;
    match routes.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The longest known path that `path` begins with.
fn known(path: &str) -> Option<&str> {
    let mut path = path
        .strip_prefix(PROCESS)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    loop {
        if KNOWN.contains(&path) {
            return Some(path);
        }
        path = &path[..path.rfind('/')?];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_path_counts() {
        for (path, is) in [
            ("/api/v1/operator", Some("/api/v1")),
            ("/api/v1/scheduler/", Some("/api/v1/scheduler")),
            ("/api/v1/scheduler/more/and/more", Some("/api/v1/scheduler")),
            ("/master/state/", Some("/state")),
            ("/master/api/v1/x", Some("/api/v1")),
            ("/state-summary/x", Some("/state-summary")),
            ("/state.json", None),
            ("/master", None),
            ("/mastery/state", None),
            ("/api", None),
            ("", None),
            ("//", None),
        ] {
            assert_eq!(known(path), is, "{path}");
        }
    }
}
