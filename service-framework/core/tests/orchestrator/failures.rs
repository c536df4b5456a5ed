//! Tasks, agents and masters that fail.

use std::time::Duration;

use mete_model::{Reason, Source, TaskId, TaskState, TaskStatus};
use mete_service_framework_core::spec::app::UnreachableStrategy;
use mete_service_framework_core::state::instances::InstanceState;
use mete_service_framework_core::{Action, Input, Missing, Reply};

use crate::kit::{World, agent, app, checked, id, serving};
use crate::told::Names;

fn delay_s(world: &World, app: &str) -> Option<u64> {
    let queue = world.view().queue;
    let until = queue.get(&id(app))?.delayed_until?;
    Some(until.since(world.now).as_secs())
}

/// The one task of the app fails; the next one is launched when the delay has passed.
fn fail(world: &mut World) {
    let task = world.task_ids()[0].clone();
    world.report(&task, TaskState::Failed, None);
}

#[test]
fn a_failed_instance_is_replaced_after_a_delay_that_grows_and_resets() {
    let mut spec = app("/web", 1);
    spec.backoff.initial = Duration::from_secs(2);
    spec.backoff.factor = 2.0;
    spec.backoff.maximum = Duration::from_secs(10);
    let mut world = serving(spec);

    for expected_s in [2, 4, 8, 10, 10] {
        fail(&mut world);
        assert_eq!(delay_s(&world, "/web"), Some(expected_s));
        world.offer();
        assert!(world.tasks.is_empty(), "not before the delay has passed");
        world.pass_s(expected_s);
        world.offer();
        assert_eq!(world.tasks.len(), 1);
        world.run_all();
    }

    world.pass_s(11);
    fail(&mut world);
    assert_eq!(
        delay_s(&world, "/web"),
        Some(2),
        "nothing failed for the longest delay"
    );
}

#[test]
fn a_delay_is_forgotten_when_a_user_says_so() {
    let mut spec = app("/web", 1);
    spec.backoff.initial = Duration::from_secs(100);
    let mut world = serving(spec);
    fail(&mut world);
    world.offer();
    assert!(world.tasks.is_empty());

    assert_eq!(
        world.step(Input::ResetDelay { app: id("/web") }).reply,
        Some(Reply::Done)
    );
    world.offer();

    assert_eq!(world.tasks.len(), 1);
    let missing = Some(Reply::NotFound(Missing::Queued(id("/web"))));
    assert_eq!(
        world.step(Input::ResetDelay { app: id("/web") }).reply,
        missing
    );
}

#[test]
fn another_config_is_tried_at_once() {
    let mut spec = app("/web", 1);
    spec.backoff.initial = Duration::from_secs(100);
    let mut world = serving(spec.clone());
    fail(&mut world);

    spec.cmd = Some("serve better".to_owned());
    world.put(spec);
    world.pass_s(1);
    world.offer();

    assert_eq!(world.tasks.len(), 1);
}

#[test]
fn a_last_failure_is_kept() {
    let mut world = serving(app("/web", 1));
    let task = world.task_ids()[0].clone();
    let mut status = TaskStatus::new(task.clone(), TaskState::Failed, Source::Executor, world.now);
    status.message = Some("exited with status 3".to_owned());
    world.step(Input::Update(status));
    world.restart();

    let failure = world.app("/web").last_failure.clone().expect("kept");

    assert_eq!(
        (failure.task.clone(), failure.state),
        (task, TaskState::Failed)
    );
    assert_eq!(
        (&*failure.message, &*failure.host),
        ("exited with status 3", "127.0.0.1")
    );
}

#[test]
fn what_went_wrong_on_the_way_is_no_failure_of_the_app() {
    let mut world = World::new(1);
    world.create(app("/web", 1));
    world.offer();
    let task = world.task_ids()[0].clone();
    let mut status = TaskStatus::new(task.clone(), TaskState::Dropped, Source::Master, world.now);
    status.reason = Some(Reason::InvalidOffers);
    world.tasks.remove(&task);

    world.step(Input::Update(status));

    assert_eq!(delay_s(&world, "/web"), None);
    world.pass_s(1);
    world.offer();
    assert_eq!(world.tasks.len(), 1);
}

#[test]
fn instances_of_a_lost_agent_are_replaced_elsewhere_and_its_tasks_killed_when_it_returns() {
    let mut world = serving(checked("/web", 3));
    let lost: Vec<TaskId> = world
        .tasks
        .iter()
        .filter(|(_, task)| task.agent == agent(1))
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(lost.len(), 1);
    world.remove_agent(1);

    world.report(&lost[0], TaskState::Unreachable, None);
    assert!(!world.backends("/web").contains_key(&lost[0]));
    let away = world.tasks.remove(&lost[0]).expect("it runs on, unseen");
    world.calm();
    assert_eq!(world.backends("/web").len(), 3);
    assert!(!world.hosts("/web").contains("127.0.0.1"));

    world.add_agent(1);
    world.tasks.insert(lost[0].clone(), away);
    world.report(&lost[0], TaskState::Running, Some(true));
    assert_eq!(world.kills, lost);
    assert!(!world.backends("/web").contains_key(&lost[0]));
    world.pass_s(10);
    assert_eq!(world.kills.len(), 2, "repeated until it has ended");
    world.heard();
    world.end_killed();
    assert_eq!(world.heard(), ["unknown_instance_terminated_event"]);
    world.pass_s(20);
    assert!(world.kills.is_empty());
    assert_eq!(world.tasks.len(), 3);
}

#[test]
fn an_unreachable_instance_is_waited_for_as_long_as_its_app_says() {
    let mut spec = checked("/web", 1);
    spec.unreachable_strategy = UnreachableStrategy::Enabled {
        inactive_after: Duration::from_secs(60),
        expunge_after: Duration::from_secs(600),
    };
    let mut world = serving(spec);
    let task = world.task_ids()[0].clone();
    world.report(&task, TaskState::Unreachable, None);
    world.pass_s(59);
    assert_eq!(world.instances("/web").len(), 1);

    world.pass_s(1);
    assert!(
        matches!(world.states("/web")[..], [_, _]),
        "another one waits"
    );
    world.offer();
    world.run_all();
    assert_eq!(world.backends("/web").len(), 1);

    world.report(&task, TaskState::Running, Some(true));
    world.calm();
    assert_eq!(world.tasks.len(), 1, "one too many, the youngest goes");
    assert!(world.tasks.contains_key(&task));
}

#[test]
fn an_unreachable_instance_is_forgotten_in_the_end() {
    let mut spec = checked("/web", 1);
    spec.unreachable_strategy = UnreachableStrategy::Enabled {
        inactive_after: Duration::from_secs(60),
        expunge_after: Duration::from_secs(600),
    };
    let mut world = serving(spec);
    let task = world.task_ids()[0].clone();
    world.report(&task, TaskState::Unreachable, None);

    world.pass_s(600);

    assert_eq!(world.states("/web"), [InstanceState::Waiting]);
}

#[test]
fn without_strategy_an_unreachable_instance_is_never_replaced() {
    let mut spec = app("/web", 1);
    spec.unreachable_strategy = UnreachableStrategy::Disabled;
    let mut world = serving(spec);
    let task = world.task_ids()[0].clone();
    world.report(&task, TaskState::Unreachable, None);

    world.pass_s(100_000);

    assert_eq!(world.instances("/web").len(), 1);
    assert!(!world.wants_offers);
}

#[test]
fn an_unreachable_instance_that_is_to_go_is_gone() {
    let mut world = serving(app("/web", 2));
    world.scale("/web", 1);
    world.acknowledge_all();
    let killed = world.kills[0].clone();

    world.report(&killed, TaskState::Unreachable, None);

    assert_eq!(world.instances("/web").len(), 1);
    assert!(world.view().deployments.is_empty());
}

#[test]
fn a_task_its_agent_is_ending_gets_no_more_traffic() {
    let mut world = serving(app("/web", 1));
    let task = world.task_ids()[0].clone();

    world.report(&task, TaskState::Killing, None);

    assert!(world.backends("/web").is_empty());
    assert_eq!(
        world.instances("/web").len(),
        1,
        "replaced when it has ended"
    );
    world.report(&task, TaskState::Killed, None);
    world.calm();
    assert_eq!(world.backends("/web").len(), 1);
}

#[test]
fn every_report_is_acknowledged_also_of_unknown_tasks_and_twice() {
    let mut world = serving(app("/web", 1));
    let task = world.task_ids()[0].clone();
    let is_ack = |action: &&Action| matches!(action, Action::Acknowledge { .. });

    for state in [TaskState::Running, TaskState::Running, TaskState::Finished] {
        let effects = world.report(&task, state, None);
        assert_eq!(effects.act.iter().filter(is_ack).count(), 1);
    }
    let mut status = TaskStatus::new(task, TaskState::Finished, Source::Executor, world.now);
    status.agent = Some(agent(1));
    status.uuid = Some(mete_model::UpdateId([7; 16]));
    let effects = world.step(Input::Update(status));
    assert_eq!(effects.act.iter().filter(is_ack).count(), 1);
    assert_eq!(effects.store, []);
}

#[test]
fn a_report_that_tells_nothing_new_stores_nothing() {
    let mut world = serving(checked("/web", 1));
    let task = world.task_ids()[0].clone();
    let mut status = TaskStatus::new(task, TaskState::Running, Source::Master, world.now);
    status.reason = Some(Reason::Reconciliation);
    status.healthy = Some(true);

    let effects = world.step(Input::Update(status));

    assert_eq!((effects.store, effects.act), (Vec::new(), Vec::new()));
}

#[test]
fn health_beside_the_answer_of_a_check_is_believed_and_is_no_new_failure() {
    let mut world = serving(checked("/web", 1));
    let task = world.task_ids()[0].clone();
    let mut status = TaskStatus::new(task, TaskState::Running, Source::Executor, world.now);
    status.agent = Some(agent(1));
    status.reason = Some(Reason::TaskCheckStatusUpdated);
    status.healthy = Some(false);
    let failures = |world: &World| {
        let instance = world.instances("/web").remove(0);
        let health = instance.health.first().cloned().unwrap_or_default();
        (instance.state.clone(), health.consecutive_failures)
    };

    world.step(Input::Update(status.clone()));
    world.step(Input::Update(status));

    let unhealthy = InstanceState::Running {
        healthy: Some(false),
    };
    assert_eq!(failures(&world), (unhealthy, 1));
}

#[test]
fn after_each_subscription_the_master_is_asked_what_it_knows() {
    let mut world = serving(app("/web", 1));
    let mut names = Names::default();
    world.scale("/web", 2);
    world.offer();
    world.step(Input::Disconnected);

    let effects = world.subscribe();

    let expected = [
        "publish scheduler_reregistered_event",
        "reconcile I1._app.1, I2._app.1",
        "reconcile all",
        "ask what is reserved",
        "suppress",
    ];
    assert_eq!(names.lines(&effects), expected);
    world.step(Input::Update(TaskStatus::new(
        world.task_ids()[0].clone(),
        TaskState::Running,
        Source::Master,
        world.now,
    )));
    world.now = world.now + Duration::from_secs(600);
    let effects = world.step(Input::Deadline);
    assert!(
        names.lines(&effects).contains(&"reconcile all".to_owned()),
        "and every ten minutes"
    );
}

#[test]
fn while_the_link_is_broken_nothing_is_asked_of_the_master() {
    let mut world = World::new(1);
    world.step(Input::Disconnected);

    world.create(app("/web", 1));
    world.pass_s(1_000);
    assert!(world.tasks.is_empty());
    world.subscribe();
    world.calm();

    assert_eq!(
        world.tasks.len(),
        1,
        "what was asked meanwhile is done afterwards"
    );
}

#[test]
fn kills_that_were_not_heard_are_sent_again_when_the_master_is_back() {
    let mut world = serving(app("/web", 2));
    world.step(Input::Disconnected);
    world.scale("/web", 1);
    world.acknowledge_all();
    world.kills.clear();

    world.subscribe();

    assert_eq!(world.kills.len(), 1);
}

#[test]
fn an_unknown_task_of_somebody_else_is_killed_too() {
    let mut world = World::new(1);
    let stranger = TaskId::new("who-knows").expect("good");
    let mut status = TaskStatus::new(
        stranger.clone(),
        TaskState::Running,
        Source::Master,
        world.now,
    );
    status.agent = Some(agent(1));

    let effects = world.step(Input::Update(status.clone()));
    assert_eq!(
        effects.act,
        [Action::Kill {
            task: stranger,
            agent: Some(agent(1)),
            grace: None
        }]
    );
    assert_eq!(
        world.step(Input::Update(status.clone())).act,
        [],
        "not at each report"
    );
    status.state = TaskState::Killed;
    world.step(Input::Update(status));
    world.kills.clear();
    world.pass_s(100);
    assert!(world.kills.is_empty());
}
