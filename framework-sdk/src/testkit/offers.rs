//! What is free and what is on the table. Who gets what is decided by the allocator of the real master.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Offer, OfferId, Resources, Role, Timestamp};
use mete_placement::{Allocator, Options, ShapeId};

use super::Agent;

/// What an offer was made for: how many of which shapes that its framework waits to run.
pub(super) type Units = Vec<(ShapeId, u32)>;

/// The offers of a master, each used once.
#[derive(Debug)]
pub(super) struct Offers {
    pub(super) allocator: Allocator,
    table: BTreeMap<OfferId, (Offer, Units)>,
    given_out: u64,
}

/// Why offers cannot be used. Tasks launched on them are answered with the text.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadOffers {
    #[error("no offers were named")]
    None,
    #[error("offer {0} is named twice")]
    Twice(OfferId),
    #[error("offer {0} is not valid any more")]
    Stale(OfferId),
    #[error("offers of several agents or in several roles are mixed")]
    Mixed,
}

impl Offers {
    pub(super) fn new() -> Self {
        Self {
            allocator: Allocator::new(Options::default()),
            table: BTreeMap::new(),
            given_out: 0,
        }
    }

    /// Gives away what may be given, and puts it on the table.
    pub(super) fn round(
        &mut self,
        now: Timestamp,
        incarnation: &str,
        agents: &BTreeMap<AgentId, Agent>,
    ) -> BTreeMap<FrameworkId, Vec<Offer>> {
        let mut made: BTreeMap<FrameworkId, Vec<Offer>> = BTreeMap::new();
        let filter_ran_out = self.next_deadline().is_some_and(|at| at <= now);
        if !self.allocator.wants_round() && !filter_ran_out {
            return made;
        }
        for grant in self.allocator.round(now) {
            let Some(agent) = agents.get(&grant.agent) else {
                continue; // Not of this world: the allocator knows only agents that we added.
            };
            let id = OfferId::new(format!("{incarnation}-O{}", self.given_out));
            let offer = Offer {
                id: id.expect("an incarnation is a UUID"),
                framework: grant.framework,
                agent: grant.agent,
                endpoint: agent.endpoint.clone(),
                role: grant.role,
                resources: grant.resources,
                attributes: agent.attributes.clone(),
                domain: agent.domain.clone(),
                unavailability: None,
            };
            self.given_out += 1;
            self.table
                .insert(offer.id.clone(), (offer.clone(), grant.units));
            made.entry(offer.framework.clone()).or_default().push(offer);
        }
        made
    }

    /// The offers of an ACCEPT, if they can be used together by this framework.
    pub(super) fn usable(
        &self,
        framework: &FrameworkId,
        named: &[OfferId],
    ) -> Result<Vec<Offer>, BadOffers> {
        let mut seen = BTreeSet::new();
        let mut found: Vec<Offer> = Vec::new();
        for id in named {
            if !seen.insert(id) {
                return Err(BadOffers::Twice(id.clone()));
            }
            let known = self.table.get(id).map(|(offer, _)| offer);
            let offer = known.filter(|offer| offer.framework == *framework);
            let offer = offer.ok_or_else(|| BadOffers::Stale(id.clone()))?;
            if found
                .first()
                .is_some_and(|first| (&first.agent, &first.role) != (&offer.agent, &offer.role))
            {
                return Err(BadOffers::Mixed);
            }
            found.push(offer.clone());
        }
        if found.is_empty() {
            return Err(BadOffers::None);
        }
        Ok(found)
    }

    /// Takes an offer off the table; what was in it is still this framework's.
    pub(super) fn take(&mut self, id: &OfferId) -> Option<(Offer, Units)> {
        self.table.remove(id)
    }

    /// Takes an offer back, if it is on the table for this framework.
    pub(super) fn hand_back(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        id: &OfferId,
        refuse_for: Duration,
    ) -> Option<Offer> {
        self.table
            .get(id)
            .filter(|(offer, _)| offer.framework == *framework)?;
        let (offer, units) = self.take(id)?;
        self.give_back(now, &offer, &offer.resources, refuse_for);
        self.answered(&offer, &units, 0);
        Some(offer)
    }

    /// So many of the tasks that offers were made for run now.
    pub(super) fn answered(&mut self, offer: &Offer, units: &[(ShapeId, u32)], launched: u32) {
        self.allocator
            .answered(&offer.agent, &offer.framework, &offer.role, units, launched);
    }

    /// Hands back `part` of an offer that was taken off the table.
    pub(super) fn give_back(
        &mut self,
        now: Timestamp,
        offer: &Offer,
        part: &Resources,
        refuse_for: Duration,
    ) {
        if !part.is_empty() {
            self.allocator.give_back(
                now,
                &offer.agent,
                &offer.framework,
                &offer.role,
                part,
                refuse_for,
            );
        }
    }

    /// What a task used is free.
    pub(super) fn release(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        used: &Resources,
    ) {
        self.allocator.release(agent, framework, role, used);
    }

    /// Those on the table for a framework.
    pub(super) fn of_framework(&self, id: &FrameworkId) -> Vec<OfferId> {
        self.where_(|offer| offer.framework == *id)
    }

    /// Those on the table of an agent.
    pub(super) fn of_agent(&self, id: &AgentId) -> Vec<OfferId> {
        self.where_(|offer| offer.agent == *id)
    }

    /// All on the table.
    pub(super) fn on_the_table(&self) -> impl Iterator<Item = &Offer> {
        self.table.values().map(|(offer, _)| offer)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.allocator.next_deadline()
    }

    fn where_(&self, wanted: impl Fn(&Offer) -> bool) -> Vec<OfferId> {
        let offers = self.on_the_table().filter(|offer| wanted(offer));
        offers.map(|offer| offer.id.clone()).collect()
    }
}
