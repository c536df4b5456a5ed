//! Random events: what a master may tell an allocator, drawn so that most of it makes sense and some of it is late,
//! too much, or about what is gone.
//!
//! The same seed gives the same events to allocators that answer the same.

mod agents; // what agents have
mod dice; // random numbers that are the same in every run
mod frameworks; // what frameworks say of themselves and wait for
mod player; // what happens next

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Resources, Role, Timestamp};
use mete_placement::{
    Admission, AgentFacts, Allocator, Amounts, FrameworkFacts, Grant, Policy, Shape, ShapeId,
};

pub(crate) use dice::Dice;
pub(crate) use player::{Flavour, Player};

use crate::naive::Naive;

/// Who holds what where.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) agent: AgentId,
    pub(crate) framework: FrameworkId,
    pub(crate) role: Role,
    pub(crate) resources: Resources,
}

/// One call of an allocator.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    AddAgent(AgentId, AgentFacts),
    UpdateAgent(AgentId, Resources),
    RemoveAgent(AgentId),
    SetAdmission(AgentId, Admission),
    AddFramework(FrameworkId, FrameworkFacts),
    UpdateFramework(FrameworkId, FrameworkFacts),
    SetActive(FrameworkId, bool),
    RemoveFramework(FrameworkId),
    Suppress(FrameworkId, Option<BTreeSet<Role>>),
    Revive(FrameworkId, Option<BTreeSet<Role>>),
    SetDemand(FrameworkId, Vec<Shape>),
    SetWeight(Role, NonZeroU32),
    SetLimit(Role, Option<Amounts>),
    SetGuarantee(Role, Option<Amounts>),
    SetPolicy(Option<Role>, Option<Policy>),
    Claim(Part),
    Launched(Part),
    Release(Part),
    GiveBack(Timestamp, Part, Duration),
    Answered(Part, Vec<(ShapeId, u32)>, u32),
    Reshape(Part, Resources),
    ReshapeFree(AgentId, Resources, Resources),
    Round(Timestamp),
}

/// What an allocator answers to one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Of a round.
    pub(crate) grants: Vec<Grant>,
    /// It cannot be.
    pub(crate) is_refused: bool,
}

impl Answer {
    fn of<E>(done: Result<(), E>) -> Self {
        Self {
            is_refused: done.is_err(),
            ..Self::default()
        }
    }
}

/// Both kinds of allocators have the same calls.
macro_rules! tell {
    ($name:ident, $kind:ty) => {
        /// Makes the call.
        pub(crate) fn $name(event: &Event, to: &mut $kind) -> Answer {
            use Event as E;
            match event.clone() {
                E::AddAgent(id, facts) => to.add_agent(id, facts),
                E::UpdateAgent(id, total) => to.update_agent(&id, total),
                E::RemoveAgent(id) => to.remove_agent(&id),
                E::SetAdmission(id, admission) => to.set_admission(&id, admission),
                E::AddFramework(id, facts) => to.add_framework(id, facts),
                E::UpdateFramework(id, facts) => to.update_framework(&id, facts),
                E::SetActive(id, active) => to.set_framework_active(&id, active),
                E::RemoveFramework(id) => to.remove_framework(&id),
                E::Suppress(id, roles) => to.suppress(&id, roles.as_ref()),
                E::Revive(id, roles) => to.revive(&id, roles.as_ref()),
                E::SetDemand(id, shapes) => to.set_demand(&id, shapes),
                E::SetWeight(role, weight) => to.set_weight(&role, weight),
                E::SetLimit(role, limit) => return Answer::of(to.set_limit(&role, limit)),
                E::SetGuarantee(role, guarantee) => {
                    return Answer::of(to.set_guarantee(&role, guarantee));
                }
                E::SetPolicy(role, policy) => to.set_policy(role.as_ref(), policy),
                E::Claim(p) => to.claim(&p.agent, &p.framework, &p.role, &p.resources),
                E::Launched(p) => to.launched(&p.agent, &p.framework, &p.role, &p.resources),
                E::Release(p) => to.release(&p.agent, &p.framework, &p.role, &p.resources),
                E::GiveBack(now, p, refuse_for) => to.give_back(
                    now,
                    &p.agent,
                    &p.framework,
                    &p.role,
                    &p.resources,
                    refuse_for,
                ),
                E::Answered(p, units, launched) => {
                    to.answered(&p.agent, &p.framework, &p.role, &units, launched);
                }
                E::Reshape(p, into) => {
                    let done = to.reshape(&p.agent, &p.framework, &p.role, &p.resources, &into);
                    return Answer::of(done);
                }
                E::ReshapeFree(id, from, into) => {
                    return Answer::of(to.reshape_free(&id, &from, &into));
                }
                E::Round(now) => {
                    return Answer {
                        grants: to.round(now),
                        is_refused: false,
                    };
                }
            }
            Answer::default()
        }
    };
}

tell!(tell, Allocator);
tell!(tell_naive, Naive);
