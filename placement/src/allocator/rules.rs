//! What holds for one client wherever it is served: what it can take, and how little is too little.

use std::sync::Arc;

use mete_model::{Capability, Resources, Role};

use super::agent::exclusive;
use super::frameworks::FrameworkFacts;
use super::wishes::Wishes;
use crate::offer_constraints::OfferConstraints;
use crate::packing::Policy;
use crate::quota::{Amounts, is_allocatable};
use crate::slots::{AgentSlot, ClientSlot};

/// The rules for one client.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) role: Role,
    pub(super) policy: Policy,
    /// Takes GPUs at all.
    pub(super) gpus: bool,
    /// Takes a part of one.
    pub(super) gpu_parts: bool,
    pub(super) revocable: bool,
    pub(super) shared: bool,
    /// Understands stacks of reservations.
    pub(super) refined: bool,
    /// Takes agents of other regions.
    pub(super) other_regions: bool,
    /// An offer holds at least one of these; `None`: the cluster's minimum.
    minimum: Option<Arc<[Amounts]>>,
    pub(super) constraints: Option<Arc<OfferConstraints>>,
    /// What it is waiting to run; `None`: it says nothing, and gets whole agents.
    pub(super) wishes: Option<Wishes>,
    /// Something happened to it: it looks at all agents in the next round.
    pub(super) is_eager: bool,
}

impl Rules {
    /// Sets what follows from what the framework says of itself.
    pub(super) fn describe(&mut self, role: &Role, facts: &FrameworkFacts) {
        let can = |capability| facts.capabilities.contains(&capability);
        self.role = role.clone();
        self.gpus = can(Capability::GpuResources);
        self.gpu_parts = can(Capability::GpuFractions);
        self.revocable = can(Capability::RevocableResources);
        self.shared = can(Capability::SharedResources);
        self.refined = can(Capability::ReservationRefinement);
        self.other_regions = can(Capability::RegionAware);
        self.minimum = facts
            .min_allocatable
            .get(role)
            .map(|minima| Arc::from(&minima[..]));
        self.constraints = facts
            .offer_constraints
            .get(role)
            .map(|constraints| Arc::new(constraints.clone()));
    }

    /// Whether a whole agent's part is worth offering it.
    pub(super) fn is_enough(&self, part: &Resources) -> bool {
        // A shared volume alone is no offer: it is always free, and there would be no end of them.
        let part = exclusive(part);
        let flat = part.flat();
        match &self.minimum {
            None => is_allocatable(&flat),
            // An empty list sets no minimum, as in Mesos.
            Some(minima) => {
                !flat.is_empty()
                    && (minima.is_empty() || minima.iter().any(|least| least.is_within(&flat)))
            }
        }
    }

    /// Whether less than the cluster's minimum may be enough.
    pub(super) const fn has_minimum(&self) -> bool {
        self.minimum.is_some()
    }

    /// Whether it says what it is waiting for.
    pub(super) const fn is_aimed(&self) -> bool {
        self.wishes.is_some()
    }

    /// Whether there is anything it may be offered: it says nothing, or not all it waits for is on offer.
    pub(super) const fn wants_something(&self) -> bool {
        match &self.wishes {
            None => true,
            Some(wishes) => wishes.is_any_open(),
        }
    }
}

/// The rules of all clients, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct AllRules(Vec<Rules>);

impl AllRules {
    pub(super) fn get(&self, client: ClientSlot) -> &Rules {
        &self.0[usize::from(client)]
    }

    pub(super) fn get_mut(&mut self, client: ClientSlot) -> &mut Rules {
        let at = usize::from(client);
        if at >= self.0.len() {
            self.0.resize_with(at + 1, Rules::default);
        }
        &mut self.0[at]
    }

    /// An agent is gone with all that was on offer there.
    pub(super) fn forget_agent(&mut self, agent: AgentSlot) {
        let wishes = self.0.iter_mut().filter_map(|rules| rules.wishes.as_mut());
        wishes.for_each(|wishes| wishes.forget_agent(agent));
    }

    pub(super) fn forget(&mut self, client: ClientSlot) {
        if let Some(rules) = self.0.get_mut(usize::from(client)) {
            *rules = Rules::default();
        }
    }
}
