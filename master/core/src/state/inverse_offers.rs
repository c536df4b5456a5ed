//! Which frameworks are asked to leave which agents: at most one question for each pair is on the table (that it is asked
//! once, `mete_placement::Maintenance` knows).

use mete_model::{AgentId, FrameworkId, InverseOffer, OfferId, SharedMap};

/// All inverse offers on the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct InverseOffers {
    pub(crate) all: SharedMap<OfferId, InverseOffer>,
}

impl InverseOffers {
    /// Puts a question on the table.
    pub(crate) fn put(&mut self, offer: InverseOffer) {
        self.all.insert(offer.id.clone(), offer);
    }

    /// Takes a question off the table if it was asked of this framework.
    pub(crate) fn take_of(
        &mut self,
        framework: &FrameworkId,
        id: &OfferId,
    ) -> Option<InverseOffer> {
        if self.all.get(id)?.framework != *framework {
            return None;
        }
        self.all.remove(id)
    }

    /// Takes all questions about one agent.
    pub(crate) fn take_about(&mut self, agent: &AgentId) -> Vec<InverseOffer> {
        self.take(|offer| offer.agent == *agent)
    }

    /// Takes all questions to one framework.
    pub(crate) fn take_to(&mut self, framework: &FrameworkId) -> Vec<InverseOffer> {
        self.take(|offer| offer.framework == *framework)
    }

    /// Looks at all: plans change and frameworks go seldom, and questions are few.
    fn take(&mut self, which: impl Fn(&InverseOffer) -> bool) -> Vec<InverseOffer> {
        let ids: Vec<OfferId> = self
            .all
            .values()
            .filter(|offer| which(offer))
            .map(|offer| offer.id.clone())
            .collect();
        let offers = ids.iter().filter_map(|id| self.all.remove(id));
        offers.collect()
    }
}
