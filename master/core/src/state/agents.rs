//! Agents, each with two lives: whether it can be reached, and whether it is admitted.
//!
//! ```text
//! reach       (new) ─▶ Registered ─▶ Disconnected{until} ─▶ Unreachable{since} ─▶ forgotten after two weeks
//!                          ▲  └─ pings missed ────────────────────▲  │
//!                          └────────────── comes back ───────────────┘
//!             (after a restart of the master) Recovered{until} ─▶ Registered | Unreachable
//! admission   Active ─▶ Draining ─▶ Drained ─▶ Active           any ─▶ Gone, which is final: its id is never let in again
//!             Active ─▶ Deactivated ─▶ Active | Draining
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, AgentInfo, Ranges, Resources, Timestamp};

use crate::input::LinkId;
use crate::registry::AgentRecord;
use mete_model::SharedMap;

/// Whether an agent can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Known from before the master's restart; not heard of since.
    Recovered {
        /// When it counts as unreachable.
        until: Timestamp,
    },
    /// Connected.
    Registered {
        /// Its stream.
        link: LinkId,
    },
    /// Its stream broke.
    Disconnected {
        /// When it counts as unreachable.
        until: Timestamp,
    },
    /// Not heard of for too long; it may still come back. On disk.
    Unreachable {
        /// Since when.
        since: Timestamp,
    },
}

/// Whether an agent may be used. On disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its resources are offered.
    Active,
    /// No offers; its tasks are being ended.
    Draining(Drain),
    /// No offers; it has drained and has no tasks.
    Drained {
        /// When its drain began; `None` when that was under a master that did not keep it.
        since: Option<Timestamp>,
        /// The longest grace period that tasks had, as it was ordered.
        max_grace: Option<Duration>,
    },
    /// No offers; its tasks run on.
    Deactivated,
    /// An operator said that it never comes back.
    Gone {
        /// When that was said.
        at: Timestamp,
    },
}

/// How an agent is to be drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Since when.
    pub since: Timestamp,
    /// Who ends its tasks, and when.
    pub pace: Pace,
    /// When its last task is over, it is marked gone.
    pub mark_gone: bool,
}

/// Who ends the tasks of an agent that drains, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The master, at once.
    AtOnce {
        /// No task is left more time than until then; `None`: each has its own grace period.
        until: Option<Timestamp>,
    },
    /// Their frameworks, which are asked to; what they leave the master kills so early that it is over by the deadline.
    Leave {
        /// The deadline.
        by: Timestamp,
        /// No task has a longer grace period than this; `None`: each has its own.
        max_grace: Option<Duration>,
    },
}

impl Pace {
    /// As an operator says it: how long frameworks have, and the longest grace period of tasks.
    pub(crate) fn ordered(
        now: Timestamp,
        deadline: Option<Duration>,
        max_grace: Option<Duration>,
    ) -> Self {
        match deadline {
            Some(deadline) => Self::Leave {
                by: now + deadline,
                max_grace,
            },
            None => Self::AtOnce {
                until: max_grace.map(|most| now + most),
            },
        }
    }
}

impl Drain {
    /// When the last task is over at the latest; `None`: when its own grace period is.
    pub const fn deadline(&self) -> Option<Timestamp> {
        match self.pace {
            Pace::AtOnce { until } => until,
            Pace::Leave { by, .. } => Some(by),
        }
    }

    /// By when frameworks are to have moved what they have there; `None`: nobody asks them, their tasks are killed.
    pub const fn leave_by(&self) -> Option<Timestamp> {
        match self.pace {
            Pace::AtOnce { .. } => None,
            Pace::Leave { by, .. } => Some(by),
        }
    }

    /// The longest grace period that tasks were given as it was ordered; `None`: each has its own.
    pub fn ordered_grace(&self) -> Option<Duration> {
        match self.pace {
            Pace::AtOnce { until } => until.map(|until| until.since(self.since)),
            Pace::Leave { max_grace, .. } => max_grace,
        }
    }

    /// The longest grace period that a task has; `None`: its own, as far as the deadline allows.
    pub const fn max_grace(&self) -> Option<Duration> {
        match self.pace {
            Pace::AtOnce { .. } => None,
            Pace::Leave { max_grace, .. } => max_grace,
        }
    }
}

impl Admission {
    /// The word for it, for people and tools.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining(_) => "draining",
            Self::Drained { .. } => "drained",
            Self::Deactivated => "deactivated",
            Self::Gone { .. } => "gone",
        }
    }
}

/// One agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Agent {
    /// Its name.
    pub id: AgentId,
    /// What it says of itself, its resources as they have been reserved and made volumes since; only their scalars until
    /// it is back after a restart of the master.
    pub info: AgentInfo,
    /// Version of its program.
    pub version: String,
    /// Changes when the machine restarts.
    pub boot_id: Option<String>,
    /// Whether it can be reached.
    pub reach: Reach,
    /// Whether it may be used.
    pub admission: Admission,
    /// When it came for the first time, as far as this master knows.
    pub registered_at: Timestamp,
    /// When it came back for the last time.
    pub reregistered_at: Option<Timestamp>,
}

impl Agent {
    /// Its stream, when it is connected.
    pub const fn link(&self) -> Option<LinkId> {
        match self.reach {
            Reach::Registered { link } => Some(link),
            Reach::Recovered { .. } | Reach::Disconnected { .. } | Reach::Unreachable { .. } => {
                None
            }
        }
    }

    /// Whether it has come, and is there or may be back in a moment.
    pub const fn is_admitted(&self) -> bool {
        match self.reach {
            Reach::Registered { .. } | Reach::Disconnected { .. } => !self.is_gone(),
            Reach::Recovered { .. } | Reach::Unreachable { .. } => false,
        }
    }

    /// Whether what it has counts when quotas are set: it is there, or may come back soon.
    pub const fn is_counted_on(&self) -> bool {
        match self.reach {
            Reach::Registered { .. } | Reach::Disconnected { .. } | Reach::Recovered { .. } => {
                !self.is_gone()
            }
            Reach::Unreachable { .. } => false,
        }
    }

    /// Whether an operator has marked it gone.
    pub const fn is_gone(&self) -> bool {
        match self.admission {
            Admission::Gone { .. } => true,
            Admission::Active
            | Admission::Draining(_)
            | Admission::Drained { .. }
            | Admission::Deactivated => false,
        }
    }

    /// Whether its resources may be offered now, as the allocator is to know it.
    pub const fn offers(&self) -> mete_placement::Admission {
        match self.admission {
            Admission::Active if self.link().is_some() => mete_placement::Admission::Offerable,
            Admission::Active | Admission::Gone { .. } => mete_placement::Admission::Away,
            Admission::Draining(_) | Admission::Drained { .. } => {
                mete_placement::Admission::Draining
            }
            Admission::Deactivated => mete_placement::Admission::Deactivated,
        }
    }

    /// Whether its resources may be offered now.
    pub const fn is_offerable(&self) -> bool {
        match self.admission {
            Admission::Active => self.link().is_some(),
            Admission::Draining(_)
            | Admission::Drained { .. }
            | Admission::Deactivated
            | Admission::Gone { .. } => false,
        }
    }

    /// How it is drained, while it is.
    pub const fn drain(&self) -> Option<Drain> {
        match self.admission {
            Admission::Draining(drain) => Some(drain),
            Admission::Active
            | Admission::Drained { .. }
            | Admission::Deactivated
            | Admission::Gone { .. } => None,
        }
    }

    /// When its drain began, of one that drains or has drained.
    pub const fn drain_began(&self) -> Option<Timestamp> {
        match self.admission {
            Admission::Draining(drain) => Some(drain.since),
            Admission::Drained { since, .. } => since,
            Admission::Active | Admission::Deactivated | Admission::Gone { .. } => None,
        }
    }

    /// By when frameworks are asked to have left it because it drains.
    pub fn leave_by(&self) -> Option<Timestamp> {
        self.drain()?.leave_by()
    }

    /// What of it is on disk.
    pub fn record(&self) -> AgentRecord {
        AgentRecord {
            id: self.id.clone(),
            endpoint: self.info.endpoint.clone(),
            resources: scalars(&self.info.resources),
            made: self.info.resources.made_at_run_time(),
            admission: self.admission,
            unreachable_since: match self.reach {
                Reach::Unreachable { since } => Some(since),
                Reach::Recovered { .. } | Reach::Registered { .. } | Reach::Disconnected { .. } => {
                    None
                }
            },
            registered_at: self.registered_at,
        }
    }
}

/// How an agent answers pings. Kept apart from [`Agent`], which readers share: pings come often and nobody reads them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pings {
    /// Of the last ping sent; 0 for none.
    pub(crate) sequence: u64,
    /// Of the last ping answered.
    pub(crate) answered: u64,
    /// Pings in a row without an answer.
    pub(crate) missed: u32,
}

/// All agents, gone ones too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    pub(crate) all: SharedMap<AgentId, Arc<Agent>>,
    pub(crate) pings: BTreeMap<AgentId, Pings>,
    /// Known from before the restart, and still waited for.
    pub(crate) awaited: BTreeSet<AgentId>,
    /// This step has made something of them that they are to hear of at its end.
    pub(crate) restated: BTreeSet<AgentId>,
    given_out: u64,
}

impl Agents {
    pub(crate) fn get(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.all.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.all.get_mut(id).map(Arc::make_mut)
    }

    /// The agent, if `link` is the stream it is connected by.
    pub(crate) fn on_link(&self, id: &AgentId, link: LinkId) -> Option<&Arc<Agent>> {
        self.get(id).filter(|agent| agent.link() == Some(link))
    }

    /// A new id, never given out before.
    pub(crate) fn new_id(&mut self, incarnation: &str) -> AgentId {
        let id = AgentId::new(format!("{incarnation}-S{}", self.given_out));
        self.given_out += 1;
        id.expect("the incarnation is a UUID")
    }
}

/// All scalars, whatever they are reserved for, without ports and devices: which ones there are is for the agent to say
/// when it is back.
fn scalars(resources: &Resources) -> Resources {
    let all = resources.flat().into_owned();
    all.with_ports(Ranges::new()).without_device_names()
}
