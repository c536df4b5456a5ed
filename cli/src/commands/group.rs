//! `mete group`: apps that belong together, changed as one.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::app::{forced, json_in};
use super::explain::{list, text};
use crate::client::{Addresses, Api, app_path};
use crate::table;

/// What can be asked of groups.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Makes a group from a JSON file, or changes it: apps and groups that a list in it does not name are removed.
    Add {
        /// The definition; `-` reads standard input.
        file: PathBuf,
        /// Only tells what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Replaces deployments that are under way.
        #[arg(long)]
        force: bool,
    },
    /// A group with all that lies in it; without an id, everything.
    Show {
        /// Which group.
        #[arg(default_value = "/")]
        id: String,
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// So many times the instances of every app below, rounded up.
    Scale {
        /// Which group.
        id: String,
        /// How many times.
        #[arg(value_parser = factor)]
        factor: f64,
        /// Replaces deployments that are under way.
        #[arg(long)]
        force: bool,
    },
    /// The versions that can be gone back to.
    Versions {
        /// Which group.
        id: String,
    },
    /// The group as it was.
    Rollback {
        /// Which group.
        id: String,
        /// One of its versions.
        version: String,
        /// Replaces deployments that are under way.
        #[arg(long)]
        force: bool,
    },
    /// Removes a group and all that lies in it.
    Rm {
        /// Which group.
        id: String,
        /// Replaces deployments that are under way.
        #[arg(long)]
        force: bool,
    },
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let services = addresses.services()?;
    match ask {
        Ask::Add {
            file,
            dry_run,
            force,
        } => add(&services, &json_in(&file)?, dry_run, force).await,
        Ask::Show { id, json } => {
            let answer = services.get(&format!("/v2/groups{}", path(&id)?)).await?;
            if json {
                return table::json(&answer);
            }
            show(&answer, 0);
            Ok(())
        }
        Ask::Scale { id, factor, force } => {
            change(&services, &id, &json!({ "scaleBy": factor }), force).await
        }
        Ask::Versions { id } => {
            let versions = format!("/v2/groups{}/versions", path(&id)?);
            for version in list(&services.get(&versions).await?) {
                crate::say!("{}", text(version));
            }
            Ok(())
        }
        Ask::Rollback { id, version, force } => {
            change(&services, &id, &json!({ "version": version }), force).await
        }
        Ask::Rm { id, force } => {
            let path = path(&id)?;
            let address = format!("/v2/groups{path}{}", forced(force));
            services.call(Method::DELETE, &address, None).await?;
            let shown = if path.is_empty() { "/" } else { &path };
            crate::say!("{shown}: removing");
            Ok(())
        }
    }
}

fn factor(text: &str) -> Result<f64, &'static str> {
    let factor: f64 = text.trim().parse().map_err(|_| "must be a number")?;
    let is_good = factor.is_finite() && factor >= 0.0;
    is_good
        .then_some(factor)
        .ok_or("must be a number that is not negative")
}

/// The path of a group; the root has none.
fn path(id: &str) -> Result<String> {
    if id.trim_matches('/').is_empty() {
        return Ok(String::new());
    }
    app_path(id)
}

async fn add(services: &Api, group: &Value, dry_run: bool, force: bool) -> Result<()> {
    let Some(id) = group["id"].as_str() else {
        bail!("the group has no \"id\"");
    };
    let path = path(id)?;
    if dry_run {
        let address = format!("/v2/groups{path}?dryRun=true");
        let planned = services.call(Method::PUT, &address, Some(group)).await?;
        for (at, step) in list(&planned["steps"]).iter().enumerate() {
            for action in list(&step["actions"]) {
                crate::say!(
                    "{} {} {}",
                    at + 1,
                    text(&action["action"]),
                    text(action.get("app").unwrap_or_else(|| &action["pod"]))
                );
            }
        }
        return Ok(());
    }
    change(services, id, group, force).await
}

async fn change(services: &Api, id: &str, wish: &Value, force: bool) -> Result<()> {
    let path = path(id)?;
    let address = format!("/v2/groups{path}{}", forced(force));
    let answer = services.call(Method::PUT, &address, Some(wish)).await;
    let answer = answer.with_context(|| path.clone())?;
    crate::say!("{path}: deployment {}", text(&answer["deploymentId"]));
    Ok(())
}

/// A group, and below it what lies in it.
fn show(group: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let waits: Vec<String> = list(&group["dependencies"]).iter().map(text).collect();
    let after = match waits.is_empty() {
        true => String::new(),
        false => format!(" (after {})", waits.join(", ")),
    };
    crate::say!("{indent}{}{after}", text(&group["id"]));
    for app in list(&group["apps"]) {
        crate::say!(
            "{indent}  {} × {}",
            text(&app["id"]),
            text(&app["instances"])
        );
    }
    for pod in list(&group["pods"]) {
        let instances = &pod["spec"]["scaling"]["instances"];
        crate::say!("{indent}  {} × {}", text(&pod["id"]), text(instances));
    }
    for inner in list(&group["groups"]) {
        show(inner, depth + 1);
    }
}
