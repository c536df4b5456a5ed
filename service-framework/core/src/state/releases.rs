//! What is held for instances that are no more, until it is given back.
//!
//! ```text
//! owed ──an offer shows it──▶ given ──shown again──▶ given
//!   │                           └──the master has done it, or it is not shown for so long──▶ (over)
//!   └──not sure, or found among what is reserved, and not shown for so long──▶ (over)
//! ```
//! Invariant: stored before the instance is forgotten, so that nothing stays reserved that nobody asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::{AgentId, Timestamp};

use crate::state::holdings::Holding;
use crate::state::instances::InstanceId;

/// What was given back and is not offered again for so long is gone, though no master has said so: one does it at once or
/// not at all, and agents that were away meanwhile are back by then or unreachable (`--agent-reregister-timeout`, 10 min).
pub const RELEASE_CONFIRM: Duration = Duration::from_secs(600);
/// What waits to be given back at once; of more the oldest by name is left to operators. Each costs a shape of the demand,
/// of which a master takes a thousand.
pub const MAX_RELEASES: usize = 1_000;

/// What is to be given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Where it is.
    pub agent: AgentId,
    /// What it is.
    pub holding: Holding,
    /// Whether it was offered and an answer went out with that offer.
    pub is_given: bool,
    /// When it counts as gone; `None`: it is there, and has not been offered yet.
    pub(crate) over: Option<Timestamp>,
}

impl Release {
    pub(crate) fn new(now: Timestamp, agent: AgentId, holding: Holding, is_given: bool) -> Self {
        let is_doubtful = is_given || !holding.is_confirmed;
        Self {
            agent,
            holding,
            is_given,
            over: is_doubtful.then(|| now + RELEASE_CONFIRM),
        }
    }
}

/// All that is to be given back, by the instance that held it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Releases(BTreeMap<InstanceId, Release>);

impl Releases {
    /// Adds one; the one that is left to operators, when there are too many.
    pub(crate) fn add(&mut self, id: InstanceId, release: Release) -> Option<InstanceId> {
        self.0.insert(id, release);
        let surplus = self.0.len() > MAX_RELEASES;
        let (id, _) = surplus.then(|| self.0.pop_first())??;
        Some(id)
    }

    /// Whether something that this one held is to be given back already.
    pub(crate) fn has(&self, id: &InstanceId) -> bool {
        self.0.contains_key(id)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_RELEASES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&InstanceId, &Release)> {
        self.0.iter()
    }

    /// It was offered, and is given back with that offer; `None`: nobody knows of it.
    pub(crate) fn given(&mut self, now: Timestamp, id: &InstanceId) -> Option<Release> {
        let release = self.0.get_mut(id)?;
        release.is_given = true;
        release.over = Some(now + RELEASE_CONFIRM);
        Some(release.clone())
    }

    /// It is given back; whether it was still waited for.
    pub(crate) fn remove(&mut self, id: &InstanceId) -> bool {
        self.0.remove(id).is_some()
    }

    /// Nobody was listened to meanwhile: all that counts as gone some day does so later.
    pub(crate) fn wait_anew(&mut self, now: Timestamp) {
        for release in self.0.values_mut() {
            release.over = release.over.map(|_| now + RELEASE_CONFIRM);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|release| release.over).min()
    }

    /// What is gone by now.
    pub(crate) fn take_over(&mut self, now: Timestamp) -> Vec<InstanceId> {
        let is_over = |release: &Release| release.over.is_some_and(|over| over <= now);
        let over: Vec<InstanceId> = self
            .0
            .iter()
            .filter(|(_, release)| is_over(release))
            .map(|(id, _)| id.clone())
            .collect();
        for id in &over {
            self.0.remove(id);
        }
        over
    }
}
