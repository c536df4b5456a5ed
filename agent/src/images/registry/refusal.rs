//! What answers that are none mean, in words for people and within bounds.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::{Response, StatusCode};
use serde::Deserialize;

use super::Session;
use crate::images::credentials::Login;
use crate::images::error::ImageError;

/// What is read of an error, for people.
const MAX_ERROR_BYTES: u64 = 16 << 10;
/// What is shown of it.
const SHOWN_CHARS: usize = 300;

#[derive(Deserialize)]
struct Problems {
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Session<'_> {
    /// What an answer that is none means.
    pub(super) async fn refused(&self, answer: Response<Incoming>, what: &str) -> ImageError {
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|text| text.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        // What cannot be read is not worth another error.
        let body = self
            .body(answer.into_body(), MAX_ERROR_BYTES, "the error")
            .await;
        let says = says(&body.unwrap_or_default());
        let (image, registry) = (self.image.clone(), self.registry.clone());
        match status {
            StatusCode::NOT_FOUND => ImageError::NotFound {
                image,
                registry,
                what: match what {
                    "manifest" => "such image".to_owned(),
                    other => other.to_owned(),
                },
            },
            StatusCode::UNAUTHORIZED => self.unauthorized(match self.login {
                Login::Anonymous => {
                    "there is no login for it, and it gives nothing without".to_owned()
                }
                Login::Password { .. } | Login::Identity(_) | Login::Helper(_) => {
                    format!("it refuses {} login", self.whose)
                }
            }),
            StatusCode::FORBIDDEN => ImageError::Denied {
                image,
                registry,
                says,
            },
            status => ImageError::Refused {
                image,
                registry,
                status: status.as_u16(),
                says,
                retry_after,
            },
        }
    }

    pub(super) fn unauthorized(&self, why: impl Into<String>) -> ImageError {
        ImageError::Unauthorized {
            image: self.image.clone(),
            registry: self.registry.clone(),
            why: why.into(),
        }
    }

    pub(super) fn unreachable(&self, why: String) -> ImageError {
        ImageError::Unreachable {
            image: self.image.clone(),
            registry: self.registry.clone(),
            why,
        }
    }

    pub(super) fn too_slow(&self, what: String) -> ImageError {
        ImageError::Timeout {
            image: self.image.clone(),
            registry: self.registry.clone(),
            what,
        }
    }

    pub(super) fn too_large(&self, what: &str, bound: u64) -> ImageError {
        ImageError::TooLarge {
            image: self.image.clone(),
            what: what.to_owned(),
            bound,
            unit: "bytes",
        }
    }
}

/// What an error's body says to people, after a colon.
fn says(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Problems>(body) {
        Ok(problems) => problems
            .errors
            .into_iter()
            .take(3)
            .map(|problem| format!("{} {}", problem.code, problem.message))
            .collect::<Vec<_>>()
            .join(", "),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let shown: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(SHOWN_CHARS)
        .collect();
    match shown.is_empty() {
        true => shown,
        false => format!(": {shown}"),
    }
}
