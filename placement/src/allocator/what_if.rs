//! What would be placed where, if: answered on a copy, so that nothing is touched.
//!
//! The copy is the cluster as it is, except that what is on offer counts as free (it comes back, or is
//! used by what waits), that drained agents are empty and closed, and that nobody but the question asks
//! for anything.

use std::collections::BTreeMap;

use mete_model::{AgentId, Capability, FrameworkId, Resources, Role, Timestamp};

use super::agent::{Admission, AgentFacts, Way};
use super::frameworks::FrameworkFacts;
use super::{Allocator, Grant};
use crate::demand::Shape;
use crate::explain::ExplainedShape;
use crate::packing::Policy;
use crate::slots::ClientSlot;

/// A question.
#[derive(Clone, Debug, Default)]
pub struct WhatIf {
    /// What is to be placed, in this order. Shapes that name no role are in `*`.
    pub add: Vec<Shape>,
    /// Agents that would be there, too.
    pub agents: Vec<(AgentId, AgentFacts)>,
    /// Agents that would be empty and closed. What ran there is not placed elsewhere by itself: whoever asks adds it.
    pub drain: Vec<AgentId>,
    /// How places would be chosen, everywhere; `None`: as they are.
    pub policy: Option<Policy>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIfAnswer {
    /// For each shape of the question, in its order.
    pub shapes: Vec<WhatIfShape>,
    /// Agents of the question that are not known.
    pub unknown: Vec<AgentId>,
    /// What is free and of no use, as it is now, without what is on offer.
    pub stranded_before: Resources,
    /// The same after everything was placed.
    pub stranded_after: Resources,
    /// What is free on agents that may be offered, as it is now.
    pub free_before: Resources,
    /// The same after everything was placed.
    pub free_after: Resources,
}

/// What would become of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIfShape {
    /// The shape as it was asked.
    pub shape: Shape,
    /// How many would be placed where.
    pub placed: BTreeMap<AgentId, u32>,
    /// How many would not.
    pub missing: u32,
    /// Why not; `None` when all are placed.
    pub why_not: Option<ExplainedShape>,
}

impl Allocator {
    /// Answers on a copy of this.
    pub fn what_if(&self, now: Timestamp, question: &WhatIf) -> WhatIfAnswer {
        let mut copy = self.clone();
        copy.take_back_offers();
        let (free_before, stranded_before) = (copy.offerable(), copy.stranded());
        let asker = copy.prepare(question);
        copy.set_demand(&asker, question.add.clone());
        let grants = copy.round(now);
        WhatIfAnswer {
            shapes: copy.told_apart(&asker, &question.add, &grants),
            unknown: question
                .drain
                .iter()
                .filter(|id| self.agents.find(id).is_none())
                .cloned()
                .collect(),
            stranded_before,
            stranded_after: copy.stranded(),
            free_before,
            free_after: copy.offerable(),
        }
    }

    /// What is free on agents that may be offered.
    pub fn offerable(&self) -> Resources {
        self.agents.free().to_resources()
    }

    /// What is free on agents that may be offered and is of no use to an ordinary task, because the agent has no CPUs or
    /// no memory left beside it.
    pub fn stranded(&self) -> Resources {
        self.agents.stranded().to_resources()
    }

    /// Everything on offer is free again, and nobody who is there asks for anything.
    fn take_back_offers(&mut self) {
        let frameworks: Vec<FrameworkId> = self
            .frameworks
            .iter()
            .filter(|framework| framework.known)
            .map(|framework| framework.id.clone())
            .collect();
        for framework in frameworks {
            self.set_framework_active(&framework, false);
        }
        let agents: Vec<_> = self.agents.slots().collect();
        for agent in agents {
            for (client, part) in self.agents.held_on(agent, Way::Offered) {
                self.put_back(agent, client, Way::Offered, &part);
            }
        }
    }

    /// The cluster as the question wants it, and who asks in it.
    fn prepare(&mut self, question: &WhatIf) -> FrameworkId {
        for (id, facts) in &question.agents {
            self.add_agent(id.clone(), facts.clone());
        }
        for id in &question.drain {
            let Some(agent) = self.agents.find(id) else {
                continue;
            };
            self.set_admission(id, Admission::Draining);
            for (client, part) in self.agents.held_on(agent, Way::Used) {
                self.put_back(agent, client, Way::Used, &part);
            }
        }
        if let Some(policy) = question.policy {
            self.policies.clear();
            self.set_policy(None, Some(policy));
        }
        let asker = (0_u32..)
            .filter_map(|n| FrameworkId::new(format!("what-if-{n}")).ok())
            .find(|id| self.frameworks.find(id).is_none())
            .expect("there are more names than frameworks");
        let roles = question.add.iter().filter_map(|shape| shape.role.clone());
        let facts = FrameworkFacts {
            roles: roles.chain([Role::any()]).collect(),
            capabilities: Capability::ALL.iter().copied().collect(),
            ..FrameworkFacts::default()
        };
        self.add_framework(asker.clone(), facts);
        asker
    }

    /// What became of each shape.
    fn told_apart(
        &self,
        asker: &FrameworkId,
        asked: &[Shape],
        grants: &[Grant],
    ) -> Vec<WhatIfShape> {
        let mut answers: Vec<WhatIfShape> = asked
            .iter()
            .map(|shape| WhatIfShape {
                shape: shape.clone(),
                placed: BTreeMap::new(),
                missing: shape.count,
                why_not: None,
            })
            .collect();
        for grant in grants {
            let client = self.frameworks.client(asker, &grant.role);
            for (id, units) in &grant.units {
                let shape = client.and_then(|client| self.wished(client, *id));
                let mut units = *units;
                for answer in answers.iter_mut().filter(|answer| {
                    shape
                        .as_ref()
                        .is_some_and(|shape| shape.is_same_kind(&answer.shape))
                }) {
                    let some = units.min(answer.missing);
                    if some > 0 {
                        *answer.placed.entry(grant.agent.clone()).or_default() += some;
                        answer.missing -= some;
                        units -= some;
                    }
                }
            }
        }
        for answer in answers.iter_mut().filter(|answer| answer.missing > 0) {
            answer.why_not = Some(self.explain_shape(Some(asker), &answer.shape));
        }
        answers
    }

    fn wished(
        &self,
        client: ClientSlot,
        id: crate::demand::ShapeId,
    ) -> Option<std::sync::Arc<Shape>> {
        self.rules.get(client).wishes.as_ref()?.shape(id)
    }
}
