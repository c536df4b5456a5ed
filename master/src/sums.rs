//! What is used and offered, summed up once by agent and by framework for whoever tells the whole state.

#![expect(
    clippy::disallowed_types,
    reason = "these are looked up in; what is walked through is sorted first"
)]

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use mete_master_core::{Task, View};
use mete_model::{AgentId, FrameworkId, InverseOffer, Offer, Resources, Role, TaskState};
use mete_proto::convert::resources;
use mete_proto::mesos::v1 as wire;

/// On whose account: of few roles, so that looking through them is quickest.
type ByRole<'a> = Vec<(&'a Role, Resources)>;

/// One of the sums.
pub(crate) struct Sum<'a>(&'a [(&'a Role, Resources)]);

/// The sums of one view.
#[derive(Default)]
pub(crate) struct Sums<'a> {
    used_on: HashMap<&'a AgentId, ByRole<'a>>,
    offered_on: HashMap<&'a AgentId, ByRole<'a>>,
    used_by: HashMap<&'a FrameworkId, ByRole<'a>>,
    offered_to: HashMap<&'a FrameworkId, ByRole<'a>>,
    offers_to: HashMap<&'a FrameworkId, Vec<&'a Offer>>,
    inverse_offers_to: HashMap<&'a FrameworkId, Vec<&'a InverseOffer>>,
}

impl<'a> Sums<'a> {
    /// What tasks and executors use of agents that can be reached, and what is on offer.
    pub(crate) fn of(view: &'a View) -> Self {
        let mut sums = Self::default();
        let live =
            |task: &&'a Arc<Task>| task.holds_resources() && task.state != TaskState::Unreachable;
        for task in view.tasks.values().filter(live) {
            let (framework, used) = (&task.key.framework, &task.spec.resources);
            add(&mut sums.used_on, &task.agent, &task.role, used);
            add(&mut sums.used_by, framework, &task.role, used);
        }
        for (key, executor) in view.executors.iter() {
            let agent = view.agents.get(&key.agent);
            if agent.is_some_and(|agent| agent.link().is_some()) {
                let (role, used) = (&executor.role, &executor.spec.resources);
                add(&mut sums.used_on, &key.agent, role, used);
                add(&mut sums.used_by, &key.framework, role, used);
            }
        }
        for offer in view.offers.values() {
            let (role, offered) = (&offer.role, &offer.resources);
            add(&mut sums.offered_on, &offer.agent, role, offered);
            add(&mut sums.offered_to, &offer.framework, role, offered);
            let offers = sums.offers_to.entry(&offer.framework).or_default();
            offers.push(offer);
        }
        for question in view.inverse_offers.values() {
            let questions = sums.inverse_offers_to.entry(&question.framework);
            questions.or_default().push(question);
        }
        sums
    }

    /// What is used of an agent.
    pub(crate) fn used_on(&self, agent: &AgentId) -> Sum<'_> {
        Sum(self.used_on.get(agent).map_or(&[], Vec::as_slice))
    }

    /// What of an agent is on offer.
    pub(crate) fn offered_on(&self, agent: &AgentId) -> Sum<'_> {
        Sum(self.offered_on.get(agent).map_or(&[], Vec::as_slice))
    }

    /// What a framework uses.
    pub(crate) fn used_by(&self, framework: &FrameworkId) -> Sum<'_> {
        Sum(self.used_by.get(framework).map_or(&[], Vec::as_slice))
    }

    /// What is offered to a framework.
    pub(crate) fn offered_to(&self, framework: &FrameworkId) -> Sum<'_> {
        Sum(self.offered_to.get(framework).map_or(&[], Vec::as_slice))
    }

    /// The offers that a framework has.
    pub(crate) fn offers_to(&self, framework: &FrameworkId) -> impl Iterator<Item = &'a Offer> {
        self.offers_to.get(framework).into_iter().flatten().copied()
    }

    /// The agents that a framework is asked to leave.
    pub(crate) fn inverse_offers_to(&self, framework: &FrameworkId) -> Vec<wire::InverseOffer> {
        let questions = self.inverse_offers_to.get(framework);
        let questions = questions.into_iter().flatten();
        questions.map(|question| (*question).into()).collect()
    }
}

fn add<'a, K: Eq + Hash>(
    sums: &mut HashMap<&'a K, ByRole<'a>>,
    key: &'a K,
    role: &'a Role,
    more: &Resources,
) {
    let by_role = sums.entry(key).or_default();
    match by_role.iter_mut().find(|(other, _)| *other == role) {
        Some((_, sum)) => sum.add(more),
        None => by_role.push((role, more.clone())),
    }
}

impl Sum<'_> {
    /// On whose account soever.
    pub(crate) fn together(&self) -> Resources {
        let mut sum = Resources::none();
        for (_, part) in self.0 {
            sum.add(part);
        }
        sum
    }

    /// The same for readers of the older form as well.
    pub(crate) fn to_endpoints(&self) -> Vec<wire::Resource> {
        let mut all = self.to_wire();
        resources::to_endpoint_form(&mut all);
        all
    }

    /// As messages, each part with the role on whose account it is.
    pub(crate) fn to_wire(&self) -> Vec<wire::Resource> {
        let mut all = Vec::new();
        let mut by_role: Vec<_> = self.0.iter().collect();
        by_role.sort_by_key(|(role, _)| *role);
        for (role, part) in by_role {
            let mut list = resources::to_wire(part);
            resources::allocate(&mut list, role);
            all.append(&mut list);
        }
        all
    }
}
