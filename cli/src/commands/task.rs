//! `mete task`: the running instances of apps, what they print, and what they use.

mod attach; // what a task prints, and what is typed into it
mod exec; // a command inside a task
pub(super) mod find; // where a task is
mod follow; // through its agent, and the next one
mod logs; // what a task prints
mod session; // what is said to an agent while somebody is at a task
mod stats; // what tasks use
mod tasks_client; // gRPC to the agent of a task
mod terminal; // this terminal: raw, and as it was

use anyhow::Result;
use serde_json::Value;

use crate::client::Addresses;
use crate::table;

/// What can be asked of tasks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// All instances of apps.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// What running tasks use: CPU, memory, what they wait for, network.
    Stats(stats::Options),
    /// What a task prints: both streams, each line with the name of its own.
    Logs(logs::Options),
    /// What a task prints from now on, each stream to our own, until it has ended; with -it at its terminal, which ^P ^Q lets go of.
    /// Without -i an agent that restarts is waited for, a minute; with it this ends as the connection breaks.
    Attach(attach::Options),
    /// Runs a command inside a running task, and ends as the command does.
    Exec(exec::Options),
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    match ask {
        Ask::List { json } => {
            let answer = addresses.services()?.get("/v2/tasks").await?;
            if json {
                return table::json(&answer);
            }
            print(answer["tasks"].as_array().into_iter().flatten());
            Ok(())
        }
        Ask::Stats(options) => stats::run(addresses, options).await,
        Ask::Logs(options) => logs::logs(addresses, options).await,
        Ask::Attach(options) => attach::run(addresses, options).await,
        Ask::Exec(options) => exec::run(addresses, options).await,
    }
}

/// Tasks as rows.
pub(crate) fn print<'a>(tasks: impl Iterator<Item = &'a Value>) {
    let rows = tasks.map(|task| {
        let results = task["healthCheckResults"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let health = match results.iter().all(|result| result["alive"] == true) {
            _ if results.is_empty() => "-",
            true => "healthy",
            false => "unhealthy",
        };
        let ports = task["ports"].as_array().into_iter().flatten();
        let ports: Vec<String> = ports.map(table::cell).collect();
        [
            table::cell(&task["id"]),
            table::cell(&task["appId"]),
            table::cell(&task["state"]),
            health.to_owned(),
            table::cell(&task["host"]),
            ports.join(","),
            table::cell(&task["startedAt"]),
        ]
    });
    table::print(
        ["TASK", "APP", "STATE", "HEALTH", "HOST", "PORTS", "STARTED"],
        rows,
    );
}
