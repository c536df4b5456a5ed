//! Where a task is: its agent.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::client::Addresses;
use crate::table;

/// A task and its agent.
pub(super) struct Found {
    pub(super) task: String,
    pub(super) framework: String,
    /// Where the agent is: `http://host:port`.
    pub(super) url: String,
}

/// The one task whose id begins with `id`, or is `id`; with its framework's id before it, `framework/id`, where several
/// frameworks have one of that name.
pub(super) async fn task(addresses: &Addresses, id: &str) -> Result<Found> {
    let state = addresses.master()?.get("/state").await?;
    let one = match tasks_named(&state, id).as_slice() {
        [] => bail!("no task begins with {id:?}; `mete task list` shows them"),
        [one] => one.clone(),
        several => {
            let names = several.iter().take(5);
            let names: Vec<_> = names
                .map(|one| format!("{}/{}", one.framework, one.task))
                .collect();
            bail!(
                "{} tasks are or begin with {id:?}: {}; say which one, in this form",
                several.len(),
                names.join(", ")
            )
        }
    };
    let url = agents(&state)
        .find(|(agent, _)| agent == &one.agent)
        .map(|(_, url)| url)
        .with_context(|| format!("the agent of {} ({}) is not there", one.task, one.agent))?;
    Ok(Found {
        task: one.task,
        framework: one.framework,
        url,
    })
}

/// The agents of the cluster: id and address.
pub(in crate::commands) fn agents(state: &Value) -> impl Iterator<Item = (String, String)> {
    let agents = state["slaves"].as_array().into_iter().flatten();
    agents.map(|agent| {
        let url = format!("http://{}", table::address(agent));
        (table::cell(&agent["id"]), url)
    })
}

/// A task as the master names it.
#[derive(Clone)]
struct Named {
    task: String,
    framework: String,
    agent: String,
}

/// Tasks whose id begins with `id`. When some are called just so, only those, one of each framework. Those that have ended do
/// not count when another has not.
fn tasks_named(state: &Value, id: &str) -> Vec<Named> {
    let (of, id) = match id.split_once('/') {
        Some((framework, id)) => (Some(framework), id),
        None => (None, id),
    };
    let frameworks = state["frameworks"]
        .as_array()
        .into_iter()
        .chain(state["completed_frameworks"].as_array())
        .flatten();
    let (mut live, mut ended) = (Vec::new(), Vec::new());
    let (mut live_found, mut ended_found) = (Vec::new(), Vec::new());
    for framework in frameworks {
        let mut is_called_so = false;
        let kinds = ["tasks", "unreachable_tasks", "completed_tasks"];
        let tasks = kinds.iter().flat_map(|kind| {
            let tasks = framework[*kind].as_array().into_iter().flatten();
            tasks.map(move |task| (*kind, task))
        });
        for (kind, task) in tasks {
            let name = task["id"].as_str().unwrap_or_default();
            let entry = Named {
                task: name.to_owned(),
                framework: table::cell(&task["framework_id"]),
                agent: table::cell(&task["slave_id"]),
            };
            if of.is_some_and(|of| entry.framework != of) || !name.starts_with(id) {
                continue;
            }
            let is_over = kind == "completed_tasks";
            match (name == id, is_over) {
                (false, false) => live_found.push(entry),
                (false, true) => ended_found.push(entry),
                (true, _) if is_called_so => {}
                (true, false) => live.push(entry),
                (true, true) => ended.push(entry),
            }
            is_called_so |= name == id;
        }
    }
    let mut all = [live, ended, live_found, ended_found].into_iter();
    all.find(|some| !some.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(id: &str) -> Vec<String> {
        let task = |framework: &str, id: &str| json!({"id": id, "framework_id": framework, "slave_id": "S0"});
        let state = json!({ "frameworks": [
            { "tasks": [task("f1", "web"), task("f1", "web-2")],
              "completed_tasks": [task("f1", "web"), task("f1", "web-1"), task("f1", "old-1"), task("f1", "job")] },
            { "tasks": [task("f2", "web"), task("f2", "job")] },
        ]});
        let found = tasks_named(&state, id);
        let text = found
            .iter()
            .map(|one| format!("{}/{}", one.framework, one.task));
        text.collect()
    }

    #[test]
    fn a_task_is_named_by_its_id_its_beginning_or_with_its_framework() {
        assert_eq!(named("web-"), ["f1/web-2"], "the one that runs");
        assert_eq!(named("old"), ["f1/old-1"]);
        assert_eq!(named("web"), ["f1/web", "f2/web"], "nobody says which");
        assert_eq!(named("f2/web"), ["f2/web"]);
        assert_eq!(named("job"), ["f2/job"], "the one that runs");
        assert_eq!(named("f1/job"), ["f1/job"]);
        assert_eq!(named("none"), [""; 0]);
    }
}
