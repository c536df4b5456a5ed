//! What every request passes: a panic becomes an error, the caller is authenticated, an HTTP body has an end, in bytes and
//! in time.

use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tonic::Status;
use tracing::{debug, error};

use super::patience::Timely;
use super::{HTTP_BODY_LIMIT_BYTES, is_grpc, unread};
use crate::auth::{self, Callers, Unauthenticated};
use crate::http_error::HttpError;

/// The outermost layer, for gRPC and HTTP alike.
pub(super) async fn check(
    State(callers): State<Callers>,
    request: Request,
    next: Next,
) -> Response {
    let (request, read) = unread::watched(request);
    let mut response = checked(&callers, request, next).await;
    read.tell(&mut response);
    response
}

async fn checked(callers: &Callers, mut request: Request, next: Next) -> Response {
    let (grpc, path) = (is_grpc(&request), request.uri().path().to_owned());
    match callers.authenticate(request.headers()) {
        Ok(principal) => drop(request.extensions_mut().insert(principal)),
        Err(_) if auth::is_open(&path) || callers.leaves(&path) => {}
        Err(refusal) => {
            debug!(path, reason = %refusal, "caller refused");
            callers.refused(&request);
            return unauthenticated(grpc, refusal, callers.challenge());
        }
    }
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            error!(path, "handler panicked"); // the panic hook has printed the message and the place
            internal(grpc)
        }
    }
}

fn unauthenticated(grpc: bool, refusal: Unauthenticated, challenge: HeaderValue) -> Response {
    if grpc {
        return Status::unauthenticated(refusal.to_string()).into_http();
    }
    let mut response =
        HttpError::new(StatusCode::UNAUTHORIZED, refusal.to_string()).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

fn internal(grpc: bool) -> Response {
    if grpc {
        return Status::internal("internal error").into_http();
    }
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").into_response()
}

/// What a body may be longer as it comes than as it is. More than one frame: of a body that is not packed it is the bound on
/// what it is that counts, of which handlers know what to answer.
const PACKING_BYTES: usize = 1024 * 1024;

/// A packed body has an end, too: it could inflate to nothing for ever.
pub(super) async fn limit_packed_body(request: Request, next: Next) -> Response {
    let limit = HTTP_BODY_LIMIT_BYTES + PACKING_BYTES;
    next.run(request.map(|body| Body::new(Timely::new(body, limit))))
        .await
}

/// For HTTP only: a gRPC stream has no end, its messages are bounded one by one.
pub(super) async fn limit_body(request: Request, next: Next) -> Response {
    let length = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > HTTP_BODY_LIMIT_BYTES) {
        let message = format!("the body is larger than {HTTP_BODY_LIMIT_BYTES} bytes");
        return HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message).into_response();
    }
    next.run(request.map(|body| Body::new(Timely::new(body, HTTP_BODY_LIMIT_BYTES))))
        .await
}
