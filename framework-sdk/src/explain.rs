//! Asking the master why: what stands between a framework and the offers it waits for.
//!
//! The answer is the JSON of the master's `GET /explain` (docs/api/explain.md). A framework that runs asks with
//! [`Client::explain`](crate::Client::explain).

use std::time::Duration;

use mete_model::FrameworkId;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1::ExplainRequest;

pub use crate::ask::AskError;
use crate::ask::{self, Master};
use crate::connection::{CONNECT_TIMEOUT, Connection};

/// How long [`Client::explain`](crate::Client::explain) waits for each master: as long as a connection may take to open, so
/// that one that is cut off does not keep the next from being asked.
pub const PATIENCE: Duration = CONNECT_TIMEOUT;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// There is nobody to ask about: no master has let the framework in yet.
    #[error("the framework has no id yet")]
    NoId,
    /// The masters do not say.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Asks the first master that answers how a framework stands: share, reasons, each shape it waits for. The answer is
/// JSON. Each master is given up after `patience`.
///
/// # Errors
/// [`ExplainError`] when none answers, or the framework is not known there.
pub async fn framework(
    connection: &Connection,
    id: &FrameworkId,
    patience: Duration,
) -> Result<String, ExplainError> {
    let asked = ExplainRequest {
        framework_id: Some(mesos::FrameworkId {
            value: id.to_string(),
        }),
        ..ExplainRequest::default()
    };
    let question = |mut master: Master| {
        let asked = asked.clone();
        async move { master.explain(asked).await }
    };
    let answer = ask::first(connection, patience, question).await?;
    Ok(answer.into_inner().json)
}
