//! Answers of a KiB and more are packed for who reads gzip, never what is streamed (as in Mesos).

use axum::Router;
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

/// Below this, an answer is not packed.
const MIN_GZIP_BYTES: u64 = 1_024;

/// Marks an answer, as an extension, that goes on as things happen: it is sent as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Streamed;

/// The same routes, whose long answers are packed.
pub fn packed(routes: Router) -> Router {
    let is_whole = |_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions| {
        extensions.get::<Streamed>().is_none()
    };
    let when = SizeAbove::new(MIN_GZIP_BYTES).and(is_whole);
    routes.layer(CompressionLayer::new().compress_when(when))
}
