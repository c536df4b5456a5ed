//! Errors of `/v2`: a message, and for programs where in the request what is wrong.

use serde::{Deserialize, Serialize};

use super::apps::Identifiable;

/// Body of every answer that is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// For people.
    pub message: String,
    /// What is wrong with the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// Deployments in the way. Clients tell a locked app from an id in use by this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<Identifiable>>,
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Details {
    /// What the parser says, when it is not JSON at all.
    Text(String),
    /// Where what is wrong.
    List(Vec<Detail>),
}

/// What is wrong at one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// `/upgradeStrategy/minimumHealthCapacity`, list index as `/a(0)/b`; the whole object is `/`.
    pub path: String,
    /// At least one.
    pub errors: Vec<String>,
}
