//! The three sources of values, read in full before any value is looked at: file, environment, flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;

use super::Fault;
use super::keys::{CONFIG, Key, Keys, Shape, parse_switch};

/// No configuration file of ours is larger than this; a wrong file is not read to its end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Somebody asked for help, whatever else was said.
pub(super) struct HelpWanted;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(String),
    Variable(String),
    File(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(variable) => f.write_str(variable),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// What one source says about one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    shape: Shape,
    pub(super) values: Vec<String>,
    pub(super) origin: Origin,
}

impl Raw {
    /// As flags that clap understands.
    pub(super) fn flags(&self, key: &str) -> Vec<String> {
        match self.shape {
            Shape::Switch => {
                let on = self
                    .values
                    .last()
                    .and_then(|text| parse_switch(text))
                    .unwrap_or_default();
                on.then(|| format!("--{key}")).into_iter().collect()
            }
            Shape::Single | Shape::List(_) => self
                .values
                .iter()
                .map(|value| format!("--{key}={value}"))
                .collect(),
        }
    }
}

/// What was given for each key by the strongest source that has it.
pub(super) type Given = BTreeMap<String, Raw>;

pub(super) fn read(
    keys: &Keys,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    faults: &mut Vec<Fault>,
) -> Result<Given, HelpWanted> {
    let flags = from_arguments(keys, arguments, faults)?;
    let mut stronger = from_environment(keys, environment, faults);
    stronger.extend(flags);
    let path = stronger
        .remove(CONFIG)
        .and_then(|raw| raw.values.into_iter().next_back());
    let mut given = path
        .map(|path| from_file(keys, &path, faults))
        .unwrap_or_default();
    given.extend(stronger);
    Ok(given)
}

fn from_arguments(
    keys: &Keys,
    arguments: Vec<OsString>,
    faults: &mut Vec<Fault>,
) -> Result<Given, HelpWanted> {
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        return Err(HelpWanted);
    }
    let mut given = Given::new();
    let mut rest = arguments
        .into_iter()
        .map(|argument| argument.to_string_lossy().into_owned())
        .peekable();
    while let Some(argument) = rest.next() {
        let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
            faults.push(Fault::new(argument, "unexpected argument"));
            continue;
        };
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        let Some(key) = keys.get(name) else {
            faults.push(Fault::new(format!("--{name}"), "unknown flag"));
            // What follows was meant as its value and is no fault of its own.
            if inline.is_none() {
                rest.next_if(|next| !next.starts_with("--"));
            }
            continue;
        };
        let value = match (inline, key.shape) {
            (Some(value), Shape::Switch | Shape::Single | Shape::List(_)) => Some(value),
            (None, Shape::Switch) => Some("true".to_owned()),
            (None, Shape::Single | Shape::List(_)) => rest.next_if(|next| !next.starts_with("--")),
        };
        let Some(value) = value else {
            faults.push(Fault::new(name, "needs a value"));
            continue;
        };
        add_flag(&mut given, name, key, value, faults);
    }
    Ok(given)
}

fn add_flag(given: &mut Given, name: &str, key: &Key, value: String, faults: &mut Vec<Fault>) {
    if let Some(raw) = given.get_mut(name) {
        match key.shape {
            Shape::Switch => raw.values = vec![value],
            Shape::Single => faults.push(Fault::new(name, "given more than once as a flag")),
            Shape::List(_) => raw.values.push(value),
        }
        return;
    }
    let raw = Raw {
        shape: key.shape,
        values: vec![value],
        origin: Origin::Flag(name.to_owned()),
    };
    given.insert(name.to_owned(), raw);
}

fn from_environment(
    keys: &Keys,
    environment: Vec<(OsString, OsString)>,
    faults: &mut Vec<Fault>,
) -> Given {
    let by_variable: BTreeMap<_, _> = keys
        .iter()
        .map(|(name, key)| (keys.names.variable(name), (name, key)))
        .collect();
    let mut given = Given::new();
    for (variable, value) in environment {
        let Some(variable) = variable
            .to_str()
            .filter(|variable| keys.names.covers(variable))
        else {
            continue;
        };
        let Some((name, key)) = by_variable.get(variable) else {
            faults.push(Fault::new(variable, "unknown environment variable"));
            continue;
        };
        let Ok(text) = value.into_string() else {
            faults.push(Fault::new(
                *name,
                format!("the value from {variable} is not UTF-8"),
            ));
            continue;
        };
        if text.is_empty() {
            continue;
        }
        let values = match key.shape {
            Shape::Switch | Shape::Single => vec![text],
            Shape::List(delimiter) => split(&text, delimiter),
        };
        let raw = Raw {
            shape: key.shape,
            values,
            origin: Origin::Variable(variable.to_owned()),
        };
        given.insert((*name).clone(), raw);
    }
    given
}

fn split(text: &str, delimiter: char) -> Vec<String> {
    text.split(delimiter)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn from_file(keys: &Keys, path: &str, faults: &mut Vec<Fault>) -> Given {
    let mut given = Given::new();
    let table = match read_table(path) {
        Ok(table) => table,
        Err(reason) => {
            faults.push(Fault::new(CONFIG, format!("file {path} {reason}")));
            return given;
        }
    };
    for (written, value) in table {
        let name = written.replace('_', "-");
        let Some(key) = keys.get(&name).filter(|_| name != CONFIG) else {
            faults.push(Fault::new(written, format!("unknown key in file {path}")));
            continue;
        };
        let values = match texts(value, key.shape) {
            Ok(values) => values,
            Err(wanted) => {
                faults.push(Fault::new(name, format!("must be {wanted} in file {path}")));
                continue;
            }
        };
        let raw = Raw {
            shape: key.shape,
            values,
            origin: Origin::File(path.to_owned()),
        };
        if given.insert(name.clone(), raw).is_some() {
            faults.push(Fault::new(
                name,
                format!("given twice in file {path}, with - and with _"),
            ));
        }
    }
    given
}

fn read_table(path: &str) -> Result<toml::Table, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|failure| format!("cannot be opened: {failure}"))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|failure| format!("cannot be read: {failure}"))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("is larger than {MAX_FILE_BYTES} bytes"));
    }
    // Only the message and the line: the line's text could hold what nobody should read.
    text.parse::<toml::Table>().map_err(|failure| {
        let line = failure.span().map_or(1, |span| {
            text[..span.start.min(text.len())].matches('\n').count() + 1
        });
        format!("is not TOML: line {line}: {}", failure.message())
    })
}

/// The value as texts, as if it had been given as flags; the error says what would do.
fn texts(value: toml::Value, shape: Shape) -> Result<Vec<String>, &'static str> {
    match (value, shape) {
        (toml::Value::Boolean(on), Shape::Switch) => Ok(vec![on.to_string()]),
        (_, Shape::Switch) => Err("true or false"),
        (toml::Value::Array(items), Shape::List(_)) => items
            .into_iter()
            .map(|item| text(item).ok_or("a list of texts or numbers"))
            .collect(),
        (value, Shape::Single | Shape::List(_)) => text(value)
            .map(|text| vec![text])
            .ok_or("one text or number"),
    }
}

fn text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(on.to_string()),
        toml::Value::Datetime(time) => Some(time.to_string()),
        toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}
