//! `mete agent list`, `drain`, `deactivate`, `reactivate`, `mark-gone`: agents of the cluster. (`mete agent` by itself runs
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
    /// Empties an agent, which gets no new tasks: before its machine goes away.
    Drain {
        /// Its id, the end of it (`S0`), or its hostname.
        name: String,
        /// For so long frameworks may move what they have there, e.g. `5m`; what is left is over by then. Without it all
        /// tasks are killed at once.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        deadline: Option<Duration>,
        /// No task that is killed has longer than this to end, e.g. `30s`; without it each has its own grace period.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        grace: Option<Duration>,
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
    #[command(alias = "gone")]
    MarkGone {
        /// Its hostname, or its id.
        name: String,
    },
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    match ask {
        Ask::List { json } => list(addresses, json).await,
        Ask::Drain {
            name,
            deadline,
            grace,
            mark_gone,
        } => {
            let mut body = json!({ "mark_gone": mark_gone });
            for (field, span) in [("deadline", deadline), ("max_grace_period", grace)] {
                if let Some(span) = span {
                    let nanoseconds = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
                    body[field] = json!({ "nanoseconds": nanoseconds });
                }
            }
            let done = match deadline {
                Some(_) => "is draining; its tasks may move until the deadline",
                None => "is draining",
            };
            order(addresses, &name, "drain", &body, done).await
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
        Ask::MarkGone { name } => order(addresses, &name, "gone", &json!({}), "is gone").await,
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
    let state = master.get("/state").await?;
    let id = find(&state, name)?;
    let path = format!("/agents/{}/{what}", in_path(&id));
    let called = master.call(Method::POST, &path, Some(body)).await;
    called.map_err(|error| {
        let is_listed = agents(&state).any(|agent| agent["id"] == *id);
        if is_listed {
            return error;
        }
        let known: Vec<String> = agents(&state).map(called_by).collect();
        match &known[..] {
            [] => error,
            known => error.context(format!(
                "no agent that is here is called {name:?}; there are {}",
                known.join(", ")
            )),
        }
    })?;
    crate::say!("agent {id} {done}");
    Ok(())
}

/// Agents that are connected, or were a moment ago.
fn agents(state: &Value) -> impl Iterator<Item = &Value> {
    listed(state, &["slaves", "recovered_slaves"])
}

fn listed<'a>(state: &'a Value, lists: &[&'static str]) -> impl Iterator<Item = &'a Value> {
    let lists: Vec<_> = lists.iter().map(|key| state[*key].as_array()).collect();
    lists.into_iter().flatten().flatten()
}

/// `node-1 (10f6f680-f1d3-4a22-bef2-d0dcbffadde9-S2)`.
fn called_by(agent: &Value) -> String {
    let (hostname, id) = (table::cell(&agent["hostname"]), table::cell(&agent["id"]));
    format!("{hostname} ({id})")
}

/// The id of the agent that is meant: of one that is here, else of one that is not heard of. A name that fits nobody is
/// taken for an id: the master knows which agents are gone, too.
fn find(state: &Value, name: &str) -> Result<String> {
    let fits = |agent: &&Value| {
        let id = agent["id"].as_str().unwrap_or_default();
        let end = id.rsplit('-').next().unwrap_or_default();
        id == name || end == name || agent["hostname"] == name
    };
    let mut found: Vec<&Value> = agents(state).filter(fits).collect();
    if found.is_empty() {
        found = listed(state, &["unreachable_agents"])
            .filter(fits)
            .collect();
    }
    match &found[..] {
        [] => Ok(name.to_owned()),
        [one] => Ok(table::cell(&one["id"])),
        several => {
            let all: Vec<String> = several.iter().copied().map(called_by).collect();
            bail!("{name:?} fits several agents: {}", all.join(", "))
        }
    }
}

async fn list(addresses: &Addresses, json: bool) -> Result<()> {
    let state = addresses.master()?.get("/state").await?;
    if json {
        return table::json(&state["slaves"]);
    }
    let here = listed(&state, &["slaves"]).map(|agent| {
        let of = |name: &str| {
            format!(
                "{}/{}",
                amount(&agent["used_resources"][name]),
                amount(&agent["resources"][name])
            )
        };
        [
            table::cell(&agent["id"]),
            table::address(agent),
            standing(&state, agent),
            of("cpus"),
            of("mem"),
            of("disk"),
            attributes(&agent["attributes"]),
        ]
    });
    let away = listed(&state, &["recovered_slaves", "unreachable_agents"]).map(|agent| {
        let [cpus, mem, disk, attributes] = std::array::from_fn(|_| "-".to_owned());
        [
            table::cell(&agent["id"]),
            table::address(agent),
            absence(agent),
            cpus,
            mem,
            disk,
            attributes,
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
        here.chain(away),
    );
    Ok(())
}

/// `unreachable since 2026-11-28T20:05:00Z`, or that it is not back since the master began anew.
fn absence(agent: &Value) -> String {
    let since = agent["unreachable_time"].as_f64();
    let since = since.and_then(|at| jiff::Timestamp::from_second(at as i64).ok());
    since.map_or_else(
        || "not back yet".to_owned(),
        |since| format!("unreachable since {since}"),
    )
}

/// `active`, or why it gets no tasks; while it drains, also until when, and whose tasks are left.
fn standing(state: &Value, agent: &Value) -> String {
    let admission = agent["admission"].as_str().unwrap_or("active");
    match (agent["active"] == true, admission) {
        (true, _) => "active".to_owned(),
        (false, "active") => "away".to_owned(),
        (false, "draining") => draining(state, agent),
        (false, other) => other.to_owned(),
    }
}

/// `draining by 2026-11-28T20:05:00Z, left: services 2, batch 1`.
fn draining(state: &Value, agent: &Value) -> String {
    let deadline = agent["drain_deadline_seconds"].as_f64();
    let by = deadline.and_then(|at| jiff::Timestamp::from_second(at as i64).ok());
    let by = by.map_or_else(String::new, |by| format!(" by {by}"));
    let frameworks = state["frameworks"].as_array().into_iter().flatten();
    let left = frameworks.filter_map(|framework| {
        let tasks = framework["tasks"].as_array().into_iter().flatten();
        let there = tasks.filter(|task| task["slave_id"] == agent["id"]).count();
        (there > 0).then(|| format!("{} {there}", table::cell(&framework["name"])))
    });
    let left: Vec<String> = left.collect();
    let left = match &left[..] {
        [] => "nothing".to_owned(),
        some => some.join(", "),
    };
    format!("draining{by}, left: {left}")
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
        ], "unreachable_agents": [
            { "id": "m-S4", "hostname": "a", "unreachable_time": 1_795_896_300.5 },
            { "id": "m-S5", "hostname": "c", "unreachable_time": 1_795_896_300.5 },
        ] });

        assert_eq!(find(&state, "c")?, "m-S5");
        assert_eq!(
            find(&state, "m-S4")?,
            "m-S4",
            "by its name is meant the one that is here"
        );
        let away = &state["unreachable_agents"][0];
        assert_eq!(absence(away), "unreachable since 2026-11-28T20:05:00Z");
        assert_eq!(find(&state, "m-S1")?, "m-S1");
        assert_eq!(find(&state, "S0")?, "m-S0");
        assert_eq!(find(&state, "a")?, "m-S0");
        assert_eq!(find(&state, "away-S7")?, "away-S7");
        let several = find(&state, "b").expect_err("two of them").to_string();
        assert_eq!(several, "\"b\" fits several agents: b (m-S1), b (n-S1)");
        assert!(find(&state, "S1").is_err());
        Ok(())
    }

    #[test]
    fn who_drains_says_until_when_and_whose_tasks_are_left() {
        let mut agent = json!({ "id": "m-S0", "active": false, "admission": "draining" });
        let state = json!({ "frameworks": [
            { "name": "services", "tasks": [{ "slave_id": "m-S0" }, { "slave_id": "m-S0" }] },
            { "name": "batch", "tasks": [{ "slave_id": "m-S1" }] },
        ] });

        assert_eq!(standing(&state, &agent), "draining, left: services 2");
        agent["drain_deadline_seconds"] = json!(1_795_896_300.5);
        assert_eq!(
            standing(&state, &agent),
            "draining by 2026-11-28T20:05:00Z, left: services 2"
        );
        agent["id"] = json!("m-S7");
        assert!(standing(&state, &agent).ends_with("left: nothing"));
        agent["admission"] = json!("drained");
        assert_eq!(standing(&state, &agent), "drained");
    }
}
