//! What is on the table, for whom, until when. An offer is used once: taken, handed back, withdrawn or timed out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{AgentId, FrameworkId, Offer, OfferId};

use crate::state::SharedMap;

/// All offers on the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers {
    pub(crate) all: SharedMap<OfferId, Arc<Offer>>,
    by_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
    given_out: u64,
}

impl Offers {
    pub(crate) fn get(&self, id: &OfferId) -> Option<&Arc<Offer>> {
        self.all.get(id)
    }

    /// A new id, never given out before.
    pub(crate) fn new_id(&mut self, incarnation: &str) -> OfferId {
        let id = OfferId::new(format!("{incarnation}-O{}", self.given_out));
        self.given_out += 1;
        id.expect("the incarnation is a UUID")
    }

    /// Puts an offer on the table.
    pub(crate) fn put(&mut self, offer: Arc<Offer>) {
        let mine = self.by_agent.entry(offer.agent.clone()).or_default();
        mine.insert(offer.id.clone());
        let theirs = self
            .by_framework
            .entry(offer.framework.clone())
            .or_default();
        theirs.insert(offer.id.clone());
        self.all.insert(offer.id.clone(), offer);
    }

    /// Takes an offer off the table.
    pub(crate) fn take(&mut self, id: &OfferId) -> Option<Arc<Offer>> {
        let offer = self.all.remove(id)?;
        forget(&mut self.by_agent, &offer.agent, id);
        forget(&mut self.by_framework, &offer.framework, id);
        Some(offer)
    }

    /// The offers of one agent.
    pub(crate) fn of_agent(&self, id: &AgentId) -> Vec<OfferId> {
        self.by_agent
            .get(id)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// The offers to one framework.
    pub(crate) fn of_framework(&self, id: &FrameworkId) -> Vec<OfferId> {
        let offers = self.by_framework.get(id);
        offers.into_iter().flatten().cloned().collect()
    }
}

fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<OfferId>>, key: &K, id: &OfferId) {
    if let Some(offers) = index.get_mut(key) {
        offers.remove(id);
        if offers.is_empty() {
            index.remove(key);
        }
    }
}
