//! What people and metrics want to know of the allocator.

use std::num::NonZeroU32;

use mete_model::{AgentId, FrameworkId, Resources, Role};

use super::Allocator;
use super::agent::Way;
use crate::quota::Amounts;
use crate::sums::{Sums, Whole};

/// One role, for views and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleUsage {
    /// Which.
    pub role: Role,
    /// Thousandths; 1000 unless set.
    pub weight_milli: NonZeroU32,
    /// At most so much; top-level roles only.
    pub limit: Option<Amounts>,
    /// So much is kept for it; top-level roles only.
    pub guarantee: Option<Amounts>,
    /// Scalars on offer to or in use by frameworks in this role or below it.
    pub allocated: Resources,
    /// Dominant share of that in all agents, not divided by the weight.
    pub share: f64,
    /// How many frameworks hold this role itself, or something in it.
    pub frameworks: usize,
}

impl Allocator {
    /// Dominant share of a framework over all its roles; `None` when it is not known.
    pub fn share(&self, framework: &FrameworkId) -> Option<f64> {
        Some(self.held_sums(framework)?.dominant_share(&self.whole()))
    }

    /// Scalars on offer to or in use by a framework; `None` when it is not known.
    pub fn framework_allocated(&self, framework: &FrameworkId) -> Option<Resources> {
        Some(self.held_sums(framework)?.to_resources())
    }

    /// Every role that is held or configured, and the roles above those, in order of name.
    pub fn role_usage(&self) -> Vec<RoleUsage> {
        let mut frameworks = vec![0; self.tree.nodes_end()];
        for (_, client) in self.tree.clients() {
            frameworks[usize::from(client.role)] += 1;
        }
        self.tree
            .nodes()
            .map(|(slot, node)| RoleUsage {
                role: node.role.clone(),
                weight_milli: node.weight_milli,
                limit: self.quota.limit(slot).cloned(),
                guarantee: self.quota.guarantee(slot).cloned(),
                allocated: node.held.to_resources(),
                share: node.held.dominant_share(&self.whole()),
                frameworks: frameworks[usize::from(slot)],
            })
            .collect()
    }

    /// Scalars of all agents.
    pub fn total(&self) -> Resources {
        self.tree.total().to_resources()
    }

    /// Scalars on offer or in use.
    pub fn allocated(&self) -> Resources {
        self.tree.held().to_resources()
    }

    /// What is free on an agent; `None` when it is not known.
    pub fn free(&self, agent: &AgentId) -> Option<&Resources> {
        let slot = self.agents.find(agent)?;
        Some(self.agents.get(slot).free())
    }

    /// What a framework holds on an agent in a role, on offer and in use.
    pub fn held(&self, agent: &AgentId, framework: &FrameworkId, role: &Role) -> Option<Resources> {
        let (offered, used) = (
            self.on_offer(agent, framework, role),
            self.in_use(agent, framework, role),
        );
        match (offered, used) {
            (Some(offered), Some(used)) => Some(offered.plus(used)),
            (one, other) => one.or(other).cloned(),
        }
    }

    /// What is on offer to a framework on an agent in a role.
    pub fn on_offer(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
    ) -> Option<&Resources> {
        let slot = self.agents.find(agent)?;
        let client = self.frameworks.client(framework, role)?;
        self.agents.held_by(slot, client, Way::Offered)
    }

    /// What the tasks of a framework use on an agent in a role.
    pub fn in_use(
        &self,
        agent: &AgentId,
        framework: &FrameworkId,
        role: &Role,
    ) -> Option<&Resources> {
        let slot = self.agents.find(agent)?;
        let client = self.frameworks.client(framework, role)?;
        self.agents.held_by(slot, client, Way::Used)
    }

    /// How many tasks of a framework's demand have been offered no place yet; `None` when it is not known or says nothing.
    pub fn open_demand(&self, framework: &FrameworkId) -> Option<u64> {
        let framework = self.frameworks.get(self.frameworks.find(framework)?);
        framework.demand.as_ref()?;
        let clients = framework.roles.values().map(|held| held.client);
        let wishes = clients.filter_map(|client| self.rules.get(client).wishes.as_ref());
        Some(wishes.map(super::wishes::Wishes::open).sum())
    }

    /// How many filters are set.
    pub fn filters(&self) -> usize {
        self.filters.len()
    }

    fn whole(&self) -> Whole {
        Whole::from(self.tree.total())
    }

    fn held_sums(&self, framework: &FrameworkId) -> Option<Sums> {
        let framework = self.frameworks.get(self.frameworks.find(framework)?);
        let mut sums = Sums::default();
        for held in framework.roles.values() {
            sums.merge(&self.tree.client(held.client).held);
        }
        Some(sums)
    }
}
