//! Readiness checks as `/v2` reads and writes them, and what they have said.

use serde::{Deserialize, Serialize};

use super::optional_fields;

optional_fields! {
    /// When an instance that a deployment has started is ready.
    pub struct ReadinessCheck {
        /// For people.
        name: String,
        /// `HTTP` or `HTTPS`.
        protocol: String,
        /// Path and query.
        path: String,
        /// Which of the app's ports.
        port_name: String,
        /// Between two questions.
        interval_seconds: i64,
        /// An answer that takes longer is none.
        timeout_seconds: i64,
        /// Statuses that mean "ready".
        http_status_codes_for_ready: Vec<i64>,
        /// Whether the last answer is shown.
        preserve_last_response: bool,
    }
}

/// What an instance has said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskReadinessCheckResult {
    /// Of which check.
    pub name: String,
    /// Which task.
    pub task_id: String,
    /// Whether it is ready.
    pub ready: bool,
    /// What it said, when that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_response: Option<Response>,
}

/// An answer over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// The type of its body; empty when not said.
    pub content_type: String,
    /// The beginning of its body.
    pub body: String,
}
