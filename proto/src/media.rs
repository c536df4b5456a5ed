//! The two forms in which Mesos' v1 HTTP API takes and gives messages, and which of them a request means.

use std::fmt;

use bytes::Bytes;
use prost::{Message, Name};

use crate::json::{self, JsonError};
use crate::strict::{self, DecodeError};

/// JSON, or the bytes of protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/x-protobuf`
    Protobuf,
}

/// Why a request's body is not taken, or no answer can be given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MediaError {
    /// Nothing says what the body is.
    #[error("the header Content-Type is missing; {RULE}")]
    NoContentType,
    /// The body is something else.
    #[error("Content-Type {named:?} is not taken; {RULE}")]
    ContentType {
        /// What it is.
        named: String,
    },
    /// The caller wants an answer in another form.
    #[error("Accept {named:?} leaves no form for an answer; {RULE}")]
    Accept {
        /// What it wants.
        named: String,
    },
    /// The body is not the JSON of this message.
    #[error("the body makes no sense: {0}")]
    Json(#[from] JsonError),
    /// The body is not the protobuf of this message.
    #[error("the body makes no sense: {0}")]
    Protobuf(#[from] DecodeError),
}

impl MediaError {
    /// The status of HTTP that Mesos answers with.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NoContentType | Self::Json(_) | Self::Protobuf(_) => 400,
            Self::ContentType { .. } => 415,
            Self::Accept { .. } => 406,
        }
    }
}

const RULE: &str = "it must be application/json or application/x-protobuf";

impl Media {
    /// Its name in headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/x-protobuf",
        }
    }

    /// What the body of a request is, by its `Content-Type`. As in Mesos, exactly the name: no parameters, no other case.
    ///
    /// # Errors
    /// When the header is missing, or names something else.
    pub fn of_content(header: Option<&str>) -> Result<Self, MediaError> {
        let named = header.ok_or(MediaError::NoContentType)?;
        let known = [Self::Json, Self::Protobuf].into_iter();
        let mut known = known.filter(|media| media.name() == named);
        known.next().ok_or_else(|| MediaError::ContentType {
            named: named.to_owned(),
        })
    }

    /// What the caller understands, by its `Accept`: JSON when it does not say, or takes both.
    ///
    /// # Errors
    /// When it takes neither.
    pub fn accepted(header: Option<&str>) -> Result<Self, MediaError> {
        let Some(named) = header else {
            return Ok(Self::Json);
        };
        let known = [Self::Json, Self::Protobuf].into_iter();
        let mut known = known.filter(|media| named.split(',').any(|range| takes(range, *media)));
        known.next().ok_or_else(|| MediaError::Accept {
            named: named.to_owned(),
        })
    }

    /// A message in this form.
    pub fn encode<T: Message + json::Json>(self, message: &T) -> Vec<u8> {
        match self {
            Self::Json => json::to_vec(message),
            Self::Protobuf => message.encode_to_vec(),
        }
    }

    /// A message in this form, of which the protobuf encoding is there already.
    pub fn encode_from<T: json::Json>(self, encoded: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Json => json::from_protobuf::<T>(&encoded),
            Self::Protobuf => encoded,
        }
    }

    /// A message out of this form.
    ///
    /// # Errors
    /// When the bytes are something else, or a field is missing that must be there.
    pub fn decode<T: Message + Default + Name + json::Json>(
        self,
        body: &Bytes,
    ) -> Result<T, MediaError> {
        Ok(match self {
            Self::Json => json::from_slice(body)?,
            Self::Protobuf => strict::decode(body.clone())?,
        })
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether one media range (RFC 9110, section 12.5.1) means this form.
fn takes(range: &str, media: Media) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let unwanted = parts.any(|part| {
        let weight = part.strip_prefix("q=").map(str::parse::<f64>);
        weight == Some(Ok(0.0))
    });
    !unwanted
        && (kind == "*/*" || kind == "application/*" || kind.eq_ignore_ascii_case(media.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_body_is_named_exactly() {
        assert_eq!(Media::of_content(Some("application/json")), Ok(Media::Json));
        assert_eq!(
            Media::of_content(Some("application/x-protobuf")),
            Ok(Media::Protobuf)
        );
        assert_eq!(Media::of_content(None), Err(MediaError::NoContentType));
        for named in ["application/json; charset=utf-8", "Application/JSON", ""] {
            let refused = Media::of_content(Some(named));
            let named = named.to_owned();
            assert_eq!(refused, Err(MediaError::ContentType { named }));
        }
    }

    #[test]
    fn an_answer_is_json_unless_only_protobuf_is_wanted() {
        for json in [
            "*/*",
            "application/*",
            "application/json",
            "text/html, application/json;q=0.5",
            "application/x-protobuf, application/json",
        ] {
            assert_eq!(Media::accepted(Some(json)), Ok(Media::Json), "{json}");
        }
        assert_eq!(Media::accepted(None), Ok(Media::Json));
        for protobuf in [
            "application/x-protobuf",
            "application/json;q=0, application/x-protobuf",
        ] {
            assert_eq!(Media::accepted(Some(protobuf)), Ok(Media::Protobuf));
        }
        assert!(matches!(
            Media::accepted(Some("text/html")),
            Err(MediaError::Accept { .. })
        ));
    }
}
