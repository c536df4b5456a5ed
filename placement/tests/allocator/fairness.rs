//! Dominant resource fairness: the examples of the paper (Ghodsi et al., NSDI 2011), played as
//! offers: a framework launches one task of each offer and gives the rest back.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::*;

/// Lets frameworks launch task after task until nobody can; how many each has in the end.
fn play(
    allocator: &mut Allocator,
    tasks: &BTreeMap<&'static str, Resources>,
) -> BTreeMap<&'static str, u32> {
    let mut launched: BTreeMap<&'static str, u32> = BTreeMap::new();
    while allocator.wants_round() {
        for grant in allocator.round(NOON) {
            let (name, task) = tasks
                .get_key_value(grant.framework.as_str())
                .expect("one of the two");
            match grant.resources.minus(task) {
                Some(rest) => {
                    *launched.entry(name).or_default() += 1;
                    give_back(allocator, NOON, &grant, &rest, Duration::ZERO);
                }
                None => {
                    let rest = &grant.resources;
                    give_back(allocator, NOON, &grant, rest, Duration::from_secs(5));
                }
            }
        }
    }
    launched
}

/// Nine CPUs and 18 GB: A's tasks take 1 CPU and 4 GB, B's 3 CPUs and 1 GB.
fn paper() -> (Allocator, BTreeMap<&'static str, Resources>) {
    let mut allocator = empty(Policy::BestFit);
    allocator.add_agent(agent("S0"), AgentFacts::new(machine(9, 18)));
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    (
        allocator,
        BTreeMap::from([("A", machine(1, 4)), ("B", machine(3, 1))]),
    )
}

#[test]
fn dominant_shares_are_equal_as_in_the_paper() {
    let (mut allocator, tasks) = paper();

    let launched = play(&mut allocator, &tasks);

    assert_eq!(launched, BTreeMap::from([("A", 3), ("B", 2)]));
    assert_eq!(allocator.share(&framework("A")), Some(12.0 / 18.0));
    assert_eq!(allocator.share(&framework("B")), Some(6.0 / 9.0));
}

#[test]
fn two_frameworks_of_one_role_share_it_the_same_way() {
    let (mut allocator, tasks) = paper();
    allocator.update_framework(&framework("A"), FrameworkFacts::in_roles([role("both")]));
    allocator.update_framework(&framework("B"), FrameworkFacts::in_roles([role("both")]));

    assert_eq!(
        play(&mut allocator, &tasks),
        BTreeMap::from([("A", 3), ("B", 2)])
    );
}

#[test]
fn weights_multiply_shares() {
    let mut allocator = empty(Policy::BestFit);
    allocator.add_agent(agent("S0"), AgentFacts::new(machine(12, 12)));
    join(&mut allocator, "A", "a");
    join(&mut allocator, "B", "b");
    allocator.set_weight(&role("a"), NonZeroU32::new(3_000).expect("not zero"));
    let tasks = BTreeMap::from([("A", machine(1, 1)), ("B", machine(1, 1))]);

    assert_eq!(
        play(&mut allocator, &tasks),
        BTreeMap::from([("A", 9), ("B", 3)])
    );
}

#[test]
fn roles_share_first_and_then_the_frameworks_in_them() {
    // prod has two children and a framework of its own, which count as three; dev stands beside prod.
    let mut allocator = empty(Policy::BestFit);
    allocator.add_agent(agent("S0"), AgentFacts::new(machine(24, 24)));
    let mut tasks = BTreeMap::new();
    for (name, in_role) in [
        ("dev", "dev"),
        ("own", "prod"),
        ("web", "prod/web"),
        ("db1", "prod/db"),
        ("db2", "prod/db"),
    ] {
        join(&mut allocator, name, in_role);
        tasks.insert(name, machine(1, 1));
    }

    assert_eq!(
        play(&mut allocator, &tasks),
        BTreeMap::from([("dev", 12), ("own", 4), ("web", 4), ("db1", 2), ("db2", 2)])
    );
}

#[test]
fn a_newcomer_is_served_before_those_who_have_much() {
    let mut allocator = cluster(Policy::BestFit, &[4, 4]);
    join(&mut allocator, "A", "a");
    let grants = allocator.round(NOON);
    assert_eq!(who(&grants), [("A", "S0"), ("A", "S1")]);

    join(&mut allocator, "B", "b");
    give_back(
        &mut allocator,
        NOON,
        &grants[1],
        &grants[1].resources,
        Duration::ZERO,
    );

    assert_eq!(who(&allocator.round(NOON)), [("B", "S1")]);
}

#[test]
fn frameworks_that_hold_nothing_take_turns() {
    let mut allocator = cluster(Policy::BestFit, &[4]);
    for name in ["A", "B", "C"] {
        join(&mut allocator, name, "*");
    }

    let mut served = Vec::new();
    for _ in 0..6 {
        for grant in allocator.round(NOON) {
            give_back(
                &mut allocator,
                NOON,
                &grant,
                &grant.resources,
                Duration::ZERO,
            );
            served.push(grant.framework.to_string());
        }
    }

    assert_eq!(served, ["A", "B", "C", "A", "B", "C"]);
}
