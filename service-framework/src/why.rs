//! What the master says of apps that wait (docs/api/explain.md).
//!
//! Asked only when somebody wants to know: one question at a time for all apps, its answer good for two seconds. A master
//! that does not answer is not asked more often than that either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_framework_sdk::{Connection, FrameworkId, explain};
use mete_service_framework_core::View;
use mete_service_framework_core::state::launch_queue::Reject;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

/// An answer is good for so long: what waits for offers waits for seconds at least.
const FRESH: Duration = Duration::from_secs(2);
/// A master that takes longer is not waited for: the queue is shown without what it would say.
const PATIENCE: Duration = Duration::from_secs(1);

/// For each reason how many agents it holds for, in the order of [`Reject::ALL`].
pub(crate) type Counts = [u64; Reject::ALL.len()];

/// What the master says of one app.
#[derive(Debug)]
pub(crate) struct Told {
    /// Agents that a reason of the app itself stands against, by the first of the funnel.
    pub(crate) declined: Counts,
    /// All agents it says something of.
    pub(crate) agents: u64,
    /// `role`, `share`, `reasons` of the framework there, and `shape` with everything about the app.
    pub(crate) whole: Value,
}

/// By the id of the app.
pub(crate) type Answers = BTreeMap<String, Told>;

/// The last answers, and when they came.
type Last = (Instant, Arc<Answers>);

/// Asks the master, and remembers what it said.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    connection: Connection,
    last: Arc<Mutex<Option<Last>>>,
}

impl Why {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            last: Arc::default(),
        }
    }

    /// What the master says of all apps that wait; nothing when there is none that answers.
    pub(crate) async fn of(&self, view: &View) -> Arc<Answers> {
        let Some(framework) = view.framework.as_ref().filter(|_| view.connected) else {
            return Arc::default();
        };
        // Held while the master is asked: whoever comes meanwhile gets the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, answers)) = &*last
            && at.elapsed() < FRESH
        {
            return Arc::clone(answers);
        }
        let answers = Arc::new(self.ask(framework).await);
        *last = Some((Instant::now(), Arc::clone(&answers)));
        answers
    }

    async fn ask(&self, framework: &FrameworkId) -> Answers {
        match explain::framework(&self.connection, framework, PATIENCE).await {
            Ok(text) => read(&serde_json::from_str(&text).unwrap_or_default()),
            Err(error) => {
                debug!(%error, "the master does not say why apps wait");
                Answers::new()
            }
        }
    }
}

/// Takes an answer apart; what is not understood is left out.
fn read(answer: &Value) -> Answers {
    let mut answers = Answers::new();
    for role in list(&answer["roles"]) {
        for shape in list(&role["shapes"]) {
            if let Some(app) = shape["name"].as_str() {
                answers.insert(app.to_owned(), told(role, shape));
            }
        }
    }
    answers
}

fn told(role: &Value, shape: &Value) -> Told {
    let mut told = Told {
        declined: Counts::default(),
        agents: shape["fits_on"].as_u64().unwrap_or(0),
        whole: json!({
            "role": role["role"],
            "share": role["share"],
            "reasons": role["reasons"],
            "shape": shape,
        }),
    };
    for group in list(&shape["agents"]) {
        let count = group["count"].as_u64().unwrap_or(0);
        if group["reason"]["code"] != "FITS" {
            told.agents = told.agents.saturating_add(count);
        }
        if let Some(reject) = reject(&group["reason"])
            && let Some(at) = Reject::ALL.iter().position(|one| *one == reject)
        {
            told.declined[at] = told.declined[at].saturating_add(count);
        }
    }
    told
}

/// The nearest of Marathon's names; `None` where the app itself is not what is wrong: declined, on offer to others.
fn reject(reason: &Value) -> Option<Reject> {
    let reject = match reason["code"].as_str()? {
        "RESERVED_FOR" | "LIMIT_REACHED" | "HEADROOM_KEPT" => Reject::UnfulfilledRole,
        "CONSTRAINT_NOT_MET" | "MAX_PER_AGENT" | "OTHER_REGION" | "OFFER_CONSTRAINT" => {
            Reject::UnfulfilledConstraint
        }
        "AGENT_DRAINING" | "AGENT_DEACTIVATED" => Reject::AgentMaintenance,
        "HAS_GPUS" => Reject::DeclinedScarceResources,
        "TOO_SMALL" => list(&reason["short"]).iter().map(too_little).min()?,
        _ => return None,
    };
    Some(reject)
}

fn too_little(short: &Value) -> Reject {
    match short["resource"].as_str() {
        Some("cpus") => Reject::InsufficientCpus,
        Some("mem") => Reject::InsufficientMemory,
        Some("disk") => Reject::InsufficientDisk,
        Some("gpus") => Reject::InsufficientGpus,
        Some("ports") => Reject::InsufficientPorts,
        _ => Reject::DeclinedScarceResources,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_count_for_the_first_reason_of_the_funnel() {
        let short = |names: &[&str]| {
            let short: Vec<_> = names
                .iter()
                .map(|name| json!({ "resource": name }))
                .collect();
            json!({ "code": "TOO_SMALL", "short": short })
        };
        let answer = json!({ "roles": [{ "role": "*", "share": 0.5, "reasons": [], "shapes": [{
            "name": "/web",
            "fits_on": 0,
            "agents": [
                { "reason": short(&["mem", "cpus"]), "count": 3 },
                { "reason": short(&["mem"]), "count": 2 },
                { "reason": { "code": "CONSTRAINT_NOT_MET" }, "count": 4 },
                { "reason": { "code": "ON_OFFER" }, "count": 1 },
                { "reason": { "code": "one of later" }, "count": 1 },
                { "reason": 7 },
            ],
        }] }] });

        let answers = read(&answer);

        let web = &answers["/web"];
        let declined = Reject::ALL.into_iter().zip(web.declined);
        let declined: Vec<_> = declined.filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            declined,
            [
                (Reject::UnfulfilledConstraint, 4),
                (Reject::InsufficientCpus, 3),
                (Reject::InsufficientMemory, 2),
            ]
        );
        assert_eq!(web.agents, 11);
        assert_eq!(web.whole["share"], 0.5);
    }

    #[test]
    fn an_answer_that_makes_no_sense_says_nothing() {
        for answer in [json!(null), json!([]), json!({ "roles": 1 })] {
            assert!(read(&answer).is_empty());
        }
    }
}
