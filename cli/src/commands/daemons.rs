//! The daemons as subcommands: options, runtime, exit code.

use std::error::Error;
use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use clap::{Args, Command};
use mete_daemon::config::{self, Checked, ConfigError};
use mete_daemon::exit::Exit;
use mete_daemon::shutdown;
use mete_daemon::telemetry::TelemetryOptions;
use tokio_util::sync::CancellationToken;

/// Each with its help.
pub(super) fn commands() -> [Command; 4] {
    [
        config::command::<mete_master::Options>("master")
            .about("The master: offers the agents' resources to frameworks"),
        config::command::<mete_agent::Options>("agent")
            .about("An agent: runs tasks on this machine"),
        config::command::<mete_service_framework::Options>("services")
            .about("The service framework: keeps apps running, REST under /v2"),
        config::command::<mete_discovery::Options>("haproxy-sync")
            .about("Keeps an HAProxy in step with the healthy instances"),
    ]
}

/// Runs a daemon when the arguments name one.
pub(super) fn run(arguments: &[OsString]) -> Option<ExitCode> {
    let (first, rest) = arguments.split_first()?;
    let exit = match first.to_str()? {
        "master" => daemon(
            "master",
            rest,
            |options: &mete_master::Options| &options.telemetry,
            mete_master::run,
        ),
        "agent" if is_daemon(rest) => daemon(
            "agent",
            rest,
            |options: &mete_agent::Options| &options.telemetry,
            mete_agent::run,
        ),
        "services" if is_daemon(rest) => daemon(
            "services",
            rest,
            |options: &mete_service_framework::Options| &options.telemetry,
            mete_service_framework::run,
        ),
        "haproxy-sync" => daemon(
            "haproxy-sync",
            rest,
            |options: &mete_discovery::Options| &options.telemetry,
            mete_discovery::run,
        ),
        _ => return None,
    };
    Some(exit.into())
}

/// `mete agent list` asks about agents, `mete agent` with flags or nothing is one.
fn is_daemon(rest: &[OsString]) -> bool {
    rest.first()
        .is_none_or(|word| word.to_string_lossy().starts_with('-'))
}

fn daemon<O, E, F>(
    name: &'static str,
    arguments: &[OsString],
    telemetry: impl Fn(&O) -> &TelemetryOptions,
    run: impl FnOnce(O, CancellationToken) -> F,
) -> Exit
where
    O: Args + Checked,
    E: Error + 'static,
    F: Future<Output = Result<(), E>>,
{
    let asks_version = |word: &OsString| word == "--version" || word == "-V";
    if arguments.iter().any(asks_version) {
        crate::say!("mete {}", env!("CARGO_PKG_VERSION"));
        return Exit::Done;
    }
    let options = match config::load::<O>(name, arguments.iter().cloned(), std::env::vars_os()) {
        Ok(options) => options,
        Err(ConfigError::Help(text)) => {
            crate::say!("{text}");
            return Exit::Done;
        }
        Err(error @ ConfigError::Faults(_)) => {
            crate::complain!("mete {name}: {error}");
            return Exit::of(&error);
        }
    };
    if let Err(error) = telemetry(&options).start() {
        crate::complain!("mete {name}: {}", Chain(&error));
        return Exit::Usage;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start");
            return Exit::Failed;
        }
    };
    let result = runtime.block_on(async {
        let shutdown = match shutdown::on_signal() {
            Ok(shutdown) => shutdown,
            Err(error) => {
                tracing::error!(%error, "cannot listen for signals");
                return Exit::Failed;
            }
        };
        match run(options, shutdown).await {
            Ok(()) => Exit::Done,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "ended");
                Exit::of(&error)
            }
        }
    });
    // Work that cannot be stopped, such as reading a slow disk, must not hold the end.
    runtime.shutdown_background();
    result
}

/// An error with its causes, in one line.
struct Chain<'a>(&'a dyn Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
