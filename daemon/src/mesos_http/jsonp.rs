//! `?jsonp=f`: the JSON of an answer as a call of `f`, for pages that load data as scripts, as those of Mesos do.

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::http_error::HttpError;

/// Names of functions are short.
const MAX_NAME: usize = 128;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    jsonp: Option<String>,
}

/// A middleware around pages that are read.
pub async fn wrap(request: Request, next: Next) -> Response {
    let wanted = Query::<Wanted>::try_from_uri(request.uri());
    let wanted = wanted.ok().and_then(|wanted| wanted.0.jsonp);
    let Some(name) = wanted.filter(|_| request.method() == Method::GET) else {
        return next.run(request).await;
    };
    if !is_name(&name) {
        let why = format!("jsonp={name:?} is not the name of a function");
        return HttpError::bad_request(why).into_response();
    }
    let (mut parts, body) = next.run(request).await.into_parts();
    let kind = parts.headers.get(CONTENT_TYPE);
    if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return Response::from_parts(parts, body);
    }
    // What is answered lies in memory already.
    let Ok(json) = axum::body::to_bytes(body, usize::MAX).await else {
        return HttpError::unavailable("the answer broke off").into_response();
    };
    parts.headers.remove(CONTENT_LENGTH);
    let script = HeaderValue::from_static("text/javascript");
    parts.headers.insert(CONTENT_TYPE, script);
    Response::from_parts(parts, Body::from(call(&name, &json)))
}

fn call(name: &str, json: &Bytes) -> Vec<u8> {
    [name.as_bytes(), b"(", json, b");"].concat()
}

/// Nothing but a name gets into the script: letters, digits, `_`, `$`, `.`.
fn is_name(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_$.".contains(&byte);
    let begins = |byte: &u8| !byte.is_ascii_digit();
    (1..=MAX_NAME).contains(&text.len())
        && text.as_bytes().first().is_some_and(begins)
        && text.bytes().all(is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_functions_are_taken() {
        for name in ["f", "JSON_CALLBACK", "angular.callbacks._0", "$"] {
            assert!(is_name(name), "{name}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        for bad in ["", "0f", "alert(1)//", "f;g", "ä", long.as_str()] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
