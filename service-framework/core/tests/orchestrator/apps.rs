//! What users ask for, and what they are answered.

use std::collections::BTreeMap;

use mete_model::{TaskId, TaskState};
use mete_service_framework_core::events::Happening;
use mete_service_framework_core::spec::app::PortDefinition;
use mete_service_framework_core::{Change, Input, Missing, Origin, Reply, Settings, Wanted};

use crate::kit::{World, app, checked, id, instance_of, serving};

fn ports(world: &World, app: &str) -> Vec<u16> {
    let app = world.app(app);
    app.wanted
        .as_ref()
        .expect("wanted")
        .spec
        .port_definitions
        .iter()
        .map(|port| port.port)
        .collect()
}

fn with_ports(text: &str, ports: &[u16]) -> mete_service_framework_core::spec::app::AppSpec {
    let mut spec = app(text, 1);
    let definition = |port: &u16| PortDefinition {
        port: *port,
        name: None,
        ..PortDefinition::default_port()
    };
    spec.port_definitions = ports.iter().map(definition).collect();
    spec
}

#[test]
fn an_id_in_use_is_answered_with_that() {
    let mut world = World::new(1);
    world.create(app("/web", 1));

    assert_eq!(
        world.create(app("/web", 2)),
        Reply::AlreadyExists(id("/web"))
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut world = World::new(1);
    let missing = Reply::NotFound(Missing::App(id("/web")));

    assert_eq!(world.scale("/web", 2), missing);
    assert_eq!(world.ask(Wanted::Remove(id("/web")), false), missing);
    assert_eq!(world.ask(Wanted::Restart(id("/web")), true), missing);
    let patch = Wanted::Put {
        apps: vec![app("/web", 1)],
        create: false,
        merged_with: BTreeMap::new(),
    };
    assert_eq!(world.ask(patch, false), missing);
}

#[test]
fn a_wish_that_makes_no_sense_changes_nothing() {
    let mut world = World::new(1);
    let stored = world.store().clone();
    let mut spec = app("/web", 1);
    spec.cmd = None;

    let Reply::Invalid(violations) = world.create(spec) else {
        panic!("it is invalid")
    };

    assert_eq!(violations[0].path, "/");
    assert_eq!(*world.store(), stored);
    assert!(world.view().apps.is_empty());
}

#[test]
fn an_app_keeps_its_service_port_whoever_is_changed_with_it() {
    let mut world = World::new(1);
    world.create(with_ports("/b", &[0]));
    world.calm();
    assert_eq!(ports(&world, "/b"), [10_000]);

    let both = Wanted::Put {
        apps: vec![with_ports("/a", &[0]), with_ports("/b", &[0])],
        create: true,
        merged_with: BTreeMap::new(),
    };
    world.ask(both, false);
    world.calm();
    assert_eq!(
        (ports(&world, "/a"), ports(&world, "/b")),
        (vec![10_001], vec![10_000])
    );
}

#[test]
fn an_app_under_deployment_is_locked_unless_forced() {
    let mut world = World::new(1);
    let Reply::Changed { deployment, .. } = world.create(app("/web", 1)) else {
        panic!("changed")
    };

    assert_eq!(
        world.scale("/web", 2),
        Reply::Conflict {
            deployments: vec![deployment.clone()]
        }
    );
    assert!(
        matches!(world.create(app("/other", 1)), Reply::Changed { .. }),
        "others are not locked"
    );

    world.heard();
    let scale = Wanted::Scale {
        app: id("/web"),
        instances: 3,
    };
    assert!(matches!(world.ask(scale, true), Reply::Changed { .. }));
    assert_eq!(
        world.heard()[..3],
        [
            "deployment_failed",
            "group_change_success",
            "deployment_info"
        ]
    );
    world.calm();
    assert_eq!(world.tasks.len(), 4);
    assert!(world.view().deployments.is_empty());
}

#[test]
fn an_unchanged_put_is_a_plan_without_steps_that_has_ended() {
    let mut world = serving(app("/web", 2));
    let before = world.view();

    let Reply::Changed { created, .. } = world.put(app("/web", 2)) else {
        panic!("it is accepted")
    };

    assert!(!created);
    assert_eq!(
        world.heard(),
        ["group_change_success", "deployment_success"]
    );
    assert_eq!(*before.apps, *world.view().apps);
    assert!(world.view().deployments.is_empty());
}

#[test]
fn a_scaling_keeps_the_config_a_label_replaces_it() {
    let mut world = serving(app("/web", 1));
    let first = world.app("/web").wanted.clone().expect("wanted");

    world.scale("/web", 2);
    let scaled = world.app("/web").wanted.clone().expect("wanted");
    world.calm();
    let mut spec = (*scaled.spec).clone();
    spec.labels.insert("a".to_owned(), "b".to_owned());
    world.put(spec);
    let labelled = world.app("/web").wanted.clone().expect("wanted");

    assert!(scaled.version > first.version && scaled.same_config(&first));
    assert_eq!(scaled.last_scaling_at, scaled.version);
    assert_eq!(labelled.last_config_change_at, labelled.version);
    assert_eq!(world.app("/web").versions.len(), 3);
}

#[test]
fn service_ports_that_are_given_are_unique_and_kept() {
    let mut world = World::new(2);
    world.create(with_ports("/a", &[0, 0]));
    world.create(with_ports("/b", &[0, 10_007]));
    assert_eq!(ports(&world, "/a"), [10_000, 10_001]);
    assert_eq!(ports(&world, "/b"), [10_002, 10_007]);
    world.calm();

    let mut again = with_ports("/a", &[0, 0]);
    again.instances = 3;
    world.put(again);
    world.calm();
    world.restart();

    assert_eq!(ports(&world, "/a"), [10_000, 10_001]);
}

#[test]
fn a_service_port_that_is_asked_for_by_number_may_be_that_of_another_app() {
    let mut world = World::new(2);
    world.create(with_ports("/b", &[0]));
    world.calm();

    world.create(with_ports("/a", &[10_000, 0]));
    world.calm();
    let mut again = with_ports("/b", &[0]);
    again.instances = 3;
    world.put(again);
    world.calm();

    assert_eq!(ports(&world, "/a"), [10_000, 10_001]);
    assert_eq!(ports(&world, "/b"), [10_000], "what it has it keeps");
    let view = world.view();
    let mut of_both: Vec<_> = view.backends.services().collect();
    of_both.retain(|service| service.key.service_port == 10_000);
    of_both.sort_by_key(|service| service.since);
    let order: Vec<_> = of_both.iter().map(|one| one.key.app.to_string()).collect();
    assert_eq!(order, ["/b", "/a"], "it belongs to the first");
}

#[test]
fn a_service_port_that_a_deployment_may_go_back_to_is_not_given_to_others() {
    let mut world = World::new(1);
    world.create(with_ports("/a", &[0]));
    world.calm();
    let mut too_large = with_ports("/a", &[]);
    too_large.cpus_milli = 1_000_000;
    too_large.upgrade_strategy.minimum_health_capacity = 0.0;
    world.put(too_large);
    world.calm();

    world.create(with_ports("/b", &[0]));
    let (view, stuck) = (world.view(), id("/a"));
    let stuck = view.deployments_of(&stuck).next().expect("it waits");
    world.step(Input::CancelDeployment {
        id: stuck.id.clone(),
        force: false,
    });

    assert_eq!(ports(&world, "/b"), [10_001]);
    assert_eq!(ports(&world, "/a"), [10_000], "as it was");
}

#[test]
fn a_service_port_is_free_again_when_the_last_instance_has_gone() {
    let mut world = serving(with_ports("/a", &[0]));
    world.ask(Wanted::Remove(id("/a")), false);
    world.create(with_ports("/b", &[0]));
    assert_eq!(
        ports(&world, "/b"),
        [10_001],
        "instances of /a still serve 10000"
    );
    world.calm();

    world.create(with_ports("/c", &[0]));

    assert_eq!(ports(&world, "/c"), [10_000]);
}

#[test]
fn service_ports_can_run_out() {
    let settings = Settings {
        first_service_port: 10_000,
        last_service_port: 10_001,
        ..Settings::default()
    };
    let mut world = World::alone(settings);
    world.create(with_ports("/a", &[0, 0]));

    assert_eq!(
        world.create(with_ports("/b", &[0])),
        Reply::NoServicePort {
            first: 10_000,
            last: 10_001
        }
    );
    assert!(world.view().app(&id("/b")).is_none());
}

#[test]
fn a_merge_with_an_old_version_is_stale() {
    let mut world = World::new(1);
    world.create(app("/web", 0));
    let old = world.app("/web").wanted.as_ref().expect("wanted").version;
    world.scale("/web", 1);
    world.calm();

    let put = |version| Wanted::Put {
        apps: vec![app("/web", 2)],
        create: true,
        merged_with: BTreeMap::from([(id("/web"), version)]),
    };

    assert_eq!(world.ask(put(old), false), Reply::Stale(id("/web")));
    let new = world.app("/web").wanted.as_ref().expect("wanted").version;
    assert!(matches!(world.ask(put(new), false), Reply::Changed { .. }));
}

#[test]
fn a_removed_app_is_gone_when_its_instances_are() {
    let mut world = serving(checked("/web", 2));
    world.ask(Wanted::Remove(id("/web")), false);
    assert!(
        world.view().app(&id("/web")).is_none(),
        "at once for those who ask"
    );
    assert_eq!(world.instances("/web").len(), 2);

    world.calm();

    assert!(world.view().apps.is_empty());
    assert!(world.tasks.is_empty());
    let heard = world.heard();
    assert!(
        heard.contains(&"app_terminated_event") && heard.contains(&"remove_health_check_event"),
        "{heard:?}"
    );
    assert_eq!(
        world.stored_keys(),
        [
            "former/01700000000000",
            "former/01700000004000",
            "framework",
            "proxy/p"
        ]
    );
    assert_eq!(world.view().backends.services().count(), 0);
}

#[test]
fn an_app_may_be_made_anew_by_force_while_it_is_removed() {
    let mut world = serving(app("/web", 2));
    world.ask(Wanted::Remove(id("/web")), false);
    assert!(matches!(
        world.create(app("/web", 1)),
        Reply::Conflict { .. }
    ));

    let create = Wanted::Create(Box::new(app("/web", 1)));
    assert!(matches!(
        world.ask(create, true),
        Reply::Changed { created: true, .. }
    ));
    world.calm();

    assert_eq!(
        (world.tasks.len(), world.app("/web").counts().running),
        (1, 1)
    );
}

#[test]
fn versions_are_kept_up_to_a_bound() {
    let mut world = World::new(1);
    world.create(app("/web", 0));
    for run in 1..60 {
        let mut spec = app("/web", 0);
        spec.labels.insert("run".to_owned(), run.to_string());
        world.put(spec);
    }

    let versions = world.app("/web").versions.len();

    assert_eq!(versions, 25);
    let stored = world
        .stored_keys()
        .iter()
        .filter(|key| key.starts_with("version/web@"))
        .count();
    assert_eq!(stored, versions);
}

#[test]
fn killed_tasks_are_replaced() {
    let mut world = serving(app("/web", 2));
    let tasks = world.task_ids();

    let kill = Input::KillInstances {
        instances: vec![instance_of(&tasks[0])],
        scale: false,
        force: false,
        wipe: false,
    };
    let Some(Reply::Killed(killed)) = world.step(kill).reply else {
        panic!("killed")
    };
    assert_eq!(killed.len(), 1);
    world.calm();

    assert_eq!(world.tasks.len(), 2);
    assert!(!world.tasks.contains_key(&tasks[0]) && world.tasks.contains_key(&tasks[1]));
}

#[test]
fn tasks_killed_with_scale_are_not() {
    let mut world = serving(app("/web", 3));
    let tasks = world.task_ids();

    let kill = Input::KillInstances {
        instances: vec![instance_of(&tasks[1])],
        scale: true,
        force: false,
        wipe: false,
    };
    assert!(matches!(
        world.step(kill).reply,
        Some(Reply::Changed { .. })
    ));
    world.calm();

    assert_eq!(world.task_ids(), [tasks[0].clone(), tasks[2].clone()]);
    assert_eq!(
        world
            .app("/web")
            .wanted
            .as_ref()
            .expect("wanted")
            .spec
            .instances,
        2
    );
    assert!(world.view().deployments.is_empty());
}

#[test]
fn unknown_tasks_are_skipped() {
    let mut world = serving(app("/web", 1));
    let unknown =
        TaskId::new("web.instance-30313233-3435-3637-3839-616263646566._app.1").expect("good");

    let kill = Input::KillInstances {
        instances: vec![instance_of(&unknown)],
        scale: false,
        force: false,
        wipe: false,
    };

    assert_eq!(world.step(kill).reply, Some(Reply::Killed(Vec::new())));
}

#[test]
fn a_cancelled_deployment_leaves_things_as_they_are() {
    let mut world = serving(checked("/web", 2));
    let before = world.task_ids();
    let mut spec = checked("/web", 2);
    spec.cmd = Some("serve better".to_owned());
    let Reply::Changed { deployment, .. } = world.put(spec) else {
        panic!("changed")
    };
    world.offer();
    assert_eq!(world.tasks.len(), 4);

    let cancel = Input::CancelDeployment {
        id: deployment.clone(),
        force: true,
    };
    assert_eq!(world.step(cancel).reply, Some(Reply::Cancelled));
    world.calm();

    assert_eq!(
        world.task_ids(),
        before,
        "the old ones run on, those that had not started go"
    );
    let again = Input::CancelDeployment {
        id: deployment.clone(),
        force: true,
    };
    assert_eq!(
        world.step(again).reply,
        Some(Reply::NotFound(Missing::Deployment(deployment)))
    );
}

#[test]
fn an_undone_deployment_replaces_nothing_that_was_there_before() {
    let mut world = serving(checked("/web", 2));
    let before = world.task_ids();
    let mut spec = checked("/web", 3);
    spec.cmd = Some("serve better".to_owned());
    let Reply::Changed { deployment, .. } = world.put(spec) else {
        panic!("changed")
    };
    world.offer();

    let undo = Input::CancelDeployment {
        id: deployment,
        force: false,
    };
    assert!(matches!(
        world.step(undo).reply,
        Some(Reply::Changed { .. })
    ));
    world.calm();

    assert_eq!(world.task_ids(), before);
    let wanted = world.app("/web").wanted.clone().expect("wanted");
    assert_eq!(
        (wanted.spec.instances, wanted.spec.cmd.as_deref()),
        (2, Some("serve"))
    );
    assert!(world.view().deployments.is_empty());
}

#[test]
fn undoing_the_first_deployment_of_an_app_removes_it() {
    let mut world = World::new(1);
    let Reply::Changed { deployment, .. } = world.create(app("/web", 1)) else {
        panic!("changed")
    };

    world.step(Input::CancelDeployment {
        id: deployment,
        force: false,
    });
    world.calm();

    assert!(world.view().apps.is_empty() && world.tasks.is_empty());
}

#[test]
fn subscribers_hear_who_asked_before_all_else() {
    let mut world = World::new(1);
    world.heard();
    let origin = Origin {
        client_ip: "127.0.0.1".to_owned(),
        uri: "/v2/apps".to_owned(),
    };

    let what = Wanted::Create(Box::new(app("/web", 1)));
    world.step(Input::Change(Change {
        what,
        force: false,
        origin: Some(origin.clone()),
    }));

    let Happening::ApiPost { origin: told, app } = &world.events[0] else {
        panic!("first")
    };
    assert_eq!((told, app.spec.port_definitions[0].port), (&origin, 10_000));
    assert_eq!(
        world.heard()[1..3],
        ["group_change_success", "deployment_info"]
    );
}

#[test]
fn apps_that_wait_for_each_other_are_refused() {
    let mut world = World::new(1);
    let mut a = app("/a", 1);
    a.dependencies.insert(id("/b"));
    let mut b = app("/b", 1);
    b.dependencies.insert(id("/a"));
    world.create(a);

    let Reply::Invalid(violations) = world.create(b) else {
        panic!("a cycle")
    };

    assert!(
        violations[0]
            .message
            .starts_with("Dependency graph has cyclic dependencies"),
        "{violations:?}"
    );
    assert!(world.view().app(&id("/b")).is_none());
}

#[test]
fn no_more_deployments_than_the_bound_run_at_once() {
    let mut world = World::new(0);
    for number in 0..100 {
        assert!(matches!(
            world.create(app(&format!("/a{number}"), 1)),
            Reply::Changed { .. }
        ));
    }

    assert_eq!(
        world.create(app("/more", 1)),
        Reply::TooManyDeployments { limit: 100 }
    );
    assert!(
        matches!(
            world.ask(Wanted::Remove(id("/a0")), true),
            Reply::Changed { .. }
        ),
        "one goes, one comes"
    );
}

#[test]
fn a_task_that_finishes_counts_in_no_count() {
    let mut world = serving(checked("/web", 1));
    let counts = world.app("/web").counts();
    assert_eq!(
        (
            counts.staged,
            counts.running,
            counts.healthy,
            counts.unhealthy
        ),
        (0, 1, 1, 0)
    );
    let task = world.task_ids()[0].clone();

    world.report(&task, TaskState::Finished, None);

    assert_eq!(world.app("/web").counts(), Default::default());
}
