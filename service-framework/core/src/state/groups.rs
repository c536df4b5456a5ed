//! Groups that are there, and what was there before each of the last changes.
//!
//! Invariant: the groups of every app that is wanted are there. Shared: the view holds the same values.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::Timestamp;

use crate::spec::app::AppId;
use crate::spec::group::{Difference, Group};
use crate::spec::history::AppVersion;
use crate::state::apps::MAX_VERSIONS;

/// All groups but the root, which is always there.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    all: Arc<BTreeMap<AppId, Arc<Group>>>,
    /// By the version that a change made, what it took the place of.
    former: Arc<BTreeMap<Timestamp, Arc<Difference>>>,
}

/// What was wanted at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The apps.
    pub apps: BTreeMap<AppId, Arc<AppVersion>>,
    /// The groups, without the root.
    pub groups: BTreeMap<AppId, Arc<Group>>,
}

impl Tree {
    /// Whether a group is there; `None`: the root, which always is.
    pub fn has(&self, group: Option<&AppId>) -> bool {
        group.is_none_or(|group| self.groups.contains_key(group))
    }

    /// Makes it different.
    pub(crate) fn lay(&mut self, difference: &Difference) {
        lay(&mut self.apps, &difference.apps);
        lay(&mut self.groups, &difference.groups);
    }
}

fn lay<V>(all: &mut BTreeMap<AppId, Arc<V>>, different: &BTreeMap<AppId, Option<Arc<V>>>) {
    for (id, value) in different {
        match value {
            Some(value) => all.insert(id.clone(), Arc::clone(value)),
            None => all.remove(id),
        };
    }
}

impl Groups {
    /// Every group, by its path.
    pub fn all(&self) -> &BTreeMap<AppId, Arc<Group>> {
        &self.all
    }

    /// One of them.
    pub fn get(&self, id: &AppId) -> Option<&Arc<Group>> {
        self.all.get(id)
    }

    /// The moment of the last change to anything.
    pub fn version(&self) -> Timestamp {
        let last = self.former.last_key_value();
        last.map_or(Timestamp::EPOCH, |(version, _)| *version)
    }

    /// The versions one can look at and go back to, with what was wanted in each, newest first. `present`: what is
    /// wanted now.
    pub fn trees(&self, present: BTreeMap<AppId, Arc<AppVersion>>) -> Trees<'_> {
        Trees {
            left: self.former.iter().rev(),
            next: Tree {
                apps: present,
                groups: (*self.all).clone(),
            },
        }
    }

    /// What a change took the place of, if it is known still.
    pub(crate) fn before(&self, version: Timestamp) -> Option<&Arc<Difference>> {
        self.former.get(&version)
    }

    pub(crate) fn put(&mut self, id: AppId, group: Arc<Group>) {
        Arc::make_mut(&mut self.all).insert(id, group);
    }

    pub(crate) fn take(&mut self, id: &AppId) -> Option<Arc<Group>> {
        Arc::make_mut(&mut self.all).remove(id)
    }

    /// Remembers what a change took the place of; the versions that are forgotten for it.
    pub(crate) fn remember(
        &mut self,
        version: Timestamp,
        former: Arc<Difference>,
    ) -> Vec<Timestamp> {
        let all = Arc::make_mut(&mut self.former);
        all.insert(version, former);
        let surplus = all.len().saturating_sub(MAX_VERSIONS);
        let old: Vec<Timestamp> = all.keys().take(surplus).copied().collect();
        all.retain(|version, _| !old.contains(version));
        old
    }
}

/// What was wanted in each version, newest first.
#[derive(Debug)]
pub struct Trees<'a> {
    left: std::iter::Rev<std::collections::btree_map::Iter<'a, Timestamp, Arc<Difference>>>,
    next: Tree,
}

impl Iterator for Trees<'_> {
    type Item = (Timestamp, Tree);

    fn next(&mut self) -> Option<(Timestamp, Tree)> {
        let (version, former) = self.left.next()?;
        let mut before = self.next.clone();
        before.lay(former);
        Some((*version, std::mem::replace(&mut self.next, before)))
    }
}
