//! Checks that the framework runs itself.

use std::time::Duration;

use mete_model::{Probe as AgentProbe, Source, TaskState, TaskStatus};
use mete_service_framework_core::backends::Mode;
use mete_service_framework_core::events::Happening;
use mete_service_framework_core::launch::TaskPort;
use mete_service_framework_core::probe::{Answer, Check, Probe, Question};
use mete_service_framework_core::spec::app::{
    AppNetwork, AppSpec, HealthCheckSpec, HealthProtocol, Mapping, PortDefinition,
};
use mete_service_framework_core::state::instances::{InstanceState, KillReason};
use mete_service_framework_core::{Action, Input};

use crate::kit::{World, app, checked, checked_twice, serving};
use crate::told::Names;

const OK: Answer = Answer::Status(200);

fn bad() -> Answer {
    Answer::Status(500)
}

/// One instance of `spec` that runs, and the questions it was asked at once.
fn running(spec: AppSpec) -> World {
    let mut world = World::new(1);
    world.acknowledge_all();
    world.create(spec);
    world.offer();
    world.run_all();
    world.pass(Duration::ZERO);
    world
}

/// The question of one check; the others stay.
fn take(world: &mut World, at: usize) -> Probe {
    let is_it = |probe: &Probe| probe.check == Check::Health(at);
    let found = world.probes.iter().position(is_it).expect("it is asked");
    world.probes.remove(found)
}

fn healthy(world: &World) -> Option<bool> {
    match world.states("/web")[..] {
        [InstanceState::Running { healthy }] => healthy,
        ref other => panic!("{other:?}"),
    }
}

/// Lets the next question of one check come, and answers it; the other check passes whenever it is asked.
fn next(world: &mut World, at: usize, answer: Answer) {
    for _ in 0..30 {
        if world.probes.iter().any(|it| it.check == Check::Health(at)) {
            let probe = take(world, at);
            world.answer(&probe, answer);
            return;
        }
        world.answer_all(&OK);
        world.pass_s(1);
    }
    panic!("it is not asked any more");
}

#[test]
fn an_instance_of_several_checks_is_healthy_when_all_have_passed() {
    let mut world = running(checked_twice("/web", 1));
    assert!(
        world
            .tasks
            .values()
            .all(|it| it.spec.health_check.is_none())
    );
    let id = world.instances("/web")[0].id.clone();
    let asked = |at, question| Probe {
        instance: id.clone(),
        check: Check::Health(at),
        host: "127.0.0.1".to_owned(),
        port: 31_000,
        question,
        timeout: Duration::from_secs(20),
    };
    let http = Question::Http {
        secure: false,
        path: "/".to_owned(),
        keeps_response: false,
    };
    world
        .probes
        .iter_mut()
        .for_each(|probe| probe.port = 31_000);
    assert_eq!(world.probes, [asked(0, http), asked(1, Question::Tcp)]);
    world.heard();

    let (first, second) = (take(&mut world, 0), take(&mut world, 1));
    world.answer(&first, OK);
    assert_eq!((healthy(&world), world.backends("/web").len()), (None, 0));
    assert_eq!(world.heard(), ["health_status_changed_event"]);
    world.answer(&second, Answer::Connected);

    assert_eq!(
        (healthy(&world), world.backends("/web").len()),
        (Some(true), 1)
    );
    let heard = world.heard();
    assert_eq!(
        heard[..2],
        [
            "health_status_changed_event",
            "instance_health_changed_event"
        ]
    );
    assert!(heard.contains(&"deployment_success"));
}

#[test]
fn a_success_more_changes_nothing_but_when_it_is_asked_next() {
    let mut world = serving(checked_twice("/web", 1));
    let before = world.instances("/web");
    world.pass_s(30);
    assert_eq!(world.probes.len(), 2, "asked once at a time");
    let probe = take(&mut world, 0);

    let effects = world.answer(&probe, OK);

    assert_eq!((effects.store, effects.act), (vec![], vec![]));
    assert_eq!(world.instances("/web"), before);
    world.pass_s(10);
    assert_eq!(
        world.probes.len(),
        1,
        "the next is due half an interval later or more"
    );
    world.pass_s(5);
    assert_eq!(world.probes.len(), 2);
}

#[test]
fn one_check_that_fails_takes_the_traffic_and_in_the_end_the_instance() {
    let mut spec = checked_twice("/web", 1);
    spec.health_checks[1].max_consecutive_failures = 2;
    let mut world = serving(spec);
    let old = world.task_ids();

    next(&mut world, 1, Answer::None("connection refused".to_owned()));
    assert_eq!(
        (healthy(&world), world.backends("/web").len()),
        (Some(false), 0)
    );
    assert_eq!(
        world.heard(),
        [
            "failed_health_check_event",
            "health_status_changed_event",
            "instance_health_changed_event"
        ]
    );
    let health = world.instances("/web")[0].health.clone();
    assert_eq!(
        (health[0].is_alive(), health[1].is_alive()),
        (Some(true), Some(false))
    );
    next(&mut world, 1, OK);
    assert_eq!(
        (healthy(&world), world.backends("/web").len()),
        (Some(true), 1)
    );
    for _ in 0..2 {
        next(&mut world, 1, bad());
        assert_eq!(world.kills, []);
    }
    world.events.clear();
    next(&mut world, 1, bad());

    assert_eq!(world.kills, old, "at one failure more than are allowed");
    let killed = world.events.iter().find_map(|event| {
        let Happening::UnhealthyInstanceKill { reason, host, .. } = event else {
            return None;
        };
        Some((reason.as_str(), host.as_str()))
    });
    assert_eq!(killed, Some(("status 500", "127.0.0.1")));
    let is_killed = |state: &InstanceState| {
        let InstanceState::Killing { reason, .. } = state else {
            return false;
        };
        *reason == KillReason::Unhealthy
    };
    assert!(world.states("/web").iter().any(is_killed));
    let failure = world.app("/web").last_failure.clone().expect("kept");
    assert_eq!(
        (&failure.task, failure.state, &*failure.message),
        (
            &old[0],
            TaskState::Killed,
            "it was killed because its health check failed: status 500"
        )
    );
    world.calm();
    assert_eq!(world.backends("/web").len(), 1);
    assert_ne!(world.task_ids(), old);
}

#[test]
fn while_grace_lasts_failures_before_the_first_success_do_not_count() {
    let mut spec = checked_twice("/web", 1);
    spec.health_checks[0].max_consecutive_failures = 1;
    let mut world = running(spec);
    world.heard();

    for _ in 0..2 {
        next(&mut world, 0, bad());
    }
    assert_eq!(healthy(&world), None);
    let failed = world.heard();
    assert_eq!(
        failed
            .iter()
            .filter(|it| **it == "failed_health_check_event")
            .count(),
        2,
        "subscribers hear of it all the same"
    );

    world.pass_s(30); // grace is over
    next(&mut world, 0, bad());
    assert_eq!((healthy(&world), world.kills.len()), (Some(false), 0));
    next(&mut world, 0, bad());
    assert_eq!(world.kills.len(), 1);
}

#[test]
fn without_a_limit_an_unhealthy_instance_lives_on() {
    let mut spec = checked_twice("/web", 1);
    spec.health_checks[0].max_consecutive_failures = 0;
    let mut world = serving(spec);

    for _ in 0..20 {
        next(&mut world, 0, bad());
    }

    assert_eq!((healthy(&world), world.kills.len()), (Some(false), 0));
    next(&mut world, 0, OK);
    assert_eq!(healthy(&world), Some(true));
}

#[test]
fn an_informational_answer_says_nothing_where_it_is_to_be_ignored() {
    let mut spec = checked_twice("/web", 1);
    spec.health_checks[0].ignore_http_1xx = true;
    let mut world = serving(spec);
    world.heard();

    next(&mut world, 0, Answer::Status(101));
    assert_eq!((healthy(&world), world.heard()), (Some(true), vec![]));

    for (status, passes) in [
        (399, true),
        (400, false),
        (200, true),
        (199, true),
        (99, false),
    ] {
        next(&mut world, 0, Answer::Status(status));
        assert_eq!(healthy(&world), Some(passes), "{status}");
    }
}

#[test]
fn a_restart_takes_nobody_out_and_asks_anew_each_at_its_place_in_the_interval() {
    let mut world = serving(checked_twice("/web", 8));
    let listed = world.backends("/web");
    assert_eq!(listed.len(), 8);

    world.restart();
    world.subscribe();
    assert_eq!(world.backends("/web"), listed);
    let mut per_second = Vec::new();
    for _ in 0..10 {
        let before = world.probes.len();
        world.pass_s(1);
        per_second.push(world.probes.len() - before);
    }

    assert_eq!(
        per_second.iter().sum::<usize>(),
        16,
        "each once in an interval"
    );
    assert!(per_second.iter().all(|count| *count < 8), "{per_second:?}");
    assert_eq!(
        world.backends("/web"),
        listed,
        "until an answer says otherwise"
    );
    world.answer_all(&bad());
    assert_eq!(
        world.backends("/web").len(),
        0,
        "no grace for who was healthy"
    );
}

#[test]
fn who_is_unreachable_is_not_asked_and_old_answers_are_passed_over() {
    let mut spec = checked_twice("/web", 1);
    spec.unreachable_strategy =
        mete_service_framework_core::spec::app::UnreachableStrategy::Disabled;
    let mut world = serving(spec);
    world.pass_s(15);
    let old = std::mem::take(&mut world.probes);
    assert_eq!(old.len(), 2);
    let task = world.task_ids()[0].clone();

    world.report(&task, TaskState::Unreachable, None);
    world.pass_s(60);
    assert_eq!(world.probes, []);
    for probe in &old {
        world.answer(probe, bad());
    }
    world.report(&task, TaskState::Running, None);
    world.answer(&old[0], bad());
    assert_eq!(healthy(&world), Some(true), "as it was");
    world.pass(Duration::ZERO);
    assert_eq!(world.probes.len(), 2, "asked at once");
}

#[test]
fn what_ends_or_drains_is_not_asked_any_more() {
    let mut world = serving(checked_twice("/web", 2));
    world.pass_s(30);
    world.answer_all(&OK);

    world.scale("/web", 0);
    world.pass_s(5);
    assert_eq!(world.probes, [], "they drain");
    world.calm();

    assert_eq!(world.task_ids(), []);
    world.pass_s(60);
    assert_eq!(world.probes, []);
}

#[test]
fn the_agent_runs_the_only_check_and_of_several_the_one_of_its_kinds() {
    let run_by_agent = |checks: &[HealthProtocol]| {
        let mut spec = app("/web", 1);
        spec.health_checks = checks.iter().copied().map(HealthCheckSpec::new).collect();
        for check in &mut spec.health_checks {
            check.command = Some("true".to_owned());
        }
        let world = running(spec);
        let task = world.tasks.values().next().expect("launched").clone();
        let kind = task.spec.health_check.map(|check| match check.probe {
            AgentProbe::Http { secure: true, .. } => "https",
            AgentProbe::Http { .. } => "http",
            AgentProbe::Tcp { .. } => "tcp",
            AgentProbe::Grpc { .. } => "grpc",
            AgentProbe::Command(_) => "command",
        });
        let own: Vec<_> = world.probes.iter().map(|probe| probe.check).collect();
        (kind, own)
    };
    use HealthProtocol::{Command, Grpc, Http, Https, MesosHttps, Tcp};

    assert_eq!(run_by_agent(&[Http]), (Some("http"), vec![]));
    assert_eq!(run_by_agent(&[Https]), (Some("https"), vec![]));
    assert_eq!(run_by_agent(&[Tcp]), (Some("tcp"), vec![]));
    assert_eq!(run_by_agent(&[MesosHttps]), (Some("https"), vec![]));
    let both = vec![Check::Health(0), Check::Health(1)];
    assert_eq!(run_by_agent(&[Http, Https]), (None, both));
    let second = vec![Check::Health(1)];
    assert_eq!(run_by_agent(&[Command, Http]), (Some("command"), second));
    let first = vec![Check::Health(0)];
    assert_eq!(run_by_agent(&[Https, Grpc]), (Some("grpc"), first));
}

#[test]
fn the_word_of_the_agent_and_those_of_the_framework_count_together() {
    let mut spec = checked_twice("/web", 1);
    spec.health_checks[0].protocol = HealthProtocol::MesosHttp;
    let mut world = running(spec); // the agent has said that it is healthy
    assert_eq!(healthy(&world), None);
    world.answer_all(&Answer::Connected);
    assert_eq!(healthy(&world), Some(true));
    let task = world.task_ids()[0].clone();

    world.report(&task, TaskState::Running, Some(false));
    next(&mut world, 1, Answer::Connected);
    assert_eq!(healthy(&world), Some(false));
    world.report(&task, TaskState::Running, Some(true));
    assert_eq!(healthy(&world), Some(true));

    next(&mut world, 1, bad());
    world.pass_s(15);
    let asked = take(&mut world, 1);
    world.report(&task, TaskState::Killing, None);
    world.answer(&asked, Answer::Connected);
    world.restart();
    world.subscribe();
    world.pass_s(30);
    assert_eq!(
        (healthy(&world), &*world.probes),
        (Some(false), &[][..]),
        "its agent is ending it"
    );
}

#[test]
fn effects_of_a_failure_too_many_are_these() {
    let mut spec = checked_twice("/web", 1);
    spec.health_checks[0].max_consecutive_failures = 1;
    let mut world = serving(spec);
    next(&mut world, 0, bad());
    world.pass_s(15);
    let probe = take(&mut world, 0);

    let effects = world.answer(&probe, bad());

    let lines = Names::default().lines(&effects);
    assert_eq!(
        lines,
        [
            "store instance I1 Running",
            "store failure of /web TASK_KILLED",
            "store instance I1 Killing",
            "publish failed_health_check_event",
            "publish unhealthy_instance_kill_event",
            "publish instance_changed_event",
            "kill I1._app.1",
            "publish instance_changed_event",
            "demand 1x /web",
            "revive",
        ]
    );
}

/// The ports at which others find what an offer launches.
fn found_at(world: &mut World) -> Vec<TaskPort> {
    let effects = world.offer();
    let launched = effects.act.into_iter().find_map(|action| {
        let Action::Accept { mut launches, .. } = action else {
            return None;
        };
        launches.pop()
    });
    launched.expect("it is launched").discovery.ports
}

#[test]
fn on_a_network_of_its_own_an_instance_is_asked_where_it_can_be_reached() {
    let mapped = |container_port, host_port| PortDefinition {
        mapping: Some(Mapping {
            container_port,
            host_port,
            network_names: Vec::new(),
        }),
        name: None,
        ..PortDefinition::default_port()
    };
    let mut spec = checked_twice("/web", 1);
    spec.network = AppNetwork::Bridge;
    spec.port_definitions = vec![mapped(80, Some(0)), mapped(81, None)];
    let check = |port, port_index| HealthCheckSpec {
        port,
        port_index,
        ..HealthCheckSpec::new(HealthProtocol::Http)
    };
    spec.health_checks = vec![
        check(None, Some(0)),
        check(None, Some(1)),
        check(Some(80), None),
        check(Some(9_000), None),
    ];
    let mut world = World::new(1);
    world.create(spec);
    let found = found_at(&mut world);
    let [of_host, of_container] = &found[..] else {
        panic!("two ports of {found:?}");
    };
    let scope = |of: &str| vec![("network-scope".to_owned(), of.to_owned())];
    assert_eq!(
        (of_host.is_of_host, &of_host.labels),
        (true, &scope("host"))
    );
    assert_eq!((of_container.number, of_container.is_of_host), (81, false));
    assert_eq!(of_container.labels, scope("container"));
    let task = world.task_ids()[0].clone();
    let mut status = TaskStatus::new(task, TaskState::Running, Source::Executor, world.now);
    status.ip_addresses = vec!["172.31.0.2".to_owned()];
    world.step(Input::Update(status));
    world.pass(Duration::ZERO);

    let asked = world.probes.iter();
    let asked: Vec<_> = asked
        .map(|probe| (probe.host.clone(), probe.port))
        .collect();

    let place = world.instances("/web")[0].place.clone().expect("placed");
    let (own, host, address) = (place.ports[0], place.host, "172.31.0.2".to_owned());
    assert_eq!(
        asked,
        [
            (host.clone(), own),
            (address.clone(), 81),
            (host, own),
            (address, 9_000)
        ]
    );
}

#[test]
fn a_check_over_tls_does_not_make_proxies_speak_http() {
    for (protocol, mode) in [
        (HealthProtocol::Http, Mode::Http),
        (HealthProtocol::Https, Mode::Tcp),
    ] {
        let mut spec = checked("/web", 1);
        spec.health_checks[0].protocol = protocol;
        let world = serving(spec);
        let backends = world.view().backends;
        let modes: Vec<_> = backends.services().map(|service| service.mode).collect();
        assert_eq!(modes, [mode]);
    }
}
