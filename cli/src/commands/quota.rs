//! `mete quota`: the most a role may have, and what is kept for it.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::role::amounts;
use crate::client::{Addresses, Api, in_path};
use crate::table;

/// What can be asked of quotas.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// All quotas that are set.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Sets the quota of a role; what is not said stays as it is.
    Set {
        /// Which role; one without a slash.
        role: String,
        /// The most it may have, e.g. `cpus=4,mem=1024`; mem and disk in MB; `none`: no limit.
        #[arg(long, value_name = "AMOUNTS", value_parser = parse)]
        limit: Option<Stated>,
        /// What is kept for it, in the same form; `none`: nothing.
        #[arg(long, value_name = "AMOUNTS", value_parser = parse)]
        guarantee: Option<Stated>,
        /// Also when the limit is below what is used, or more is guaranteed than the cluster has.
        #[arg(long)]
        force: bool,
    },
    /// Takes the quota of a role away.
    Remove {
        /// Which role.
        role: String,
    },
}

/// Amounts by name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stated(BTreeMap<String, f64>);

/// Reads `cpus=4,mem=1024`.
fn parse(text: &str) -> Result<Stated, String> {
    let mut stated = BTreeMap::new();
    if text == "none" {
        return Ok(Stated(stated));
    }
    for part in text.split(',') {
        let form = "must be amounts such as cpus=4,mem=1024, or none";
        let (name, value) = part.split_once('=').ok_or(form)?;
        let value: f64 = value.trim().parse().map_err(|_| form)?;
        if !value.is_finite() {
            return Err(format!("{} must be a number, at least 0", name.trim()));
        }
        let before = stated.insert(name.trim().to_owned(), value);
        if before.is_some() {
            return Err(format!("names {} twice", name.trim()));
        }
    }
    Ok(Stated(stated))
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let master = addresses.master()?;
    match ask {
        Ask::List { json } => list(&master, json).await,
        Ask::Set {
            role,
            limit,
            guarantee,
            force,
        } => set(&master, &role, limit, guarantee, force).await,
        Ask::Remove { role } => {
            let path = format!("/quota/{}", in_path(&role));
            master.call(Method::DELETE, &path, None).await?;
            crate::say!("role {role} has no quota");
            Ok(())
        }
    }
}

async fn list(master: &Api, json: bool) -> Result<()> {
    let answer = master.get("/quota").await?;
    if json {
        return table::json(&answer["configs"]);
    }
    let rows = answer["configs"].as_array().into_iter().flatten();
    let rows = rows.map(|config| {
        [
            table::cell(&config["role"]),
            amounts(&numbers(&config["limits"]), true),
            amounts(&numbers(&config["guarantees"]), true),
        ]
    });
    table::print(["ROLE", "LIMIT", "GUARANTEE"], rows);
    Ok(())
}

/// Numbers by name out of scalars by name.
fn numbers(scalars: &Value) -> Value {
    let scalars = scalars.as_object().into_iter().flatten();
    scalars
        .map(|(name, scalar)| (name.clone(), scalar["value"].clone()))
        .collect()
}

async fn set(
    master: &Api,
    role: &str,
    limit: Option<Stated>,
    guarantee: Option<Stated>,
    force: bool,
) -> Result<()> {
    if limit.is_none() && guarantee.is_none() {
        bail!("say --limit, --guarantee, or both");
    }
    let path = format!("/quota/{}", in_path(role));
    let before = master.find(&path).await?.unwrap_or_default();
    let part = |said: Option<Stated>, name: &str| match said {
        Some(Stated(amounts)) => json!(amounts),
        None if before[name].is_object() => before[name].clone(),
        None => json!({}),
    };
    let quota = json!({
        "limit": part(limit, "limit"),
        "guarantee": part(guarantee, "guarantee"),
        "force": force,
    });
    master.call(Method::PUT, &path, Some(&quota)).await?;
    crate::say!(
        "role {role}: limit {}, guarantee {}",
        amounts(&quota["limit"], true),
        amounts(&quota["guarantee"], true)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written() {
        let stated = |pairs: &[(&str, f64)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value));
            Ok(Stated(pairs.collect()))
        };

        assert_eq!(
            parse("cpus=4,mem=1024"),
            stated(&[("cpus", 4.0), ("mem", 1_024.0)])
        );
        assert_eq!(parse("none"), stated(&[]));
        assert!(parse("cpus").is_err());
        assert!(parse("cpus=4,cpus=5").is_err());
        assert!(parse("").is_err());
        let why = parse("cpus=nan").expect_err("no number");
        assert_eq!(why, "cpus must be a number, at least 0");
    }
}
