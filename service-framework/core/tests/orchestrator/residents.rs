//! Apps whose instances have volumes of their own: reserved with the first launch, used again by each task after it, given
//! back when the instance goes for good.

use std::collections::BTreeSet;
use std::slice;

use mete_model::{OperationId, Reason, Role, TaskId, TaskState, UpdateId};
use mete_service_framework_core::orchestrator::Settings;
use mete_service_framework_core::spec::app::{
    AppSpec, Container, ContainerKind, PersistentVolume, Residency, UnreachableStrategy,
};
use mete_service_framework_core::state::instances::{InstanceState, RESERVATION_TIMEOUT};
use mete_service_framework_core::state::launch_queue::Reject;
use mete_service_framework_core::state::releases::RELEASE_CONFIRM;
use mete_service_framework_core::{Action, Done, Input, Kept, Record, Reply, Wanted};
use proptest::prelude::*;

use crate::kit::{World, agent, id, instance_of};

const MIB: u64 = 1 << 20;

/// A framework in a role of its own, and agents.
fn world(agents: u8) -> World {
    let settings = Settings {
        role: "dev".to_owned(),
        ..Settings::default()
    };
    let mut world = World::alone(settings);
    for number in 1..=agents {
        world.add_agent(number);
    }
    world.subscribe();
    world
}

/// An app with a volume of 100 MiB for each instance, and half a CPU.
fn resident(name: &str, instances: u32) -> AppSpec {
    let mut spec = crate::kit::app(name, instances);
    spec.cpus_milli = 500;
    spec.container = Some(Container {
        kind: ContainerKind::Mesos,
        image: None,
        force_pull: false,
        privileged: false,
        pull_secret: None,
        volumes: Vec::new(),
        secrets: Vec::new(),
        persistent: vec![PersistentVolume {
            container_path: "data".to_owned(),
            size_bytes: 100 * MIB,
        }],
    });
    spec.residency = Some(Residency::default());
    spec.upgrade_strategy.minimum_health_capacity = 0.5;
    spec.upgrade_strategy.maximum_over_capacity = 0.0;
    spec.unreachable_strategy = UnreachableStrategy::Disabled;
    spec
}

/// All run.
fn running(agents: u8, instances: u32) -> World {
    let mut world = world(agents);
    let reply = world.create(resident("/db", instances));
    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
    world.calm();
    assert_eq!(world.tasks.len(), instances as usize);
    world
}

/// The volumes of an agent, by name.
fn volumes(world: &World, number: u8) -> Vec<String> {
    let all = world.total(number).volumes();
    all.map(|(name, ..)| name.to_string()).collect()
}

fn is_as_it_was(world: &World, number: u8) -> bool {
    !world.total(number).has_parts()
}

/// What a task holds.
fn volume_of(world: &World, task: &TaskId) -> String {
    let all = world.tasks[task].spec.resources.volumes();
    all.map(|(name, ..)| name.to_string()).collect()
}

fn kill(world: &mut World, task: &TaskId, wipe: bool) -> Reply {
    kill_all(world, slice::from_ref(task), false, wipe)
}

fn kill_all(world: &mut World, tasks: &[TaskId], scale: bool, wipe: bool) -> Reply {
    let input = Input::KillInstances {
        instances: tasks.iter().map(instance_of).collect(),
        scale,
        force: false,
        wipe,
    };
    world.step(input).reply.expect("it is answered")
}

/// The volumes of all tasks.
fn volumes_in_use(world: &World) -> BTreeSet<String> {
    world
        .tasks
        .keys()
        .map(|task| volume_of(world, task))
        .collect()
}

#[test]
fn the_first_launch_reserves_makes_volumes_and_starts_with_one_offer() {
    let mut world = world(1);
    world.create(resident("/db", 1));

    let effects = world.offer();

    let is_accept = |action: &&Action| matches!(action, Action::Accept { .. });
    let Some(Action::Accept {
        release,
        reserve,
        launches,
        ..
    }) = effects.act.iter().find(is_accept)
    else {
        panic!("the offer is taken")
    };
    assert_eq!(*release, []);
    let [Kept { reserved, volumes }] = &reserve[..] else {
        panic!("{reserve:?}")
    };
    let instance = &world.instances("/db")[0];
    let (tag, part) = reserved.parts().next().expect("one");
    assert_eq!(tag.role(), Some(&Role::new("dev").expect("good")));
    let labels = [
        ("marathon_framework_id", "f-0001"),
        ("marathon_task_id", instance.id.as_str()),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    assert_eq!(tag.reservations[0].labels, labels);
    assert_eq!(
        (part.cpus_milli, part.disk_milli, part.ports.count()),
        (500, 100_000, 1)
    );
    let (name, tag, bytes) = volumes.volumes().next().expect("one");
    assert!(name.id().starts_with("db#data#"), "{name}");
    let volume = tag.volume.as_ref().expect("it is one");
    assert_eq!((volume.container_path.as_str(), bytes), ("data", 100 * MIB));
    // The task holds all of it: on the disk of the volume is nothing but the volume.
    let task = &launches[0].task;
    assert_eq!(*task.resources.flat(), *reserved.flat());
    assert_eq!(task.resources.volumes().count(), 1);
    assert_eq!(task.id, instance.task());
}

#[test]
fn the_next_task_has_the_volume_of_the_last_one() {
    let mut world = running(3, 2);
    let tasks = world.task_ids();
    let (volume, on) = (
        volume_of(&world, &tasks[0]),
        world.tasks[&tasks[0]].agent.clone(),
    );

    world.report(&tasks[0], TaskState::Failed, None);
    let states = world.states("/db");
    assert!(states.contains(&InstanceState::Reserved { is_wanted: true }));
    assert_eq!(world.app("/db").counts().staged, 0);
    world.calm();

    let next = instance_of(&tasks[0]).nth_task(2);
    assert_eq!(volume_of(&world, &next), volume);
    assert_eq!(world.tasks[&next].agent, on);
    assert_eq!(world.instances("/db").len(), 2);
    let keys = world.stored_keys();
    assert!(keys.iter().all(|key| !key.starts_with("release/")));
}

#[test]
fn who_is_killed_comes_back_to_its_volume_and_no_other_comes_meanwhile() {
    let mut world = running(3, 1);
    let task = world.task_ids().remove(0);
    let volume = volume_of(&world, &task);

    let input = Input::KillInstances {
        instances: vec![instance_of(&task)],
        scale: false,
        force: false,
        wipe: false,
    };
    let effects = world.step(input);

    let [killed] = &world.instances("/db")[..] else {
        panic!("{:?}", world.instances("/db"))
    };
    assert!(killed.is_condemned(), "{:?}", killed.state);
    assert_eq!(effects.store, [Record::Instance(killed.clone())]);
    assert_eq!(effects.act, [], "it drains first, and nothing is asked for");
    assert!(world.view().queue.is_empty(), "nothing waits");
    world.acknowledge_all();
    world.offer();
    assert_eq!(world.task_ids(), slice::from_ref(&task));

    world.end_killed();
    world.calm();

    let next = instance_of(&task).nth_task(2);
    assert_eq!(world.task_ids(), slice::from_ref(&next));
    assert_eq!(volume_of(&world, &next), volume);
    assert_eq!(world.instances("/db").len(), 1);
}

#[test]
fn all_that_are_killed_come_back_to_their_volumes() {
    let mut world = running(3, 3);
    let (tasks, before) = (world.task_ids(), volumes_in_use(&world));

    kill_all(&mut world, &tasks, false, false);
    world.calm();

    let next: Vec<TaskId> = tasks
        .iter()
        .map(|task| instance_of(task).nth_task(2))
        .collect();
    assert_eq!(world.task_ids(), next);
    assert_eq!(volumes_in_use(&world), before);
}

#[test]
fn who_is_killed_comes_back_before_one_that_was_too_much() {
    for (wanted, scale) in [(1, false), (2, true)] {
        let mut world = running(3, 3);
        let all = world.task_ids();
        match scale {
            true => drop(kill_all(&mut world, &all[2..], true, false)),
            false => drop(world.scale("/db", wanted)),
        }
        world.calm();
        let tasks = world.task_ids();
        assert_eq!(tasks.len(), wanted as usize);
        let before = volumes_in_use(&world);

        kill_all(&mut world, &tasks, false, false);
        world.calm();
        assert_eq!(volumes_in_use(&world), before);

        // So it is whoever ends first.
        for task in world.task_ids() {
            world.report(&task, TaskState::Failed, None);
        }
        world.pass_s(60);
        world.calm();
        assert_eq!(volumes_in_use(&world), before);
    }
}

#[test]
fn who_is_killed_while_fewer_are_wanted_comes_back_and_not_the_one_that_was_too_much() {
    for order in [[0, 1], [1, 0]] {
        let mut world = running(3, 2);
        let tasks = world.task_ids();
        kill_all(&mut world, &tasks[..1], true, false);
        kill_all(&mut world, &tasks[1..], false, false);
        assert_eq!(
            world
                .app("/db")
                .wanted
                .as_ref()
                .map(|one| one.spec.instances),
            Some(1)
        );
        let volume = volume_of(&world, &tasks[1]);

        for at in order {
            world.report(&tasks[at], TaskState::Killed, None);
            world.offer();
        }
        world.calm();

        assert_eq!(world.task_ids(), [instance_of(&tasks[1]).nth_task(2)]);
        assert_eq!(volumes_in_use(&world), BTreeSet::from([volume]));
        assert_eq!(world.instances("/db").len(), 2);
    }
}

#[test]
fn who_is_on_its_way_out_is_waited_for_when_more_are_wanted_again() {
    let mut world = running(3, 2);
    let before = volumes_in_use(&world);
    world.scale("/db", 1);
    world.ask(
        Wanted::Scale {
            app: id("/db"),
            instances: 2,
        },
        true,
    );
    world.offer();
    assert_eq!(world.instances("/db").len(), 2);

    world.calm();

    assert_eq!(volumes_in_use(&world), before);
    assert_eq!(world.instances("/db").len(), 2);
}

#[test]
fn a_restart_brings_back_those_that_ran_and_not_those_kept() {
    let mut world = running(3, 3);
    world.scale("/db", 1);
    world.calm();
    let (task, before) = (world.task_ids().remove(0), volumes_in_use(&world));

    world.ask(Wanted::Restart(id("/db")), false);
    world.calm();

    assert!(world.view().deployments.is_empty());
    assert_eq!(world.task_ids(), [instance_of(&task).nth_task(2)]);
    assert_eq!(volumes_in_use(&world), before);
}

#[test]
fn what_is_demanded_for_it_is_all_it_needs() {
    let mut world = running(3, 1);
    let task = world.task_ids().remove(0);
    world.report(&task, TaskState::Finished, None);
    world.pass_s(2);

    let [shape] = &world.demand[..] else {
        panic!("{:?}", world.demand)
    };
    assert!(shape.resources.has_parts());
    world.offer_as_demanded();

    assert_eq!(world.task_ids(), [instance_of(&task).nth_task(2)]);
}

#[test]
fn an_offer_without_it_is_told_in_the_queue() {
    let mut world = running(2, 1);
    let task = world.task_ids().remove(0);
    let on = world.tasks[&task].agent.clone();
    world.report(&task, TaskState::Finished, None);
    world.pass_s(2);
    let others = world.free();
    let others = others.into_iter().filter(|offer| offer.agent != on);

    world.step(Input::Offers(others.collect()));

    let queue = world.view().queue;
    let offers = &queue[&id("/db")].offers;
    let at = Reject::ALL
        .iter()
        .position(|reason| *reason == Reject::NoCorrespondingReservationFound);
    assert_eq!(offers.last_offers[at.expect("known")], 1);
    assert!(world.tasks.is_empty());
}

#[test]
fn it_outlives_a_restart_wherever_that_happens() {
    let mut world = running(2, 1);
    let task = world.task_ids().remove(0);
    let volume = volume_of(&world, &task);
    world.restart();
    world.subscribe();
    world.report(&task, TaskState::Failed, None);

    world.restart();
    world.subscribe();
    world.calm();

    let next = instance_of(&task).nth_task(2);
    assert_eq!(volume_of(&world, &next), volume);
    world.restart();
    world.subscribe();
    world.report(&next, TaskState::Failed, None);
    world.pass_s(2);
    world.calm();
    assert_eq!(world.task_ids(), [instance_of(&task).nth_task(3)]);
}

#[test]
fn whoever_is_too_much_keeps_its_volume_for_when_more_are_wanted() {
    let mut world = running(3, 2);
    let before: BTreeSet<String> = (1..=3).flat_map(|on| volumes(&world, on)).collect();

    world.scale("/db", 1);
    world.calm();

    assert_eq!(world.tasks.len(), 1);
    assert!(world.view().deployments.is_empty() && world.view().queue.is_empty());
    assert!(!world.wants_offers, "nothing is to be done");
    let instances = world.instances("/db");
    let mut kept = instances.iter().filter(|instance| instance.is_reserved());
    let kept = kept.next().expect("one is kept");
    assert_eq!(kept.state, InstanceState::Reserved { is_wanted: false });
    assert_eq!(kept.task_state(), "TASK_KILLED", "no task is waited for");

    world.scale("/db", 2);
    world.calm();

    assert_eq!(world.tasks.len(), 2);
    let after: BTreeSet<String> = (1..=3).flat_map(|on| volumes(&world, on)).collect();
    assert_eq!(before, after);
}

#[test]
fn a_new_version_runs_on_the_volumes_of_the_old_one() {
    let mut world = running(3, 3);
    let before: BTreeSet<String> = (1..=3).flat_map(|on| volumes(&world, on)).collect();
    let mut spec = resident("/db", 3);
    spec.cmd = Some("serve better".to_owned());
    spec.upgrade_strategy.minimum_health_capacity = 1.0;

    world.put(spec);
    world.calm();

    assert!(world.view().deployments.is_empty());
    assert_eq!(world.tasks.len(), 3);
    let second = |task: &TaskId| task.as_str().ends_with("._app.2");
    assert!(world.tasks.keys().all(second), "{:?}", world.task_ids());
    let after: BTreeSet<String> = (1..=3).flat_map(|on| volumes(&world, on)).collect();
    assert_eq!(before, after);
}

#[test]
fn a_wiped_instance_gives_back_what_it_held_and_another_comes() {
    let mut world = running(1, 1);
    let (task, before) = (world.task_ids().remove(0), volumes(&world, 1));

    assert!(matches!(kill(&mut world, &task, true), Reply::Killed(_)));
    world.end_killed();
    world.calm();

    assert_eq!(world.tasks.len(), 1);
    assert_ne!(instance_of(&world.task_ids()[0]), instance_of(&task));
    let after = volumes(&world, 1);
    assert_eq!(after.len(), 1);
    assert_ne!(before, after);
}

#[test]
fn a_removed_app_leaves_nothing_behind() {
    let mut world = running(2, 2);
    world.scale("/db", 1);
    world.calm();

    world.ask(Wanted::Remove(id("/db")), false);
    world.acknowledge_all();
    world.end_killed();
    world.restart();
    world.subscribe();
    world.offer_as_demanded();

    assert!(is_as_it_was(&world, 1) && is_as_it_was(&world, 2));
    assert!(world.view().apps.is_empty());
    let keys = world.stored_keys();
    assert!(keys.iter().any(|key| key.starts_with("release/")));
    world.pass(RELEASE_CONFIRM);
    let keys = world.stored_keys();
    assert!(
        keys.iter().all(|key| !key.starts_with("release/")),
        "{keys:?}"
    );
    assert!(!world.wants_offers, "it is over");
}

#[test]
fn what_the_master_has_given_back_is_forgotten_at_once() {
    let mut world = running(1, 1);
    let task = world.task_ids().remove(0);
    world.ask(Wanted::Remove(id("/db")), false);
    world.acknowledge_all();
    world.end_killed();
    world.offer_as_demanded();
    assert!(world.wants_offers, "nobody has said yet that it is done");
    let instance = instance_of(&task);
    let done = Done {
        operation: OperationId::new(instance.to_string()).unwrap(),
        agent: agent(1),
        uuid: UpdateId([7; 16]),
    };

    let effects = world.step(Input::Operated(done.clone()));
    let again = world.step(Input::Operated(done.clone()));

    assert_eq!(effects.store, [Record::ReleaseRemoved(instance)]);
    let acknowledged = Action::AcknowledgeOperation(done);
    assert!(effects.act.contains(&acknowledged), "{:?}", effects.act);
    assert_eq!((again.store, again.act), (vec![], vec![acknowledged]));
    assert!(!world.wants_offers, "it is over");
}

#[test]
fn what_an_agent_that_is_away_keeps_is_given_back_whenever_it_returns() {
    let mut world = running(1, 1);
    let total = world.total(1).clone();
    let task = world.task_ids().remove(0);
    world.report(&task, TaskState::Finished, None);
    world.remove_agent(1);
    world.ask(Wanted::Remove(id("/db")), false);

    world.pass_s(100_000);
    world.restart();
    world.subscribe();
    world.pass_s(100_000);
    world.put_back(1, total);
    world.offer_as_demanded();

    assert!(is_as_it_was(&world, 1));
}

#[test]
fn an_accept_that_was_turned_down_has_reserved_nothing() {
    let mut world = world(1);
    world.create(resident("/db", 1));
    let task = world.lose_accepts().remove(0);

    world.not_launched(&task, TaskState::Dropped, Some(Reason::InvalidOffers));
    world.calm();

    assert_eq!(world.tasks.len(), 1);
    assert_ne!(world.task_ids(), [task]);
    let keys = world.stored_keys();
    assert!(keys.iter().all(|key| !key.starts_with("release/")));
}

#[test]
fn what_was_never_seen_is_looked_for_and_then_made_anew() {
    let mut world = world(1);
    world.create(resident("/db", 1));
    let task = world.lose_accepts().remove(0);
    world.not_launched(&task, TaskState::Unknown, None);
    assert_eq!(
        world.states("/db"),
        [InstanceState::Reserved { is_wanted: true }]
    );
    world.offer();
    assert!(world.tasks.is_empty(), "it may be there still");

    world.pass(RESERVATION_TIMEOUT);
    world.calm();

    assert_eq!(world.tasks.len(), 1);
    assert_ne!(instance_of(&world.task_ids()[0]), instance_of(&task));
}

#[test]
fn who_is_too_much_and_was_never_seen_to_hold_anything_is_forgotten() {
    let mut world = world(1);
    world.create(resident("/db", 1));
    let task = world.lose_accepts().remove(0);
    let none = Wanted::Scale {
        app: id("/db"),
        instances: 0,
    };
    world.ask(none, true);

    world.not_launched(&task, TaskState::Unknown, None);
    world.pass(RESERVATION_TIMEOUT);

    assert_eq!(world.states("/db"), []);
    world.offer();
    world.pass(RELEASE_CONFIRM * 2);
    let keys = world.stored_keys();
    assert!(keys.iter().all(|key| !key.starts_with("release/")));
}

#[test]
fn what_bears_our_label_and_is_nobodys_is_destroyed() {
    let mut world = running(1, 1);
    let total = world.total(1).clone();
    let task = world.task_ids().remove(0);
    kill(&mut world, &task, true);
    world.acknowledge_all();
    world.end_killed();
    world.ask(Wanted::Remove(id("/db")), false);
    world.offer();
    world.pass(RELEASE_CONFIRM * 2);
    assert!(is_as_it_was(&world, 1));
    // A store that was put back knows nothing of it any more.
    world.put_back(1, total);

    let offers = world.free();
    world.step(Input::Offers(offers));

    assert!(is_as_it_was(&world, 1));
}

#[test]
fn what_was_made_after_the_copy_that_was_put_back_is_found_and_given_back() {
    let mut world = running(2, 1);
    let kept = instance_of(&world.task_ids()[0]);
    let copy = world.store().clone();
    world.scale("/db", 3);
    world.calm();
    assert_eq!(world.tasks.len(), 3);

    world.restore(copy);
    let unknown = |task: &TaskId| instance_of(task) != kept;
    for task in world.task_ids().into_iter().filter(unknown) {
        world.report(&task, TaskState::Running, None);
    }
    world.end_killed();
    let reserved = || [1, 2].map(|number| (agent(number), world.total(number).clone()));
    let told = Input::Reserved(reserved().into());
    world.step(told.clone());
    let again = world.step(told);
    world.pass_s(1);
    world.offer_as_demanded();

    assert_eq!(again.store, [], "it is remembered once");
    let left: Vec<String> = [1, 2].iter().flat_map(|at| volumes(&world, *at)).collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(world.instances("/db").len(), 1);
    assert!(world.tasks.keys().all(|task| instance_of(task) == kept));
}

#[test]
fn a_role_in_which_nobody_is_any_more_is_taken_to_give_back_what_is_found() {
    let world = running(1, 1);
    let reserved = vec![(agent(1), world.total(1).clone())];
    let framework = world.view().framework.expect("it has subscribed");
    let mut other = World::new(1);
    other.step(Input::Subscribed {
        framework,
        master: String::new(),
        region: None,
    });

    other.step(Input::Reserved(reserved));

    let dev = Role::new("dev").expect("a role");
    assert!(other.roles.contains(&dev), "{:?}", other.roles);
    let [shape] = &other.demand[..] else {
        panic!("{:?}", other.demand)
    };
    assert_eq!(shape.role, Some(dev));
}

#[test]
fn an_agent_that_is_not_heard_of_keeps_its_instance() {
    let mut world = running(2, 2);
    let task = world.task_ids().remove(0);
    world.lose(&task);
    world.pass_s(100_000);
    assert_eq!(world.instances("/db").len(), 2);

    world.scale("/db", 1);
    world.pass_s(60);
    world.find(&task);
    world.end_killed();
    world.calm();

    assert_eq!(world.instances("/db").len(), 2, "it keeps its volume");
    assert_eq!(world.tasks.len(), 1);
}

#[test]
fn volumes_do_not_change() {
    let mut world = running(1, 1);
    let mut spec = resident("/db", 1);
    spec.container.as_mut().expect("there").persistent[0].size_bytes = MIB;
    spec.mem_bytes = MIB;

    let Reply::Invalid(violations) = world.put(spec) else {
        panic!("refused")
    };

    let paths: Vec<_> = violations.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(paths, ["/", "/mem"]);
}

#[test]
fn a_draining_agent_is_left_when_the_task_has_ended() {
    let mut world = running(2, 1);
    let task = world.task_ids().remove(0);
    let on = [1, 2]
        .into_iter()
        .find(|on| agent(*on) == world.tasks[&task].agent);
    let total = world.total(on.expect("one of them")).clone();

    let question = world.drain(on.expect("one of them"));
    world.calm();
    assert!(
        world.tasks.contains_key(&task),
        "no other may have its volume"
    );
    world.report(&task, TaskState::Killed, None);

    assert_eq!(world.accepted, [question]);
    world.put_back(on.expect("one of them"), total);
    world.calm();
    assert_eq!(world.task_ids(), [instance_of(&task).nth_task(2)]);
}

#[test]
fn an_app_of_the_same_name_does_not_get_what_another_held() {
    let mut world = running(1, 2);
    world.scale("/db", 1);
    world.calm();
    world.ask(Wanted::Remove(id("/db")), false);
    let mut other = resident("/db", 2);
    other.cpus_milli = 100;

    let reply = world.ask(Wanted::Create(Box::new(other)), true);
    world.calm();

    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
    assert_eq!(world.tasks.len(), 2);
    let mut all = world.tasks.values();
    assert!(all.all(|task| task.spec.resources.flat().cpus_milli == 100));
    world.pass(RELEASE_CONFIRM);
    assert_eq!(volumes(&world, 1).len(), 2);
}

#[test]
fn an_agent_that_is_gone_for_good_keeps_nothing() {
    let mut world = running(2, 1);
    let task = world.task_ids().remove(0);
    let gone = [1, 2]
        .into_iter()
        .find(|on| agent(*on) == world.tasks[&task].agent);
    world.remove_agent(gone.expect("one of them"));

    world.report(&task, TaskState::GoneByOperator, None);
    world.calm();

    assert_eq!(world.tasks.len(), 1);
    assert_ne!(instance_of(&world.task_ids()[0]), instance_of(&task));
    let keys = world.stored_keys();
    assert!(keys.iter().all(|key| !key.starts_with("release/")));
}

#[test]
fn what_is_kept_on_an_agent_that_is_gone_for_good_is_let_go_and_replaced() {
    let mut world = running(2, 1);
    let task = world.task_ids().remove(0);
    let agents = [1, 2].into_iter();
    let gone = agents
        .clone()
        .find(|on| agent(*on) == world.tasks[&task].agent);
    let gone = gone.expect("one of them");
    // Its task ends while its agent is away.
    world.remove_agent(gone);
    world.report(&task, TaskState::Failed, None);
    world.calm();
    assert!(world.tasks.is_empty(), "it is waited for");

    let asked = Action::Reconcile {
        tasks: vec![(task.clone(), Some(agent(gone)))],
    };
    let effects = world.step(Input::AgentLost(agent(gone)));
    assert_eq!(effects.act, [asked]);
    for away in [TaskState::Unreachable, TaskState::Gone, TaskState::Unknown] {
        world.report(&task, away, None);
        world.calm();
        assert!(world.tasks.is_empty(), "{away:?}: it may be there again");
        assert_eq!(world.instances("/db").len(), 1);
    }
    world.report(&task, TaskState::GoneByOperator, None);
    world.calm();

    let [now] = &world.task_ids()[..] else {
        panic!("{:?}", world.task_ids())
    };
    assert_ne!(instance_of(now), instance_of(&task));
    assert_eq!(world.instances("/db").len(), 1);
    let keys = world.stored_keys();
    assert!(keys.iter().all(|key| !key.starts_with("release/")));
}

#[test]
fn a_new_link_asks_about_what_is_kept_without_a_task() {
    let mut world = running(1, 1);
    let task = world.task_ids().remove(0);
    world.scale("/db", 0);
    world.calm();
    assert!(world.tasks.is_empty());

    let effects = world.subscribe();

    let last = (task, Some(agent(1)));
    let asks =
        |action: &Action| matches!(action, Action::Reconcile { tasks } if tasks.contains(&last));
    assert!(effects.act.iter().any(asks), "{:?}", effects.act);
}

// ---- whatever happens

#[derive(Clone, Debug)]
enum Event {
    Put {
        command: u8,
        instances: u32,
    },
    Remove,
    Kill {
        task: usize,
        scale: bool,
        wipe: bool,
    },
    End {
        task: usize,
        failed: bool,
    },
    Lose {
        task: usize,
    },
    Find {
        task: usize,
    },
    LoseAccepts,
    Offer {
        aimed: bool,
    },
    Run,
    EndKilled,
    Pass {
        seconds: u64,
    },
    Restart,
    Reconnect,
}

fn event() -> impl Strategy<Value = Event> {
    let task = || 0..10_usize;
    prop_oneof![
        2 => (0..3_u8, 0..4_u32).prop_map(|(command, instances)| Event::Put { command, instances }),
        1 => Just(Event::Remove),
        2 => (task(), any::<bool>(), any::<bool>()).prop_map(|(task, scale, wipe)| Event::Kill { task, scale, wipe }),
        3 => (task(), any::<bool>()).prop_map(|(task, failed)| Event::End { task, failed }),
        1 => task().prop_map(|task| Event::Lose { task }),
        2 => task().prop_map(|task| Event::Find { task }),
        1 => Just(Event::LoseAccepts),
        8 => any::<bool>().prop_map(|aimed| Event::Offer { aimed }),
        6 => Just(Event::Run),
        4 => Just(Event::EndKilled),
        3 => (1..700_u64).prop_map(|seconds| Event::Pass { seconds }),
        1 => Just(Event::Restart),
        1 => Just(Event::Reconnect),
    ]
}

fn nth<'a>(mut tasks: impl ExactSizeIterator<Item = &'a TaskId>, at: usize) -> Option<TaskId> {
    let count = tasks.len().max(1);
    tasks.nth(at % count).cloned()
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Put { command, instances } => {
            let mut spec = resident("/db", *instances);
            spec.cmd = Some(format!("serve {command}"));
            world.ask(
                Wanted::Put {
                    apps: vec![spec],
                    create: true,
                    merged_with: Default::default(),
                },
                true,
            );
        }
        Event::Remove => drop(world.ask(Wanted::Remove(id("/db")), true)),
        Event::Kill { task, scale, wipe } => {
            if let Some(task) = nth(world.tasks.keys(), *task) {
                kill_all(world, slice::from_ref(&task), *scale, *wipe);
            }
        }
        Event::End { task, failed } => {
            if let Some(task) = nth(world.tasks.keys(), *task) {
                let state = match failed {
                    true => TaskState::Failed,
                    false => TaskState::Finished,
                };
                world.report(&task, state, None);
            }
        }
        Event::Lose { task } => {
            if let Some(task) = nth(world.tasks.keys(), *task) {
                world.lose(&task);
            }
        }
        Event::Find { task } => {
            if let Some(task) = nth(world.away.keys(), *task) {
                world.find(&task);
            }
        }
        Event::LoseAccepts => {
            for task in world.lose_accepts() {
                world.not_launched(&task, TaskState::Unknown, None);
            }
        }
        Event::Offer { aimed: true } => drop(world.offer_as_demanded()),
        Event::Offer { aimed: false } => drop(world.offer()),
        Event::Run => world.run_all(),
        Event::EndKilled => world.end_killed(),
        // Whoever waits for long is made offers.
        Event::Pass { seconds } => {
            for _ in 0..*seconds / 100 {
                world.pass_s(100);
                world.offer_as_demanded();
            }
            world.pass_s(seconds % 100);
        }
        Event::Restart => {
            world.restart();
            world.subscribe();
        }
        Event::Reconnect => drop(world.subscribe()),
    }
}

/// Everything kept on agents is an instance's, or is to be given back; and nothing is held twice.
fn everything_has_an_owner(world: &World) {
    let instances = world.instances("/db");
    let holders = instances.iter().filter(|one| one.holding.is_some());
    let mut owners: BTreeSet<String> = holders.map(|one| one.id.to_string()).collect();
    let keys = world.stored_keys();
    let released = keys.iter().filter_map(|key| key.strip_prefix("release/"));
    for release in released {
        assert!(
            owners.insert(release.to_owned()),
            "{release} is held and given back"
        );
    }
    for number in 1..=AGENTS {
        for (tag, _) in world.total(number).parts() {
            let owner = tag.reservations[0].labels[1]
                .1
                .clone()
                .expect("it has a value");
            assert!(owners.contains(&owner), "{owner} is kept for nobody");
        }
    }
    let mut held = BTreeSet::new();
    for task in world.tasks.values().chain(world.away.values()) {
        for (name, ..) in task.spec.resources.volumes() {
            assert!(held.insert(name.to_string()), "{name} has two tasks");
        }
    }
}

const AGENTS: u8 = 2;

/// Everything that is waited for comes or is given up: launches and kills of which nothing is heard, then what one of them
/// was to hold and nobody has seen.
fn at_last(world: &mut World) {
    for seconds in [700, 100] {
        happen(world, &Event::Pass { seconds });
        world.calm();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_volume_has_one_instance_and_whoever_goes_leaves_nothing(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = world(AGENTS);
        for event in &events {
            happen(&mut world, event);
            everything_has_an_owner(&world);
        }
        let away: Vec<TaskId> = world.away.keys().cloned().collect();
        for task in away {
            world.find(&task);
        }
        at_last(&mut world);
        let wanted = world.view().apps.get(&id("/db")).and_then(|app| app.wanted.clone());
        let wanted = wanted.map_or(0, |version| version.spec.instances as usize);
        prop_assert_eq!(world.tasks.len(), wanted);
        everything_has_an_owner(&world);

        world.ask(Wanted::Remove(id("/db")), true);
        world.calm();
        world.pass(RELEASE_CONFIRM * 2);

        prop_assert!(is_as_it_was(&world, 1) && is_as_it_was(&world, 2));
        let left = world.stored_keys();
        prop_assert!(left.iter().all(|key| !key.starts_with("release/") && !key.starts_with("instance/")), "{:?}", left);
    }
}

#[test]
fn one_whose_accept_was_lost_gives_its_place_to_another_in_the_end() {
    let mut world = world(AGENTS);
    let put = |command, instances| Event::Put { command, instances };
    for event in [
        put(0, 1),
        Event::Offer { aimed: false },
        Event::Remove,
        put(1, 3),
        Event::EndKilled,
        Event::Pass { seconds: 1 },
        Event::Offer { aimed: false },
        Event::Kill {
            task: 0,
            scale: false,
            wipe: true,
        },
        Event::LoseAccepts,
        put(0, 3),
    ] {
        happen(&mut world, &event);
        everything_has_an_owner(&world);
    }

    at_last(&mut world);

    assert_eq!(world.tasks.len(), 3);
}
