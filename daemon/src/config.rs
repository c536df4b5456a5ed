//! How every daemon reads its configuration: flags over environment over a TOML file over defaults.
//!
//! A daemon describes its options once, as a `clap` struct; each field's doc comment is its help text, with unit and
//! default. The same key then works as flag `--drain-time`, as environment variable `METE_<SUBCOMMAND>_DRAIN_TIME` and
//! as `drain-time` (or `drain_time`) in the file named by `--config` or `METE_<SUBCOMMAND>_CONFIG`.
//! Invariants: a key, flag or variable nobody knows is a fault; all faults of all sources are reported together, those
//! of [`Checked`] too; the value of a key that holds a secret is never part of a text.
//!
//! ```
//! use std::time::Duration;
//! use mete_daemon::config::{self, Checked, ConfigError, Fault};
//!
//! /// Runs the example.
//! #[derive(Debug, clap::Args)]
//! struct Options {
//!     /// Port to listen on; 0 picks a free one.
//!     #[arg(long, default_value_t = 5050)]
//!     port: u16,
//!     /// How long a drained agent may take, e.g. `90s` or `1h 30m`.
//!     #[arg(long, default_value = "10m", value_parser = config::duration)]
//!     drain_time: Duration,
//!     /// A role that may register; may be given many times. All when absent.
//!     #[arg(long)]
//!     role: Vec<String>,
//!     /// Starts without any agents.
//!     #[arg(long)]
//!     empty: bool,
//! }
//!
//! impl Checked for Options {
//!     fn faults(&self) -> Vec<Fault> {
//!         let mut faults = Vec::new();
//!         if self.drain_time.is_zero() {
//!             faults.push(Fault::new("drain-time", "must be above zero"));
//!         }
//!         faults
//!     }
//! }
//!
//! let environment = [("METE_EXAMPLE_ROLE", "web,batch"), ("METE_EXAMPLE_EMPTY", "true")];
//! let options: Options = config::load("example", ["--port=6000"], environment)?;
//! assert_eq!((options.port, options.role.len(), options.empty), (6000, 2, true));
//!
//! let Err(ConfigError::Faults(faults)) =
//!     config::load::<Options>("example", ["--port", "x", "--prot=1"], [("METE_EXAMPLE_DRAIN_TIME", "0s")])
//! else { panic!("three faults") };
//! assert_eq!(faults.0.len(), 3);
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! Do not use `#[arg(env)]`, short flags or positional arguments in such a struct, and no keys named `help` or `config`.

mod keys; // which keys there are, and what a value must look like
mod sources; // flags, environment, file → what was given
mod values; // text → durations and sizes

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;

use clap::{Arg, Args, Command};

use self::keys::Keys;
use self::sources::{Given, HelpWanted};
pub use self::values::{bytes, duration};

/// What can be wrong with options although each value by itself is fine.
pub trait Checked {
    /// All that is wrong; empty when the options may be used.
    fn faults(&self) -> Vec<Fault> {
        Vec::new()
    }
}

/// One thing wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key (without dashes in front), flag, variable or file it is about.
    pub key: String,
    /// What is wrong, with the value unless it is a secret.
    pub reason: String,
}

impl Fault {
    /// A fault of `key`.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// All that is wrong in a configuration; never empty in an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "configuration refused")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// Why there are no options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `--help` was asked for; the text is for stdout, and the exit code 0.
    #[error("{0}")]
    Help(String),
    /// Exit code 2.
    #[error(transparent)]
    Faults(#[from] Faults),
}

/// The subcommand with its options and `--config`, for the help and the completions of the whole program. The
/// arguments themselves go to [`load`].
pub fn command<O: Args>(subcommand: &'static str) -> Command {
    let command = O::augment_args(Command::new(subcommand));
    let config = Arg::new(keys::CONFIG)
        .long(keys::CONFIG)
        .value_name("FILE")
        .help("TOML file with the same keys as the flags (without the dashes in front)");
    let names = keys::Names::of(subcommand);
    command.arg(config).mut_args(
        |arg| match arg.get_long().map(|long| names.variable(long)) {
            // Only for the help text: the environment is read by `sources`, so that its faults are collected too.
            Some(variable) if arg.get_id() != "help" => arg.env(variable).hide_env_values(true),
            Some(_) | None => arg,
        },
    )
}

/// Reads the options of `subcommand` from `arguments` (those after the subcommand), `environment` (usually
/// `std::env::vars_os()`; what does not begin with `METE_<SUBCOMMAND>_` is left alone) and the file they name.
/// A variable that is set but empty counts as not set.
///
/// # Errors
/// [`ConfigError::Help`] for `--help`, otherwise all faults together.
pub fn load<O: Args + Checked>(
    subcommand: &'static str,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
    environment: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
) -> Result<O, ConfigError> {
    let bare = O::augment_args(Command::new(subcommand).no_binary_name(true));
    let keys = Keys::of(subcommand, &bare);
    let mut faults = Vec::new();
    let arguments = arguments.into_iter().map(Into::into).collect();
    let environment = environment
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let given = match sources::read(&keys, arguments, environment, &mut faults) {
        Ok(given) => given,
        Err(HelpWanted) => return Err(ConfigError::Help(help::<O>(subcommand))),
    };

    let bad = keys.check_each(&given, &mut faults);
    match build::<O>(bare, &given, &bad) {
        Ok(options) => {
            let at_fault: BTreeSet<_> = faults.iter().map(|fault| fault.key.clone()).collect();
            faults.extend(
                options
                    .faults()
                    .into_iter()
                    .filter(|fault| !at_fault.contains(&fault.key)),
            );
            if faults.is_empty() {
                return Ok(options);
            }
        }
        // With a required key at fault there is nothing to check the rest against.
        Err(fault) if faults.is_empty() => faults.push(fault),
        Err(_) => {}
    }
    Err(Faults(faults).into())
}

/// Lets clap build the struct from what was given, as clean flags; keys at fault fall back to their defaults, so that
/// the rest can be checked.
fn build<O: Args>(command: Command, given: &Given, bad: &BTreeSet<String>) -> Result<O, Fault> {
    let flags = given
        .iter()
        .filter(|(key, _)| !bad.contains(*key))
        .flat_map(|(key, raw)| raw.flags(key));
    let matches = command
        .try_get_matches_from(flags)
        .and_then(|matches| O::from_arg_matches(&matches));
    matches.map_err(|refusal| {
        let text = refusal.to_string();
        let reason = text.lines().next().unwrap_or_default();
        Fault::new("options", reason.strip_prefix("error: ").unwrap_or(reason))
    })
}

fn help<O: Args>(subcommand: &'static str) -> String {
    let names = keys::Names::of(subcommand);
    command::<O>(subcommand)
        .bin_name(format!("mete {subcommand}"))
        .after_help(format!(
            "A flag wins over its environment variable ({}…), that over the file, that over the default.",
            names.variable("")
        ))
        .render_long_help()
        .to_string()
}
