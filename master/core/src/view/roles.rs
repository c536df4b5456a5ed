//! What each role may have, has, and who holds it: summed up from tasks and offers when somebody asks, so that a step pays
//! nothing for it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use mete_model::{FrameworkId, Ranges, Resources, Role, TaskState};
use mete_placement::fairness::DEFAULT_WEIGHT_MILLI;
use mete_placement::{Amounts, Policy};

use super::View;
use crate::state::agents::Reach;

/// One role.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleView {
    /// Which.
    pub role: Role,
    /// Thousandths; 1000 unless set.
    pub weight_milli: NonZeroU32,
    /// At most so much.
    pub limit: Option<Amounts>,
    /// So much is kept for it.
    pub guarantee: Option<Amounts>,
    /// How places are chosen for it; `None`: as one level up.
    pub policy: Option<Policy>,
    /// Scalars in use by tasks in this role or below it.
    pub used: Resources,
    /// Scalars that count against its quota: what is reserved for this role or one below it, used or not, and what their tasks
    /// use of what is nobody's (as in Mesos).
    pub consumed: Resources,
    /// Scalars on offer to frameworks in this role or below it.
    pub offered: Resources,
    /// Scalars that agents have reserved for this role or one below it, used or not.
    pub reserved: Resources,
    /// Dominant share of used and offered in all agents, not divided by the weight.
    pub share: f64,
    /// Frameworks that hold this role itself, or have something in it.
    pub frameworks: BTreeSet<FrameworkId>,
}

#[derive(Default)]
struct Holdings {
    used: Resources,
    consumed: Resources,
    offered: Resources,
    reserved: Resources,
    frameworks: BTreeSet<FrameworkId>,
}

impl View {
    /// Every role that is held, or for which something is set or reserved, and the roles above those, in order of name.
    pub fn roles(&self) -> Vec<RoleView> {
        let total = self.total();
        self.holdings()
            .into_iter()
            .map(|(role, holdings)| RoleView {
                weight_milli: self
                    .weights
                    .get(&role)
                    .copied()
                    .unwrap_or(DEFAULT_WEIGHT_MILLI),
                limit: self.limits.get(&role).cloned(),
                guarantee: self.guarantees.get(&role).cloned(),
                policy: self.policies.get(&Some(role.clone())).copied(),
                share: holdings.used.plus(&holdings.offered).dominant_share(&total),
                used: holdings.used,
                consumed: holdings.consumed,
                offered: holdings.offered,
                reserved: holdings.reserved,
                frameworks: holdings.frameworks,
                role,
            })
            .collect()
    }

    /// Scalars of the agents that shares are measured against: those that are there or not yet unreachable.
    pub fn total(&self) -> Resources {
        let mut total = Resources::none();
        for agent in self.agents.values() {
            match agent.reach {
                Reach::Registered { .. } | Reach::Disconnected { .. } => {
                    total.add(&scalars(&agent.info.resources));
                }
                Reach::Recovered { .. } | Reach::Unreachable { .. } => {}
            }
        }
        total
    }

    fn holdings(&self) -> BTreeMap<Role, Holdings> {
        let mut all: BTreeMap<Role, Holdings> = BTreeMap::new();
        for task in self.tasks.values() {
            if task.holds_resources() && task.state != TaskState::Unreachable {
                let holdings = all.entry(task.role.clone()).or_default();
                holdings.used.add(&scalars(&task.spec.resources));
                let unreserved = task.spec.resources.plain();
                holdings.consumed.add(&scalars(&unreserved));
                holdings.frameworks.insert(task.key.framework.clone());
            }
        }
        for offer in self.offers.values() {
            let holdings = all.entry(offer.role.clone()).or_default();
            holdings.offered.add(&scalars(&offer.resources));
        }
        for framework in self.frameworks.values() {
            if !framework.is_completed() {
                for role in &framework.info.roles {
                    let holdings = all.entry(role.clone()).or_default();
                    holdings.frameworks.insert(framework.id.clone());
                }
            }
        }
        for agent in self.agents.values().filter(|agent| !agent.is_gone()) {
            for (tag, part) in agent.info.resources.parts() {
                if let Some(role) = tag.role() {
                    let holdings = all.entry(role.clone()).or_default();
                    holdings.reserved.add(&scalars(part));
                    if agent.is_counted_on() {
                        holdings.consumed.add(&scalars(part));
                    }
                }
            }
        }
        let set = self.weights.keys().chain(self.limits.keys());
        let set = set.chain(self.guarantees.keys());
        for role in set.chain(self.policies.keys().flatten()) {
            all.entry(role.clone()).or_default();
        }
        with_those_above(all)
    }
}

/// Roles above others hold what those do as well.
fn with_those_above(own: BTreeMap<Role, Holdings>) -> BTreeMap<Role, Holdings> {
    let mut all: BTreeMap<Role, Holdings> = BTreeMap::new();
    for (role, holdings) in own {
        let mut above = role.parent();
        while let Some(role) = above {
            above = role.parent();
            let sum = all.entry(role).or_default();
            sum.used.add(&holdings.used);
            sum.consumed.add(&holdings.consumed);
            sum.offered.add(&holdings.offered);
            sum.reserved.add(&holdings.reserved);
        }
        let sum = all.entry(role).or_default();
        sum.used.add(&holdings.used);
        sum.consumed.add(&holdings.consumed);
        sum.offered.add(&holdings.offered);
        sum.reserved.add(&holdings.reserved);
        sum.frameworks = holdings.frameworks;
    }
    all
}

fn scalars(resources: &Resources) -> Resources {
    resources.flat().into_owned().with_ports(Ranges::new())
}
