//! Where a task is: its agent.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::client::Addresses;
use crate::table;

/// A task and its agent.
pub(super) struct Found {
    pub(super) task: String,
    pub(super) framework: String,
    /// Where the agent is: `http://host:port`.
    pub(super) url: String,
}

/// The one task whose id begins with `id`, or is `id`.
pub(super) async fn task(addresses: &Addresses, id: &str) -> Result<Found> {
    let state = addresses.master()?.get("/state").await?;
    let one = match tasks_named(&state, id).as_slice() {
        [] => bail!("no task begins with {id:?}; `mete task list` shows them"),
        [one] => one.clone(),
        several => {
            let names: Vec<&str> = several
                .iter()
                .take(5)
                .map(|one| one.task.as_str())
                .collect();
            bail!(
                "{} tasks begin with {id:?}: {}",
                several.len(),
                names.join(", ")
            )
        }
    };
    let url = agents(&state)
        .find(|(agent, _)| agent == &one.agent)
        .map(|(_, url)| url)
        .with_context(|| format!("the agent of {} ({}) is not there", one.task, one.agent))?;
    Ok(Found {
        task: one.task,
        framework: one.framework,
        url,
    })
}

/// The agents of the cluster: id and address.
pub(super) fn agents(state: &Value) -> impl Iterator<Item = (String, String)> {
    let agents = state["slaves"].as_array().into_iter().flatten();
    agents.map(|agent| {
        let (host, port) = (table::cell(&agent["hostname"]), table::cell(&agent["port"]));
        (table::cell(&agent["id"]), format!("http://{host}:{port}"))
    })
}

/// A task as the master names it.
#[derive(Clone)]
struct Named {
    task: String,
    framework: String,
    agent: String,
}

/// Tasks whose id begins with `id`; only the one that is called just so when there is one.
fn tasks_named(state: &Value, id: &str) -> Vec<Named> {
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
            let entry = Named {
                task: name.to_owned(),
                framework: table::cell(&task["framework_id"]),
                agent: table::cell(&task["slave_id"]),
            };
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
