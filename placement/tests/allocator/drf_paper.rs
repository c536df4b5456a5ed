//! Dominant resource fairness with stated demands: frameworks say what their tasks take, and offers hold
//! just that. The examples of the paper (Ghodsi et al., NSDI 2011) and of its hierarchical sequel
//! (Bhattacharya et al., SoCC 2013), with the sums worked out beside them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use mete_placement::{Shape, Takes};

use super::*;

/// Endless: more than any of these clusters holds.
const ENDLESS: u32 = 1_000;

fn add_agent(allocator: &mut Allocator, name: &str, total: Resources) {
    let facts = AgentFacts {
        hostname: name.to_owned(),
        ..AgentFacts::new(total)
    };
    allocator.add_agent(agent(name), facts);
}

/// One agent that holds the whole cluster.
fn one_agent(total: Resources) -> Allocator {
    let mut allocator = cluster(Policy::default(), &[]);
    add_agent(&mut allocator, "S0", total);
    allocator
}

/// A framework in a role that has so many tasks of one shape waiting.
fn wants(allocator: &mut Allocator, name: &str, in_role: &str, task: Resources, count: u32) {
    join(allocator, name, in_role);
    let shape = Shape {
        name: None,
        role: None,
        resources: task,
        any_ports: 0,
        constraints: Vec::new(),
        preferred: Vec::new(),
        max_per_agent: None,
        takes: Takes::Any,
        count,
    };
    allocator.set_demand(&framework(name), vec![shape]);
}

/// Whatever is offered is launched; how many tasks each has when no more offers come.
fn play(allocator: &mut Allocator) -> BTreeMap<String, u32> {
    let mut launched: BTreeMap<String, u32> = BTreeMap::new();
    while allocator.wants_round() {
        for grant in allocator.round(NOON) {
            let tasks: u32 = grant.units.iter().map(|(_, tasks)| tasks).sum();
            assert!(tasks > 0, "{grant:?} was made for nothing");
            allocator.answered(
                &grant.agent,
                &grant.framework,
                &grant.role,
                &grant.units,
                tasks,
            );
            allocator.launched(
                &grant.agent,
                &grant.framework,
                &grant.role,
                &grant.resources,
            );
            *launched.entry(grant.framework.to_string()).or_default() += tasks;
        }
    }
    launched
}

fn tasks<const N: usize>(expected: [(&str, u32); N]) -> BTreeMap<String, u32> {
    expected
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

fn weighs(allocator: &mut Allocator, name: &str, weight: u32) {
    let milli = NonZeroU32::new(weight * 1_000).expect("not zero");
    allocator.set_weight(&role(name), milli);
}

#[test]
fn nine_cpus_and_18_gb_make_three_tasks_and_two() {
    // Section 4.1: A takes 1 CPU and 4 GB, B takes 3 CPUs and 1 GB: two thirds of memory, two thirds of CPUs.
    let mut allocator = one_agent(machine(9, 18));
    wants(&mut allocator, "A", "a", machine(1, 4), ENDLESS);
    wants(&mut allocator, "B", "b", machine(3, 1), ENDLESS);

    assert_eq!(play(&mut allocator), tasks([("A", 3), ("B", 2)]));
    assert_eq!(allocator.share(&framework("A")), Some(12.0 / 18.0));
    assert_eq!(allocator.share(&framework("B")), Some(6.0 / 9.0));
    assert_eq!(allocator.free(&agent("S0")), Some(&machine(0, 4)));
}

#[test]
fn the_same_inside_one_role() {
    let mut allocator = one_agent(machine(9, 18));
    wants(&mut allocator, "A", "both", machine(1, 4), ENDLESS);
    wants(&mut allocator, "B", "both", machine(3, 1), ENDLESS);

    assert_eq!(play(&mut allocator), tasks([("A", 3), ("B", 2)]));
}

#[test]
fn many_agents_are_one_cluster() {
    // Nine agents of 2 CPUs and 4 GB: A <1, 2> has a/18 by both, B <1, 1> has b/18 by CPUs; any two tasks fit
    // on an agent, and at nine each all CPUs are gone.
    let mut allocator = cluster(Policy::default(), &[]);
    for number in 0..9 {
        add_agent(&mut allocator, &format!("S{number}"), machine(2, 4));
    }
    wants(&mut allocator, "A", "a", machine(1, 2), ENDLESS);
    wants(&mut allocator, "B", "b", machine(1, 1), ENDLESS);

    assert_eq!(play(&mut allocator), tasks([("A", 9), ("B", 9)]));
}

#[test]
fn nobody_gets_less_than_an_equal_part_of_the_cluster_is_worth() {
    // Section 5.1: 30 CPUs and 30 GB, A takes <1, 3>, B <1, 1>. Asset fairness gives 6 and 12 tasks, and B
    // less than half of either; DRF gives 5 and 15: 5·1 + 15·1 = 20 CPUs, 5·3 + 15·1 = 30 GB.
    let mut allocator = one_agent(machine(30, 30));
    wants(&mut allocator, "A", "a", machine(1, 3), ENDLESS);
    wants(&mut allocator, "B", "b", machine(1, 1), ENDLESS);

    assert_eq!(play(&mut allocator), tasks([("A", 5), ("B", 15)]));
    assert_eq!(allocator.share(&framework("A")), Some(0.5));
    assert_eq!(allocator.share(&framework("B")), Some(0.5));
}

#[test]
fn a_weight_of_two_makes_twice_the_share() {
    // The paper's tasks and 13 of its clusters: A weighs 2. 4a/234 = 2 · 3b/117 makes a = 3b; memory,
    // 4·54 + 18 = 234 GB, is full at 54 and 18, CPUs are not, 54 + 3·18 = 108 of 117.
    let mut allocator = one_agent(machine(117, 234));
    wants(&mut allocator, "A", "a", machine(1, 4), ENDLESS);
    wants(&mut allocator, "B", "b", machine(3, 1), ENDLESS);
    weighs(&mut allocator, "a", 2);

    assert_eq!(play(&mut allocator), tasks([("A", 54), ("B", 18)]));
    assert_eq!(allocator.share(&framework("A")), Some(216.0 / 234.0));
    assert_eq!(allocator.share(&framework("B")), Some(54.0 / 117.0));
}

#[test]
fn three_kinds_of_resources_have_three_dominant_ones() {
    // 36 CPUs, 96 GB, 12 GPUs. A <2, 1, 0>: a/18 by CPUs; B <1, 4, 0>: b/24 by memory; C <1, 1, 1>: c/12 by
    // GPUs. At one half each, 18 + 12 + 6 = 36 CPUs are gone, and nobody does without.
    let gpus = |mut resources: Resources, gpus: u64| {
        resources.gpus_milli = gpus * 1_000;
        resources
    };
    let mut allocator = one_agent(gpus(machine(36, 96), 12));
    wants(&mut allocator, "A", "a", machine(2, 1), ENDLESS);
    wants(&mut allocator, "B", "b", machine(1, 4), ENDLESS);
    wants(&mut allocator, "C", "c", gpus(machine(1, 1), 1), ENDLESS);

    assert_eq!(play(&mut allocator), tasks([("A", 9), ("B", 12), ("C", 6)]));
    for name in ["A", "B", "C"] {
        assert_eq!(allocator.share(&framework(name)), Some(0.5), "{name}");
    }
}

#[test]
fn what_one_does_not_want_goes_to_the_others_in_equal_parts() {
    // 24 CPUs: A wants two, B and C share 22.
    let mut allocator = one_agent(machine(24, 24));
    wants(&mut allocator, "A", "a", machine(1, 1), 2);
    wants(&mut allocator, "B", "b", machine(1, 1), ENDLESS);
    wants(&mut allocator, "C", "c", machine(1, 1), ENDLESS);

    assert_eq!(
        play(&mut allocator),
        tasks([("A", 2), ("B", 11), ("C", 11)])
    );
}

#[test]
fn shares_meet_where_one_kind_is_full_and_the_other_is_not() {
    // 10 CPUs and 40 GB, A <1, 1> and B <0, 1>: a/10 = b/40 makes b = 4a, and memory is full at 8 and 32.
    let mut allocator = one_agent(machine(10, 40));
    wants(&mut allocator, "A", "a", machine(1, 1), ENDLESS);
    wants(&mut allocator, "B", "b", machine(0, 1), ENDLESS);

    assert_eq!(play(&mut allocator), tasks([("A", 8), ("B", 32)]));
    assert_eq!(allocator.free(&agent("S0")), Some(&machine(2, 0)));
}

#[test]
fn asking_for_more_than_is_needed_does_not_pay() {
    // Section 4.1 again, with B saying <3, 2>: 2/3 still, and as many tasks as before, none more.
    let mut allocator = one_agent(machine(9, 18));
    wants(&mut allocator, "A", "a", machine(1, 4), ENDLESS);
    wants(&mut allocator, "B", "b", machine(3, 2), ENDLESS);

    assert_eq!(play(&mut allocator), tasks([("A", 3), ("B", 2)]));
}

#[test]
fn a_role_s_part_is_shared_among_its_children_whatever_their_number() {
    // 48 CPUs: dev and prod 24 each; prod's children 12 each, of which db's two frameworks 6 each.
    let mut allocator = one_agent(machine(48, 48));
    for (name, in_role) in [
        ("dev", "dev"),
        ("web", "prod/web"),
        ("db1", "prod/db"),
        ("db2", "prod/db"),
    ] {
        wants(&mut allocator, name, in_role, machine(1, 1), ENDLESS);
    }

    assert_eq!(
        play(&mut allocator),
        tasks([("dev", 24), ("web", 12), ("db1", 6), ("db2", 6)])
    );
}

#[test]
fn weights_count_on_each_level_by_themselves() {
    // 48 CPUs: prod weighs 3 to dev's 1: 36 and 12; of prod's, web weighs 2 to db's 1: 24 and 12.
    let mut allocator = one_agent(machine(48, 48));
    for (name, in_role) in [("dev", "dev"), ("web", "prod/web"), ("db", "prod/db")] {
        wants(&mut allocator, name, in_role, machine(1, 1), ENDLESS);
    }
    weighs(&mut allocator, "prod", 3);
    weighs(&mut allocator, "prod/web", 2);

    assert_eq!(
        play(&mut allocator),
        tasks([("dev", 12), ("web", 24), ("db", 12)])
    );
}

#[test]
fn a_role_counts_by_the_kind_of_which_those_in_it_have_most() {
    // 10 CPUs, 20 GPUs: n1 takes CPUs; in n2 one takes CPUs and one GPUs. The roles meet at 5 CPUs each, with
    // at most 10 GPUs in n2 until then; what is left of GPUs nobody else wants.
    let with_gpus = |cpus: u64, megabytes, gpus: u64| {
        let mut resources = Resources::cpus_mem(cpus * 1_000, megabytes);
        resources.gpus_milli = gpus * 1_000;
        resources
    };
    let mut allocator = one_agent(with_gpus(10, 10_240, 20));
    wants(&mut allocator, "n1", "n1", machine(1, 0), ENDLESS);
    wants(&mut allocator, "n21", "n2/cpus", machine(1, 0), ENDLESS);
    wants(
        &mut allocator,
        "n22",
        "n2/gpus",
        with_gpus(0, 32, 1),
        ENDLESS,
    );

    assert_eq!(
        play(&mut allocator),
        tasks([("n1", 5), ("n21", 5), ("n22", 20)])
    );
}
