use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::{Action, Found, Input, LaunchOutcome, Phase, Why};
use mete_model::{CheckAnswer, HealthCheck, Machine, Question, Reason, TaskCheck, TaskState};

use crate::fixture::*;

fn probes(actions: &[Action]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, Action::Probe { .. }))
        .count()
}

/// Lets the next probe begin; when it was due.
fn next_probe(world: &mut World) -> mete_model::Timestamp {
    for _ in 0..100 {
        let due = world.node.next_deadline().expect("something is due");
        if probes(&world.step(due, Input::Deadline)) == 1 {
            return due;
        }
    }
    panic!("no probe within a hundred deadlines");
}

#[test]
fn probes_begin_after_the_delay_and_follow_at_the_interval() {
    let mut world = World::running(checked("web"));

    assert_eq!(next_probe(&mut world), at(1.0));
    world.probed(at(1.5), &key("web"), true);
    assert_eq!(next_probe(&mut world), at(3.5), "from the end of the last");
}

#[test]
fn success_is_news_only_when_it_changes_something() {
    let mut world = World::running(checked("web"));
    next_probe(&mut world);

    let first = report(&world.probed(at(1.1), &key("web"), true)).status;
    world.acknowledge(at(1.1), &key("web"), first.uuid.expect("set"));
    next_probe(&mut world);
    let second = world.probed(at(3.2), &key("web"), true);

    assert_eq!(first.state, TaskState::Running);
    assert_eq!(first.healthy, Some(true));
    assert_eq!(first.reason, Some(Reason::TaskHealthCheckStatusUpdated));
    assert_eq!(reports(&second), []);
}

#[test]
fn failures_do_not_count_in_the_grace_period_before_the_first_success() {
    let mut world = World::running(checked("web"));

    let ailment = |world: &World| {
        let tasks = world.node.view().tasks;
        tasks.get(&key("web")).and_then(|task| task.ailment.clone())
    };
    for _ in 0..4 {
        let due = next_probe(&mut world);
        assert_eq!(reports(&world.probed(due, &key("web"), false)), []);
        assert!(ailment(&world).is_some(), "whoever asks is told");
    }

    assert_eq!(world.state(&key("web")), Some(TaskState::Running));
    assert_eq!(
        world.node.view().tasks[&key("web")].latest.healthy,
        None,
        "nothing was said"
    );
}

#[test]
fn a_program_that_is_about_to_listen_is_asked_again_soon() {
    let mut world = World::running(checked("web"));
    let first = next_probe(&mut world);

    let mut waits = Vec::new();
    let mut last = first;
    for _ in 0..4 {
        world.probed(last, &key("web"), false);
        let next = next_probe(&mut world);
        waits.push(next.since(last).as_millis());
        last = next;
    }

    assert_eq!(waits, [50, 100, 200, 400]);
}

#[test]
fn the_grace_period_ends_with_the_first_success() {
    let mut world = World::running(checked("web"));
    let due = next_probe(&mut world);
    world.probed(due, &key("web"), true);

    let due = next_probe(&mut world);
    assert!(due < at(10.0));
    world.probed(due, &key("web"), false);

    assert_eq!(
        world.node.view().tasks[&key("web")].latest.healthy,
        Some(false)
    );
}

#[test]
fn three_failures_in_a_row_kill_the_task() {
    let mut world = World::running(checked("web"));
    let web = key("web");
    let due = next_probe(&mut world);
    world.probed(due, &web, true);
    for passed in [false, false, true, false, false] {
        let due = next_probe(&mut world);
        world.probed(due, &web, passed);
        assert_eq!(world.node.view().tasks[&web].phase, Phase::Running);
    }

    let due = next_probe(&mut world);
    let actions = world.probed(due, &web, false);

    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Terminate { .. }))
    );
    let task = world.node.view().tasks[&web].clone();
    assert_eq!(task.kill().map(|kill| kill.why), Some(Why::Unhealthy));

    world.exited(due, &web, signaled(15));
    let latest = world.node.view().tasks[&web].latest.clone();
    assert_eq!(latest.state, TaskState::Killed);
    assert_eq!(latest.healthy, Some(false));
    assert_eq!(
        latest.message.as_deref(),
        Some(
            "its health check failed 3 times in a row: connection refused; Command terminated with signal Terminated (15, SIGTERM)"
        )
    );
}

#[test]
fn who_allows_no_failure_is_killed_by_the_first() {
    for (allowed, kills) in [(0, true), (HealthCheck::NEVER_KILLS, false)] {
        let mut spec = checked("web");
        let check = spec.health_check.as_mut().expect("it is checked");
        check.consecutive_failures = allowed;
        let mut world = World::running(spec);
        let web = key("web");
        let due = next_probe(&mut world);
        world.probed(due, &web, true);

        let due = next_probe(&mut world);
        let actions = world.probed(due, &web, false);

        let is_killed = |action: &Action| matches!(action, Action::Terminate { .. });
        assert_eq!(actions.iter().any(is_killed), kills, "{allowed} allowed");
    }
}

#[test]
fn a_task_that_is_being_killed_is_not_probed() {
    let mut world = World::running(checked("web"));
    world.kill(at(0.5), &key("web"));

    let actions = world.step(at(1.0), Input::Deadline);

    assert_eq!(probes(&actions), 0);
}

#[test]
fn only_so_many_probes_run_at_once() {
    let mut world = World::registered();
    for number in 0..70 {
        let key = key(&format!("t{number}"));
        world.run(NOON, checked(key.task.as_str()));
        world.launched(NOON, &key, mete_agent_core::LaunchOutcome::Started);
    }

    let first = world.step(at(1.0), Input::Deadline);
    let none = world.step(at(1.1), Input::Deadline);
    world.probed(at(1.2), &key("t0"), true);
    let one = world.step(at(1.2), Input::Deadline);

    assert_eq!((probes(&first), probes(&none), probes(&one)), (64, 0, 1));
}

/// Lets the next question be asked; when it was due.
fn next_check(world: &mut World) -> mete_model::Timestamp {
    let is_check = |action: &Action| matches!(action, Action::Check { .. });
    for _ in 0..100 {
        let due = world.node.next_deadline().expect("something is due");
        if world.step(due, Input::Deadline).iter().any(is_check) {
            return due;
        }
    }
    panic!("no question within a hundred deadlines");
}

fn questions(actions: &[Action]) -> Vec<Duration> {
    let timeouts = actions.iter().filter_map(|action| {
        let Action::Check { timeout, .. } = action else {
            return None;
        };
        Some(*timeout)
    });
    timeouts.collect()
}

#[test]
fn checks_have_bounds_of_their_own_and_leave_health_checks_theirs() {
    let mut check = TaskCheck::new(Question::Tcp { port: 31_000 });
    check.delay = seconds(1);
    check.timeout = seconds(3_600);
    let mut world = World::registered();
    for number in 0..70 {
        let key = key(&format!("t{number}"));
        let mut spec = checked(key.task.as_str());
        spec.check = Some(Box::new(check.clone()));
        world.run(NOON, spec);
        world.launched(NOON, &key, mete_agent_core::LaunchOutcome::Started);
    }

    let first = world.step(at(1.0), Input::Deadline);

    assert_eq!(probes(&first), 64);
    assert_eq!(questions(&first), [seconds(60); 32]);
}

#[test]
fn a_check_is_asked_once_a_second_at_most() {
    let mut spec = spec("web");
    let mut check = TaskCheck::new(Question::Tcp { port: 31_000 });
    check.interval = Duration::ZERO;
    spec.check = Some(Box::new(check));
    let mut world = World::running(spec);

    let first = next_check(&mut world);
    let input = Input::Checked {
        key: key("web"),
        container: world.container(&key("web")),
        answer: CheckAnswer::Tcp(Some(true)),
    };
    let at_once = world.step(first, input);

    assert_eq!(questions(&at_once), []);
    assert_eq!(next_check(&mut world).since(first), seconds(1));
}

#[test]
fn an_answer_to_a_check_is_told_when_it_is_another_and_kills_nobody() {
    let mut spec = spec("web");
    let mut check = TaskCheck::new(Question::Tcp { port: 31_000 });
    check.interval = seconds(2);
    spec.check = Some(Box::new(check));
    let mut world = World::running(spec);
    let before = Arc::clone(&world.node.view().tasks[&key("web")]);
    assert_eq!(before.latest.check, Some(CheckAnswer::Tcp(None)), "unasked");
    let container = before.container.clone();

    for (answer, is_news) in [
        (CheckAnswer::Tcp(Some(false)), true),
        (CheckAnswer::Tcp(Some(false)), false),
        (CheckAnswer::Tcp(Some(true)), true),
    ] {
        let due = next_check(&mut world);
        let input = Input::Checked {
            key: key("web"),
            container: container.clone(),
            answer,
        };
        let effects = world.step(due, input);
        assert_eq!(reports(&effects).len(), usize::from(is_news), "{answer:?}");
        if is_news {
            let told = report(&effects).status;
            assert_eq!((told.state, told.check), (TaskState::Running, Some(answer)));
            assert_eq!(told.reason, Some(Reason::TaskCheckStatusUpdated));
            world.acknowledge(due, &key("web"), told.uuid.expect("set"));
        }
    }
    assert_eq!(world.state(&key("web")), Some(TaskState::Running));
}

#[test]
fn times_to_wait_do_not_grow_when_the_clock_was_set_back() {
    let mut bounded = checked("web");
    bounded.max_completion_time = Some(seconds(60));
    let mut world = World::registered();
    world.run(at(3_600.0), bounded);
    world.launched(at(3_600.0), &key("web"), LaunchOutcome::Started);

    world.crash();
    world.recover("boot-1", [(key("web"), Found::Running)]);
    world.step(at(60.0), Input::Deadline);

    let why = world.node.view().tasks[&key("web")]
        .kill()
        .map(|kill| kill.why);
    assert_eq!(why, Some(Why::TimeIsUp));
}
