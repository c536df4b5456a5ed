//! One version replaces another.

use mete_service_framework_core::Wanted;
use mete_service_framework_core::backends::BackendState;
use mete_service_framework_core::spec::app::AppSpec;

use crate::kit::{World, checked, id, serving};

fn better(mut spec: AppSpec) -> AppSpec {
    spec.cmd = Some("serve better".to_owned());
    spec
}

fn up(world: &World) -> usize {
    world
        .backends("/web")
        .values()
        .filter(|state| **state == BackendState::Up)
        .count()
}

#[test]
fn new_instances_are_healthy_before_old_ones_go() {
    let mut world = serving(checked("/web", 2));
    let old = world.task_ids();
    world.put(better(checked("/web", 2)));

    world.offer();
    assert_eq!((world.tasks.len(), up(&world)), (4, 2));
    let new: Vec<_> = world
        .task_ids()
        .into_iter()
        .filter(|task| !old.contains(task))
        .collect();
    world.report(&new[0], mete_model::TaskState::Running, Some(true));
    assert_eq!(up(&world), 2, "one came, one drains");
    world.acknowledge_all();
    world.end_killed();
    assert_eq!(world.tasks.len(), 3);
    world.calm();

    assert_eq!(world.task_ids(), new);
    assert!(world.view().deployments.is_empty());
    for version in world
        .instances("/web")
        .iter()
        .map(|instance| instance.version.clone())
    {
        assert_eq!(version.spec.cmd.as_deref(), Some("serve better"));
    }
}

#[test]
fn a_restart_replaces_every_instance() {
    let mut world = serving(checked("/web", 3));
    let old = world.task_ids();

    world.ask(Wanted::Restart(id("/web")), false);
    world.calm();

    assert_eq!(world.tasks.len(), 3);
    assert!(world.task_ids().iter().all(|task| !old.contains(task)));
}

#[test]
fn capacities_hold_at_every_point_of_an_upgrade() {
    for (wanted, minimum, over, least_up, most) in [
        (4, 1.0, 0.5, 4, 6),
        (4, 0.5, 0.0, 2, 4),
        (3, 1.0, 0.0, 3, 4),
        (5, 0.6, 0.2, 3, 6),
        (1, 0.0, 0.0, 0, 1),
    ] {
        let mut spec = checked("/web", wanted);
        spec.upgrade_strategy.minimum_health_capacity = minimum;
        spec.upgrade_strategy.maximum_over_capacity = over;
        let mut world = serving(spec.clone());
        world.put(better(spec));

        for round in 0..100 {
            assert!(
                up(&world) >= least_up,
                "{wanted} {minimum} {over} round {round}: {} up",
                up(&world)
            );
            assert!(
                world.tasks.len() <= most,
                "{wanted} {minimum} {over} round {round}: {}",
                world.tasks.len()
            );
            match round % 4 {
                0 => drop(world.offer()),
                1 => world.run_all(),
                2 => world.acknowledge_all(),
                _ => world.end_killed(),
            }
            world.pass_s(1);
        }

        assert!(
            world.view().deployments.is_empty(),
            "{wanted} {minimum} {over}"
        );
        assert_eq!(
            (world.tasks.len(), up(&world)),
            (wanted as usize, wanted as usize)
        );
    }
}

#[test]
fn an_old_instance_that_dies_is_replaced_by_a_new_one() {
    let mut world = serving(checked("/web", 2));
    let old = world.task_ids();
    world.put(better(checked("/web", 2)));

    world.report(&old[0], mete_model::TaskState::Killed, None);
    world.calm();

    assert!(world.task_ids().iter().all(|task| !old.contains(task)));
    assert_eq!(world.tasks.len(), 2);
}

#[test]
fn an_upgrade_forced_over_another_goes_on_from_there() {
    let mut world = serving(checked("/web", 2));
    let first = world.task_ids();
    world.put(better(checked("/web", 2)));
    world.offer();
    let mut best = better(checked("/web", 2));
    best.cmd = Some("serve best".to_owned());

    let put = Wanted::Put {
        apps: vec![best],
        create: true,
        merged_with: Default::default(),
    };
    world.ask(put, true);
    assert_eq!(up(&world), 2);
    world.calm();

    assert!(world.task_ids().iter().all(|task| !first.contains(task)));
    for instance in world.instances("/web") {
        assert_eq!(instance.version.spec.cmd.as_deref(), Some("serve best"));
    }
    assert_eq!(world.tasks.len(), 2);
}
