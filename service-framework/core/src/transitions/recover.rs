//! What the store held is taken back; what was under way goes on.
//!
//! Instances are taken as they were last known: healthy ones are on the healthy-task list from its first version on,
//! none is restarted, and what the master answers sets right what has changed meanwhile.

use std::collections::BTreeSet;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use crate::orchestrator::Orchestrator;
use crate::record::Stored;

impl Orchestrator {
    pub(crate) fn take_back(&mut self, now: Timestamp, stored: Stored) {
        self.master.framework = stored.framework;
        for (id, app) in stored.apps {
            let newest = app.versions.last_key_value().map(|(version, _)| *version);
            self.last_version = self.last_version.max(newest.unwrap_or_default());
            self.apps.edit(&id, |place| *place = app);
        }
        for instance in stored.instances {
            if let Some(place) = instance.place.as_ref().filter(|_| instance.is_leaving) {
                self.leaving.add(&place.agent, instance.id.clone());
            }
            self.apps.put(instance);
        }
        for deployment in stored.deployments {
            self.last_version = self.last_version.max(deployment.version);
            self.deployments.put(deployment);
        }
        for proxy in stored.proxies {
            self.proxies.restore(now, proxy);
        }
        let all: BTreeSet<_> = self.apps.iter().map(|app| app.id.clone()).collect();
        self.list(&all, true);
    }

    /// Takes up what was under way, in the first step after a restart.
    pub(crate) fn resume(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        if self.is_resumed {
            return;
        }
        self.is_resumed = true;
        self.touched
            .extend(self.apps.iter().map(|app| app.id.clone()));
        let mut deployments: Vec<_> = self
            .deployments
            .iter()
            .map(|deployment| (deployment.version, deployment.id.clone()))
            .collect();
        deployments.sort();
        for (_, id) in deployments {
            self.advance(now, &id, out);
        }
    }
}
