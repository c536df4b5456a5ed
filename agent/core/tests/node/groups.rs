//! Groups of tasks: accepted together, begun in order, ended together, taken over by the next agent.

use mete_agent_core::{Action, Found, Input, LaunchOutcome, LaunchStage, Order, Phase, Record};
use mete_model::executor::INIT_LABEL;
use mete_model::{
    ExecutorId, ExecutorKind, ExecutorSpec, Machine, Ranges, Reason, Resources, TaskGroup,
    TaskSpec, TaskState, Timestamp,
};

use crate::fixture::*;

fn executor() -> ExecutorSpec {
    ExecutorSpec {
        id: ExecutorId::new("pod").expect("good"),
        kind: ExecutorKind::Default,
        name: "a pod".into(),
        resources: Resources::cpus_mem(10, 32),
        command: None,
        container: None,
        shutdown_grace_period: None,
        original: vec![0, 159].into(),
    }
}

fn init(task: &str) -> TaskSpec {
    let mut spec = spec(task);
    spec.labels.push((INIT_LABEL.into(), None));
    spec
}

fn run(world: &mut World, now: Timestamp, tasks: Vec<TaskSpec>) -> Vec<Action> {
    let group = TaskGroup {
        executor: executor(),
        tasks,
    };
    let order = Order::RunGroup {
        framework: framework(),
        group: Box::new(group),
    };
    world.order(now, order)
}

/// An agent that runs these tasks in one group.
fn running(tasks: &[&str]) -> World {
    let mut world = World::registered();
    run(
        &mut world,
        NOON,
        tasks.iter().map(|task| spec(task)).collect(),
    );
    for task in tasks {
        world.launched(NOON, &key(task), LaunchOutcome::Started);
    }
    world
}

fn launches(actions: &[Action]) -> Vec<String> {
    let launched = actions.iter().filter_map(|action| {
        let Action::Launch { key, .. } = action else {
            return None;
        };
        Some(key.task.to_string())
    });
    launched.collect()
}

fn terminated(actions: &[Action]) -> Vec<String> {
    let told = actions.iter().filter_map(|action| {
        let Action::Terminate { key, .. } = action else {
            return None;
        };
        Some(key.task.to_string())
    });
    told.collect()
}

fn latest(world: &World, task: &str) -> (TaskState, Option<String>) {
    let view = world.node.view();
    let latest = &view.tasks[&key(task)].latest;
    (latest.state, latest.message.clone())
}

#[test]
fn the_tasks_of_a_group_are_stored_together_and_begin_together() {
    let mut world = World::registered();

    let actions = run(&mut world, NOON, vec![spec("a"), spec("b")]);

    assert_eq!(launches(&actions), ["a", "b"]);
    let stored = world.last.store.iter();
    let accepted = stored.filter(|record| matches!(record, Record::Accepted(_)));
    assert_eq!(accepted.count(), 2);
    let view = world.node.view();
    let executor = view.executors.values().next().expect("there is one");
    let parents: Vec<_> = actions
        .iter()
        .filter_map(|action| {
            let Action::Launch { parent, .. } = action else {
                return None;
            };
            parent.as_ref().map(|parent| parent.container.clone())
        })
        .collect();
    assert_eq!(
        parents,
        [executor.container.clone(), executor.container.clone()]
    );
    let again = run(&mut world, at(1.0), vec![spec("a"), spec("b")]);
    assert_eq!(launches(&again), [""; 0], "the same launch again");
}

#[test]
fn one_task_that_cannot_be_taken_is_none() {
    let mut world = World::registered();
    let full = mete_agent_core::DiskSpace {
        total_bytes: 100 * MEGABYTE,
        used_bytes: 99 * MEGABYTE,
        free_bytes: MEGABYTE,
    };
    world.step(NOON, mete_agent_core::Input::DiskMeasured(Some(full)));

    let actions = run(&mut world, NOON, vec![spec("a"), spec("b")]);

    let states: Vec<_> = reports(&actions)
        .into_iter()
        .map(|report| (report.status.task.to_string(), report.status.state))
        .collect();
    let failed = TaskState::Failed;
    assert_eq!(states, [("a".into(), failed), ("b".into(), failed)]);
    assert!(world.node.view().executors.is_empty());
}

#[test]
fn ports_that_lead_into_a_group_are_held_by_its_executor_or_one_of_its_first_tasks() {
    let container = reached_at(31_000);
    let port = Ranges::interval(31_000, 31_000);
    let mut pod = executor();
    pod.container = Some(Box::new(container));
    let mut holding = spec("holding");
    holding.resources.ports = port.clone();
    let order = |executor: &ExecutorSpec, tasks: &[&TaskSpec]| Order::RunGroup {
        framework: framework(),
        group: Box::new(TaskGroup {
            executor: executor.clone(),
            tasks: tasks.iter().copied().cloned().collect(),
        }),
    };

    let refused = World::registered().order(NOON, order(&pod, &[&spec("a")]));
    let by_task = World::registered().order(NOON, order(&pod, &[&spec("b"), &holding]));
    pod.resources.ports = port;
    let by_executor = World::registered().order(NOON, order(&pod, &[&spec("c")]));

    assert_eq!(
        report(&refused).status.message.as_deref(),
        Some("port 31000 of the host, mapped to 8080, is none of the executor's or of its tasks'")
    );
    assert_eq!(launches(&by_task), ["b", "holding"]);
    assert_eq!(launches(&by_executor), ["c"]);
}

#[test]
fn init_tasks_end_one_after_the_other_before_the_others_begin() {
    let mut world = World::registered();

    let first = run(
        &mut world,
        NOON,
        vec![spec("a"), init("one"), init("two"), spec("b")],
    );
    world.launched(NOON, &key("one"), LaunchOutcome::Started);
    let second = world.exited(NOON, &key("one"), exit(0));
    world.launched(NOON, &key("two"), LaunchOutcome::Started);
    let third = world.exited(NOON, &key("two"), exit(0));

    assert_eq!(launches(&first), ["one"]);
    assert_eq!(launches(&second), ["two"]);
    assert_eq!(launches(&third), ["a", "b"]);
}

#[test]
fn an_init_task_that_fails_ends_the_group_before_it_has_begun() {
    let mut world = World::registered();
    run(&mut world, NOON, vec![init("one"), spec("a"), spec("b")]);
    world.launched(NOON, &key("one"), LaunchOutcome::Started);

    let ended = world.exited(NOON, &key("one"), exit(3));

    assert_eq!(launches(&ended), [""; 0]);
    let why = "task one of its group failed (Command exited with status 3)";
    for task in ["a", "b"] {
        let killed = (TaskState::Killed, Some(why.to_owned()));
        assert_eq!(latest(&world, task), killed);
    }
    assert!(
        world.node.view().executors.is_empty(),
        "its last task ended"
    );
}

#[test]
fn a_task_that_fails_ends_the_others_with_their_grace() {
    let mut world = running(&["a", "b", "c"]);

    let failed = world.exited(at(1.0), &key("b"), exit(1));
    world.exited(at(2.0), &key("a"), signaled(15));
    let last = world.exited(at(2.0), &key("c"), signaled(15));

    assert_eq!(terminated(&failed), ["a", "c"]);
    let why = "task b of its group failed (Command exited with status 1); Command terminated with signal Terminated (15, SIGTERM)";
    for task in ["a", "c"] {
        let killed = (TaskState::Killed, Some(why.to_owned()));
        assert_eq!(latest(&world, task), killed);
    }
    assert_eq!(latest(&world, "b").0, TaskState::Failed);
    let released = |action: &Action| matches!(action, Action::ReleaseExecutor { .. });
    assert!(last.iter().any(released), "{last:?}");
    assert!(!failed.iter().any(released));
}

#[test]
fn a_task_that_finishes_leaves_the_others_alone() {
    let mut world = running(&["a", "b"]);

    let finished = world.exited(at(1.0), &key("a"), exit(0));

    assert_eq!(terminated(&finished), [""; 0]);
    assert_eq!(world.node.view().tasks[&key("b")].phase, Phase::Running);
}

#[test]
fn a_task_that_is_killed_takes_the_others_along() {
    let mut world = running(&["a", "b"]);

    world.kill(at(1.0), &key("a"));
    let ended = world.exited(at(2.0), &key("a"), signaled(15));

    assert_eq!(terminated(&ended), ["b"]);
    world.exited(at(3.0), &key("b"), exit(0));
    let why = "task a of its group was killed (Command terminated with signal Terminated (15, SIGTERM)); Command exited with status 0";
    let killed = (TaskState::Killed, Some(why.to_owned()));
    assert_eq!(latest(&world, "b"), killed);
}

#[test]
fn a_task_that_cannot_be_started_ends_the_others() {
    let mut world = World::registered();
    run(&mut world, NOON, vec![spec("a"), spec("b")]);
    world.launched(NOON, &key("a"), LaunchOutcome::Started);

    let outcome = LaunchOutcome::Failed {
        stage: LaunchStage::Start,
        reason: "no such program".into(),
    };
    let failed = world.launched(NOON, &key("b"), outcome);

    assert_eq!(terminated(&failed), ["a"]);
}

#[test]
fn two_groups_of_one_executor_end_each_for_itself() {
    let mut world = running(&["a", "b"]);
    run(&mut world, at(1.0), vec![spec("c")]);
    world.launched(at(1.0), &key("c"), LaunchOutcome::Started);

    let failed = world.exited(at(2.0), &key("a"), exit(1));

    assert_eq!(terminated(&failed), ["b"]);
    let view = world.node.view();
    assert_eq!(view.executors.len(), 1);
    assert_eq!(view.tasks[&key("c")].phase, Phase::Running);
}

#[test]
fn the_next_agent_goes_on_with_the_order() {
    let mut world = World::registered();
    run(&mut world, NOON, vec![init("one"), init("two"), spec("a")]);
    world.launched(NOON, &key("one"), LaunchOutcome::Started);
    world.exited(NOON, &key("one"), exit(0));
    world.launched(NOON, &key("two"), LaunchOutcome::Started);
    let before = world.node.view().executors;
    world.crash();

    let found = [
        (key("a"), Found::NeverStarted),
        (key("one"), Found::Vanished),
        (key("two"), Found::Ended(exit(0))),
    ];
    let actions = world.recover("boot-1", found);

    assert_eq!(launches(&actions), ["a"]);
    let after = world.node.view().executors;
    let container = |all: &std::collections::BTreeMap<
        _,
        std::sync::Arc<mete_agent_core::Executor>,
    >| { all.values().next().expect("one").container.clone() };
    assert_eq!(container(&before), container(&after));
}

#[test]
fn the_next_agent_ends_a_group_that_has_failed_meanwhile() {
    let mut world = running(&["a", "b"]);
    world.crash();

    let found = [
        (key("a"), Found::Ended(exit(1))),
        (key("b"), Found::Running),
    ];
    let actions = world.recover("boot-1", found);

    assert!(
        terminated(&actions).contains(&"b".to_owned()),
        "{actions:?}"
    );
    let adopted =
        |action: &Action| matches!(action, Action::Adopt { key: other, .. } if *other == key("b"));
    assert!(actions.iter().any(adopted));
    assert!(matches!(
        world.node.view().tasks[&key("b")].phase,
        Phase::Killing(_)
    ));
}

#[test]
fn after_a_boot_nothing_of_a_group_begins() {
    let mut world = World::registered();
    run(&mut world, NOON, vec![init("one"), spec("a")]);
    world.launched(NOON, &key("one"), LaunchOutcome::Started);
    world.crash();

    let found = [
        (key("a"), Found::NeverStarted),
        (key("one"), Found::Vanished),
    ];
    let actions = world.recover("boot-2", found);

    assert_eq!(launches(&actions), [""; 0]);
    assert_eq!(latest(&world, "one").0, TaskState::Failed);
    assert_eq!(latest(&world, "a").0, TaskState::Killed);
    let (registration, _) = world.admit(NOON, 1);
    assert_eq!(registration.executors, []);
}

#[test]
fn a_group_that_makes_no_sense_is_answered_task_by_task() {
    let mut world = World::registered();

    let actions = world.order(
        NOON,
        Order::UnrunnableGroup {
            keys: vec![key("a"), key("b")],
            executor: None,
            reason: "task_group.tasks[0].command: it is missing".into(),
        },
    );

    let told: Vec<_> = reports(&actions)
        .into_iter()
        .map(|report| (report.status.state, report.status.reason))
        .collect();
    let error = (TaskState::Error, Some(Reason::TaskGroupInvalid));
    assert_eq!(told, [error, error]);
}

#[test]
fn a_group_whose_executor_is_shut_down_is_killed() {
    let mut world = running(&["a", "b"]);
    let executor = world
        .node
        .view()
        .executors
        .keys()
        .next()
        .expect("one")
        .clone();

    let asked = world.order(at(1.0), Order::ShutdownExecutor(executor.clone()));

    assert_eq!(terminated(&asked), ["a", "b"]);
    let again = world.order(at(2.0), Order::ShutdownExecutor(executor));
    assert_eq!(terminated(&again), [""; 0]);
    for task in ["a", "b"] {
        world.exited(at(2.5), &key(task), signaled(15));
        let (state, message) = latest(&world, task);
        assert_eq!(state, TaskState::Killed);
        let message = message.expect("something");
        assert!(
            message.starts_with("its executor was shut down by its framework; "),
            "{message}"
        );
    }
    assert!(world.node.view().executors.is_empty());
}

#[test]
fn a_group_ends_with_a_task_of_it_that_has_run_for_as_long_as_it_may() {
    let mut world = World::registered();
    let mut bounded = spec("one");
    bounded.max_completion_time = Some(seconds(60));
    run(&mut world, NOON, vec![bounded, spec("two")]);
    for task in ["one", "two"] {
        world.launched(NOON, &key(task), LaunchOutcome::Started);
    }

    world.step(at(60.0), Input::Deadline);
    world.exited(at(60.1), &key("one"), signaled(9));
    world.exited(at(60.2), &key("two"), signaled(15));

    let one = world.node.view().tasks[&key("one")].latest.clone();
    assert_eq!(one.reason, Some(Reason::MaxCompletionTimeReached));
    assert_eq!(world.state(&key("two")), Some(TaskState::Killed));
}
