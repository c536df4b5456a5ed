//! What the store held is taken back; what was under way goes on.
//!
//! Instances are taken as they were last known: healthy ones are on the healthy-task list from its first version on,
//! none is restarted, and what the master answers sets right what has changed meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_model::machine::Effects;
use mete_model::{Role, Timestamp};

use crate::orchestrator::Orchestrator;
use crate::probe::Check;
use crate::record::Stored;
use crate::spec::group::Difference;
use crate::state::probes;
use crate::state::releases::Release;
use crate::state::roles::Roles;

impl Orchestrator {
    pub(crate) fn take_back(&mut self, now: Timestamp, stored: Stored) {
        self.master.framework = stored.framework;
        for (id, app) in stored.apps {
            let newest = app.versions.last_key_value().map(|(version, _)| *version);
            self.last_version = self.last_version.max(newest.unwrap_or_default());
            // What was stored before there were groups lies in some all the same.
            for group in id.ancestors().filter(|_| app.wanted.is_some()) {
                self.groups.put(group, Arc::default());
            }
            self.apps.edit(&id, |place| *place = app);
        }
        for (id, group) in stored.groups {
            self.groups.put(id, group);
        }
        for (version, mut former) in stored.former {
            self.share_versions(&mut former);
            self.last_version = self.last_version.max(version);
            self.groups.remember(version, Arc::new(former));
        }
        for instance in stored.instances {
            if let Some(place) = instance.place.as_ref().filter(|_| instance.is_leaving) {
                self.leaving.add(&place.agent, instance.id.clone());
            }
            let instance = self.apps.put(instance);
            self.probes.follow(&instance, |(check, every)| match check {
                Check::Health(_) => probes::next(now, &instance.id, check, every),
                Check::Readiness => now, // a deployment waits for it
            });
        }
        for deployment in stored.deployments {
            self.last_version = self.last_version.max(deployment.version);
            self.deployments.put(deployment);
        }
        for (id, agent, holding, is_given) in stored.releases {
            let release = Release::new(now, agent, holding, is_given);
            self.releases.add(id, release);
        }
        for proxy in stored.proxies {
            self.proxies.restore(now, proxy);
        }
        let all: BTreeSet<_> = self.apps.iter().map(|app| app.id.clone()).collect();
        self.list(&all, true);
        self.roles = Roles::known(self.roles_in_use());
    }

    /// The role of the framework, and each that an app, an instance or something to be given back is in.
    fn roles_in_use(&self) -> BTreeSet<Role> {
        let own = Role::new(&self.settings.role).unwrap_or_default();
        let mut all = BTreeSet::from([own]);
        for app in self.apps.iter() {
            let target = app.target.iter().map(|target| &target.version);
            let instances = app.instances.values();
            let versions = instances.clone().map(|instance| &instance.version);
            let versions = app.wanted.iter().chain(target).chain(versions);
            all.extend(versions.map(|version| self.role_of(&version.spec)));
            let held = instances.filter_map(|instance| instance.holding.as_ref());
            all.extend(held.map(|holding| holding.role.clone()));
        }
        let released = self.releases.iter();
        all.extend(released.map(|(_, release)| release.holding.role.clone()));
        all
    }

    /// A version that an app has still is kept once.
    fn share_versions(&self, former: &mut Difference) {
        for (id, version) in &mut former.apps {
            let Some(version) = version else { continue };
            let kept = self.apps.get(id).map(|app| &app.versions);
            if let Some(kept) = kept.and_then(|kept| kept.get(&version.version)) {
                *version = Arc::clone(kept);
            }
        }
    }

    /// Takes up what was under way, in the first step after a restart.
    pub(crate) fn resume(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        if self.is_resumed {
            return;
        }
        self.is_resumed = true;
        self.touched
            .extend(self.apps.iter().map(|app| app.id.clone()));
        let released = self.releases.iter();
        self.touched.extend(released.map(|(id, _)| id.app()));
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
