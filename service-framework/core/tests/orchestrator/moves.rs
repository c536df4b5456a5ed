//! Agents that drain by a deadline: what is there moves first, where there is room.

use mete_model::{InverseOffer, TaskId, TaskState};
use mete_service_framework_core::Input;
use mete_service_framework_core::spec::app::UpgradeStrategy;
use mete_service_framework_core::state::instances::{InstanceState, KillReason};

use crate::kit::{World, agent, app, checked, question, serving};

/// The tasks on an agent.
fn on(world: &World, number: u8) -> Vec<TaskId> {
    let all = world.tasks.iter();
    let there = all.filter(|(_, task)| task.agent == agent(number));
    there.map(|(id, _)| id.clone()).collect()
}

fn killed_for(world: &World, app: &str) -> Vec<KillReason> {
    let instances = world.instances(app);
    let reasons = instances.iter().filter_map(|one| match one.state {
        InstanceState::Draining { reason, .. } | InstanceState::Killing { reason, .. } => {
            Some(reason)
        }
        InstanceState::Waiting
        | InstanceState::Launching { .. }
        | InstanceState::Staging
        | InstanceState::Starting
        | InstanceState::Running { .. }
        | InstanceState::Unreachable { .. }
        | InstanceState::Reserved { .. } => None,
    });
    reasons.collect()
}

#[test]
fn an_instance_goes_when_another_is_healthy_in_its_place() {
    let mut world = serving(checked("/web", 3));
    let old = on(&world, 1);
    assert_eq!(old.len(), 1);

    let asked = world.drain(1);

    assert_eq!(world.demand[0].count, 1);
    world.pass_s(1);
    world.offer();
    assert_eq!(world.tasks.len(), 4);
    assert_eq!(on(&world, 1), old);
    let staging = |world: &World| {
        let mut all = world.tasks.iter();
        let one = all.find(|(_, task)| task.state == TaskState::Staging);
        one.map(|(id, _)| id.clone()).expect("the new one")
    };
    let new = staging(&world);
    world.report(&new, TaskState::Running, None);
    assert!(killed_for(&world, "/web").is_empty(), "not healthy yet");
    world.report(&new, TaskState::Running, Some(true));
    assert_eq!(killed_for(&world, "/web"), [KillReason::Moved]);
    assert!(world.kills.is_empty(), "proxies first");
    world.acknowledge_all();
    assert_eq!(world.kills, old);
    assert!(world.accepted.is_empty());
    world.end_killed();

    assert_eq!(world.accepted, [asked]);
    assert_eq!(world.backends("/web").len(), 3);
    world.calm();
    assert_eq!(world.tasks.len(), 3);
}

#[test]
fn without_room_it_stays_and_says_what_waits() {
    let mut world = serving(app("/web", 3));
    let old = on(&world, 1);
    world.remove_agent(2);
    world.remove_agent(3);

    world.drain(1);
    world.calm();

    assert_eq!(on(&world, 1), old);
    assert_eq!(world.demand[0].count, 1);
    assert!(world.accepted.is_empty());
    world.report(&old[0], TaskState::Killed, None); // the master, at the deadline
    assert_eq!(world.accepted.len(), 1);
    world.add_agent(2);
    world.calm();
    assert_eq!(world.tasks.len(), 3);
    assert_eq!(world.backends("/web").len(), 3);
}

#[test]
fn an_app_that_may_never_have_one_more_stays_until_it_is_killed() {
    let mut spec = app("/single", 1);
    spec.upgrade_strategy = UpgradeStrategy {
        minimum_health_capacity: 0.0,
        maximum_over_capacity: 0.0,
    };
    let mut world = serving(spec);
    let task = world.task_ids()[0].clone();
    let home = (1..=3).find(|number| on(&world, *number).contains(&task));

    world.drain(home.expect("on one of them"));
    world.calm();

    assert_eq!(world.task_ids(), std::slice::from_ref(&task));
    world.report(&task, TaskState::Killed, None);
    world.calm();
    assert_eq!(world.tasks.len(), 1);
    assert_ne!(world.task_ids(), [task]);
}

#[test]
fn no_more_move_at_once_than_the_app_may_have_too_many() {
    let mut spec = app("/web", 4);
    spec.upgrade_strategy.maximum_over_capacity = 0.25;
    let mut world = World::new(1);
    world.create(spec);
    world.calm();
    world.add_agent(2);

    world.drain(1);
    world.pass_s(1);
    world.offer();

    assert_eq!((on(&world, 1).len(), on(&world, 2).len()), (4, 1));
    world.calm();
    assert_eq!((on(&world, 1).len(), on(&world, 2).len()), (0, 4));
}

#[test]
fn who_may_stay_after_all_stays() {
    let mut world = serving(app("/web", 3));
    let before = world.task_ids();
    world.drain(1);
    assert_eq!(world.demand.len(), 1);
    world.pass_s(1);

    world.add_agent(1); // and it is offered again
    world.offer();
    world.calm();

    let instances = world.instances("/web");
    assert!(instances.iter().all(|instance| !instance.is_leaving));
    assert_eq!(world.tasks.len(), 3);
    assert!(world.demand.is_empty());
    assert!(
        before
            .iter()
            .filter(|task| world.tasks.contains_key(*task))
            .count()
            >= 2
    );
}

#[test]
fn a_restart_in_the_middle_changes_nothing() {
    let mut world = serving(checked("/web", 3));
    world.drain(1);
    world.pass_s(1);
    world.offer();
    let four = world.task_ids();
    assert_eq!(four.len(), 4);

    world.restart();
    world.subscribe();
    let asked = world.ask_to_leave(1);

    assert_eq!(world.task_ids(), four);
    assert!(world.kills.is_empty(), "none of the four is too many");
    world.calm();
    assert_eq!(world.accepted, [asked]);
    assert_eq!(world.tasks.len(), 3);
    assert!(on(&world, 1).is_empty());
}

#[test]
fn another_question_about_the_same_agent_is_the_one_that_is_answered() {
    let mut world = serving(app("/web", 3));
    let first = world.drain(1);
    world.step(Input::RescindInverse(first));
    assert!(world.kills.is_empty());
    let second = world.ask_to_leave(1);

    world.calm();

    assert_eq!(world.accepted, [second]);
}

#[test]
fn where_none_of_ours_is_the_answer_is_yes_at_once() {
    let mut world = World::new(1);

    let asked = world.drain(1);

    assert_eq!(world.accepted, [asked]);
}

#[test]
fn nobody_moves_because_a_machine_is_planned_to_be_away() {
    let mut world = serving(app("/web", 3));
    let planned = InverseOffer {
        is_draining: false,
        ..question(9, 1)
    };

    let effects = world.step(Input::InverseOffers(vec![planned]));

    assert!(effects.store.is_empty() && effects.act.is_empty());
}

#[test]
fn a_deployment_does_not_wait_for_those_that_find_no_room() {
    let mut world = World::new(1);
    world.create(app("/web", 3));
    world.calm();
    world.drain(1);

    world.scale("/web", 2);
    world.calm();

    assert!(world.view().deployments.is_empty());
    assert_eq!(world.tasks.len(), 2);
    assert_eq!(world.demand[0].count, 2);
}

#[test]
fn what_is_replaced_by_another_version_is_not_moved_as_well() {
    let mut world = serving(app("/web", 3));
    let mut next = app("/web", 3);
    next.cmd = Some("serve better".to_owned());
    world.drain(1);

    world.put(next);
    world.calm();

    assert!(world.view().deployments.is_empty());
    assert_eq!(world.tasks.len(), 3);
    assert!(on(&world, 1).is_empty());
}
