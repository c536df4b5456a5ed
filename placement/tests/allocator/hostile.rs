//! What nobody should send, and somebody will: never a panic, never a leak, whatever comes in which order.
//!
//! Quantities at both ends of what 64 bits hold, thousands of names of resources, roles as deep as they may
//! be, agents smaller than what is used on them, names that nobody knows, filters for ever, a clock that
//! jumps and steps back. `METE_RANDOM_RUNS=1000` plays more runs; a failure names the run.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock};

use mete_model::{MB_MILLI, Ranges};
use mete_placement::{Admission, Amounts};

use super::*;

const RUNS: u64 = 9;
const EVENTS_PER_RUN: usize = 1_000;
/// All sums are compared after so many events.
const EVENTS_PER_CHECK: usize = 50;

/// Names that may be known or not: half of all agents and frameworks are there at any time.
const NAMES: u64 = 10;
/// Distinct names of further scalars.
const SCALARS: u64 = 10_000;

/// xorshift64*.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn agent(&mut self) -> AgentId {
        agent(&format!("S{}", self.below(NAMES)))
    }

    pub(super) fn framework(&mut self) -> FrameworkId {
        framework(&format!("F{}", self.below(NAMES)))
    }

    pub(super) fn role(&mut self) -> Role {
        let at = self.below(ROLES.len() as u64);
        ROLES[usize::try_from(at).expect("small")].clone()
    }

    pub(super) fn roles(&mut self) -> BTreeSet<Role> {
        (0..self.below(4)).map(|_| self.role()).collect()
    }

    /// Nothing, crumbs, the edge of what is worth offering, usual amounts, and all that 64 bits hold.
    pub(super) fn quantity(&mut self, unit: u64) -> u64 {
        match self.below(12) {
            0..=2 => 0,
            3 => 1,
            4 => unit / 100 - 1,
            5 => u64::MAX,
            6 => u64::MAX - self.below(3),
            7 => 1 << 63,
            _ => self.below(64) * unit,
        }
    }

    pub(super) fn resources(&mut self) -> Resources {
        let mut resources = Resources::none();
        resources.cpus_milli = self.quantity(1_000);
        resources.mem_milli = self.quantity(1_024 * MB_MILLI);
        if self.one_in(2) {
            resources.disk_milli = self.quantity(MB_MILLI);
            resources.gpus_milli = self.below(9) * 1_000;
        }
        if self.one_in(3) {
            resources.ports = self.ports();
        }
        if self.one_in(3) {
            for _ in 0..self.below(30) {
                let name = format!("scalar-{}", self.below(SCALARS));
                let milli = self.quantity(1_000);
                resources.set_other(&name, milli);
            }
        }
        resources
    }

    pub(super) fn ports(&mut self) -> Ranges {
        match self.below(4) {
            0 => Ranges::interval(0, u64::MAX),
            1 => Ranges::interval(u64::MAX, u64::MAX),
            2 => (0..self.below(200)).map(|port| 2 * port).collect(),
            _ => Ranges::interval(31_000, 31_000 + self.below(1_000)),
        }
    }

    pub(super) fn amounts(&mut self) -> Option<Amounts> {
        match self.below(4) {
            0 => None,
            1 => Some(Amounts::default()),
            _ => Some(Amounts::from(&self.resources())),
        }
    }

    pub(super) fn span(&mut self) -> Duration {
        match self.below(6) {
            0 => Duration::ZERO,
            1 => Duration::from_nanos(1),
            2 => Duration::MAX,
            3 => Duration::from_secs(u64::MAX),
            _ => Duration::from_millis(self.below(10_000)),
        }
    }
}

/// Everybody's, one with dots, one as deep and one as long as a role may be, and those above and beside them.
static ROLES: LazyLock<Vec<Role>> = LazyLock::new(|| {
    let deep = ["d"; 128].join("/");
    let long = "l".repeat(255);
    let names = [
        "*", "a", "a/b", "a/b/c", "a/.b", "...", "a.b/..c", "ü/✓", "d/d", &deep, &long,
    ];
    names.into_iter().map(role).collect()
});

/// The allocator, and as much beside it as is needed to judge its answers.
pub(super) struct Siege {
    pub(super) dice: Dice,
    pub(super) now: Timestamp,
    pub(super) allocator: Allocator,
    agents: BTreeMap<AgentId, Resources>,
    frameworks: BTreeSet<FrameworkId>,
    pub(super) grants: Vec<Grant>,
}

impl Siege {
    pub(super) fn new(run: u64) -> Self {
        let policies = [Policy::BestFit, Policy::Spread, Policy::FirstFit];
        Self {
            dice: Dice(run + 1),
            now: NOON,
            allocator: empty(policies[(run % 3) as usize]),
            agents: BTreeMap::new(),
            frameworks: BTreeSet::new(),
            grants: Vec::new(),
        }
    }

    pub(super) fn event(&mut self) {
        match self.dice.below(16) {
            0..=2 => self.agent_changes(),
            3 | 4 => self.framework_changes(),
            5 => self.framework_listens(),
            6 => self.role_changes(),
            7 | 8 => self.task_changes(),
            9..=11 => self.offer_comes_back(),
            12 => self.clock_moves(),
            _ => self.round(),
        }
    }

    fn agent_changes(&mut self) {
        let (id, total) = (self.dice.agent(), self.dice.resources());
        match self.dice.below(8) {
            0..=3 => {
                self.allocator
                    .add_agent(id.clone(), AgentFacts::new(total.clone()));
                self.agents.insert(id, total);
            }
            4 | 5 => {
                self.allocator.update_agent(&id, total.clone());
                self.agents.entry(id).and_modify(|known| *known = total);
            }
            6 => {
                let admissions = [Admission::Offerable, Admission::Draining, Admission::Away];
                let admission = admissions[usize::try_from(self.dice.below(3)).expect("small")];
                self.allocator.set_admission(&id, admission);
            }
            _ => {
                self.allocator.remove_agent(&id);
                self.agents.remove(&id);
            }
        }
    }

    fn framework_changes(&mut self) {
        let (id, roles) = (self.dice.framework(), self.dice.roles());
        match self.dice.below(8) {
            0..=3 => {
                self.allocator
                    .add_framework(id.clone(), FrameworkFacts::in_roles(roles));
                self.frameworks.insert(id);
            }
            4 => self
                .allocator
                .update_framework(&id, FrameworkFacts::in_roles(roles)),
            5 | 6 => {
                let active = self.dice.one_in(2);
                self.allocator.set_framework_active(&id, active);
            }
            _ => {
                self.allocator.remove_framework(&id);
                self.frameworks.remove(&id);
            }
        }
    }

    fn framework_listens(&mut self) {
        let (id, roles) = (self.dice.framework(), self.dice.roles());
        let roles = self.dice.one_in(2).then_some(&roles);
        if self.dice.one_in(3) {
            self.allocator.suppress(&id, roles);
        } else {
            self.allocator.revive(&id, roles);
        }
    }

    fn role_changes(&mut self) {
        let (role, amounts) = (self.dice.role(), self.dice.amounts());
        let is_top = role.parent().is_none();
        match self.dice.below(3) {
            0 => {
                let weight = [1, 1_000, u32::MAX][usize::from(self.dice.one_in(2))];
                let weight = NonZeroU32::new(weight).expect("not zero");
                self.allocator.set_weight(&role, weight);
            }
            1 => assert_eq!(self.allocator.set_limit(&role, amounts).is_ok(), is_top),
            _ => assert_eq!(self.allocator.set_guarantee(&role, amounts).is_ok(), is_top),
        }
    }

    /// What ends was never there as often as not.
    fn task_changes(&mut self) {
        let (id, framework, role) = (self.dice.agent(), self.dice.framework(), self.dice.role());
        let task = self.dice.resources();
        match self.dice.below(4) {
            0 | 1 => self.allocator.claim(&id, &framework, &role, &task),
            2 => self.allocator.launched(&id, &framework, &role, &task),
            _ => self.allocator.release(&id, &framework, &role, &task),
        }
    }

    /// An offer comes back that was made at some time, or one that never was; more than once, perhaps.
    fn offer_comes_back(&mut self) {
        let refuse = self.dice.span();
        if self.grants.is_empty() || self.dice.one_in(8) {
            let (id, framework, role) =
                (self.dice.agent(), self.dice.framework(), self.dice.role());
            let part = self.dice.resources();
            self.allocator
                .give_back(self.now, &id, &framework, &role, &part, refuse);
            return;
        }
        let at = usize::try_from(self.dice.below(self.grants.len() as u64)).expect("small");
        let part = self.grants[at]
            .resources
            .minus_at_most(&self.dice.resources());
        give_back(
            &mut self.allocator,
            self.now,
            &self.grants[at],
            &part,
            refuse,
        );
        if !self.dice.one_in(4) {
            self.grants.swap_remove(at);
        }
    }

    /// Mostly on, sometimes back, once in a while to where a filter for ever ends.
    fn clock_moves(&mut self) {
        self.now = match self.dice.below(12) {
            0 => NOON,
            1 => Timestamp::EPOCH,
            2 => Timestamp::NEVER,
            _ => self.now + Duration::from_millis(self.dice.below(5_000)),
        };
    }

    fn round(&mut self) {
        let free: BTreeMap<AgentId, Resources> = self
            .agents
            .keys()
            .map(|id| (id.clone(), self.free(id)))
            .collect();
        let mut left = free;

        for grant in self.allocator.round(self.now) {
            assert!(
                self.frameworks.contains(&grant.framework),
                "{grant:?}: nobody"
            );
            let free = left.get_mut(&grant.agent).expect("an agent that is there");
            *free = free
                .minus(&grant.resources)
                .unwrap_or_else(|| panic!("{grant:?}: only {free} free"));
            assert!(!grant.resources.is_empty(), "{grant:?}: nothing");
            self.grants.push(grant);
        }
        for (id, left) in left {
            assert_eq!(self.free(&id), left, "free on {id}");
        }
    }

    fn free(&self, id: &AgentId) -> Resources {
        let free = self.allocator.free(id);
        free.unwrap_or_else(|| panic!("{id} was added")).clone()
    }

    fn held_on(&self, id: &AgentId) -> impl Iterator<Item = Resources> {
        let frameworks = (0..NAMES).map(|number| framework(&format!("F{number}")));
        frameworks.flat_map(move |framework| {
            let roles = ROLES.iter();
            roles.filter_map(move |role| self.allocator.held(id, &framework, role))
        })
    }

    /// Free is the total less what is held, and what is held is what was allocated.
    pub(super) fn check(&self) {
        for (id, total) in &self.agents {
            let free = self.free(id);
            assert!(total.contains(&free), "{id}: {free} free of {total}");
        }
        let mut allocated = 0_u128;
        for (id, total) in &self.agents {
            let held: Vec<Resources> = self.held_on(id).collect();
            let cpus = held.iter().map(|held| u128::from(held.cpus_milli)).sum();
            let rest = u128::from(total.cpus_milli).saturating_sub(cpus);
            let free = self.free(id);
            assert_eq!(u128::from(free.cpus_milli), rest, "free CPUs on {id}");
            for held in held {
                let both = free.ports.common(&held.ports);
                assert!(both.is_empty(), "{id}: {both} are free and held");
            }
            allocated += cpus;
        }
        let allocated = u64::try_from(allocated).unwrap_or(u64::MAX);
        assert_eq!(self.allocator.allocated().cpus_milli, allocated);
        for usage in self.allocator.role_usage() {
            assert!(usage.share.is_finite() && usage.share >= 0.0, "{usage:?}");
        }
        for id in &self.frameworks {
            let share = self.allocator.share(id).expect("it was added");
            assert!(share.is_finite() && share >= 0.0, "{id}: {share}");
        }
    }

    /// Everybody leaves, and what was set is unset.
    pub(super) fn all_leave(&mut self) {
        for number in 0..NAMES {
            let framework = framework(&format!("F{number}"));
            self.allocator.remove_framework(&framework);
            self.allocator.remove_agent(&agent(&format!("S{number}")));
        }
        for role in ROLES.iter() {
            let usual = NonZeroU32::new(1_000).expect("not zero");
            self.allocator.set_weight(role, usual);
            if role.parent().is_none() {
                self.allocator
                    .set_limit(role, None)
                    .and_then(|()| self.allocator.set_guarantee(role, None))
                    .expect("a role at the top");
            }
        }
    }

    pub(super) fn check_nothing_is_left(&mut self) {
        assert_eq!(self.allocator.round(self.now), []);
        assert!(!self.allocator.wants_round());
        assert_eq!(self.allocator.next_deadline(), None);
        assert_eq!(self.allocator.filters(), 0);
        assert_eq!(self.allocator.total(), Resources::none());
        assert_eq!(self.allocator.allocated(), Resources::none());
        assert_eq!(self.allocator.role_usage(), []);
    }
}

#[test]
fn whatever_comes_nothing_panics_and_nothing_is_left_behind() {
    let runs = std::env::var("METE_RANDOM_RUNS");
    let runs = runs.map_or(RUNS, |runs| runs.parse().expect("a number of runs"));
    for run in 0..runs {
        let _shown = Shown(run);
        let mut siege = Siege::new(run);
        for event in 0..EVENTS_PER_RUN {
            siege.event();
            if event % EVENTS_PER_CHECK == 0 {
                siege.check();
            }
        }
        siege.all_leave();
        siege.check_nothing_is_left();
    }
}

/// Says which run it was when a check panics.
pub(super) struct Shown(pub(super) u64);

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in run {}", self.0);
        }
    }
}

#[test]
fn ten_thousand_names_of_resources_are_offered_and_come_back() {
    let mut all = machine(4, 4);
    for number in 0..SCALARS {
        all.set_other(&format!("scalar-{number}"), 1_000 + number);
    }
    let mut allocator = empty(Policy::BestFit);
    for name in ["S0", "S1"] {
        allocator.add_agent(agent(name), AgentFacts::new(all.clone()));
    }
    let guarantee = Amounts {
        other: [(Arc::from("scalar-77"), 10)].into(),
        ..Amounts::default()
    };
    allocator
        .set_guarantee(&role("b"), Some(guarantee))
        .expect("a role at the top");
    join(&mut allocator, "A", "a");

    let grants = allocator.round(NOON);
    assert_eq!(grants.len(), 2);
    for grant in &grants {
        give_back(
            &mut allocator,
            NOON,
            grant,
            &grant.resources,
            Duration::ZERO,
        );
    }

    assert_eq!(allocator.allocated(), Resources::none());
    assert_eq!(allocator.free(&agent("S0")), Some(&all));
}

#[test]
fn agents_that_claim_to_be_endless_are_summed_and_shared() {
    let endless = Resources::cpus_mem(u64::MAX, u64::MAX);
    let mut allocator = empty(Policy::BestFit);
    for number in 0..4 {
        let id = agent(&format!("S{number}"));
        allocator.add_agent(id, AgentFacts::new(endless.clone()));
    }
    for name in ["A", "B", "C", "D"] {
        join(&mut allocator, name, name);
    }

    let grants = allocator.round(NOON);

    assert_eq!(grants.len(), 4);
    for name in ["A", "B", "C", "D"] {
        let share = allocator.share(&framework(name));
        assert_eq!(share, Some(0.25), "{name}: sums pass 64 bits");
    }
}

#[test]
fn a_filter_for_ever_ends_after_a_year() {
    let mut allocator = cluster(Policy::BestFit, &[4]);
    join(&mut allocator, "A", "a");
    let grant = allocator.round(NOON).remove(0);
    give_back(
        &mut allocator,
        NOON,
        &grant,
        &grant.resources,
        Duration::MAX,
    );

    let year = Duration::from_secs(365 * 24 * 60 * 60);
    assert_eq!(allocator.next_deadline(), Some(NOON + year));
    assert_eq!(
        allocator.round(NOON + (year - Duration::from_micros(1))),
        []
    );
    assert_eq!(allocator.round(NOON + year), [grant]);
}

#[test]
fn a_role_at_the_depth_a_name_allows_is_served_like_any_other() {
    let deep = ["d"; 128].join("/");
    let mut allocator = cluster(Policy::FirstFit, &[4, 4]);
    join(&mut allocator, "A", &deep);
    join(&mut allocator, "B", "b");

    let grants = allocator.round(NOON);

    let served: BTreeSet<&str> = grants
        .iter()
        .map(|grant| grant.framework.as_str())
        .collect();
    assert_eq!(served, ["A", "B"].into());
    assert_eq!(allocator.role_usage().len(), 129, "each level, and b");
    allocator.remove_framework(&framework("A"));
    assert_eq!(allocator.role_usage().len(), 1);
}

#[test]
fn unknown_names_change_nothing() {
    let mut allocator = cluster(Policy::BestFit, &[4]);
    let (nobody, nowhere, none) = (framework("nobody"), agent("nowhere"), role("none"));
    let part = machine(1, 1);

    allocator.update_agent(&nowhere, part.clone());
    allocator.set_admission(&nowhere, Admission::Offerable);
    allocator.remove_agent(&nowhere);
    allocator.update_framework(&nobody, FrameworkFacts::in_roles([none.clone()]));
    allocator.set_framework_active(&nobody, true);
    allocator.suppress(&nobody, None);
    allocator.revive(&nobody, None);
    allocator.remove_framework(&nobody);
    allocator.claim(&nowhere, &nobody, &none, &part);
    allocator.release(&agent("S0"), &nobody, &none, &part);
    allocator.give_back(NOON, &nowhere, &nobody, &none, &part, Duration::MAX);
    allocator.give_back(NOON, &agent("S0"), &nobody, &none, &part, Duration::MAX);

    assert_eq!(allocator.round(NOON), []);
    assert_eq!(allocator.free(&agent("S0")), Some(&machine(4, 4)));
    assert_eq!(allocator.total(), machine(4, 4));
    assert_eq!(allocator.allocated(), Resources::none());
    assert_eq!((allocator.filters(), allocator.next_deadline()), (0, None));
    assert_eq!(allocator.role_usage(), []);
}

#[test]
fn a_port_that_two_hold_is_free_when_both_have_let_go() {
    let mut allocator = empty(Policy::BestFit);
    let total = machine(4, 4).with_ports(Ranges::interval(31_000, 31_009));
    allocator.add_agent(agent("S0"), AgentFacts::new(total.clone()));
    let task = machine(1, 1).with_ports(Ranges::interval(31_004, 31_004));
    let (s0, r) = (agent("S0"), role("a"));
    for name in ["A", "B"] {
        allocator.claim(&s0, &framework(name), &r, &task);
    }

    allocator.release(&s0, &framework("A"), &r, &task);
    let free = allocator.free(&s0).expect("it was added");
    assert!(!free.ports.contains(31_004), "B still holds it");
    allocator.release(&s0, &framework("B"), &r, &task);
    assert_eq!(allocator.free(&s0), Some(&total));
}

#[test]
fn what_is_held_beyond_64_bits_leaves_nothing_behind() {
    let mut allocator = cluster(Policy::BestFit, &[4]);
    let (s0, a, r) = (agent("S0"), framework("A"), role("a"));
    let endless = Resources::cpus_mem(u64::MAX, 1_024);
    join(&mut allocator, "A", "a");
    allocator.claim(&s0, &a, &r, &endless);
    allocator.claim(&s0, &a, &r, &endless);

    allocator.release(&s0, &a, &r, &Resources::cpus_mem(u64::MAX, 2_048));

    assert_eq!(allocator.allocated(), Resources::none());
    assert_eq!(allocator.share(&a), Some(0.0));
    assert_eq!(allocator.free(&s0), Some(&machine(4, 4)));
}
