//! A report about a container of a pod: its instance stands where its containers together do.

use mete_model::machine::Effects;
use mete_model::{TaskState, TaskStatus, Timestamp};

use super::health::{self, Words};
use super::status::status_event;
use crate::orchestrator::{Orchestrator, publish};
use crate::state::containers::{self, Container};
use crate::state::instances::{Instance, InstanceId};

impl Orchestrator {
    pub(super) fn container_reported(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        name: &str,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        let Some(instance) = self.apps.instance(id).cloned() else {
            return;
        };
        let Some(at) = instance.containers.iter().position(|one| one.name == name) else {
            return;
        };
        let known = &instance.containers[at];
        if known.has_ended() {
            return; // What comes late, or once more, changes nothing.
        }
        if is_news(known, status) {
            publish(now, out, status_event(&instance, status));
        }
        let mut after = (*instance).clone();
        after.containers[at].note(now, status);
        let stands = containers::together(&after.containers);
        let early = matches!(stands, TaskState::Staging | TaskState::Starting);
        if early {
            // What its check says is not forgotten until the others run, too.
            health::note(&mut after, now, status);
        }
        if after != *instance {
            let (containers, health) = (after.containers.clone(), after.health.clone());
            self.edit_instance(now, id, out, |instance| {
                instance.containers = containers;
                instance.health = health;
            });
        }
        if early {
            let (before, after) = (word(&instance, name), word(&after, name));
            self.tell_health(now, &instance, before, after, out);
        }
        let Some(instance) = self.apps.instance(id).cloned() else {
            return;
        };
        let status = told(&instance, stands, status);
        self.stands(now, &instance, &status, out);
    }
}

/// What the check of a container says while nothing is said of all.
fn word(instance: &Instance, container: &str) -> Words {
    let check = instance.version.spec.check_of_container(container);
    Words {
        check: check.and_then(|at| instance.health_of(at)?.is_alive()),
        all: None,
    }
}

/// Whether a report tells what subscribers have not heard yet.
fn is_news(known: &Container, status: &TaskStatus) -> bool {
    let is_healthy = status.healthy.or(known.healthy);
    known.state != status.state || known.healthy != is_healthy
}

/// What a report says of the whole instance: once all have ended, what is said of the one it has ended for.
fn told(instance: &Instance, stands: TaskState, status: &TaskStatus) -> TaskStatus {
    let all_ended = instance.containers.iter().all(Container::has_ended);
    let ended_for = containers::worst(&instance.containers).filter(|_| all_ended);
    match ended_for {
        None => TaskStatus {
            state: stands,
            ..status.clone()
        },
        Some(worst) => TaskStatus {
            task: instance.id.task_of(&worst.name),
            state: worst.state,
            message: worst.message.clone(),
            healthy: worst.healthy,
            ..status.clone()
        },
    }
}
