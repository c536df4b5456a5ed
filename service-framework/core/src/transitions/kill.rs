//! Instances are condemned, drained, killed.
//!
//! Every planned kill begins here. An instance that takes sessions drains first, as long as some proxy lives: the
//! healthy-task list says so in its next version, and the kill waits until every living proxy has that version in
//! effect and no sessions left on the instance, or until the deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use super::change::Asked;
use crate::effects::Reply;
use crate::input::ProxyAck;
use crate::orchestrator::{Orchestrator, takes_sessions};
use crate::record::Record;
use crate::spec::app::AppId;
use crate::spec::group::Difference;
use crate::state::instances::{Instance, InstanceId, InstanceState, KILL_RETRY, KillReason};
use crate::state::proxies::{MAX_PROXIES, MAX_PROXY_ID_BYTES, Proxy, Seen};
use crate::validate::Violation;

/// How instances are killed, as a user asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Killing {
    /// Fewer are wanted from now on.
    pub(crate) scale: bool,
    /// Deployments that stand in the way are cancelled.
    pub(crate) force: bool,
    /// What they hold is given back.
    pub(crate) wipe: bool,
}

impl Orchestrator {
    pub(crate) fn kill_instances(
        &mut self,
        now: Timestamp,
        ids: &[InstanceId],
        how: Killing,
        out: &mut Effects<Self>,
    ) -> Reply {
        let Killing { scale, force, wipe } = how;
        let reason = match (wipe, scale) {
            (true, _) => KillReason::Wiped,
            (false, true) => KillReason::ScaledDown,
            (false, false) => KillReason::Asked,
        };
        let known = |id: &InstanceId| {
            self.apps
                .instance(id)
                .filter(|instance| instance.is_placed())
                .cloned()
        };
        let instances: BTreeMap<InstanceId, Arc<Instance>> = ids
            .iter()
            .filter_map(|id| Some((id.clone(), known(id)?)))
            .collect();
        if scale {
            let violations = self.left_of_daemons(&instances);
            if !violations.is_empty() {
                return Reply::Invalid(violations);
            }
            let version = self.stamp(now);
            let wish = self.wish_without(version, instances.values());
            let asked = Asked {
                version,
                force,
                origin: None,
                group: None,
            };
            let reply = self.deploy(now, asked, wish, out);
            if !matches!(reply, Reply::Changed { .. }) {
                return reply;
            }
            self.condemn_all(now, &instances, reason, out);
            return reply;
        }
        self.condemn_all(now, &instances, reason, out);
        Reply::Killed(instances.into_values().collect())
    }

    /// A daemon is wanted everywhere or nowhere, so there is none without just some of its instances.
    fn left_of_daemons(&self, killed: &BTreeMap<InstanceId, Arc<Instance>>) -> Vec<Violation> {
        let daemons = killed.values().filter(|one| one.version.spec.is_daemon());
        let daemons: BTreeSet<&AppId> = daemons.map(|one| one.app()).collect();
        let is_left = |id: &&AppId| {
            let instances = self.apps.get(id).map(|app| app.instances.values());
            let mut others = instances.into_iter().flatten();
            others.any(|other| other.is_placed() && !killed.contains_key(&other.id))
        };
        let told = |id: &AppId| {
            let text =
                format!("{id} runs once on each agent: scale it to 0, or kill without scale");
            Violation::new("/", text)
        };
        daemons.into_iter().filter(is_left).map(told).collect()
    }

    fn condemn_all(
        &mut self,
        now: Timestamp,
        instances: &BTreeMap<InstanceId, Arc<Instance>>,
        reason: KillReason,
        out: &mut Effects<Self>,
    ) {
        for id in instances.keys() {
            self.condemn(now, id, reason, out);
        }
    }

    /// What is wanted when these instances are not: so many fewer of each app.
    fn wish_without<'a>(
        &self,
        version: Timestamp,
        instances: impl Iterator<Item = &'a Arc<Instance>>,
    ) -> Difference {
        let mut fewer: BTreeMap<&AppId, u32> = BTreeMap::new();
        // Those kept for when more are wanted do not count already.
        let is_kept = |instance: &Instance| instance.is_reserved() && !instance.is_active();
        for instance in instances.filter(|one| !one.is_condemned() && !is_kept(one)) {
            *fewer.entry(instance.app()).or_default() += 1;
        }
        let mut wish = Difference::default();
        for (app, fewer) in fewer {
            let Some(wanted) = self.apps.wanted(app) else {
                continue;
            };
            let mut spec = (*wanted.spec).clone();
            spec.instances = spec.instances.saturating_sub(fewer);
            if let Some(next) = wanted.next(version, Arc::new(spec)) {
                wish.apps.insert(app.clone(), Some(Arc::new(next)));
            }
        }
        wish
    }

    /// Begins the end of an instance; nothing when it has begun already.
    pub(crate) fn condemn(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        reason: KillReason,
        out: &mut Effects<Self>,
    ) {
        let Some(instance) = self.apps.instance(id) else {
            return;
        };
        let is_for_good = matches!(reason, KillReason::Wiped | KillReason::AppRemoved);
        match instance.state {
            InstanceState::Draining { .. } | InstanceState::Killing { .. } => {
                if reason == KillReason::Wiped && instance.holding.is_some() {
                    self.set_reason(now, id, reason, out);
                }
            }
            InstanceState::Waiting => self.end_instance(now, id, "Killed", out),
            InstanceState::Reserved { .. } if is_for_good => self.give_up(now, id, "Killed", out),
            InstanceState::Reserved { .. } => {}
            // Its volume is wanted still: it is killed when its agent comes back.
            InstanceState::Unreachable { .. } if instance.holding.is_some() && !is_for_good => {
                self.kill_now(now, id, reason, out);
            }
            // No kill reaches it. If its agent comes back, the task is not known any more and is killed then.
            InstanceState::Unreachable { .. } => self.give_up(now, id, "Unreachable", out),
            InstanceState::Running { .. }
                if takes_sessions(instance) && !self.proxies.is_empty() =>
            {
                let (version, until) = (
                    self.backends.version() + 1,
                    now + self.settings.drain_deadline,
                );
                let state = InstanceState::Draining {
                    version,
                    until,
                    reason,
                };
                self.edit_instance(now, id, out, |instance| instance.state = state);
            }
            InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. } => {
                self.kill_now(now, id, reason, out);
            }
        }
    }

    /// It goes already, and from now on for another reason.
    fn set_reason(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        why: KillReason,
        out: &mut Effects<Self>,
    ) {
        self.edit_instance(now, id, out, |instance| match &mut instance.state {
            InstanceState::Draining { reason, .. } | InstanceState::Killing { reason, .. } => {
                *reason = why;
            }
            InstanceState::Waiting
            | InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. }
            | InstanceState::Unreachable { .. }
            | InstanceState::Reserved { .. } => {}
        });
    }

    /// Kills without waiting for proxies.
    pub(crate) fn kill_now(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        reason: KillReason,
        out: &mut Effects<Self>,
    ) {
        let state = InstanceState::Killing {
            again: now + KILL_RETRY,
            reason,
        };
        self.edit_instance(now, id, out, |instance| instance.state = state);
        if let Some(instance) = self.apps.instance(id) {
            self.send_kill(instance, out);
        }
    }

    pub(crate) fn proxy_ack(
        &mut self,
        now: Timestamp,
        ack: ProxyAck,
        out: &mut Effects<Self>,
    ) -> Reply {
        if ack.proxy.is_empty()
            || ack.proxy.len() > MAX_PROXY_ID_BYTES
            || ack.proxy.contains(char::is_control)
        {
            return Reply::BadProxy(format!(
                "a proxy's id has 1 to {MAX_PROXY_ID_BYTES} bytes and no control characters"
            ));
        }
        let is_ours = ack.epoch == self.backends.epoch();
        if is_ours && ack.version > self.backends.version() {
            let newest = self.backends.version();
            return Reply::BadProxy(format!(
                "version {} is acknowledged, the newest is {newest}",
                ack.version
            ));
        }
        // One that speaks of another epoch lives, but has nothing of this one in effect.
        let version = if is_ours { ack.version } else { 0 };
        let draining = self.apps.draining();
        let is_asked = |task: &mete_model::TaskId| {
            InstanceId::parse(task.as_str()).is_some_and(|id| draining.contains(&id))
        };
        let sessions = ack
            .draining
            .into_iter()
            .filter(|(task, _)| is_asked(task))
            .collect();
        match self.proxies.heard(
            &ack.proxy,
            Proxy {
                seen: now,
                version,
                sessions,
            },
        ) {
            Seen::Known => {}
            Seen::New => out.store.push(Record::Proxy(ack.proxy)),
            Seen::TooMany => {
                return Reply::BadProxy(format!("{MAX_PROXIES} proxies are known already"));
            }
        }
        self.kill_drained(now, out);
        Reply::Done
    }

    /// Kills those that every living proxy has finished with, and those whose deadline has come.
    pub(crate) fn kill_drained(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        let mut drained = Vec::new();
        for id in self.apps.draining() {
            let Some(instance) = self.apps.instance(id) else {
                continue;
            };
            if let InstanceState::Draining {
                version,
                until,
                reason,
            } = instance.state
                && (until <= now || self.have_drained(instance, version))
            {
                drained.push((id.clone(), reason));
            }
        }
        for (id, reason) in drained {
            self.kill_now(now, &id, reason, out);
        }
    }

    fn have_drained(&self, instance: &Instance, version: u64) -> bool {
        let tasks = instance.tasks();
        tasks
            .iter()
            .all(|(task, _)| self.proxies.have_drained(task, version))
    }

    /// Waits no longer for proxies that have been silent for too long.
    pub(crate) fn forget_silent_proxies(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        let silent = self.proxies.take_silent(now);
        if silent.is_empty() {
            return;
        }
        out.store
            .extend(silent.into_iter().map(Record::ProxyRemoved));
        self.kill_drained(now, out);
    }
}
