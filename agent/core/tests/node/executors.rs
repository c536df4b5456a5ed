//! Executors of frameworks' own: started by their first task, told of all, heard, ended, taken over by the next agent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::{
    Action, DiskSpace, ExecutorKey, ExecutorPhase, Findings, ForExecutor, Found, FromExecutor,
    Input, LaunchOutcome, LaunchStage, Order, Outgoing, Phase, ToExecutor,
};
use mete_model::{
    CommandSpec, ContainerId, ExecutorId, ExecutorKind, ExecutorSpec, Machine, Ranges, Reason,
    Resources, Source, TaskGroup, TaskId, TaskSpec, TaskState, TaskStatus, Timestamp, UpdateId,
};

use crate::fixture::*;

fn executor() -> ExecutorSpec {
    ExecutorSpec {
        id: ExecutorId::new("own").expect("good"),
        kind: ExecutorKind::Custom,
        name: "an executor".into(),
        resources: Resources::cpus_mem(10, 32),
        command: Some(CommandSpec::shell("./executor")),
        container: None,
        shutdown_grace_period: Some(seconds(7)),
        original: vec![0, 159].into(),
    }
}

fn own() -> ExecutorKey {
    ExecutorKey {
        framework: key("x").framework,
        executor: executor().id,
    }
}

fn delegated(task: &str) -> TaskSpec {
    TaskSpec {
        command: CommandSpec::shell(""),
        executor: Some(Arc::new(executor())),
        ..spec(task)
    }
}

fn word(task: &str, state: TaskState, uuid: u8) -> TaskStatus {
    TaskStatus {
        uuid: Some(UpdateId([uuid; 16])),
        message: Some("said so".into()),
        original: Some([1, 2, 3].as_slice().into()),
        ..TaskStatus::new(
            TaskId::new(task).expect("good"),
            state,
            Source::Executor,
            NOON,
        )
    }
}

fn from_executor(said: FromExecutor) -> Input {
    let executor = own();
    Input::FromExecutor { executor, said }
}

fn told(actions: &[Action]) -> Vec<(u64, ToExecutor)> {
    let told = actions.iter().filter_map(|action| {
        let Action::ForExecutor(ForExecutor::Tell { link, event }) = action else {
            return None;
        };
        Some((*link, (**event).clone()))
    });
    told.collect()
}

fn acknowledged(task: &str, uuid: u8) -> ToExecutor {
    ToExecutor::Acknowledged {
        task: TaskId::new(task).expect("good"),
        update: UpdateId([uuid; 16]),
    }
}

fn launched(actions: &[Action]) -> Vec<&TaskSpec> {
    let all = actions.iter().filter_map(|action| {
        let Action::ForExecutor(ForExecutor::Launch { program, .. }) = action else {
            return None;
        };
        Some(&**program)
    });
    all.collect()
}

fn exits(actions: &[Action]) -> Vec<i32> {
    let all = actions.iter().filter_map(|action| {
        let Action::Send { message, .. } = action else {
            return None;
        };
        let Outgoing::ExecutorExited { executor, status } = &**message else {
            return None;
        };
        assert_eq!(*executor, own());
        Some(*status)
    });
    all.collect()
}

impl World {
    fn subscribe(&mut self, now: Timestamp, link: u64, tasks: &[&str]) -> Vec<Action> {
        let tasks = tasks.iter().map(|task| TaskId::new(*task).expect("good"));
        let said = FromExecutor::Subscribe {
            link,
            tasks: tasks.collect(),
            updates: Vec::new(),
        };
        self.step(now, from_executor(said))
    }

    fn says(&mut self, now: Timestamp, status: TaskStatus) -> Vec<Action> {
        let said = FromExecutor::Update(Box::new(status));
        self.step(now, from_executor(said))
    }

    fn its_container(&self) -> ContainerId {
        self.node.view().custom_executors[&own()].container.clone()
    }

    fn executor_started(&mut self, outcome: LaunchOutcome) -> Vec<Action> {
        let input = Input::Launched {
            key: key("own"),
            container: self.its_container(),
            outcome,
        };
        self.step(NOON, input)
    }

    fn executor_exits(&mut self, now: Timestamp, code: i32) -> Vec<Action> {
        let input = Input::Exited {
            key: key("own"),
            container: self.its_container(),
            exit: Some(exit(code)),
        };
        self.step(now, input)
    }

    fn phase_of_executor(&self) -> ExecutorPhase {
        self.node.view().custom_executors[&own()].phase.clone()
    }
}

/// An agent with an executor that has subscribed on stream 1 and was told of `a`, which runs and nobody waits for.
fn attended() -> World {
    let mut world = World::registered();
    world.run(NOON, delegated("a"));
    world.executor_started(LaunchOutcome::Started);
    world.subscribe(NOON, 1, &[]);
    world.says(NOON, word("a", TaskState::Running, 1));
    world.acknowledge(NOON, &key("a"), UpdateId([1; 16]));
    world
}

#[test]
fn the_first_task_starts_the_executor_and_all_are_given_to_it_once_it_subscribes() {
    let mut world = World::registered();

    let first = world.run(NOON, delegated("a"));
    let second = world.run(at(1.0), delegated("b"));

    let programs = launched(&first);
    assert_eq!(programs.len(), 1);
    assert_eq!(programs[0].command, CommandSpec::shell("./executor"));
    assert_eq!(programs[0].resources, Resources::cpus_mem(510, 96));
    assert!(launched(&second).is_empty());
    assert!(told(&second).is_empty());
    assert!(second.contains(&Action::ForExecutor(ForExecutor::Widen {
        container: world.its_container(),
        cpus_milli: 1_010,
        mem_bytes: 160 * MEGABYTE,
    })));

    world.executor_started(LaunchOutcome::Started);
    let subscribed = world.subscribe(at(2.0), 1, &[]);

    let events = told(&subscribed);
    assert!(matches!(events[0], (1, ToExecutor::Subscribed { .. })));
    let tasks = events[1..].iter().map(|(link, event)| {
        let ToExecutor::Launch(spec) = event else {
            panic!("{event:?}");
        };
        (*link, spec.id.to_string())
    });
    let tasks: Vec<_> = tasks.collect();
    assert_eq!(tasks, [(1, "a".to_owned()), (1, "b".to_owned())]);
    assert_eq!(world.node.view().tasks[&key("a")].phase, Phase::Delegated);
}

#[test]
fn what_an_executor_says_is_stored_told_on_and_only_then_acknowledged_to_it() {
    let mut world = World::registered();
    world.run(NOON, delegated("a"));
    world.executor_started(LaunchOutcome::Started);
    world.subscribe(NOON, 1, &[]);

    let said = world.says(NOON, word("a", TaskState::Running, 1));
    assert!(!world.last.store.is_empty());
    let again = world.says(NOON, word("a", TaskState::Running, 1));

    let report = report(&said);
    assert_eq!(report.status.uuid, Some(UpdateId([1; 16])));
    assert_eq!(report.status.original.as_deref(), Some(&[1, 2, 3][..]));
    assert_eq!(report.status.agent, Some(agent()));
    assert_eq!(told(&said), [(1, acknowledged("a", 1))]);
    assert!(reports(&again).is_empty());
    assert_eq!(told(&again), [(1, acknowledged("a", 1))]);

    world.acknowledge(NOON, &key("a"), UpdateId([1; 16]));
    world.says(NOON, word("a", TaskState::Finished, 2));
    assert_eq!(world.state(&key("a")), Some(TaskState::Finished));
    world.acknowledge(NOON, &key("a"), UpdateId([2; 16]));
    assert_eq!(world.state(&key("a")), None);
    let late = world.says(NOON, word("a", TaskState::Finished, 2));
    assert_eq!(told(&late), [(1, acknowledged("a", 2))]);
    assert_eq!(world.phase_of_executor(), ExecutorPhase::Subscribed);
}

#[test]
fn an_executor_that_says_much_while_nobody_hears_does_not_fill_the_agent() {
    let mut world = attended();

    for uuid in 2..200 {
        let state = [TaskState::Starting, TaskState::Running][usize::from(uuid) % 2];
        world.says(NOON, word("a", state, uuid));
    }

    assert_eq!(world.node.view().unacknowledged, 16);
}

#[test]
fn a_kill_goes_to_the_executor_and_one_before_it_came_ends_the_task_and_the_executor() {
    let mut world = attended();

    let killed = world.kill(NOON, &key("a"));

    let task = TaskId::new("a").expect("good");
    let grace = None;
    assert_eq!(told(&killed), [(1, ToExecutor::Kill { task, grace })]);
    assert_eq!(world.state(&key("a")), Some(TaskState::Running));

    let mut world = World::registered();
    world.run(NOON, delegated("a"));
    let killed = world.kill(NOON, &key("a"));
    assert_eq!(report(&killed).status.state, TaskState::Killed);
    let container = world.its_container();
    assert!(killed.contains(&Action::CancelLaunch { container }));
    let over = world.executor_started(LaunchOutcome::Failed {
        stage: LaunchStage::Cancelled,
        reason: "it is to be killed".into(),
    });
    assert_eq!(exits(&over), [-1]);
    assert!(world.node.view().custom_executors.is_empty());
}

#[test]
fn an_executor_that_does_not_subscribe_within_a_minute_is_killed_and_its_tasks_fail() {
    let mut world = World::registered();
    world.run(NOON, delegated("a"));
    world.executor_started(LaunchOutcome::Started);

    world.step(at(59.9), Input::Deadline);
    assert!(matches!(
        world.phase_of_executor(),
        ExecutorPhase::Awaited { .. }
    ));
    let due = world.step(at(60.0), Input::Deadline);

    let container = world.its_container();
    let kill = Action::Kill {
        key: key("own"),
        container,
    };
    assert!(due.contains(&kill));
    let over = world.executor_exits(at(61.0), 137);
    let status = report(&over).status;
    assert_eq!(status.state, TaskState::Failed);
    assert_eq!(status.reason, Some(Reason::ExecutorRegistrationTimeout));
}

#[test]
fn the_end_of_an_executor_fails_its_tasks_and_is_told_with_its_status() {
    let mut world = attended();
    let container = world.its_container();

    let over = world.executor_exits(at(1.0), 3);

    let status = report(&over).status;
    assert_eq!(status.state, TaskState::Failed);
    assert_eq!(status.reason, Some(Reason::ExecutorTerminated));
    assert!(status.container.is_none_or(|named| named == container));
    assert_eq!(exits(&over), [3 << 8]);
    assert!(over.contains(&Action::ForExecutor(ForExecutor::Close { link: 1 })));
    assert!(over.contains(&Action::Release {
        key: key("own"),
        container: container.clone(),
    }));
    assert!(world.node.view().custom_executors.is_empty());
    assert!(world.node.view().sandboxes.get(&container).is_some());
}

#[test]
fn a_shutdown_is_asked_for_then_forced_after_the_grace_period() {
    let mut world = attended();

    let asked = world.order(NOON, Order::ShutdownExecutor(own()));
    let early = world.step(at(6.9), Input::Deadline);
    let forced = world.step(at(7.0), Input::Deadline);

    assert_eq!(told(&asked), [(1, ToExecutor::Shutdown)]);
    let container = world.its_container();
    let kill = Action::Kill {
        key: key("own"),
        container,
    };
    assert!(!early.contains(&kill));
    assert!(forced.contains(&kill));
    let refused = world.run(at(8.0), delegated("b"));
    assert_eq!(
        report(&refused).status.reason,
        Some(Reason::ExecutorTerminated)
    );
}

#[test]
fn the_grace_of_a_shutdown_outlives_a_restart_of_the_agent() {
    let mut world = attended();
    world.order(NOON, Order::ShutdownExecutor(own()));

    let adopted = restart(&mut world, Found::Running);
    let early = world.step(at(6.9), Input::Deadline);
    let forced = world.step(at(7.0), Input::Deadline);

    let container = world.its_container();
    let kill = Action::Kill {
        key: key("own"),
        container,
    };
    assert!(!adopted.contains(&kill) && !early.contains(&kill));
    assert!(forced.contains(&kill));
}

#[test]
fn an_executor_ends_with_its_framework_and_nobody_is_told_of_its_tasks() {
    let mut world = attended();
    let framework = key("x").framework;

    let asked = world.order(NOON, Order::ShutdownFramework(framework));
    let over = world.executor_exits(at(1.0), 0);

    assert_eq!(told(&asked), [(1, ToExecutor::Shutdown)]);
    assert!(reports(&over).is_empty());
    assert_eq!(exits(&over), [0]);
    assert!(world.node.view().tasks.is_empty());
    assert!(world.node.view().frameworks.is_empty());
}

#[test]
fn an_executor_without_tasks_stays_and_comes_with_its_agent() {
    let mut world = attended();
    world.says(NOON, word("a", TaskState::Finished, 2));
    world.acknowledge(NOON, &key("a"), UpdateId([2; 16]));

    world.reconnect(at(1.0));
    let (registration, _) = world.admit(at(2.0), 1);

    let brought = registration.custom_executors.iter().map(|one| &one.key);
    assert_eq!(brought.collect::<Vec<_>>(), [&own()]);
    assert_eq!(registration.frameworks.len(), 1);
    assert!(registration.tasks.is_empty());
}

fn restart(world: &mut World, found: Found) -> Vec<Action> {
    world.crash();
    let findings = Findings {
        boot_id: "boot-1".into(),
        found: BTreeMap::new(),
        executors: [(own(), found)].into(),
    };
    let actions = world.step(NOON, Input::Recovered(findings));
    world.link = opened(&actions).expect("it looks for its master");
    actions
}

#[test]
fn after_a_restart_an_executor_is_awaited_and_goes_on_with_what_it_knows() {
    let mut world = attended();
    world.run(NOON, delegated("b"));
    let before = world.its_container();

    let adopted = restart(&mut world, Found::Running);
    assert!(adopted.contains(&Action::Adopt {
        key: key("own"),
        container: before.clone(),
    }));
    world.admit(at(1.0), 1);
    let back = world.subscribe(at(2.0), 1, &["a"]);

    assert_eq!(world.its_container(), before);
    assert_eq!(world.state(&key("a")), Some(TaskState::Running));
    let lost = report(&back).status;
    assert_eq!(lost.task.as_str(), "b");
    assert_eq!(lost.state, TaskState::Dropped);
    assert_eq!(lost.reason, Some(Reason::AgentRestarted));
    world.step(at(100.0), Input::Deadline);
    assert_eq!(world.phase_of_executor(), ExecutorPhase::Subscribed);
}

#[test]
fn one_that_does_not_come_back_after_a_restart_is_killed() {
    let mut world = attended();
    restart(&mut world, Found::Running);
    world.admit(NOON, 1);

    let due = world.step(NOON + Duration::from_secs(15), Input::Deadline);

    let container = world.its_container();
    assert!(due.contains(&Action::Kill {
        key: key("own"),
        container,
    }));
    let over = world.executor_exits(at(16.0), 137);
    assert_eq!(
        report(&over).status.reason,
        Some(Reason::ExecutorReregistrationTimeout)
    );
}

#[test]
fn one_that_ended_while_the_agent_was_away_took_its_tasks_along() {
    let mut world = attended();
    restart(&mut world, Found::Ended(exit(1)));

    let (registration, _) = world.admit(NOON, 1);

    assert!(registration.custom_executors.is_empty());
    let told = registration.unacknowledged;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].status.state, TaskState::Failed);
    assert_eq!(told[0].status.reason, Some(Reason::ExecutorTerminated));
}

#[test]
fn messages_go_both_ways_while_somebody_listens() {
    let mut world = attended();
    let down = Order::MessageExecutor {
        executor: own(),
        data: [7].as_slice().into(),
    };

    let said = world.order(NOON, down.clone());
    let up = FromExecutor::Message([8].as_slice().into());
    let up = world.step(NOON, from_executor(up));
    world.step(NOON, from_executor(FromExecutor::Left { link: 1 }));
    let unheard = world.order(NOON, down);

    let data: bytes::Bytes = [7].as_slice().into();
    assert_eq!(told(&said), [(1, ToExecutor::Message(data))]);
    assert!(up.iter().any(|action| matches!(
        action,
        Action::Send { message, .. } if matches!(&**message, Outgoing::ExecutorMessage { data, .. } if data[..] == [8])
    )));
    assert!(told(&unheard).is_empty());
}

#[test]
fn a_second_subscription_ends_the_first() {
    let mut world = attended();

    let second = world.subscribe(at(1.0), 2, &["a"]);
    world.step(at(2.0), from_executor(FromExecutor::Left { link: 1 }));

    assert!(second.contains(&Action::ForExecutor(ForExecutor::Close { link: 1 })));
    assert_eq!(world.node.view().custom_executors[&own()].stream, Some(2));
}

#[test]
fn the_end_of_an_executor_while_no_master_is_there_is_told_with_the_next_registration_and_once() {
    let mut world = attended();
    let then = world.reconnect(at(1.0));

    let ended = world.executor_exits(then, 3);

    assert!(exits(&ended).is_empty(), "nobody is there to hear it");
    let (registration, _) = world.admit(then, 1);
    assert_eq!(registration.exited, [(own(), 3 << 8)]);
    let then = world.reconnect(then);
    let (again, _) = world.admit(then, 1);
    assert_eq!(again.exited, []);
}

#[test]
fn the_end_of_an_executor_that_nobody_heard_is_told_by_the_next_agent_and_forgotten_once_it_is() {
    let mut world = attended();
    let then = world.reconnect(at(1.0));
    world.executor_exits(then, 3);
    for _ in 0..2 {
        world.crash();
        world.recover("boot-1", []);
    }

    let (registration, _) = world.admit(then, 1);

    assert_eq!(registration.exited, [(own(), 3 << 8)]);
    world.crash();
    world.recover("boot-1", []);
    let (again, _) = world.admit(then, 1);
    assert_eq!(again.exited, []);
}

#[test]
fn an_executor_that_ends_while_the_agent_registers_is_told_as_soon_as_it_has() {
    let mut world = attended();
    let then = world.reconnect(at(1.0));
    let link = world.link;
    world.step(then, Input::Connected { link });
    let quiet = world.executor_exits(then, 3);
    assert!(exits(&quiet).is_empty());

    let admitted = Order::Registered {
        epoch: 1,
        agent: agent(),
    };
    let actions = world.order(then, admitted);

    assert_eq!(exits(&actions), [3 << 8]);
    let then = world.reconnect(then);
    let (again, _) = world.admit(then, 1);
    assert_eq!(again.exited, []);
}

fn run_group(world: &mut World, tasks: &[&str]) -> Vec<Action> {
    let group = TaskGroup {
        executor: executor(),
        tasks: tasks.iter().map(|task| delegated(task)).collect(),
    };
    let order = Order::RunGroup {
        framework: framework(),
        group: Box::new(group),
    };
    world.order(NOON, order)
}

#[test]
fn a_later_group_need_not_bring_the_ports_of_a_running_executor() {
    let mut world = World::registered();
    let container = reached_at(31_000);
    let executor = ExecutorSpec {
        container: Some(Box::new(container)),
        ..executor()
    };
    let mut first = delegated("a");
    first.resources.ports = Ranges::interval(31_000, 31_000);

    for task in [first, delegated("b")] {
        let tasks = vec![task];
        let executor = executor.clone();
        let order = Order::RunGroup {
            framework: framework(),
            group: Box::new(TaskGroup { executor, tasks }),
        };
        assert_eq!(reports(&world.order(NOON, order)), [], "taken");
    }

    assert_eq!(world.state(&key("b")), Some(TaskState::Staging));
}

#[test]
fn an_executor_whose_first_launch_is_refused_is_over_for_the_master() {
    let mut full = World::registered();
    let disk = DiskSpace {
        total_bytes: 1 << 40,
        used_bytes: (1 << 40) - 1,
        free_bytes: 1,
    };
    full.step(NOON, Input::DiskMeasured(Some(disk)));
    let reason = "executor.command: it is missing".to_owned();
    let executor = Some(own());
    let unrunnable = |keys: [&str; 1]| Order::UnrunnableGroup {
        keys: keys.map(key).into(),
        executor: executor.clone(),
        reason: reason.clone(),
    };
    let mut world = World::registered();

    for actions in [
        full.run(NOON, delegated("a")),
        run_group(&mut full, &["b"]),
        world.order(
            NOON,
            Order::Unrunnable {
                key: key("a"),
                executor: executor.clone(),
                reason: reason.clone(),
            },
        ),
        world.order(NOON, unrunnable(["b"])),
    ] {
        assert_eq!(exits(&actions), [-1]);
        assert_eq!(reports(&actions).len(), 1);
    }

    let mut busy = attended();
    let refused = busy.order(NOON, unrunnable(["b"]));
    assert_eq!(exits(&refused), [0; 0], "it is there");
}

/// The groups that are handed over, by the names of their tasks.
fn groups(actions: &[Action]) -> Vec<Vec<String>> {
    let names = |event| match event {
        ToExecutor::LaunchGroup(all) => {
            let names = all.iter().map(|task| task.id.to_string());
            Some(names.collect())
        }
        ToExecutor::Subscribed { .. }
        | ToExecutor::Launch(_)
        | ToExecutor::Kill { .. }
        | ToExecutor::Acknowledged { .. }
        | ToExecutor::Message(_)
        | ToExecutor::Shutdown => None,
    };
    let told = told(actions).into_iter();
    told.filter_map(|(_, event)| names(event)).collect()
}

#[test]
fn a_group_starts_its_executor_and_is_handed_over_as_one_by_the_next_agent_too() {
    let mut world = World::registered();

    let started = run_group(&mut world, &["b", "a"]);

    let [program] = &*launched(&started) else {
        panic!("one executor: {started:?}")
    };
    let tasks = spec("a").resources.plus(&spec("b").resources);
    assert_eq!(program.resources, executor().resources.plus(&tasks));
    world.crash();
    let findings = Findings {
        boot_id: "boot-1".into(),
        found: BTreeMap::new(),
        executors: [(own(), Found::Running)].into(),
    };
    world.step(NOON, Input::Recovered(findings));
    let subscribed = world.subscribe(at(1.0), 1, &[]);
    assert_eq!(groups(&subscribed), [["b", "a"]]);
    let more = run_group_later(&mut world);
    assert_eq!(groups(&more), [["c", "d"]]);
    let again = world.subscribe(at(2.0), 2, &["a", "b", "c", "d"]);
    assert!(groups(&again).is_empty(), "handed over once");
}

fn run_group_later(world: &mut World) -> Vec<Action> {
    world.link = 1;
    let link = world.link;
    world.step(at(1.0), Input::Connected { link });
    let admitted = Order::Registered {
        epoch: 1,
        agent: agent(),
    };
    world.order(at(1.0), admitted);
    run_group(world, &["c", "d"])
}

#[test]
fn a_task_that_is_killed_before_its_group_is_handed_over_takes_the_others_along() {
    let mut world = World::registered();
    run_group(&mut world, &["a", "b"]);

    world.kill(at(1.0), &key("a"));

    let view = world.node.view();
    for (task, message) in [
        ("a", "killed before it had started"),
        ("b", "task a of its group ended before the group had begun"),
    ] {
        let latest = &view.tasks[&key(task)].latest;
        assert_eq!(latest.state, TaskState::Killed);
        assert_eq!(latest.message.as_deref(), Some(message));
    }
    let executor = &view.custom_executors[&own()];
    assert!(executor.ending().is_some(), "nobody needs it any more");
}

#[test]
fn of_a_group_that_was_handed_over_the_executor_decides_what_a_kill_means() {
    let mut world = attended();
    run_group(&mut world, &["b", "c"]);

    let killed = world.kill(at(1.0), &key("b"));

    let task = TaskId::new("b").expect("good");
    let kill = ToExecutor::Kill { task, grace: None };
    assert_eq!(told(&killed), [(1, kill)]);
    let view = world.node.view();
    assert_eq!(view.tasks[&key("c")].phase, Phase::Delegated);
}
