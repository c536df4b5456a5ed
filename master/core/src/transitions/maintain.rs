//! Machines are planned to be away, go down, come up; and who has something on them is asked to leave in time.
//!
//! A plan shows in offers (`unavailability`) and in inverse offers. It forces nobody: that is what draining is for, which
//! asks in the same way when it has a deadline. What is down is out: its agents' tasks are over, and the agents are not let in until the machine is up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, InverseOffer, OfferId, Timestamp, Unavailability};
use tracing::{debug, info};

use crate::cluster::{Cluster, Out};
use crate::effects::{Event, OperatorError, Reply};
use crate::registry::Record;
use crate::state::agents::Reach;
use crate::state::schedule::{MachineId, Schedule, ScheduleError, Window};

impl Cluster {
    /// Replaces the schedule, all or nothing.
    pub(crate) fn set_schedule(&mut self, now: Timestamp, windows: Vec<Window>, out: &mut Out) {
        let schedule = Schedule::new(windows, self.schedule.down().clone());
        self.apply_schedule(now, schedule, out);
    }

    /// Planned machines go down: their agents are out.
    pub(crate) fn machines_down(
        &mut self,
        now: Timestamp,
        machines: &BTreeSet<MachineId>,
        out: &mut Out,
    ) {
        let schedule = self.schedule.with_down(machines);
        self.apply_schedule(now, schedule, out);
        let down: Vec<AgentId> = self
            .agents
            .all
            .values()
            .filter(|agent| self.schedule.down_machine(&agent.info.endpoint).is_some())
            .filter(|agent| match agent.reach {
                Reach::Registered { .. } | Reach::Disconnected { .. } | Reach::Recovered { .. } => {
                    true
                }
                Reach::Unreachable { .. } => false,
            })
            .map(|agent| agent.id.clone())
            .collect();
        for agent in down {
            self.take_agent_down(now, &agent, out);
        }
    }

    /// Machines are up again, and not planned any more.
    pub(crate) fn machines_up(
        &mut self,
        now: Timestamp,
        machines: &BTreeSet<MachineId>,
        out: &mut Out,
    ) {
        let schedule = self.schedule.with_up(machines);
        self.apply_schedule(now, schedule, out);
    }

    fn apply_schedule(
        &mut self,
        now: Timestamp,
        schedule: Result<Schedule, ScheduleError>,
        out: &mut Out,
    ) {
        let schedule = match schedule {
            Ok(schedule) => schedule,
            Err(error) => {
                out.reply = Some(Reply::Failed(OperatorError::Schedule(error)));
                return;
            }
        };
        out.reply = Some(Reply::Done);
        if *self.schedule == schedule {
            return;
        }
        info!(
            windows = schedule.windows().len(),
            down = schedule.down().len(),
            "maintenance schedule changed"
        );
        out.store.push(Record::Maintenance(schedule.clone()));
        self.schedule = Arc::new(schedule);
        let agents: Vec<AgentId> = self.agents.all.iter().map(|(id, _)| id.clone()).collect();
        for agent in agents {
            self.plan_agent(now, &agent, out);
        }
    }

    /// An agent is there, or its plan may have changed: what is on offer without word of the new plan is withdrawn, and
    /// everybody is asked anew.
    pub(crate) fn plan_agent(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        let agent = self.agents.get(id).filter(|agent| agent.link().is_some());
        let plan = agent.and_then(|agent| match agent.leave_by() {
            Some(start) => Some(Unavailability {
                start,
                duration: None,
            }),
            None => self.schedule.unavailability(&agent.info.endpoint),
        });
        if plan.is_none() && self.maintenance.unavailability(id).is_none() {
            return;
        }
        let maintenance = Arc::make_mut(&mut self.maintenance);
        if maintenance.set_unavailability(id, plan) {
            self.rescind_inverse_of(id, out);
            self.rescind_of_agent(now, id, out);
        } else {
            maintenance.touch(id);
        }
    }

    /// An agent is out: nobody is asked to leave it any more.
    pub(crate) fn unplan_agent(&mut self, id: &AgentId, out: &mut Out) {
        if self.maintenance.unavailability(id).is_some() {
            Arc::make_mut(&mut self.maintenance).set_unavailability(id, None);
            self.rescind_inverse_of(id, out);
        }
    }

    fn rescind_inverse_of(&mut self, id: &AgentId, out: &mut Out) {
        for offer in self.inverse_offers.take_about(id) {
            self.tell_framework(&offer.framework, Event::RescindInverse(offer.id), out);
        }
    }

    /// What a framework was asked is void without a word: its stream is gone, or a new one has taken its place.
    pub(crate) fn drop_inverse_offers_to(&mut self, framework: &FrameworkId) {
        if self.maintenance.is_empty() {
            return;
        }
        self.inverse_offers.take_to(framework);
        Arc::make_mut(&mut self.maintenance).forget_framework(framework);
    }

    /// Asks who has something on planned agents and was not asked yet, or not for the time of its filter.
    pub(crate) fn make_inverse_offers(&mut self, now: Timestamp, out: &mut Out) {
        let filter_ran_out = self.maintenance.next_deadline().is_some_and(|at| at <= now);
        if !self.maintenance.wants_round() && !filter_ran_out {
            return;
        }
        let (tasks, offers, frameworks) = (&self.tasks, &self.offers, &self.frameworks);
        let users = |agent: &AgentId| {
            let running = tasks.of_agent(agent).into_iter();
            let running = running.filter(|key| {
                let task = tasks.get(key);
                task.is_some_and(|task| task.holds_resources())
            });
            let offered = offers.of_agent(agent);
            let offered = offered.iter().filter_map(|id| offers.get(id));
            let all = running.map(|key| key.framework);
            all.chain(offered.map(|offer| offer.framework.clone()))
                .filter(|id| {
                    let framework = frameworks.get(id);
                    framework.is_some_and(|framework| framework.link().is_some())
                })
                .collect()
        };
        let grants = Arc::make_mut(&mut self.maintenance).inverse_round(now, users);
        let mut asked: BTreeMap<FrameworkId, Vec<InverseOffer>> = BTreeMap::new();
        for grant in grants {
            let agent = self.agents.get(&grant.agent);
            let offer = InverseOffer {
                is_draining: agent.is_some_and(|agent| agent.leave_by().is_some()),
                id: self.offers.new_id(&self.settings.incarnation),
                framework: grant.framework,
                agent: grant.agent,
                unavailability: grant.unavailability,
            };
            debug!(offer = %offer.id, framework = %offer.framework, agent = %offer.agent, "inverse offer made");
            self.count().inverse_offers_made += 1;
            self.inverse_offers.put(offer.clone());
            let theirs = asked.entry(offer.framework.clone()).or_default();
            theirs.push(offer);
        }
        for (framework, offers) in asked {
            self.tell_framework(&framework, Event::InverseOffers(offers), out);
        }
    }

    /// ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS.
    pub(crate) fn answer_inverse(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        offers: &[OfferId],
        accepted: bool,
        refuse_for: Duration,
    ) {
        for id in offers {
            let Some(offer) = self.inverse_offers.take_of(framework, id) else {
                continue;
            };
            match accepted {
                true => self.count().inverse_offers_accepted += 1,
                false => self.count().inverse_offers_declined += 1,
            }
            let maintenance = Arc::make_mut(&mut self.maintenance);
            maintenance.answer(now, framework, &offer.agent, accepted, refuse_for);
        }
    }
}
