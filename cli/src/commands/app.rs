//! `mete app`: definitions that the service framework keeps running.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mete_daemon::config::duration;
use reqwest::Method;
use serde_json::{Value, json};

use super::{wait, why};
use crate::client::{Addresses, Api, app_path};
use crate::table;

/// What can be asked of apps.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Adds apps from a JSON file, or changes those that are there.
    Add {
        /// A definition, or a list of them; `-` reads standard input.
        file: PathBuf,
        /// Shows progress until every instance is healthy.
        #[arg(long)]
        wait: bool,
        /// How long to wait, e.g. `90s`.
        #[arg(long, default_value = "5m", value_parser = duration, requires = "wait")]
        timeout: Duration,
        /// Replaces a deployment that is under way.
        #[arg(long)]
        force: bool,
    },
    /// All apps with their instances.
    List {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// One app: its definition and its instances.
    Show {
        /// Which app.
        id: String,
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// What an app, or a pod, waits for, since when, and what would help.
    Why {
        /// Which app.
        id: String,
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Changes how many instances there are.
    Scale {
        /// Which app.
        id: String,
        /// How many.
        instances: u32,
        /// Shows progress until every instance is healthy.
        #[arg(long)]
        wait: bool,
        /// Replaces a deployment that is under way.
        #[arg(long)]
        force: bool,
    },
    /// Replaces every instance by a new one.
    Restart {
        /// Which app.
        id: String,
        /// Shows progress until every instance is new and healthy.
        #[arg(long)]
        wait: bool,
        /// Replaces a deployment that is under way.
        #[arg(long)]
        force: bool,
    },
    /// Removes an app and all its instances.
    Rm {
        /// Which app.
        id: String,
        /// Shows progress until every instance is gone.
        #[arg(long)]
        wait: bool,
    },
}

/// How long `--wait` waits where no other time can be given.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let services = addresses.services()?;
    match ask {
        Ask::Add {
            file,
            wait,
            timeout,
            force,
        } => add(&services, &file, force, wait.then_some(timeout)).await,
        Ask::List { json } => list(&services, json).await,
        Ask::Show { id, json } => show(&services, &id, json).await,
        Ask::Why { id, json } => why::why(addresses, &id, json).await,
        Ask::Scale {
            id,
            instances,
            wait,
            force,
        } => {
            let change = json!({ "instances": instances });
            let order = Order {
                method: Method::PATCH,
                below: "",
                body: Some(change),
                force,
            };
            tell(
                &services,
                &id,
                order,
                &format!("scaling to {instances}"),
                wait,
            )
            .await
        }
        Ask::Restart { id, wait, force } => {
            let order = Order {
                method: Method::POST,
                below: "/restart",
                body: None,
                force,
            };
            tell(&services, &id, order, "restarting", wait).await
        }
        Ask::Rm { id, wait } => {
            let path = app_path(&id)?;
            services
                .call(Method::DELETE, &format!("/v2/apps{path}"), None)
                .await?;
            crate::say!("{path}: removing");
            if wait {
                wait::until_gone(&services, &path, PATIENCE).await
            } else {
                Ok(())
            }
        }
    }
}

async fn add(services: &Api, file: &Path, force: bool, wait: Option<Duration>) -> Result<()> {
    let mut ids = Vec::new();
    for app in &read(file)? {
        let id = put(services, app, force).await?;
        crate::say!("{id}: deployment started");
        ids.push(id);
    }
    match wait {
        Some(timeout) => wait::until_healthy(services, &ids, timeout).await,
        None => Ok(()),
    }
}

/// A change of one app.
struct Order {
    method: Method,
    below: &'static str,
    body: Option<Value>,
    force: bool,
}

async fn tell(services: &Api, id: &str, order: Order, words: &str, wait: bool) -> Result<()> {
    let path = app_path(id)?;
    let address = format!("/v2/apps{path}{}{}", order.below, forced(order.force));
    services
        .call(order.method, &address, order.body.as_ref())
        .await?;
    crate::say!("{path}: {words}");
    if wait {
        wait::until_healthy(services, &[path], PATIENCE).await
    } else {
        Ok(())
    }
}

pub(super) const fn forced(force: bool) -> &'static str {
    if force { "?force=true" } else { "" }
}

/// The definitions in a file, each with its id.
pub(crate) fn read(file: &Path) -> Result<Vec<Value>> {
    let name = file.display();
    let value = json_in(file)?;
    let apps = match value {
        Value::Array(apps) => apps,
        app @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)) => vec![app],
    };
    for app in &apps {
        if !app["id"].is_string() {
            bail!("{name}: an app has no \"id\"");
        }
    }
    Ok(apps)
}

/// The JSON in a file; `-` reads standard input.
pub(super) fn json_in(file: &Path) -> Result<Value> {
    let name = file.display();
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
    }
    serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))
}

/// Adds or changes one app; its path.
pub(crate) async fn put(services: &Api, app: &Value, force: bool) -> Result<String> {
    let path = app_path(app["id"].as_str().unwrap_or_default())?;
    services
        .call(
            Method::PUT,
            &format!("/v2/apps{path}{}", forced(force)),
            Some(app),
        )
        .await
        .with_context(|| path.clone())?;
    Ok(path)
}

async fn list(services: &Api, json: bool) -> Result<()> {
    let answer = services.get("/v2/apps").await?;
    if json {
        return table::json(&answer);
    }
    let rows = answer["apps"].as_array().into_iter().flatten().map(|app| {
        let count = |key: &str| app[key].as_u64().unwrap_or(0);
        let deploying = if app["deployments"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
        {
            "deploying"
        } else {
            ""
        };
        [
            table::cell(&app["id"]),
            format!("{}/{}", count("tasksRunning"), wait::wanted(app)),
            health(app),
            table::cell(&app["cpus"]),
            table::cell(&app["mem"]),
            ports(app),
            deploying.to_owned(),
        ]
    });
    table::print(
        ["APP", "RUNNING", "HEALTHY", "CPUS", "MEM", "PORTS", ""],
        rows,
    );
    Ok(())
}

fn health(app: &Value) -> String {
    if app["healthChecks"].as_array().is_none_or(Vec::is_empty) {
        return "-".to_owned();
    }
    let unhealthy = app["tasksUnhealthy"].as_u64().unwrap_or(0);
    let healthy = app["tasksHealthy"].as_u64().unwrap_or(0);
    if unhealthy > 0 {
        format!("{healthy} ({unhealthy} not)")
    } else {
        healthy.to_string()
    }
}

fn ports(app: &Value) -> String {
    let ports = app["portDefinitions"].as_array().into_iter().flatten();
    ports
        .map(|port| table::cell(&port["port"]))
        .collect::<Vec<_>>()
        .join(",")
}

async fn show(services: &Api, id: &str, json: bool) -> Result<()> {
    let path = app_path(id)?;
    let answer = services.get(&format!("/v2/apps{path}")).await?;
    if json {
        return table::json(&answer);
    }
    let app = &answer["app"];
    for (name, value) in app.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Array(list) if list.is_empty() || name == "tasks" => continue,
            Value::Object(map) if map.is_empty() => continue,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => table::cell(value),
        };
        crate::say!("{name:22} {shown}");
    }
    crate::say!();
    super::task::print(app["tasks"].as_array().into_iter().flatten());
    Ok(())
}
