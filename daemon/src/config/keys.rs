//! Which keys a daemon's options have, what they are called in each source, and whether a value fits.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};

use super::Fault;
use super::sources::{Given, Raw};

/// The key of the file's own name; every daemon has it.
pub(super) const CONFIG: &str = "config";

/// How the keys of one subcommand are called elsewhere.
pub(super) struct Names {
    /// `METE_HAPROXY_SYNC_` for `haproxy-sync`.
    prefix: String,
}

impl Names {
    pub(super) fn of(subcommand: &str) -> Self {
        Self {
            prefix: format!("METE_{}_", upper(subcommand)),
        }
    }

    pub(super) fn variable(&self, key: &str) -> String {
        format!("{}{}", self.prefix, upper(key))
    }

    /// Whether this variable is meant for the subcommand.
    pub(super) fn covers(&self, variable: &str) -> bool {
        variable.starts_with(&self.prefix)
    }
}

fn upper(key: &str) -> String {
    key.replace('-', "_").to_ascii_uppercase()
}

/// How many values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `true` or `false`; as a flag it stands alone.
    Switch,
    /// One value.
    Single,
    /// Any number of values; in one text they are separated by this.
    List(char),
}

pub(super) struct Key {
    pub(super) shape: Shape,
    required: bool,
    parser: ValueParser,
    secret: bool,
}

/// All keys of one subcommand.
pub(super) struct Keys {
    pub(super) names: Names,
    by_name: BTreeMap<String, Key>,
}

impl Keys {
    pub(super) fn of(subcommand: &str, command: &Command) -> Self {
        let file = Key {
            shape: Shape::Single,
            required: false,
            parser: clap::value_parser!(std::path::PathBuf),
            secret: false,
        };
        let arguments = command
            .get_arguments()
            .filter_map(|arg| Some((arg.get_long()?.to_owned(), Key::of(arg))));
        let by_name = std::iter::once((CONFIG.to_owned(), file))
            .chain(arguments)
            .collect();
        Self {
            names: Names::of(subcommand),
            by_name,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Key> {
        self.by_name.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Key)> {
        self.by_name.iter()
    }

    /// Adds a fault for each value that does not fit and each required key without one; answers with those keys.
    pub(super) fn check_each(&self, given: &Given, faults: &mut Vec<Fault>) -> BTreeSet<String> {
        let mut bad = BTreeSet::new();
        for (name, key) in &self.by_name {
            match given.get(name) {
                Some(raw) => {
                    for reason in key.refusals(raw) {
                        faults.push(Fault::new(name, reason));
                        bad.insert(name.clone());
                    }
                }
                None if key.required => {
                    let variable = self.names.variable(name);
                    let reason =
                        format!("is required: give --{name}, {variable} or `{name}` in the file");
                    faults.push(Fault::new(name, reason));
                }
                None => {}
            }
        }
        bad
    }
}

impl Key {
    fn of(arg: &Arg) -> Self {
        let delimiter = arg.get_value_delimiter();
        let (action, separator) = (arg.get_action(), delimiter.unwrap_or(','));
        let shape = if matches!(action, ArgAction::SetTrue) {
            Shape::Switch
        } else if matches!(action, ArgAction::Append) || delimiter.is_some() {
            Shape::List(separator)
        } else {
            Shape::Single
        };
        // Secrets live in files of their own; whoever adds one as a value is still not betrayed by an error text.
        let secret = arg.get_long().is_some_and(|long| {
            ["token", "secret", "password"]
                .iter()
                .any(|word| long.ends_with(word))
                || arg.is_hide_env_values_set()
        });
        Self {
            shape,
            required: arg.is_required_set(),
            parser: arg.get_value_parser().clone(),
            secret,
        }
    }

    fn refusals(&self, raw: &Raw) -> Vec<String> {
        let texts = raw.values.iter();
        texts
            .filter_map(|text| Some(self.describe(text, raw, &self.refusal(text)?)))
            .collect()
    }

    fn describe(&self, text: &str, raw: &Raw, why: &str) -> String {
        let origin = &raw.origin;
        if self.secret {
            return format!("the value from {origin} is not valid");
        }
        format!("`{text}` from {origin} is not valid: {why}")
    }

    /// Why the value does not fit; `None` when it does.
    fn refusal(&self, text: &str) -> Option<String> {
        if self.shape == Shape::Switch {
            return parse_switch(text)
                .is_none()
                .then(|| "must be true or false".to_owned());
        }
        // Alone, so that one bad value does not hide the next: clap ends at the first.
        let arg = Arg::new("value")
            .long("value")
            .value_parser(self.parser.clone());
        let lone = Command::new("value")
            .no_binary_name(true)
            .disable_help_flag(true)
            .arg(arg);
        let refusal = lone
            .try_get_matches_from([format!("--value={text}")])
            .err()?;
        if let Some(cause) = refusal.source() {
            return Some(cause.to_string());
        }
        match refusal.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
                Some(format!("must be one of {}", valid.join(", ")))
            }
            _ => Some("wrong form or empty".to_owned()), // clap's enum, open for more
        }
    }
}

pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
