//! What health checks say: an instance gets traffic, or gets none any more.
//!
//! The check that the agent runs is reported with the task, and the agent kills the task when it has failed too often;
//! the others are asked by the framework (`probe.rs`). Either way the instance leaves the healthy-task list as soon as
//! one says that it is unhealthy, before it is killed.

use mete_model::machine::Effects;
use mete_model::{Reason, TaskState, TaskStatus, Timestamp};

use crate::events::Happening;
use crate::orchestrator::{Orchestrator, publish};
use crate::state::instances::{Health, Instance, InstanceId, InstanceState};

/// What one check and all together say of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) check: Option<bool>,
    pub(super) all: Option<bool>,
}

impl Orchestrator {
    /// A task runs, or runs on with another health.
    pub(super) fn heard_running(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        if let InstanceState::Draining { reason, .. } = instance.state {
            if status.healthy == Some(false) {
                self.kill_now(now, &instance.id, reason, out); // it is of no more use to the sessions it has
            }
            return;
        }
        let is_report = is_of_health(status);
        let mut after = instance.clone();
        let check = told_of(instance, status);
        note(&mut after, now, status);
        after.check = status.check.or(instance.check);
        let (before, all) = (known(instance), together(instance, &after, status.healthy));
        let state = InstanceState::Running { healthy: all };
        let is_first = instance.started_at.is_none();
        let readiness = self.first_readiness(instance).filter(|_| is_first);
        let is_new = after.health != instance.health || after.check != instance.check;
        if state != instance.state || is_new {
            self.edit_instance(now, &instance.id, out, |instance| {
                instance.state = state;
                instance.health.clone_from(&after.health);
                instance.check = after.check;
                instance.started_at = instance.started_at.or(Some(now));
                if readiness.is_some() {
                    instance.readiness = readiness;
                }
                if let Some(place) = instance
                    .place
                    .as_mut()
                    .filter(|_| !status.ip_addresses.is_empty())
                {
                    place.ip_addresses.clone_from(&status.ip_addresses);
                }
            });
        }
        if status.healthy == Some(false)
            && is_report
            && let Some(spec) = check.and_then(|at| instance.version.spec.checks().nth(at))
        {
            let failed = Happening::FailedHealthCheck {
                app: instance.app().clone(),
                instance: instance.id.clone(),
                check: spec.clone(),
            };
            publish(now, out, failed);
        }
        let word = |of: &Instance, all| match has_one_word(of) {
            true => all,
            false => check.and_then(|at| of.health_of(at)?.is_alive()),
        };
        let said = |of: &Instance, all| Words {
            check: word(of, all),
            all,
        };
        let (before, after) = (said(instance, before), said(&after, all));
        self.tell_health(now, instance, before, after, out);
    }

    /// Tells subscribers what has changed.
    pub(super) fn tell_health(
        &self,
        now: Timestamp,
        instance: &Instance,
        before: Words,
        after: Words,
        out: &mut Effects<Self>,
    ) {
        if before.check != after.check
            && let Some(alive) = after.check
        {
            let changed = Happening::HealthStatusChanged {
                app: instance.app().clone(),
                instance: instance.id.clone(),
                version: instance.version.version,
                alive,
            };
            publish(now, out, changed);
        }
        if before.all != after.all {
            let changed = Happening::InstanceHealthChanged {
                instance: instance.id.clone(),
                app: instance.app().clone(),
                version: instance.version.version,
                healthy: after.all,
            };
            publish(now, out, changed);
        }
    }

    /// Tells subscribers when a task was killed for its health.
    pub(super) fn tell_unhealthy_kill(
        &self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        if status.healthy != Some(false)
            || !matches!(status.state, TaskState::Killed | TaskState::Failed)
        {
            return;
        }
        let place = instance.place.as_ref();
        let kill = Happening::UnhealthyInstanceKill {
            app: instance.app().clone(),
            task: status.task.clone(),
            instance: instance.id.clone(),
            version: instance.version.version,
            reason: status
                .message
                .clone()
                .unwrap_or_else(|| "its health check failed".to_owned()),
            host: place.map(|place| place.host.clone()).unwrap_or_default(),
            agent: place.map(|place| place.agent.clone()),
        };
        publish(now, out, kill);
    }
}

/// What is known of the health of an instance.
pub(super) fn known(instance: &Instance) -> Option<bool> {
    match instance.state {
        InstanceState::Running { healthy } => healthy,
        InstanceState::Draining { .. } => Some(true),
        InstanceState::Waiting
        | InstanceState::Launching { .. }
        | InstanceState::Staging
        | InstanceState::Starting
        | InstanceState::Unreachable { .. }
        | InstanceState::Killing { .. }
        | InstanceState::Reserved { .. } => None,
    }
}

/// What is known of it from now on, by what its checks said before and say now. `said`: by the agent, whose word alone
/// counts where it runs the only check.
pub(super) fn together(before: &Instance, after: &Instance, said: Option<bool>) -> Option<bool> {
    let known = known(before);
    if has_one_word(after) {
        return said.or(known); // a report that says nothing of it takes nothing back
    }
    if before.is_ending {
        return Some(false);
    }
    after.verdict()
}

/// Whether a report about its task is about all of it: it has one task, and no check but that of its agent.
fn has_one_word(instance: &Instance) -> bool {
    let spec = &instance.version.spec;
    !spec.is_pod() && spec.health_checks.len() < 2
}

/// Which check a report tells of.
fn told_of(instance: &Instance, status: &TaskStatus) -> Option<usize> {
    let spec = &instance.version.spec;
    match InstanceId::of_task(status.task.as_str()) {
        Some((_, Some(container))) => spec.check_of_container(container),
        Some((_, None)) | None => spec.agent_check(),
    }
}

/// Notes what a report says of a check.
pub(super) fn note(instance: &mut Instance, now: Timestamp, status: &TaskStatus) {
    let Some(at) = told_of(instance, status) else {
        return;
    };
    let is_report = is_of_health(status);
    let known = instance.health_of(at).cloned().unwrap_or_default();
    let health = noted(&known, now, status, is_report);
    if health != known {
        put(&mut instance.health, at, health);
    }
}

/// Whether a report is a new word on health. What a reconciliation says has mostly been said before, and so has what stands
/// beside the answer to another question: that is no new failure, but when it is news it is believed, for the report that
/// said it first may have been the one too many that waited.
const fn is_of_health(status: &TaskStatus) -> bool {
    !matches!(
        status.reason,
        Some(Reason::Reconciliation | Reason::TaskCheckStatusUpdated)
    )
}

/// Puts what a check says in its place.
pub(super) fn put(all: &mut Vec<Health>, at: usize, health: Health) {
    if all.len() <= at {
        all.resize_with(at + 1, Health::default);
    }
    if let Some(place) = all.get_mut(at) {
        *place = health;
    }
}

/// It passes, after it did not.
pub(super) fn passed(known: &Health, now: Timestamp) -> Health {
    Health {
        first_success: known.first_success.or(Some(now)),
        last_success: Some(now),
        consecutive_failures: 0,
        ..known.clone()
    }
}

/// It fails once more.
pub(super) fn failed(known: &Health, now: Timestamp, cause: Option<String>) -> Health {
    Health {
        last_failure: Some(now),
        last_failure_cause: cause,
        consecutive_failures: known.consecutive_failures.saturating_add(1),
        ..known.clone()
    }
}

fn noted(known: &Health, now: Timestamp, status: &TaskStatus, is_report: bool) -> Health {
    match status.healthy {
        Some(true) if is_report || known.is_alive() != Some(true) => passed(known, now),
        Some(false) if is_report || known.is_alive() != Some(false) => {
            failed(known, now, status.message.clone())
        }
        Some(_) | None => known.clone(),
    }
}
