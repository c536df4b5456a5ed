//! A round of allocation, and offers made, withdrawn, timed out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Offer, OfferId, Role, Timestamp};
use mete_placement::{Grant, ShapeId, Unused};
use tracing::debug;

use crate::cluster::{Cluster, Out};
use crate::effects::Event;
use crate::state::deadlines::Due;
use crate::state::offers::Units;

/// Offers in one OFFERS event: some clients of Mesos refuse messages of more than 4 MiB, and an offer may be some 4 KiB.
const MAX_OFFERS_PER_EVENT: usize = 500;

impl Cluster {
    /// Lets the allocator give away what may be given, if something has changed, and puts it on the table; whether
    /// there was a round.
    pub(crate) fn make_offers(&mut self, now: Timestamp, out: &mut Out) -> bool {
        let filter_ran_out = self.allocator.next_deadline().is_some_and(|at| at <= now);
        if !self.allocator.wants_round() && !filter_ran_out {
            return false;
        }
        self.count().rounds += 1;
        let mut offers_to: BTreeMap<FrameworkId, Vec<Arc<Offer>>> = BTreeMap::new();
        for grant in self.allocator.round(now) {
            if let Some(offer) = self.make_offer(now, grant) {
                let theirs = offers_to.entry(offer.framework.clone()).or_default();
                theirs.push(offer);
            }
        }
        for (framework, offers) in offers_to {
            let Some(known) = self.frameworks.get(&framework) else {
                continue;
            };
            let capabilities = known.info.capabilities.clone();
            for some in offers.chunks(MAX_OFFERS_PER_EVENT) {
                let on = |offer: &Arc<Offer>| {
                    let its = self.executors.of(&framework, &offer.agent);
                    (!its.is_empty()).then(|| (offer.agent.clone(), its))
                };
                let event = Event::Offers {
                    offers: some.to_vec(),
                    capabilities: capabilities.clone(),
                    executors: some.iter().filter_map(on).collect(),
                };
                self.tell_framework(&framework, event, out);
            }
        }
        true
    }

    /// Puts a grant on the table; a grant to or on somebody who is not there goes back.
    fn make_offer(&mut self, now: Timestamp, grant: Grant) -> Option<Arc<Offer>> {
        let framework = self.frameworks.get(&grant.framework);
        let there = framework.is_some_and(|framework| framework.link().is_some());
        let agent = self.agents.get(&grant.agent);
        let Some(agent) = agent.filter(|agent| there && agent.is_offerable()) else {
            let Grant {
                framework,
                role,
                agent,
                resources,
                units,
            } = grant;
            let no_filter = Duration::ZERO;
            self.allocator
                .give_back(now, &agent, &framework, &role, &resources, no_filter);
            self.allocator
                .answered(&agent, &framework, &role, &units, 0);
            return None;
        };
        let (info, role) = (agent.info.clone(), grant.role);
        let unavailability = self.maintenance.unavailability(&grant.agent);
        if unavailability.is_some() {
            Arc::make_mut(&mut self.maintenance).touch(&grant.agent);
        }
        let offer = Arc::new(Offer {
            id: self.offers.new_id(&self.settings.incarnation),
            framework: grant.framework,
            agent: grant.agent,
            endpoint: info.endpoint,
            role,
            resources: grant.resources,
            attributes: info.attributes,
            domain: info.domain,
            unavailability,
        });
        debug!(offer = %offer.id, framework = %offer.framework, agent = %offer.agent, resources = %offer.resources, "offer made");
        self.offers.put(now, Arc::clone(&offer), grant.units);
        if let Some(timeout) = self.settings.offer_timeout {
            let due = Due::Offer(offer.id.clone());
            self.deadlines.set(due, now + timeout);
        }
        self.count().offers_made += 1;
        Some(offer)
    }

    /// Takes an offer off the table to launch tasks with it; what becomes of its resources is for the caller to say, and
    /// how many of its units were launched.
    pub(crate) fn use_offer(&mut self, id: &OfferId) -> Option<(Arc<Offer>, Units)> {
        self.deadlines.clear(&Due::Offer(id.clone()));
        self.offers.take(id)
    }

    /// Takes an offer off the table that nothing is launched with; what becomes of its resources is for the caller to say.
    pub(crate) fn take_offer(&mut self, id: &OfferId) -> Option<Arc<Offer>> {
        let (offer, units) = self.use_offer(id)?;
        self.answered(&offer.agent, &offer.framework, &offer.role, &units, 0);
        Some(offer)
    }

    /// Tells the allocator how many of the tasks that offers were made for run now.
    pub(crate) fn answered(
        &mut self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
        units: &[(ShapeId, u32)],
        launched: u32,
    ) {
        if !units.is_empty() {
            self.allocator
                .answered(agent, framework, role, units, launched);
        }
    }

    /// Hands resources of an offer back to the allocator.
    pub(crate) fn hand_back(&mut self, now: Timestamp, offer: &Offer, refuse_for: Duration) {
        let Offer {
            agent,
            framework,
            role,
            resources,
            ..
        } = offer;
        self.allocator
            .give_back(now, agent, framework, role, resources, refuse_for);
    }

    /// Hands resources of several offers back to the allocator.
    pub(crate) fn hand_back_all(
        &mut self,
        now: Timestamp,
        offers: &[Arc<Offer>],
        refuse_for: Duration,
    ) {
        let unused = offers.iter().map(|offer| Unused {
            agent: &offer.agent,
            framework: &offer.framework,
            role: &offer.role,
            resources: &offer.resources,
        });
        let unused: Vec<Unused<'_>> = unused.collect();
        self.allocator.give_back_all(now, &unused, refuse_for);
    }

    /// Withdraws an offer and says so.
    pub(crate) fn rescind(&mut self, now: Timestamp, id: &OfferId, out: &mut Out) {
        let Some(offer) = self.take_offer(id) else {
            return;
        };
        self.hand_back(now, &offer, Duration::ZERO);
        self.count().offers_rescinded += 1;
        let event = Event::Rescind(offer.id.clone());
        self.tell_framework(&offer.framework, event, out);
    }

    /// Withdraws all offers of an agent.
    pub(crate) fn rescind_of_agent(&mut self, now: Timestamp, agent: &AgentId, out: &mut Out) {
        for offer in self.offers.of_agent(agent) {
            self.rescind(now, &offer, out);
        }
    }

    /// Takes all offers to a framework back without a word: its stream is gone, or a new one has taken its place.
    pub(crate) fn drop_offers_to(&mut self, now: Timestamp, framework: &FrameworkId) {
        self.drop_inverse_offers_to(framework);
        let ids = self.offers.of_framework(framework);
        let rescinded = self.return_offers(now, framework, &ids, Duration::ZERO);
        self.count().offers_rescinded += rescinded as u64;
    }

    /// An offer was on the table long enough. Its framework shows no interest, so the same resources stay away from it for as
    /// long as it has held them: otherwise it would get them again at once, and others never.
    pub(crate) fn offer_due(&mut self, now: Timestamp, id: &OfferId, out: &mut Out) {
        let Some(offer) = self.take_offer(id) else {
            return;
        };
        debug!(offer = %offer.id, framework = %offer.framework, "offer timed out");
        let refusal = self.settings.offer_timeout.unwrap_or(DEFAULT_REFUSAL);
        self.hand_back(now, &offer, refusal.max(DEFAULT_REFUSAL));
        self.count().offers_timed_out += 1;
        self.count().offers_rescinded += 1;
        let event = Event::Rescind(offer.id.clone());
        self.tell_framework(&offer.framework, event, out);
    }
}

/// How long declined resources stay away when nothing else is said (`Filters.refuse_seconds` of Mesos).
pub(crate) const DEFAULT_REFUSAL: Duration = Duration::from_secs(5);
