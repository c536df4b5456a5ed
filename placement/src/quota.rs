//! How much a top-level role may have at most (limit), and how much is kept for it (guarantee).
//!
//! What counts is what frameworks in the role or below it hold, on offer or in use. A grant is cut to
//! the role's **room**: what its limit leaves, and, where others have guarantees that they do not yet
//! use, what stays free beyond those (the headroom).
//!
//! Invariant: `required` is the sum of all `unmet`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{MEBIBYTE, Resources};

use crate::slots::RoleSlot;
use crate::sums::Sums;

/// The least an offer holds, unless it holds [`MIN_MEM_BYTES`]: Mesos' `min_allocatable_resources`.
pub const MIN_CPUS_MILLI: u64 = 10;
/// The least an offer holds, unless it holds [`MIN_CPUS_MILLI`].
pub const MIN_MEM_BYTES: u64 = 32 * MEBIBYTE;

/// Whether it is worth offering at all.
pub const fn is_allocatable(resources: &Resources) -> bool {
    resources.cpus_milli >= MIN_CPUS_MILLI || resources.mem_bytes >= MIN_MEM_BYTES
}

/// Scalars of which some are stated: what is `None` or not named is not limited (not guaranteed).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub cpus_milli: Option<u64>,
    /// Bytes of memory.
    pub mem_bytes: Option<u64>,
    /// Bytes of disk.
    pub disk_bytes: Option<u64>,
    /// Thousandths of a GPU.
    pub gpus_milli: Option<u64>,
    /// Further scalars by name, in thousandths.
    pub other: BTreeMap<Arc<str>, u64>,
}

/// States the scalars that are not zero.
impl From<&Resources> for Amounts {
    fn from(resources: &Resources) -> Self {
        let stated = |amount: u64| (amount > 0).then_some(amount);
        Self {
            cpus_milli: stated(resources.cpus_milli),
            mem_bytes: stated(resources.mem_bytes),
            disk_bytes: stated(resources.disk_bytes),
            gpus_milli: stated(resources.gpus_milli),
            other: resources
                .others()
                .map(|(name, milli)| (Arc::from(name), milli))
                .collect(),
        }
    }
}

impl Amounts {
    /// As much of `resources` as these amounts allow; ports are not touched.
    #[must_use]
    pub fn cut(&self, resources: &Resources) -> Resources {
        let mut part = resources.clone();
        let [cpus, mem, disk, gpus] = self.main();
        for (amount, most) in [
            (&mut part.cpus_milli, cpus),
            (&mut part.mem_bytes, mem),
            (&mut part.disk_bytes, disk),
            (&mut part.gpus_milli, gpus),
        ] {
            *amount = (*amount).min(most.unwrap_or(u64::MAX));
        }
        for (name, most) in &self.other {
            part.set_other(name, part.other(name).min(*most));
        }
        part
    }

    /// Whether nothing that is worth offering passes [`Self::cut`].
    pub(crate) fn is_shut(&self) -> bool {
        self.cpus_milli.is_some_and(|most| most < MIN_CPUS_MILLI)
            && self.mem_bytes.is_some_and(|most| most < MIN_MEM_BYTES)
    }

    fn is_unlimited(&self) -> bool {
        self.main() == [None; 4] && self.other.is_empty()
    }

    const fn main(&self) -> [Option<u64>; 4] {
        [
            self.cpus_milli,
            self.mem_bytes,
            self.disk_bytes,
            self.gpus_milli,
        ]
    }

    const fn from_main([cpus, mem, disk, gpus]: [Option<u64>; 4]) -> Self {
        Self {
            cpus_milli: cpus,
            mem_bytes: mem,
            disk_bytes: disk,
            gpus_milli: gpus,
            other: BTreeMap::new(),
        }
    }

    /// What of these amounts `held` has not reached.
    fn less(&self, held: &Sums) -> Self {
        let mut left = self.main();
        for (most, held) in left.iter_mut().zip(held.main) {
            if let Some(most) = most {
                *most = less(*most, held);
            }
        }
        let mut left = Self::from_main(left);
        for (name, most) in &self.other {
            left.other
                .insert(Arc::clone(name), less(*most, held.other(name)));
        }
        left
    }

    fn to_resources(&self) -> Resources {
        let [cpus, mem, disk, gpus] = self.main().map(|amount| amount.unwrap_or(0));
        let mut resources = Resources::none();
        resources.cpus_milli = cpus;
        resources.mem_bytes = mem;
        resources.disk_bytes = disk;
        resources.gpus_milli = gpus;
        for (name, milli) in &self.other {
            resources.set_other(name, *milli);
        }
        resources
    }
}

fn less(most: u64, held: u128) -> u64 {
    u64::try_from(held).map_or(0, |held| most.saturating_sub(held))
}

/// What was set for one role, and how much of its guarantee it does not hold yet.
#[derive(Clone, Debug, Default)]
struct RoleQuota {
    limit: Option<Amounts>,
    guarantee: Option<Amounts>,
    unmet: Resources,
}

/// All limits and guarantees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quota {
    roles: BTreeMap<RoleSlot, RoleQuota>,
    /// What is to be kept free for guarantees.
    required: Sums,
    /// Top-level roles to which something was not given because of a limit or the headroom.
    held_back: BTreeSet<RoleSlot>,
}

/// How much a role may be given now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Unlimited,
    UpTo(Amounts),
}

impl Quota {
    pub(crate) fn set_limit(&mut self, role: RoleSlot, limit: Option<Amounts>) {
        self.roles.entry(role).or_default().limit = limit;
        self.drop_if_unset(role);
    }

    pub(crate) fn set_guarantee(
        &mut self,
        role: RoleSlot,
        guarantee: Option<Amounts>,
        held: &Sums,
    ) {
        self.roles.entry(role).or_default().guarantee = guarantee;
        self.note_held(role, held);
        self.drop_if_unset(role);
    }

    pub(crate) fn limit(&self, role: RoleSlot) -> Option<&Amounts> {
        self.roles.get(&role)?.limit.as_ref()
    }

    pub(crate) fn guarantee(&self, role: RoleSlot) -> Option<&Amounts> {
        self.roles.get(&role)?.guarantee.as_ref()
    }

    /// Whether anything at all was set for the role.
    pub(crate) fn is_set(&self, role: RoleSlot) -> bool {
        self.roles.contains_key(&role)
    }

    /// Whether any role has a guarantee, so that what is free matters to all.
    pub(crate) fn keeps_headroom(&self) -> bool {
        self.roles.values().any(|quota| quota.guarantee.is_some())
    }

    /// A top-level role now holds so much.
    pub(crate) fn note_held(&mut self, role: RoleSlot, held: &Sums) {
        let Some(quota) = self.roles.get_mut(&role) else {
            return;
        };
        let unmet = match &quota.guarantee {
            Some(guarantee) => guarantee.less(held).to_resources(),
            None => Resources::none(),
        };
        self.required.remove(&quota.unmet);
        self.required.add(&unmet);
        quota.unmet = unmet;
    }

    /// How much a top-level role that holds `held` may be given while `free` is free in all.
    pub(crate) fn room(&self, role: RoleSlot, held: &Sums, free: &Sums) -> Room {
        if self.roles.is_empty() {
            return Room::Unlimited;
        }
        let quota = self.roles.get(&role);
        let mut room = match quota.and_then(|quota| quota.limit.as_ref()) {
            Some(limit) => limit.less(held),
            None => Amounts::default(),
        };
        if self.required != Sums::default() {
            let none = Resources::none();
            self.cut_to_headroom(&mut room, quota.map_or(&none, |quota| &quota.unmet), free);
        }
        if room.is_unlimited() {
            Room::Unlimited
        } else {
            Room::UpTo(room)
        }
    }

    /// Beyond its own unmet guarantee a role gets only what is free beyond all guarantees.
    fn cut_to_headroom(&self, room: &mut Amounts, unmet: &Resources, free: &Sums) {
        let most = |required: u128, unmet: u64, free: u128| {
            let surplus = free.saturating_sub(required);
            u64::try_from(surplus.saturating_add(u128::from(unmet))).unwrap_or(u64::MAX)
        };
        let mut main = room.main();
        let unmets = crate::sums::scalars(unmet);
        for (at, room) in main.iter_mut().enumerate() {
            if self.required.main[at] > 0 {
                let most = most(self.required.main[at], unmets[at], free.main[at]);
                *room = Some(room.map_or(most, |room| room.min(most)));
            }
        }
        let mut other = std::mem::take(&mut room.other);
        for (name, required) in &self.required.other {
            let most = most(*required, unmet.other(name), free.other(name));
            let room = other.entry(Arc::clone(name)).or_insert(most);
            *room = most.min(*room);
        }
        *room = Amounts {
            other,
            ..Amounts::from_main(main)
        };
    }

    pub(crate) fn hold_back(&mut self, role: RoleSlot) {
        self.held_back.insert(role);
    }

    /// Takes the roles that may get something now: `role` has been given something back, and with
    /// guarantees around, what is free again may be for anybody.
    pub(crate) fn take_held_back(&mut self, role: Option<RoleSlot>) -> BTreeSet<RoleSlot> {
        if self.held_back.is_empty() {
            return BTreeSet::new();
        }
        if role.is_none() || self.keeps_headroom() {
            return std::mem::take(&mut self.held_back);
        }
        role.filter(|role| self.held_back.remove(role))
            .into_iter()
            .collect()
    }

    fn drop_if_unset(&mut self, role: RoleSlot) {
        if let Some(quota) = self.roles.get(&role)
            && quota.limit.is_none()
            && quota.guarantee.is_none()
        {
            self.roles.remove(&role);
        }
    }
}
