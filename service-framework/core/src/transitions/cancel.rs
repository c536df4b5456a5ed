//! A deployment is stopped where it is, or undone.

use std::sync::Arc;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use super::change::Asked;
use crate::effects::{Missing, Reply};
use crate::events::Happening;
use crate::orchestrator::{Orchestrator, publish};
use crate::record::Record;
use crate::spec::app::AppId;
use crate::spec::group::Difference;
use crate::spec::history::AppVersion;
use crate::state::apps::Target;
use crate::state::deployments::DeploymentId;

impl Orchestrator {
    /// Stops a deployment where it is. What is there stays; so many as are wanted are kept, of whatever config.
    pub(super) fn cancel(&mut self, now: Timestamp, id: &DeploymentId, out: &mut Effects<Self>) {
        let Some(deployment) = self.deployments.take(id) else {
            return;
        };
        out.store.push(Record::DeploymentRemoved(id.clone()));
        for app in deployment
            .affected
            .keys()
            .filter(|app| self.apps.get(app).is_some())
            .cloned()
            .collect::<Vec<_>>()
        {
            let app = &app;
            self.apps.edit(app, |app| {
                app.target = app.wanted.as_ref().map(|version| Target {
                    version: Arc::clone(version),
                    instances: version.spec.instances,
                    replaces: false,
                });
            });
            self.store_app(app, out);
            self.touched.insert(app.clone());
        }
        publish(
            now,
            out,
            Happening::DeploymentFailed {
                deployment,
                reason: "cancelled",
            },
        );
    }

    pub(crate) fn cancel_deployment(
        &mut self,
        now: Timestamp,
        id: &DeploymentId,
        force: bool,
        out: &mut Effects<Self>,
    ) -> Reply {
        let Some(deployment) = self.deployments.get(id).cloned() else {
            return Reply::NotFound(Missing::Deployment(id.clone()));
        };
        if force {
            self.cancel(now, id, out);
            return Reply::Cancelled;
        }
        let version = self.stamp(now);
        let mut wish = Difference::default();
        if let Some(former) = self.groups.before(deployment.version) {
            wish.groups.clone_from(&former.groups);
        }
        for (app, before) in &deployment.affected {
            let before =
                before.and_then(|before| self.apps.get(app)?.versions.get(&before).cloned());
            if before.is_some() || self.apps.wanted(app).is_some() {
                wish.apps.insert(
                    app.clone(),
                    before.map(|before| Arc::new(again(&before, version))),
                );
            }
        }
        // A group it made holds by now what another change has put there.
        let is_needed = |id: &AppId| {
            let below = self.apps.iter().filter(|app| app.id.is_within(id));
            let mut kept = below.filter(|app| match wish.apps.get(&app.id) {
                Some(after) => after.is_some(),
                None => app.wanted.is_some(),
            });
            kept.next().is_some()
        };
        let needed: Vec<AppId> = wish
            .groups
            .iter()
            .filter(|(id, before)| before.is_none() && is_needed(id))
            .map(|(id, _)| id.clone())
            .collect();
        wish.groups.retain(|id, _| !needed.contains(id));
        let asked = Asked {
            version,
            force: true,
            origin: None,
            group: None,
        };
        self.deploy(now, asked, wish, out)
    }
}

/// A version wanted once more. Its config keeps its name, so that instances of it are not replaced.
fn again(before: &AppVersion, version: Timestamp) -> AppVersion {
    AppVersion {
        version,
        last_scaling_at: version,
        ..before.clone()
    }
}
