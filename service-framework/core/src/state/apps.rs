//! Apps: what is wanted of each, what is being kept of it right now, and its instances.
//!
//! `wanted` is what the user said last; `target` is what the running deployment has got to, and what is kept when no
//! deployment runs. An app that is wanted no more stays until its last instance has ended.
//!
//! Everything is shared: the view holds the same values, and what changes is copied first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{AgentId, TaskId, TaskState, Timestamp};

use crate::spec::app::AppId;
use crate::spec::history::AppVersion;
use crate::state::instances::{Instance, InstanceId, InstanceState};

/// Versions kept of each app, beside those in use. Marathon keeps 50; half of that is still months of changes.
pub const MAX_VERSIONS: usize = 25;

/// One app.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its path.
    pub id: AppId,
    /// What the user said last; `None`: nothing more is wanted.
    pub wanted: Option<Arc<AppVersion>>,
    /// What is kept now; `None`: nothing.
    pub target: Option<Target>,
    /// Every version kept, by the moment it was made.
    pub versions: BTreeMap<Timestamp, Arc<AppVersion>>,
    /// Its instances, by id.
    pub instances: BTreeMap<InstanceId, Arc<Instance>>,
    /// The last instance that failed.
    pub last_failure: Option<Arc<LastFailure>>,
    /// Of a pod, those that failed before it, newest first; at most [`MAX_EARLIER_FAILURES`].
    pub earlier_failures: Vec<Arc<LastFailure>>,
}

/// What is kept of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// New instances are of this version.
    pub version: Arc<AppVersion>,
    /// So many.
    pub instances: u32,
    /// Whether instances of other configs are replaced.
    pub replaces: bool,
}

/// With the last one, as many as a person looks through.
pub const MAX_EARLIER_FAILURES: usize = 9;

/// How an instance failed, as `lastTaskFailure` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// Which task.
    pub task: TaskId,
    /// How it ended.
    pub state: TaskState,
    /// Why, for people.
    pub message: String,
    /// Where.
    pub host: String,
    /// On which agent.
    pub agent: Option<AgentId>,
    /// The version it ran.
    pub version: Timestamp,
    /// When.
    pub timestamp: Timestamp,
    /// When it began to run, or was launched where it never did; `None`: not known any more.
    pub started_at: Option<Timestamp>,
}

/// How many instances of an app stand where, as Marathon counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Launched, and nothing is heard of it yet, or that it is staged.
    pub staged: u32,
    /// Running.
    pub running: u32,
    /// Running, and the check passes.
    pub healthy: u32,
    /// Running, and the check fails.
    pub unhealthy: u32,
}

impl App {
    /// An app nobody has heard of yet.
    pub const fn new(id: AppId) -> Self {
        Self {
            id,
            wanted: None,
            target: None,
            versions: BTreeMap::new(),
            instances: BTreeMap::new(),
            last_failure: None,
            earlier_failures: Vec::new(),
        }
    }

    /// How its instances failed, newest first.
    pub fn failures(&self) -> impl Iterator<Item = &Arc<LastFailure>> {
        self.last_failure.iter().chain(&self.earlier_failures)
    }

    /// An instance has failed; those of a pod before it are remembered.
    pub(crate) fn note_failure(&mut self, failure: Arc<LastFailure>) {
        let is_pod = self.wanted.as_ref().is_some_and(|one| one.spec.is_pod());
        let before = self.last_failure.replace(failure).filter(|_| is_pod);
        if let Some(before) = before {
            self.earlier_failures.truncate(MAX_EARLIER_FAILURES - 1);
            self.earlier_failures.insert(0, before);
        }
    }

    /// How many instances stand where.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for instance in self.instances.values() {
            match instance.state {
                InstanceState::Launching { .. } | InstanceState::Staging => counts.staged += 1,
                InstanceState::Running { healthy } => {
                    counts.running += 1;
                    counts.healthy += u32::from(healthy == Some(true));
                    counts.unhealthy += u32::from(healthy == Some(false));
                }
                InstanceState::Draining { .. } => {
                    counts.running += 1;
                    counts.healthy += u32::from(instance.is_checked());
                }
                InstanceState::Waiting
                | InstanceState::Starting
                | InstanceState::Unreachable { .. }
                | InstanceState::Killing { .. }
                | InstanceState::Reserved { .. } => {}
            }
        }
        counts
    }

    /// Those that count among the wanted.
    pub fn active(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.instances
            .values()
            .filter(|instance| instance.is_active())
    }
}

/// All apps, and where to find instances by what they wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apps {
    all: Arc<BTreeMap<AppId, Arc<App>>>,
    /// Instances that time alone will change.
    deadlines: BTreeSet<(Timestamp, InstanceId)>,
    /// Instances that wait for an offer, the longest first.
    waiting: BTreeSet<(Timestamp, InstanceId)>,
    /// Instances that wait for proxies.
    draining: BTreeSet<InstanceId>,
    /// Instances that wait for an offer of what they hold.
    reserved: BTreeSet<InstanceId>,
}

impl Apps {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<AppId, Arc<App>>> {
        Arc::clone(&self.all)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.all.values()
    }

    pub(crate) fn get(&self, id: &AppId) -> Option<&Arc<App>> {
        self.all.get(id)
    }

    /// The version wanted of an app; `None` also when there is no such app.
    pub(crate) fn wanted(&self, id: &AppId) -> Option<&Arc<AppVersion>> {
        self.all.get(id)?.wanted.as_ref()
    }

    /// Changes an app; makes it when it is not there. Its instances are changed by `put` and `take` only.
    pub(crate) fn edit<R>(&mut self, id: &AppId, change: impl FnOnce(&mut App) -> R) -> R {
        let all = Arc::make_mut(&mut self.all);
        let app = all
            .entry(id.clone())
            .or_insert_with(|| Arc::new(App::new(id.clone())));
        change(Arc::make_mut(app))
    }

    /// Forgets an app; it has no instances.
    pub(crate) fn forget(&mut self, id: &AppId) -> Option<Arc<App>> {
        Arc::make_mut(&mut self.all).remove(id)
    }

    pub(crate) fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.all.get(&id.app())?.instances.get(id)
    }

    /// Puts an instance in the place of what it was before.
    pub(crate) fn put(&mut self, instance: Instance) -> Arc<Instance> {
        let instance = Arc::new(instance);
        self.take(&instance.id);
        if let Some(deadline) = instance.deadline() {
            self.deadlines.insert((deadline, instance.id.clone()));
        }
        match instance.state {
            InstanceState::Waiting => {
                self.waiting.insert((instance.since, instance.id.clone()));
            }
            InstanceState::Draining { .. } => {
                self.draining.insert(instance.id.clone());
            }
            InstanceState::Reserved { is_wanted } if is_wanted => {
                self.reserved.insert(instance.id.clone());
            }
            InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. }
            | InstanceState::Unreachable { .. }
            | InstanceState::Killing { .. }
            | InstanceState::Reserved { .. } => {}
        }
        let (app, id) = (instance.app().clone(), instance.id.clone());
        self.edit(&app, |app| app.instances.insert(id, Arc::clone(&instance)));
        instance
    }

    /// Takes an instance out.
    pub(crate) fn take(&mut self, id: &InstanceId) -> Option<Arc<Instance>> {
        let app = id.app();
        let instance = self.all.get(&app)?.instances.get(id).map(Arc::clone)?;
        if let Some(deadline) = instance.deadline() {
            self.deadlines.remove(&(deadline, id.clone()));
        }
        self.waiting.remove(&(instance.since, id.clone()));
        self.draining.remove(id);
        self.reserved.remove(id);
        self.edit(&app, |app| app.instances.remove(id))
    }

    pub(crate) const fn waiting(&self) -> &BTreeSet<(Timestamp, InstanceId)> {
        &self.waiting
    }

    pub(crate) const fn draining(&self) -> &BTreeSet<InstanceId> {
        &self.draining
    }

    pub(crate) const fn reserved(&self) -> &BTreeSet<InstanceId> {
        &self.reserved
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Instances whose deadline has come.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<InstanceId> {
        let due = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now);
        due.map(|(_, id)| id.clone()).collect()
    }
}
