//! Parts of the state, in the shapes of Mesos: `/slaves`, `/frameworks`, `/tasks`, and `/state-summary`, which counts tasks
//! instead of listing them.

#![expect(
    clippy::disallowed_types,
    reason = "these are looked up in; what is written is sorted first"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use mete_daemon::aside;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http;
use mete_master_core::{Agent, Framework, Task, View};
use mete_model::TaskState;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::parts::Parts;
use super::shapes::{self, AgentShape, RecoveredShape, TaskShape, UnreachableShape};
use super::{agent_shape, framework_shape, recovered, task_shape, unreachable};
use crate::grpc::About;
use crate::http::Pages;
use crate::http::asked::Query;
use crate::sums::Sums;

/// Tasks on one page of `/tasks` unless the reader says how many (as in Mesos).
const TASKS_PER_PAGE: usize = 100;

pub(in crate::http) fn routes() -> Router<Pages> {
    Router::new()
        .route("/slaves", mesos_http::read(slaves))
        .route("/frameworks", mesos_http::read(frameworks))
        .route("/tasks", mesos_http::read(tasks))
        .route("/state-summary", mesos_http::read(summary))
}

type Written = Result<Vec<u8>, serde_json::Error>;

/// Made and written aside.
async fn written(
    pages: Pages,
    write: impl FnOnce(&View, &About) -> Written + Send + 'static,
) -> Result<Response, HttpError> {
    let (view, about) = (pages.handle.view(), pages.about);
    match aside::run(move || write(&view, &about)).await? {
        Ok(body) => Ok(([(CONTENT_TYPE, "application/json")], body).into_response()),
        Err(_) => Err(HttpError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer cannot be written",
        )),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneAgent {
    slave_id: Option<String>,
}

#[derive(Serialize)]
struct AgentsShape<'a> {
    slaves: Vec<AgentShape<'a>>,
    recovered_slaves: Vec<RecoveredShape<'a>>,
    unreachable_agents: Vec<UnreachableShape<'a>>,
}

async fn slaves(
    State(pages): State<Pages>,
    Query(asked): Query<OneAgent>,
) -> Result<Response, HttpError> {
    let write = move |view: &View, _: &About| {
        let sums = Sums::of(view);
        let is_meant = |agent: &&Agent| {
            let id = asked.slave_id.as_deref();
            id.is_none_or(|id| id == agent.id.as_str())
        };
        let meant: Vec<&Agent> = view
            .agents
            .values()
            .map(Arc::as_ref)
            .filter(is_meant)
            .collect();
        let here = meant
            .iter()
            .filter(|agent| agent.is_admitted())
            .map(|agent| {
                let mut one = agent_shape(agent, &sums);
                let used = sums.used_on(&agent.id).to_endpoints();
                let offered = sums.offered_on(&agent.id).to_endpoints();
                one.used_resources_full = Some(used.iter().map(shapes::message).collect());
                one.offered_resources_full = Some(offered.iter().map(shapes::message).collect());
                one
            });
        let shape = AgentsShape {
            slaves: here.collect(),
            recovered_slaves: recovered(meant.iter().copied()),
            unreachable_agents: unreachable(meant.iter().copied()),
        };
        serde_json::to_vec(&shape)
    };
    written(pages, write).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OneFramework {
    framework_id: Option<String>,
}

async fn frameworks(
    State(pages): State<Pages>,
    Query(asked): Query<OneFramework>,
) -> Result<Response, HttpError> {
    let write = move |view: &View, _: &About| {
        let sums = Sums::of(view);
        let id = asked.framework_id.as_deref();
        let is_meant = |framework: &Framework| id.is_none_or(|id| id == framework.id.as_str());
        let mut parts = Parts::new(&sums);
        parts.text("{");
        super::frameworks(&mut parts, view, is_meant)?;
        parts.text(",\"unregistered_frameworks\":[]}");
        parts.write()
    };
    written(pages, write).await
}

/// As in Mesos, `limit`, `offset` and `order` that make no sense are as if nothing was said.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SomeTasks {
    limit: Option<String>,
    offset: Option<String>,
    /// By the time of the first report: `asc`, or the latest first.
    order: Option<String>,
    framework_id: Option<String>,
    task_id: Option<String>,
}

impl SomeTasks {
    fn limit(&self) -> usize {
        count(self.limit.as_deref()).unwrap_or(TASKS_PER_PAGE)
    }

    fn offset(&self) -> usize {
        count(self.offset.as_deref()).unwrap_or(0)
    }

    fn is_oldest_first(&self) -> bool {
        self.order.as_deref() == Some("asc")
    }
}

/// A number of tasks; a negative one is more than there are (Mesos' own tools ask for `limit=-1`).
fn count(said: Option<&str>) -> Option<usize> {
    let said = said?.trim();
    match said.strip_prefix('-') {
        Some(below) => below.parse::<usize>().ok().map(|_| usize::MAX),
        None => said.parse().ok(),
    }
}

#[derive(Serialize)]
struct TasksShape<'a> {
    tasks: Vec<TaskShape<'a>>,
}

async fn tasks(
    State(pages): State<Pages>,
    Query(asked): Query<SomeTasks>,
) -> Result<Response, HttpError> {
    let write = move |view: &View, _: &About| {
        let is_meant = |task: &&Arc<Task>| {
            let (framework, id) = (asked.framework_id.as_deref(), asked.task_id.as_deref());
            framework.is_none_or(|framework| framework == task.key.framework.as_str())
                && id.is_none_or(|id| id == task.key.task.as_str())
        };
        let all = view.tasks.values().chain(view.ended_tasks.values());
        let mut all: Vec<&Arc<Task>> = all.filter(is_meant).collect();
        let began = |task: &Arc<Task>| task.reports.first().map(|report| report.timestamp);
        match asked.is_oldest_first() {
            true => all.sort_by_key(|task| began(task)),
            false => all.sort_by_key(|task| Reverse(began(task))),
        }
        let page = all.into_iter().skip(asked.offset()).take(asked.limit());
        let tasks = page.map(|task| {
            let framework = view.frameworks.get(&task.key.framework);
            task_shape(task, framework.map_or("", |one| &one.info.user))
        });
        serde_json::to_vec(&TasksShape {
            tasks: tasks.collect(),
        })
    };
    written(pages, write).await
}

/// How many tasks there are in each state, and who they have to do with.
#[derive(Default)]
struct Tally<'a> {
    states: BTreeMap<TaskState, usize>,
    others: HashSet<&'a str>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, state: TaskState, other: &'a str) {
        *self.states.entry(state).or_default() += 1;
        self.others.insert(other);
    }
}

async fn summary(State(pages): State<Pages>) -> Result<Response, HttpError> {
    let write = |view: &View, about: &About| {
        let sums = Sums::of(view);
        let (mut on, mut of) = (HashMap::new(), HashMap::new());
        for task in view.tasks.values().chain(view.ended_tasks.values()) {
            let (agent, framework) = (&task.agent, &task.key.framework);
            let tally: &mut Tally<'_> = on.entry(agent).or_default();
            tally.add(task.state, framework.as_str());
            let tally: &mut Tally<'_> = of.entry(framework).or_default();
            tally.add(task.state, agent.as_str());
        }
        let nothing = Tally::default();
        let mut parts = Parts::new(&sums);
        parts.open(&json!({ "hostname": about.hostname, "cluster": about.cluster }))?;
        parts.text(",\"slaves\":[");
        let admitted = view.agents.values().filter(|agent| agent.is_admitted());
        for (at, agent) in admitted.enumerate() {
            parts.text(if at > 0 { "," } else { "" });
            let tally = on.get(&agent.id).unwrap_or(&nothing);
            counted(
                &mut parts,
                &agent_shape(agent, &sums),
                tally,
                "framework_ids",
            )?;
        }
        parts.text("],\"frameworks\":[");
        let living = view.frameworks.values().filter(|one| !one.is_completed());
        for (at, framework) in living.enumerate() {
            parts.text(if at > 0 { "," } else { "" });
            let tally = of.get(&framework.id).unwrap_or(&nothing);
            counted(
                &mut parts,
                &framework_shape(framework, &sums),
                tally,
                "slave_ids",
            )?;
        }
        parts.text("]}");
        parts.write()
    };
    written(pages, write).await
}

/// A shape with the numbers of its tasks, instead of the tasks. It is written as it is: there may be ten thousand.
fn counted(
    parts: &mut Parts<'_>,
    shape: &impl Serialize,
    tally: &Tally<'_>,
    others: &str,
) -> Result<(), serde_json::Error> {
    parts.open(shape)?;
    for state in TaskState::ALL {
        let count = tally.states.get(&state).copied().unwrap_or_default();
        parts.text(&format!(",\"{}\":{count}", state.as_str()));
    }
    let sorted: BTreeSet<&str> = tally.others.iter().copied().collect();
    parts.text(&format!(",\"{others}\":"));
    parts.shape(&sorted)?;
    parts.text("}");
    Ok(())
}
