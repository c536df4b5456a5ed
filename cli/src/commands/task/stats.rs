//! `mete task stats`: what running tasks use, asked of their agents.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::future::join_all;
use serde_json::{Value, json};

use super::find;
use crate::client::Addresses;
use crate::table;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The start of a task's id; without it all tasks.
    id: Option<String>,
    /// Goes on until it is interrupted.
    #[arg(short, long)]
    follow: bool,
    /// JSON for programs: Mesos' statistics of each task; with --follow one line a look.
    #[arg(long)]
    json: bool,
}

/// Between two looks. An agent keeps one for a second, so that there is something new in the next.
const BETWEEN: Duration = Duration::from_millis(1_500);
/// Clears a terminal.
const CLEAR: &str = "\x1b[H\x1b[2J";

const HEAD: [&str; 9] = [
    "TASK",
    "CPU",
    "OF",
    "THROTTLED",
    "MEMORY",
    "OF",
    "WAITS",
    "NETWORK",
    "THREADS",
];

pub(crate) async fn run(addresses: &Addresses, options: Options) -> Result<()> {
    let id = options.id.as_deref().unwrap_or_default();
    let mut before = look(addresses, id).await?;
    if before.is_empty() && !options.follow && !id.is_empty() {
        bail!("no running task begins with {id:?}; `mete task list` shows them");
    }
    if options.json && !options.follow {
        return table::json(&Value::Array(before.into_values().collect()));
    }
    loop {
        // A share of a CPU is what was used between two looks.
        tokio::time::sleep(BETWEEN).await;
        let now = look(addresses, id).await?;
        if options.json {
            crate::say!("{}", json!(now.values().collect::<Vec<_>>()));
        } else {
            if options.follow && std::io::stdout().is_terminal() {
                crate::say!("{CLEAR}");
            }
            let rows = now.iter().map(|(task, entry)| row(entry, before.get(task)));
            table::print(HEAD, rows);
        }
        if !options.follow {
            return Ok(());
        }
        before = now;
    }
}

/// Statistics by framework and task. An agent that does not answer is told on standard error, and left out.
async fn look(addresses: &Addresses, id: &str) -> Result<BTreeMap<(String, String), Value>> {
    let state = addresses.master()?.get("/state").await?;
    let agents: Vec<(String, String)> = find::agents(&state).collect();
    let answers = agents.iter().map(async |(_, url)| {
        let agent = addresses.agent(url)?;
        agent.get("/containers?show_nested=true").await
    });
    let mut found = BTreeMap::new();
    for answer in join_all(answers).await {
        match answer {
            Ok(all) => {
                let all = all.as_array().into_iter().flatten();
                for entry in all.clone().filter(|one| !has_parts(one, all.clone())) {
                    let (framework, task) = (&entry["framework_id"], &entry["source"]);
                    let key = (table::cell(framework), table::cell(task));
                    if key.1.starts_with(id) {
                        found.insert(key, entry.clone());
                    }
                }
            }
            Err(error) => crate::complain!("mete: {error:#}"),
        }
    }
    Ok(found)
}

/// Whether it is the sum of others: an executor, and the tasks of its groups.
fn has_parts<'a>(entry: &Value, mut all: impl Iterator<Item = &'a Value>) -> bool {
    let id = &entry["status"]["container_id"]["value"];
    all.any(|other| other["status"]["container_id"]["parent"]["value"] == *id)
}

fn row(entry: &Value, before: Option<&Value>) -> [String; 9] {
    let now = &entry["statistics"];
    let before = before.map(|before| &before["statistics"]);
    let share = |value: fn(&Value) -> Option<f64>| {
        let before = before?;
        let seconds = now["timestamp"].as_f64()? - before["timestamp"].as_f64()?;
        (seconds > 0.0).then_some((value(now)? - value(before)?) / seconds)
    };
    let cpus = share(|at| {
        Some(at["cpus_user_time_secs"].as_f64()? + at["cpus_system_time_secs"].as_f64()?)
    });
    let throttled = share(|at| at["cpus_throttled_time_secs"].as_f64());
    let received = share(|at| at["net_rx_bytes"].as_f64());
    let sent = share(|at| at["net_tx_bytes"].as_f64());
    [
        table::cell(&entry["source"]),
        cpus.map_or_else(unknown, |cpus| format!("{cpus:.2}")),
        now["cpus_limit"]
            .as_f64()
            .map_or_else(unknown, |limit| format!("{limit:.2}")),
        throttled.map_or_else(unknown, |share| format!("{:.0}%", share * 100.0)),
        now["mem_total_bytes"].as_f64().map_or_else(unknown, bytes),
        now["mem_limit_bytes"].as_f64().map_or_else(unknown, bytes),
        waits(&now["pressure"]),
        received.zip(sent).map_or_else(unknown, |(in_, out)| {
            format!("{}/s in, {}/s out", bytes(in_), bytes(out))
        }),
        now["threads"]
            .as_u64()
            .map_or_else(unknown, |count| count.to_string()),
    ]
}

fn unknown() -> String {
    "-".to_owned()
}

/// For what some of it has waited in the last ten seconds.
fn waits(pressure: &Value) -> String {
    let kinds = [("cpu", "cpu"), ("memory", "memory"), ("io", "disk")];
    let waited = kinds.iter().filter_map(|(kind, name)| {
        let percent = pressure[*kind]["some_percent"].as_f64()?;
        (percent >= 1.0).then(|| format!("{name} {percent:.0}%"))
    });
    let waited: Vec<String> = waited.collect();
    match waited.is_empty() {
        true => unknown(),
        false => waited.join(", "),
    }
}

/// A number of bytes as people read it.
fn bytes(count: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = count.max(0.0);
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match unit {
        0 => format!("{scaled:.0} {name}"),
        _ => format!("{scaled:.1} {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_what_was_used_between_two_looks() {
        let at = |time: f64, cpu: f64| {
            json!({ "source": "web.1", "statistics": {
                "timestamp": time, "cpus_user_time_secs": cpu, "cpus_system_time_secs": cpu, "cpus_limit": 0.5,
                "cpus_throttled_time_secs": cpu, "mem_total_bytes": 3 << 20, "threads": 7,
                "pressure": { "memory": { "some_percent": 12.5 }, "io": { "some_percent": 0.2 } },
            } })
        };

        let row = row(&at(12.0, 1.5), Some(&at(10.0, 1.0)));

        let expected = [
            "web.1",
            "0.50",
            "0.50",
            "25%",
            "3.0 MiB",
            "-",
            "memory 12%",
            "-",
            "7",
        ];
        assert_eq!(row, expected);
    }
}
