//! Tasks that run and do not do their work: what their checks say, or their agents where no report says it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::Addresses;
use crate::commands::explain;
use crate::commands::task::find;

/// So many are told: the others mostly have the same.
const MAX_TOLD: usize = 5;

/// `task`, `host` and `cause` of each.
pub(super) async fn of(addresses: &Addresses, app: &Value) -> Vec<Value> {
    let tasks = explain::list(&app["tasks"]).iter();
    let ailing: Vec<(&Value, Ailment)> = tasks
        .filter_map(|task| Some((task, ailment(app, task)?)))
        .take(MAX_TOLD)
        .collect();
    let is_told = |(_, ailment): &(&Value, Ailment)| matches!(ailment, Ailment::Told(_));
    let agents = match ailing.iter().all(is_told) {
        true => None,
        false => agents(addresses).await,
    };
    let mut told = Vec::new();
    for (task, ailment) in ailing {
        let agent = agents.as_ref().map(|agents| {
            let id = task["slaveId"].as_str().unwrap_or_default();
            agents.get(id)
        });
        let cause = match ailment {
            Ailment::Told(cause) => Some(cause),
            Ailment::Silent => {
                let found = match agent.flatten() {
                    Some(url) => of_its_agent(addresses, url, task).await,
                    None => None,
                };
                Some(found.unwrap_or_else(|| "no health check has passed yet".to_owned()))
            }
            // The master knows all agents but this one.
            Ailment::Rests => (agent == Some(None)).then(|| {
                let agent = explain::text(&task["slaveId"]);
                format!(
                    "what it holds lies there, and agent {agent} is away: it goes on when that is back; who gives it up \
                     kills it with wipe=true, or marks the agent as gone (mete agent mark-gone {agent})"
                )
            }),
        };
        let told_of = |cause| json!({ "task": task["id"], "host": task["host"], "cause": cause });
        told.extend(cause.map(told_of));
    }
    told
}

/// A line for each.
pub(super) fn say(ailing: &[Value]) {
    for one in ailing {
        crate::say!(
            "  {} on {}: {}",
            explain::text(&one["task"]),
            explain::text(&one["host"]),
            explain::text(&one["cause"]),
        );
    }
}

/// Why a task does not do its work.
#[derive(Debug, PartialEq, Eq)]
enum Ailment {
    /// As its reports say.
    Told(String),
    /// Its checks have said nothing yet.
    Silent,
    /// It has ended, and what it holds is waited for.
    Rests,
}

fn ailment(app: &Value, task: &Value) -> Option<Ailment> {
    match task["state"].as_str()? {
        "TASK_RUNNING" => ailing(app, task),
        "TASK_UNREACHABLE" => Some(Ailment::Told(unreachable(app, task))),
        "TASK_STAGING" if !explain::list(&task["localVolumes"]).is_empty() => Some(Ailment::Rests),
        _ => None,
    }
}

fn unreachable(app: &Value, task: &Value) -> String {
    let agent = explain::text(&task["slaveId"]);
    let strategy = &app["unreachableStrategy"];
    let then = match strategy["inactiveAfterSeconds"].as_u64() {
        Some(seconds) => format!("another takes its place after {seconds} s"),
        None => "it is waited for as long as it takes".to_owned(),
    };
    format!(
        "its agent {agent} is not heard of; {then} (a machine that is dead for good: mete agent mark-gone {agent})"
    )
}

/// The agents that are there, each with its address; `None`: the master does not say.
async fn agents(addresses: &Addresses) -> Option<BTreeMap<String, String>> {
    let state = addresses.master().ok()?.get("/state").await.ok()?;
    Some(find::agents(&state).collect())
}

/// Whether a running task does not do its work, and why as far as its reports say.
fn ailing(app: &Value, task: &Value) -> Option<Ailment> {
    let results = explain::list(&task["healthCheckResults"]);
    if let Some(failed) = results.iter().find(|result| result["alive"] == false) {
        let cause = failed["lastFailureCause"]
            .as_str()
            .unwrap_or("no word of why");
        let times = explain::text(&failed["consecutiveFailures"]);
        return Some(Ailment::Told(format!(
            "its health check fails, {times} times in a row: {cause}"
        )));
    }
    let checks = explain::list(&app["healthChecks"]).len();
    if results.iter().filter(|one| one["alive"] == true).count() < checks {
        return Some(Ailment::Silent);
    }
    let readiness = explain::list(&app["readinessCheckResults"]).iter();
    let mut unready = readiness.filter(|one| one["taskId"] == task["id"] && one["ready"] == false);
    let answer = &unready.next()?["lastResponse"];
    let words = match answer["status"].as_u64() {
        Some(status) => {
            let body = answer["body"].as_str().unwrap_or_default();
            format!("it is not ready: {status} {body}")
        }
        None => "it is not ready; preserveLastResponse would tell its answer".to_owned(),
    };
    Some(Ailment::Told(words.trim_end().to_owned()))
}

/// What the agent of a task says, when it is reached: in the grace period of a check nobody else knows.
async fn of_its_agent(addresses: &Addresses, url: &str, task: &Value) -> Option<String> {
    let told = addresses.agent(url).ok()?.get("/v1/tasks").await.ok()?;
    let mut tasks = explain::list(&told["tasks"]).iter();
    let it = tasks.find(|one| one["id"] == task["id"])?;
    let why = it["ailment"].as_str()?;
    Some(format!(
        "its health check fails in its grace period, which does not count yet: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_fails_or_says_nothing_or_a_task_that_is_not_ready_is_an_ailment() {
        let app = json!({ "healthChecks": [{}], "readinessCheckResults": [
            { "taskId": "c", "ready": false, "lastResponse": { "status": 504, "body": "no answer: refused" } },
        ] });
        let task = |id: &str, results: Value| json!({ "id": id, "healthCheckResults": results });
        let failed =
            json!([{ "alive": false, "consecutiveFailures": 2, "lastFailureCause": "status 500" }]);
        let of = |id: &str, results: Value| ailing(&app, &task(id, results));

        let fails = "its health check fails, 2 times in a row: status 500".to_owned();
        assert_eq!(of("a", failed), Some(Ailment::Told(fails)));
        assert_eq!(of("b", json!([])), Some(Ailment::Silent));
        let unready = "it is not ready: 504 no answer: refused".to_owned();
        assert_eq!(
            of("c", json!([{ "alive": true }])),
            Some(Ailment::Told(unready))
        );
        assert_eq!(of("d", json!([{ "alive": true }])), None);
        let lost = json!({ "state": "TASK_UNREACHABLE", "slaveId": "S1" });
        let away = ailment(
            &json!({ "unreachableStrategy": { "inactiveAfterSeconds": 7 } }),
            &lost,
        );
        let Some(Ailment::Told(words)) = away else {
            panic!("{away:?}")
        };
        assert!(words.contains("S1 is not heard of; another takes its place after 7 s"));
        let rests = json!({ "state": "TASK_STAGING", "localVolumes": [{}] });
        assert_eq!(ailment(&app, &rests), Some(Ailment::Rests));
    }
}
