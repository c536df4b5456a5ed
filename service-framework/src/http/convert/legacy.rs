//! What is not carried yet is refused by name; inputs of the old form become those of the new one.

use mete_model::Checksum;
use mete_proto::rest::apps::{App, Fetch as Said};
use mete_service_framework_core::spec::app::{AppSpec, Fetch};
use serde_json::Value;

use super::Faults;

/// The longest address and path, in bytes (Marathon's schema).
pub(super) const MAX_URI_BYTES: usize = 1024;

/// Endings of what Marathon unpacks when an address is given in the old form.
const ARCHIVES: [&str; 7] = [
    ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip",
];

/// Refuses what is not carried yet. What asks for nothing (`{}`, `[]`, `false`) is let through: clients send it.
pub(super) fn refuse(said: &App, faults: &mut Faults) {
    let executor = said.executor_resources.as_ref();
    if executor.is_some_and(|value| !asks_for_nothing(value)) {
        faults.not_carried("/executorResources", "an executor of its own");
    }
}

pub(super) fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.values().all(Value::is_null),
        Value::Number(_) | Value::String(_) => false,
    }
}

/// What to bring into the sandbox: `fetch`, or `uris` in the old form.
pub(super) fn fetch(spec: &mut AppSpec, said: &App, faults: &mut Faults) {
    let has_both = [
        said.uris.as_ref().is_some_and(|uris| !uris.is_empty()),
        said.fetch.as_ref().is_some_and(|fetch| !fetch.is_empty()),
    ];
    if has_both == [true, true] {
        faults.meaning("/uris", "may not be set in conjunction with fetch");
        return;
    }
    if let Some(uris) = &said.uris {
        spec.fetch = uris
            .iter()
            .enumerate()
            .map(|(at, uri)| {
                address(&format!("/uris({at})"), uri, faults);
                // A checksum is not a part of the name.
                let address = Checksum::split(uri).map_or(uri.as_str(), |(address, _)| address);
                Fetch {
                    extract: ARCHIVES.iter().any(|ending| address.ends_with(ending)),
                    ..plain(uri)
                }
            })
            .collect();
    }
    if let Some(fetch) = said.fetch.as_ref().filter(|_| !has_both[0]) {
        let one = |(at, said): (usize, &Said)| fetched(&format!("/fetch({at})"), said, faults);
        spec.fetch = fetch.iter().enumerate().map(one).collect();
    }
}

pub(super) fn fetched(place: &str, said: &Said, faults: &mut Faults) -> Fetch {
    let uri = said.uri.as_deref().unwrap_or_default();
    match &said.uri {
        Some(uri) => address(&format!("{place}/uri"), uri, faults),
        None => faults.shape(format!("{place}/uri"), "error.path.missing"),
    }
    if let Some(path) = &said.dest_path {
        faults.text(&format!("{place}/destPath"), path, MAX_URI_BYTES);
    }
    Fetch {
        extract: said.extract.unwrap_or(true),
        executable: said.executable.unwrap_or_default(),
        cache: said.cache.unwrap_or_default(),
        dest_path: said.dest_path.clone(),
        ..plain(uri)
    }
}

/// An address has neither spaces nor what RFC 3986 gives no place.
fn address(path: &str, uri: &str, faults: &mut Faults) {
    faults.text(path, uri, MAX_URI_BYTES);
    let is_stray = |c: char| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}".contains(c);
    if uri.starts_with(':') || uri.contains(is_stray) {
        faults.meaning(path, "URI has invalid syntax.");
    }
}

fn plain(uri: &str) -> Fetch {
    Fetch {
        uri: uri.to_owned(),
        extract: true,
        executable: false,
        cache: false,
        dest_path: None,
    }
}
