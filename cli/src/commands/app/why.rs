//! `mete app why`: what an app waits for, since when, and what would help.

use anyhow::Result;
use serde_json::Value;

use crate::client::{Api, app_path};
use crate::commands::{explain, wait};
use crate::table;

pub(super) async fn why(services: &Api, id: &str, json: bool) -> Result<()> {
    let path = app_path(id)?;
    let answer = services.get(&format!("/v2/apps{path}")).await?;
    let app = &answer["app"];
    let queue = services.get("/v2/queue").await?;
    let entry = explain::list(&queue["queue"])
        .iter()
        .find(|entry| entry["app"]["id"] == *path)
        .unwrap_or(&Value::Null);
    let told = services.find(&format!("/v2/queue{path}/why")).await;
    if json {
        let master = told.ok().flatten().unwrap_or_default();
        return table::json(&serde_json::json!({
            "app": path, "queue": entry, "master": master,
            "deployments": app["deployments"], "lastTaskFailure": app["lastTaskFailure"],
        }));
    }
    standing(&path, app);
    if entry.is_null() {
        crate::say!("  nothing of it waits for an offer");
        return Ok(());
    }
    waiting(entry);
    match told {
        Ok(Some(told)) => explain::shape(&told["shape"], "  "),
        // The funnel of the queue has what offers taught.
        Ok(None) | Err(_) => funnel(&entry["processedOffersSummary"]),
    }
    Ok(())
}

/// What runs, what is under way, what went wrong last.
fn standing(path: &str, app: &Value) {
    let count = |key: &str| app[key].as_u64().unwrap_or(0);
    crate::say!(
        "{path}: {} of {} run, {} start, {} healthy, {} not",
        count("tasksRunning"),
        wait::wanted(app),
        count("tasksStaged"),
        count("tasksHealthy"),
        count("tasksUnhealthy"),
    );
    for deployment in explain::list(&app["deployments"]) {
        crate::say!(
            "  deployment {} is under way",
            explain::text(&deployment["id"])
        );
    }
    let failure = &app["lastTaskFailure"];
    if !failure.is_null() {
        crate::say!(
            "  last failure: {} at {} on {}: {}",
            explain::text(&failure["state"]),
            explain::text(&failure["timestamp"]),
            explain::text(&failure["host"]),
            explain::text(&failure["message"]),
        );
    }
}

fn waiting(entry: &Value) {
    crate::say!(
        "  {} wait since {}",
        explain::text(&entry["count"]),
        explain::text(&entry["since"])
    );
    let left = entry["delay"]["timeLeftSeconds"].as_u64().unwrap_or(0);
    if left > 0 {
        crate::say!(
            "  after failures the next is launched in {left} s; at once with DELETE /v2/queue/{{id}}/delay"
        );
    }
}

fn funnel(summary: &Value) {
    for row in explain::list(&summary["rejectSummaryLaunchAttempt"]) {
        let declined = row["declined"].as_u64().unwrap_or(0);
        if declined > 0 {
            crate::say!(
                "  {}: {declined} of {} offers",
                explain::text(&row["reason"]),
                explain::text(&row["processed"])
            );
        }
    }
}
