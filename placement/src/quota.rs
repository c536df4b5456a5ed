//! How much a top-level role may have at most (limit), and how much is kept for it (guarantee).
//!
//! What counts is what frameworks in the role or below it hold, on offer or in use. A grant is cut to
//! the role's **room**: what its limit leaves, and, where others have guarantees that they do not yet
//! use, what stays free beyond those (the headroom).
//!
//! Invariant: `required` is the sum of all `unmet`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use mete_model::{MB_MILLI, Resources};

use crate::slots::RoleSlot;
use crate::sums::{Sums, scalars};

/// The least an offer holds, unless it holds [`MIN_MEM_MILLI`]: Mesos' `min_allocatable_resources`.
pub const MIN_CPUS_MILLI: u64 = 10;
/// The least an offer holds, unless it holds [`MIN_CPUS_MILLI`].
pub const MIN_MEM_MILLI: u64 = 32 * MB_MILLI;

/// Whether it is worth offering at all.
pub fn is_allocatable(resources: &Resources) -> bool {
    let resources = resources.flat();
    resources.cpus_milli >= MIN_CPUS_MILLI || resources.mem_milli >= MIN_MEM_MILLI
}

/// Scalars of which some are stated: what is `None` or not named is not limited (not guaranteed).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub cpus_milli: Option<u64>,
    /// Thousandths of a MB of memory.
    pub mem_milli: Option<u64>,
    /// Thousandths of a MB of disk.
    pub disk_milli: Option<u64>,
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
            mem_milli: stated(resources.mem_milli),
            disk_milli: stated(resources.disk_milli),
            gpus_milli: stated(resources.gpus_milli),
            other: resources
                .others()
                .map(|(name, milli)| (Arc::from(name), milli))
                .collect(),
        }
    }
}

impl Amounts {
    /// As much of `resources` as these amounts allow, of a GPU perhaps a part; ports and what is reserved
    /// are not touched.
    #[must_use]
    pub fn cut(&self, resources: &Resources) -> Resources {
        let mut part = resources.clone();
        let [cpus, mem, disk, gpus] = self.main();
        for (amount, most) in [
            (&mut part.cpus_milli, cpus),
            (&mut part.mem_milli, mem),
            (&mut part.disk_milli, disk),
        ] {
            *amount = (*amount).min(most.unwrap_or(u64::MAX));
        }
        part.cut_gpus(gpus.unwrap_or(u64::MAX));
        for (name, most) in &self.other {
            part.set_other(name, part.other(name).min(*most));
        }
        part
    }

    /// Whether the stated amounts allow all of `resources`; what is reserved does not count.
    pub fn holds(&self, resources: &Resources) -> bool {
        self.main()
            .into_iter()
            .zip(scalars(resources))
            .all(|(most, amount)| most.is_none_or(|most| amount <= most))
            && self
                .other
                .iter()
                .all(|(name, most)| resources.other(name) <= *most)
    }

    /// Whether `resources` have at least the stated amounts.
    pub fn is_within(&self, resources: &Resources) -> bool {
        self.main()
            .into_iter()
            .zip(scalars(resources))
            .all(|(least, amount)| least.is_none_or(|least| amount >= least))
            && self
                .other
                .iter()
                .all(|(name, least)| resources.other(name) >= *least)
    }

    /// What of `asked` is more than these amounts.
    pub(crate) fn lacks(&self, asked: &Resources) -> Resources {
        let mut most = self.to_resources();
        let [cpus, mem, disk, gpus] = self.main();
        // What is not stated is not lacking.
        most.cpus_milli = cpus.unwrap_or(asked.cpus_milli);
        most.mem_milli = mem.unwrap_or(asked.mem_milli);
        most.disk_milli = disk.unwrap_or(asked.disk_milli);
        most.gpus_milli = gpus.unwrap_or(asked.gpus_milli);
        for (name, milli) in asked.others() {
            if !self.other.contains_key(name) {
                most.set_other(name, milli);
            }
        }
        most.ports = asked.ports.clone();
        asked.minus_at_most(&most)
    }

    /// The same with so much more of what is stated.
    #[must_use]
    pub(crate) fn raised_by(&self, more: &Resources) -> Self {
        let mut raised = self.main();
        for (amount, more) in raised.iter_mut().zip(scalars(more)) {
            *amount = amount.map(|amount| amount.saturating_add(more));
        }
        let mut raised = Self::from_main(raised);
        for (name, amount) in &self.other {
            let amount = amount.saturating_add(more.other(name));
            raised.other.insert(Arc::clone(name), amount);
        }
        raised
    }

    /// Whether nothing that is worth offering passes [`Self::cut`].
    pub(crate) fn is_shut(&self) -> bool {
        self.cpus_milli.is_some_and(|most| most < MIN_CPUS_MILLI)
            && self.mem_milli.is_some_and(|most| most < MIN_MEM_MILLI)
    }

    /// Whether no CPUs worth offering pass [`Self::cut`], or no memory.
    pub(crate) fn is_used_up(&self) -> bool {
        self.cpus_milli.is_some_and(|most| most < MIN_CPUS_MILLI)
            || self.mem_milli.is_some_and(|most| most < MIN_MEM_MILLI)
    }

    fn is_unlimited(&self) -> bool {
        self.main() == [None; 4] && self.other.is_empty()
    }

    const fn main(&self) -> [Option<u64>; 4] {
        [
            self.cpus_milli,
            self.mem_milli,
            self.disk_milli,
            self.gpus_milli,
        ]
    }

    const fn from_main([cpus, mem, disk, gpus]: [Option<u64>; 4]) -> Self {
        Self {
            cpus_milli: cpus,
            mem_milli: mem,
            disk_milli: disk,
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
        resources.mem_milli = mem;
        resources.disk_milli = disk;
        resources.gpus_milli = gpus;
        for (name, milli) in &self.other {
            resources.set_other(name, *milli);
        }
        resources
    }
}

/// `cpus:4; mem:1024`, memory and disk in MB; what is not stated is not named.
impl fmt::Display for Amounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["cpus", "mem", "disk", "gpus"];
        let main = names.into_iter().zip(self.main());
        let main = main.filter_map(|(name, amount)| Some((name, amount? as f64 / 1e3)));
        let other = self
            .other
            .iter()
            .map(|(name, milli)| (&**name, *milli as f64 / 1e3));
        for (at, (name, amount)) in main.chain(other).enumerate() {
            write!(f, "{}{name}:{amount}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
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
    /// By the role's number.
    roles: Vec<Option<RoleQuota>>,
    /// How many roles something was set for.
    set: usize,
    /// What is to be kept free for guarantees.
    required: Sums,
    /// Top-level roles to which something was not given because of a limit or the headroom.
    held_back: BTreeSet<RoleSlot>,
    /// How many roles have a guarantee.
    guarantees: usize,
    /// Whoever was held back was so at no less.
    surplus: Surplus,
}

/// What is free beyond all guarantees, of the kinds of which something is to be kept free; there is no end of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Surplus {
    main: [Option<u128>; 4],
    other: BTreeMap<Arc<str>, u128>,
}

impl Surplus {
    /// The lesser of both, kind by kind.
    fn lower_to(&mut self, other: Self) {
        for (mine, theirs) in self.main.iter_mut().zip(other.main) {
            *mine = (*mine).into_iter().chain(theirs).min();
        }
        for (name, theirs) in other.other {
            let mine = self.other.entry(name).or_insert(theirs);
            *mine = theirs.min(*mine);
        }
    }

    /// Whether there is more of anything than there was.
    fn is_more_than(&self, before: &Self) -> bool {
        let grew = |now: Option<u128>, before: Option<u128>| match (now, before) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(now), Some(before)) => now > before,
        };
        self.main
            .into_iter()
            .zip(before.main)
            .any(|(now, before)| grew(now, before))
            || before
                .other
                .iter()
                .any(|(name, before)| grew(self.other.get(name).copied(), Some(*before)))
    }
}

/// How much a role may be given now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Unlimited,
    UpTo(Amounts),
}

impl Quota {
    pub(crate) fn set_limit(&mut self, role: RoleSlot, limit: Option<Amounts>) {
        self.quota_mut(role).limit = limit;
        self.drop_if_unset(role);
    }

    pub(crate) fn set_guarantee(
        &mut self,
        role: RoleSlot,
        guarantee: Option<Amounts>,
        held: &Sums,
    ) {
        let comes = usize::from(guarantee.is_some());
        let quota = self.quota_mut(role);
        let goes = usize::from(quota.guarantee.is_some());
        quota.guarantee = guarantee;
        self.guarantees = self.guarantees + comes - goes;
        self.note_held(role, held);
        self.drop_if_unset(role);
    }

    pub(crate) fn limit(&self, role: RoleSlot) -> Option<&Amounts> {
        self.quota(role)?.limit.as_ref()
    }

    pub(crate) fn guarantee(&self, role: RoleSlot) -> Option<&Amounts> {
        self.quota(role)?.guarantee.as_ref()
    }

    /// Whether anything at all was set for the role.
    pub(crate) fn is_set(&self, role: RoleSlot) -> bool {
        self.quota(role).is_some()
    }

    /// Whether anything was set for any role.
    pub(crate) fn is_any_set(&self) -> bool {
        self.set > 0
    }

    /// The roles that something was set for.
    pub(crate) fn roles(&self) -> impl Iterator<Item = RoleSlot> {
        (0..)
            .zip(&self.roles)
            .filter(|(_, quota)| quota.is_some())
            .map(|(number, _)| RoleSlot::from(number))
    }

    /// A round is over. Whoever was given a part of an agent was kept from the rest of it, by what is left now.
    pub(crate) fn note_headroom(&mut self, free: &Sums) {
        if self.guarantees > 0 && !self.held_back.is_empty() {
            let surplus = self.surplus_of(free);
            self.surplus.lower_to(surplus);
        }
    }

    /// Whether there is more beyond all guarantees than when somebody was held back.
    pub(crate) fn has_more_headroom(&self, free: &Sums) -> bool {
        self.guarantees > 0
            && !self.held_back.is_empty()
            && self.surplus_of(free).is_more_than(&self.surplus)
    }

    fn surplus_of(&self, free: &Sums) -> Surplus {
        let mut surplus = Surplus::default();
        for (at, required) in self.required.main.into_iter().enumerate() {
            surplus.main[at] = (required > 0).then(|| free.main[at].saturating_sub(required));
        }
        for (name, required) in &self.required.other {
            let left = free.other(name).saturating_sub(*required);
            surplus.other.insert(Arc::clone(name), left);
        }
        surplus
    }

    /// A top-level role now holds so much.
    pub(crate) fn note_held(&mut self, role: RoleSlot, held: &Sums) {
        let Some(Some(quota)) = self.roles.get_mut(usize::from(role)) else {
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

    /// How much a top-level role that is charged `charged` may be given while `free` is free in all; `None`: a role for
    /// which nothing is set.
    pub(crate) fn room(&self, role: Option<RoleSlot>, charged: Option<&Sums>, free: &Sums) -> Room {
        let limit = role
            .zip(charged)
            .and_then(|(role, charged)| self.limit_room(role, charged));
        let mut room = limit.unwrap_or_default();
        self.cut_to_headroom(&mut room, role, free);
        if room.is_unlimited() {
            Room::Unlimited
        } else {
            Room::UpTo(room)
        }
    }

    /// What its limit leaves a role; `None` when it has none.
    pub(crate) fn limit_room(&self, role: RoleSlot, charged: &Sums) -> Option<Amounts> {
        Some(self.limit(role)?.less(charged))
    }

    /// What is left to a role beyond what is kept for others; `None` when nothing is kept.
    pub(crate) fn headroom_room(&self, role: Option<RoleSlot>, free: &Sums) -> Option<Amounts> {
        if self.required == Sums::default() {
            return None;
        }
        let mut room = Amounts::default();
        self.cut_to_headroom(&mut room, role, free);
        Some(room)
    }

    /// How much more has to be free in all, so that a role may be given `asked` and everything is still kept that is to be
    /// kept; also what is to be kept and is not there counts. `from_others`: part of it will be freed by roles that have
    /// guarantees, so that it is to be kept for them again.
    pub(crate) fn capacity_lacking(
        &self,
        role: Option<RoleSlot>,
        asked: &Resources,
        free: &Sums,
        from_others: bool,
    ) -> Resources {
        let none = Resources::none();
        let quota = role.and_then(|role| self.quota(role));
        let unmet = quota.map_or(&none, |quota| &quota.unmet);
        let lacking = |required: u128, asked: u64, unmet: u64, free: u128| {
            if (required == 0 && !from_others) || asked == 0 {
                return 0;
            }
            let needed = required + u128::from(asked);
            let there = free.saturating_add(u128::from(unmet));
            u64::try_from(needed.saturating_sub(there)).unwrap_or(u64::MAX)
        };
        let (asks, unmets) = (scalars(asked), scalars(unmet));
        let main: [u64; 4] = std::array::from_fn(|at| {
            lacking(self.required.main[at], asks[at], unmets[at], free.main[at])
        });
        let mut lack = Amounts::from_main(main.map(Some)).to_resources();
        for (name, asked) in asked.others() {
            let required = self.required.other(name);
            lack.set_other(
                name,
                lacking(required, asked, unmet.other(name), free.other(name)),
            );
        }
        lack
    }

    /// What is to be kept free for guarantees.
    pub(crate) const fn required(&self) -> &Sums {
        &self.required
    }

    /// Beyond its own unmet guarantee a role gets only what is free beyond all guarantees.
    fn cut_to_headroom(&self, room: &mut Amounts, role: Option<RoleSlot>, free: &Sums) {
        if self.required == Sums::default() {
            return;
        }
        let none = Resources::none();
        let quota = role.and_then(|role| self.quota(role));
        let unmet = quota.map_or(&none, |quota| &quota.unmet);
        let most = |required: u128, unmet: u64, free: u128| {
            let surplus = free.saturating_sub(required);
            u64::try_from(surplus.saturating_add(u128::from(unmet))).unwrap_or(u64::MAX)
        };
        let mut main = room.main();
        let unmets = scalars(unmet);
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

    /// Something is not given to a top-level role while `free` is free in all.
    pub(crate) fn hold_back(&mut self, role: RoleSlot, free: &Sums) {
        if self.guarantees > 0 {
            let surplus = self.surplus_of(free);
            if self.held_back.is_empty() {
                self.surplus = surplus;
            } else {
                self.surplus.lower_to(surplus);
            }
        }
        self.held_back.insert(role);
    }

    /// Takes the roles that may get something now: the one that has been given something back, or all.
    pub(crate) fn take_held_back(&mut self, role: Option<RoleSlot>) -> BTreeSet<RoleSlot> {
        match role {
            None => std::mem::take(&mut self.held_back),
            Some(role) => self.held_back.take(&role).into_iter().collect(),
        }
    }

    fn quota(&self, role: RoleSlot) -> Option<&RoleQuota> {
        self.roles.get(usize::from(role))?.as_ref()
    }

    fn quota_mut(&mut self, role: RoleSlot) -> &mut RoleQuota {
        let at = usize::from(role);
        if self.roles.len() <= at {
            self.roles.resize_with(at + 1, || None);
        }
        let quota = &mut self.roles[at];
        self.set += usize::from(quota.is_none());
        quota.get_or_insert_default()
    }

    fn drop_if_unset(&mut self, role: RoleSlot) {
        let is_unset = |quota: &RoleQuota| quota.limit.is_none() && quota.guarantee.is_none();
        if self.quota(role).is_some_and(is_unset) {
            self.roles[usize::from(role)] = None;
            self.set -= 1;
        }
    }
}
