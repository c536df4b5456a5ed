//! What would be placed where, if: answered on a copy, so that nothing is touched.
//!
//! The copy is the cluster as it is, except that what is on offer counts as free (it comes back, or is
//! used by what waits), that drained agents are empty and closed, and that nobody but the question asks
//! for anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{AgentId, Capability, FrameworkId, Resources, Role, Timestamp};

use super::agent::{Admission, AgentFacts, Way};
use super::frameworks::FrameworkFacts;
use super::{Allocator, Grant};
use crate::demand::{Shape, ShapeId};
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
    /// Agents that would be empty and closed. What ran there is not placed elsewhere by itself: whoever asks names it in
    /// `moved`.
    pub drain: Vec<AgentId>,
    /// What is to be placed after that, in the name of others.
    pub moved: Vec<Moved>,
    /// How places would be chosen, everywhere; `None`: as they are.
    pub policy: Option<Policy>,
}

/// What is to be placed in the name of frameworks, which are not offered every agent.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// What those frameworks understand.
    pub capabilities: BTreeSet<Capability>,
    /// In this order.
    pub shapes: Vec<Shape>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub struct WhatIfAnswer {
    /// For each shape of the question, in its order; those that moved come last.
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
        copy.prepare(question);
        let everything = Capability::ALL.iter().copied().collect();
        let mut placed = vec![copy.place(now, everything, &question.add)];
        for Moved {
            capabilities,
            shapes,
        } in &question.moved
        {
            placed.push(copy.place(now, capabilities.clone(), shapes));
        }
        // What is said of those without a place is so after all have theirs.
        let shapes = placed.into_iter().flat_map(|(asker, mut shapes)| {
            for one in shapes.iter_mut().filter(|one| one.missing > 0) {
                one.why_not = Some(copy.explain_shape(Some(&asker), &one.shape));
            }
            shapes
        });
        WhatIfAnswer {
            shapes: shapes.collect(),
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

    /// The cluster as the question wants it.
    fn prepare(&mut self, question: &WhatIf) {
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
    }

    /// Places shapes for somebody new with these capabilities, who is returned.
    fn place(
        &mut self,
        now: Timestamp,
        capabilities: BTreeSet<Capability>,
        shapes: &[Shape],
    ) -> (FrameworkId, Vec<WhatIfShape>) {
        let asker = (0_u32..)
            .filter_map(|n| FrameworkId::new(format!("what-if-{n}")).ok())
            .find(|id| self.frameworks.find(id).is_none())
            .expect("there are more names than frameworks");
        let roles = shapes.iter().filter_map(|shape| shape.role.clone());
        let facts = FrameworkFacts {
            roles: roles.chain([Role::any()]).collect(),
            capabilities,
            ..FrameworkFacts::default()
        };
        self.add_framework(asker.clone(), facts);
        self.set_demand(&asker, shapes.to_vec());
        let grants = self.rounds_to_the_end(now);
        let shapes = self.told_apart(&asker, shapes, &grants);
        (asker, shapes)
    }

    /// All that the asker is given: one round ends early when it has placed much.
    fn rounds_to_the_end(&mut self, now: Timestamp) -> Vec<Grant> {
        let mut grants = self.round(now);
        while self.is_unfinished {
            grants.extend(self.round(now));
        }
        grants
    }

    /// What became of each shape; why not is for later.
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
        // Each kind is on many agents: which answers it belongs to is found out once.
        let mut alike: BTreeMap<(ClientSlot, ShapeId), Vec<usize>> = BTreeMap::new();
        for grant in grants {
            let Some(client) = self.frameworks.client(asker, &grant.role) else {
                continue;
            };
            for (id, units) in &grant.units {
                let answers_to_it = alike.entry((client, *id)).or_insert_with(|| {
                    let shape = self.wished(client, *id);
                    let is_it =
                        |asked: &Shape| shape.as_ref().is_some_and(|it| it.is_same_kind(asked));
                    (0..asked.len()).filter(|at| is_it(&asked[*at])).collect()
                });
                let mut units = *units;
                for at in answers_to_it {
                    let answer = &mut answers[*at];
                    let some = units.min(answer.missing);
                    if some > 0 {
                        *answer.placed.entry(grant.agent.clone()).or_default() += some;
                        answer.missing -= some;
                        units -= some;
                    }
                }
            }
        }
        answers
    }

    fn wished(&self, client: ClientSlot, id: ShapeId) -> Option<Arc<Shape>> {
        self.rules.get(client).wishes.as_ref()?.shape(id)
    }
}
