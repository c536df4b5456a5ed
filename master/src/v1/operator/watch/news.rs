//! What has happened between two views.

use std::sync::Arc;

use mete_master_core::{Agent, Framework, Report, Task, View};
use mete_model::TaskState;
use mete_proto::mesos::v1 as wire;
use wire::master::{Event, event};

use super::bare;
use crate::sums::Sums;
use crate::v1::operator::{state, tasks as told};

/// What has happened, agents first: a task is on an agent that was told, of a framework that was told.
pub(super) fn between(before: &View, now: &View) -> Vec<Event> {
    let mut events = Vec::new();
    agents(before, now, &mut events);
    frameworks(before, now, &mut events);
    tasks(before, now, &mut events);
    agents_removed(before, now, &mut events);
    frameworks_removed(before, now, &mut events);
    events
}

fn agents(before: &View, now: &View, events: &mut Vec<Event>) {
    let changed = now.agents.changes(&before.agents, Arc::ptr_eq);
    for (_, was, is) in changed {
        let Some(is) = is.filter(|one| one.is_admitted()) else {
            continue;
        };
        if was.is_none_or(|one| !one.is_admitted()) {
            let agent = state::one_agent(is, &Sums::default());
            events.push(Event {
                agent_added: Some(event::AgentAdded { agent }),
                ..bare(event::Type::AgentAdded)
            });
        }
    }
}

/// After its tasks: they are over by it. One that cannot be reached, or was marked gone, is not removed (as in Mesos).
fn agents_removed(before: &View, now: &View, events: &mut Vec<Event>) {
    for (id, was, is) in now.agents.changes(&before.agents, Arc::ptr_eq) {
        let was_there = was.is_some_and(|one| one.is_admitted());
        if was_there && is.is_none_or(|one| is_down(now, one)) {
            let agent_id = id.into();
            events.push(Event {
                agent_removed: Some(event::AgentRemoved { agent_id }),
                ..bare(event::Type::AgentRemoved)
            });
        }
    }
}

/// Whether it was taken out with its machine.
fn is_down(view: &View, agent: &Agent) -> bool {
    let is_out = !agent.is_admitted() && !agent.is_gone();
    is_out && view.schedule.down_machine(&agent.info.endpoint).is_some()
}

fn frameworks(before: &View, now: &View, events: &mut Vec<Event>) {
    for (_, was, is) in now.frameworks.changes(&before.frameworks, Arc::ptr_eq) {
        let Some(is) = is.filter(|one| !one.is_completed()) else {
            continue;
        };
        let told = || state::one_framework(is, &Sums::default());
        match was.filter(|one| !one.is_completed()) {
            None => events.push(Event {
                framework_added: Some(event::FrameworkAdded { framework: told() }),
                ..bare(event::Type::FrameworkAdded)
            }),
            Some(was) if says_otherwise(was, is) => events.push(Event {
                framework_updated: Some(event::FrameworkUpdated { framework: told() }),
                ..bare(event::Type::FrameworkUpdated)
            }),
            Some(_) => {}
        }
    }
}

/// Demand and what is suppressed are between a framework and the allocator.
fn says_otherwise(was: &Framework, is: &Framework) -> bool {
    was.info != is.info || was.life != is.life || was.reregistered_at != is.reregistered_at
}

/// After its tasks: they are over by it.
fn frameworks_removed(before: &View, now: &View, events: &mut Vec<Event>) {
    for (_, was, is) in now.frameworks.changes(&before.frameworks, Arc::ptr_eq) {
        let is_over = is.is_none_or(|one| one.is_completed());
        let Some(was) = was.filter(|one| is_over && !one.is_completed()) else {
            continue;
        };
        let framework_info = state::framework_info(was);
        events.push(Event {
            framework_removed: Some(event::FrameworkRemoved { framework_info }),
            ..bare(event::Type::FrameworkRemoved)
        });
    }
}

fn tasks(before: &View, now: &View, events: &mut Vec<Event>) {
    for (_, was, is) in now.tasks.changes(&before.tasks, Arc::ptr_eq) {
        let Some(is) = is else {
            continue; // It is over: see below.
        };
        // One whose agent is heard of again comes back with it (as in Mesos).
        let was = was.filter(|was| !is_back(was, is));
        match was {
            Some(was) => updates(&was.reports, is, events),
            None => events.push(Event {
                task_added: Some(event::TaskAdded {
                    task: told::one(now, is),
                }),
                ..bare(event::Type::TaskAdded)
            }),
        }
    }
    for (_, _, over) in now.ended_tasks.changes(&before.ended_tasks, Arc::ptr_eq) {
        let Some(over) = over else {
            continue;
        };
        let was = before.tasks.get(&over.key);
        updates(was.map_or(&[], |was| &was.reports), over, events);
    }
}

fn is_back(was: &Task, is: &Task) -> bool {
    was.state == TaskState::Unreachable && is.state != TaskState::Unreachable
}

/// Each report that was not there before.
fn updates(before: &[Report], task: &Task, events: &mut Vec<Event>) {
    let state = wire::TaskState::from(task.state).into();
    let news = task.reports.iter().filter(|one| !before.contains(one));
    events.extend(news.map(|report| Event {
        task_updated: Some(event::TaskUpdated {
            framework_id: (&task.key.framework).into(),
            status: (&task.told(report)).into(),
            state,
        }),
        ..bare(event::Type::TaskUpdated)
    }));
}
