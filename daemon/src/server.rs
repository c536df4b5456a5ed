//! gRPC and HTTP on one port.
//!
//! ```text
//! bind ──► http(router) ──► add gRPC services ──► with_health_and_reflection ──► serve
//! ```
//! Invariants: every request but those for health and version is authenticated when there is a token; a panic in a handler is one failed
//! request; nobody takes for ever to say what it wants; the end of the server is bounded in time, long streams are cut then.

mod connection; // one accepted socket, which can be cut
mod guard; // what every request passes: panics caught, token, body limit
mod patience; // how long callers may take

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tracing::debug;

use self::connection::Cut;
use crate::auth::{Callers, Token};
use crate::http_error::HttpError;

/// The largest body of an HTTP request: a group of thousands of apps is about a MiB of JSON.
pub const HTTP_BODY_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Connections at the same time; further ones wait to be accepted. Thousands of agents and frameworks, and below the
/// 20,000 file descriptors that are usual.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Streams on one connection: many agents or frameworks may share one.
const MAX_STREAMS_PER_CONNECTION: u32 = 10_000;
/// How long requests in flight may take once the server is asked to end; then their connections are cut.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long cut connections may take to notice.
const CUT_GRACE: Duration = Duration::from_secs(1);
/// A silent HTTP/2 peer is asked this often whether it lives, so that a half-open connection is known within twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What a peer may send ahead on one stream: a full state of an agent in one go.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What a peer may send ahead on all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Why a port could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("port {} on {} is in use by another process", address.port(), address.ip())]
    Busy {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address is not of this machine, or the port needs rights.
    #[error("cannot listen on {address}")]
    Refused {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a server ended on its own.
#[derive(Debug, thiserror::Error)]
#[error("the server failed")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Listens on an address; port 0 picks a free one.
///
/// # Errors
/// Naming the address when it cannot be had.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            return BindError::Busy { address };
        }
        BindError::Refused { address, source }
    })
}

/// The HTTP part of a daemon's routes: bodies are limited to [`HTTP_BODY_LIMIT_BYTES`], unknown paths and methods get
/// JSON errors (unknown gRPC services their own status). Add the gRPC services to what comes back.
pub fn http(router: Router) -> Routes {
    Routes::from(limited(router))
}

/// As [`http`], with further routes whose bodies have no limit but the one that their handlers set.
pub fn http_with_uploads(router: Router, uploads: Router) -> Routes {
    let uploads = uploads.layer(axum::extract::DefaultBodyLimit::disable());
    Routes::from(limited(router).merge(uploads))
}

fn limited(router: Router) -> Router {
    router
        .method_not_allowed_fallback(|| async {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
        .fallback(unknown)
        .layer(axum::extract::DefaultBodyLimit::disable()) // the guard's limit counts, also for handlers that stream
        .layer(middleware::from_fn(guard::limit_body))
}

/// The answer at a path where nothing is: as a gRPC status for gRPC calls.
pub async fn unknown(request: Request) -> Response {
    if is_grpc(&request) {
        return Status::unimplemented(format!("no service for {}", request.uri().path()))
            .into_http();
    }
    HttpError::not_found(format!("nothing at {}", request.uri().path())).into_response()
}

/// Whether this is a gRPC call and wants its errors as gRPC statuses.
pub(crate) fn is_grpc(request: &Request) -> bool {
    let kind = request.headers().get(axum::http::header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Adds gRPC health, which says "serving" for each of `services` (names such as `mete.v1.Agent`), and reflection for
/// the encoded descriptor set.
///
/// # Errors
/// When the descriptor set is damaged.
pub async fn with_health_and_reflection(
    routes: Routes,
    descriptors: &[u8],
    services: &[&str],
) -> Result<Routes, tonic_reflection::server::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in services {
        reporter
            .set_service_status(service, tonic_health::ServingStatus::Serving)
            .await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok(routes.add_service(health).add_service(reflection))
}

/// Serves until `shutdown` is cancelled, then up to [`SHUTDOWN_GRACE`] longer for requests in flight. With a `token`,
/// every caller but those who ask for health must show it; handlers find the
/// [`Principal`](crate::auth::Principal) in the request's extensions.
///
/// # Errors
/// When the server fails as a whole; never because of one connection.
pub async fn serve(
    listener: TcpListener,
    routes: impl Into<Routes>,
    token: Option<Token>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    serve_to(listener, routes, token.into(), shutdown).await
}

/// As [`serve`], to callers of whom each may have a secret of its own.
///
/// # Errors
/// As [`serve`].
pub async fn serve_to(
    listener: TcpListener,
    routes: impl Into<Routes>,
    callers: Callers,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let guarded = routes
        .into()
        .into_axum_router()
        .layer(middleware::from_fn_with_state(callers, guard::check));
    let cut = Cut::default();
    let connections = connection::accept(listener, cut.clone());
    let mut serving = std::pin::pin!(
        Server::builder()
            .accept_http1(true)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION)
            .add_routes(Routes::from(guarded))
            .serve_with_incoming_shutdown(connections, shutdown.clone().cancelled_owned())
    );
    let grace = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = grace => {}
    }
    debug!("connections are cut");
    cut.all();
    match tokio::time::timeout(CUT_GRACE, serving).await {
        Ok(ended) => Ok(ended?),
        // A handler that holds its connection past the cut ends with the process.
        Err(_) => Ok(()),
    }
}
