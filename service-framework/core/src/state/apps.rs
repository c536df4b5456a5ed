//! Apps: what is wanted of each, what is being kept of it right now, and its instances.
//!
//! `wanted` is what the user said last; `target` is what the running deployment has got to, and what is kept when no
//! deployment runs. An app that is wanted no more stays until its last instance has ended.
//!
//! Everything is shared: the view holds the same values, and what changes is copied first.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::{AgentId, TaskId, TaskState, Timestamp};

use crate::spec::app::AppId;
use crate::spec::history::AppVersion;
use crate::state::instances::{Instance, InstanceId};

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
}

/// How many instances of an app stand where, as Marathon counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Launched, not running.
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
        }
    }

    /// How many instances stand where.
    pub fn counts(&self) -> Counts {
        use crate::state::instances::InstanceState as State;
        let mut counts = Counts::default();
        for instance in self.instances.values() {
            match instance.state {
                State::Launching { .. } | State::Staging => counts.staged += 1,
                State::Running { healthy } => {
                    counts.running += 1;
                    counts.healthy += u32::from(healthy == Some(true));
                    counts.unhealthy += u32::from(healthy == Some(false));
                }
                State::Draining { .. } => {
                    counts.running += 1;
                    counts.healthy += u32::from(!instance.version.spec.health_checks.is_empty());
                }
                State::Waiting | State::Unreachable { .. } | State::Killing { .. } => {}
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
