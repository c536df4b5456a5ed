//! `mete task`: the running instances of apps, and what they print.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
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
    let (agent, sandbox) = find(addresses, id).await?;
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

/// The agent of a task, and where its sandbox lies there.
async fn find(addresses: &Addresses, id: &str) -> Result<(Api, String)> {
    let state = addresses.master()?.get("/state").await?;
    let (task, agent_id) = match tasks_named(&state, id).as_slice() {
        [] => bail!("no task begins with {id:?}; `mete task list` shows them"),
        [one] => one.clone(),
        several => {
            let names: Vec<&str> = several
                .iter()
                .take(5)
                .map(|(name, _)| name.as_str())
                .collect();
            bail!(
                "{} tasks begin with {id:?}: {}",
                several.len(),
                names.join(", ")
            )
        }
    };
    let mut agents = state["slaves"].as_array().into_iter().flatten();
    let agent = agents
        .find(|agent| agent["id"] == agent_id.as_str())
        .ok_or_else(|| {
            anyhow!("the agent of {task} ({agent_id}) is not there; its sandbox cannot be read")
        })?;
    let url = format!(
        "http://{}:{}",
        table::cell(&agent["hostname"]),
        table::cell(&agent["port"])
    );
    let agent = addresses.agent(&url)?;
    let sandboxes = agent.get("/v1/tasks").await?;
    let mut entries = sandboxes["tasks"].as_array().into_iter().flatten();
    let sandbox = entries
        .find(|entry| entry["id"] == task.as_str())
        .map(|entry| table::cell(&entry["sandbox"]))
        .ok_or_else(|| anyhow!("the agent at {url} has no sandbox of {task} any more"))?;
    Ok((agent, sandbox))
}

/// Tasks whose id begins with `id`, each with its agent's; only the one that is called just so when there is one.
fn tasks_named(state: &Value, id: &str) -> Vec<(String, String)> {
    let frameworks = state["frameworks"]
        .as_array()
        .into_iter()
        .chain(state["completed_frameworks"].as_array())
        .flatten();
    let mut found = Vec::new();
    for framework in frameworks {
        let kinds = ["tasks", "unreachable_tasks", "completed_tasks"];
        for task in kinds
            .iter()
            .filter_map(|kind| framework[*kind].as_array())
            .flatten()
        {
            let name = task["id"].as_str().unwrap_or_default();
            let entry = (name.to_owned(), table::cell(&task["slave_id"]));
            if name == id {
                return vec![entry];
            }
            if name.starts_with(id) {
                found.push(entry);
            }
        }
    }
    found
}
