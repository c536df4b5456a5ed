//! JSON as Marathon reads it: `null` is absent, `1.0` is `1`, an object is an object and never a list of its values.
//!
//! Two steps, since they fail differently: text to values (400 with what the parser says; nesting is bounded by the
//! parser), values to the type asked for (422 with the place and what was expected there, in Play's words).

use std::fmt;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use mete_service_framework_core::validate::Violation;
use serde::de::{
    self, Deserialize, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer,
    MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::failure::Failure;

/// How much of a key is shown, in characters.
const MAX_SHOWN: usize = 80;

/// The body of a request, read.
pub(super) struct Said<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Said<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        if !is_json(&request) {
            let message = "Unsupported Media Type: say Content-Type: application/json";
            return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        read(&bytes).map(Self)
    }
}

/// Who says nothing of the type means JSON.
fn is_json(request: &Request) -> bool {
    let Some(kind) = request.headers().get(CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

fn unread(rejection: BytesRejection) -> Failure {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let limit = mete_daemon::server::HTTP_BODY_LIMIT_BYTES;
        return Failure::new(status, format!("the body is larger than {limit} bytes"));
    }
    Failure::new(status, rejection.body_text())
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let Once(value) =
        serde_json::from_slice(bytes).map_err(|error| Failure::unparsable(error.to_string()))?;
    serde_path_to_error::deserialize(Reader(&value)).map_err(|error| {
        let mut path = place(error.path());
        let wrong = error.into_inner();
        if let Some(field) = wrong.missing {
            path = format!("{}/{field}", path.trim_end_matches('/'));
        }
        Failure::wrong_shape(vec![Violation::new(path, wrong.message)])
    })
}

/// A value in whose objects each key stands once: of two, nobody knows which is meant.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Once(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = serde_json::Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if all.contains_key(&key) {
                let shown: String = key.chars().take(MAX_SHOWN).collect();
                return Err(de::Error::custom(format!("duplicate key {shown:?}")));
            }
            let Once(value) = entries.next_value()?;
            all.insert(key, value);
        }
        Ok(all.into())
    }
}

/// A place as Marathon writes it: `/a/b(0)/c`.
fn place(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Map { key } => text = format!("{text}/{key}"),
            Segment::Seq { index } => text = format!("{text}({index})"),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if text.starts_with('/') {
        text
    } else {
        format!("/{text}")
    }
}

/// What is wrong with a value.
#[derive(Debug)]
struct Wrong {
    message: String,
    missing: Option<&'static str>,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            missing: None,
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let text = expected.to_string();
        let word = match text.as_str() {
            "a string" => "error.expected.jsstring",
            "a boolean" => "error.expected.jsboolean",
            "a sequence" => "error.expected.jsarray",
            "a map" => "error.expected.jsobject",
            "i64" | "u64" if matches!(unexpected, Unexpected::Float(_)) => "error.expected.int",
            "i64" | "u64" | "f64" => "error.expected.jsnumber",
            text if text.starts_with("struct ") => "error.expected.jsobject",
            text => text,
        };
        Self::new(word)
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("is {unexpected}, expected {expected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            message: "error.path.missing".to_owned(),
            missing: Some(field),
        }
    }
}

/// A value, read the way Marathon does.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Value);

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (whole(number), number.as_u64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_i64(number),
                (None, Some(number), _) => visitor.visit_u64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(Wrong::new("error.expected.jsnumber")),
            },
            Value::String(text) => visitor.visit_str(text),
            Value::Array(items) => visitor.visit_seq(Items(items.iter())),
            Value::Object(entries) => visitor.visit_map(Entries {
                left: entries.iter(),
                value: &Value::Null,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if self.0.is_array() {
            return Err(Wrong::new("error.expected.jsobject"));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let text = self
            .0
            .as_str()
            .ok_or_else(|| Wrong::new("error.expected.jsstring"))?;
        visitor.visit_enum(text.into_deserializer())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// A number without a fraction, however it is written.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // below this every whole f64 is exact as an integer
    let from_float = || {
        number
            .as_f64()
            .filter(|number| number.fract() == 0.0 && number.abs() < EXACT)
            .map(|number| number as i64)
    };
    number.as_i64().or_else(from_float)
}

/// The entries of an object; those that are `null` are not there.
struct Entries<'a> {
    left: serde_json::map::Iter<'a>,
    value: &'a Value,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        let Some((key, value)) = self.left.find(|(_, value)| !value.is_null()) else {
            return Ok(None);
        };
        self.value = value;
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        seed.deserialize(Reader(self.value))
    }
}

/// The items of a list.
struct Items<'a>(std::slice::Iter<'a, Value>);

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        self.0
            .next()
            .map(|item| seed.deserialize(Reader(item)))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use mete_proto::rest::apps::App;
    use mete_proto::rest::backends::Ack;

    use super::*;

    fn refusal<T: DeserializeOwned + fmt::Debug>(text: &str) -> String {
        let failure = read::<T>(text.as_bytes()).expect_err(text);
        format!(
            "{} {}",
            failure.status.as_u16(),
            serde_json::to_string(&failure.body).expect("JSON")
        )
    }

    #[test]
    fn what_is_not_json_is_told_with_the_words_of_the_parser() {
        for text in [
            "",
            "{",
            "{\"id\":}",
            "nonsense",
            &"[".repeat(10_000),
            "\u{0}",
            r#"{"id":"/a","id":"/b"}"#,
            r#"{"id":"/a","labels":{"a":"1","b":"2","a":"1"}}"#,
        ] {
            let told = refusal::<App>(text);
            assert!(
                told.starts_with(r#"400 {"message":"Invalid JSON","details":""#),
                "{told}"
            );
        }
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        for (text, path, word) in [
            (r#"{"id":5}"#, "/id", "error.expected.jsstring"),
            (r#"{"cpus":"1"}"#, "/cpus", "error.expected.jsnumber"),
            (r#"{"instances":1.5}"#, "/instances", "error.expected.int"),
            (
                r#"{"instances":[]}"#,
                "/instances",
                "error.expected.jsnumber",
            ),
            (
                r#"{"requirePorts":"yes"}"#,
                "/requirePorts",
                "error.expected.jsboolean",
            ),
            (r#"{"args":"a"}"#, "/args", "error.expected.jsarray"),
            (r#"{"labels":[]}"#, "/labels", "error.expected.jsobject"),
            (
                r#"{"labels":{"a":1}}"#,
                "/labels/a",
                "error.expected.jsstring",
            ),
            (r#"{"env":{"A":1}}"#, "/env/A", "error.expected.jsstring"),
            (
                r#"{"upgradeStrategy":[1,1]}"#,
                "/upgradeStrategy",
                "error.expected.jsobject",
            ),
            (
                r#"{"unreachableStrategy":1}"#,
                "/unreachableStrategy",
                "error.expected.jsobject",
            ),
            (
                r#"{"healthChecks":[{},{"command":{"value":[]}}]}"#,
                "/healthChecks(1)/command/value",
                "error.expected.jsstring",
            ),
            (
                r#"{"portDefinitions":[null]}"#,
                "/portDefinitions(0)",
                "error.expected.jsobject",
            ),
            ("[]", "/", "error.expected.jsobject"),
            ("5", "/", "error.expected.jsobject"),
        ] {
            let expected = format!(
                r#"422 {{"message":"Invalid JSON","details":[{{"path":"{path}","errors":["{word}"]}}]}}"#
            );
            assert_eq!(refusal::<App>(text), expected, "{text}");
        }
        assert!(refusal::<Vec<App>>(r#"[{},{"id":{}}]"#).contains(r#""path":"/(1)/id""#));
        assert!(
            refusal::<Ack>(r#"{"epoch":"e"}"#)
                .contains(r#"{"path":"/version","errors":["error.path.missing"]}"#)
        );
    }

    #[test]
    fn null_is_absent_and_unknown_keys_do_not_matter() {
        let app: App = read(
            br#"{"id":"/a","cmd":null,"env":{"A":null,"B":"b"},"instances":2.0,"cpus":1,"tasksRunning":3,"storeUrls":[]}"#,
        )
        .expect("good");

        assert_eq!(
            (app.cmd, app.instances, app.cpus),
            (None, Some(2), Some(1.0))
        );
        assert_eq!(app.env.map(|env| env.len()), Some(1));
    }
}
