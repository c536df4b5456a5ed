//! Paths as Mesos takes them: a path that is not there is taken for the longest part of it that is, segments dropped from
//! the right. Clients rely on it: some call `/api/v1/operator`, some end every path with a slash, or begin it with two. Those
//! of old Mesos say `/state.json` for `/state`.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use axum::routing::any;
use tower::ServiceExt as _;

use crate::server;

/// What is reached beside `routes`: the same below the name of the `process`, as `/master`, and by longer paths of those
/// that are `known`. Merge it with them.
pub fn beside(routes: &Router, process: &'static str, known: &'static [&'static str]) -> Router {
    let shorter = routes.clone();
    let shorter = move |request: Request| {
        let path = collapsed(request.uri().path());
        let path = longest(&path, process, known).map(str::to_owned);
        take(shorter.clone(), path, request)
    };
    Router::new()
        .nest(process, routes.clone())
        .route("/{*path}", any(shorter))
}

async fn take(routes: Router, path: Option<String>, mut request: Request) -> Response {
    let Some(mut path) = path else {
        return server::unknown(request).await;
    };
    if let Some(query) = request.uri().query() {
        path = format!("{path}?{query}");
    }
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

/// The same path with one slash where there are several: so do scripts write it that put a base with a slash before it.
fn collapsed(path: &str) -> String {
    let mut one = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        one.push('/');
        one.push_str(part);
    }
    if path.ends_with('/') {
        one.push('/');
    }
    one
}

/// The longest known path that `path` begins with, `.json` at its end or not.
fn longest<'a>(path: &'a str, process: &str, known: &[&str]) -> Option<&'a str> {
    let below = path.strip_prefix(process);
    let mut path = below.filter(|rest| rest.starts_with('/')).unwrap_or(path);
    loop {
        let shorter = path.strip_suffix(".json").unwrap_or(path);
        if let Some(found) = [path, shorter].into_iter().find(|one| known.contains(one)) {
            return Some(found);
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
            ("/state.json", Some("/state")),
            ("/master/state.json/", Some("/state")),
            ("/states.json", None),
            ("/.json", None),
            ("/master", None),
            ("/mastery/state", None),
            ("//api/v1/scheduler", Some("/api/v1/scheduler")),
            ("/master//state", Some("/state")),
            ("/api", None),
            ("", None),
            ("//", None),
        ] {
            let known = ["/api/v1", "/api/v1/scheduler", "/state", "/state-summary"];
            let one = collapsed(path);
            assert_eq!(longest(&one, "/master", &known), is, "{path}");
        }
    }
}
