//! Random events through the allocator and the naive one: the same grants, the same sums, after each.
//!
//! `METE_RANDOM_RUNS=1000` plays more runs than the default. A failure names the run that shows it.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use mete_model::{AttributeValue, Ranges};
use mete_placement::Amounts;

use super::naive::{Client, Filter, Naive};
use super::*;

const RUNS: u64 = 60;
const EVENTS_PER_RUN: usize = 250;

/// xorshift64*: good enough to be unforeseen, and the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn agent(&mut self) -> AgentId {
        agent(&format!("S{}", self.below(8)))
    }

    fn framework(&mut self) -> FrameworkId {
        framework(&format!("F{}", self.below(6)))
    }

    fn role(&mut self) -> Role {
        let roles = ["*", "a", "a/x", "a/y", "a/x/deep", "b", "b/z"];
        role(roles[usize::try_from(self.below(7)).expect("small")])
    }

    fn roles(&mut self) -> BTreeSet<Role> {
        (0..=self.below(3)).map(|_| self.role()).collect()
    }

    fn resources(&mut self, cpus: u64) -> Resources {
        let mut resources = Resources::cpus_mem(self.below(cpus) * 250, self.below(cpus) * 16);
        if self.one_in(3) {
            resources.gpus_milli = self.below(3) * 1_000;
        }
        if self.one_in(4) {
            resources.set_other("fpga", self.below(4) * 1_000);
        }
        resources
    }

    fn amounts(&mut self) -> Option<Amounts> {
        if self.one_in(3) {
            return None;
        }
        let mut amounts = Amounts {
            cpus_milli: Some(self.below(60) * 250),
            ..Amounts::default()
        };
        if self.one_in(2) {
            amounts.mem_bytes = Some(self.below(60) << 24);
        }
        if self.one_in(4) {
            amounts
                .other
                .insert(Arc::from("fpga"), self.below(5) * 1_000);
        }
        Some(amounts)
    }
}

/// Both allocators, fed the same.
struct Pair {
    dice: Dice,
    now: Timestamp,
    real: Allocator,
    naive: Naive,
}

impl Pair {
    fn event(&mut self) {
        match self.dice.below(20) {
            0 | 1 => self.agent_comes(),
            2 => self.agent_changes(),
            3 => self.framework_comes(),
            4 => self.framework_changes(),
            5 => self.framework_listens(),
            6 => self.role_changes(),
            7 => self.task_comes_back(),
            8..=10 => self.something_comes_back(false),
            11..=13 => self.something_comes_back(true),
            14 => self.now = self.now + Duration::from_millis(self.dice.below(3_000)),
            _ => self.round(),
        }
        self.naive.settle();
    }

    fn agent_comes(&mut self) {
        let id = self.dice.agent();
        let mut total = self.dice.resources(40);
        total.ports = Ranges::interval(31_000, 31_000 + self.dice.below(20));
        let zone = AttributeValue::Scalar(0);
        let mut attributes = Attributes::new();
        attributes.set("zone", zone);
        self.real.add_agent(id.clone(), total.clone(), attributes);
        self.naive.agents.insert(id, (total, true));
    }

    fn agent_changes(&mut self) {
        let id = self.dice.agent();
        match self.dice.below(3) {
            0 => {
                let total = self.dice.resources(40);
                self.real.update_agent(&id, total.clone());
                if let Some(agent) = self.naive.agents.get_mut(&id) {
                    agent.0 = total;
                }
            }
            1 => {
                let offerable = self.dice.one_in(2);
                self.real.set_agent_offerable(&id, offerable);
                if let Some(agent) = self.naive.agents.get_mut(&id) {
                    agent.1 = offerable;
                }
            }
            _ => {
                self.real.remove_agent(&id);
                self.naive.agents.remove(&id);
                self.naive.held.retain(|(agent, _), _| *agent != id);
            }
        }
    }

    fn framework_comes(&mut self) {
        let (id, roles) = (self.dice.framework(), self.dice.roles());
        self.real.add_framework(id.clone(), roles.clone());
        self.clear_filters(&id, None);
        let framework = self.naive.frameworks.entry(id).or_default();
        (framework.known, framework.active) = (true, true);
        framework.roles = roles.into_iter().map(|role| (role, false)).collect();
    }

    fn framework_changes(&mut self) {
        let (id, roles) = (self.dice.framework(), self.dice.roles());
        let known = self.naive.frameworks.get_mut(&id).filter(|f| f.known);
        match self.dice.below(3) {
            0 => {
                self.real.update_roles(&id, roles.clone());
                if let Some(framework) = known {
                    let before = std::mem::take(&mut framework.roles);
                    for role in roles {
                        let suppressed = before.get(&role).copied().unwrap_or(false);
                        framework.roles.insert(role, suppressed);
                    }
                }
            }
            1 => {
                let active = self.dice.one_in(2);
                self.real.set_framework_active(&id, active);
                if let Some(framework) = known {
                    framework.active = active;
                }
            }
            _ => {
                self.real.remove_framework(&id);
                self.naive.frameworks.remove(&id);
                self.naive.held.retain(|(_, client), _| client.0 != id);
            }
        }
    }

    fn framework_listens(&mut self) {
        let (id, some) = (self.dice.framework(), self.dice.roles());
        let roles = self.dice.one_in(2).then_some(&some);
        let suppress = self.dice.one_in(2);
        if suppress {
            self.real.suppress(&id, roles);
        } else {
            self.real.revive(&id, roles);
            self.clear_filters(&id, roles);
        }
        if let Some(framework) = self.naive.frameworks.get_mut(&id) {
            for (role, suppressed) in &mut framework.roles {
                if roles.is_none_or(|roles| roles.contains(role)) {
                    *suppressed = suppress;
                }
            }
        }
    }

    fn clear_filters(&mut self, id: &FrameworkId, roles: Option<&BTreeSet<Role>>) {
        self.naive.filters.retain(|filter| {
            filter.client.0 != *id || roles.is_some_and(|roles| !roles.contains(&filter.client.1))
        });
    }

    fn role_changes(&mut self) {
        let role = self.dice.role();
        if self.dice.one_in(3) {
            let weight = u32::try_from(self.dice.below(4) * 500 + 500).expect("small");
            let milli = NonZeroU32::new(weight).expect("at least 500");
            self.real.set_weight(&role, milli);
            self.naive.weights.insert(role, weight);
            self.naive.weights.retain(|_, weight| *weight != 1_000);
            return;
        }
        let amounts = self.dice.amounts();
        let (done, table) = if self.dice.one_in(2) {
            let done = self.real.set_limit(&role, amounts.clone());
            (done, &mut self.naive.limits)
        } else {
            let done = self.real.set_guarantee(&role, amounts.clone());
            (done, &mut self.naive.guarantees)
        };
        assert_eq!(done.is_ok(), role.parent().is_none());
        if done.is_ok() {
            table.remove(&role);
            table.extend(amounts.map(|amounts| (role, amounts)));
        }
    }

    fn task_comes_back(&mut self) {
        let client = (self.dice.framework(), self.dice.role());
        let (id, task) = (self.dice.agent(), self.dice.resources(16));
        self.real.claim(&id, &client.0, &client.1, &task);
        if self.naive.agents.contains_key(&id) {
            self.naive.held.entry((id, client)).or_default().add(&task);
        }
    }

    /// A task ends, or an offer is declined or used in part.
    fn something_comes_back(&mut self, from_offer: bool) {
        let count = self.naive.held.len() as u64;
        if count == 0 {
            return;
        }
        let at = usize::try_from(self.dice.below(count)).expect("small");
        let ((id, client), held) = self.naive.held.iter().nth(at).expect("below the end");
        let (id, client, held) = (id.clone(), client.clone(), held.clone());
        let part = match self.dice.below(4) {
            0 => held.minus_at_most(&self.dice.resources(16)),
            1 => self.dice.resources(16), // perhaps more than there is
            _ => held,
        };
        if from_offer {
            let refuse = Duration::from_millis(self.dice.below(6) * 1_000);
            self.real
                .give_back(self.now, &id, &client.0, &client.1, &part, refuse);
            self.set_filter(&id, &client, &part, refuse);
        } else {
            self.real.release(&id, &client.0, &client.1, &part);
        }
        let held = self
            .naive
            .held
            .get_mut(&(id, client))
            .expect("taken from there");
        *held = held.minus_at_most(&part);
    }

    fn set_filter(&mut self, id: &AgentId, client: &Client, part: &Resources, refuse: Duration) {
        if refuse.is_zero() || part.is_empty() {
            return;
        }
        let until = self.now + refuse;
        let of_pair = |filter: &Filter| filter.client == *client && filter.agent == *id;
        let filters = &mut self.naive.filters;
        if filters
            .iter()
            .any(|f| of_pair(f) && f.refused.contains(part) && f.until >= until)
        {
            return;
        }
        filters.retain(|f| !(of_pair(f) && part.contains(&f.refused) && f.until <= until));
        assert!(
            filters.iter().filter(|f| of_pair(f)).count() < 8,
            "the bound on filters is not part of this comparison"
        );
        filters.push(Filter {
            client: client.clone(),
            agent: id.clone(),
            refused: part.clone(),
            until,
        });
    }

    fn round(&mut self) {
        let mut expected = self.naive.clone();
        let expected = expected.round(self.now);
        let is_due = self.real.next_deadline().is_some_and(|end| end <= self.now);
        if !self.real.wants_round() && !is_due {
            assert_eq!(expected, [], "a round was wanted");
        }
        let before = self.real.role_usage();

        let grants = self.real.round(self.now);

        assert_eq!(grants, expected);
        self.naive.round(self.now);
        for usage in self.real.role_usage() {
            let Some(limit) = &usage.limit else { continue };
            let grew = before
                .iter()
                .find(|earlier| earlier.role == usage.role)
                .is_some_and(|earlier| earlier.allocated.cpus_milli < usage.allocated.cpus_milli);
            assert!(!grew || Some(usage.allocated.cpus_milli) <= limit.cpus_milli);
        }
    }

    fn check(&self) {
        for (id, (total, _)) in &self.naive.agents {
            let free = self.real.free(id).expect("it was added");
            assert_eq!(*free, self.naive.free(id), "free on {id}");
            assert!(total.contains(free));
        }
        for ((id, client), held) in &self.naive.held {
            assert_eq!(self.real.held(id, &client.0, &client.1), Some(held));
        }
        assert_eq!(self.real.total(), self.naive.total());
        assert_eq!(self.real.allocated(), self.naive.sum(|_, _| true));
        assert_eq!(self.real.filters(), self.naive.filters.len());
        for usage in self.real.role_usage() {
            let below = self.naive.sum(|_, client| client.1.is_within(&usage.role));
            assert_eq!(usage.allocated, below, "{}", usage.role);
        }
        for id in self.naive.frameworks.keys() {
            let held = self.naive.sum(|_, client| client.0 == *id);
            let share = held.dominant_share(&self.naive.total());
            assert_eq!(self.real.share(id), Some(share));
        }
    }
}

#[test]
fn the_allocator_grants_what_the_naive_one_grants() {
    let runs = std::env::var("METE_RANDOM_RUNS");
    let runs = runs.map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    let mut granted = 0;
    for run in 0..runs {
        let policy = [Policy::BestFit, Policy::Spread, Policy::FirstFit][(run % 3) as usize];
        let mut pair = Pair {
            dice: Dice(run + 1),
            now: NOON,
            real: Allocator::new(policy),
            naive: Naive::new(policy),
        };
        for event in 0..EVENTS_PER_RUN {
            let _shown = Shown { run, event };
            pair.event();
            pair.check();
            granted += pair.naive.held.len();
        }
    }
    assert!(granted > 0, "something happened");
}

/// Says where it was when a check panics.
struct Shown {
    run: u64,
    event: usize,
}

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in run {}, event {}", self.run, self.event);
        }
    }
}
