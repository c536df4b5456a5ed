//! Who was asked to leave which agent, and what was answered: the bookkeeping of inverse offers.
//!
//! An agent is planned to be away because its machine is in the maintenance schedule or because it drains by a deadline;
//! which of them is not known here. Per planned agent and framework that has something there:
//!
//! ```text
//! (not asked) ──inverse_round──▶ asked ──accepted──▶ accepted, until the plan changes
//!                  ▲               └────declined──▶ declined ──filter ends──▶ asked again
//!                  └── plan changed, framework away (forget_framework) or ready for all offers again (revive)
//! ```
//! A round looks at agents that were touched and at those where a filter has ended, at no others. Names that are not
//! known are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Timestamp, Unavailability};

use crate::filters::MAX_REFUSAL;

/// A framework is to be asked whether it can leave an agent in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InverseGrant {
    /// Who.
    pub framework: FrameworkId,
    /// Which agent.
    pub agent: AgentId,
    /// When the agent will be away.
    pub unavailability: Unavailability,
}

/// What a framework said to an inverse offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InverseAnswer {
    /// It will leave in time.
    pub accepted: bool,
    /// When it said so.
    pub at: Timestamp,
}

/// How a framework stands to a planned agent.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// An inverse offer is on its table.
    outstanding: bool,
    /// The last thing it said; kept while it is asked again.
    answer: Option<InverseAnswer>,
    /// It is not asked before this.
    not_before: Option<Timestamp>,
    /// It is asked whatever it has said before.
    anew: bool,
}

/// A planned agent.
#[derive(Clone, Debug)]
struct Planned {
    unavailability: Unavailability,
    asked: BTreeMap<FrameworkId, Asked>,
}

/// All planned agents.
#[derive(Clone, Debug, Default)]
pub struct Maintenance {
    agents: BTreeMap<AgentId, Planned>,
    touched: BTreeSet<AgentId>,
    filters: BTreeSet<(Timestamp, AgentId, FrameworkId)>,
}

impl Maintenance {
    /// Sets when an agent will be away; `None`: nothing is planned. With a new plan everybody is asked anew: true, and
    /// the caller withdraws what is on the table. The same plan again changes nothing: false.
    pub fn set_unavailability(&mut self, agent: &AgentId, plan: Option<Unavailability>) -> bool {
        let before = self.agents.get(agent).map(|planned| planned.unavailability);
        if before == plan {
            return false;
        }
        self.drop_agent(agent);
        if let Some(unavailability) = plan {
            let asked = BTreeMap::new();
            let planned = Planned {
                unavailability,
                asked,
            };
            self.agents.insert(agent.clone(), planned);
            self.touched.insert(agent.clone());
        }
        true
    }

    /// When an agent will be away, as far as planned.
    pub fn unavailability(&self, agent: &AgentId) -> Option<Unavailability> {
        Some(self.agents.get(agent)?.unavailability)
    }

    /// Somebody may have something new on the agent: the next round looks.
    pub fn touch(&mut self, agent: &AgentId) {
        if self.agents.contains_key(agent) {
            self.touched.insert(agent.clone());
        }
    }

    /// A framework has gone or has come: what was on its table is void, what it said stands, and it is asked anew: another
    /// may speak for it now.
    pub fn forget_framework(&mut self, framework: &FrameworkId) {
        for planned in self.agents.values_mut() {
            if let Some(asked) = planned.asked.get_mut(framework) {
                (asked.outstanding, asked.anew) = (false, true);
            }
        }
        self.revive(framework);
    }

    /// A framework wants to hear of all offers again: its refusals end, and the next round looks at all planned agents.
    pub fn revive(&mut self, framework: &FrameworkId) {
        for (agent, planned) in &mut self.agents {
            let asked = planned.asked.get_mut(framework);
            if let Some(until) = asked.and_then(|asked| asked.not_before.take()) {
                self.filters
                    .remove(&(until, agent.clone(), framework.clone()));
            }
            self.touched.insert(agent.clone());
        }
    }

    /// A framework is removed: nothing is kept of it.
    pub fn remove_framework(&mut self, framework: &FrameworkId) {
        for (agent, planned) in &mut self.agents {
            let asked = planned.asked.remove(framework);
            if let Some(until) = asked.and_then(|asked| asked.not_before) {
                self.filters
                    .remove(&(until, agent.clone(), framework.clone()));
            }
        }
    }

    /// Whom to ask now. `users` tells who has something on an agent, in use or on offer, and can be asked.
    pub fn inverse_round(
        &mut self,
        now: Timestamp,
        users: impl Fn(&AgentId) -> BTreeSet<FrameworkId>,
    ) -> Vec<InverseGrant> {
        self.end_filters(now);
        let mut grants = Vec::new();
        for agent in std::mem::take(&mut self.touched) {
            let Some(planned) = self.agents.get_mut(&agent) else {
                continue;
            };
            for framework in users(&agent) {
                let asked = planned.asked.entry(framework.clone()).or_default();
                if asked.may_be_asked() {
                    (asked.outstanding, asked.anew) = (true, false);
                    grants.push(InverseGrant {
                        framework,
                        agent: agent.clone(),
                        unavailability: planned.unavailability,
                    });
                }
            }
        }
        grants
    }

    /// A framework has answered; after a refusal it is asked again once `refuse_for` (365 days at most) has passed.
    /// False when nothing was asked.
    pub fn answer(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        agent: &AgentId,
        accepted: bool,
        refuse_for: Duration,
    ) -> bool {
        let planned = self.agents.get_mut(agent);
        let asked = planned.and_then(|planned| planned.asked.get_mut(framework));
        let Some(asked) = asked.filter(|asked| asked.outstanding) else {
            return false;
        };
        asked.outstanding = false;
        asked.answer = Some(InverseAnswer { accepted, at: now });
        if !accepted {
            let until = now + refuse_for.min(MAX_REFUSAL);
            asked.not_before = Some(until);
            self.filters
                .insert((until, agent.clone(), framework.clone()));
        }
        true
    }

    /// What was answered for an agent; `None`: asked, and nothing was said yet.
    pub fn answers(
        &self,
        agent: &AgentId,
    ) -> impl Iterator<Item = (&FrameworkId, Option<InverseAnswer>)> {
        let planned = self.agents.get(agent).into_iter();
        planned
            .flat_map(|planned| &planned.asked)
            .map(|(framework, asked)| (framework, asked.answer))
    }

    /// Whether no agent is planned to be away.
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }

    /// Whether a round could ask somebody now.
    pub fn wants_round(&self) -> bool {
        !self.touched.is_empty()
    }

    /// When the next filter runs out: time for a round.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.filters.first().map(|(until, _, _)| *until)
    }

    fn end_filters(&mut self, now: Timestamp) {
        while self
            .filters
            .first()
            .is_some_and(|(until, _, _)| *until <= now)
        {
            let Some((_, agent, framework)) = self.filters.pop_first() else {
                return;
            };
            let planned = self.agents.get_mut(&agent);
            if let Some(asked) = planned.and_then(|planned| planned.asked.get_mut(&framework)) {
                asked.not_before = None;
            }
            self.touched.insert(agent);
        }
    }

    fn drop_agent(&mut self, agent: &AgentId) {
        self.touched.remove(agent);
        let Some(planned) = self.agents.remove(agent) else {
            return;
        };
        for (framework, asked) in planned.asked {
            if let Some(until) = asked.not_before {
                self.filters.remove(&(until, agent.clone(), framework));
            }
        }
    }
}

impl Asked {
    fn may_be_asked(&self) -> bool {
        let accepted = self.answer.is_some_and(|answer| answer.accepted);
        !self.outstanding && (self.anew || !accepted) && self.not_before.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).expect("good")
    }

    fn framework(name: &str) -> FrameworkId {
        FrameworkId::new(name).expect("good")
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn plan(start: u64) -> Option<Unavailability> {
        Some(Unavailability {
            start: at(start),
            duration: None,
        })
    }

    fn used_by(names: &[&str]) -> impl Fn(&AgentId) -> BTreeSet<FrameworkId> {
        let all: BTreeSet<_> = names.iter().map(|name| framework(name)).collect();
        move |_| all.clone()
    }

    fn asked(grants: &[InverseGrant]) -> Vec<&str> {
        grants
            .iter()
            .map(|grant| grant.framework.as_str())
            .collect()
    }

    #[test]
    fn whoever_uses_a_planned_agent_is_asked_once() {
        let mut maintenance = Maintenance::default();
        assert!(maintenance.set_unavailability(&agent("a"), plan(100)));

        let first = maintenance.inverse_round(at(0), used_by(&["f", "g"]));
        maintenance.touch(&agent("a"));
        let second = maintenance.inverse_round(at(1), used_by(&["f", "g", "h"]));

        assert_eq!(asked(&first), ["f", "g"]);
        assert_eq!(asked(&second), ["h"]);
        assert!(!maintenance.wants_round());
        assert!(!maintenance.set_unavailability(&agent("a"), plan(100)));
    }

    #[test]
    fn who_declines_is_asked_again_when_the_filter_has_passed() {
        let mut maintenance = Maintenance::default();
        let (a, f) = (agent("a"), framework("f"));
        maintenance.set_unavailability(&a, plan(100));
        maintenance.inverse_round(at(0), used_by(&["f"]));

        assert!(maintenance.answer(at(1), &f, &a, false, Duration::from_secs(5)));
        maintenance.touch(&a);
        let early = maintenance.inverse_round(at(5), used_by(&["f"]));

        assert!(early.is_empty());
        assert_eq!(maintenance.next_deadline(), Some(at(6)));
        let again = maintenance.inverse_round(at(6), used_by(&["f"]));
        assert_eq!(asked(&again), ["f"]);
        let answer = maintenance.answers(&a).next();
        let declined = InverseAnswer {
            accepted: false,
            at: at(1),
        };
        assert_eq!(answer, Some((&f, Some(declined))));
    }

    #[test]
    fn who_accepts_is_asked_again_only_when_the_plan_changes() {
        let mut maintenance = Maintenance::default();
        let (a, f) = (agent("a"), framework("f"));
        maintenance.set_unavailability(&a, plan(100));
        maintenance.inverse_round(at(0), used_by(&["f"]));
        maintenance.answer(at(1), &f, &a, true, Duration::from_secs(5));

        maintenance.touch(&a);
        assert!(
            maintenance
                .inverse_round(at(60), used_by(&["f"]))
                .is_empty()
        );
        assert!(maintenance.set_unavailability(&a, plan(200)));

        let again = maintenance.inverse_round(at(61), used_by(&["f"]));
        assert_eq!(asked(&again), ["f"]);
        assert_eq!(again[0].unavailability.start, at(200));
    }

    #[test]
    fn an_agent_without_plan_leaves_nothing_behind() {
        let mut maintenance = Maintenance::default();
        let (a, f) = (agent("a"), framework("f"));
        maintenance.set_unavailability(&a, plan(100));
        maintenance.inverse_round(at(0), used_by(&["f"]));
        maintenance.answer(at(1), &f, &a, false, Duration::from_secs(5));

        maintenance.set_unavailability(&a, None);

        assert_eq!(maintenance.next_deadline(), None);
        assert!(!maintenance.answer(at(2), &f, &a, true, Duration::ZERO));
        maintenance.touch(&a);
        assert!(!maintenance.wants_round());
    }

    #[test]
    fn refusals_end_with_a_revive_and_whoever_comes_back_is_asked_whatever_was_said() {
        for accepted in [true, false] {
            let mut maintenance = Maintenance::default();
            let (a, f) = (agent("a"), framework("f"));
            maintenance.set_unavailability(&a, plan(100));
            let round = |maintenance: &mut Maintenance| {
                let users = used_by(&["f"]);
                maintenance.inverse_round(at(2), users).len()
            };
            let answer = |maintenance: &mut Maintenance| {
                maintenance.answer(at(1), &f, &a, accepted, Duration::from_secs(1_000))
            };
            assert_eq!(round(&mut maintenance), 1);
            maintenance.revive(&f); // what is on the table stays there
            assert_eq!(round(&mut maintenance), 0);
            assert!(answer(&mut maintenance));
            maintenance.touch(&a);
            assert_eq!(round(&mut maintenance), 0);

            maintenance.revive(&f);
            assert_eq!(round(&mut maintenance), usize::from(!accepted));
            answer(&mut maintenance);
            maintenance.forget_framework(&f);

            assert_eq!(round(&mut maintenance), 1);
            assert_eq!(maintenance.next_deadline(), None);
        }
    }

    #[test]
    fn a_framework_that_comes_back_is_asked_again() {
        let mut maintenance = Maintenance::default();
        let (a, f) = (agent("a"), framework("f"));
        maintenance.set_unavailability(&a, plan(100));
        maintenance.inverse_round(at(0), used_by(&["f"]));

        maintenance.forget_framework(&f);

        let again = maintenance.inverse_round(at(1), used_by(&["f"]));
        assert_eq!(asked(&again), ["f"]);
        maintenance.answer(at(2), &f, &a, false, Duration::from_secs(5));
        maintenance.remove_framework(&f);
        assert_eq!(maintenance.next_deadline(), None);
        assert_eq!(maintenance.answers(&a).count(), 0);
    }
}
