//! Apps that run once on each agent that can have them.

use mete_model::TaskState;
use mete_service_framework_core::spec::app::{AppSpec, Constraint, DAEMON_LABEL, UpgradeStrategy};
use mete_service_framework_core::state::instances::InstanceId;
use mete_service_framework_core::{Input, Reply, Wanted};

use crate::kit::{World, app, checked, id};

fn everywhere(mut spec: AppSpec) -> AppSpec {
    spec.labels
        .insert(DAEMON_LABEL.to_owned(), "true".to_owned());
    spec
}

/// How many run, on how many hosts.
fn placed(world: &World) -> (usize, usize) {
    let running = world
        .tasks
        .values()
        .filter(|task| task.state == TaskState::Running);
    (running.count(), world.hosts("/agent").len())
}

#[test]
fn one_runs_on_each_agent_and_on_those_that_come_later() {
    let mut world = World::new(3);

    world.create(everywhere(app("/agent", 1)));
    world.calm();

    assert_eq!(placed(&world), (3, 3));
    assert!(world.view().deployments.is_empty());
    world.add_agent(4);
    world.add_agent(5);
    world.calm();
    assert_eq!(placed(&world), (5, 5));
    world.restart();
    world.subscribe();
    world.calm();
    assert_eq!(placed(&world), (5, 5));
}

#[test]
fn its_deployment_waits_for_the_first_and_for_all_that_have_begun() {
    let mut world = World::new(2);
    world.create(everywhere(checked("/agent", 1)));
    assert_eq!(world.view().deployments.len(), 1, "none runs yet");

    world.offer();
    let tasks = world.task_ids();
    assert_eq!(tasks.len(), 2);
    world.report(&tasks[0], TaskState::Running, Some(true));
    assert_eq!(world.view().deployments.len(), 1, "one has begun");
    world.report(&tasks[1], TaskState::Running, Some(true));

    assert!(world.view().deployments.is_empty());
}

#[test]
fn one_of_its_instances_cannot_be_killed_for_good() {
    let mut world = World::new(3);
    world.create(everywhere(app("/agent", 1)));
    world.calm();
    let all: Vec<InstanceId> = world
        .instances("/agent")
        .iter()
        .map(|instance| instance.id.clone())
        .collect();
    let mut kill = |instances: &[InstanceId]| {
        let effects = world.step(Input::KillInstances {
            instances: instances.to_vec(),
            scale: true,
            force: false,
            wipe: false,
        });
        effects.reply.expect("answered")
    };

    assert!(matches!(kill(&all[..1]), Reply::Invalid(_)));
    assert!(matches!(kill(&all), Reply::Changed { .. }));
}

#[test]
fn only_agents_that_match_have_one() {
    let mut world = World::new(3);
    let mut spec = everywhere(app("/agent", 1));
    let hosts: Vec<String> = world
        .free()
        .iter()
        .map(|offer| offer.endpoint.hostname.clone())
        .collect();
    spec.constraints = vec![Constraint {
        field: "hostname".to_owned(),
        operator: "UNLIKE".to_owned(),
        value: Some(hosts[0].replace('.', "\\.")),
    }];

    world.create(spec);
    world.calm();

    assert_eq!(placed(&world), (2, 2));
    assert!(!world.hosts("/agent").contains(&hosts[0]));
}

#[test]
fn it_is_replaced_agent_by_agent_and_ended_by_asking_for_none() {
    let mut world = World::new(4);
    let strategy = UpgradeStrategy {
        minimum_health_capacity: 0.5,
        maximum_over_capacity: 0.0,
    };
    let spec = |cmd: &str| AppSpec {
        cmd: Some(cmd.to_owned()),
        upgrade_strategy: strategy,
        ..everywhere(checked("/agent", 1))
    };
    world.create(spec("serve"));
    world.calm();
    let old = world.task_ids();
    assert_eq!(old.len(), 4);

    world.put(spec("serve better"));

    world.acknowledge_all();
    let left = world.kills.len();
    assert!(left <= 2, "{left} of 4 go at once");
    world.calm();
    assert_eq!(placed(&world), (4, 4));
    assert!(world.task_ids().iter().all(|task| !old.contains(task)));
    assert!(world.view().deployments.is_empty());

    world.put(AppSpec {
        instances: 0,
        ..spec("serve better")
    });
    world.calm();
    assert!(world.tasks.is_empty() && world.view().deployments.is_empty());
    world.ask(Wanted::Remove(id("/agent")), false);
    world.calm();
    assert!(world.view().apps.is_empty());
}

#[test]
fn one_that_fails_comes_back_on_its_agent() {
    let mut world = World::new(2);
    world.create(everywhere(app("/agent", 1)));
    world.calm();
    let task = world.task_ids().remove(0);

    world.report(&task, TaskState::Failed, None);
    world.pass_s(2);
    world.calm();

    assert_eq!(placed(&world), (2, 2));
}
