//! Planned kills and the healthy-task list.

use std::collections::BTreeMap;

use mete_model::TaskState;
use mete_service_framework_core::backends::{BackendState, Changes};
use mete_service_framework_core::state::instances::InstanceState;
use mete_service_framework_core::{Input, ProxyAck, Reply, Wanted};

use crate::kit::{World, app, checked, id, serving};
use crate::told::Names;

#[test]
fn a_scale_down_drains_before_it_kills() {
    let mut world = serving(app("/web", 3));
    let version = world.view().backends.version();

    world.scale("/web", 1);

    let states: Vec<BackendState> = world.backends("/web").into_values().collect();
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == BackendState::Draining)
            .count(),
        2
    );
    assert_eq!(world.view().backends.version(), version + 1);
    assert!(world.kills.is_empty());

    world.acknowledge_all();
    assert_eq!(world.kills.len(), 2);
    assert_eq!(world.backends("/web").len(), 1);
    world.end_killed();
    assert_eq!(world.tasks.len(), 1);
    assert_eq!(world.heard().last(), Some(&"deployment_success"));
}

#[test]
fn a_kill_waits_for_the_sessions_of_every_proxy() {
    let mut world = serving(app("/web", 2));
    world.acknowledge("q", &[]);
    world.scale("/web", 1);
    let victim = world
        .backends("/web")
        .into_iter()
        .find(|(_, state)| *state == BackendState::Draining)
        .expect("one")
        .0;

    world.acknowledge("p", &[]);
    world.acknowledge("q", &[(&victim, 3)]);
    assert!(world.kills.is_empty());
    world.pass_s(5);
    world.acknowledge("q", &[(&victim, 1)]);
    assert!(world.kills.is_empty());

    world.acknowledge("q", &[(&victim, 0)]);
    assert_eq!(world.kills, [victim]);
}

#[test]
fn a_kill_waits_no_longer_than_the_deadline() {
    let mut world = serving(app("/web", 2));
    world.scale("/web", 1);

    world.pass_s(9);
    assert!(world.kills.is_empty());
    world.pass_s(1);
    assert_eq!(world.kills.len(), 1);
}

#[test]
fn a_proxy_that_acknowledges_an_old_version_is_waited_for() {
    let mut world = serving(app("/web", 2));
    let old = world.view().backends.version();
    world.scale("/web", 1);
    let ack = |version, epoch: &str| {
        Input::ProxyAck(ProxyAck {
            proxy: "p".to_owned(),
            epoch: epoch.to_owned(),
            version,
            draining: BTreeMap::new(),
        })
    };

    world.step(ack(old, "epoch-0"));
    world.step(ack(old + 9, "another"));
    assert!(world.kills.is_empty());

    let reply = world.step(ack(old + 9, "epoch-0")).reply;
    assert!(
        matches!(reply, Some(Reply::BadProxy(_))),
        "a version nobody has seen: {reply:?}"
    );
    world.step(ack(old + 1, "epoch-0"));
    assert_eq!(world.kills.len(), 1);
}

#[test]
fn without_a_living_proxy_nothing_is_waited_for() {
    let mut world = serving(app("/web", 3));
    world.acknowledge_all();
    world.pass_s(44);
    world.scale("/web", 2);
    assert!(
        world.kills.is_empty(),
        "a proxy silent for less than three heartbeats is waited for"
    );

    world.pass_s(1);
    assert_eq!(world.kills.len(), 1, "it has been silent for 45 s");
    world.end_killed();
    world.scale("/web", 1);
    assert_eq!(world.kills.len(), 1, "nobody follows");
    assert!(!world.stored_keys().contains(&"proxy/p".to_owned()));
}

#[test]
fn every_planned_kill_drains() {
    for case in ["restart", "upgrade", "remove", "kill", "kill and scale"] {
        let mut world = serving(checked("/web", 2));
        let tasks = world.task_ids();
        let instances = vec![crate::kit::instance_of(&tasks[0])];
        match case {
            "restart" => drop(world.ask(Wanted::Restart(id("/web")), false)),
            "upgrade" => {
                let mut spec = checked("/web", 2);
                spec.mem_bytes += 1;
                drop(world.put(spec));
            }
            "remove" => drop(world.ask(Wanted::Remove(id("/web")), false)),
            "kill" => drop(world.step(Input::KillInstances {
                instances,
                scale: false,
                force: false,
                wipe: false,
            })),
            _ => drop(world.step(Input::KillInstances {
                instances,
                scale: true,
                force: false,
                wipe: false,
            })),
        }
        world.calm();

        for task in tasks.iter().filter(|task| !world.tasks.contains_key(*task)) {
            assert_eq!(
                world.listed[task],
                [BackendState::Up, BackendState::Draining],
                "{case}"
            );
        }
    }
}

#[test]
fn an_instance_that_turns_unhealthy_leaves_the_list_before_it_is_killed() {
    let mut world = serving(checked("/web", 2));
    let sick = world.task_ids()[0].clone();

    world.report(&sick, TaskState::Running, Some(false));
    assert!(!world.backends("/web").contains_key(&sick));
    assert!(
        world.kills.is_empty(),
        "its agent kills it when it has failed often enough"
    );
    assert_eq!(world.tasks.len(), 2);
    assert_eq!(world.app("/web").counts().unhealthy, 1);
    assert!(world.heard().contains(&"failed_health_check_event"));

    world.report(&sick, TaskState::Running, Some(true));
    assert!(
        world.backends("/web").contains_key(&sick),
        "or it gets well again"
    );
    world.report(&sick, TaskState::Running, Some(false));
    world.heard();
    world.report(&sick, TaskState::Killed, Some(false));
    assert!(world.heard().contains(&"unhealthy_instance_kill_event"));
    world.calm();
    assert_eq!(world.backends("/web").len(), 2);
}

#[test]
fn an_instance_that_turns_unhealthy_while_it_drains_is_killed_at_once() {
    let mut world = serving(checked("/web", 2));
    world.scale("/web", 1);
    let victim = world
        .backends("/web")
        .into_iter()
        .find(|(_, state)| *state == BackendState::Draining)
        .expect("one")
        .0;

    world.report(&victim, TaskState::Running, Some(false));

    assert_eq!(world.kills, std::slice::from_ref(&victim));
    assert!(!world.backends("/web").contains_key(&victim));
}

#[test]
fn an_instance_that_ends_leaves_the_list_before_another_is_launched() {
    let mut world = serving(app("/web", 1));
    let mut names = Names::default();
    let task = world.task_ids()[0].clone();

    let effects = world.report(&task, TaskState::Failed, None);

    assert!(world.backends("/web").is_empty());
    let expected = [
        "store failure of /web TASK_FAILED",
        "forget instance I1",
        "publish status_update_event",
        "publish instance_changed_event",
        "acknowledge I1._app.1",
        "publish instance_changed_event",
    ];
    assert_eq!(names.lines(&effects), expected);
}

#[test]
fn instances_without_service_port_are_killed_at_once() {
    let mut spec = app("/worker", 2);
    spec.port_definitions.clear();
    let mut world = serving(spec);

    world.scale("/worker", 1);

    assert_eq!(world.kills.len(), 1);
    assert_eq!(world.view().backends.services().count(), 0);
}

#[test]
fn a_service_is_there_without_instances_and_goes_with_its_app() {
    let mut world = World::new(1);
    world.create(app("/web", 0));
    let version = world.view().backends.version();
    assert_eq!(world.view().backends.services().count(), 1);

    world.ask(Wanted::Remove(id("/web")), false);

    let Changes::Change {
        changed, removed, ..
    } = world.view().backends.changes_since("epoch-0", version)
    else {
        panic!("a change")
    };
    assert_eq!(
        (changed.len(), removed.len(), removed[0].service_port),
        (0, 1, 10_000)
    );
}

#[test]
fn followers_too_far_behind_get_everything() {
    let mut world = World::new(1);
    let before = world.view().backends;
    for number in 0..300 {
        world.create(app(&format!("/a{number}"), 0));
        world.ask(Wanted::Remove(id(&format!("/a{number}"))), false);
    }
    let backends = world.view().backends;

    assert_eq!(backends.version(), before.version() + 600);
    assert!(matches!(
        backends.changes_since("epoch-0", before.version()),
        Changes::Snapshot { .. }
    ));
    assert!(matches!(
        backends.changes_since("other", backends.version()),
        Changes::Snapshot { .. }
    ));
    assert!(matches!(
        backends.changes_since("epoch-0", backends.version() - 100),
        Changes::Change { .. }
    ));
    assert_eq!(
        backends.changes_since("epoch-0", backends.version()),
        Changes::None
    );
}

#[test]
fn a_service_port_under_another_index_is_one_service_with_the_instances_of_both_versions() {
    let mut spec = checked("/web", 2);
    spec.port_definitions[0].port = 10_500;
    let mut world = serving(spec.clone());
    let mut first = spec.port_definitions[0].clone();
    (first.port, first.name) = (10_600, Some("first".to_owned()));
    spec.port_definitions.insert(0, first);

    world.put(spec);
    world.offer();

    let backends = world.view().backends;
    let told: Vec<_> = backends
        .services()
        .map(|service| {
            let key = &service.key;
            let listed = service.backends.len();
            (key.service_port, key.port_index, listed, service.is_left)
        })
        .collect();
    let launched = world.tasks.len();
    assert_eq!(launched, 4);
    assert_eq!(told[1], (10_500, 1, 2, false), "two that are up, as before");
    assert_eq!((told.len(), told[0].0, told[0].1), (2, 10_600, 0));
}

#[test]
fn a_service_that_its_app_wants_no_more_is_told_as_left() {
    let mut world = serving(checked("/web", 1));
    let is_left = |world: &World| -> Vec<bool> {
        let backends = world.view().backends;
        backends.services().map(|service| service.is_left).collect()
    };
    assert_eq!(is_left(&world), [false]);

    world.ask(Wanted::Remove(id("/web")), false);

    assert_eq!(is_left(&world), [true]);
}

#[test]
fn a_draining_instance_stays_where_it_was_listed() {
    let mut world = serving(checked("/web", 1));
    let task = world.task_ids()[0].clone();
    let mut spec = checked("/web", 1);
    spec.port_definitions[0].port = 10_500;

    world.put(spec);
    world.offer();
    let services: Vec<u16> = world
        .view()
        .backends
        .services()
        .map(|service| service.key.service_port)
        .collect();
    assert_eq!(
        services,
        [10_000, 10_500],
        "the old instance serves its own port as long as it is there"
    );
    world.run_all();
    assert!(matches!(
        world
            .instances("/web")
            .iter()
            .find(|one| one.id.task() == task)
            .expect("there")
            .state,
        InstanceState::Draining { .. }
    ));
    world.calm();

    let services: Vec<u16> = world
        .view()
        .backends
        .services()
        .map(|service| service.key.service_port)
        .collect();
    assert_eq!(services, [10_500]);
}

#[test]
fn proxies_are_bounded_and_named() {
    let mut world = World::new(0);
    for number in 0..256 {
        assert_eq!(world.acknowledge(&format!("p{number}"), &[]), Reply::Done);
    }

    assert!(matches!(
        world.acknowledge("one more", &[]),
        Reply::BadProxy(_)
    ));
    assert!(matches!(world.acknowledge("", &[]), Reply::BadProxy(_)));
    assert!(matches!(
        world.acknowledge(&"x".repeat(129), &[]),
        Reply::BadProxy(_)
    ));
}
