//! Paths that are only read.

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

/// A path that is read by GET, and by POST: Mesos does not look at the method, and there are clients that send an empty form.
pub fn read<H: Handler<T, S>, T: 'static, S: Clone + Send + Sync + 'static>(
    handler: H,
) -> MethodRouter<S> {
    on(MethodFilter::GET.or(MethodFilter::POST), handler)
}
