//! Agents that drain: which of our instances are still there, and the master's question that is answered when none is.
//!
//! The question comes anew with every link and every change of the deadline; whoever is to leave is known without it.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{AgentId, OfferId};

use crate::state::instances::InstanceId;

/// What is to leave one agent.
#[derive(Clone, Debug, Default)]
struct Departure {
    question: Option<OfferId>,
    left: BTreeSet<InstanceId>,
}

/// All agents that drain and have, or had a moment ago, instances of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaving {
    agents: BTreeMap<AgentId, Departure>,
    /// Agents whose last instance has ended, or that had none.
    emptied: BTreeSet<AgentId>,
}

impl Leaving {
    /// An instance is to leave its agent.
    pub(crate) fn add(&mut self, agent: &AgentId, instance: InstanceId) {
        let departure = self.agents.entry(agent.clone()).or_default();
        departure.left.insert(instance);
        self.emptied.remove(agent);
    }

    /// The master asks; answered when no instance is left.
    pub(crate) fn ask(&mut self, agent: &AgentId, question: OfferId) {
        let departure = self.agents.entry(agent.clone()).or_default();
        departure.question = Some(question);
        if departure.left.is_empty() {
            self.emptied.insert(agent.clone());
        }
    }

    /// A question is withdrawn.
    pub(crate) fn withdraw(&mut self, question: &OfferId) {
        for departure in self.agents.values_mut() {
            departure.question.take_if(|open| open == question);
        }
    }

    /// An instance has ended.
    pub(crate) fn ended(&mut self, agent: &AgentId, instance: &InstanceId) {
        let Some(departure) = self.agents.get_mut(agent) else {
            return;
        };
        departure.left.remove(instance);
        if departure.left.is_empty() {
            self.emptied.insert(agent.clone());
        }
    }

    /// An agent does not drain any more: those that may stay.
    pub(crate) fn call_off(&mut self, agent: &AgentId) -> BTreeSet<InstanceId> {
        self.emptied.remove(agent);
        let departure = self.agents.remove(agent);
        departure
            .map(|departure| departure.left)
            .unwrap_or_default()
    }

    /// Takes agents that have been left; the questions about them.
    pub(crate) fn take_left(&mut self) -> Vec<OfferId> {
        let left = std::mem::take(&mut self.emptied).into_iter();
        left.filter_map(|agent| self.agents.remove(&agent)?.question)
            .collect()
    }
}
