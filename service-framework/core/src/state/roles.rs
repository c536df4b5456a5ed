//! The roles in which resources are taken: that of the framework, and those of apps that have another.
//!
//! Roles only come while the framework lives. One that nobody is in any more is left with the next start.

use std::collections::BTreeSet;

use mete_model::Role;

/// The roles, and whether the master has been told of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roles {
    all: BTreeSet<Role>,
    is_changed: bool,
}

impl Roles {
    /// The roles as the first SUBSCRIBE of this life says them.
    pub(crate) const fn known(all: BTreeSet<Role>) -> Self {
        Self {
            all,
            is_changed: false,
        }
    }

    /// All of them. `*` last: whoever has it besides others says so.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Role> {
        self.all.iter().rev()
    }

    /// Somebody is in this role.
    pub(crate) fn take(&mut self, role: &Role) {
        self.is_changed |= self.all.insert(role.clone());
    }

    /// What the master is to be told, if it is something new.
    pub(crate) fn take_news(&mut self) -> Option<Vec<Role>> {
        let is_new = std::mem::take(&mut self.is_changed);
        is_new.then(|| self.all().cloned().collect())
    }
}
