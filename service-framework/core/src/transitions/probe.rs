//! The framework asks instances itself, and hears what they answer.
//!
//! Marathon's rules: while its grace period lasts and before its first success an instance is not blamed for what it
//! fails; one that has failed as often as its check allows is killed when it fails once more. What is known of it stands
//! until an answer says otherwise, also over a restart.

use mete_model::machine::Effects;
use mete_model::{TaskState, Timestamp};

use super::health::{self, Words};
use crate::effects::Action;
use crate::events::Happening;
use crate::orchestrator::{Orchestrator, publish};
use crate::probe::{self, Answer, Check, Meaning};
use crate::spec::app::HealthCheckSpec;
use crate::state::apps::LastFailure;
use crate::state::instances::{Health, Instance, InstanceId, InstanceState, KillReason};
use crate::state::probes;

impl Orchestrator {
    /// Asks what is due.
    pub(super) fn ask_instances(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for (id, check) in self.probes.take_due(now) {
            let instance = self.apps.instance(&id);
            match instance.and_then(|instance| probe::question(instance, check)) {
                Some(probe) => out.act.push(Action::Probe(probe)),
                None => {
                    let why = "no address is known at which it could be asked".to_owned();
                    self.probed(now, &id, check, Answer::None(why), out);
                }
            }
        }
    }

    /// An instance has answered, or has not.
    pub(crate) fn probed(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        check: Check,
        answer: Answer,
        out: &mut Effects<Self>,
    ) {
        if !self.probes.is_asked(id, check) {
            return; // It runs no more, or was away meanwhile and is asked anew.
        }
        let Some(instance) = self.apps.instance(id).cloned() else {
            return;
        };
        let Some(every) = probe::interval(&instance, check) else {
            return;
        };
        let again = probes::next(now + every / 2, id, check, every);
        self.probes.put_off(id, check, again);
        match check {
            Check::Health(at) => self.health_answered(now, &instance, at, answer, out),
            Check::Readiness => self.readiness_answered(now, &instance, answer, out),
        }
    }

    fn health_answered(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        at: usize,
        answer: Answer,
        out: &mut Effects<Self>,
    ) {
        let Some(spec) = instance.version.spec.health_checks.get(at) else {
            return;
        };
        match probe::meaning(spec, answer) {
            Meaning::Ignored => {}
            Meaning::Passed => self.passed(now, instance, at, out),
            Meaning::Failed(cause) => self.failed(now, instance, at, spec, cause, out),
        }
    }

    /// Nothing is stored, and nobody hears, of one more success.
    fn passed(&mut self, now: Timestamp, instance: &Instance, at: usize, out: &mut Effects<Self>) {
        let known = instance.health_of(at).cloned().unwrap_or_default();
        if known.is_alive() != Some(true) {
            self.note_health(now, instance, at, health::passed(&known, now), out);
        }
    }

    fn failed(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        at: usize,
        spec: &HealthCheckSpec,
        cause: String,
        out: &mut Effects<Self>,
    ) {
        let told = Happening::FailedHealthCheck {
            app: instance.app().clone(),
            instance: instance.id.clone(),
            check: spec.clone(),
        };
        publish(now, out, told);
        let known = instance.health_of(at).cloned().unwrap_or_default();
        let in_grace = instance
            .started_at
            .is_some_and(|started| now < started + spec.grace_period);
        if known.first_success.is_none() && in_grace {
            return;
        }
        let is_too_often = spec.max_consecutive_failures > 0
            && known.consecutive_failures >= spec.max_consecutive_failures;
        let failed = health::failed(&known, now, Some(cause.clone()));
        self.note_health(now, instance, at, failed, out);
        if is_too_often {
            self.kill_unhealthy(now, instance, cause, out);
        }
    }

    fn note_health(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        at: usize,
        health: Health,
        out: &mut Effects<Self>,
    ) {
        let before = Words {
            check: instance.health_of(at).and_then(Health::is_alive),
            all: health::known(instance),
        };
        let mut after = instance.clone();
        health::put(&mut after.health, at, health);
        let all = health::together(instance, &after, None);
        let words = Words {
            check: after.health_of(at).and_then(Health::is_alive),
            all,
        };
        self.edit_instance(now, &instance.id, out, |instance| {
            instance.state = InstanceState::Running { healthy: all };
            instance.health = after.health;
        });
        self.tell_health(now, instance, before, words, out);
    }

    fn kill_unhealthy(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        cause: String,
        out: &mut Effects<Self>,
    ) {
        let (app, task) = (instance.app().clone(), instance.task());
        let place = instance.place.as_ref();
        let host = place.map(|place| place.host.clone()).unwrap_or_default();
        let agent = place.map(|place| place.agent.clone());
        let failure = LastFailure {
            task: task.clone(),
            state: TaskState::Killed,
            message: format!("it was killed because its health check failed: {cause}"),
            host: host.clone(),
            agent: agent.clone(),
            version: instance.version.version,
            timestamp: now,
            started_at: instance.started_at.or(instance.staged_at),
        };
        let kill = Happening::UnhealthyInstanceKill {
            app: app.clone(),
            task,
            instance: instance.id.clone(),
            version: instance.version.version,
            reason: cause,
            host,
            agent,
        };
        publish(now, out, kill);
        self.keep_failure(&app, failure, out);
        self.kill_now(now, &instance.id, KillReason::Unhealthy, out);
    }
}
