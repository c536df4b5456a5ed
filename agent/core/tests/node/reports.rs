use std::sync::Arc;

use mete_agent_core::{Action, Input, LaunchOutcome, MAX_GIVEN_REPORTS, Order, Record};
use mete_model::{FrameworkId, Machine, TaskId, TaskState};

use crate::fixture::*;

#[test]
fn a_report_is_repeated_after_ten_seconds_doubling_to_ten_minutes() {
    let mut world = World::registered();
    let first = report(&world.run(NOON, spec("web"))).status;
    let mut now = NOON;
    let mut waits = Vec::new();

    while waits.len() < 9 {
        let due = world.node.next_deadline().expect("something is due");
        let actions = world.step(due, Input::Deadline);
        if let [again] = &reports(&actions)[..] {
            assert_eq!(again.status, first, "the very same report");
            waits.push(due.since(now).as_secs());
            now = due;
        }
    }

    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600, 600]);
}

#[test]
fn a_framework_that_is_back_hears_at_once_what_it_has_not_acknowledged() {
    let mut world = World::registered();
    let first = report(&world.run(NOON, spec("web"))).status;
    world.step(at(10.0), Input::Deadline);

    let back = world.order(at(11.0), Order::ResendUpdates(framework().id.expect("set")));

    assert_eq!(report(&back).status, first);
    let again = world.step(at(21.0), Input::Deadline);
    assert_eq!(report(&again).status, first, "the waits begin anew");
    let other = FrameworkId::new("other").expect("good");
    let nothing = world.order(at(22.0), Order::ResendUpdates(other));
    assert_eq!(reports(&nothing), []);
}

#[test]
fn what_a_framework_says_of_itself_now_is_kept_while_it_has_something_here() {
    let mut world = World::running(spec("web"));
    let mut info = framework();
    info.failover_timeout = seconds(604_800);
    let mut stranger = info.clone();
    stranger.id = Some(FrameworkId::new("other").expect("good"));

    world.order(at(1.0), Order::UpdateFramework(Box::new(info.clone())));
    world.order(at(1.0), Order::UpdateFramework(Box::new(stranger)));

    let kept: Vec<_> = world.node.view().frameworks.into_values().collect();
    assert_eq!(kept, [Arc::new(info)]);
}

#[test]
fn a_report_names_the_state_that_waits_behind_it() {
    let mut world = World::registered();
    world.run(NOON, spec("web"));
    world.launched(NOON, &key("web"), LaunchOutcome::Started);
    world.exited(at(1.0), &key("web"), exit(0));

    let again = world.step(at(10.0), Input::Deadline);

    let report = report(&again);
    assert_eq!(report.status.state, TaskState::Starting);
    assert_eq!(report.latest, Some(TaskState::Finished));
}

#[test]
fn nothing_is_repeated_while_there_is_no_master_and_everything_comes_with_the_registration() {
    let mut world = World::registered();
    world.run(NOON, spec("web"));
    let then = world.reconnect(at(1.0));
    let silence = world.step(at(11.0), Input::Deadline);
    assert_eq!(reports(&silence), []);

    let (registration, actions) = world.admit(then, 1);

    assert_eq!(registration.unacknowledged.len(), 1);
    assert_eq!(reports(&actions), [], "it is not said twice");
    let again = world.step(then + seconds(10), Input::Deadline);
    assert_eq!(report(&again).status.state, TaskState::Starting);
}

#[test]
fn what_happens_while_the_master_thinks_is_said_once_it_has_answered() {
    let mut world = World::running(spec("web"));
    let now = world.reconnect(at(1.0));
    let link = world.link;
    world.step(now, Input::Connected { link });

    let silence = world.exited(now, &key("web"), exit(0));
    let admitted = mete_agent_core::Order::Registered {
        epoch: 1,
        agent: agent(),
    };
    let actions = world.order(now, admitted);

    assert_eq!(reports(&silence), []);
    assert_eq!(report(&actions).status.state, TaskState::Finished);
}

#[test]
fn an_ended_task_is_forgotten_when_its_end_is_acknowledged() {
    let mut world = World::running(spec("web"));
    let ended = report(&world.exited(at(5.0), &key("web"), exit(0))).status;
    assert_eq!(world.state(&key("web")), Some(TaskState::Finished));

    world.acknowledge(at(6.0), &key("web"), ended.uuid.expect("set"));

    assert_eq!(world.state(&key("web")), None);
    assert!(world.last.store.contains(&Record::Forgotten(key("web"))));
    let kept: Vec<_> = world
        .disk
        .keys()
        .map(|key| String::from_utf8_lossy(key).into_owned())
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept[0] == "agent/identity" && kept[1].starts_with("sandbox/"));
}

#[test]
fn an_old_acknowledgement_changes_nothing() {
    let mut world = World::registered();
    let starting = report(&world.run(NOON, spec("web"))).status;
    world.launched(NOON, &key("web"), LaunchOutcome::Started);
    let uuid = starting.uuid.expect("set");
    world.acknowledge(NOON, &key("web"), uuid);

    let again = world.acknowledge(NOON, &key("web"), uuid);

    assert_eq!(again, []);
    assert_eq!(world.node.view().unacknowledged, 1, "RUNNING waits");
}

#[test]
fn health_that_flaps_while_nobody_listens_does_not_pile_up() {
    let mut world = World::running(checked("web"));
    let mut passed = true;
    for _ in 0..200 {
        let due = world.node.next_deadline().expect("something is due");
        let actions = world.step(due, Input::Deadline);
        if actions
            .iter()
            .any(|action| matches!(action, mete_agent_core::Action::Probe { .. }))
        {
            world.probed(due, &key("web"), passed);
            passed = !passed;
        }
    }

    assert_eq!(world.node.view().unacknowledged, 16);
    let now = world.reconnect(at(5_000.0));
    let (registration, _) = world.admit(now, 1);
    let last = registration.unacknowledged.last().expect("there are some");
    assert_eq!(last.status.healthy, Some(!passed), "the last one is there");
}

/// The master hands on a task that makes no sense; what is said about that.
fn refused(world: &mut World, number: usize) -> Vec<Action> {
    let order = Order::Unrunnable {
        key: key(&format!("t{number}")),
        executor: None,
        reason: "it makes no sense".into(),
    };
    world.order(NOON, order)
}

fn taken(world: &mut World, link: u64, total: u64) -> Vec<Action> {
    world.step(NOON, Input::ReportsTaken { link, total })
}

fn told(actions: &[Action]) -> impl Iterator<Item = TaskId> {
    reports(actions)
        .into_iter()
        .map(|report| report.status.task)
}

#[test]
fn reports_go_as_the_stream_takes_them_each_once_and_whatever_is_acknowledged() {
    let mut world = World::registered();
    let room = usize::try_from(MAX_GIVEN_REPORTS).expect("small");
    let mut said: Vec<TaskId> = Vec::new();
    let mut updates = Vec::new();
    for number in 0..3 * room {
        let actions = refused(&mut world, number);
        updates.extend(reports(&actions).into_iter().map(|report| report.status));
        said.extend(told(&actions));
    }
    assert_eq!(said.len(), room, "what the stream has room for");
    let link = world.link;

    // Acknowledgements make no room: the stream does.
    let first = updates.swap_remove(0);
    let update = first.uuid.expect("every report has one");
    assert_eq!(world.acknowledge(NOON, &key("t0"), update), []);
    assert_eq!(taken(&mut world, link + 1, 9), [], "of another stream");
    said.extend(told(&taken(&mut world, link, 10)));
    assert_eq!(said.len(), room + 10);
    said.extend(told(&taken(&mut world, link, 10)));
    assert_eq!(said.len(), room + 10, "the same ten");
    for total in [room, 2 * room, 3 * room] {
        said.extend(told(&taken(&mut world, link, total as u64)));
    }

    let all = (0..3 * room).map(|number| key(&format!("t{number}")).task);
    assert_eq!(said, all.collect::<Vec<_>>());
}

#[test]
fn what_is_to_be_said_again_waits_for_room_as_well() {
    let mut world = World::registered();
    let room = usize::try_from(MAX_GIVEN_REPORTS).expect("small");
    for number in 0..room {
        refused(&mut world, number);
    }

    // Nobody has acknowledged any, and the stream has taken none.
    let again = world.step(at(10.0), Input::Deadline);
    assert_eq!(reports(&again), []);
    let link = world.link;
    let half = taken(&mut world, link, MAX_GIVEN_REPORTS / 2);

    assert_eq!(told(&half).count(), room / 2);
    assert_eq!(told(&half).next(), Some(key("t0").task));
}

#[test]
fn with_more_refused_tasks_than_are_kept_the_agent_registers_again_without_them() {
    let mut world = World::running(spec("web"));
    let mut cut = None;
    for number in 0.. {
        let actions = refused(&mut world, number);
        if actions.contains(&Action::Disconnect { link: world.link }) {
            cut = Some(number);
            break;
        }
    }
    assert_eq!(cut, Some(20_000));
    assert_eq!(refused(&mut world, 20_001), [], "of a stream that is gone");

    let then = world.node.next_deadline().expect("it comes back");
    world.link = opened(&world.step(then, Input::Deadline)).expect("now");
    let (registration, _) = world.admit(then, 1);

    let there: Vec<_> = registration.tasks.iter().map(|task| &task.key).collect();
    assert_eq!(there, [&key("web")], "the others are dropped by the master");
    assert_eq!(registration.unacknowledged, []);
    assert_eq!(reports(&refused(&mut world, 0)).len(), 1, "there is room");
}
