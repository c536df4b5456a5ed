//! An agent drains by a deadline: our instances there are replaced elsewhere, then they go.
//!
//! Here they are only marked; [`progress`](crate::deployment::progress) says what follows. Nothing is killed before its
//! replacement does its work: what finds no place in time is left to the master. Agents whose machine is planned to be away
//! are not left: they drain when it is time.

use std::collections::BTreeSet;

use mete_model::machine::Effects;
use mete_model::{AgentId, InverseOffer, Offer, Timestamp};

use crate::effects::Action;
use crate::orchestrator::Orchestrator;
use crate::state::instances::InstanceId;

impl Orchestrator {
    pub(crate) fn asked_to_leave(
        &mut self,
        now: Timestamp,
        questions: Vec<InverseOffer>,
        out: &mut Effects<Self>,
    ) {
        for question in questions.into_iter().filter(|offer| offer.is_draining) {
            for id in self.instances_on(&question.agent) {
                self.leaving.add(&question.agent, id.clone());
                self.set_leaving(now, &id, true, out);
            }
            self.leaving.ask(&question.agent, question.id);
        }
    }

    /// Agents that are offered do not drain any more: what has not left them may stay.
    pub(crate) fn stay_where_offered(
        &mut self,
        now: Timestamp,
        offers: &[Offer],
        out: &mut Effects<Self>,
    ) {
        let agents: BTreeSet<&AgentId> = offers.iter().map(|offer| &offer.agent).collect();
        for agent in agents {
            for id in self.leaving.call_off(agent) {
                self.set_leaving(now, &id, false, out);
            }
        }
    }

    /// Tells the master which agents have been left.
    pub(crate) fn tell_who_has_left(&mut self, out: &mut Effects<Self>) {
        let left = self.leaving.take_left();
        if !left.is_empty() {
            out.act.push(Action::AcceptInverse(left));
        }
    }

    /// Looks at all instances: agents drain seldom.
    fn instances_on(&self, agent: &AgentId) -> Vec<InstanceId> {
        let all = self.apps.iter().flat_map(|app| app.instances.values());
        let there = all.filter(|instance| {
            let place = instance.place.as_ref();
            place.is_some_and(|place| place.agent == *agent)
        });
        there.map(|instance| instance.id.clone()).collect()
    }

    fn set_leaving(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        is_leaving: bool,
        out: &mut Effects<Self>,
    ) {
        let instance = self.apps.instance(id);
        if instance.is_some_and(|instance| instance.is_leaving != is_leaving) {
            self.edit_instance(now, id, out, |instance| instance.is_leaving = is_leaving);
        }
    }
}
