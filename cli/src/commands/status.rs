//! `mete status`: the cluster in ten lines.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::client::Addresses;
use crate::table;

/// Says what stands and what does not; a daemon that does not answer is a line, and an error at the end.
pub(crate) async fn run(addresses: &Addresses, json: bool) -> Result<()> {
    let (master, services) = (addresses.master()?, addresses.services()?);
    let (state, apps, deployments, info) = tokio::join!(
        master.get("/state"),
        services.get("/v2/apps"),
        services.get("/v2/deployments"),
        services.get("/v2/info")
    );
    let told = |answer: &Result<Value>| match answer {
        Ok(value) => value.clone(),
        Err(error) => json!({ "error": format!("{error:#}") }),
    };
    if json {
        table::json(&json!({
            "master": summary(&told(&state)), "apps": told(&apps)["apps"], "deployments": told(&deployments), "services": told(&info),
        }))?;
    } else {
        tell_master(master.base(), &state);
        tell_services(services.base(), &apps, &deployments);
    }
    if state.is_err() || apps.is_err() {
        bail!("not everything answers");
    }
    Ok(())
}

/// The service framework, its apps and what changes.
fn tell_services(base: &str, apps: &Result<Value>, deployments: &Result<Value>) {
    match (apps, deployments) {
        (Ok(apps), Ok(deployments)) => {
            let apps = apps["apps"].as_array().map_or(&[][..], Vec::as_slice);
            let done = apps
                .iter()
                .filter(|app| super::wait::Progress::read(app).is_done())
                .count();
            crate::say!("services    {base} is up");
            crate::say!("apps        {done} of {} as wanted", apps.len());
            crate::say!(
                "deployments {} under way",
                deployments.as_array().map_or(0, Vec::len)
            );
        }
        (Err(error), _) | (_, Err(error)) => crate::say!("services    {error:#}"),
    }
}

/// The master, its agents and its frameworks.
fn tell_master(base: &str, state: &Result<Value>) {
    match state {
        Ok(state) => {
            let list = |key: &str| state[key].as_array().map_or(&[][..], Vec::as_slice);
            let active = list("slaves")
                .iter()
                .filter(|agent| agent["active"] == true)
                .count();
            crate::say!("master      {} is up", base);
            crate::say!("agents      {active} of {} active", list("slaves").len());
            for framework in list("frameworks") {
                let tasks = framework["tasks"].as_array().map_or(0, Vec::len);
                let connected = if framework["connected"] == true {
                    "connected"
                } else {
                    "away"
                };
                crate::say!(
                    "framework   {} ({}): {connected}, {tasks} tasks",
                    table::cell(&framework["name"]),
                    table::cell(&framework["id"])
                );
            }
        }
        Err(error) => crate::say!("master      {error:#}"),
    }
}

/// What of the master's state fits a status.
fn summary(state: &Value) -> Value {
    if state["error"].is_string() {
        return state.clone();
    }
    let count = |key: &str| state[key].as_array().map_or(0, Vec::len);
    json!({ "id": state["id"], "version": state["version"], "agents": count("slaves"), "frameworks": count("frameworks") })
}
