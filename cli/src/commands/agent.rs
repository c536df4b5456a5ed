//! `mete agent list`, `drain`, `deactivate`, `reactivate`, `gone`: agents of the cluster. (`mete agent` by itself runs
//! one.)

use std::time::Duration;

use anyhow::{Result, bail};
use mete_daemon::config::duration;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Addresses, in_path};
use crate::table;

/// What can be asked of agents.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// All agents with what they have and what is used.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Ends all tasks of an agent, which gets no new ones: before its machine goes away.
    Drain {
        /// Its id, the end of it (`S0`), or its hostname.
        name: String,
        /// No task has longer than this to end, e.g. `10m`; without it each has its own grace period.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        deadline: Option<Duration>,
        /// Marks the agent gone when its last task is over: it cannot come back.
        #[arg(long)]
        mark_gone: bool,
    },
    /// No new tasks on an agent; those it has run on.
    Deactivate {
        /// Its id, the end of it (`S0`), or its hostname.
        name: String,
    },
    /// New tasks again on an agent that was deactivated or has drained.
    Reactivate {
        /// Its id, the end of it (`S0`), or its hostname.
        name: String,
    },
    /// Says that an agent never comes back: its tasks are over, and its id is refused from now on.
    Gone {
        /// Its id; what is unreachable is not found by another name.
        name: String,
    },
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    match ask {
        Ask::List { json } => list(addresses, json).await,
        Ask::Drain {
            name,
            deadline,
            mark_gone,
        } => {
            let mut body = json!({ "mark_gone": mark_gone });
            if let Some(deadline) = deadline {
                let nanoseconds = i64::try_from(deadline.as_nanos()).unwrap_or(i64::MAX);
                body["max_grace_period"] = json!({ "nanoseconds": nanoseconds });
            }
            order(addresses, &name, "drain", &body, "is draining").await
        }
        Ask::Deactivate { name } => {
            order(
                addresses,
                &name,
                "deactivate",
                &json!({}),
                "gets no new tasks",
            )
            .await
        }
        Ask::Reactivate { name } => {
            order(
                addresses,
                &name,
                "reactivate",
                &json!({}),
                "gets new tasks again",
            )
            .await
        }
        Ask::Gone { name } => order(addresses, &name, "gone", &json!({}), "is gone").await,
    }
}

async fn order(
    addresses: &Addresses,
    name: &str,
    what: &str,
    body: &Value,
    done: &str,
) -> Result<()> {
    let master = addresses.master()?;
    let id = find(&master.get("/state").await?, name)?;
    let path = format!("/agents/{}/{what}", in_path(&id));
    master.call(Method::POST, &path, Some(body)).await?;
    crate::say!("agent {id} {done}");
    Ok(())
}

/// The id of the agent that is meant. A name that fits nobody is taken for an id: the master knows agents that are away,
/// too.
fn find(state: &Value, name: &str) -> Result<String> {
    let agents = ["slaves", "recovered_slaves"].map(|key| state[key].as_array());
    let agents = agents.into_iter().flatten().flatten();
    let fits = agents.filter(|agent| {
        let id = agent["id"].as_str().unwrap_or_default();
        let end = id.rsplit('-').next().unwrap_or_default();
        id == name || end == name || agent["hostname"] == name
    });
    let mut ids: Vec<String> = fits.map(|agent| table::cell(&agent["id"])).collect();
    if ids.len() > 1 {
        bail!("{name:?} fits several agents: {}", ids.join(", "));
    }
    Ok(ids.pop().unwrap_or_else(|| name.to_owned()))
}

async fn list(addresses: &Addresses, json: bool) -> Result<()> {
    let state = addresses.master()?.get("/state").await?;
    if json {
        return table::json(&state["slaves"]);
    }
    let rows = state["slaves"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|agent| {
            let of = |name: &str| {
                format!(
                    "{}/{}",
                    amount(&agent["used_resources"][name]),
                    amount(&agent["resources"][name])
                )
            };
            [
                table::cell(&agent["id"]),
                format!(
                    "{}:{}",
                    table::cell(&agent["hostname"]),
                    table::cell(&agent["port"])
                ),
                standing(agent),
                of("cpus"),
                of("mem"),
                of("disk"),
                attributes(&agent["attributes"]),
            ]
        });
    table::print(
        [
            "AGENT",
            "ADDRESS",
            "STATE",
            "CPUS USED",
            "MEM USED",
            "DISK USED",
            "ATTRIBUTES",
        ],
        rows,
    );
    Ok(())
}

/// `active`, or why it gets no tasks.
fn standing(agent: &Value) -> String {
    let admission = agent["admission"].as_str().unwrap_or("active");
    match (agent["active"] == true, admission) {
        (true, _) => "active".to_owned(),
        (false, "active") => "away".to_owned(),
        (false, other) => other.to_owned(),
    }
}

fn amount(value: &Value) -> String {
    let rounded = (value.as_f64().unwrap_or(0.0) * 100.0).round() / 100.0;
    rounded.to_string()
}

fn attributes(attributes: &Value) -> String {
    let all = attributes.as_object().into_iter().flatten();
    all.map(|(name, value)| format!("{name}={}", table::cell(value)))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_found_by_what_people_call_it() -> Result<()> {
        let state = json!({ "slaves": [
            { "id": "m-S0", "hostname": "a" },
            { "id": "m-S1", "hostname": "b" },
            { "id": "n-S1", "hostname": "b" },
        ] });

        assert_eq!(find(&state, "m-S1")?, "m-S1");
        assert_eq!(find(&state, "S0")?, "m-S0");
        assert_eq!(find(&state, "a")?, "m-S0");
        assert_eq!(find(&state, "away-S7")?, "away-S7");
        assert!(find(&state, "b").is_err());
        assert!(find(&state, "S1").is_err());
        Ok(())
    }
}
