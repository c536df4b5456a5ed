//! What holds for all clusters and all sequences of events.

use std::collections::BTreeMap;

use mete_model::Ranges;
use mete_placement::{Shape, Unused};

use super::*;
use crate::events::{Dice, Event, Flavour, Player, tell};

/// A cluster after random events, and who plays there.
fn some_cluster(run: u64, events: u32) -> (Player, Allocator) {
    let mut player = Player::new(run, run);
    let mut allocator = Allocator::new(player.options());
    for _ in 0..events {
        let event = player.event();
        let grants = tell(&event, &mut allocator).grants;
        player.hear(&grants);
    }
    (player, allocator)
}

/// FNV-1a over what is decided, in words.
fn hash(of: u64, grants: &[Grant]) -> u64 {
    let text = format!("{grants:?}");
    text.bytes().fold(of, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn the_same_events_lead_to_the_same_decisions() {
    let play = |run| {
        let mut player = Player::new(run, run);
        let mut allocator = Allocator::new(player.options());
        let (mut decisions, mut grants) = (0xcbf2_9ce4_8422_2325, 0);
        for _ in 0..2_000 {
            let event = player.event();
            let granted = tell(&event, &mut allocator).grants;
            decisions = hash(decisions, &granted);
            grants += granted.len();
            player.hear(&granted);
        }
        (decisions, grants)
    };
    for run in 0..64 {
        let (decisions, grants) = play(run);

        assert_eq!(play(run), (decisions, grants), "run {run}");
        assert!(run % 4 > 0 || grants > 0, "run {run} decides something");
    }
}

#[test]
fn a_copy_decides_as_the_original_would() {
    for run in 0..64 {
        let (mut player, mut allocator) = some_cluster(run, 300);
        let mut copy = allocator.clone();
        for event in 0..300 {
            let happens = player.event();

            let granted = tell(&happens, &mut allocator);

            let by_copy = tell(&happens, &mut copy);
            assert_eq!(by_copy, granted, "run {run}, event {event}");
            player.hear(&granted.grants);
        }
    }
}

/// What is free everywhere, and the share and open demand of everybody.
fn standing(allocator: &Allocator) -> String {
    let agents = (0..8).map(|number| agent(&format!("S{number}")));
    let frameworks = (0..8).map(|number| framework(&format!("F{number}")));
    let free: Vec<_> = agents.map(|id| allocator.free(&id).cloned()).collect();
    let held: Vec<_> = frameworks
        .map(|id| (allocator.share(&id), allocator.open_demand(&id)))
        .collect();
    format!("{free:?} {held:?} {:?}", allocator.allocated())
}

#[test]
fn an_offer_that_is_declined_leaves_everything_as_it_was() {
    for run in 0..256 {
        let (player, mut allocator) = some_cluster(run, 150);
        let before = standing(&allocator);

        let grants = allocator.round(player.now);
        for grant in &grants {
            let rest = &grant.resources;
            give_back(
                &mut allocator,
                player.now,
                grant,
                rest,
                Duration::from_secs(5),
            );
            let (id, role) = (&grant.framework, &grant.role);
            allocator.answered(&grant.agent, id, role, &grant.units, 0);
            allocator.revive(id, None);
        }

        assert_eq!(standing(&allocator), before, "run {run}");
    }
}

#[test]
fn offers_that_come_back_together_do_so_as_one_by_one() {
    let mut came_back = 0;
    for run in 0..256 {
        let (player, mut together) = some_cluster(run, 150);
        for number in 0..40 {
            let facts = AgentFacts::new(Resources::cpus_mem(4_000 + run, 4_096 + number));
            together.add_agent(agent(&format!("N{number}")), facts);
        }
        let grants = together.round(player.now);
        let mut one_by_one = together.clone();
        let refuse = Duration::from_secs(run % 3 * 5);
        let unused = grants.iter().map(|grant| Unused {
            agent: &grant.agent,
            framework: &grant.framework,
            role: &grant.role,
            resources: &grant.resources,
        });
        let unused: Vec<Unused<'_>> = unused.collect();

        together.give_back_all(player.now, &unused, refuse);

        for grant in &grants {
            give_back(&mut one_by_one, player.now, grant, &grant.resources, refuse);
        }
        assert_eq!(standing(&together), standing(&one_by_one), "run {run}");
        assert_eq!(together.filters(), one_by_one.filters(), "run {run}");
        let (next, other) = (together.round(player.now), one_by_one.round(player.now));
        assert_eq!(next, other, "run {run}");
        came_back += grants.len();
    }
    assert!(came_back > 1_000, "{came_back} offers are too few to tell");
}

/// How many tasks of one shape a framework is offered places for, alone in a cluster.
fn placed(agents: &[Resources], shape: &Shape, policy: Policy) -> u32 {
    let mut allocator = empty(policy);
    for (number, total) in agents.iter().enumerate() {
        let facts = AgentFacts::new(total.clone());
        allocator.add_agent(agent(&format!("S{number}")), facts);
    }
    join(&mut allocator, "A", "a");
    allocator.set_demand(&framework("A"), vec![shape.clone()]);
    let grants = allocator.round(NOON);
    let units = grants.iter().flat_map(|grant| &grant.units);
    units.map(|(_, units)| units).sum()
}

#[test]
fn one_more_agent_never_makes_room_for_fewer_tasks() {
    let mut dice = Dice::new(7);
    for run in 0..500 {
        let flavour = Flavour::new(run);
        let mut agents: Vec<Resources> = (0..5).map(|_| dice.total(flavour)).collect();
        let mut shape = Shape::new(dice.amounts_of(4));
        shape.count = 100;
        shape.any_ports = dice.small(3);
        if flavour.gpus && dice.one_in(2) {
            shape.resources.gpus_milli = *dice.of(&[250, 400, 1_000, 2_000]);
        }
        if dice.one_in(3) {
            shape.max_per_agent = Some(1 + dice.small(3));
        }
        if shape.check().is_err() {
            continue;
        }
        let policy = *dice.of(&Policy::ALL);
        let with_all = placed(&agents, &shape, policy);

        agents.pop();

        let with_less = placed(&agents, &shape, policy);
        assert!(with_less <= with_all, "run {run}: {shape:?} by {policy:?}");
    }
}

/// Tasks of the others run for at most so many rounds.
const LONGEST_TASK: u64 = 4;
const OTHERS: u64 = 6;
/// Something is free again after the longest task; then each of the others may come first once.
const PATIENCE: u64 = (OTHERS + 1) * (LONGEST_TASK + 1);

/// A cluster whose frameworks decline or run something at random.
struct Crowd {
    dice: Dice,
    allocator: Allocator,
    now: Timestamp,
    /// What runs, and in how many rounds it ends.
    running: Vec<(Grant, Resources, u64)>,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut allocator = empty(*dice.of(&Policy::ALL));
        for number in 0..3 {
            let ports = Ranges::interval(31_000, 31_009);
            let facts = AgentFacts::new(machine(4, 4).with_ports(ports));
            allocator.add_agent(agent(&format!("S{number}")), facts);
        }
        let mut crowd = Self {
            dice,
            allocator,
            now: NOON,
            running: Vec::new(),
        };
        for number in 0..OTHERS {
            let role = crowd.dice.role();
            let id = framework(&format!("B{number}"));
            join(&mut crowd.allocator, id.as_str(), role.as_str());
            crowd.ask(&id);
        }
        crowd
    }

    /// Some say nothing, some always ask for more than there is.
    fn ask(&mut self, id: &FrameworkId) {
        if self.dice.one_in(2) {
            let mut shape = Shape::new(machine(1 + self.dice.below(4), 1));
            shape.count = 50;
            self.allocator.set_demand(id, vec![shape]);
        }
    }

    /// One round; whether the newcomer was offered something.
    fn round(&mut self) -> bool {
        self.now = self.now + Duration::from_secs(1);
        for (grant, used, left) in std::mem::take(&mut self.running) {
            if left > 0 {
                self.running.push((grant, used, left - 1));
            } else {
                let id = &grant.framework;
                self.allocator.release(&grant.agent, id, &grant.role, &used);
            }
        }
        let grants = self.allocator.round(self.now);
        let is_served = grants.iter().any(|grant| grant.framework == framework("A"));
        for grant in grants {
            self.answer(grant);
        }
        is_served
    }

    fn answer(&mut self, grant: Grant) {
        let mut rest = grant.resources.clone();
        let mut launched = 0;
        let task = machine(1, 1);
        if self.dice.one_in(2)
            && let Some(left) = rest.minus(&task)
        {
            let (id, role) = (&grant.framework, &grant.role);
            self.allocator.launched(&grant.agent, id, role, &task);
            let rounds = self.dice.below(LONGEST_TASK);
            self.running.push((grant.clone(), task, rounds));
            (rest, launched) = (left, 1);
        }
        let refuse = Duration::from_secs(self.dice.below(10));
        give_back(&mut self.allocator, self.now, &grant, &rest, refuse);
        let (id, role) = (&grant.framework, &grant.role);
        self.allocator
            .answered(&grant.agent, id, role, &grant.units, launched);
    }
}

#[test]
fn whoever_has_demand_that_fits_is_served_within_a_bounded_number_of_rounds() {
    let mut longest = BTreeMap::new();
    for seed in 0..400 {
        let mut crowd = Crowd::new(seed);
        (0..20).for_each(|_| {
            crowd.round();
        });
        let role = crowd.dice.role();
        join(&mut crowd.allocator, "A", role.as_str());
        if seed % 2 == 0 {
            let shape = Shape::new(machine(1, 1));
            crowd.allocator.set_demand(&framework("A"), vec![shape]);
        }

        let waited = (1..=PATIENCE).find(|_| crowd.round());

        assert!(waited.is_some(), "seed {seed}");
        *longest.entry(waited).or_insert(0) += 1;
    }
    assert!(longest.len() > 1, "it is not always first: {longest:?}");
}

#[test]
fn a_second_round_at_the_same_moment_gives_nothing() {
    for run in 0..256 {
        let (mut player, mut allocator) = some_cluster(run, 100);
        for event in 0..50 {
            let grants = allocator.round(player.now);
            player.hear(&grants);

            assert_eq!(allocator.round(player.now), [], "run {run}, event {event}");
            let happens = player.event();
            if !matches!(happens, Event::Round(_)) {
                player.hear(&tell(&happens, &mut allocator).grants);
            }
        }
    }
}
