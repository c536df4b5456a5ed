//! `mete task`: the running instances of apps, what they print, and what they use.

mod find; // where a task is
mod stats; // what tasks use

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::client::{Addresses, Api};
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
    /// What a task prints.
    Logs {
        /// The task's id, or the start of it when it is the only one.
        id: String,
        /// Goes on as the task prints more.
        #[arg(short, long)]
        follow: bool,
        /// Standard error instead of standard output.
        #[arg(long)]
        stderr: bool,
        /// Only the last so many bytes; 0: from the beginning.
        #[arg(long, value_name = "BYTES", default_value_t = 0)]
        tail: u64,
    },
}

/// Between two looks at a file that is followed.
const LOOK: Duration = Duration::from_millis(300);
/// Read at once: what an agent gives out at most.
const CHUNK_BYTES: &str = "65536";

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
        Ask::Logs {
            id,
            follow,
            stderr,
            tail,
        } => {
            logs(
                addresses,
                &id,
                follow,
                if stderr { "stderr" } else { "stdout" },
                tail,
            )
            .await
        }
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

async fn logs(addresses: &Addresses, id: &str, follow: bool, file: &str, tail: u64) -> Result<()> {
    let found = find::task(addresses, id).await?;
    let sandbox = table::cell(&found.run().await?["sandbox"]);
    let agent = found.agent;
    let path = format!("{sandbox}/{file}");
    let end = read(&agent, &path, None).await?["offset"]
        .as_u64()
        .unwrap_or(0);
    let mut offset = if tail == 0 {
        0
    } else {
        end.saturating_sub(tail)
    };
    loop {
        let part = read(&agent, &path, Some(offset)).await?;
        let data = part["data"].as_str().unwrap_or_default();
        if !data.is_empty() {
            offset += data.len() as u64;
            let mut out = std::io::stdout().lock();
            out.write_all(data.as_bytes())?;
            out.flush()?;
            continue;
        }
        if !follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        // A rotated file begins anew, smaller than what was read of the old one.
        if read(&agent, &path, None).await?["offset"]
            .as_u64()
            .unwrap_or(0)
            < offset
        {
            offset = 0;
        }
    }
}

/// Without `offset`: nothing but the size, as `offset`.
async fn read(agent: &Api, path: &str, offset: Option<u64>) -> Result<Value> {
    let offset = offset.map_or_else(|| "-1".to_owned(), |offset| offset.to_string());
    agent
        .query(
            "/files/read",
            &[
                ("path", path),
                ("offset", offset.as_str()),
                ("length", CHUNK_BYTES),
            ],
        )
        .await
        .with_context(|| format!("cannot read {path}"))
}
