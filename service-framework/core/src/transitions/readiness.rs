//! Instances that a deployment has started are ready when they say so.
//!
//! Asked for from the moment an instance runs until it has said once that it is ready, or until no deployment holds its
//! app any more. Until then it counts as one that does not do its work: it gets no traffic, and nothing is replaced by it.

use std::sync::Arc;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use crate::orchestrator::Orchestrator;
use crate::probe::{Answer, Response};
use crate::spec::app::AppId;
use crate::state::instances::{Instance, InstanceId, Readiness};

/// Gateway Timeout.
const NO_ANSWER: u16 = 504;

fn no_answer(why: &str) -> Response {
    Response {
        status: NO_ANSWER,
        content_type: "text/plain".to_owned(),
        body: format!("no answer: {why}"),
    }
}

impl Orchestrator {
    /// What is known of the readiness of an instance that has just begun to run; `None` when it is not asked for.
    pub(super) fn first_readiness(&self, instance: &Instance) -> Option<Readiness> {
        let is_asked = instance.version.spec.readiness_check.is_some()
            && self.deployments.lock(instance.app());
        is_asked.then(Readiness::default)
    }

    pub(super) fn readiness_answered(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        answer: Answer,
        out: &mut Effects<Self>,
    ) {
        let Some(check) = &instance.version.spec.readiness_check else {
            return;
        };
        let (status, response) = match answer {
            Answer::Status(status) => (Some(status), None),
            Answer::Response(response) => (Some(response.status), Some(response)),
            // What nobody answers stands in Marathon's answers as one that came from a gateway.
            Answer::None(why) => (None, Some(no_answer(&why))),
            Answer::Connected => (None, None),
        };
        let is_ready = status.is_some_and(|status| check.statuses.contains(&status));
        let known = Some(Readiness {
            is_ready: Some(is_ready),
            last_response: response
                .filter(|_| check.keeps_response)
                .map(Arc::<Response>::new),
        });
        if known != instance.readiness {
            self.edit_instance(now, &instance.id, out, |instance| {
                instance.readiness = known;
            });
        }
    }

    /// Nobody is asked any more whether it is ready, when no deployment holds the app.
    pub(super) fn forget_readiness(
        &mut self,
        now: Timestamp,
        app: &AppId,
        out: &mut Effects<Self>,
    ) {
        let Some(known) = self.apps.get(app) else {
            return;
        };
        let asked = known.instances.values();
        let asked = asked.filter(|instance| instance.readiness.is_some());
        let asked: Vec<InstanceId> = asked.map(|instance| instance.id.clone()).collect();
        if asked.is_empty() || self.deployments.lock(app) {
            return;
        }
        for id in asked {
            self.edit_instance(now, &id, out, |instance| instance.readiness = None);
        }
    }
}
