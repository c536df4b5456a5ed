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
mod protocols; // HTTP/1 and HTTP/2 on each of them
mod unread; // errors that were answered before the body was read

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tower_http::decompression::RequestDecompressionLayer;
use tracing::debug;

use self::connection::Cut;
use crate::auth::{Callers, Token};
use crate::http_error::HttpError;

/// The largest body of an HTTP request: a group of thousands of apps is about a MiB of JSON.
pub const HTTP_BODY_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// Connections at the same time; further ones wait to be accepted. Thousands of agents and frameworks, and below the
/// 20,000 file descriptors that are usual.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Connections that were made and are not accepted yet: thousands of agents come back at the same moment, and who finds no
/// place tries again only after a second. The kernel takes no more than its `net.core.somaxconn`, which is 4,096.
const MAX_KNOCKING: u32 = 4_096;
/// How long requests in flight may take once the server is asked to end; then their connections are cut.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long cut connections may take to notice.
const CUT_GRACE: Duration = Duration::from_secs(1);

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

/// Listens on an address; port 0 picks a free one.
///
/// # Errors
/// Naming the address when it cannot be had.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            return BindError::Busy { address };
        }
        BindError::Refused { address, source }
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?; // A daemon that was restarted has its port at once.
    socket.bind(address)?;
    socket.listen(MAX_KNOCKING)
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
    // What is packed otherwise goes on as it is, and makes no sense there.
    let inflated = RequestDecompressionLayer::new().pass_through_unaccepted(true);
    router
        .method_not_allowed_fallback(|| async {
            HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
        .fallback(unknown)
        .layer(axum::extract::DefaultBodyLimit::disable()) // the guard's limit counts, also for handlers that stream
        .layer(middleware::from_fn(guard::limit_body))
        .layer(inflated)
        .layer(middleware::from_fn(guard::limit_packed_body))
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

/// The service that every daemon with gRPC has.
const HEALTH: &str = "grpc.health.v1.Health";

/// Adds gRPC health, which says "serving" for each of `services` (names such as `mete.v1.Agent`), and reflection, in its
/// versions `v1` and `v1alpha`, of these services as the encoded descriptor set has them.
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
    // Older tools know nothing but v1alpha.
    let told = || {
        let told = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        // Those that are served here, of all that are described.
        let served = services.iter().chain(&[HEALTH]);
        served.fold(told, |told, service| told.with_service_name(*service))
    };
    Ok(routes
        .add_service(health)
        .add_service(told().build_v1()?)
        .add_service(told().build_v1alpha()?))
}

/// Serves until `shutdown` is cancelled, then up to [`SHUTDOWN_GRACE`] longer for requests in flight. With a `token`,
/// every caller but those who ask for health must show it; handlers find the
/// [`Principal`](crate::auth::Principal) in the request's extensions.
pub async fn serve(
    listener: TcpListener,
    routes: impl Into<Routes>,
    token: Option<Token>,
    shutdown: CancellationToken,
) {
    serve_to(listener, routes, token.into(), shutdown).await;
}

/// As [`serve`], to callers of whom each may have a secret of its own.
pub async fn serve_to(
    listener: TcpListener,
    routes: impl Into<Routes>,
    callers: Callers,
    shutdown: CancellationToken,
) {
    let guarded = routes
        .into()
        .into_axum_router()
        .layer(middleware::from_fn_with_state(callers, guard::check));
    let cut = Cut::default();
    let connections = connection::accept(listener, cut.clone());
    let serving = protocols::serve(connections, guarded, shutdown.clone());
    let mut serving = std::pin::pin!(serving);
    let grace = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        () = &mut serving => return,
        () = grace => {}
    }
    debug!("connections are cut");
    cut.all();
    // A handler that holds its connection past the cut ends with the process.
    drop(tokio::time::timeout(CUT_GRACE, serving).await);
}
