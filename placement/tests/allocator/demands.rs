//! What frameworks get that say what they wait for, one rule at a time; and what random events once found.

use mete_model::{Capability, Ranges};
use mete_placement::{Amounts, Constraint, Shape, Takes};

use super::*;

const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// Framework `A` in role `a` waits for so many tasks of a shape.
fn wants(allocator: &mut Allocator, shape: Shape, count: u32) {
    join(allocator, "A", "a");
    let shapes = vec![Shape { count, ..shape }];
    allocator.set_demand(&framework("A"), shapes);
}

fn decline(allocator: &mut Allocator, grant: &Grant, refuse: Duration) {
    give_back(allocator, NOON, grant, &grant.resources, refuse);
    let (id, role) = (&grant.framework, &grant.role);
    allocator.answered(&grant.agent, id, role, &grant.units, 0);
}

/// So many whole GPUs beside 4 CPUs and 4 GB.
fn gpu_machine(gpus: u64) -> Resources {
    let mut total = machine(4, 4);
    total.gpus_milli = gpus * 1_000;
    total.with_devices()
}

#[test]
fn an_offer_holds_just_what_the_tasks_take_that_fit() {
    let mut allocator = cluster(Policy::FirstFit, &[4, 1]);
    wants(&mut allocator, Shape::new(machine(2, 1)), 5);

    let grants = allocator.round(NOON);

    assert_eq!(who(&grants), [("A", "S0")]);
    assert_eq!(grants[0].resources, machine(4, 2));
    assert_eq!(grants[0].units[0].1, 2);
    assert_eq!(allocator.open_demand(&framework("A")), Some(3));
}

#[test]
fn what_is_reserved_for_the_role_comes_first_unless_the_shape_wants_none_of_it() {
    let mut allocator = empty(Policy::default());
    let tag = mete_model::Tag::reserved(role("a"));
    let ports = |first| Ranges::interval(first, first + 1);
    let mut total = machine(4, 4).with_ports(ports(31_000));
    total.add_part(tag.clone(), machine(1, 1).with_ports(ports(32_000)));
    allocator.add_agent(agent("S0"), AgentFacts::new(total));
    let task = Shape {
        any_ports: 3,
        ..Shape::new(machine(2, 2))
    };
    let taken = |grants: &[Grant]| {
        let all = &grants[0].resources;
        let part = all.part(&tag).cloned().unwrap_or_else(Resources::none);
        (part.cpus_milli, part.ports.count(), all.ports.count())
    };

    wants(&mut allocator, task.clone(), 1);
    let grants = allocator.round(NOON);
    assert_eq!(taken(&grants), (1_000, 2, 1));

    decline(&mut allocator, &grants[0], Duration::ZERO);
    let plain = Shape {
        any_ports: 2,
        takes: Takes::Unreserved,
        ..task.clone()
    };
    wants(&mut allocator, plain.clone(), 1);
    let grants = allocator.round(NOON);
    assert_eq!(taken(&grants), (0, 0, 2));

    decline(&mut allocator, &grants[0], Duration::ZERO);
    let reserved = Shape {
        takes: Takes::Reserved,
        resources: Resources::cpus_mem(1_000, 0),
        ..plain
    };
    wants(&mut allocator, reserved.clone(), 1);
    let grants = allocator.round(NOON);
    assert_eq!(taken(&grants), (1_000, 2, 0));
    decline(&mut allocator, &grants[0], Duration::ZERO);
    let too_many = Shape {
        any_ports: 3,
        ..reserved
    };
    wants(&mut allocator, too_many, 1);
    assert!(allocator.round(NOON).is_empty(), "two are reserved");
}

#[test]
fn a_declined_place_stays_away_though_it_had_other_ports_now() {
    let mut allocator = empty(Policy::default());
    let ports = Ranges::interval(31_000, 31_099);
    let facts = AgentFacts::new(machine(4, 4).with_ports(ports));
    allocator.add_agent(agent("S0"), facts);
    let shape = Shape {
        any_ports: 1,
        ..Shape::new(machine(1, 1))
    };
    wants(&mut allocator, shape, 1);
    let grants = allocator.round(NOON);

    decline(&mut allocator, &grants[0], FIVE_SECONDS);

    assert_eq!(allocator.round(NOON), []);
    assert_eq!(who(&allocator.round(NOON + FIVE_SECONDS)), [("A", "S0")]);
}

#[test]
fn agents_that_a_shape_prefers_come_first_however_well_others_fit() {
    let mut allocator = empty(Policy::default());
    for (number, cpus) in [2, 4, 8].into_iter().enumerate() {
        let mut facts = AgentFacts::new(machine(cpus, cpus));
        facts.hostname = format!("h{number}");
        allocator.add_agent(agent(&format!("S{number}")), facts);
    }
    let on_last = Constraint::parse("hostname", "UNLIKE", Some("h0|h1")).expect("a good one");
    let shape = Shape {
        preferred: vec![on_last],
        max_per_agent: Some(1),
        ..Shape::new(machine(1, 1))
    };
    wants(&mut allocator, shape, 2);

    let grants = allocator.round(NOON);

    assert_eq!(who(&grants), [("A", "S2"), ("A", "S0")]);
}

#[test]
fn whoever_declines_one_gpu_is_not_offered_another_instead() {
    let mut allocator = empty(Policy::default());
    allocator.add_agent(agent("S0"), AgentFacts::new(gpu_machine(2)));
    let mut half = machine(1, 1);
    half.gpus_milli = 500;
    wants(&mut allocator, Shape::new(half.clone()), 1);
    let grants = allocator.round(NOON);

    let device = grants[0].resources.devices().list()[0].index;
    decline(&mut allocator, &grants[0], FIVE_SECONDS);
    let held = gpu_machine(2).pin_on(&half, device).expect("half is free");
    allocator.claim(&agent("S0"), &framework("B"), &role("b"), &held);

    assert_eq!(allocator.round(NOON), []);
}

#[test]
fn what_was_on_offer_on_an_agent_that_went_does_not_count_on_the_next() {
    let mut allocator = cluster(Policy::default(), &[4]);
    let shape = Shape {
        max_per_agent: Some(1),
        ..Shape::new(machine(1, 1))
    };
    wants(&mut allocator, shape, 2);
    let grants = allocator.round(NOON);

    allocator.remove_agent(&agent("S0"));
    allocator.add_agent(agent("S1"), AgentFacts::new(machine(4, 4)));
    decline(&mut allocator, &grants[0], Duration::ZERO);

    assert_eq!(who(&allocator.round(NOON)), [("A", "S1")]);
}

#[test]
fn a_gpu_is_never_put_together_of_a_reserved_and_a_free_part() {
    let half = |index| {
        let mut half = Resources::none();
        half.gpus_milli = 500;
        gpu_machine(2).pin_on(&half, index).expect("it is free")
    };
    let mut total = machine(4, 4).plus(&half(0));
    total.add_part(mete_model::Tag::reserved(role("a")), half(1));
    let mut allocator = empty(Policy::default());
    allocator.add_agent(agent("S0"), AgentFacts::new(total));
    let mut asked = machine(1, 1);
    asked.gpus_milli = 600;

    wants(&mut allocator, Shape::new(asked.clone()), 1);
    assert_eq!(allocator.round(NOON), []);

    asked.gpus_milli = 500;
    wants(&mut allocator, Shape::new(asked), 1);
    let granted = allocator.round(NOON).remove(0).resources;
    assert_eq!(granted.gpus_milli, 0, "the reserved half is taken first");
    assert_eq!(granted.flat().gpus_milli, 500);
}

#[test]
fn a_limit_never_makes_parts_of_gpus_for_who_takes_whole_ones() {
    let mut allocator = empty(Policy::default());
    allocator.add_agent(agent("S0"), AgentFacts::new(gpu_machine(3)));
    let limit = Amounts {
        gpus_milli: Some(1_500),
        ..Amounts::default()
    };
    let limited = allocator.set_limit(&role("a"), Some(limit));
    limited.expect("a top-level role");
    let mut facts = FrameworkFacts::in_roles([role("a")]);
    facts.capabilities = [Capability::GpuResources].into();

    allocator.add_framework(framework("A"), facts);

    let granted = allocator.round(NOON).remove(0).resources;
    assert_eq!(
        (granted.gpus_milli, granted.has_gpu_pieces()),
        (1_000, false)
    );
}

#[test]
fn a_role_is_as_urgent_as_what_is_left_of_it_when_a_framework_is_gone() {
    let mut allocator = cluster(Policy::default(), &[4]);
    join(&mut allocator, "A", "a/x");
    join(&mut allocator, "B", "b");
    let (s0, gone) = (agent("S0"), framework("C"));
    allocator.claim(&s0, &framework("B"), &role("b"), &machine(1, 1));
    allocator.claim(&s0, &gone, &role("a/y"), &machine(2, 2));
    let grants = allocator.round(NOON);
    assert_eq!(who(&grants), [("B", "S0")]);

    decline(&mut allocator, &grants[0], Duration::ZERO);
    allocator.release(&s0, &gone, &role("a/y"), &machine(2, 2));

    assert_eq!(who(&allocator.round(NOON)), [("A", "S0")]);
}

#[test]
fn what_is_reserved_under_a_label_is_for_the_shape_that_names_it() {
    let mut tag = mete_model::Tag::reserved(role("a"));
    tag.reservations[0].labels = vec![("instance".to_owned(), Some("db-1".to_owned()))];
    let mut total = machine(1, 4);
    total.add_part(tag.clone(), machine(2, 2));
    let mut allocator = empty(Policy::default());
    allocator.add_agent(agent("S0"), AgentFacts::new(total));

    wants(&mut allocator, Shape::new(machine(2, 1)), 1);
    assert_eq!(allocator.round(NOON), []);

    let named = Resources::none().with_part(tag, machine(2, 2));
    wants(&mut allocator, Shape::new(named.clone()), 1);
    assert_eq!(allocator.round(NOON)[0].resources, named);
}

#[test]
fn who_does_not_take_gpus_is_not_offered_machines_that_have_them() {
    let mut allocator = empty(Policy::BestFit);
    allocator.add_agent(agent("S0"), AgentFacts::new(gpu_machine(2)));
    let plain = FrameworkFacts::in_roles([role("a")]);
    allocator.add_framework(framework("A"), plain.clone());
    let mut one_gpu = Resources::none();
    one_gpu.gpus_milli = 1_000;
    let shapes = vec![Shape::new(machine(1, 1)), Shape::new(one_gpu)];
    allocator.set_demand(&framework("A"), shapes);

    assert_eq!(allocator.round(NOON), []);

    let takes_gpus = FrameworkFacts {
        capabilities: [Capability::GpuResources].into(),
        ..plain
    };
    allocator.update_framework(&framework("A"), takes_gpus);
    let grants = allocator.round(NOON);
    let units = grants.iter().flat_map(|grant| &grant.units);
    assert_eq!(units.map(|(_, units)| units).sum::<u32>(), 2);
}
