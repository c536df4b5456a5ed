//! `mete agent list`: agents of the cluster. (`mete agent` by itself runs one.)

use anyhow::Result;
use serde_json::Value;

use crate::client::Addresses;
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
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let Ask::List { json } = ask;
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
                (if agent["active"] == true {
                    "active"
                } else {
                    "away"
                })
                .to_owned(),
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
