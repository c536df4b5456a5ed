//! Offers and tasks against the state: does this make sense here? (Whether it is well-formed was checked on reading.)
//!
//! The rules for tasks stand in one table, [`TASK_RULES`]; the first that is broken is the reason given (rules as in
//! Mesos' `validation.cpp`).

pub(crate) mod group; // groups: all of it or nothing

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_model::resources::devices::{WHOLE_DEVICE, is_askable};
use mete_model::resources::megabytes::milli_nearest;
use mete_model::{
    AgentId, ExecutorId, ExecutorSpec, FrameworkId, Offer, OfferId, Program, Resources, Role,
    TaskId, TaskLimits, TaskSpec,
};

use crate::state::offers::Offers;

/// Why the offers of an ACCEPT are no good. The tasks are answered with the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OffersError {
    #[error("no offers were named")]
    None,
    #[error("offer {0} is named twice")]
    Twice(OfferId),
    #[error("offer {0} is not valid any more: used, withdrawn or timed out")]
    Stale(OfferId),
    #[error("offer {0} was made to another framework")]
    Foreign(OfferId),
    #[error("offers of {0} and {1} are mixed; all must come from one agent")]
    ManyAgents(AgentId, AgentId),
    #[error("offers in {0} and {1} are mixed; all must be in one role")]
    ManyRoles(Role, Role),
}

/// The offers of an ACCEPT, all of one agent and in one role of this framework, on the table still.
pub(crate) fn offers(
    table: &Offers,
    framework: &FrameworkId,
    named: &[OfferId],
) -> Result<Vec<Arc<Offer>>, OffersError> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<Arc<Offer>> = Vec::with_capacity(named.len());
    for id in named {
        if !seen.insert(id) {
            return Err(OffersError::Twice(id.clone()));
        }
        let offer = table
            .get(id)
            .ok_or_else(|| OffersError::Stale(id.clone()))?;
        if offer.framework != *framework {
            return Err(OffersError::Foreign(id.clone()));
        }
        if let Some(first) = found.first() {
            if first.agent != offer.agent {
                let (one, other) = (first.agent.clone(), offer.agent.clone());
                return Err(OffersError::ManyAgents(one, other));
            }
            if first.role != offer.role {
                let (one, other) = (first.role.clone(), offer.role.clone());
                return Err(OffersError::ManyRoles(one, other));
            }
        }
        found.push(Arc::clone(offer));
    }
    if found.is_empty() {
        return Err(OffersError::None);
    }
    Ok(found)
}

/// Why a task is not started. The framework gets the text as message of a TASK_ERROR.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum TaskError {
    #[error("task id {0} is in use by a task that is not over")]
    IdInUse(TaskId),
    #[error("task {task} names agent {named}, the offers are of agent {offered}")]
    OtherAgent {
        task: TaskId,
        named: AgentId,
        offered: AgentId,
    },
    #[error("task {task} names resources handed out to {named}, the offers are in {offered}")]
    OtherRole {
        task: TaskId,
        named: Role,
        offered: Role,
    },
    #[error("task {0} asks for no resources")]
    NoResources(TaskId),
    #[error("task {task} has a limit of {limit} {name}, below the {asked} it asks for")]
    LimitBelow {
        task: TaskId,
        name: &'static str,
        limit: f64,
        asked: f64,
    },
    #[error("task {task} asks for {gpus} GPUs: {rule}")]
    PartOfGpu {
        task: TaskId,
        gpus: f64,
        rule: &'static str,
    },
    #[error("task {0} has no command")]
    NoCommand(TaskId),
    #[error("executor {0} runs on this agent with another description")]
    OtherExecutor(ExecutorId),
    #[error("task {0} has an executor and asks for persistent volumes; that is not carried yet")]
    VolumeOfExecutor(TaskId),
    #[error("task {task} asks for more than the offers hold: {}", shortages.join(", "))]
    TooMuch {
        task: TaskId,
        shortages: Vec<String>,
    },
}

/// A task about to be started, and what there is for it.
pub(crate) struct Candidate<'a> {
    pub(crate) task: &'a TaskSpec,
    pub(crate) offered_by: &'a AgentId,
    pub(crate) offered_in: &'a Role,
    pub(crate) left: &'a Resources,
    /// Whether the framework has said that it does.
    pub(crate) takes_parts_of_gpus: bool,
    pub(crate) id_in_use: bool,
    /// The executor of the framework's own that it names, when that is there already.
    pub(crate) running: Option<&'a ExecutorSpec>,
}

type Rule = fn(&Candidate<'_>) -> Result<(), TaskError>;

/// In the order in which they are checked.
const TASK_RULES: &[Rule] = &[
    id_is_free,
    agent_is_the_offers,
    role_is_the_offers,
    asks_for_something,
    limits_are_above,
    gpus_are_devices,
    has_a_command,
    executor_is_the_same,
    executor_has_no_volumes,
    fits,
];

/// Checks a task against every rule.
pub(crate) fn task(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    TASK_RULES.iter().try_for_each(|rule| rule(candidate))
}

fn id_is_free(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    if candidate.id_in_use {
        return Err(TaskError::IdInUse(candidate.task.id.clone()));
    }
    Ok(())
}

fn agent_is_the_offers(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    if candidate.task.agent == *candidate.offered_by {
        return Ok(());
    }
    Err(TaskError::OtherAgent {
        task: candidate.task.id.clone(),
        named: candidate.task.agent.clone(),
        offered: candidate.offered_by.clone(),
    })
}

fn role_is_the_offers(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    match &candidate.task.account {
        Some(named) if named != candidate.offered_in => Err(TaskError::OtherRole {
            task: candidate.task.id.clone(),
            named: named.clone(),
            offered: candidate.offered_in.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn asks_for_something(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    if candidate.task.resources.is_empty() {
        return Err(TaskError::NoResources(candidate.task.id.clone()));
    }
    Ok(())
}

/// What is asked for is always the task's.
fn limits_are_above(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    let TaskLimits {
        cpus_milli,
        mem_bytes,
    } = candidate.task.limits;
    if cpus_milli.is_none() && mem_bytes.is_none() {
        return Ok(());
    }
    let asked = candidate.task.resources.flat();
    let mem = mem_bytes.map(|limit| limit.map(milli_nearest));
    let cpus = ("cpus", cpus_milli, asked.cpus_milli);
    let mem = ("mem", mem, asked.mem_milli);
    for (name, limit, asked) in [cpus, mem] {
        if let Some(limit) = limit.filter(|limit| limit.is_below(asked)) {
            return Err(TaskError::LimitBelow {
                task: candidate.task.id.clone(),
                name,
                limit: limit
                    .amount()
                    .map_or(f64::INFINITY, |limit| limit as f64 / 1e3),
                asked: asked as f64 / 1e3,
            });
        }
    }
    Ok(())
}

/// Whole ones, or a part of one for frameworks that know of parts; and out of one reservation, for a device is not shared
/// between roles.
fn gpus_are_devices(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    let asked = &candidate.task.resources;
    let parts = asked.parts().map(|(_, part)| part);
    for one in std::iter::once(asked).chain(parts) {
        let milli = one.gpus_milli;
        let named = one.devices().list();
        let has_piece = named.iter().any(|device| !device.is_whole());
        let rule = if !is_askable(milli) {
            "it is a whole number, or less than one"
        } else if has_piece && named.len() > 1 {
            "devices are named whole, or a part of one"
        } else if !milli.is_multiple_of(u64::from(WHOLE_DEVICE)) && !candidate.takes_parts_of_gpus {
            "they come whole to frameworks without the capability GPU_FRACTIONS"
        } else {
            continue;
        };
        return Err(TaskError::PartOfGpu {
            task: candidate.task.id.clone(),
            gpus: milli as f64 / 1e3,
            rule,
        });
    }
    Ok(())
}

/// Or an executor that knows what to do.
fn has_a_command(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    if candidate.task.executor.is_some() {
        return Ok(());
    }
    let empty = match &candidate.task.command.program {
        Program::Shell(line) => line.trim().is_empty(),
        Program::Exec { path, .. } => path.is_empty(),
        // Only a container with an image gets here with it.
        Program::Image { .. } => false,
    };
    if empty {
        return Err(TaskError::NoCommand(candidate.task.id.clone()));
    }
    Ok(())
}

fn executor_is_the_same(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    let (Some(named), Some(running)) = (&candidate.task.executor, candidate.running) else {
        return Ok(());
    };
    // What was pinned to devices when it started does not make it another.
    if named.original == running.original {
        return Ok(());
    }
    Err(TaskError::OtherExecutor(named.id.clone()))
}

fn executor_has_no_volumes(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    let Some(executor) = &candidate.task.executor else {
        return Ok(());
    };
    let mut all = [&candidate.task.resources, &executor.resources].into_iter();
    if all.any(|resources| resources.volumes().next().is_some()) {
        return Err(TaskError::VolumeOfExecutor(candidate.task.id.clone()));
    }
    Ok(())
}

fn fits(candidate: &Candidate<'_>) -> Result<(), TaskError> {
    let mut needs = candidate.task.resources.clone();
    if let (Some(executor), None) = (&candidate.task.executor, candidate.running) {
        needs.add(&executor.resources);
    }
    let shortages = candidate.left.shortages(&needs);
    if shortages.is_empty() {
        return Ok(());
    }
    Err(TaskError::TooMuch {
        task: candidate.task.id.clone(),
        shortages,
    })
}
