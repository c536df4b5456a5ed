//! What operators set for roles: weights, quotas, packing policies. (Agents are in `drain.rs`, machines in `maintain.rs`,
//! marking gone is in `loss.rs`, tearing down in `depart.rs`.)
//!
//! Roles exist by use: one that nobody holds can be set all the same.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use mete_model::{Resources, Role, TaskState, Timestamp};
use mete_placement::fairness::DEFAULT_WEIGHT_MILLI;
use mete_placement::{Amounts, Policy};
use tracing::info;

use crate::cluster::{Cluster, Out};
use crate::effects::{MAX_SET_ROLES, OperatorError, Reply};
use crate::quantities::{of_amounts, of_resources, stated, text};
use crate::registry::Record;
use crate::state::agents::Reach;

impl Cluster {
    /// Sets weights, all or none. The weight of every role, 1, is not kept.
    pub(crate) fn set_weights(&mut self, weights: BTreeMap<Role, NonZeroU32>, out: &mut Out) {
        if self.weights.len() + weights.len() > MAX_SET_ROLES {
            return fail(OperatorError::TooManyRoles, out);
        }
        out.reply = Some(Reply::Done);
        for (role, weight_milli) in weights {
            let before = self.weights.get(&role).copied();
            if before.unwrap_or(DEFAULT_WEIGHT_MILLI) == weight_milli {
                continue;
            }
            info!(%role, weight_milli, "weight of role changed");
            self.allocator.set_weight(&role, weight_milli);
            let kept = Some(weight_milli).filter(|weight| *weight != DEFAULT_WEIGHT_MILLI);
            set(Arc::make_mut(&mut self.weights), role.clone(), kept);
            out.store.push(Record::Weight(role, kept));
        }
    }

    /// Sets what a role may have and what is kept for it, both whole.
    pub(crate) fn set_quota(
        &mut self,
        now: Timestamp,
        role: Role,
        limit: Option<Amounts>,
        guarantee: Option<Amounts>,
        force: bool,
        out: &mut Out,
    ) {
        let checked = self.check_quota(&role, limit.as_ref(), guarantee.as_ref(), force);
        if let Err(error) = checked {
            return fail(error, out);
        }
        out.reply = Some(Reply::Done);
        if self.guarantees.get(&role) != guarantee.as_ref() {
            info!(%role, ?guarantee, "guarantee of role changed");
            self.allocator
                .set_guarantee(&role, guarantee.clone())
                .expect("checked above: the role is at the top");
            let guarantees = Arc::make_mut(&mut self.guarantees);
            set(guarantees, role.clone(), guarantee.clone());
            out.store.push(Record::Guarantee(role.clone(), guarantee));
        }
        if self.limits.get(&role) != limit.as_ref() {
            info!(%role, ?limit, "limit of role changed");
            set(Arc::make_mut(&mut self.limits), role.clone(), limit.clone());
            if limit.is_none() {
                self.allocator
                    .set_limit(&role, None)
                    .expect("checked above: the role is at the top");
            }
            self.apply_limits();
            self.rescind_over_limit(now, &role, out);
            out.store.push(Record::Limit(role, limit));
        }
    }

    /// Says how places are chosen.
    pub(crate) fn set_policy(&mut self, role: Option<Role>, policy: Option<Policy>, out: &mut Out) {
        if self.policies.len() >= MAX_SET_ROLES && !self.policies.contains_key(&role) {
            return fail(OperatorError::TooManyRoles, out);
        }
        out.reply = Some(Reply::Done);
        if self.policies.get(&role).copied() == policy {
            return;
        }
        info!(role = ?role, policy = ?policy, "packing policy changed");
        self.allocator.set_policy(role.as_ref(), policy);
        set(Arc::make_mut(&mut self.policies), role.clone(), policy);
        out.store.push(Record::Policy(role, policy));
    }

    fn check_quota(
        &self,
        role: &Role,
        limit: Option<&Amounts>,
        guarantee: Option<&Amounts>,
        force: bool,
    ) -> Result<(), OperatorError> {
        may_have_quota(role)?;
        let is_new = !self.limits.contains_key(role) && !self.guarantees.contains_key(role);
        if is_new && self.limits.len() + self.guarantees.len() >= MAX_SET_ROLES {
            return Err(OperatorError::TooManyRoles);
        }
        if let (Some(limit), Some(guarantee)) = (limit, guarantee) {
            guarantee_within_limit(role, guarantee, limit)?;
        }
        if force {
            return Ok(());
        }
        if let Some(limit) = limit.filter(|limit| self.limits.get(role) != Some(limit)) {
            self.limit_over_use(role, limit)?;
        }
        guarantee.map_or(Ok(()), |guarantee| self.guarantees_fit(role, guarantee))
    }

    /// A limit is not below what tasks of the role use.
    fn limit_over_use(&self, role: &Role, limit: &Amounts) -> Result<(), OperatorError> {
        let used = self.used_by_role(role);
        for (name, most) in stated(limit) {
            let used = of_resources(&used, name);
            if used > most {
                return Err(OperatorError::LimitUnderUse {
                    role: role.clone(),
                    resource: name.to_owned(),
                    used: text(name, used.into()),
                    limit: text(name, most.into()),
                });
            }
        }
        Ok(())
    }

    /// With this guarantee all roles together are promised no more than there is. What is not raised is not looked at:
    /// lowering helps, even when it does not help enough.
    fn guarantees_fit(&self, role: &Role, guarantee: &Amounts) -> Result<(), OperatorError> {
        let capacity = self.capacity();
        let before = self.guarantees.get(role);
        for (name, kept) in stated(guarantee) {
            let kept_before = before.and_then(|before| of_amounts(before, name));
            if kept <= kept_before.unwrap_or(0) {
                continue;
            }
            let others = self.guarantees.iter().filter(|(other, _)| *other != role);
            let others = others.filter_map(|(_, other)| of_amounts(other, name));
            let sum = others.map(u128::from).sum::<u128>() + u128::from(kept);
            let capacity = of_resources(&capacity, name);
            if sum > u128::from(capacity) {
                return Err(OperatorError::GuaranteesOverCapacity {
                    role: role.clone(),
                    resource: name.to_owned(),
                    guaranteed: text(name, sum),
                    capacity: text(name, capacity.into()),
                });
            }
        }
        Ok(())
    }

    /// What tasks of a role and of those below it use.
    fn used_by_role(&self, role: &Role) -> Resources {
        let mut used = Resources::none();
        for task in self.tasks.all.values() {
            let live = task.holds_resources() && task.state != TaskState::Unreachable;
            if live && task.role.is_within(role) {
                used.add(&task.spec.resources.flat());
            }
        }
        used
    }

    /// What all agents have that are there or may come back soon.
    fn capacity(&self) -> Resources {
        let mut sum = Resources::none();
        for agent in self.agents.all.values() {
            match agent.reach {
                Reach::Registered { .. } | Reach::Disconnected { .. } | Reach::Recovered { .. }
                    if !agent.is_gone() =>
                {
                    sum.add(&agent.info.resources.flat());
                }
                Reach::Registered { .. }
                | Reach::Disconnected { .. }
                | Reach::Recovered { .. }
                | Reach::Unreachable { .. } => {}
            }
        }
        sum
    }

    /// Withdraws what is on offer to a role whose limit no longer allows it.
    fn rescind_over_limit(&mut self, now: Timestamp, role: &Role, out: &mut Out) {
        let Some(limit) = self.limits.get(role).cloned() else {
            return;
        };
        let offers: Vec<_> = self
            .offers
            .all
            .values()
            .filter(|open| open.role.is_within(role))
            .map(|open| Arc::clone(&open.offer))
            .collect();
        let mut held = self.used_by_role(role);
        for offer in offers {
            let offered = offer.resources.flat();
            held.add(&offered);
            let over = |(name, most): &(&str, u64)| of_resources(&held, name) > *most;
            if stated(&limit).iter().any(over) {
                held = held.minus_at_most(&offered);
                self.rescind(now, &offer.id, out);
            }
        }
    }
}

fn fail(error: OperatorError, out: &mut Out) {
    out.reply = Some(Reply::Failed(error));
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
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
