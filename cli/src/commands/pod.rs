//! `mete pod`: containers that start and end together, kept running by the service framework.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;

use super::app::{forced, json_in};
use super::explain::{list, text};
use super::why;
use crate::client::{Addresses, Api, app_path};
use crate::table;

/// What can be asked of pods.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Adds a pod from a JSON file, or changes it to what the file says.
    Add {
        /// The definition; `-` reads standard input.
        file: PathBuf,
        /// Replaces a deployment that is under way.
        #[arg(long)]
        force: bool,
    },
    /// All pods with their instances.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// One pod: how it stands, its instances and their containers.
    Show {
        /// Which pod.
        id: String,
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// What a pod waits for, since when, and what would help.
    Why {
        /// Which pod.
        id: String,
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Removes a pod and all its instances.
    Rm {
        /// Which pod.
        id: String,
        /// Replaces a deployment that is under way.
        #[arg(long)]
        force: bool,
    },
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let services = addresses.services()?;
    match ask {
        Ask::Add { file, force } => add(&services, &file, force).await,
        Ask::List { json } => all(&services, json).await,
        Ask::Show { id, json } => show(&services, &id, json).await,
        Ask::Why { id, json } => why::why(addresses, &id, json).await,
        Ask::Rm { id, force } => {
            let path = app_path(&id)?;
            let address = format!("/v2/pods{path}{}", forced(force));
            services.call(Method::DELETE, &address, None).await?;
            crate::say!("{path}: removing");
            Ok(())
        }
    }
}

async fn add(services: &Api, file: &Path, force: bool) -> Result<()> {
    let pod = json_in(file)?;
    let Some(id) = pod["id"].as_str() else {
        bail!("{}: the pod has no \"id\"", file.display());
    };
    let path = app_path(id)?;
    let address = format!("/v2/pods{path}{}", forced(force));
    let put = services.call(Method::PUT, &address, Some(&pod)).await;
    put.with_context(|| path.clone())?;
    crate::say!("{path}: deployment started");
    Ok(())
}

async fn all(services: &Api, json: bool) -> Result<()> {
    let answer = services.get("/v2/pods/::status").await?;
    if json {
        return table::json(&answer);
    }
    let rows = list(&answer).iter().map(|pod| {
        let instances = list(&pod["instances"]);
        let stable = instances.iter().filter(|one| one["status"] == "STABLE");
        let containers = list(&pod["spec"]["containers"]).iter();
        let containers: Vec<String> = containers.map(|one| text(&one["name"])).collect();
        [
            text(&pod["id"]),
            format!(
                "{}/{}",
                stable.count(),
                text(&pod["spec"]["scaling"]["instances"])
            ),
            text(&pod["status"]),
            containers.join(","),
        ]
    });
    table::print(["POD", "STABLE", "STATUS", "CONTAINERS"], rows);
    Ok(())
}

async fn show(services: &Api, id: &str, json: bool) -> Result<()> {
    let path = app_path(id)?;
    let pod = services.get(&format!("/v2/pods{path}::status")).await?;
    if json {
        return table::json(&pod);
    }
    let since = text(&pod["statusSince"]);
    crate::say!("{path}: {} since {since}", text(&pod["status"]));
    for ended in list(&pod["terminationHistory"]) {
        for container in list(&ended["containers"]) {
            crate::say!(
                "last failed {}: {} {}: {}",
                text(&ended["terminatedAt"]),
                text(&container["containerId"]),
                text(&container["lastKnownState"]),
                text(&ended["message"])
            );
        }
    }
    crate::say!();
    let rows = list(&pod["instances"]).iter().flat_map(|instance| {
        let containers = list(&instance["containers"]).iter();
        containers.map(|container| {
            let ports = list(&container["endpoints"]).iter();
            let ports = ports.map(|endpoint| {
                let port = text(&endpoint["allocatedHostPort"]);
                format!("{} {port}", text(&endpoint["name"]))
            });
            [
                text(&container["containerId"]),
                text(&container["status"]),
                text(&instance["status"]),
                text(&instance["agentHostname"]),
                ports.collect::<Vec<_>>().join(", "),
            ]
        })
    });
    table::print(["TASK", "STATE", "INSTANCE", "HOST", "PORTS"], rows);
    Ok(())
}
