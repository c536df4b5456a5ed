use mete_agent_core::{
    Action, Described, ExecutorKey, Found, Input, LaunchOutcome, LaunchStage, Order, Phase, Record,
};
use mete_model::{ExecutorId, Limitation, Machine, Reason, TaskState};

use crate::fixture::*;

#[test]
fn a_launch_is_stored_then_begun_then_reported() {
    let mut world = World::registered();
    let web = key("web");

    let actions = world.run(NOON, spec("web"));

    assert!(matches!(
        &world.last.store[..],
        [Record::Framework { .. }, Record::Accepted(_), Record::Life { waiting, .. }] if waiting.len() == 1
    ));
    assert!(matches!(&actions[0], Action::Launch { key, .. } if *key == web));
    let sent = report(&actions).status;
    assert_eq!(sent.state, TaskState::Starting);
    assert_eq!(sent.ip_addresses, ["127.0.0.2"]);
    assert_eq!(sent.agent, Some(agent()));
    assert!(sent.uuid.is_some());
}

#[test]
fn the_same_launch_twice_starts_one_task() {
    let mut world = World::registered();
    world.run(NOON, spec("web"));

    let again = world.run(at(1.0), spec("web"));

    assert!(
        again
            .iter()
            .all(|action| !matches!(action, Action::Launch { .. })),
        "{again:?}"
    );
    assert_eq!(world.node.view().tasks.len(), 1);
}

#[test]
fn running_is_reported_after_starting_is_acknowledged() {
    let mut world = World::registered();
    let web = key("web");
    let starting = report(&world.run(NOON, spec("web"))).status;

    let started = world.launched(at(1.0), &web, LaunchOutcome::Started);
    let next = world.acknowledge(at(2.0), &web, starting.uuid.expect("set"));

    assert_eq!(reports(&started), []);
    assert_eq!(report(&next).status.state, TaskState::Running);
}

#[test]
fn a_task_with_a_network_of_its_own_is_reported_at_its_addresses() {
    let mut world = World::registered();
    let web = key("web");
    let starting = report(&world.run(NOON, spec("web"))).status;
    let addresses = vec!["172.31.5.2".to_owned()];
    let addressed = |container| Input::Addressed {
        key: key("web"),
        container,
        addresses: addresses.clone(),
        described: Described::default(),
    };

    let other_run = "c-0".parse().expect("good");
    world.step(at(0.5), addressed(other_run));
    assert_eq!(world.node.view().tasks[&web].addresses, [""; 0]);
    world.step(at(1.0), addressed(world.container(&web)));
    world.launched(at(1.0), &web, LaunchOutcome::Started);
    let next = world.acknowledge(at(2.0), &web, starting.uuid.expect("set"));

    assert_eq!(report(&next).status.ip_addresses, addresses);
    world.crash();
    assert_eq!(world.node.view().tasks[&web].addresses, addresses);
}

#[test]
fn what_describes_a_task_is_in_each_of_its_reports_and_what_its_engine_says_in_the_first_that_it_runs()
 {
    let mut world = World::registered();
    let web = key("web");
    let starting = report(&world.run(NOON, spec("web"))).status;
    let described = Input::Addressed {
        key: web.clone(),
        container: world.container(&web),
        addresses: Vec::new(),
        described: Described {
            always: Some([1][..].into()),
            at_start: Some([1, 2][..].into()),
        },
    };

    world.step(at(1.0), described);
    world.launched(at(1.0), &web, LaunchOutcome::Started);
    let running = report(&world.acknowledge(at(2.0), &web, starting.uuid.expect("set"))).status;
    assert_eq!(running.original.as_deref(), Some(&[1, 2][..]));
    world.acknowledge(at(3.0), &web, running.uuid.expect("set"));
    world.crash();
    world.recover("boot-1", [(web, Found::Ended(exit(0)))]);
    let (registration, _) = world.admit(at(5.0), 1);

    let ended = &registration.unacknowledged[0].status;
    assert_eq!(ended.original.as_deref(), Some(&[1][..]));
}

#[test]
fn how_far_a_launch_is_is_told_when_nothing_else_waits() {
    let mut world = World::registered();
    let web = key("web");
    let starting = report(&world.run(NOON, spec("web"))).status;
    let far = |world: &World, words: &str| Input::Launching {
        key: key("web"),
        container: world.container(&key("web")),
        how_far: words.to_owned(),
    };

    let early = far(&world, "pulling layer 1 of 7");
    let early = world.step(at(1.0), early);
    world.acknowledge(at(2.0), &web, starting.uuid.expect("set"));
    let later = far(&world, "pulling layer 3 of 7");
    let later = world.step(at(3.0), later);

    assert_eq!(reports(&early), [], "the master has not answered yet");
    let told = report(&later).status;
    assert_eq!(told.state, TaskState::Starting);
    assert_eq!(told.message.as_deref(), Some("pulling layer 3 of 7"));
    world.launched(at(4.0), &web, LaunchOutcome::Started);
    let late = far(&world, "pulling layer 7 of 7");
    assert_eq!(reports(&world.step(at(5.0), late)), [], "it runs");
}

#[test]
fn a_launch_that_fails_says_where_and_why() {
    let mut world = World::registered();
    let web = key("web");
    world.run(NOON, spec("web"));

    let failed = LaunchOutcome::Failed {
        stage: LaunchStage::Fetch,
        reason: "http://x/y: 404".into(),
    };
    let actions = world.launched(NOON, &web, failed);

    let latest = world.node.view().tasks[&web].latest.clone();
    assert_eq!(latest.state, TaskState::Failed);
    assert_eq!(latest.reason, Some(Reason::ContainerLaunchFailed));
    let container = latest.container.clone().unwrap();
    let message = format!(
        "Failed to launch container: Failed to fetch all URIs for container '{container}': http://x/y: 404"
    );
    assert_eq!(latest.message, Some(message));
    assert!(
        actions
            .iter()
            .any(|action| matches!(action, Action::Release { .. }))
    );
}

#[test]
fn only_so_many_launches_are_under_way_at_once() {
    let mut world = World::registered();
    let mut begun = 0;
    for number in 0..1_004 {
        let actions = world.run(NOON, spec(&format!("t{number:04}")));
        begun += actions
            .iter()
            .filter(|action| matches!(action, Action::Launch { .. }))
            .count();
    }

    let next = world.launched(NOON, &key("t0003"), LaunchOutcome::Started);

    assert_eq!(begun, 1_000);
    assert!(next.iter().any(
        |action| matches!(action, Action::Launch { key: begun, .. } if *begun == key("t1000"))
    ));
    assert_eq!(
        world.node.view().tasks[&key("t1001")].phase,
        Phase::Accepted
    );
}

#[test]
fn an_exit_code_tells_finished_from_failed() {
    for (code, state, words) in [
        (0, TaskState::Finished, "Command exited with status 0"),
        (3, TaskState::Failed, "Command exited with status 3"),
    ] {
        let mut world = World::running(spec("web"));

        let sent = report(&world.exited(at(9.0), &key("web"), exit(code))).status;

        assert_eq!(sent.state, state);
        assert_eq!(sent.message.as_deref(), Some(words));
    }
}

#[test]
fn death_by_signal_and_by_memory_are_told_apart() {
    let mut world = World::running(spec("web"));
    let sent = report(&world.exited(at(9.0), &key("web"), signaled(9))).status;
    assert_eq!(sent.state, TaskState::Failed);
    assert_eq!(
        sent.message.as_deref(),
        Some("Command terminated with signal Killed (9, SIGKILL)")
    );
    assert_eq!(sent.reason, None);

    let mut world = World::running(spec("web"));
    let mut exit = signaled(9);
    exit.oom_kills = 1;
    let sent = report(&world.exited(at(9.0), &key("web"), exit)).status;
    assert_eq!(sent.state, TaskState::Failed);
    assert_eq!(sent.reason, Some(Reason::ContainerLimitationMemory));
    assert_eq!(sent.limitation, Some(Limitation::Memory(64 << 20)));
    let words = sent.message.expect("a sentence");
    assert!(words.contains("more than its 64 MB of memory"), "{words}");
}

#[test]
fn a_lack_of_memory_is_told_with_the_limit_that_was_reached_whatever_code_came_of_it() {
    let mut world = World::running(spec("web"));
    let mut exit = exit(0);
    exit.oom_kills = 1;
    exit.memory_limit_bytes = Some(128 << 20);

    let sent = report(&world.exited(at(9.0), &key("web"), exit)).status;

    assert_eq!(sent.state, TaskState::Failed);
    assert_eq!(sent.reason, Some(Reason::ContainerLimitationMemory));
    assert_eq!(sent.limitation, Some(Limitation::Memory(128 << 20)));
    let words = sent.message.expect("a sentence");
    assert!(words.contains("more than its 128 MB of memory"), "{words}");
}

#[test]
fn a_command_whose_executor_is_shut_down_is_killed() {
    let mut world = World::running(spec("web"));
    let executor = ExecutorKey {
        framework: key("web").framework,
        executor: ExecutorId::new("web").expect("good"),
    };

    let asked = world.order(at(1.0), Order::ShutdownExecutor(executor));

    let ends = |action: &Action| matches!(action, Action::Terminate { key, .. } if key.task.as_str() == "web");
    assert!(asked.iter().any(ends), "{asked:?}");
    world.exited(at(2.0), &key("web"), signaled(15));
    let view = world.node.view();
    assert_eq!(view.tasks[&key("web")].latest.state, TaskState::Killed);
}

#[test]
fn a_task_that_cannot_be_run_here_is_an_error_and_leaves_no_trace() {
    let mut world = World::registered();

    let actions = world.order(
        NOON,
        Order::Unrunnable {
            key: key("web"),
            executor: None,
            reason: "container images are not carried yet".into(),
        },
    );

    let sent = report(&actions).status;
    assert_eq!(sent.state, TaskState::Error);
    assert_eq!(sent.reason, Some(Reason::TaskInvalid));
    assert_eq!(world.last.store, []);
}

#[test]
fn what_another_run_of_the_task_says_does_not_count() {
    let mut world = World::running(spec("web"));

    let actions = world.step(
        NOON,
        Input::Exited {
            key: key("web"),
            container: mete_model::ContainerId::new("other").expect("good"),
            exit: Some(exit(0)),
        },
    );

    assert_eq!(actions, []);
    assert_eq!(world.state(&key("web")), Some(TaskState::Running));
}
