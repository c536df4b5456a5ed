//! What is asked of the paths below `/files`, and how it is refused: in plain text, by which clients of Mesos tell one
//! refusal from another.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::http_error::HttpError;

/// What a query says: of a name that is there twice the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileQuery(BTreeMap<String, String>);

/// A refusal in plain text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRefusal {
    /// The status line.
    pub status: StatusCode,
    /// The body, one line.
    pub message: String,
}

impl FileQuery {
    /// Which file or directory.
    ///
    /// # Errors
    /// 400, when there is no `path`, or an empty one.
    pub fn path(&self) -> Result<&str, FileRefusal> {
        let path = self.0.get("path").map(String::as_str);
        path.filter(|path| !path.is_empty())
            .ok_or_else(|| FileRefusal::bad("Expecting 'path=value' in query"))
    }

    /// `offset` or `length`; `None` when it is left out, or is -1, which says the same.
    ///
    /// # Errors
    /// 400, when it is no number, or one below -1.
    pub fn number(&self, name: &str) -> Result<Option<u64>, FileRefusal> {
        let Some(said) = self.0.get(name) else {
            return Ok(None);
        };
        let number: i64 = said.parse().map_err(|_| {
            let shown: String = said.chars().take(40).collect();
            FileRefusal::bad(format!(
                "Failed to parse {name}: Failed to convert '{shown}' to number"
            ))
        })?;
        match u64::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) if number == -1 => Ok(None),
            Err(_) => Err(FileRefusal::bad(format!(
                "Negative {name} provided: {number}"
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FileQuery {
    type Rejection = FileRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, FileRefusal> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(said)| Self(said))
            .map_err(|error| FileRefusal::bad(error.body_text()))
    }
}

impl FileRefusal {
    fn bad(why: impl Into<String>) -> Self {
        HttpError::bad_request(why).into()
    }
}

/// A line of its own, as Mesos ends them.
impl From<HttpError> for FileRefusal {
    fn from(error: HttpError) -> Self {
        Self {
            status: error.status,
            message: error.message + ".\n",
        }
    }
}

impl IntoResponse for FileRefusal {
    fn into_response(self) -> Response {
        (self.status, self.message).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(said: &[(&str, &str)]) -> FileQuery {
        let said = said
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        FileQuery(said.collect())
    }

    #[test]
    fn minus_one_is_as_if_nothing_was_said_and_nothing_else_below_zero() {
        let said = query(&[("offset", "-1"), ("length", "7"), ("more", "-2")]);

        assert_eq!(said.number("offset"), Ok(None));
        assert_eq!(said.number("length"), Ok(Some(7)));
        assert_eq!(said.number("nothing"), Ok(None));
        let refused = said.number("more").expect_err("below -1");
        assert_eq!(refused.message, "Negative more provided: -2.\n");
    }

    #[test]
    fn what_is_no_number_is_named() {
        let refused = query(&[("offset", "x")])
            .number("offset")
            .expect_err("no number");

        assert_eq!(refused.status, 400);
        let words = "Failed to parse offset: Failed to convert 'x' to number.\n";
        assert_eq!(refused.message, words);
    }

    #[test]
    fn a_path_must_be_said() {
        for none in [query(&[]), query(&[("path", "")])] {
            let refused = none.path().expect_err("no path");
            assert_eq!(refused.message, "Expecting 'path=value' in query.\n");
        }
        assert_eq!(query(&[("path", "/a")]).path(), Ok("/a"));
    }
}
