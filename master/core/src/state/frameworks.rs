//! Frameworks.
//!
//! ```text
//! (new) ─▶ Active ◀─▶ Disconnected{until} ─▶ Completed ─▶ forgotten when others have come to this
//!             └── TEARDOWN ────────────────────▲   └─▶ Active, if it comes back and was not torn down
//! (tasks came back with an agent) ─▶ Disconnected{until, recovered}
//! ```
//! A completed framework stays as long as tasks of it end; the master acknowledges their updates in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{FrameworkId, FrameworkInfo, Role, Timestamp};
use mete_placement::{Amounts, FrameworkFacts, OfferConstraints, Shape};

use crate::input::LinkId;
use mete_model::SharedMap;

/// Completed frameworks that are remembered, for `/state` only (as many as Mesos).
pub(crate) const MAX_COMPLETED_FRAMEWORKS: usize = 50;

/// Whether a framework is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Connected.
    Active {
        /// Its stream.
        link: LinkId,
    },
    /// Away; its tasks run on.
    Disconnected {
        /// When it is removed.
        until: Timestamp,
        /// Known only from agents: it has not subscribed with this master.
        recovered: bool,
    },
    /// Removed; its tasks end.
    Completed {
        /// Since when.
        at: Timestamp,
    },
}

/// Which offers a framework takes at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfferRules {
    /// By role, on which agents; a role that is not in it: on all.
    pub constraints: BTreeMap<Role, OfferConstraints>,
    /// By role, what an offer holds at least: one of these. A role that is not in it: as the cluster has it; an empty list:
    /// anything.
    pub min_allocatable: BTreeMap<Role, Vec<Amounts>>,
}

/// One framework.
#[derive(Clone, Debug, PartialEq)]
pub struct Framework {
    /// Its name.
    pub id: FrameworkId,
    /// What it says of itself.
    pub info: Arc<FrameworkInfo>,
    /// Whether its tasks outlive agents; as first said.
    pub checkpoint: bool,
    /// Whether it is there.
    pub life: Life,
    /// Roles for which it wants no offers.
    pub suppressed: BTreeSet<Role>,
    /// Which offers it takes at all.
    pub rules: OfferRules,
    /// What it is waiting to run, most urgent first, as it said last.
    pub demand: Arc<[Shape]>,
    /// When it came for the first time, as far as this master knows.
    pub registered_at: Timestamp,
    /// When it came back for the last time.
    pub reregistered_at: Option<Timestamp>,
}

impl Framework {
    /// Its stream, when it is connected.
    pub const fn link(&self) -> Option<LinkId> {
        match self.life {
            Life::Active { link } => Some(link),
            Life::Disconnected { .. } | Life::Completed { .. } => None,
        }
    }

    /// What the allocator needs to know of it.
    pub(crate) fn facts(&self) -> FrameworkFacts {
        FrameworkFacts {
            roles: self.info.roles.clone(),
            capabilities: self.info.capabilities.clone(),
            min_allocatable: self.rules.min_allocatable.clone(),
            offer_constraints: self.rules.constraints.clone(),
        }
    }

    /// Whether nothing is known of it but that it has tasks.
    pub fn is_nameless(&self) -> bool {
        self.info.name.is_empty() && self.info.user.is_empty() && self.info.principal.is_none()
    }

    /// Whether it was removed.
    pub const fn is_completed(&self) -> bool {
        match self.life {
            Life::Completed { .. } => true,
            Life::Active { .. } | Life::Disconnected { .. } => false,
        }
    }
}

/// All frameworks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frameworks {
    pub(crate) all: SharedMap<FrameworkId, Arc<Framework>>,
    given_out: u64,
}

impl Frameworks {
    pub(crate) fn get(&self, id: &FrameworkId) -> Option<&Arc<Framework>> {
        self.all.get(id)
    }

    pub(crate) fn get_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.all.get_mut(id).map(Arc::make_mut)
    }

    /// The framework, if `link` is the stream it is connected by.
    pub(crate) fn on_link(&self, id: &FrameworkId, link: LinkId) -> Option<&Arc<Framework>> {
        self.get(id)
            .filter(|framework| framework.link() == Some(link))
    }

    /// A new id, never given out before.
    pub(crate) fn new_id(&mut self, incarnation: &str) -> FrameworkId {
        let id = FrameworkId::new(format!("{incarnation}-{:04}", self.given_out));
        self.given_out += 1;
        id.expect("the incarnation is a UUID")
    }
}
