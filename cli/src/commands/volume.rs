//! `mete volume list`, `rm`: volumes that lie on one agent. Persistent ones go with DESTROY; those that are kept by name are
//! removed here.

use anyhow::Result;
use serde_json::Value;

use super::image::Agent;
use crate::client::{Addresses, Api};
use crate::table;

/// What can be asked of the volumes of an agent.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Volumes on an agent: persistent ones, and those that are kept by name.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
        /// Which agent.
        #[command(flatten)]
        agent: Agent,
    },
    /// Removes a volume that is kept by name, with all that is on it.
    Rm {
        /// Its name.
        name: String,
        /// Which agent.
        #[command(flatten)]
        agent: Agent,
    },
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    match ask {
        Ask::List { json, agent } => list(&agent.api(addresses)?, json).await,
        Ask::Rm { name, agent } => {
            let agent = agent.api(addresses)?;
            agent.delete("/v1/volumes", &[("name", &name)]).await?;
            crate::say!("{name} is gone");
            Ok(())
        }
    }
}

async fn list(agent: &Api, json: bool) -> Result<()> {
    let answer = agent.get("/v1/volumes").await?;
    if json {
        return table::json(&answer);
    }
    let all = |kind: &str| answer[kind].as_array().into_iter().flatten();
    let persistent = all("volumes").map(|one| row(&one["id"], &one["role"], one));
    let named = all("named").map(|one| row(&one["name"], &Value::from("by name"), one));
    let rows: Vec<_> = persistent.chain(named).collect();
    table::print(["VOLUME", "ROLE", "USED", "TASKS"], rows);
    Ok(())
}

fn row(name: &Value, role: &Value, volume: &Value) -> [String; 4] {
    let used = volume["used_bytes"].as_f64();
    let tasks = volume["tasks"].as_array().into_iter().flatten();
    [
        table::cell(name),
        table::cell(role),
        used.map_or_else(String::new, |bytes| format!("{:.1} MB", bytes / 1e6)),
        tasks.map(table::cell).collect::<Vec<_>>().join(", "),
    ]
}
