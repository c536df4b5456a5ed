//! Logs on stderr, as text for people or as JSON for machines.

mod levels; // changed while a daemon runs

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Checked, Fault};

pub use levels::{BadLevel, ROOT, levels, set_level, set_verbosity, verbosity};

/// How a daemon logs. Flatten it into the daemon's options.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetryOptions {
    /// What to log: a level, or levels per module such as `info,mete_master=debug`.
    #[arg(long, default_value = "info")]
    pub log: String,
    /// How to log to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter makes no sense.
    #[error("log filter `{filter}` is not valid")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else has set up logging in this process.
    #[error("logging has been started before")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

impl TelemetryOptions {
    fn filter(&self) -> Result<EnvFilter, TelemetryError> {
        let filter = || self.log.clone();
        EnvFilter::builder()
            .parse(&self.log)
            .map_err(|source| TelemetryError::Filter {
                filter: filter(),
                source,
            })
    }

    /// Starts logging for the whole process; once.
    ///
    /// # Errors
    /// When the filter is not valid or logging has been started before.
    pub fn start(&self) -> Result<(), TelemetryError> {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.filter()?)
            .with_writer(std::io::stderr);
        match self.log_format {
            LogFormat::Text => {
                let lines = lines
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_filter_reloading();
                let handle = lines.reload_handle();
                lines.finish().try_init()?;
                levels::began(&self.log, Box::new(move |new| handle.reload(new).is_ok()));
            }
            LogFormat::Json => {
                let lines = lines.json().with_filter_reloading();
                let handle = lines.reload_handle();
                lines.finish().try_init()?;
                levels::began(&self.log, Box::new(move |new| handle.reload(new).is_ok()));
            }
        }
        Ok(())
    }
}

impl Checked for TelemetryOptions {
    fn faults(&self) -> Vec<Fault> {
        self.filter()
            .err()
            .map(|refusal| Fault::new("log", refusal.to_string()))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(log: &str) -> usize {
        let options = TelemetryOptions {
            log: log.to_owned(),
            log_format: LogFormat::Text,
        };
        options.faults().len()
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_a_fault() {
        assert_eq!(faults("info,mete_master=debug"), 0);
        assert_eq!(faults("mete_master=loud"), 1);
    }
}
