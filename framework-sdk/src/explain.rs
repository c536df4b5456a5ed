//! Asking the master why: what stands between a framework and the offers it waits for.
//!
//! The answer is the JSON of the master's `GET /explain` (docs/api/explain.md). Each question is a connection of its own,
//! so that none stands in the way of calls and events. A framework that runs asks with
//! [`Client::explain`](crate::Client::explain).

use std::time::Duration;

use mete_model::FrameworkId;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1::ExplainRequest;
use mete_proto::mete::v1::operator_client::OperatorClient;
use tonic::{Request, Status};

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
    /// No master could be reached in time.
    #[error("no master answers")]
    NoMaster,
    /// A master answers that it cannot; masters of before know no such question.
    #[error("the master says: {}", .0.message())]
    Refused(#[from] Box<Status>),
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
    let mut last = ExplainError::NoMaster;
    for master in &connection.masters {
        let asking = async {
            let channel = master.connect().await.map_err(|_| ExplainError::NoMaster)?;
            let mut request = Request::new(asked.clone());
            if let Some(token) = &connection.authorization {
                let headers = request.metadata_mut();
                headers.insert("authorization", token.clone());
            }
            let answer = OperatorClient::new(channel).explain(request).await;
            answer.map_err(|status| ExplainError::Refused(Box::new(status)))
        };
        match tokio::time::timeout(patience, asking).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner().json),
            Ok(Err(error)) => last = error,
            Err(_) => {} // silent
        }
    }
    Err(last)
}
