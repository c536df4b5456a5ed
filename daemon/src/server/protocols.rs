//! HTTP/1 and HTTP/2 on the same port: each connection is served until it ends, or the server is asked to.
//!
//! In HTTP/1 names of headers go out as people write them, `Mesos-Stream-Id`: they mean the same in small letters, but some
//! clients of Mesos, and scripts with `grep`, compare them letter by letter.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use futures::{Stream, StreamExt as _};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::debug;

use super::connection::Connection;
use super::patience::IDLE;

/// Streams on one connection: many agents or frameworks may share one.
const MAX_STREAMS_PER_CONNECTION: u32 = 10_000;
/// A silent HTTP/2 peer is asked this often whether it lives, so that a half-open connection is known within twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What a peer may send ahead on one stream: a full state of an agent in one go.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What a peer may send ahead on all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Serves connections as they come. Once `shutdown` is cancelled none is accepted any more, and those that are there end with
/// what they are about; then it is done.
pub(super) async fn serve(
    connections: impl Stream<Item = Connection>,
    routes: Router,
    shutdown: CancellationToken,
) {
    let (protocols, graceful) = (protocols(), GracefulShutdown::new());
    {
        let mut connections = pin!(connections); // Dropped before the wait below: the port is free then.
        while let Some(Some(connection)) = shutdown.run_until_cancelled(connections.next()).await {
            let info = connection.info();
            let service = routes.clone().map_request(move |request| {
                let request: Request<Incoming> = request;
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(info.clone());
                request
            });
            let service = TowerToHyperService::new(service);
            let served =
                protocols.serve_connection_with_upgrades(TokioIo::new(connection), service);
            let served = graceful.watch(served.into_owned());
            tokio::spawn(async move {
                if let Err(error) = served.await {
                    debug!(%error, "connection ended");
                }
            });
        }
    }
    graceful.shutdown().await;
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut protocols = auto::Builder::new(TokioExecutor::new());
    protocols
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE) // it runs between requests, too
        .title_case_headers(true);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(KEEPALIVE))
        .keep_alive_timeout(KEEPALIVE)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS_PER_CONNECTION);
    protocols
}
