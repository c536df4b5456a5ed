//! The link to the master comes and goes; the master is asked what it knows, so that nothing that was missed stays so.

use std::sync::Arc;

use mete_model::machine::Effects;
use mete_model::{AgentId, FrameworkId, TaskId, Timestamp};

use crate::effects::Action;
use crate::events::Happening;
use crate::orchestrator::{Orchestrator, publish};
use crate::record::Record;
use crate::state::holdings::FRAMEWORK_LABEL;
use crate::state::instances::{Instance, InstanceState, LAUNCH_CONFIRM_AT_FIRST};
use crate::state::master::RECONCILE_INTERVAL;

/// Tasks asked about in one call: some 100 KiB on the wire.
pub const MAX_RECONCILE_TASKS: usize = 1_000;

impl Orchestrator {
    pub(crate) fn subscribed(
        &mut self,
        now: Timestamp,
        framework: FrameworkId,
        address: String,
        out: &mut Effects<Self>,
    ) {
        let is_known = self.master.framework.as_ref() == Some(&framework);
        let what = if is_known {
            Happening::SchedulerReregistered {
                master: address.clone(),
            }
        } else {
            Happening::SchedulerRegistered {
                framework: framework.to_string(),
                master: address.clone(),
            }
        };
        publish(now, out, what);
        if !is_known {
            out.store.push(Record::Framework(framework.clone()));
            self.master.framework = Some(framework);
        }
        self.master.address = Some(address);
        self.master.is_connected = true;
        self.master.since = Some(now);
        // A framework that has just subscribed is made offers, whatever it said before.
        self.master.is_suppressed = false;
        self.master.last_revive = None;
        self.master.wants_revive = true;
        self.demand.forget_told();
        self.releases.wait_anew(now);
        self.reconcile(now, out);
        self.ask_soon(now);
        self.repeat_kills(out);
    }

    /// Launches of which nothing is heard may have gone with the link that broke.
    fn ask_soon(&mut self, now: Timestamp) {
        let is_launching =
            |one: &&Arc<Instance>| matches!(one.state, InstanceState::Launching { .. });
        let instances = self.apps.iter().flat_map(|app| app.instances.values());
        let launching = instances.filter(is_launching).map(|one| one.id.clone());
        for id in launching.collect::<Vec<_>>() {
            self.put_off(&id, now + LAUNCH_CONFIRM_AT_FIRST);
        }
    }

    pub(crate) fn disconnected(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        if self.master.is_connected {
            self.master.is_connected = false;
            publish(now, out, Happening::SchedulerDisconnected);
        }
    }

    /// Asks for the state of every task we know, then for every task the master knows, and for all that is reserved for us.
    pub(crate) fn reconcile(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        let instances = self.apps.iter().flat_map(|app| app.instances.values());
        ask_about(instances.flat_map(known_at).collect(), out);
        out.act.push(Action::Reconcile { tasks: Vec::new() });
        if let Some(framework) = self.master.framework.clone() {
            let label = FRAMEWORK_LABEL;
            out.act.push(Action::AskReserved { label, framework });
        }
        self.master.reconcile_at = Some(now + RECONCILE_INTERVAL);
    }

    /// An agent is lost, and its tasks with it. Mostly the master tells so of each; but one that was restarted since does not
    /// know them, and what instances without a task keep there is nobody's to tell: it is asked.
    pub(crate) fn agent_lost(&self, agent: &AgentId, out: &mut Effects<Self>) {
        let instances = self.apps.iter().flat_map(|app| app.instances.values());
        let untold = |one: &&Arc<Instance>| !matches!(one.state, InstanceState::Unreachable { .. });
        let all = instances.filter(untold).flat_map(known_at);
        let on_it = all.filter(|(_, place)| place.as_ref() == Some(agent));
        ask_about(on_it.collect(), out);
    }

    /// Kills that were sent while the link was broken have not arrived.
    fn repeat_kills(&self, out: &mut Effects<Self>) {
        let instances = self.apps.iter().flat_map(|app| app.instances.values());
        for instance in
            instances.filter(|instance| matches!(instance.state, InstanceState::Killing { .. }))
        {
            self.send_kill(instance, out);
        }
    }
}

/// The tasks that are known of an instance: those that have not ended, or the last of one that keeps what it holds.
fn known_at(instance: &Arc<Instance>) -> impl Iterator<Item = (TaskId, Option<AgentId>)> {
    let tasks = instance.tasks_at().into_iter();
    tasks.chain(instance.last_task_at())
}

fn ask_about(tasks: Vec<(TaskId, Option<AgentId>)>, out: &mut Effects<Orchestrator>) {
    let calls = tasks.chunks(MAX_RECONCILE_TASKS);
    out.act.extend(calls.map(|tasks| Action::Reconcile {
        tasks: tasks.to_vec(),
    }));
}
