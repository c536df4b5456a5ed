//! What is on the table, for whom, until when. An offer is used once: taken, handed back, withdrawn or timed out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{AgentId, FrameworkId, Offer, OfferId, Timestamp};
use mete_placement::ShapeId;

use mete_model::SharedMap;

/// What an offer was made for: how many of which shapes that its framework waits to run.
pub(crate) type Units = Vec<(ShapeId, u32)>;

/// An offer on the table.
#[derive(Clone, Debug)]
pub struct OpenOffer {
    /// What is offered.
    pub offer: Arc<Offer>,
    /// Since when.
    pub since: Timestamp,
}

impl std::ops::Deref for OpenOffer {
    type Target = Offer;
    fn deref(&self) -> &Offer {
        &self.offer
    }
}

/// All offers on the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offers {
    pub(crate) all: SharedMap<OfferId, OpenOffer>,
    /// What each was made for; those of whole agents are not in it.
    units: BTreeMap<OfferId, Units>,
    by_agent: BTreeMap<AgentId, BTreeSet<OfferId>>,
    by_framework: BTreeMap<FrameworkId, BTreeSet<OfferId>>,
    given_out: u64,
}

impl Offers {
    pub(crate) fn get(&self, id: &OfferId) -> Option<&Arc<Offer>> {
        self.all.get(id).map(|open| &open.offer)
    }

    /// A new id, never given out before.
    pub(crate) fn new_id(&mut self, incarnation: &str) -> OfferId {
        let id = OfferId::new(format!("{incarnation}-O{}", self.given_out));
        self.given_out += 1;
        id.expect("the incarnation is a UUID")
    }

    /// Puts an offer on the table.
    pub(crate) fn put(&mut self, since: Timestamp, offer: Arc<Offer>, units: Units) {
        if !units.is_empty() {
            self.units.insert(offer.id.clone(), units);
        }
        let mine = self.by_agent.entry(offer.agent.clone()).or_default();
        mine.insert(offer.id.clone());
        let theirs = self
            .by_framework
            .entry(offer.framework.clone())
            .or_default();
        theirs.insert(offer.id.clone());
        self.all
            .insert(offer.id.clone(), OpenOffer { offer, since });
    }

    /// Takes an offer off the table, and what it was made for.
    pub(crate) fn take(&mut self, id: &OfferId) -> Option<(Arc<Offer>, Units)> {
        let offer = self.all.remove(id)?.offer;
        forget(&mut self.by_agent, &offer.agent, id);
        forget(&mut self.by_framework, &offer.framework, id);
        Some((offer, self.units.remove(id).unwrap_or_default()))
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

#[cfg(test)]
mod tests {
    use mete_model::{Attributes, Endpoint, Resources, Role};

    use super::*;

    #[test]
    fn an_offer_remembers_what_it_was_made_for_until_it_is_taken() {
        let mut offers = Offers::default();
        let id = offers.new_id("m");
        let offer = Offer {
            id: id.clone(),
            framework: FrameworkId::new("f").expect("good"),
            agent: AgentId::new("a").expect("good"),
            endpoint: Endpoint {
                hostname: "h".to_owned(),
                ip: "127.0.0.1".to_owned(),
                port: 5_051,
            },
            role: Role::any(),
            resources: Resources::none(),
            attributes: Attributes::new(),
            domain: None,
            unavailability: None,
        };
        let units = vec![(ShapeId(3), 2)];
        offers.put(Timestamp::EPOCH, Arc::new(offer), units.clone());

        let taken = offers.take(&id).map(|(_, units)| units);

        assert_eq!(taken, Some(units));
        assert_eq!(offers.take(&id), None);
        assert!(offers.units.is_empty());
    }
}
