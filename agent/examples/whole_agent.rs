//! A whole agent as a program of its own, for tests that kill it: `whole_agent OPTION…`; its shims are `whole_agent shim …`.

use std::process::ExitCode;

use mete_agent::Options;
use mete_daemon::{config, shutdown};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).peekable();
    // Before any thread is started.
    if arguments.next_if(|word| word == "shim").is_some() {
        return mete_shim::main(arguments);
    }
    let arguments: Vec<_> = arguments.collect();
    match live(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn live(arguments: Vec<std::ffi::OsString>) -> Result<(), Box<dyn std::error::Error>> {
    let options: Options = config::load("agent", arguments, [("", ""); 0])?;
    options.telemetry.start()?;
    mete_agent::run(options, shutdown::on_signal()?).await?;
    Ok(())
}
