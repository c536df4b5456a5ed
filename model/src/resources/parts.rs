//! The special parts of resources, each under its tag.
//!
//! Most resources have none; then this is a null pointer. Otherwise the map is shared until it changes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Resources, Tag};
use crate::Role;

/// Parts by tag. `None` when there are none; no part is empty, none has parts of its own, and no tag
/// [is plain](Tag::is_plain).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Parts(Option<Arc<BTreeMap<Arc<Tag>, Resources>>>);

impl Parts {
    /// No part.
    pub(super) const fn none() -> Self {
        Self(None)
    }
}

impl Resources {
    /// What is special, by tag.
    pub fn parts(&self) -> impl Iterator<Item = (&Arc<Tag>, &Self)> {
        self.parts.0.iter().flat_map(|all| all.iter())
    }

    /// The part of one tag.
    pub fn part(&self, tag: &Tag) -> Option<&Self> {
        self.parts.0.as_ref()?.get(tag)
    }

    /// Whether anything is special.
    pub const fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// What is not special.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self {
            parts: Parts::default(),
            ..self.clone()
        }
    }

    /// What is reserved for nobody.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.clone().only_parts(|tag| tag.role().is_none())
    }

    /// What is reserved, by the role that has it in the end.
    pub fn by_role(&self) -> BTreeMap<Role, Self> {
        let mut by_role: BTreeMap<Role, Self> = BTreeMap::new();
        for (tag, part) in self.parts() {
            if let Some(role) = tag.role() {
                let sum = by_role.entry(role.clone()).or_default();
                sum.add_part(Arc::clone(tag), part.clone());
            }
        }
        by_role
    }

    /// All scalars, ports and devices of the plain and of every part in one; borrowed when nothing is special.
    #[inline]
    pub fn flat(&self) -> Cow<'_, Self> {
        if !self.has_parts() {
            return Cow::Borrowed(self);
        }
        let mut all = self.plain();
        for (_, part) in self.parts() {
            all.add(part);
        }
        Cow::Owned(all)
    }

    /// The same with a part added.
    #[must_use]
    pub fn with_part(mut self, tag: impl Into<Arc<Tag>>, part: Self) -> Self {
        self.add_part(tag, part);
        self
    }

    /// Adds to the part of a tag, or to what is plain when the tag is. Only what is plain in `more` counts. A
    /// shared part that is there already stays as it is.
    pub fn add_part(&mut self, tag: impl Into<Arc<Tag>>, mut more: Self) {
        let tag = tag.into();
        more.parts = Parts::default();
        if tag.is_plain() {
            self.add(&more);
        } else if !more.is_empty() {
            let all = Arc::make_mut(self.parts.0.get_or_insert_default());
            add_to(all, tag, &more);
        }
    }

    /// Takes a part out whole, shared or not.
    pub fn take_part(&mut self, tag: &Tag) -> Option<Self> {
        self.part(tag)?;
        let all = Arc::make_mut(self.parts.0.as_mut()?);
        let taken = all.remove(tag);
        self.parts.drop_if_empty();
        taken
    }

    /// The same with `from` turned into `to`, as reserving and making volumes do. Unlike with
    /// [`minus`](Self::minus), a shared part of `from` goes. `None` when `from` is not all there.
    #[must_use]
    pub fn reshaped(&self, from: &Self, to: &Self) -> Option<Self> {
        let mut left = self.minus(from)?;
        for (tag, _) in from.parts().filter(|(tag, _)| tag.shared) {
            left.take_part(tag);
        }
        left.add(to);
        Some(left)
    }

    /// Those parts of which an agent does not know by itself: reserved while it ran, and volumes.
    #[must_use]
    pub fn made_at_run_time(&self) -> Self {
        let mut made = Self::none();
        made.parts = self.parts.clone();
        made.only_parts(Tag::is_made_at_run_time)
    }

    /// The same quantities as the agent has them by itself: nothing reserved while it ran, no volumes.
    #[must_use]
    pub fn as_the_agent_has_it(&self) -> Self {
        let mut all = self.clone().only_parts(|tag| !tag.is_made_at_run_time());
        for (tag, part) in self.parts().filter(|(tag, _)| tag.is_made_at_run_time()) {
            all.add_part(tag.as_the_agent_has_it(), part.clone());
        }
        all
    }

    /// Without what is shared: what is used up when it is taken.
    #[must_use]
    pub fn unshared(self) -> Self {
        self.only_parts(|tag| !tag.shared)
    }

    /// Keeps what is plain and those parts whose tag passes.
    #[must_use]
    pub fn only_parts(mut self, keep: impl Fn(&Tag) -> bool) -> Self {
        if self.parts().all(|(tag, _)| keep(tag)) {
            return self;
        }
        self.parts.retain(keep);
        self
    }
}

impl Parts {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn contain(&self, asked: &Self) -> bool {
        let Some(asked) = &asked.0 else { return true };
        let Some(all) = &self.0 else { return false };
        Arc::ptr_eq(all, asked)
            || asked.iter().all(|(tag, part)| {
                all.get(tag).is_some_and(|there| {
                    there.contains(part)
                        && (tag.volume.is_none() || there.disk_milli == part.disk_milli)
                })
            })
    }

    pub(super) fn add(&mut self, more: &Self) {
        let Some(more) = &more.0 else { return };
        let Some(all) = &mut self.0 else {
            self.0 = Some(Arc::clone(more));
            return;
        };
        let all = Arc::make_mut(all);
        for (tag, part) in &**more {
            add_to(all, Arc::clone(tag), part);
        }
    }

    /// What is left when `asked` is taken away, as far as it is there. Shared parts stay.
    pub(super) fn without(&self, asked: &Self) -> Self {
        let (Some(all), Some(asked)) = (&self.0, &asked.0) else {
            return self.clone();
        };
        if Arc::ptr_eq(all, asked) {
            let mut left = self.clone();
            left.retain(|tag| tag.shared);
            return left;
        }
        let left = all.iter().map(|(tag, there)| {
            let left = match asked.get(tag) {
                Some(taken) if !tag.shared => there.minus_at_most(taken),
                Some(_) | None => there.clone(),
            };
            (Arc::clone(tag), left)
        });
        let left: BTreeMap<_, _> = left.filter(|(_, part)| !part.is_empty()).collect();
        Self((!left.is_empty()).then(|| Arc::new(left)))
    }

    fn retain(&mut self, keep: impl Fn(&Tag) -> bool) {
        let Some(all) = &mut self.0 else { return };
        if all.keys().any(|tag| keep(tag)) {
            Arc::make_mut(all).retain(|tag, _| keep(tag));
            self.drop_if_empty();
        } else {
            self.0 = None;
        }
    }

    fn drop_if_empty(&mut self) {
        self.0.take_if(|all| all.is_empty());
    }
}

/// Adds to one part of a map.
fn add_to(all: &mut BTreeMap<Arc<Tag>, Resources>, tag: Arc<Tag>, more: &Resources) {
    match all.entry(tag) {
        std::collections::btree_map::Entry::Vacant(free) => {
            free.insert(more.clone());
        }
        std::collections::btree_map::Entry::Occupied(mut there) => {
            if !there.key().shared {
                there.get_mut().add(more);
            }
        }
    }
}
