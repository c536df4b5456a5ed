//! What waits is told to the master, so that it offers what fits.

use std::time::Duration;

use mete_model::{Ranges, Resources, Role, TaskState};
use mete_placement::Shape;
use mete_service_framework_core::spec::app::{AppSpec, Constraint, PortDefinition};

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
    let constraints: Vec<String> = shape.constraints.iter().map(ToString::to_string).collect();
    assert_eq!(constraints, [r"hostname:UNLIKE:127\.0\.0\.1"]);
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
