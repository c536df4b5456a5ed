//! What a health check says: an instance gets traffic, or gets none any more.
//!
//! The agent runs the check and kills the instance when it has failed too often; here the instance leaves the
//! healthy-task list as soon as it is said to be unhealthy, before it is killed.

use mete_model::machine::Effects;
use mete_model::{Reason, TaskState, TaskStatus, Timestamp};

use crate::events::Happening;
use crate::orchestrator::{Orchestrator, publish};
use crate::state::instances::{Health, Instance, InstanceState};

impl Orchestrator {
    /// A task runs, or runs on with another health.
    pub(super) fn heard_running(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        let before = known_health(instance);
        let healthy = status.healthy.or(before); // a report that says nothing of it takes nothing back
        if let InstanceState::Draining { reason, .. } = instance.state {
            if healthy == Some(false) {
                self.kill_now(now, &instance.id, reason, out); // it is of no more use to the sessions it has
            }
            return;
        }
        // What a reconciliation says has been said before; it is no new failure.
        let is_report = status.reason != Some(Reason::Reconciliation);
        let health = noted(&instance.health, now, status, is_report);
        let state = InstanceState::Running { healthy };
        if state != instance.state || health != instance.health {
            self.edit_instance(now, &instance.id, out, |instance| {
                instance.state = state;
                instance.health = health;
                instance.started_at = instance.started_at.or(Some(now));
                if let Some(place) = instance
                    .place
                    .as_mut()
                    .filter(|_| !status.ip_addresses.is_empty())
                {
                    place.ip_addresses.clone_from(&status.ip_addresses);
                }
            });
        }
        self.tell_health(
            now,
            instance,
            before,
            healthy,
            status.healthy == Some(false) && is_report,
            out,
        );
    }

    fn tell_health(
        &self,
        now: Timestamp,
        instance: &Instance,
        before: Option<bool>,
        healthy: Option<bool>,
        has_failed: bool,
        out: &mut Effects<Self>,
    ) {
        let (app, id, version) = (
            instance.app().clone(),
            instance.id.clone(),
            instance.version.version,
        );
        if has_failed && let Some(check) = instance.version.spec.health_checks.first() {
            let check = check.clone();
            publish(
                now,
                out,
                Happening::FailedHealthCheck {
                    app: app.clone(),
                    instance: id.clone(),
                    check,
                },
            );
        }
        if before == healthy {
            return;
        }
        if let Some(alive) = healthy {
            let (app, instance) = (app.clone(), id.clone());
            publish(
                now,
                out,
                Happening::HealthStatusChanged {
                    app,
                    instance,
                    version,
                    alive,
                },
            );
        }
        publish(
            now,
            out,
            Happening::InstanceHealthChanged {
                instance: id,
                app,
                version,
                healthy,
            },
        );
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

fn known_health(instance: &Instance) -> Option<bool> {
    match instance.state {
        InstanceState::Running { healthy } => healthy,
        InstanceState::Draining { .. } => Some(true),
        InstanceState::Waiting
        | InstanceState::Launching { .. }
        | InstanceState::Staging
        | InstanceState::Unreachable { .. }
        | InstanceState::Killing { .. } => None,
    }
}

fn noted(health: &Health, now: Timestamp, status: &TaskStatus, is_report: bool) -> Health {
    let mut health = health.clone();
    match status.healthy {
        Some(true) if is_report || health.last_success.is_none() => {
            health.first_success = health.first_success.or(Some(now));
            health.last_success = Some(now);
            health.consecutive_failures = 0;
        }
        Some(false) if is_report => {
            health.last_failure = Some(now);
            health.last_failure_cause.clone_from(&status.message);
            health.consecutive_failures = health.consecutive_failures.saturating_add(1);
        }
        Some(_) | None => {}
    }
    health
}
