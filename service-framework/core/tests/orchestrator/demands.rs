//! What waits is told to the master, so that it offers what fits.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::{AgentId, Ranges, Resources, Role, TaskState};
use mete_placement::Shape;
use mete_service_framework_core::spec::app::{AppSpec, Constraint, PortDefinition};
use mete_service_framework_core::{Action, Input};

use crate::kit::{World, app, serving};

fn constrained(instances: u32, operator: &str, value: Option<&str>) -> AppSpec {
    let mut spec = app("/web", instances);
    spec.constraints = vec![Constraint {
        field: "hostname".to_owned(),
        operator: operator.to_owned(),
        value: value.map(str::to_owned),
    }];
    spec
}

#[test]
fn each_app_that_waits_is_one_shape_with_all_it_asks_for() {
    let mut spec = app("/db", 3);
    spec.port_definitions = vec![PortDefinition {
        port: 5_432,
        ..PortDefinition::default_port()
    }];
    spec.require_ports = true;
    let mut world = World::new(0);
    world.create(spec);
    world.pass_s(1);
    world.create(app("/web", 2));

    let [db, web] = &world.demand[..] else {
        panic!("two shapes, the older first: {:?}", world.demand);
    };
    let resources = Resources::cpus_mem(100, 128).with_ports(Ranges::interval(5_432, 5_432));
    let name = |name: &str| Some(name.to_owned());
    let expected = Shape {
        name: name("/db"),
        role: Some(Role::any()),
        count: 3,
        ..Shape::new(resources)
    };
    assert_eq!(*db, expected);
    let expected = Shape {
        name: name("/web"),
        role: Some(Role::any()),
        any_ports: 1,
        count: 2,
        ..Shape::new(Resources::cpus_mem(100, 128))
    };
    assert_eq!(*web, expected);
}

#[test]
fn an_app_is_deployed_by_offers_as_large_as_its_demand() {
    let mut world = World::new(3);
    world.acknowledge_all();
    world.create(constrained(3, "UNIQUE", None));
    world.create(app("/batch", 5));

    world.offer_as_demanded();
    world.run_all();

    assert_eq!(world.tasks.len(), 8);
    assert_eq!(world.hosts("/web").len(), 3, "each on a host of its own");
    assert!(world.demand.is_empty() && !world.wants_offers);
}

#[test]
fn hosts_that_are_taken_are_not_asked_for() {
    let mut world = World::new(1);
    world.acknowledge_all();
    world.create(constrained(2, "UNIQUE", None));

    world.offer();

    let shape = &world.demand[0];
    assert_eq!((shape.count, shape.max_per_agent), (1, Some(1)));
    let [constraint] = &shape.constraints[..] else {
        panic!("{shape:?}")
    };
    let (operator, value) = constraint.words();
    assert_eq!(
        (operator, value.as_deref()),
        ("UNLIKE", Some(r"127\.0\.0\.1"))
    );
    assert_eq!(
        constraint.to_string(),
        "hostname:UNIQUE",
        "as it was written"
    );
}

#[test]
fn groups_fill_evenly_by_offers_as_large_as_their_demand() {
    for value in [None, Some("2"), Some("3")] {
        let mut world = World::new(3);
        world.acknowledge_all();
        world.create(constrained(8, "GROUP_BY", value));

        for _ in 0..8 {
            world.offer_as_demanded();
        }
        world.run_all();

        let mut per_agent: BTreeMap<AgentId, u32> = BTreeMap::new();
        for task in world.tasks.values() {
            *per_agent.entry(task.agent.clone()).or_default() += 1;
        }
        let mut counts: Vec<u32> = per_agent.into_values().collect();
        counts.sort_unstable();
        assert_eq!(counts, [2, 3, 3], "{value:?}");
    }
}

#[test]
fn an_agent_that_joins_is_asked_first_for_the_next_of_a_group() {
    let mut world = World::new(2);
    world.acknowledge_all();
    world.create(constrained(4, "GROUP_BY", None));
    for _ in 0..4 {
        world.offer_as_demanded();
    }
    world.run_all();

    world.add_agent(3);
    world.scale("/web", 6);
    world.pass_s(10); // Until it may ask again.
    for _ in 0..4 {
        world.offer_as_demanded();
    }

    let mut per_agent: BTreeMap<AgentId, u32> = BTreeMap::new();
    for task in world.tasks.values() {
        *per_agent.entry(task.agent.clone()).or_default() += 1;
    }
    assert_eq!(per_agent.into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn a_launch_that_opens_a_group_takes_back_what_was_declined() {
    let mut world = World::new(2);
    world.acknowledge_all();
    world.create(constrained(5, "GROUP_BY", Some("2")));
    let first = world.free().swap_remove(0);

    let effects = world.step(Input::Offers(vec![first]));
    world.wants_offers = false;
    world.pass_s(1);

    let wants_more = |action: &Action| {
        matches!(
            action,
            Action::Accept {
                refuse: Duration::ZERO,
                ..
            }
        )
    };
    assert!(effects.act.iter().any(wants_more));
    assert!(world.wants_offers, "asked for anew");
}

#[test]
fn what_is_delayed_is_not_asked_for_until_the_delay_is_over() {
    let mut spec = app("/web", 1);
    spec.backoff.initial = Duration::from_secs(5);
    let mut world = serving(spec);
    let task = world.task_ids()[0].clone();

    world.report(&task, TaskState::Failed, None);
    let delayed = (world.demand.len(), world.wants_offers);
    world.pass_s(5);

    assert_eq!(delayed, (0, false));
    assert_eq!((world.demand.len(), world.wants_offers), (1, true));
}

#[test]
fn a_new_master_is_told_all_that_waits() {
    let mut world = World::new(0);
    world.create(app("/web", 2));
    let before = world.demand.clone();

    world.subscribe();

    assert_eq!((before.len(), &world.demand), (1, &before));
}
