//! The whole state of an agent, and its one step.
//!
//! Invariants: nothing is decided before [`Input::Recovered`]; a task is stored before it is launched and a report
//! before it is sent (the loop stores first); each input leaves every task that it touched stored once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{
    AgentId, ContainerId, Effects, FrameworkId, FrameworkInfo, Machine, SharedMap, TaskKey,
    TaskState, Timestamp, VolumeName,
};

use crate::counters::Counters;
use crate::effects::{Action, StopReason};
use crate::input::{DiskSpace, Input, Order};
use crate::names::Names;
use crate::record::{self, BadRecord, Entry, Identity, Record};
use crate::state::custom_executors::{CustomExecutor, CustomExecutors, ToExecutor};
use crate::state::disk::Disk;
use crate::state::executors::{Executor, ExecutorKey, Executors};
use crate::state::link::{Link, Stage};
use crate::state::past::Past;
use crate::state::probes::{MAX_CHECKS_AT_ONCE, MAX_PROBES_AT_ONCE, Probes};
use crate::state::sandboxes::{Sandbox, Sandboxes};
use crate::state::standing::Standing;
use crate::state::tasks::{Framework, Task, Tasks};
use crate::state::updates::Updates;
use crate::state::volumes::{Volume, Volumes};

/// What an operator can set, and what the core cannot find out by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The IP address under which tasks are reached: they share the agent's network.
    pub ip: String,
    /// From SIGTERM to SIGKILL for tasks that say nothing about it.
    pub kill_grace: Duration,
    /// How long sandboxes are kept on an empty disk; on a fuller one shorter.
    pub gc_delay: Duration,
    /// So long executors of frameworks' own have to subscribe again after a restart of the agent.
    pub executor_reregistration_timeout: Duration,
    /// With fewer free bytes than this nothing is launched.
    pub disk_reserve_bytes: u64,
    /// Random, new at every start.
    pub seed: [u64; 2],
}

/// An agent, as far as it decides.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    pub(crate) identity: Identity,
    pub(crate) link: Link,
    pub(crate) standing: Option<Arc<Standing>>,
    pub(crate) tasks: Tasks,
    pub(crate) executors: Executors,
    pub(crate) custom_executors: CustomExecutors,
    pub(crate) updates: Updates,
    pub(crate) probes: Probes,
    /// Checks from whose answers nothing follows: the same rhythm, and no verdicts.
    pub(crate) checks: Probes,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) past: Past,
    pub(crate) volumes: Volumes,
    pub(crate) disk: Disk,
    pub(crate) stopping: Option<Stopping>,
    pub(crate) recovered: bool,
    /// Tasks that ended since the start, by how.
    pub(crate) ended: BTreeMap<TaskState, u64>,
    pub(crate) counters: Counters,
    /// Tasks that this input touched: stored, and their reports sent, at the end of the step.
    pub(crate) changed: BTreeSet<TaskKey>,
    /// This input has left tasks without an answer: there were too many.
    pub(crate) overrun: bool,
}

/// The agent ends when its last task has.
#[derive(Clone, Debug)]
pub(crate) struct Stopping {
    pub(crate) reason: StopReason,
    pub(crate) said: bool,
}

/// A task of the store whose fate the shell must look up before anything is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unaccounted {
    /// Whose, and which.
    pub key: TaskKey,
    /// Which run of it.
    pub container: ContainerId,
    /// The agent's id, a part of the sandbox's path.
    pub agent: AgentId,
}

/// The state as readers may see it.
#[derive(Clone, Debug)]
pub struct View {
    /// The agent's id once it has one.
    pub agent: Option<AgentId>,
    /// The last epoch obeyed.
    pub epoch: u64,
    /// Where it stands with its master.
    pub stage: Stage,
    /// What the master has made of it; `None`: nothing but what it was started with.
    pub standing: Option<Arc<Standing>>,
    /// Whether the tasks of before the start are accounted for.
    pub recovered: bool,
    /// Every task.
    pub tasks: SharedMap<TaskKey, Arc<Task>>,
    /// Executors of groups that have live tasks.
    pub executors: Arc<BTreeMap<ExecutorKey, Arc<Executor>>>,
    /// Executors of frameworks' own.
    pub custom_executors: Arc<BTreeMap<ExecutorKey, Arc<CustomExecutor>>>,
    /// Each framework that has tasks here.
    pub frameworks: BTreeMap<FrameworkId, Arc<FrameworkInfo>>,
    /// What ended tasks left behind.
    pub sandboxes: SharedMap<ContainerId, Arc<Sandbox>>,
    /// What is over, the last of it.
    pub past: Past,
    /// Persistent volumes, those that are to be erased included.
    pub volumes: Arc<BTreeMap<VolumeName, Arc<Volume>>>,
    /// Reports that nobody has acknowledged.
    pub unacknowledged: usize,
    /// Tasks that ended since the start, by how.
    pub ended: BTreeMap<TaskState, u64>,
    /// What else has happened how often.
    pub counters: Counters,
    /// How long what ended tasks left behind is kept, as full as the disk is.
    pub sandboxes_kept_for: Duration,
    /// The disk of the work directory.
    pub disk: Option<DiskSpace>,
    /// Nothing is launched for want of disk.
    pub disk_full: bool,
    /// The agent ends when its last task has.
    pub stopping: bool,
}

impl Node {
    /// An agent from what its store holds; empty for one that is new.
    ///
    /// # Errors
    /// [`BadRecord`] names the first entry that cannot be read.
    pub fn recover(
        settings: Settings,
        entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, BadRecord> {
        let names = Names::new(settings.seed);
        let mut node = Self {
            settings,
            names,
            identity: Identity::default(),
            link: Link::new(),
            standing: None,
            tasks: Tasks::default(),
            executors: Executors::default(),
            custom_executors: CustomExecutors::default(),
            updates: Updates::default(),
            probes: Probes::new(MAX_PROBES_AT_ONCE),
            checks: Probes::new(MAX_CHECKS_AT_ONCE),
            sandboxes: Sandboxes::default(),
            past: Past::default(),
            volumes: Volumes::default(),
            disk: Disk::new(),
            stopping: None,
            recovered: false,
            ended: BTreeMap::new(),
            counters: Counters::default(),
            changed: BTreeSet::new(),
            overrun: false,
        };
        let mut lives = Vec::new();
        for (key, value) in entries {
            match record::read(&key, &value)? {
                Entry::Identity(identity) => node.identity = identity,
                Entry::Framework { id, info, leaving } => {
                    let info = Arc::new(info);
                    node.tasks.set_framework(id, Framework { info, leaving });
                }
                Entry::Accepted(task) => node.tasks.insert(*task),
                Entry::Life(life) => lives.push(life),
                Entry::Sandbox(sandbox) => node.sandboxes.keep(sandbox),
                Entry::Executor(executor) => node.executors.insert(*executor),
                Entry::CustomExecutor(executor) => drop(node.custom_executors.insert(*executor)),
                Entry::Unheard { key, status } => {
                    node.custom_executors.ended_unheard(key, status);
                }
                Entry::Volume(volume) => drop(node.volumes.keep(volume)),
            }
        }
        for life in lives {
            let life = *life;
            let known = node.tasks.edit(&life.key, |task| {
                task.phase = life.phase;
                task.started_at = life.started_at;
                task.addresses = life.addresses;
                task.described.always = life.described;
                task.latest = life.latest;
            });
            if known.is_some() {
                node.updates.restore(&life.key, life.waiting);
            }
        }
        Ok(node)
    }

    /// The tasks whose fate [`Input::Recovered`] must tell.
    pub fn unaccounted(&self) -> Vec<Unaccounted> {
        // What an executor of its framework's own runs has no container of its own.
        let live = self
            .tasks
            .iter()
            .filter(|task| task.is_live() && !task.is_delegated());
        live.map(|task| Unaccounted {
            key: task.key.clone(),
            container: task.container.clone(),
            agent: task.agent.clone(),
        })
        .collect()
    }

    fn order(&mut self, now: Timestamp, order: Order, out: &mut Effects<Self>) {
        match order {
            Order::Registered { epoch, agent } => self.registered(now, epoch, agent, out),
            Order::Refused { reason, permanent } => self.refused(now, reason, permanent, out),
            Order::Run { framework, task } => self.run(now, framework, *task, out),
            Order::RunGroup { framework, group } => self.run_group(now, framework, *group, out),
            Order::UnrunnableGroup {
                keys,
                executor,
                reason,
            } => self.unrunnable_group(now, &keys, executor.as_ref(), &reason, out),
            Order::Unrunnable {
                key,
                executor,
                reason,
            } => self.unrunnable(now, &key, executor.as_ref(), reason, out),
            Order::Kill { key, grace } => self.kill_asked(now, &key, grace, out),
            Order::Acknowledge { key, update } => self.acknowledged(&key, update, out),
            Order::UpdateFramework(info) => self.framework_changed(*info, out),
            Order::Standing(standing) => self.standing = Some(standing),
            Order::ResendUpdates(framework) => self.resend(now, &framework, out),
            Order::MessageExecutor { executor, data } => {
                match self.tell_executor(&executor, ToExecutor::Message(data), out) {
                    true => self.counters.messages += 1,
                    false => self.counters.messages_dropped += 1,
                }
            }
            Order::ShutdownExecutor(executor) => self.shutdown_asked(now, &executor, out),
            Order::EraseVolumes(volumes) => self.erase_volumes(now, volumes, out),
            Order::ShutdownFramework(id) => self.shutdown_framework(now, &id, out),
            Order::Shutdown { reason } => {
                self.stop_with_tasks(now, StopReason::ShutDown(reason), None, out);
            }
        }
    }

    fn pass_deadlines(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        self.link_due(now, out);
        self.ends_due(now, out);
        self.kills_due(now, out);
        self.executors_due(now, out);
        self.reports_due(now, out);
        self.probes_due(now, out);
        self.checks_due(now, out);
        self.collection_due(now, out);
    }

    /// What every input may have made possible.
    fn settle(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        self.begin_launches(now, out);
        self.begin_erasures(out);
        if std::mem::take(&mut self.overrun) {
            let reason =
                "more tasks are answered for that are not here than can be told one by one";
            self.cut(now, reason, out);
        }
        for key in std::mem::take(&mut self.changed) {
            self.send(now, &key, out);
            if let Some(task) = self.tasks.get(&key) {
                out.store.push(Record::Life {
                    task: Arc::clone(task),
                    waiting: self.updates.of(&key).cloned().collect(),
                });
            }
        }
        self.stop_when_empty(out);
    }
}

impl Machine for Node {
    type Input = Input;
    type Record = Record;
    type Action = Action;
    type Reply = ();
    type View = View;

    #[expect(
        clippy::too_many_lines,
        reason = "one flat match over all that can happen"
    )]
    fn step(&mut self, now: Timestamp, input: Input) -> Effects<Self> {
        let mut out = Effects::none();
        if !self.recovered && !matches!(input, Input::Recovered(_)) {
            tracing::debug!("input before recovery is ignored");
            return out;
        }
        match input {
            Input::Deadline => self.pass_deadlines(now, &mut out),
            Input::Recovered(findings) => self.recovered(now, findings, &mut out),
            Input::Connected { link } => self.connected(now, link, &mut out),
            Input::Disconnected { link, reason } => self.disconnected(now, link, &reason),
            Input::ReportsTaken { link, total } => self.reports_taken(now, link, total, &mut out),
            Input::FromMaster { link, order } => {
                if self.hears(link, &order) {
                    self.order(now, order, &mut out);
                }
            }
            Input::Launching {
                key,
                container,
                how_far,
            } => self.launching(now, &key, &container, how_far),
            Input::Addressed {
                key,
                container,
                addresses,
                described,
            } => self.addressed(&key, &container, addresses, described),
            Input::Launched {
                key,
                container,
                outcome,
            } => self.launched(now, &key, &container, outcome, &mut out),
            Input::Exited {
                key,
                container,
                exit,
            } => self.exited(now, &key, &container, exit, &mut out),
            Input::FromExecutor { executor, said } => {
                self.executor_says(now, &executor, said, &mut out);
            }
            Input::Probed {
                key,
                container,
                result,
            } => self.probed(now, &key, &container, result, &mut out),
            Input::Checked {
                key,
                container,
                answer,
            } => self.checked(now, &key, &container, answer),
            Input::DiskUsedUp {
                key,
                container,
                limit_bytes,
                excess,
            } => self.disk_used_up(now, &key, &container, (limit_bytes, excess), &mut out),
            Input::DiskMeasured(space) => self.disk_measured(now, space, &mut out),
            Input::StoreFull => self.store_full(now),
            Input::SandboxRemoved { container, failure } => {
                self.sandbox_removed(now, &container, failure, &mut out);
            }
            Input::VolumeErased { volume, failure } => {
                self.volume_erased(volume, failure, &mut out);
            }
            Input::StopWithTasks { grace } => {
                self.stop_with_tasks(now, StopReason::Asked, Some(grace), &mut out);
            }
        }
        self.settle(now, &mut out);
        out
    }

    fn deadline_input() -> Input {
        Input::Deadline
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = [
            self.link.deadline(),
            self.tasks.deadline(),
            self.custom_executors.deadline(),
            self.updates.deadline(),
            self.probes.deadline(),
            self.checks.deadline(),
            self.disk.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn view(&self) -> View {
        let frameworks = self.tasks.frameworks();
        View {
            agent: self.identity.agent.clone(),
            epoch: self.identity.epoch,
            stage: self.link.stage(),
            standing: self.standing.clone(),
            recovered: self.recovered,
            tasks: self.tasks.shared(),
            executors: self.executors.shared(),
            custom_executors: self.custom_executors.shared(),
            frameworks: frameworks
                .map(|(id, framework)| (id.clone(), Arc::clone(&framework.info)))
                .collect(),
            sandboxes: self.sandboxes.shared(),
            past: self.past.clone(),
            volumes: self.volumes.shared(),
            unacknowledged: self.updates.len(),
            ended: self.ended.clone(),
            counters: self.counters,
            sandboxes_kept_for: self.keep_for(),
            disk: self.disk.space(),
            disk_full: self.disk.is_full(),
            stopping: self.stopping.is_some(),
        }
    }
}
