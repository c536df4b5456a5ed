//! Groups against the state: one task that makes no sense, and none is started (rules as in Mesos' `validation.cpp`).

use std::collections::BTreeSet;

use mete_model::executor::{BadInitLabel, MAX_GROUP_TASKS};
use mete_model::{AgentId, ExecutorId, ExecutorSpec, MB_MILLI, Resources, Role, TaskGroup, TaskId};

use super::{Candidate, TaskError};

/// The least an executor takes (Mesos' `MIN_CPUS` and `MIN_MEM`).
const MIN_CPUS_MILLI: u64 = 10;
/// See [`MIN_CPUS_MILLI`].
const MIN_MEM_MILLI: u64 = 32 * MB_MILLI;

/// Why a group is not started. Each of its tasks is answered with the text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum GroupError {
    #[error("the group has no tasks")]
    Empty,
    #[error("the group has {0} tasks, at most {MAX_GROUP_TASKS} start together")]
    TooMany(usize),
    #[error(
        "executor {executor} asks for {asked}; it needs at least cpus:0.01, mem:32 and some disk"
    )]
    SmallExecutor {
        executor: ExecutorId,
        asked: Resources,
    },
    #[error("executor {0} runs on this agent with another description")]
    OtherExecutor(ExecutorId),
    #[error("task id {0} is in the group twice")]
    Twice(TaskId),
    #[error(transparent)]
    Label(#[from] BadInitLabel),
    #[error("all tasks of the group are to end before the others begin, and there are no others")]
    OnlyInit,
    #[error("its task is refused: {0}")]
    Task(#[from] TaskError),
    #[error("the group asks for more than the offers hold: {}", .0.join(", "))]
    TooMuch(Vec<String>),
}

/// A group about to be started, and what there is for it.
pub(crate) struct GroupCandidate<'a> {
    pub(crate) group: &'a TaskGroup,
    pub(crate) offered_by: &'a AgentId,
    pub(crate) offered_in: &'a Role,
    pub(crate) left: &'a Resources,
    /// Whether the framework has said that it does.
    pub(crate) takes_parts_of_gpus: bool,
    pub(crate) id_in_use: &'a dyn Fn(&TaskId) -> bool,
    /// Its executor, when that is there already.
    pub(crate) running: Option<&'a ExecutorSpec>,
}

/// Checks a group against every rule.
pub(crate) fn check(candidate: &GroupCandidate<'_>) -> Result<(), GroupError> {
    let TaskGroup { executor, tasks } = candidate.group;
    match tasks.len() {
        0 => return Err(GroupError::Empty),
        many if many > MAX_GROUP_TASKS => return Err(GroupError::TooMany(many)),
        _ => {}
    }
    executor_is_fine(executor, candidate.running)?;
    let mut ids = BTreeSet::new();
    let mut init = 0;
    let mut needs = match candidate.running {
        Some(_) => Resources::none(),
        None => executor.resources.clone(),
    };
    for task in tasks {
        if !ids.insert(&task.id) {
            return Err(GroupError::Twice(task.id.clone()));
        }
        init += usize::from(task.is_init()?);
        super::task(&Candidate {
            task,
            offered_by: candidate.offered_by,
            offered_in: candidate.offered_in,
            left: candidate.left,
            takes_parts_of_gpus: candidate.takes_parts_of_gpus,
            id_in_use: (candidate.id_in_use)(&task.id),
            running: candidate.running,
        })?;
        needs.add(&task.resources);
    }
    if init == tasks.len() {
        return Err(GroupError::OnlyInit);
    }
    let shortages = candidate.left.shortages(&needs);
    match shortages.is_empty() {
        true => Ok(()),
        false => Err(GroupError::TooMuch(shortages)),
    }
}

fn executor_is_fine(
    executor: &ExecutorSpec,
    running: Option<&ExecutorSpec>,
) -> Result<(), GroupError> {
    let asked = executor.resources.flat();
    if asked.cpus_milli < MIN_CPUS_MILLI || asked.mem_milli < MIN_MEM_MILLI || asked.disk_milli == 0
    {
        return Err(GroupError::SmallExecutor {
            executor: executor.id.clone(),
            asked: executor.resources.clone(),
        });
    }
    // What was pinned to devices when it started does not make it another.
    let same = |running: &ExecutorSpec| running.original == executor.original;
    if running.is_some_and(|running| !same(running)) {
        return Err(GroupError::OtherExecutor(executor.id.clone()));
    }
    Ok(())
}
