//! What operators set for roles: weights and packing policies. (Quotas are in `quota.rs`, agents in `drain.rs`, machines in
//! `maintain.rs`, marking gone is in `loss.rs`, tearing down in `depart.rs`.)
//!
//! Roles exist by use: one that nobody holds can be set all the same.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use mete_model::Role;
use mete_placement::Policy;
use tracing::info;

use crate::cluster::{Cluster, Out};
use crate::effects::{MAX_SET_ROLES, OperatorError, Reply};
use crate::registry::Record;

impl Cluster {
    /// Sets weights, all or none.
    pub(crate) fn set_weights(&mut self, weights: BTreeMap<Role, NonZeroU32>, out: &mut Out) {
        let is_new = |role: &&Role| !self.weights.contains_key(*role);
        let new = weights.keys().filter(is_new).count();
        if self.weights.len() + new > MAX_SET_ROLES {
            return fail(OperatorError::TooManyRoles, out);
        }
        out.reply = Some(Reply::Done);
        for (role, weight_milli) in weights {
            if self.weights.get(&role) == Some(&weight_milli) {
                continue;
            }
            info!(%role, weight_milli, "weight of role changed");
            self.allocator.set_weight(&role, weight_milli);
            let kept = Some(weight_milli); // What is set is listed, the default too (as in Mesos).
            set(Arc::make_mut(&mut self.weights), role.clone(), kept);
            out.store.push(Record::Weight(role, kept));
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
}

pub(crate) fn fail(error: OperatorError, out: &mut Out) {
    out.reply = Some(Reply::Failed(error));
}

pub(crate) fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}
