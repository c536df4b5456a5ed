//! A good body → a bad one: first the values, then the text they are written in.

use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::endpoints::IDS;

/// Texts that somewhere mean something else than their letters.
const TEXTS: [&str; 36] = [
    "",
    " ",
    "/",
    "//",
    "..",
    ".",
    "/..",
    "/../..",
    "/a/../b",
    "a..b",
    ".a",
    "a.",
    "/a//b",
    "/A",
    "/a b",
    "ünï/ç",
    "\u{202e}",
    "\u{0}",
    "a\nb",
    "\u{feff}",
    "/restart",
    "/a/tasks",
    "versions",
    "%2e%2e%2f",
    "$PORT0",
    "NaN",
    "Infinity",
    "-1",
    "1e400",
    "null",
    "true",
    "unlimited",
    "disabled",
    "udp,tcp",
    "http://[::1",
    "(((((a*)*)*)*)*",
];

/// Numbers and other bare words as they may stand in a text, good JSON or not.
const BARE: [&str; 24] = [
    "1e400",
    "-1e400",
    "1e-400",
    "NaN",
    "-Infinity",
    "-0",
    "-0.0",
    "99999999999999999999999999",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "2147483648",
    "4294967296",
    "65536",
    "9007199254740993",
    "1E5",
    "2.0",
    "1.5",
    "00",
    "+1",
    "0x10",
    "\"\\ud800\"",
    "'a'",
];

/// Keys that some object of the API has, to be put where they do not belong.
const KEYS: [&str; 24] = [
    "id",
    "version",
    "scaleBy",
    "apps",
    "groups",
    "ports",
    "uris",
    "secrets",
    "residency",
    "check",
    "ipAddress",
    "enforceRole",
    "portMappings",
    "docker",
    "persistent",
    "labels",
    "args",
    "command",
    "readinessChecks",
    "pods",
    "containers",
    "volumes",
    "scaling",
    "legacySharedCgroups",
];

/// Stands for a bare word until the value is text.
const MARK: &str = "@bare@";

/// Values bent a few times, written, and now and then the text bent too.
pub(crate) fn body(good: Value, dice: &mut Dice) -> Vec<u8> {
    let mut value = good;
    for _ in 0..dice.below(3) {
        let nodes = count(&value);
        let at = dice.below(nodes);
        let mut left = at;
        reach(&mut value, &mut left, &mut |node| bend(node, dice));
    }
    let mut text = bared(&value.to_string());
    if dice.once_in(6) {
        text = doubled(&text, dice);
    }
    let mut bytes = text.into_bytes();
    if dice.once_in(8) {
        break_bytes(&mut bytes, dice);
    }
    bytes
}

/// A text of the kind that makes trouble.
pub(crate) fn text(dice: &mut Dice) -> String {
    match dice.below(12) {
        0 => "x".repeat(300),
        1 => format!("/{}", "a/".repeat(94)),
        2 => "é".repeat(95),
        3..=5 => (*dice.pick(&IDS)).to_owned(),
        _ => (*dice.pick(&TEXTS)).to_owned(),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(entries) => entries.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Comes to the node that has `left` others before it.
fn reach(value: &mut Value, left: &mut usize, then: &mut impl FnMut(&mut Value)) -> bool {
    if *left == 0 {
        then(value);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| reach(item, left, then)),
        Value::Object(entries) => entries.values_mut().any(|entry| reach(entry, left, then)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn bend(node: &mut Value, dice: &mut Dice) {
    *node = match dice.below(12) {
        0 => Value::Null,
        1 => json!({}),
        2 => json!([]),
        3 => json!(dice.once_in(2)),
        4..=5 => json!(format!("{MARK}{}{MARK}", dice.pick(&BARE))),
        6 => json!([node.clone()]),
        7 => json!({ *dice.pick(&KEYS): node.clone() }),
        8 => Value::Array(vec![node.clone(); 1 + dice.below(200)]),
        9 => added(node, dice),
        _ => json!(text(dice)),
    };
}

/// With an entry more or one fewer; a bare text when there are none.
fn added(node: &Value, dice: &mut Dice) -> Value {
    let Value::Object(entries) = node else {
        return json!(text(dice));
    };
    let mut entries: Map<String, Value> = entries.clone();
    let names: Vec<String> = entries.keys().cloned().collect();
    if !names.is_empty() && dice.once_in(2) {
        entries.remove(dice.pick(&names));
    } else if dice.once_in(2) {
        entries.insert((*dice.pick(&KEYS)).to_owned(), json!(text(dice)));
    } else {
        entries.insert(text(dice), json!(text(dice)));
    }
    Value::Object(entries)
}

/// Takes the marks away, and the quotes around them.
fn bared(text: &str) -> String {
    let (opens, closes) = (format!("\"{MARK}"), format!("{MARK}\""));
    let parts = text.split(&opens).enumerate();
    parts
        .map(|(at, part)| match part.split_once(&closes) {
            Some((word, rest)) if at > 0 => {
                // Escaped by the writer, as it was a text to it.
                format!("{}{rest}", word.replace("\\\"", "\"").replace("\\\\", "\\"))
            }
            _ => part.to_owned(),
        })
        .collect()
}

/// With a key that some object has twice.
fn doubled(text: &str, dice: &mut Dice) -> String {
    let opens: Vec<usize> = text.match_indices('{').map(|(at, _)| at + 1).collect();
    if opens.is_empty() {
        return text.to_owned();
    }
    let (head, tail) = text.split_at(*dice.pick(&opens));
    let key = dice.pick(&KEYS);
    let comma = if tail.starts_with('}') { "" } else { "," };
    format!(
        "{head}\"{key}\":null,\"{key}\":{}{comma}{tail}",
        dice.pick(&BARE)
    )
}

/// Cut short, with bytes that are no UTF-8, or with one that is another.
fn break_bytes(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len());
    match dice.below(4) {
        0 => bytes.truncate(at),
        1 => bytes[at] = 0xff,
        2 => drop(bytes.splice(at..at, [0xed, 0xa0, 0x80])), // half of a surrogate pair
        _ => bytes[at] = dice.below(256) as u8,
    }
}
