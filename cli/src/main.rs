//! The one binary, `mete`: every daemon as a subcommand, a whole cluster (`up`), apps, tasks, agents.
//!
//! A shim is entered before anything else: it must be alone in its process, without a second thread. What it runs of
//! this program comes next.

mod client; // HTTP to master and services, with errors that say what to do
mod commands; // one file a command
mod heap; // jemalloc or the system's
mod say; // words on standard output
mod table; // rows for people, JSON for programs

use std::ffi::OsString;
use std::process::ExitCode;

use mete_agent::docker::follow::{self, FOLLOW};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let _program = arguments.next();
    let arguments: Vec<OsString> = arguments.collect();
    if arguments.first().is_some_and(|first| first == "shim") {
        return mete_shim::main(arguments.into_iter().skip(1));
    }
    if arguments.first().is_some_and(|first| first == FOLLOW) {
        return follow::main(arguments.into_iter().skip(1));
    }
    commands::run(&arguments)
}
