//! Which task people mean: the one of that id here, and of that framework where several have tasks of one id.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_agent_core::{ExecutorPhase, Phase, Task, View, Within};
use mete_model::{AgentId, ContainerId, TaskId, TaskKey};

use crate::places::within;

/// Ids that are not ours may be of any length; so much of them is repeated.
const SHOWN_CHARACTERS: usize = 200;

/// Why it is not known which task is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameError {
    /// There is none.
    #[error("there is no task {0:?} on this agent")]
    Unknown(String),
    /// It has not begun, or has ended.
    #[error("task {0} does not run")]
    NotRunning(String),
    /// There are several.
    #[error("several frameworks have a task {task}: {frameworks}; say which one is meant")]
    Several {
        /// The id.
        task: String,
        /// Their ids.
        frameworks: String,
    },
}

/// One run of a task, over or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) key: TaskKey,
    pub(crate) container: ContainerId,
    pub(crate) agent: AgentId,
    /// The sandbox of the executor that its own lies in, when it came in a group.
    pub(crate) within: Option<Within>,
}

/// The running task that is meant.
///
/// # Errors
/// [`NameError`].
pub(crate) fn running(
    view: &View,
    task: &str,
    framework: Option<&str>,
) -> Result<Arc<Task>, NameError> {
    let live = view.tasks.values().filter(|one| one.is_live());
    let live: Vec<&Arc<Task>> = live
        .filter(|one| is_meant(&one.key, task, framework))
        .collect();
    let one = one_of(&live, task, |one| &one.key)?;
    if_it_runs(one)
}

/// What runs in a container: a task, or an executor of its framework's own under the name that its folder has.
///
/// # Errors
/// [`NameError`].
pub(crate) fn running_in(view: &View, container: &str) -> Result<Run, NameError> {
    let unknown = || NameError::Unknown(container.chars().take(SHOWN_CHARACTERS).collect());
    let mut live = view.tasks.values().filter(|one| one.is_live());
    if let Some(task) = live.find(|one| one.container.as_str() == container) {
        let task = if_it_runs(task)?;
        return Ok(Run {
            key: task.key.clone(),
            container: task.container.clone(),
            agent: task.agent.clone(),
            within: within(&task, view),
        });
    }
    let mut executors = view.custom_executors.values();
    let executor = executors.find(|one| one.container.as_str() == container);
    let executor = executor.ok_or_else(unknown)?;
    if executor.phase == ExecutorPhase::Starting {
        return Err(NameError::NotRunning(executor.id().to_string()));
    }
    Ok(Run {
        key: TaskKey {
            framework: executor.key.framework.clone(),
            task: TaskId::new(executor.id().as_str()).map_err(|_| unknown())?,
        },
        container: executor.container.clone(),
        agent: executor.agent.clone(),
        within: None,
    })
}

/// Whether a run still goes on.
pub(crate) fn goes_on(view: &View, run: &Run) -> bool {
    let task = view.tasks.get(&run.key);
    let mut executors = view.custom_executors.values();
    task.is_some_and(|task| task.container == run.container && task.is_live())
        || executors.any(|one| one.container == run.container)
}

fn if_it_runs(task: &Arc<Task>) -> Result<Arc<Task>, NameError> {
    match task.phase {
        Phase::Running | Phase::Killing(_) => Ok(Arc::clone(task)),
        Phase::Accepted | Phase::Starting | Phase::Delegated | Phase::Ended { .. } => {
            Err(NameError::NotRunning(task.key.task.to_string()))
        }
    }
}

/// The newest run of the task that is meant, or the one in `container`, as long as its sandbox is kept.
///
/// # Errors
/// [`NameError`].
pub(crate) fn newest_run(
    view: &View,
    task: &str,
    framework: Option<&str>,
    container: Option<&str>,
) -> Result<Run, NameError> {
    let live = view
        .tasks
        .values()
        .filter(|one| one.is_live())
        .map(|one| Run {
            key: one.key.clone(),
            container: one.container.clone(),
            agent: one.agent.clone(),
            within: within(one, view),
        });
    let mut kept: Vec<_> = view.sandboxes.values().collect();
    kept.sort_unstable_by_key(|one| std::cmp::Reverse(one.ended_at));
    let kept = kept.into_iter().map(|one| Run {
        key: one.key.clone(),
        container: one.container.clone(),
        agent: one.agent.clone(),
        within: one.within.clone(),
    });
    let mut seen = BTreeSet::new();
    let newest: Vec<Run> = live
        .chain(kept)
        .filter(|run| container.is_none_or(|id| run.container.as_str() == id))
        .filter(|run| is_meant(&run.key, task, framework) && seen.insert(run.key.clone()))
        .collect();
    one_of(&newest, task, |run| &run.key).cloned()
}

fn is_meant(key: &TaskKey, task: &str, framework: Option<&str>) -> bool {
    key.task.as_str() == task && framework.is_none_or(|id| key.framework.as_str() == id)
}

fn one_of<'a, T>(
    found: &'a [T],
    task: &str,
    key: impl Fn(&T) -> &TaskKey,
) -> Result<&'a T, NameError> {
    match found {
        [] => {
            let shown = task.chars().take(SHOWN_CHARACTERS).collect();
            Err(NameError::Unknown(shown))
        }
        [one] => Ok(one),
        several => {
            let ids: Vec<&str> = several
                .iter()
                .map(|one| key(one).framework.as_str())
                .collect();
            Err(NameError::Several {
                task: task.to_owned(),
                frameworks: ids.join(", "),
            })
        }
    }
}
