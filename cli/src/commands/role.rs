//! `mete role`: who resources are given to, in which proportion.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::client::Addresses;
use crate::table;

/// What can be asked of roles.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// All roles with what they may have and have.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Sets the weight of a role: with 2 its frameworks get twice what those of a role of weight 1 get.
    Weight {
        /// Which role, e.g. `prod` or `prod/web`.
        role: String,
        /// From 0.001 to 4294967, rounded to thousandths.
        #[arg(allow_negative_numbers = true, value_parser = weight)]
        weight: f64,
    },
}

/// Reads a number that JSON can say; whether it can be a weight is for the master to say.
fn weight(text: &str) -> Result<f64, String> {
    let weight: f64 = text.trim().parse().map_err(|_| "must be a number")?;
    match weight.is_finite() {
        true => Ok(weight),
        false => Err("must be a number from 0.001 to 4294967".to_owned()),
    }
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let master = addresses.master()?;
    match ask {
        Ask::List { json } => {
            let answer = master.get("/roles").await?;
            if json {
                return table::json(&answer["roles"]);
            }
            print(answer["roles"].as_array().into_iter().flatten());
            Ok(())
        }
        Ask::Weight { role, weight } => {
            let body = json!([{ "role": role, "weight": weight }]);
            master.call(Method::PUT, "/weights", Some(&body)).await?;
            crate::say!("role {role} has weight {weight}");
            Ok(())
        }
    }
}

fn print<'a>(roles: impl Iterator<Item = &'a Value>) {
    let rows = roles.map(|role| {
        let share = role["share"].as_f64().unwrap_or(0.0) * 100.0;
        let frameworks = role["frameworks"].as_array().map_or(0, Vec::len);
        [
            table::cell(&role["name"]),
            table::cell(&role["weight"]),
            amounts(&role["quota"]["limit"], true),
            amounts(&role["quota"]["guarantee"], true),
            amounts(&role["allocated"], false),
            format!("{share:.1}%"),
            frameworks.to_string(),
            table::cell(&role["policy"]),
        ]
    });
    table::print(
        [
            "ROLE",
            "WEIGHT",
            "LIMIT",
            "GUARANTEE",
            "ALLOCATED",
            "SHARE",
            "FRAMEWORKS",
            "POLICY",
        ],
        rows,
    );
}

/// `cpus=4,mem=1024`; `-` for nothing. Zeros are shown where they mean something.
pub(super) fn amounts(amounts: &Value, zeros: bool) -> String {
    let numbers = amounts.as_object().into_iter().flatten();
    let numbers = numbers.filter_map(|(name, value)| Some((name, value.as_f64()?)));
    let shown: Vec<_> = numbers
        .filter(|(_, value)| zeros || *value != 0.0)
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if shown.is_empty() {
        "-".to_owned()
    } else {
        shown.join(",")
    }
}
