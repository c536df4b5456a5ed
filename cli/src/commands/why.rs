//! `mete app why` and `mete pod why`: what an app or a pod waits for, since when, and what would help. An id is one or the
//! other, so either answers for both.

mod ailing; // tasks that run and do not do their work

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{explain, wait};
use crate::client::{Addresses, Api, app_path};
use crate::table;

/// Says it, or all that is known of it as JSON.
pub(super) async fn why(addresses: &Addresses, id: &str, json: bool) -> Result<()> {
    let services = &addresses.services()?;
    let path = app_path(id)?;
    let subject = subject(services, &path).await?;
    let queue = services.get("/v2/queue").await?;
    let entry = explain::list(&queue["queue"])
        .iter()
        .find(|entry| entry["app"]["id"] == *path || entry["pod"]["id"] == *path)
        .unwrap_or(&Value::Null);
    let told = services.find(&format!("/v2/queue{path}/why")).await;
    let backends = services.get("/v2/backends").await?;
    let shared = shared_ports(&path, explain::list(&backends["services"]));
    let ailing = match &subject {
        Subject::App(app) => ailing::of(addresses, app).await,
        Subject::Pod { .. } => Vec::new(),
    };
    if json {
        let master = told.ok().flatten().unwrap_or_default();
        return table::json(&match &subject {
            Subject::App(app) => json!({
                "app": path, "queue": entry, "master": master,
                "deployments": deployments(services, &path).await, "lastTaskFailure": app["lastTaskFailure"],
                "sharedServicePorts": shared, "ailing": ailing,
            }),
            Subject::Pod {
                status,
                deployments,
            } => json!({
                "pod": path, "queue": entry, "master": master,
                "deployments": deployments, "terminationHistory": status["terminationHistory"],
                "sharedServicePorts": shared,
            }),
        });
    }
    match &subject {
        Subject::App(app) => standing(&path, app, &deployments(services, &path).await),
        Subject::Pod {
            status,
            deployments,
        } => standing_of_pod(&path, status, deployments),
    }
    ports_of_others(&path, &shared);
    ailing::say(&ailing);
    offers(entry, told);
    Ok(())
}

fn ports_of_others(path: &str, shared: &[Value]) {
    for port in shared {
        crate::say!(
            "  service port {} is that of {} too, which has had it for longer: proxies leave {path} out",
            explain::text(&port["servicePort"]),
            explain::text(&port["of"]),
        );
    }
}

/// What waits for offers, and why none came: as the master says, else as the offers taught that came.
fn offers(entry: &Value, told: Result<Option<Value>>) {
    match (entry.is_null(), told) {
        (true, Ok(Some(told))) => {
            // Not in the queue, as Marathon's clients know it, and asked for all the same.
            crate::say!("  one for each agent that has none yet:");
            explain::shape(&told["shape"], "  ");
        }
        (true, Ok(None) | Err(_)) => crate::say!("  nothing of it waits for an offer"),
        (false, Ok(Some(told))) => {
            waiting(entry);
            explain::shape(&told["shape"], "  ");
        }
        (false, told) => {
            waiting(entry);
            funnel(&entry["processedOffersSummary"]);
            if let Err(error) = told {
                crate::say!("  no more is known: {error:#}");
            }
        }
    }
}

/// Service ports of an app that belong to another, and to which: to the one that has had it for longer, or comes first by
/// name; what an app wants no more, and nobody serves, stands back (as proxies have it).
fn shared_ports(path: &str, services: &[Value]) -> Vec<Value> {
    let rank = |service: &Value| {
        let text = |key: &str| service[key].as_str().unwrap_or_default().to_owned();
        let is_up = |instance: &Value| instance["state"] == "up";
        let serves = explain::list(&service["instances"]).iter().any(is_up);
        let stands_back = service["left"] == true && !serves;
        (stands_back, text("since"), text("appId"))
    };
    let is_its_own = |service: &&Value| service["appId"] == path;
    let mut shared = Vec::new();
    for own in services.iter().filter(is_its_own) {
        let port = &own["servicePort"];
        let others = services.iter().filter(|other| !is_its_own(other));
        let first = others
            .filter(|other| other["servicePort"] == *port)
            .min_by_key(|one| rank(one));
        let owner = first.filter(|first| rank(first) < rank(own));
        shared.extend(owner.map(|owner| json!({ "servicePort": port, "of": owner["appId"] })));
    }
    shared
}

/// What an id names, as the service framework tells it.
enum Subject {
    App(Value),
    Pod {
        status: Value,
        /// Those that change it.
        deployments: Vec<Value>,
    },
}

async fn subject(services: &Api, path: &str) -> Result<Subject> {
    if let Some(mut answer) = services.find(&format!("/v2/apps{path}")).await? {
        return Ok(Subject::App(answer["app"].take()));
    }
    let Some(status) = services.find(&format!("/v2/pods{path}::status")).await? else {
        bail!("neither an app nor a pod is called '{path}'");
    };
    Ok(Subject::Pod {
        status,
        deployments: deployments(services, path).await,
    })
}

/// Those that change an app or a pod.
async fn deployments(services: &Api, path: &str) -> Vec<Value> {
    let all = services.get("/v2/deployments").await.unwrap_or_default();
    let is_named = |list: &Value| explain::list(list).contains(&json!(path));
    let changes_it =
        |one: &&Value| is_named(&one["affectedApps"]) || is_named(&one["affectedPods"]);
    let deployments = explain::list(&all).iter().filter(changes_it);
    deployments.cloned().collect()
}

fn standing_of_pod(path: &str, status: &Value, deployments: &[Value]) {
    let instances = explain::list(&status["instances"]);
    let are = |word: &str| instances.iter().filter(|one| one["status"] == word).count();
    crate::say!(
        "{path}: {} of {} run well, {} start, {} do not",
        are("STABLE"),
        explain::text(&status["spec"]["scaling"]["instances"]),
        are("PENDING") + are("STAGING"),
        are("DEGRADED"),
    );
    under_way(deployments);
    if let Some(ended) = explain::list(&status["terminationHistory"]).first() {
        crate::say!(
            "  last failure at {}: {}",
            explain::text(&ended["terminatedAt"]),
            explain::text(&ended["message"]),
        );
    }
}

fn under_way(deployments: &[Value]) {
    for deployment in deployments {
        let actions = explain::list(&deployment["currentActions"]);
        let doing: Vec<String> = actions.iter().map(action).collect();
        crate::say!(
            "  deployment {} is under way, at step {} of {}: {}",
            explain::text(&deployment["id"]),
            explain::text(&deployment["currentStep"]),
            explain::text(&deployment["totalSteps"]),
            doing.join(", "),
        );
    }
}

/// `ScaleApplication /shop/db`
fn action(action: &Value) -> String {
    let of = [&action["app"], &action["pod"]];
    let of = of.into_iter().find(|id| !id.is_null());
    let of = of.map(explain::text).unwrap_or_default();
    format!("{} {of}", explain::text(&action["action"]))
}

/// What runs, what is under way, what went wrong last.
fn standing(path: &str, app: &Value, deployments: &[Value]) {
    let count = |key: &str| app[key].as_u64().unwrap_or(0);
    crate::say!(
        "{path}: {} of {} run, {} start, {} healthy, {} not",
        count("tasksRunning"),
        wait::wanted(app),
        count("tasksStaged"),
        count("tasksHealthy"),
        count("tasksUnhealthy"),
    );
    under_way(deployments);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_port_belongs_to_whoever_has_had_it_for_longer() {
        let service = |app: &str, port: u16, since: &str| json!({ "appId": app, "servicePort": port, "since": since });
        let services = [
            service("/a", 10_000, "2026-11-29T13:00:11.014Z"),
            service("/a", 10_001, "2026-11-29T13:00:11.014Z"),
            service("/b", 10_000, "2026-11-29T13:00:11.013Z"),
            service("/c", 10_001, "2026-11-29T13:00:11.014Z"),
        ];

        assert_eq!(
            shared_ports("/a", &services),
            [json!({ "servicePort": 10_000, "of": "/b" })]
        );
        assert_eq!(shared_ports("/b", &services), [json!(null); 0]);
        assert_eq!(
            shared_ports("/c", &services),
            [json!({ "servicePort": 10_001, "of": "/a" })]
        );
        let mut left = services;
        left[3]["left"] = json!(true);
        left[1]["left"] = json!(true);
        left[1]["instances"] = json!([{ "state": "draining" }]);
        left[3]["instances"] = json!([{ "state": "up" }]);
        assert_eq!(shared_ports("/c", &left), [json!(null); 0]);
    }
}
