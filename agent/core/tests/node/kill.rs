use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mete_agent_core::{
    Action, Found, Input, LaunchOutcome, LaunchStage, Order, Record, StopReason,
};
use mete_model::{Limitation, Machine, Reason, TaskState};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::fixture::*;

fn terminates(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Terminate { .. }))
}

fn kills(actions: &[Action]) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::Kill { .. }))
}

#[test]
fn a_kill_is_sigterm_then_sigkill_after_the_grace_period() {
    let mut world = World::running(spec("web"));
    let web = key("web");

    let first = world.kill(at(10.0), &web);
    let deadline = world.node.next_deadline();
    let second = world.step(at(15.0), Input::Deadline);

    assert!(terminates(&first) && !kills(&first));
    assert_eq!(report(&first).status.state, TaskState::Killing);
    assert_eq!(deadline, Some(at(15.0)), "the task's own five seconds");
    assert!(kills(&second));

    let third = world.step(at(25.0), Input::Deadline);
    assert!(kills(&third), "what survives is killed again");

    world.exited(at(26.0), &web, signaled(9));
    let latest = world.node.view().tasks[&web].latest.clone();
    assert_eq!(latest.state, TaskState::Killed);
    assert_eq!(latest.reason, None);
}

#[test]
fn a_task_that_ends_well_while_it_is_killed_was_killed() {
    let mut world = World::running(spec("web"));
    world.kill(at(10.0), &key("web"));

    world.exited(at(11.0), &key("web"), exit(0));

    assert_eq!(world.state(&key("web")), Some(TaskState::Killed));
}

#[test]
fn killing_is_told_only_to_those_who_know_the_word() {
    let mut world = World::registered();
    let mut old = framework();
    old.capabilities.clear();
    world.order(
        NOON,
        Order::Run {
            framework: old,
            task: Box::new(spec("web")),
        },
    );
    world.launched(NOON, &key("web"), LaunchOutcome::Started);
    world.acknowledge_all(NOON, &key("web"));

    let actions = world.kill(at(10.0), &key("web"));

    assert!(terminates(&actions));
    assert_eq!(reports(&actions), []);
}

#[test]
fn a_second_kill_can_shorten_the_grace_period_but_not_lengthen_it() {
    let mut world = World::running(spec("web"));
    let with = |grace| Order::Kill {
        key: key("web"),
        grace: Some(seconds(grace)),
    };
    world.kill(at(10.0), &key("web"));

    world.order(at(11.0), with(60));
    assert_eq!(world.node.next_deadline(), Some(at(15.0)));
    let again = world.order(at(11.0), with(1));
    assert_eq!(world.node.next_deadline(), Some(at(12.0)));
    assert!(!terminates(&again), "told once");
}

#[test]
fn a_kill_during_the_launch_gives_the_launch_up() {
    let mut world = World::registered();
    let web = key("web");
    world.run(NOON, spec("web"));

    let actions = world.kill(at(1.0), &web);
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::CancelLaunch { .. }))
    );
    assert!(!terminates(&actions));

    let failed = LaunchOutcome::Failed {
        stage: LaunchStage::Cancelled,
        reason: "cancelled".into(),
    };
    world.launched(at(1.5), &web, failed);
    let latest = world.node.view().tasks[&web].latest.clone();
    assert_eq!(latest.state, TaskState::Killed);
    assert_eq!(latest.reason, Some(Reason::TaskKilledDuringLaunch));
}

#[test]
fn a_launch_that_cannot_be_given_up_any_more_is_killed_when_it_has_started() {
    let mut world = World::registered();
    let web = key("web");
    world.run(NOON, spec("web"));
    world.kill(at(1.0), &web);

    let started = world.launched(at(30.0), &web, LaunchOutcome::Started);

    assert!(terminates(&started));
    let killed = world.step(at(35.0), Input::Deadline);
    assert!(kills(&killed), "the grace period begins with the start");
    assert_eq!(world.state(&web), Some(TaskState::Killing));
}

#[test]
fn a_kill_of_a_task_that_waits_for_its_launch_ends_it_at_once() {
    let mut world = World::registered();
    for number in 0..1_001 {
        world.run(NOON, spec(&format!("t{number:04}")));
    }
    let last = key("t1000");

    let sent = report(&world.kill(NOON, &last)).status;

    assert_eq!(sent.state, TaskState::Killed);
    assert_eq!(sent.reason, Some(Reason::TaskKilledDuringLaunch));
    let begun = world.launched(NOON, &key("t0000"), LaunchOutcome::Started);
    assert!(
        begun
            .iter()
            .all(|action| !matches!(action, Action::Launch { .. }))
    );
}

#[test]
fn a_kill_of_an_unknown_task_is_answered_so_that_nobody_asks_for_ever() {
    let mut world = World::registered();

    let sent = report(&world.kill(NOON, &key("ghost"))).status;

    assert_eq!(sent.state, TaskState::Gone);
    assert_eq!(sent.reason, Some(Reason::TaskUnknown));
    assert_eq!(world.last.store, []);
    world.acknowledge(NOON, &key("ghost"), sent.uuid.expect("set"));
    assert_eq!(world.node.view().unacknowledged, 0);
}

/// Counts what is logged for a person to look at.
struct Alarms(Arc<AtomicU32>);

impl Subscriber for Alarms {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn what_is_answered_about_an_unknown_task_is_nothing_to_be_seen_to() {
    let alarms = Arc::new(AtomicU32::new(0));
    let mut world = World::registered();

    tracing::subscriber::with_default(Alarms(Arc::clone(&alarms)), || {
        world.kill(NOON, &key("ghost"))
    });

    assert_eq!(alarms.load(Ordering::Relaxed), 0);
}

#[test]
fn a_framework_that_is_shut_down_takes_its_tasks_along_without_reports() {
    let mut world = World::running(spec("web"));
    let id = key("web").framework;

    let actions = world.order(at(1.0), Order::ShutdownFramework(id.clone()));
    assert!(terminates(&actions));
    assert_eq!(reports(&actions), []);

    let ended = world.exited(at(2.0), &key("web"), signaled(15));
    assert_eq!(reports(&ended), []);
    let view = world.node.view();
    assert!(view.tasks.is_empty() && view.frameworks.is_empty());
    assert!(world.last.store.contains(&Record::FrameworkForgotten(id)));
    assert_eq!(view.sandboxes.len(), 1, "what it left behind stays");
}

#[test]
fn a_shutdown_ends_all_tasks_and_then_the_agent() {
    let mut world = World::running(spec("web"));

    let order = Order::Shutdown {
        reason: "marked gone".into(),
    };
    let first = world.order(at(1.0), order);
    assert!(terminates(&first));
    let last = world.exited(at(2.0), &key("web"), signaled(15));

    let stop = Action::Stop(StopReason::ShutDown("marked gone".into()));
    assert!(!first.contains(&stop) && last.contains(&stop));
    assert_eq!(world.state(&key("web")), Some(TaskState::Killed));
    let refused = report(&world.run(at(3.0), spec("more"))).status;
    assert_eq!(refused.state, TaskState::Failed);
}

#[test]
fn an_operator_who_stops_the_tasks_too_bounds_their_grace_periods() {
    let mut world = World::running(spec("web"));

    world.step(at(1.0), Input::StopWithTasks { grace: seconds(2) });

    assert_eq!(world.node.next_deadline(), Some(at(3.0)));
    let last = world.exited(at(2.0), &key("web"), signaled(15));
    assert!(last.contains(&Action::Stop(StopReason::Asked)));
}

/// An agent that runs a task which may run for a minute.
fn running_for_a_minute() -> World {
    let mut bounded = spec("web");
    bounded.max_completion_time = Some(seconds(60));
    World::running(bounded)
}

#[test]
fn a_task_that_has_run_for_as_long_as_it_may_is_killed_at_once_and_has_failed() {
    let mut world = running_for_a_minute();
    let web = key("web");
    let quiet = world.step(at(59.9), Input::Deadline);
    assert!(!terminates(&quiet));

    let first = world.step(at(60.0), Input::Deadline);
    assert!(terminates(&first) && kills(&first), "{first:?}");
    assert_eq!(world.state(&web), Some(TaskState::Running));
    world.exited(at(60.1), &web, exit(0));

    let latest = world.node.view().tasks[&web].latest.clone();
    assert_eq!(latest.state, TaskState::Failed);
    assert_eq!(latest.reason, Some(Reason::MaxCompletionTimeReached));
    assert_eq!(
        latest.message.as_deref(),
        Some(
            "it has run for the 60 s that it may (max_completion_time); Command exited with status 0"
        )
    );
}

#[test]
fn the_time_that_a_task_may_run_goes_on_while_its_agent_is_away() {
    let mut world = running_for_a_minute();
    let web = key("web");

    world.crash();
    world.recover("boot-1", [(web.clone(), Found::Running)]);
    assert!(!terminates(&world.step(at(59.9), Input::Deadline)));
    assert!(terminates(&world.step(at(61.0), Input::Deadline)));

    world.crash();
    world.recover("boot-1", [(web.clone(), Found::Ended(signaled(9)))]);
    let latest = world.node.view().tasks[&web].latest.clone();
    assert_eq!(latest.reason, Some(Reason::MaxCompletionTimeReached));
}

#[test]
fn a_task_that_is_told_to_end_before_its_time_is_up_was_killed() {
    let mut world = running_for_a_minute();
    let web = key("web");

    world.kill(at(58.0), &web);
    world.step(at(60.0), Input::Deadline);
    world.exited(at(61.0), &web, signaled(15));

    assert_eq!(world.state(&web), Some(TaskState::Killed));
}

#[test]
fn a_task_that_takes_too_much_of_the_disk_is_killed_at_once_and_has_failed() {
    let mut world = World::running(spec("web"));
    let web = key("web");
    let used_up = |container| Input::DiskUsedUp {
        key: key("web"),
        container,
        limit_bytes: 8 << 20,
        excess: "too much".into(),
    };

    let other_run = "c-0".parse().expect("good");
    assert!(!terminates(&world.step(at(1.0), used_up(other_run))));
    let container = world.container(&web);
    assert!(terminates(&world.step(at(1.0), used_up(container))));
    world.crash();
    world.recover("boot-1", [(web.clone(), Found::Ended(signaled(9)))]);

    let latest = world.node.view().tasks[&web].latest.clone();
    assert_eq!(latest.state, TaskState::Failed);
    assert_eq!(latest.reason, Some(Reason::ContainerLimitationDisk));
    assert_eq!(latest.limitation, Some(Limitation::Disk(8 << 20)));
}
