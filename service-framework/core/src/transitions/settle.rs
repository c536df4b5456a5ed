//! What follows from everything else: of each app that was touched, the next thing to do is done; deployments go on;
//! queue, healthy-task list and demand for offers are brought up to date.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use crate::backends;
use crate::deployment::progress;
use crate::effects::Action;
use crate::orchestrator::{Orchestrator, changed, publish};
use crate::record::Record;
use crate::spec::app::AppId;
use crate::spec::history::AppVersion;
use crate::state::instances::{Instance, InstanceId, InstanceState};

impl Orchestrator {
    pub(crate) fn settle(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        let mut all = BTreeSet::new();
        // Ends because each round either begins a step of a plan, of which there are so many, or touches nothing: what
        // is to be done for an app is nothing once it was done.
        while !self.touched.is_empty() {
            let touched = std::mem::take(&mut self.touched);
            for app in &touched {
                self.keep(now, app, out);
            }
            for deployment in self.deployments.meeting(&touched) {
                self.advance(now, &deployment, out);
            }
            all.extend(touched);
        }
        let unlisted = std::mem::take(&mut self.unlisted);
        if !unlisted.is_empty() {
            self.list(&unlisted, false);
        }
        for app in &all {
            self.forget_if_gone(app, out);
            self.note_demand(now, app);
        }
        self.ask_for_offers(now, out);
        self.tell_who_has_left(out);
    }

    /// Does what is to be done for an app.
    fn keep(&mut self, now: Timestamp, id: &AppId, out: &mut Effects<Self>) {
        let Some(app) = self.apps.get(id) else { return };
        let todo = progress::todo(app);
        for instance in &todo.forget {
            self.end_instance(now, instance, "Killed", out);
        }
        for (instance, reason) in &todo.condemn {
            self.condemn(now, instance, *reason, out);
        }
        let Some(version) = todo.version else {
            self.queue.drop_app(id);
            return;
        };
        for instance in &todo.park {
            self.set_wanted(now, instance, false, out);
        }
        for instance in &todo.recall {
            self.set_wanted(now, instance, true, out);
        }
        for instance in &todo.renew {
            self.edit_instance(now, instance, out, |instance| {
                instance.version = Arc::clone(&version)
            });
            // Offers declined for the old version may be good for the new one.
            self.master.wants_revive = true;
        }
        for _ in 0..todo.add {
            self.add_waiting(now, &version, out);
        }
        // After it was decided who goes: where a deployment was stopped, those not ready go first.
        self.forget_readiness(now, id, out);
        self.queue.note(now, &version, todo.missing);
    }

    fn add_waiting(&mut self, now: Timestamp, version: &Arc<AppVersion>, out: &mut Effects<Self>) {
        let id = InstanceId::new(&version.spec.id, self.random.uuid());
        let instance = self.apps.put(Instance {
            id,
            version: Arc::clone(version),
            state: InstanceState::Waiting,
            since: now,
            place: None,
            staged_at: None,
            started_at: None,
            health: Vec::new(),
            check: None,
            readiness: None,
            is_leaving: false,
            is_ending: false,
            containers: Vec::new(),
            incarnation: 1,
            holding: None,
        });
        publish(now, out, changed(&instance, instance.condition()));
        self.touched.insert(version.spec.id.clone());
        self.master.wants_revive = true;
    }

    /// Brings the healthy-task list up to date for some apps.
    pub(crate) fn list(&mut self, apps: &BTreeSet<AppId>, is_first: bool) {
        let services = apps
            .iter()
            .filter_map(|app| self.apps.get(app))
            .flat_map(|app| backends::services_of(app));
        let services = services.collect();
        self.backends.replace(apps, services, is_first);
    }

    /// Forgets an app that is wanted no more, once nothing of it is left.
    fn forget_if_gone(&mut self, id: &AppId, out: &mut Effects<Self>) {
        let Some(app) = self.apps.get(id) else { return };
        let is_left = app.wanted.is_some() || app.target.is_some() || !app.instances.is_empty();
        if is_left || self.deployments.lock(id) {
            return;
        }
        if let Some(app) = self.apps.forget(id) {
            out.store.push(Record::AppRemoved(id.clone()));
            let removed = |version: &Timestamp| Record::VersionRemoved(id.clone(), *version);
            out.store.extend(app.versions.keys().map(removed));
        }
        self.queue.drop_app(id);
        self.queue.reset(id);
    }

    /// Says what waits and may be launched, and asks for offers when that is something, for none when it is nothing.
    fn ask_for_offers(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        self.master.has_demand = self.queue.has_demand(now) || !self.releases.is_empty();
        if !self.master.is_connected {
            return;
        }
        let may_revive = self.master.revive_at().is_some_and(|at| at <= now);
        if !self.master.has_demand {
            if !self.master.is_suppressed {
                self.master.is_suppressed = true;
                out.act.push(Action::Suppress);
            }
            // When a delay ends, offers are asked for anew.
            self.master.wants_revive = false;
        }
        // First, since what waits names its role.
        out.act.extend(self.roles.take_news().map(Action::Roles));
        // Before REVIVE, so that the first offers fit.
        out.act.extend(self.demand.take_news().map(Action::Demand));
        if may_revive {
            self.master.is_suppressed = false;
            self.master.wants_revive = false;
            self.master.last_revive = Some(now);
            out.act.push(Action::Revive);
        }
    }
}
