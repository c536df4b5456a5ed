//! Mesos' v1 HTTP API, for frameworks and tools that were written for it: one path for each kind of client, what is said
//! and heard in JSON or protobuf.
//!
//! The order in which a request is looked at, and the status that each fault gets, are those of Mesos: clients tell
//! "again later" from "never" by them.

mod operator; // where operators and tools ask and order
mod refusal; // a status and one line of text
mod request; // what every request goes through first
mod scheduler; // where frameworks subscribe and call
mod streams; // which subscription has which Mesos-Stream-Id

use std::sync::Arc;

use axum::Router;

use crate::grpc::{About, Desk};

/// `/api/v1`, `/api/v1/scheduler`, and `/metrics/snapshot`, which is a question of the first on a path of its own.
pub(crate) fn routes(desk: Desk, about: Arc<About>) -> Router {
    scheduler::routes(desk.clone()).merge(operator::routes(desk, about))
}
