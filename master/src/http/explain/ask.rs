//! Questions out of queries and bodies, and where their answers come from.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use mete_daemon::http_error::HttpError;
use mete_master_core::View;
use mete_model::{AgentId, Capability, Devices, FrameworkId, Ranges, Resources, Role};
use mete_placement::allocator::{Allocator, Moved, WhatIf};
use mete_placement::demand::{self, Shape};
use mete_placement::packing::Policy;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1::ExplainRequest;
use mete_proto::resources_text::parse_resources;
use serde_json::{Value, json};

use super::json;

/// Tasks one question may be about: as many as one DEMAND may state.
const MAX_TASKS: u32 = demand::MAX_COUNT;
/// Names of resources in all kinds of tasks of one question: twice as many as are in kinds that name the usual four. Each
/// stands in the answer up to ten times for a kind that finds no place, in half a kilobyte.
const MAX_NAMES: usize = 8 * demand::MAX_SHAPES;
/// Entries of a list in a question.
const MAX_ENTRIES: usize = demand::MAX_SHAPES;

/// What `GET /explain` is asked.
#[derive(Debug)]
pub(super) enum Question {
    Framework(FrameworkId),
    Role(Role),
    /// Id or name of the machine.
    Agent(String),
    Shape(Option<FrameworkId>, Shape),
}

impl Question {
    /// `framework=`, `role=`, `agent=`, or `shape=` with, if wanted, `framework=` and `role=`, `constraint=` beside it.
    pub(super) fn from_query(query: &str) -> Result<Self, HttpError> {
        let mut named: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            named
                .entry(name.into_owned())
                .or_default()
                .push(value.into_owned());
        }
        let constraints = named.remove("constraint").unwrap_or_default();
        let mut one = |name: &str| match named.remove(name) {
            None => Ok(None),
            Some(mut values) if values.len() == 1 => Ok(values.pop()),
            Some(_) => Err(HttpError::bad_request(format!("{name} is given twice"))),
        };
        let words = ExplainRequest {
            framework_id: one("framework")?.map(|value| mesos::FrameworkId { value }),
            role: one("role")?,
            agent: one("agent")?,
            shape: one("shape")?,
            constraints,
        };
        if let Some(name) = named.keys().next() {
            return Err(HttpError::bad_request(format!(
                "{name:?} is not known; framework, role, agent, shape, constraint are"
            )));
        }
        Self::read(words)
    }

    /// The same words, one by one.
    pub(super) fn read(words: ExplainRequest) -> Result<Self, HttpError> {
        let constraints = words.constraints;
        if words.shape.is_none() && !constraints.is_empty() {
            return Err(HttpError::bad_request(
                "constraint is of use beside shape only",
            ));
        }
        let framework = words.framework_id.map(|id| FrameworkId::new(id.value));
        let framework = framework.transpose().map_err(bad)?;
        let role = words.role.map(|role| Role::new(&role).map_err(bad));
        match (framework, role.transpose()?, words.agent, words.shape) {
            (framework, role, None, Some(text)) => {
                let mut shape = self::shape(&text, 1)?;
                shape.role = role;
                shape.constraints = read_constraints(&constraints)?;
                shape.check().map_err(bad)?;
                Ok(Self::Shape(framework, shape))
            }
            (Some(framework), None, None, None) => Ok(Self::Framework(framework)),
            (None, Some(role), None, None) => Ok(Self::Role(role)),
            (None, None, Some(agent), None) => Ok(Self::Agent(agent)),
            _ => Err(HttpError::bad_request(
                "one of framework, role, agent or shape is to be named",
            )),
        }
    }
}

pub(super) fn explain(
    allocator: &Allocator,
    view: &View,
    question: &Question,
) -> Result<Value, HttpError> {
    match question {
        Question::Framework(id) => {
            let roles = allocator.explain_framework(id);
            let roles = roles.ok_or_else(|| not_known("framework", id.as_str()))?;
            let name = view.frameworks.get(id).map(|known| known.info.name.clone());
            Ok(json!({
                "framework": id.as_str(),
                "name": name,
                "roles": roles.iter().map(json::client).collect::<Vec<_>>(),
            }))
        }
        Question::Role(role) => {
            let explained = allocator.explain_role(role);
            let explained = explained.ok_or_else(|| not_known("role", role.as_str()))?;
            Ok(json::role(&explained))
        }
        Question::Agent(name) => {
            let id = agent_named(view, name)?;
            let explained = allocator.explain_agent(&id);
            let explained = explained.ok_or_else(|| {
                HttpError::not_found(format!("agent {name} is not registered now"))
            })?;
            Ok(json::agent(&explained))
        }
        Question::Shape(framework, shape) => {
            if let Some(id) = framework
                && allocator.explain_framework(id).is_none()
            {
                return Err(not_known("framework", id.as_str()));
            }
            Ok(json::shape(
                &allocator.explain_shape(framework.as_ref(), shape),
            ))
        }
    }
}

/// `{"add": [{"count", "resources", "role", "name", "constraints"}], "drain": ["agent"], "policy": "fgd"}`. What runs on
/// drained agents is placed, too, after what is added.
pub(super) fn what_if(view: &View, body: &Value) -> Result<WhatIf, HttpError> {
    let Some(body) = body.as_object() else {
        return Err(HttpError::bad_request("a question is a JSON object"));
    };
    if let Some(name) = body
        .keys()
        .find(|name| !["add", "drain", "policy"].contains(&name.as_str()))
    {
        return Err(HttpError::bad_request(format!(
            "{name:?} is not known; add, drain, policy are"
        )));
    }
    let mut question = WhatIf {
        policy: match body.get("policy") {
            None | Some(Value::Null) => None,
            Some(name) => Some(policy(name)?),
        },
        ..WhatIf::default()
    };
    for one in list(body.get("add"), "add")? {
        question.add.push(added(one)?);
    }
    for one in list(body.get("drain"), "drain")? {
        let name = one.as_str().ok_or_else(|| {
            HttpError::bad_request(format!("drain: {one} is no name of an agent"))
        })?;
        let id = agent_named(view, name)?;
        // By its id and by its host name it is the same agent.
        if !question.drain.contains(&id) {
            move_what_is_on(view, &id, &mut question.moved);
            question.drain.push(id);
            // At once: with each kind more the next agent takes longer.
            within_bounds(&question)?;
        }
    }
    within_bounds(&question)?;
    Ok(question)
}

/// The lists by themselves are bounded when they are read; what runs on drained agents comes on top.
fn within_bounds(question: &WhatIf) -> Result<(), HttpError> {
    let moved = question.moved.iter().flat_map(|moved| &moved.shapes);
    let all = question.add.iter().chain(moved);
    let tasks = all.clone().map(|shape| u64::from(shape.count)).sum();
    let names = all.clone().map(Shape::names).sum::<usize>();
    for (number, what, most) in [
        (all.count() as u64, "kinds of tasks", MAX_ENTRIES as u64),
        (tasks, "tasks", MAX_TASKS.into()),
        (
            names as u64,
            "names of resources in kinds of tasks",
            MAX_NAMES as u64,
        ),
    ] {
        if number > most {
            let why = format!("{number} {what} are to be placed, at most {most} can be");
            return Err(HttpError::bad_request(why));
        }
    }
    Ok(())
}

fn policy(name: &Value) -> Result<Policy, HttpError> {
    let text = name.as_str().unwrap_or_default();
    text.parse()
        .map_err(|error| HttpError::bad_request(format!("policy {name}: {error}")))
}

fn list<'a>(value: Option<&'a Value>, name: &str) -> Result<&'a [Value], HttpError> {
    match value {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(all)) if all.len() <= MAX_ENTRIES => Ok(all),
        Some(Value::Array(all)) => Err(HttpError::bad_request(format!(
            "{name} has {} entries, at most {MAX_ENTRIES} are allowed",
            all.len()
        ))),
        Some(_) => Err(HttpError::bad_request(format!("{name} is a list"))),
    }
}

fn added(one: &Value) -> Result<Shape, HttpError> {
    const FIELDS: [&str; 5] = ["count", "resources", "role", "name", "constraints"];
    let unknown = one
        .as_object()
        .and_then(|fields| fields.keys().find(|name| !FIELDS.contains(&name.as_str())));
    if let Some(name) = unknown {
        return Err(HttpError::bad_request(format!(
            "{name:?} in {one} is not known; {} are",
            FIELDS.join(", ")
        )));
    }
    let count = match one.get("count") {
        None => 1,
        Some(count) => count
            .as_u64()
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| (1..=MAX_TASKS).contains(count))
            .ok_or_else(|| {
                HttpError::bad_request(format!(
                    "count {count}: a whole number from 1 to {MAX_TASKS}"
                ))
            })?,
    };
    let text = one
        .get("resources")
        .and_then(Value::as_str)
        .ok_or_else(|| {
            HttpError::bad_request(format!("resources of {one}: a text as \"cpus:4;mem:1024\""))
        })?;
    let mut shape = shape(text, count)?;
    shape.name = text_of(one, "name")?.map(str::to_owned);
    if let Some(role) = text_of(one, "role")? {
        shape.role = Some(Role::new(role).map_err(bad)?);
    }
    let constraints = list(one.get("constraints"), "constraints")?;
    let constraints: Vec<String> = constraints
        .iter()
        .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
        .collect();
    shape.constraints = read_constraints(&constraints)?;
    shape.check().map_err(bad)?;
    Ok(shape)
}

/// A field that is a text, if it is there.
fn text_of<'a>(one: &'a Value, name: &str) -> Result<Option<&'a str>, HttpError> {
    match one.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(HttpError::bad_request(format!(
            "{name} {other}: a text is wanted"
        ))),
    }
}

/// `cpus:4;mem:1024`, or with `=` and commas.
fn shape(text: &str, count: u32) -> Result<Shape, HttpError> {
    let text = text.replace('=', ":").replace(',', ";");
    let resources = parse_resources(&text).map_err(bad)?;
    let shape = Shape {
        count,
        ..Shape::new(resources)
    };
    shape.check().map_err(bad)?;
    Ok(shape)
}

/// `rack:LIKE:a.*` each.
fn read_constraints(texts: &[String]) -> Result<Vec<mete_placement::Constraint>, HttpError> {
    let mut patterns = mete_placement::constraints::Patterns::default();
    let mut read = |text: &String| {
        let mut parts = text.splitn(3, ':');
        let (field, operator) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        demand::constraint(field, operator, parts.next(), &mut patterns)
            .map_err(|error| HttpError::bad_request(format!("constraint {text:?}: {error}")))
    };
    texts.iter().map(&mut read).collect()
}

/// An agent by its id or the name of its machine.
fn agent_named(view: &View, name: &str) -> Result<AgentId, HttpError> {
    if let Ok(id) = AgentId::new(name)
        && view.agents.get(&id).is_some()
    {
        return Ok(id);
    }
    let mut found = view
        .agents
        .iter()
        .filter(|(_, agent)| !agent.is_gone() && agent.info.endpoint.hostname == name);
    match (found.next(), found.next()) {
        (Some((id, _)), None) => Ok(id.clone()),
        (Some(_), Some(_)) => Err(HttpError::new(
            StatusCode::CONFLICT,
            format!("several agents are on {name}; name one by its id"),
        )),
        (None, _) => Err(not_known("agent", name)),
    }
}

/// What runs on an agent, executors too, as shapes of its roles, by what its frameworks understand.
fn move_what_is_on(view: &View, agent: &AgentId, moved: &mut Vec<Moved>) {
    for (_, task) in view.tasks.iter() {
        if task.agent == *agent && task.holds_resources() {
            let name = format!("running on {agent}");
            let shape = elsewhere(name, &task.role, &task.spec.resources);
            move_one(view, &task.key.framework, shape, moved);
        }
    }
    for (key, executor) in view.executors.iter().filter(|(key, _)| key.agent == *agent) {
        let name = format!("executor on {agent}");
        let shape = elsewhere(name, &executor.role, &executor.spec.resources);
        move_one(view, &key.framework, shape, moved);
    }
}

/// As much as is in use, wherever it is: of what is reserved for the role if there is any, else of what is nobody's. Ports and
/// devices of the old place say nothing of the new one.
fn elsewhere(name: String, role: &Role, held: &Resources) -> Shape {
    let held = held.flat().into_owned();
    let any_ports = u32::try_from(held.ports.count()).unwrap_or(u32::MAX);
    let gpus_milli = held.gpus_milli;
    let mut resources = held.with_named_devices(Devices::none());
    resources.ports = Ranges::new();
    resources.gpus_milli = gpus_milli;
    Shape {
        name: Some(name),
        role: Some(role.clone()),
        any_ports,
        ..Shape::new(resources)
    }
}

fn move_one(view: &View, framework: &FrameworkId, shape: Shape, moved: &mut Vec<Moved>) {
    if shape.check().is_err() {
        return; // It takes nothing: it fits anywhere.
    }
    let known = view.frameworks.get(framework);
    let known = known.filter(|known| !known.is_nameless());
    // Of a framework that has not come back nothing is known: nothing is held against it.
    let capabilities = known.map_or_else(
        || Capability::ALL.iter().copied().collect(),
        |known| known.info.capabilities.clone(),
    );
    let at = moved
        .iter()
        .position(|one| one.capabilities == capabilities);
    let at = at.unwrap_or_else(|| {
        moved.push(Moved {
            capabilities,
            shapes: Vec::new(),
        });
        moved.len() - 1
    });
    let shapes = &mut moved[at].shapes;
    match shapes.iter_mut().find(|known| known.is_same_kind(&shape)) {
        Some(known) => known.count += 1,
        None => shapes.push(shape),
    }
}

fn not_known(kind: &str, name: &str) -> HttpError {
    HttpError::not_found(format!("{kind} {name} is not known"))
}

fn bad(error: impl std::fmt::Display) -> HttpError {
    HttpError::bad_request(error.to_string())
}
