//! Instances that a deployment has started are ready when they say so.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::{TaskId, TaskState};
use mete_service_framework_core::probe::{Answer, Check, Probe, Question, Response};
use mete_service_framework_core::spec::app::{AppSpec, KillSelection, ReadinessCheckSpec};
use mete_service_framework_core::{Input, Wanted};
use proptest::prelude::*;

use crate::kit::{World, app, checked, serving};

const READY: Answer = Answer::Status(200);
const NOT_READY: Answer = Answer::Status(503);

/// With a readiness check at the app's one port, asked every 10 s.
fn with_readiness(mut spec: AppSpec) -> AppSpec {
    spec.readiness_check = Some(ReadinessCheckSpec {
        port_name: "default".to_owned(),
        path: "/ready".to_owned(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        ..ReadinessCheckSpec::default()
    });
    spec
}

fn better(mut spec: AppSpec) -> AppSpec {
    spec.cmd = Some("serve better".to_owned());
    spec
}

fn up(world: &World) -> BTreeSet<TaskId> {
    let all = world.backends("/web").into_iter();
    all.filter(|(_, state)| *state == mete_service_framework_core::backends::BackendState::Up)
        .map(|(task, _)| task)
        .collect()
}

/// What was launched runs, and is asked at once.
fn run(world: &mut World) {
    world.offer();
    world.run_all();
    world.pass(Duration::ZERO);
}

/// Everybody is ready and says so when asked, until no deployment runs any more.
fn finish(world: &mut World) {
    for _ in 0..40 {
        world.calm();
        if world.view().deployments.is_empty() {
            return;
        }
    }
    panic!("it does not end: {:?}", world.instances("/web"));
}

fn asked(world: &World) -> BTreeSet<TaskId> {
    let asked = world.probes.iter();
    asked.map(|probe| probe.instance.task()).collect()
}

#[test]
fn a_new_instance_takes_over_when_it_says_that_it_is_ready() {
    let spec = with_readiness(checked("/web", 2));
    let mut world = serving(spec.clone());
    let old: BTreeSet<_> = world.task_ids().into_iter().collect();
    assert_eq!(world.probes, [], "nobody is asked without a deployment");

    world.put(better(spec));
    run(&mut world);
    let new: BTreeSet<_> = world.tasks.keys().cloned().collect();
    let new: BTreeSet<_> = new.difference(&old).cloned().collect();
    assert_eq!(asked(&world), new);
    let place = world.instances("/web");
    let place = place
        .iter()
        .find(|it| it.id == world.probes[0].instance)
        .and_then(|it| it.place.clone())
        .expect("placed");
    let expected = Probe {
        instance: world.probes[0].instance.clone(),
        check: Check::Readiness,
        host: place.host,
        port: place.ports[0],
        question: Question::Http {
            secure: false,
            path: "/ready".to_owned(),
            keeps_response: false,
        },
        timeout: Duration::from_secs(3),
    };
    assert_eq!(world.probes[0], expected);
    assert_eq!(up(&world), old, "healthy, but not ready");

    let (first, second) = (world.probes.remove(0), world.probes.remove(0));
    world.answer(&first, NOT_READY);
    world.answer(&second, Answer::None("connection refused".to_owned()));
    world.acknowledge_all();
    assert_eq!((up(&world), world.kills.len()), (old.clone(), 0));
    world.pass_s(15);
    assert_eq!(asked(&world), new, "asked again in an interval");
    let again = world.probes.remove(0);
    world.answer(&again, READY);
    assert_eq!(up(&world).len(), 2, "one came, one drains");
    assert!(up(&world).contains(&again.instance.task()));
    finish(&mut world);

    assert_eq!(up(&world), new);
    assert!(world.view().deployments.is_empty());
    assert!(
        world
            .instances("/web")
            .iter()
            .all(|it| it.readiness.is_none())
    );
    world.pass_s(60);
    assert_eq!(world.probes, [], "who is ready is asked no more");
}

#[test]
fn a_deployment_of_a_new_app_and_of_more_instances_waits_too() {
    let mut world = World::new(1);
    world.acknowledge_all();
    let spec = with_readiness(app("/web", 1));
    world.create(spec);
    run(&mut world);
    assert_eq!((up(&world).len(), world.view().deployments.len()), (0, 1));
    world.answer_all(&READY);
    assert_eq!((up(&world).len(), world.view().deployments.len()), (1, 0));

    world.pass_s(6); // offers are asked for again
    world.scale("/web", 3);
    run(&mut world);
    assert_eq!((up(&world).len(), world.probes.len()), (1, 2));
    world.answer_all(&READY);
    assert_eq!((up(&world).len(), world.view().deployments.len()), (3, 0));
}

#[test]
fn without_a_deployment_a_replacement_is_not_asked() {
    let mut world = serving(with_readiness(checked("/web", 1)));
    let task = world.task_ids()[0].clone();

    world.report(&task, TaskState::Failed, None);
    world.pass_s(2);
    run(&mut world);

    assert_eq!((up(&world).len(), world.probes.len()), (1, 0));
}

#[test]
fn after_a_restart_in_its_middle_a_deployment_goes_on() {
    let spec = with_readiness(checked("/web", 2));
    let mut world = serving(spec.clone());
    let old: BTreeSet<_> = world.task_ids().into_iter().collect();
    world.put(better(spec));
    run(&mut world);
    let ready = world.probes.remove(0);
    world.answer(&ready, READY);
    let listed = up(&world);

    world.restart();
    world.subscribe();
    world.pass(Duration::ZERO);

    assert_eq!(up(&world), listed);
    assert_eq!(world.probes.len(), 1, "the other is asked at once");
    assert_ne!(world.probes[0].instance, ready.instance);
    world.answer_all(&NOT_READY);
    assert_eq!(up(&world), listed);
    finish(&mut world);
    assert_eq!(world.tasks.len(), 2);
    assert!(world.tasks.keys().all(|task| !old.contains(task)));
    assert!(world.view().deployments.is_empty());
}

#[test]
fn where_a_deployment_is_stopped_those_not_ready_go_first_and_nobody_is_asked_any_more() {
    let mut spec = with_readiness(checked("/web", 2));
    spec.kill_selection = KillSelection::OldestFirst;
    let mut world = serving(spec.clone());
    let old: BTreeSet<_> = world.task_ids().into_iter().collect();
    world.put(better(spec));
    run(&mut world);
    assert_eq!(world.tasks.len(), 4);

    let id = world.view().deployments.keys().next().cloned();
    let id = id.expect("it runs");
    world.step(Input::CancelDeployment { id, force: true });
    assert_eq!(up(&world), old);
    finish(&mut world);

    assert_eq!(world.tasks.keys().cloned().collect::<BTreeSet<_>>(), old);
    assert_eq!(world.probes, []);
}

#[test]
fn a_deployment_forced_over_another_keeps_those_that_are_ready() {
    let spec = with_readiness(checked("/web", 2));
    let mut world = serving(spec.clone());
    let old: BTreeSet<_> = world.task_ids().into_iter().collect();
    world.put(better(spec.clone()));
    run(&mut world);
    assert_eq!(world.tasks.len(), 4);

    let mut best = spec;
    best.cmd = Some("serve best".to_owned());
    let put = Wanted::Put {
        apps: vec![best],
        create: true,
        merged_with: Default::default(),
    };
    world.ask(put, true);

    assert_eq!(up(&world), old);
    assert!(world.kills.iter().all(|task| !old.contains(task)));
    finish(&mut world);
    for instance in world.instances("/web") {
        assert_eq!(instance.version.spec.cmd.as_deref(), Some("serve best"));
    }
    assert_eq!(up(&world).len(), 2);
}

#[test]
fn the_last_answer_is_kept_where_that_is_wanted() {
    let said = |keeps: bool| {
        let mut spec = with_readiness(app("/web", 1));
        if let Some(check) = &mut spec.readiness_check {
            check.keeps_response = keeps;
            check.statuses = BTreeSet::from([418]);
        }
        let mut world = World::new(1);
        world.create(spec);
        run(&mut world);
        let response = Response {
            status: 200,
            content_type: "text/plain".to_owned(),
            body: "soon".to_owned(),
        };
        world.answer_all(&Answer::Response(response));
        let instance = world.instances("/web")[0].clone();
        let readiness = instance.readiness.clone().expect("it was asked");
        assert_eq!(readiness.is_ready, Some(false), "418 alone means ready");
        let body = readiness.last_response.map(|it| it.body.clone());
        world.pass_s(15);
        world.answer_all(&Answer::Status(418));
        assert_eq!(up(&world).len(), 1);
        body
    };

    assert_eq!(said(true).as_deref(), Some("soon"));
    assert_eq!(said(false), None);
}

#[derive(Clone, Debug)]
enum Event {
    Offer,
    Run,
    Answer { question: usize, ready: bool },
    Acknowledge,
    EndKilled,
    Pass { seconds: u64 },
    RestartFramework,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Offer),
        3 => Just(Event::Run),
        6 => (0..20_usize, any::<bool>()).prop_map(|(question, ready)| Event::Answer { question, ready }),
        2 => Just(Event::Acknowledge),
        2 => Just(Event::EndKilled),
        3 => (1..15_u64).prop_map(|seconds| Event::Pass { seconds }),
        1 => Just(Event::RestartFramework),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Offer => drop(world.offer()),
        Event::Run => world.run_all(),
        Event::Answer { question, ready } => {
            if !world.probes.is_empty() {
                let probe = world.probes.remove(*question % world.probes.len());
                world.answer(&probe, if *ready { READY } else { NOT_READY });
            }
        }
        Event::Acknowledge => world.acknowledge_all(),
        Event::EndKilled => world.end_killed(),
        Event::Pass { seconds } => {
            world.acknowledge_all();
            world.pass_s(*seconds);
        }
        Event::RestartFramework => {
            world.restart();
            world.subscribe();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn an_upgrade_never_goes_below_the_minimum_of_ready_instances(
        wanted in 1..6_u32,
        minimum in 0..=4_u8,
        over in 0..=4_u8,
        is_checked in any::<bool>(),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut spec = if is_checked { checked("/web", wanted) } else { app("/web", wanted) };
        spec.upgrade_strategy.minimum_health_capacity = f64::from(minimum) / 4.0;
        spec.upgrade_strategy.maximum_over_capacity = f64::from(over) / 4.0;
        let spec = with_readiness(spec);
        let least = (f64::from(wanted) * f64::from(minimum) / 4.0).ceil() as usize;
        let mut world = serving(spec.clone());
        let old = world.task_ids();
        world.put(better(spec));
        let mut has_said_so = BTreeSet::new();

        for event in &events {
            let asked = world.probes.clone();
            happen(&mut world, event);
            if let Event::Answer { question, ready: true } = event && !asked.is_empty() {
                has_said_so.insert(asked[*question % asked.len()].instance.task());
            }
            let up = up(&world);
            prop_assert!(up.len() >= least, "{} of {least} after {event:?}", up.len());
            prop_assert!(up.iter().all(|task| old.contains(task) || has_said_so.contains(task)));
        }

        finish(&mut world);
        prop_assert!(world.view().deployments.is_empty());
        prop_assert_eq!(up(&world).len(), wanted as usize);
        prop_assert!(world.tasks.keys().all(|task| !old.contains(task)));
    }
}
