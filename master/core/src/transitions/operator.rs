//! What operators change: weights and limits of roles. (Marking gone is in `loss.rs`, tearing down in `depart.rs`.)

use std::num::NonZeroU32;
use std::sync::Arc;

use mete_model::Role;
use mete_placement::Amounts;
use tracing::info;

use crate::cluster::{Cluster, Out};
use crate::effects::{OperatorError, Reply};
use crate::registry::Record;

impl Cluster {
    pub(crate) fn set_weight(&mut self, role: Role, weight_milli: NonZeroU32, out: &mut Out) {
        out.reply = Some(Reply::Done);
        if self.weights.get(&role) == Some(&weight_milli) {
            return;
        }
        info!(%role, weight_milli, "weight of role changed");
        self.allocator.set_weight(&role, weight_milli);
        Arc::make_mut(&mut self.weights).insert(role.clone(), weight_milli);
        out.store.push(Record::Weight(role, weight_milli));
    }

    pub(crate) fn set_limit(&mut self, role: Role, limit: Option<Amounts>, out: &mut Out) {
        if let Err(error) = may_have_limit(&role) {
            out.reply = Some(Reply::Failed(error));
            return;
        }
        out.reply = Some(Reply::Done);
        if self.limits.get(&role) == limit.as_ref() {
            return;
        }
        info!(%role, ?limit, "limit of role changed");
        let limits = Arc::make_mut(&mut self.limits);
        match &limit {
            Some(limit) => {
                limits.insert(role.clone(), limit.clone());
            }
            None => {
                limits.remove(&role);
                self.allocator
                    .set_limit(&role, None)
                    .expect("checked above: the role is at the top");
            }
        }
        self.apply_limits();
        out.store.push(Record::Limit(role, limit));
    }
}

fn may_have_limit(role: &Role) -> Result<(), OperatorError> {
    if *role == Role::any() {
        Err(OperatorError::AnyRole)
    } else if role.parent().is_some() {
        Err(OperatorError::NotTopLevel(role.clone()))
    } else {
        Ok(())
    }
}
