//! Offers on the table: what the master has offered and the core has not answered yet.
//!
//! The core answers by id; the SDK wants to know of whom an offer is. Offers come in before the core hears of them and
//! leave with its answer, when they are withdrawn, or all at once when the link breaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mete_framework_sdk::{Offer, OfferId};

/// Offers remembered at once: more than the agents of the largest cluster, some KiB each. Beyond it, the first by id
/// is forgotten; when it is used then, nothing is launched and the master takes it back.
const MAX_OFFERS: usize = 20_000;

/// The table, shared by those who put on it and those who take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(Arc<Mutex<BTreeMap<OfferId, Offer>>>);

impl Table {
    /// Puts offers down.
    pub(crate) fn put(&self, offers: &[Offer]) {
        self.with(|table| {
            for offer in offers {
                table.insert(offer.id.clone(), offer.clone());
            }
            while table.len() > MAX_OFFERS {
                table.pop_first();
            }
        });
    }

    /// Takes offers away; those not there are left out.
    pub(crate) fn take(&self, ids: &[OfferId]) -> Vec<Offer> {
        self.with(|table| ids.iter().filter_map(|id| table.remove(id)).collect())
    }

    /// Takes all away.
    pub(crate) fn clear(&self) {
        self.with(BTreeMap::clear);
    }

    /// Nobody panics while holding the table; were it so, it is still whole.
    fn with<T>(&self, change: impl FnOnce(&mut BTreeMap<OfferId, Offer>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
