//! What roles may have and what is kept for them: limits and guarantees, set for many roles at once or not at all.
//!
//! Roles exist by use: one that nobody holds can be set all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::{Resources, Role, TaskState, Timestamp};
use mete_placement::Amounts;
use tracing::info;

use super::operator::{fail, set};
use crate::cluster::{Cluster, Out};
use crate::effects::{MAX_SET_ROLES, OperatorError, Reply};
use crate::input::RoleQuota;
use crate::quantities::{of_amounts, of_resources, stated, text};
use crate::registry::Record;

impl Cluster {
    /// Sets what roles may have and what is kept for them, both whole; all roles or none.
    pub(crate) fn set_quotas(
        &mut self,
        now: Timestamp,
        quotas: BTreeMap<Role, RoleQuota>,
        force: bool,
        out: &mut Out,
    ) {
        if let Err(error) = self.check_quotas(&quotas, force) {
            return fail(error, out);
        }
        out.reply = Some(Reply::Done);
        let mut limited = BTreeMap::new();
        let mut is_any_changed = false;
        let mut is_any_raised = false;
        for (role, RoleQuota { limit, guarantee }) in quotas {
            if self.guarantees.get(&role) != guarantee.as_ref() {
                is_any_raised |= guarantee.is_some();
                self.set_guarantee(&role, guarantee, out);
            }
            if self.limits.get(&role) != limit.as_ref() {
                is_any_changed = true;
                self.set_limit(&role, limit.clone(), out);
                limited.extend(limit.map(|limit| (role, limit)));
            }
        }
        if is_any_changed {
            self.apply_limits();
        }
        if !limited.is_empty() {
            self.rescind_over_limits(now, &limited, out);
        }
        if is_any_raised {
            self.rescind_for_guarantees(now, out);
        }
    }

    fn set_guarantee(&mut self, role: &Role, guarantee: Option<Amounts>, out: &mut Out) {
        info!(%role, ?guarantee, "guarantee of role changed");
        self.allocator
            .set_guarantee(role, guarantee.clone())
            .expect("checked before: the role is at the top");
        let guarantees = Arc::make_mut(&mut self.guarantees);
        set(guarantees, role.clone(), guarantee.clone());
        out.store.push(Record::Guarantee(role.clone(), guarantee));
    }

    /// Notes a limit; [`Self::apply_limits`] has the allocator keep to all that there are.
    fn set_limit(&mut self, role: &Role, limit: Option<Amounts>, out: &mut Out) {
        info!(%role, ?limit, "limit of role changed");
        set(Arc::make_mut(&mut self.limits), role.clone(), limit.clone());
        if limit.is_none() {
            self.allocator
                .set_limit(role, None)
                .expect("checked before: the role is at the top");
        }
        out.store.push(Record::Limit(role.clone(), limit));
    }

    fn check_quotas(
        &self,
        quotas: &BTreeMap<Role, RoleQuota>,
        force: bool,
    ) -> Result<(), OperatorError> {
        let is_new =
            |role: &&Role| !self.limits.contains_key(*role) && !self.guarantees.contains_key(*role);
        let new = quotas.keys().filter(is_new).count();
        if new > 0 && self.limits.len() + self.guarantees.len() + new > MAX_SET_ROLES {
            return Err(OperatorError::TooManyRoles);
        }
        for (role, RoleQuota { limit, guarantee }) in quotas {
            may_have_quota(role)?;
            if let (Some(limit), Some(guarantee)) = (limit, guarantee) {
                guarantee_within_limit(role, guarantee, limit)?;
            }
        }
        if force {
            return Ok(());
        }
        self.limits_over_use(quotas)?;
        self.guarantees_fit(quotas)
    }

    /// No limit that changes is below what its role consumes.
    fn limits_over_use(&self, quotas: &BTreeMap<Role, RoleQuota>) -> Result<(), OperatorError> {
        let is_new = |(role, quota): (&Role, &RoleQuota)| {
            quota.limit.is_some() && self.limits.get(role) != quota.limit.as_ref()
        };
        if !quotas.iter().any(is_new) {
            return Ok(()); // To sum up what is consumed takes a look at each task.
        }
        let none = Resources::none();
        let consumed = self.consumed_by(quotas);
        for (role, quota) in quotas {
            let Some(limit) = quota.limit.as_ref() else {
                continue;
            };
            if self.limits.get(role) == Some(limit) {
                continue;
            }
            for (name, most) in stated(limit) {
                let consumed = of_resources(consumed.get(role).unwrap_or(&none), name);
                if consumed > most {
                    return Err(OperatorError::LimitUnderUse {
                        role: role.clone(),
                        resource: name.to_owned(),
                        consumed: text(name, consumed.into()),
                        limit: text(name, most.into()),
                    });
                }
            }
        }
        Ok(())
    }

    /// With these guarantees all roles together are promised no more than there is. What is not raised in sum is not looked
    /// at: lowering helps, even when it does not help enough.
    fn guarantees_fit(&self, quotas: &BTreeMap<Role, RoleQuota>) -> Result<(), OperatorError> {
        let capacity = self.capacity();
        let guaranteed = quotas
            .iter()
            .filter_map(|(role, quota)| Some((role, quota.guarantee.as_ref()?)));
        let untouched = self.guarantees.iter();
        let untouched = untouched.filter(|(role, _)| !quotas.contains_key(*role));
        let before = sums(self.guarantees.values());
        let after = sums(
            untouched
                .chain(guaranteed.clone())
                .map(|(_, amounts)| amounts),
        );
        for (role, guarantee) in guaranteed {
            for (name, kept) in stated(guarantee) {
                let kept_before = self.guarantees.get(role);
                let kept_before = kept_before.and_then(|before| of_amounts(before, name));
                let is_raised =
                    kept > kept_before.unwrap_or(0) && after.get(name) > before.get(name);
                let sum = after.get(name).copied().unwrap_or_default();
                let capacity = of_resources(&capacity, name);
                if is_raised && sum > u128::from(capacity) {
                    return Err(OperatorError::GuaranteesOverCapacity {
                        role: role.clone(),
                        resource: name.to_owned(),
                        guaranteed: text(name, sum),
                        capacity: text(name, capacity.into()),
                    });
                }
            }
        }
        Ok(())
    }

    /// What counts against the quotas of these top-level roles: what is reserved for them and for those below them, used or not,
    /// and what their tasks use of what is nobody's (as in Mesos, and as the allocator counts it).
    fn consumed_by<V>(&self, roles: &BTreeMap<Role, V>) -> BTreeMap<Role, Resources> {
        let mut consumed: BTreeMap<Role, Resources> = BTreeMap::new();
        for task in self.tasks.all.values() {
            let role = task.role.top_level();
            let live = task.holds_resources() && task.state != TaskState::Unreachable;
            if live && roles.contains_key(&role) {
                let sum = consumed.entry(role).or_default();
                sum.add(&task.spec.resources.plain());
            }
        }
        for agent in self.agents.all.values().filter(|one| one.is_counted_on()) {
            for (tag, part) in agent.info.resources.parts() {
                let role = tag.role().map(Role::top_level);
                if let Some(role) = role.filter(|role| roles.contains_key(role)) {
                    consumed.entry(role).or_default().add(part);
                }
            }
        }
        consumed
    }

    /// What all agents have that are there or may come back soon.
    fn capacity(&self) -> Resources {
        let mut sum = Resources::none();
        for agent in self.agents.all.values().filter(|one| one.is_counted_on()) {
            sum.add(&agent.info.resources.flat());
        }
        sum
    }

    /// Withdraws what is on offer to roles whose limits no longer allow it.
    fn rescind_over_limits(
        &mut self,
        now: Timestamp,
        limits: &BTreeMap<Role, Amounts>,
        out: &mut Out,
    ) {
        let mut held = self.consumed_by(limits);
        let mut over = Vec::new();
        for open in self.offers.all.values() {
            let role = open.role.top_level();
            let Some(limit) = limits.get(&role) else {
                continue;
            };
            let held = held.entry(role).or_default();
            // What is reserved counts, on offer or not.
            let offered = open.offer.resources.plain();
            held.add(&offered);
            let is_over = |(name, most): &(&str, u64)| {
                of_resources(&offered, name) > 0 && of_resources(held, name) > *most
            };
            if stated(limit).iter().any(is_over) {
                *held = held.minus_at_most(&offered);
                over.push(Arc::clone(&open.offer));
            }
        }
        for offer in over {
            self.rescind(now, &offer.id, out);
        }
    }

    /// Withdraws what is on offer to roles without a guarantee until so much is free that the guarantees of all others can be
    /// met, as far as that helps.
    fn rescind_for_guarantees(&mut self, now: Timestamp, out: &mut Out) {
        let mut held = self.consumed_by(&self.guarantees);
        for open in self.offers.all.values() {
            let role = open.role.top_level();
            if self.guarantees.contains_key(&role) {
                held.entry(role)
                    .or_default()
                    .add(&open.offer.resources.plain());
            }
        }
        let none = Resources::none();
        let mut lacking: BTreeMap<String, u64> = BTreeMap::new();
        for (role, guarantee) in self.guarantees.iter() {
            let held = held.get(role).unwrap_or(&none);
            for (name, kept) in stated(guarantee) {
                let lack = lacking.entry(name.to_owned()).or_default();
                *lack = lack.saturating_add(kept.saturating_sub(of_resources(held, name)));
            }
        }
        let free = self.allocator.offerable();
        let free = free.flat();
        for (name, lack) in &mut lacking {
            *lack = lack.saturating_sub(of_resources(&free, name));
        }
        let mut in_the_way = Vec::new();
        for open in self.offers.all.values() {
            if self.guarantees.contains_key(&open.role.top_level()) {
                continue;
            }
            let offered = open.offer.resources.flat();
            let helps =
                |(name, lack): (&String, &u64)| *lack > 0 && of_resources(&offered, name) > 0;
            if lacking.iter().any(helps) {
                for (name, lack) in &mut lacking {
                    *lack = lack.saturating_sub(of_resources(&offered, name));
                }
                in_the_way.push(open.offer.id.clone());
            }
        }
        for offer in in_the_way {
            self.rescind(now, &offer, out);
        }
    }
}

/// How much of each name all of them state together, in the smallest unit.
fn sums<'a>(all: impl Iterator<Item = &'a Amounts>) -> BTreeMap<&'a str, u128> {
    let mut sums = BTreeMap::new();
    for (name, amount) in all.flat_map(stated) {
        *sums.entry(name).or_default() += u128::from(amount);
    }
    sums
}

fn may_have_quota(role: &Role) -> Result<(), OperatorError> {
    if *role == Role::any() {
        Err(OperatorError::AnyRole)
    } else if role.parent().is_some() {
        Err(OperatorError::NotTopLevel(role.clone()))
    } else {
        Ok(())
    }
}

fn guarantee_within_limit(
    role: &Role,
    guarantee: &Amounts,
    limit: &Amounts,
) -> Result<(), OperatorError> {
    for (name, kept) in stated(guarantee) {
        if let Some(most) = of_amounts(limit, name).filter(|most| *most < kept) {
            return Err(OperatorError::GuaranteeOverLimit {
                role: role.clone(),
                resource: name.to_owned(),
                guarantee: text(name, kept.into()),
                limit: text(name, most.into()),
            });
        }
    }
    Ok(())
}
