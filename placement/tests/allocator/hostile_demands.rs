//! Demands that nobody should state, answers to offers that nobody made, changes of what is not held.

use mete_placement::{Admission, Shape, Takes};

use super::hostile::{Shown, Siege};
use super::*;

const RUNS: u64 = 6;
const EVENTS_PER_RUN: usize = 1_000;
const EVENTS_PER_CHECK: usize = 50;

fn shape(resources: Resources, count: u32) -> Shape {
    Shape {
        name: None,
        role: None,
        resources,
        any_ports: 0,
        constraints: Vec::new(),
        preferred: Vec::new(),
        max_per_agent: None,
        takes: Takes::Any,
        count,
    }
}

/// Two agents of 4 CPUs and 4 GB, and one framework that states this.
fn stating(shapes: Vec<Shape>) -> Allocator {
    let mut allocator = cluster(Policy::default(), &[4, 4]);
    join(&mut allocator, "A", "a");
    allocator.set_demand(&framework("A"), shapes);
    allocator
}

/// For how many tasks there are offers.
fn offered(grants: &[Grant]) -> u32 {
    let units = grants.iter().flat_map(|grant| &grant.units);
    units.map(|(_, tasks)| tasks).sum()
}

#[test]
fn endless_tasks_take_what_there_is_and_no_more() {
    let mut allocator = stating(vec![shape(machine(1, 1), u32::MAX)]);

    assert_eq!(offered(&allocator.round(NOON)), 8);
    assert!(!allocator.wants_round());
}

#[test]
fn a_task_larger_than_any_agent_does_not_stand_in_the_way() {
    let giant = Resources::cpus_mem(u64::MAX, u64::MAX);
    let mut allocator = stating(vec![shape(giant, u32::MAX), shape(machine(4, 4), 1)]);

    let grants = allocator.round(NOON);

    assert_eq!(offered(&grants), 1);
    assert_eq!(grants[0].resources, machine(4, 4));
}

#[test]
fn more_ports_than_there_are_are_not_offered() {
    let mut many = shape(machine(1, 1), 1);
    many.any_ports = u32::MAX;

    assert_eq!(stating(vec![many]).round(NOON), []);
}

#[test]
fn none_per_agent_is_none_at_all() {
    let mut never = shape(machine(1, 1), 5);
    never.max_per_agent = Some(0);

    assert_eq!(stating(vec![never]).round(NOON), []);
}

#[test]
fn tasks_of_nothing_come_to_an_end() {
    let mut allocator = stating(vec![shape(Resources::none(), u32::MAX)]);

    let grants = allocator.round(NOON);

    assert!(grants.iter().all(|grant| !grant.resources.is_empty()));
    assert_eq!(allocator.allocated(), Resources::none());
}

#[test]
fn ten_thousand_shapes_are_stated_and_taken_back() {
    let shapes = (1..=10_000).map(|n| shape(Resources::cpus_mem(n, n), 1));
    let mut allocator = stating(shapes.collect());

    let grants = allocator.round(NOON);
    assert!(offered(&grants) > 0);
    allocator.set_demand(&framework("A"), Vec::new());
    for grant in &grants {
        allocator.answered(&grant.agent, &grant.framework, &grant.role, &grant.units, 0);
        give_back(
            &mut allocator,
            NOON,
            grant,
            &grant.resources,
            Duration::ZERO,
        );
    }

    assert_eq!(allocator.allocated(), Resources::none());
}

/// Everything of the siege, and demands between.
fn event(siege: &mut Siege) {
    let (agent, framework) = (siege.dice.agent(), siege.dice.framework());
    match siege.dice.below(12) {
        0 | 1 => {
            let shapes = (0..siege.dice.below(5)).map(|_| any_shape(siege)).collect();
            siege.allocator.set_demand(&framework, shapes);
        }
        2 => answer(siege),
        3 => {
            let admission = match siege.dice.below(4) {
                0 => Admission::Draining,
                1 => Admission::Deactivated,
                2 => Admission::Away,
                _ => Admission::Offerable,
            };
            siege.allocator.set_admission(&agent, admission);
        }
        4 => {
            let (from, to) = (siege.dice.resources(), siege.dice.resources());
            let role = siege.dice.role();
            // What is not held, or is not the same amount, is refused; either is fine here.
            let _ = siege
                .allocator
                .reshape(&agent, &framework, &role, &from, &to);
        }
        _ => siege.event(),
    }
}

fn any_shape(siege: &mut Siege) -> Shape {
    let dice = &mut siege.dice;
    Shape {
        role: dice.one_in(2).then(|| dice.role()),
        any_ports: if dice.one_in(8) {
            u32::MAX
        } else {
            dice.below(4) as u32
        },
        max_per_agent: dice.one_in(3).then(|| dice.below(3) as u32),
        ..shape(
            dice.resources(),
            [0, 1, 7, u32::MAX][dice.below(4) as usize],
        )
    }
}

/// An offer is answered: in part, wholly, by more than it was made for, or twice.
fn answer(siege: &mut Siege) {
    if siege.grants.is_empty() {
        return;
    }
    let at = siege.dice.below(siege.grants.len() as u64) as usize;
    let grant = &siege.grants[at];
    let launched = [0, 1, u32::MAX][siege.dice.below(3) as usize];
    siege.allocator.answered(
        &grant.agent,
        &grant.framework,
        &grant.role,
        &grant.units,
        launched,
    );
}

#[test]
fn whatever_is_demanded_nothing_panics_and_nothing_is_left_behind() {
    for run in 0..RUNS {
        let _shown = Shown(run);
        let mut siege = Siege::new(1_000 + run);
        for number in 0..EVENTS_PER_RUN {
            event(&mut siege);
            if number % EVENTS_PER_CHECK == 0 {
                siege.check();
            }
        }
        siege.all_leave();
        siege.check_nothing_is_left();
    }
}
