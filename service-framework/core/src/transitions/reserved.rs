//! What instances hold on their agents: it is kept when their task ends, used again when it is offered, and given back when
//! the instance goes for good.
//!
//! Whatever an offer shows under our label belongs to an instance that waits for it, to one that does not, or to nobody. Only
//! the last is destroyed: by what is offered, not by what we remember, so that nothing stays behind that we have forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::machine::Effects;
use mete_model::{AgentId, Offer, Reason, Resources, TaskState, TaskStatus, Timestamp};
use mete_placement::demand::MAX_NAME_BYTES;

use super::offers::note;
use crate::effects::{Action, Kept, Launch};
use crate::input::Done;
use crate::launch::{self, Grant};
use crate::orchestrator::Orchestrator;
use crate::record::Record;
use crate::spec::app::AppId;
use crate::state::demand::Need;
use crate::state::holdings::{self, Holding};
use crate::state::instances::{Instance, InstanceId, InstanceState, LAUNCH_CONFIRM, Place};
use crate::state::launch_queue::Reject;
use crate::state::releases::Release;

/// What is done with what an offer shows of our instances.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) launches: Vec<Launch>,
    pub(super) release: Vec<(InstanceId, Kept)>,
}

impl Shown {
    pub(super) const fn is_empty(&self) -> bool {
        self.launches.is_empty() && self.release.is_empty()
    }
}

impl Orchestrator {
    /// Its task has ended: it waits for an offer of what it holds, or is forgotten when it holds nothing.
    pub(super) fn task_ended(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        condition: &'static str,
        out: &mut Effects<Self>,
    ) {
        let id = &instance.id;
        match &instance.holding {
            None => self.end_instance(now, id, condition, out),
            // Its ACCEPT was turned down altogether, or its agent is gone with all that was on it.
            Some(holding) if is_nothing_held(holding, status) => {
                self.end_instance(now, id, condition, out);
            }
            Some(_) if instance.goes_for_good() => self.give_up(now, id, condition, out),
            Some(_) => self.rest(now, instance, out),
        }
    }

    /// It has no task any more, and keeps what it holds.
    fn rest(&mut self, now: Timestamp, instance: &Instance, out: &mut Effects<Self>) {
        if let Some(place) = instance.place.as_ref().filter(|_| instance.is_leaving) {
            self.leaving.ended(&place.agent, &instance.id);
        }
        // Whether there is a place for it, is decided next.
        let is_wanted = !instance.is_scaled_down();
        self.edit_instance(now, &instance.id, out, |instance| {
            instance.state = InstanceState::Reserved { is_wanted };
            instance.staged_at = None;
            instance.started_at = None;
            instance.health = Vec::new();
            instance.check = None;
            instance.readiness = None;
            instance.is_leaving = false;
            instance.is_ending = false;
        });
        self.probes.forget(&instance.id);
        // What it stood in the way of may fit now, and what it holds is to be offered.
        self.master.wants_revive = true;
    }

    /// Forgets an instance; what it holds is given back with the next offer that shows it.
    pub(super) fn give_up(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        condition: &'static str,
        out: &mut Effects<Self>,
    ) {
        let Some(instance) = self.apps.instance(id) else {
            return;
        };
        if let (Some(holding), Some(place)) = (&instance.holding, &instance.place) {
            let release = Release::new(now, place.agent.clone(), (**holding).clone(), false);
            out.store
                .push(Record::Release(id.clone(), Box::new(release.clone())));
            self.master.wants_revive = true;
            if let Some(left) = self.releases.add(id.clone(), release) {
                out.store.push(Record::ReleaseRemoved(left));
            }
        }
        self.end_instance(now, id, condition, out);
    }

    /// Whether instances that stay where they are may be launched again changes.
    pub(super) fn set_wanted(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        is_wanted: bool,
        out: &mut Effects<Self>,
    ) {
        self.edit_instance(now, id, out, |instance| {
            instance.state = InstanceState::Reserved { is_wanted };
            instance.since = now; // from here on it waits
        });
        self.master.wants_revive |= is_wanted;
    }

    /// Somebody has seen what an instance holds.
    pub(super) fn confirm(&mut self, now: Timestamp, id: &InstanceId, out: &mut Effects<Self>) {
        let holding = self.apps.instance(id).and_then(|one| one.holding.clone());
        let Some(holding) = holding.filter(|holding| !holding.is_confirmed) else {
            return;
        };
        self.edit_instance(now, id, out, |instance| {
            instance.holding = Some(Arc::new(Holding {
                is_confirmed: true,
                ..(*holding).clone()
            }));
        });
    }

    /// What is done with the parts of an offer that bear our label.
    pub(super) fn shown(
        &mut self,
        now: Timestamp,
        offer: &Offer,
        out: &mut Effects<Self>,
    ) -> Shown {
        let mut shown = Shown::default();
        let Some(framework) = self.master.framework.clone() else {
            return shown;
        };
        for (id, parts) in holdings::by_owner(&offer.resources, &framework) {
            let instance = self.apps.instance(&id).cloned();
            match instance.filter(|instance| instance.holding.is_some()) {
                Some(instance) => {
                    self.confirm(now, &id, out);
                    shown
                        .launches
                        .extend(self.relaunch(now, &instance, offer, &parts, out));
                }
                None => {
                    if let Some(release) = self.releases.given(now, &id) {
                        out.store
                            .push(Record::Release(id.clone(), Box::new(release)));
                    }
                    shown.release.push((id, holdings::as_kept(&parts)));
                }
            }
        }
        shown
    }

    /// The next task of an instance that waits for what is offered.
    fn relaunch(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        offer: &Offer,
        parts: &Resources,
        out: &mut Effects<Self>,
    ) -> Option<Launch> {
        let version = &instance.version;
        let is_wanted = instance.state == InstanceState::Reserved { is_wanted: true };
        let (holding, place) = (instance.holding.as_ref()?, instance.place.as_ref()?);
        let resources = holding.of_task(&instance.id);
        let may = is_wanted && self.queue.may_launch(now, version) && parts.contains(&resources);
        if !may {
            return None;
        }
        let incarnation = instance.incarnation.saturating_add(1);
        let grant = Grant {
            agent: &offer.agent,
            host: &offer.endpoint.hostname,
            ports: &place.ports,
            resources,
            enforces_role: self.is_role_enforced(instance.app()),
        };
        let launch = Launch {
            task: launch::task(instance.id.nth_task(incarnation), version, &grant),
            discovery: launch::discovery(&version.spec, &place.ports),
            secrets: launch::secrets(&version.spec),
        };
        let place = Place {
            agent: offer.agent.clone(),
            host: offer.endpoint.hostname.clone(),
            ip_addresses: vec![offer.endpoint.ip.clone()],
            domain: offer.domain.clone(),
            ..place.clone()
        };
        self.edit_instance(now, &instance.id, out, |instance| {
            instance.state = InstanceState::Launching {
                offer: offer.id.clone(),
                ask: now + LAUNCH_CONFIRM,
            };
            instance.place = Some(place);
            instance.staged_at = Some(now);
            instance.incarnation = incarnation;
        });
        Some(launch)
    }

    /// Notes for `/v2/queue` which apps have instances that wait for what they hold, and which offers did not show it.
    pub(super) fn note_not_shown(
        &mut self,
        now: Timestamp,
        offers: &[Offer],
        used: &BTreeMap<usize, Shown>,
        is_noted: impl Fn(&AppId) -> bool,
    ) {
        let waiting = self.apps.reserved().iter();
        let apps: BTreeSet<AppId> = waiting.map(InstanceId::app).collect();
        let used: BTreeSet<usize> = used.keys().copied().collect();
        for app in apps.into_iter().filter(|app| !is_noted(app)) {
            let reasons = vec![Reject::NoCorrespondingReservationFound];
            let rejected = (0..offers.len()).map(|at| (at, reasons.clone())).collect();
            self.queue
                .note_offers(&app, |summary| note(now, summary, offers, &used, rejected));
        }
    }

    /// Offers that an app's instances need to go on or to be given back: what each of them holds, by itself.
    pub(super) fn needs_of_holders(&self, now: Timestamp, id: &AppId) -> Vec<Need> {
        let name = Some(id.to_string()).filter(|name| name.len() <= MAX_NAME_BYTES);
        let need = |since, owner: &InstanceId, holding: &Holding| Need {
            since,
            shape: mete_placement::Shape {
                name: name.clone(),
                role: Some(holding.role.clone()),
                ..mete_placement::Shape::new(holding.of_task(owner))
            },
        };
        let of = |owner: &&InstanceId| owner.app() == *id;
        let waiting = self.apps.reserved().iter().filter(of);
        let waiting = waiting.filter_map(|owner| {
            let instance = self.apps.instance(owner)?;
            let may = self.queue.may_launch(now, &instance.version);
            may.then(|| Some(need(instance.since, owner, instance.holding.as_ref()?)))?
        });
        let released = self.releases.iter().filter(|(owner, _)| of(owner));
        let released =
            released.map(|(owner, release)| need(Timestamp::EPOCH, owner, &release.holding));
        waiting.chain(released).collect()
    }

    /// No offer has shown for too long what an instance should hold: another takes its place, elsewhere.
    pub(super) fn reservation_due(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        out: &mut Effects<Self>,
    ) {
        let Some(instance) = self.apps.instance(id) else {
            return;
        };
        if self.master.is_connected && self.queue.may_launch(now, &instance.version) {
            self.give_up(now, id, "Killed", out);
        } else {
            self.put_off(id, now); // nobody could have shown it
        }
    }

    /// The master has told what is reserved under our label. What was kept for an instance that nobody knows is given back: one
    /// that was made after the copy from which our store was put back. It may have gone since the master has said so.
    pub(crate) fn found_reserved(
        &mut self,
        now: Timestamp,
        all: Vec<(AgentId, Resources)>,
        out: &mut Effects<Self>,
    ) {
        let Some(framework) = self.master.framework.clone() else {
            return;
        };
        for (agent, reserved) in all {
            for (id, parts) in holdings::by_owner(&reserved, &framework) {
                let is_known = self.holds(&id) || self.releases.has(&id);
                if is_known || self.releases.is_full() {
                    continue;
                }
                let Some(holding) = Holding::found(framework.clone(), &parts) else {
                    continue;
                };
                self.roles.take(&holding.role);
                let release = Release::new(now, agent.clone(), holding, false);
                out.store
                    .push(Record::Release(id.clone(), Box::new(release.clone())));
                self.touched.insert(id.app());
                self.master.wants_revive = true;
                self.releases.add(id, release);
            }
        }
    }

    fn holds(&self, id: &InstanceId) -> bool {
        let instance = self.apps.instance(id);
        instance.is_some_and(|instance| instance.holding.is_some())
    }

    /// The master has done what an offer was used for: what was held for an instance is given back.
    pub(crate) fn operated(&mut self, done: Done, out: &mut Effects<Self>) {
        if let Some(id) = InstanceId::parse(done.operation.as_str())
            && self.releases.remove(&id)
        {
            self.touched.insert(id.app());
            out.store.push(Record::ReleaseRemoved(id));
        }
        out.act.push(Action::AcknowledgeOperation(done));
    }

    /// What was given back and is not shown again is gone.
    pub(super) fn forget_released(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        if !self.master.is_connected {
            self.releases.wait_anew(now);
            return;
        }
        for id in self.releases.take_over(now) {
            self.touched.insert(id.app());
            out.store.push(Record::ReleaseRemoved(id));
        }
    }
}

/// Whether the end of a task tells that there is nothing its instance could hold.
fn is_nothing_held(holding: &Holding, status: &TaskStatus) -> bool {
    let is_refused = status.state == TaskState::Dropped
        && status.reason == Some(Reason::InvalidOffers)
        && !holding.is_confirmed;
    is_refused || status.state == TaskState::GoneByOperator
}
