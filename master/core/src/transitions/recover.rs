//! A new master: the registry in hand, agents and frameworks still on their way.
//!
//! Until the return window ends, nothing is said of tasks on agents that are not back, and so much of each role's limit
//! is held back as those agents could be using of it.

use std::sync::Arc;

use bytes::Bytes;
use mete_model::{AgentId, AgentInfo, Attributes, Resources, Timestamp};
use mete_placement::{Allocator, Amounts, Maintenance, Options};
use tracing::warn;

use crate::cluster::Cluster;
use crate::counters::Counters;
use crate::registry::{AgentRecord, Registry};
use crate::settings::Settings;
use crate::state::agents::{Admission, Agent, Agents, Reach};
use crate::state::deadlines::{Deadlines, Due};
use crate::state::erasures::Erasures;
use crate::state::executors::Executors;
use crate::state::frameworks::Frameworks;
use crate::state::inverse_offers::InverseOffers;
use crate::state::offers::Offers;
use crate::state::operations::Operations;
use crate::state::reconciliations::Reconciliations;
use crate::state::tasks::Tasks;

impl Cluster {
    /// The cluster as far as it survived. Agents that were not unreachable or gone have the return window to come back.
    pub fn recover(settings: Settings, registry: Registry, now: Timestamp) -> Self {
        let mut allocator = Allocator::new(Options {
            policy: settings.policy,
            region: settings.domain.as_ref().map(|domain| domain.region.clone()),
        });
        for (role, weight) in &registry.weights {
            allocator.set_weight(role, *weight);
        }
        for (role, guarantee) in &registry.guarantees {
            if let Err(error) = allocator.set_guarantee(role, Some(guarantee.clone())) {
                warn!(%role, %error, "guarantee of role has no effect");
            }
        }
        for (role, policy) in &registry.policies {
            allocator.set_policy(role.as_ref(), Some(*policy));
        }
        let mut cluster = Self {
            started: now,
            began_blank: registry.agents.is_empty(),
            agents: Agents::default(),
            frameworks: Frameworks::default(),
            offers: Offers::default(),
            tasks: Tasks::default(),
            executors: Executors::default(),
            erasures: Erasures::new(registry.erasing),
            operations: Operations::new(registry.operations),
            reconciliations: Reconciliations::default(),
            weights: Arc::new(registry.weights),
            limits: Arc::new(registry.limits),
            guarantees: Arc::new(registry.guarantees),
            policies: Arc::new(registry.policies),
            schedule: Arc::new(registry.schedule),
            maintenance: Arc::new(Maintenance::default()),
            inverse_offers: InverseOffers::default(),
            torn_down: registry.torn_down,
            allocator,
            deadlines: Deadlines::default(),
            counters: Arc::new(Counters::default()),
            settings: Arc::new(settings),
        };
        for record in registry.agents.into_values() {
            cluster.recover_agent(now, record);
        }
        cluster.recover_operations();
        cluster.apply_limits();
        cluster
    }

    /// Frameworks that come back hear of their operations; those of others are forgotten when they are as old as an agent
    /// that is.
    fn recover_operations(&mut self) {
        for (key, done) in self.operations.all.iter() {
            let forget = done.at + self.settings.forget_after;
            self.deadlines.set(Due::Operation(key.clone()), forget);
        }
    }

    fn recover_agent(&mut self, now: Timestamp, record: AgentRecord) {
        let id = record.id.clone();
        let until = now + self.settings.return_window;
        let reach = match (record.admission, record.unreachable_since) {
            (Admission::Gone { at }, _) => Reach::Unreachable { since: at },
            (_, Some(since)) => {
                let forget = since + self.settings.forget_after;
                self.deadlines.set(Due::Forget(id.clone()), forget);
                Reach::Unreachable { since }
            }
            (
                Admission::Active
                | Admission::Draining(_)
                | Admission::Drained { .. }
                | Admission::Deactivated,
                None,
            ) => {
                self.deadlines.set(Due::Return(id.clone()), until);
                self.agents.awaited.insert(id.clone());
                Reach::Recovered { until }
            }
        };
        let agent = Agent {
            id: id.clone(),
            info: AgentInfo {
                endpoint: record.endpoint,
                // Its scalars as they are, so that the sum stays, with what was made of them.
                resources: record
                    .resources
                    .minus_at_most(&record.made.flat())
                    .plus(&record.made),
                attributes: Attributes::new(),
                domain: None,
                original: Bytes::new(),
            },
            version: String::new(),
            boot_id: None,
            reach,
            admission: record.admission,
            registered_at: record.registered_at,
            reregistered_at: None,
        };
        self.agents.all.insert(id, Arc::new(agent));
    }

    /// An agent is back, or not waited for any more.
    pub(crate) fn no_longer_awaited(&mut self, id: &AgentId) {
        if self.agents.awaited.remove(id) && !self.limits.is_empty() {
            self.apply_limits();
        }
    }

    /// Tells the allocator the limits, less what agents that are still waited for could be using of them.
    pub(crate) fn apply_limits(&mut self) {
        let mut missing = Resources::none();
        for agent in self
            .agents
            .awaited
            .iter()
            .filter_map(|id| self.agents.get(id))
        {
            missing.add(&agent.info.resources.flat());
        }
        for (role, limit) in self.limits.iter() {
            if let Err(error) = self.allocator.set_limit(role, Some(less(limit, &missing))) {
                warn!(%role, %error, "limit of role has no effect");
            }
        }
    }
}

/// A limit without `held`; what is not limited stays so.
fn less(limit: &Amounts, held: &Resources) -> Amounts {
    let without = |limit: Option<u64>, held: u64| limit.map(|limit| limit.saturating_sub(held));
    Amounts {
        cpus_milli: without(limit.cpus_milli, held.cpus_milli),
        mem_milli: without(limit.mem_milli, held.mem_milli),
        disk_milli: without(limit.disk_milli, held.disk_milli),
        gpus_milli: without(limit.gpus_milli, held.gpus_milli),
        other: limit
            .other
            .iter()
            .map(|(name, milli)| (Arc::clone(name), milli.saturating_sub(held.other(name))))
            .collect(),
    }
}
