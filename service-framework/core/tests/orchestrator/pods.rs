//! Pods: each instance has a task for each container; they start together and end together.

use std::time::Duration;

use mete_model::{TaskId, TaskState};
use mete_service_framework_core::backends::BackendState;
use mete_service_framework_core::events::{Happening, PodChange};
use mete_service_framework_core::spec::app::{
    AppSpec, Endpoint, HealthCheckSpec, HealthProtocol, Mapping, PodContainer, PodProgram, PodSpec,
    PortDefinition,
};
use mete_service_framework_core::spec::group::GroupSpec;
use mete_service_framework_core::state::apps::MAX_EARLIER_FAILURES;
use mete_service_framework_core::state::instances::{InstanceId, InstanceState, LAUNCH_TIMEOUT};
use mete_service_framework_core::{Action, Change, Input, Missing, Origin, Reply, Wanted};

use crate::kit::{World, app, id, instance_of};
use crate::told::Names;

/// Containers `web`, which has a port and is checked, and `log`.
pub(crate) fn pod(text: &str, instances: u32) -> AppSpec {
    let container = |name: &str| PodContainer {
        program: Some(PodProgram::Shell("sleep 1000".to_owned())),
        cpus_milli: 100,
        ..PodContainer::new(name)
    };
    let mut web = container("web");
    web.endpoints = vec![Endpoint {
        port: PortDefinition {
            name: Some("http".to_owned()),
            mapping: Some(Mapping {
                container_port: 0,
                host_port: Some(0),
                network_names: Vec::new(),
            }),
            ..PortDefinition::default_port()
        },
        protocols: Vec::new(),
    }];
    web.health_check = Some(HealthCheckSpec {
        port_index: Some(0),
        ..HealthCheckSpec::new(HealthProtocol::MesosTcp)
    });
    web.kill_grace_period = Some(Duration::from_secs(7));
    let pod = PodSpec {
        containers: vec![web, container("log")],
        ..PodSpec::default()
    };
    let mut spec = AppSpec::new_pod(id(text), pod);
    spec.instances = instances;
    spec
}

/// A pod that runs on one agent.
fn running(spec: AppSpec) -> World {
    let mut world = World::new(1);
    let reply = world.create(spec);
    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
    world.calm();
    world.heard();
    world
}

/// Tasks of a container, by id.
fn tasks_of(world: &World, container: &str) -> Vec<TaskId> {
    let is_of = |task: &TaskId| {
        let (_, of) = InstanceId::of_task(task.as_str()).expect("a task of ours");
        of == Some(container)
    };
    world.task_ids().into_iter().filter(is_of).collect()
}

#[test]
fn a_pod_is_launched_as_one_group_and_runs_when_all_of_it_does() {
    let mut world = World::new(1);
    let mut names = Names::default();
    world.create(pod("/p", 1));

    let launched = world.offer();
    assert_eq!(
        names.lines(&launched),
        [
            "store instance I1 Provisioned",
            "publish instance_changed_event",
            "accept m-O1: together I1.web.1 on m-S1 and I1.log.1 on m-S1",
            "suppress",
            "demand nothing",
        ]
    );
    let [web] = &*tasks_of(&world, "web") else {
        panic!("one")
    };
    let [log] = &*tasks_of(&world, "log") else {
        panic!("one")
    };
    world.report(log, TaskState::Running, None);
    world.report(web, TaskState::Starting, None);
    assert_eq!(world.states("/p"), [InstanceState::Starting]);
    world.report(web, TaskState::Running, None);
    assert_eq!(
        world.states("/p"),
        [InstanceState::Running { healthy: None }]
    );
    assert_eq!(world.view().deployments.len(), 1, "it is not healthy yet");
    let healthy = world.report(web, TaskState::Running, Some(true));

    assert_eq!(
        names.lines(&healthy),
        [
            "store instance I1 Running",
            "store instance I1 Running",
            "forget deployment",
            "publish status_update_event",
            "publish health_status_changed_event",
            "publish instance_health_changed_event",
            "acknowledge I1.web.1",
            "publish deployment_step_success",
            "publish deployment_success",
        ]
    );
}

#[test]
fn a_check_that_passes_before_the_others_run_is_not_forgotten() {
    let mut world = World::new(1);
    world.create(pod("/p", 1));
    world.offer();
    let (web, log) = (tasks_of(&world, "web"), tasks_of(&world, "log"));

    world.report(&web[0], TaskState::Running, Some(true));
    world.report(&log[0], TaskState::Running, None);

    let healthy = Some(true);
    assert_eq!(world.states("/p"), [InstanceState::Running { healthy }]);
    assert!(world.view().deployments.is_empty());
}

#[test]
fn a_container_that_fails_takes_its_instance_along_and_another_comes_after_a_delay() {
    let mut world = running(pod("/p", 1));
    let (web, log) = (tasks_of(&world, "web"), tasks_of(&world, "log"));

    world.report(&log[0], TaskState::Failed, None);
    let healthy = Some(false);
    assert_eq!(world.states("/p"), [InstanceState::Running { healthy }]);
    world.report(&web[0], TaskState::Running, Some(true));
    assert!(!world.instances("/p")[0].is_ready(), "it is being ended");
    world.report(&web[0], TaskState::Killed, None);

    assert_eq!(world.states("/p"), [InstanceState::Waiting]);
    let failure = world.app("/p").last_failure.clone().expect("one");
    assert_eq!(
        (&failure.task, failure.state),
        (&log[0], TaskState::Failed),
        "the one it ended for, not the last"
    );
    let queue = world.view().queue;
    assert!(queue[&id("/p")].delayed_until.is_some());
    world.calm();
    assert_ne!(tasks_of(&world, "web"), web);
    assert_eq!(world.task_ids().len(), 2);
}

#[test]
fn a_container_that_ends_with_success_leaves_the_others_alone() {
    let mut world = running(pod("/p", 1));
    let log = tasks_of(&world, "log");

    world.report(&log[0], TaskState::Finished, None);
    world.calm();

    let healthy = Some(true);
    assert_eq!(world.states("/p"), [InstanceState::Running { healthy }]);
    assert_eq!(world.task_ids(), tasks_of(&world, "web"));
    let effects = world.subscribe();
    let asked = effects.act.iter().find_map(|action| {
        let Action::Reconcile { tasks } = action else {
            return None;
        };
        (!tasks.is_empty()).then_some(tasks.len())
    });
    assert_eq!(asked, Some(1), "of one that has ended nothing is asked");
}

#[test]
fn every_container_is_killed_with_its_own_grace() {
    let mut world = running(pod("/pod", 1));

    let effects = world.step(Input::Change(Change {
        what: Wanted::RemovePod(id("/pod")),
        force: false,
        origin: None,
    }));

    let kills = effects.act.iter().filter_map(|action| {
        let Action::Kill { task, grace, .. } = action else {
            return None;
        };
        let (_, container) = InstanceId::of_task(task.as_str())?;
        Some((container?.to_owned(), *grace))
    });
    let expected = [
        ("web".to_owned(), Some(Duration::from_secs(7))),
        ("log".to_owned(), None),
    ];
    assert_eq!(kills.collect::<Vec<_>>(), expected);
    world.calm();
    assert!(world.task_ids().is_empty());
    let left = world.stored_keys();
    assert!(left.iter().all(|key| !key.contains("pod")), "{left:?}");
}

#[test]
fn a_pod_rolls_scales_and_comes_back_from_the_store_as_it_was() {
    let mut world = running(pod("/p", 2));
    let before = world.instances("/p");

    world.restart();
    assert_eq!(world.instances("/p"), before);
    world.subscribe();
    world.calm();
    assert_eq!(world.instances("/p"), before);
    let mut scaled = pod("/p", 3);
    world.put(scaled.clone());
    world.calm();
    assert_eq!(world.instances("/p").len(), 3);
    assert!(
        before
            .iter()
            .all(|old| world.view().instance(&old.id).is_some()),
        "only more come"
    );
    scaled.env.insert("A".to_owned(), "b".to_owned());
    world.put(scaled);
    world.calm();

    let after = world.instances("/p");
    assert_eq!(after.len(), 3);
    assert!(
        after
            .iter()
            .all(|new| !before.iter().any(|old| old.id == new.id))
    );
    assert_eq!(world.task_ids().len(), 6);
}

#[test]
fn a_plan_for_a_pod_goes_on_after_a_restart() {
    let mut world = World::new(1);
    world.create(pod("/p", 1));
    world.offer();
    world.restart();
    let deployments = world.view().deployments;
    let pods: Vec<_> = deployments.values().flat_map(|plan| plan.pods()).collect();

    assert_eq!(pods, [&id("/p")]);
    world.subscribe();
    world.calm();
    assert!(world.view().deployments.is_empty());
}

#[test]
fn an_instance_whose_containers_do_not_start_in_time_is_killed() {
    let mut world = World::new(1);
    world.create(pod("/p", 1));
    world.offer();
    let web = tasks_of(&world, "web");
    world.report(&web[0], TaskState::Running, Some(true));

    world.pass(LAUNCH_TIMEOUT);

    assert_eq!(world.kills.len(), 2, "both, whether they run or not");
}

#[test]
fn an_app_and_a_pod_do_not_share_an_id_and_are_found_each_among_its_own() {
    let mut world = running(pod("/p", 1));
    world.create(app("/web", 1));
    let said = |reply: Reply| {
        let Reply::Invalid(violations) = reply else {
            panic!("{reply:?}")
        };
        violations[0].message.clone()
    };

    assert_eq!(world.create(pod("/p", 1)), Reply::PodExists(id("/p")));
    let share = "Applications and Pods may not share the same id";
    assert_eq!(said(world.create(app("/p", 1))), share);
    assert_eq!(said(world.put(pod("/web", 1))), share);
    let group = said(world.create(app("/p/inner", 1)));
    assert_eq!(group, "Groups and Pods may not have the same identifier.");
    let missing = |missing| Reply::NotFound(missing);
    assert_eq!(
        world.ask(Wanted::Remove(id("/p")), true),
        missing(Missing::App(id("/p")))
    );
    assert_eq!(
        world.ask(Wanted::RemovePod(id("/web")), true),
        missing(Missing::Pod(id("/web")))
    );
    assert_eq!(world.scale("/p", 2), missing(Missing::App(id("/p"))));
    let view = world.view();
    assert!(view.app(&id("/p")).is_none() && view.pod(&id("/p")).is_some());
    assert!(view.app(&id("/web")).is_some() && view.pod(&id("/web")).is_none());
    assert_eq!((view.wanted().count(), view.pods().count()), (1, 1));
}

#[test]
fn a_group_keeps_its_pods_when_it_is_put_and_scaled_and_takes_them_along_when_it_goes() {
    let mut world = running(pod("/shop/p", 1));
    world.create(app("/shop/web", 1));
    world.calm();

    let none = GroupSpec {
        id: Some(id("/shop")),
        apps: Some(Vec::new()),
        ..GroupSpec::default()
    };
    world.ask(Wanted::PutGroup(Box::new(none)), false);
    world.calm();
    assert!(world.view().app(&id("/shop/web")).is_none());
    world.ask(Wanted::ScaleGroup(Some(id("/shop")), 2.0), false);
    world.calm();
    assert_eq!(world.instances("/shop/p").len(), 1);
    world.ask(Wanted::RemoveGroup(Some(id("/shop"))), false);
    world.calm();

    assert!(world.view().apps.is_empty());
    assert!(world.task_ids().is_empty());
}

#[test]
fn subscribers_hear_what_users_make_of_pods() {
    let mut world = World::new(1);
    let mut heard = |what: Wanted| {
        let origin = Origin {
            client_ip: "127.0.0.1".to_owned(),
            uri: "/v2/pods".to_owned(),
        };
        world.step(Input::Change(Change {
            what,
            force: true,
            origin: Some(origin),
        }));
        let events = std::mem::take(&mut world.events);
        events.into_iter().find_map(|event| {
            let Happening::PodChanged { pod, change, .. } = event else {
                return None;
            };
            Some((pod, change))
        })
    };
    let put = Wanted::Put {
        apps: vec![pod("/p", 2)],
        create: true,
        merged_with: Default::default(),
    };

    for (what, change) in [
        (Wanted::Create(Box::new(pod("/p", 1))), PodChange::Created),
        (put, PodChange::Updated),
        (Wanted::RemovePod(id("/p")), PodChange::Deleted),
    ] {
        assert_eq!(heard(what), Some((id("/p"), change)));
    }
}

#[test]
fn an_instance_on_an_agent_nobody_hears_of_is_replaced_and_its_tasks_are_killed_when_they_return() {
    let mut world = World::new(2);
    world.create(pod("/p", 1));
    world.calm();
    let lost = world.task_ids();

    for task in &lost {
        let running = world.tasks[task].clone();
        world.report(task, TaskState::Unreachable, None);
        world.tasks.remove(task);
        world.away.insert(task.clone(), running);
    }
    world.calm();
    assert_eq!(world.task_ids().len(), 2);
    for task in &lost {
        let back = world.away.remove(task).expect("away");
        world.tasks.insert(task.clone(), back);
        world.report(task, TaskState::Running, None);
    }

    assert_eq!(world.kills, lost);
}

#[test]
fn endpoints_of_a_pod_with_labels_for_proxies_are_listed_and_drain() {
    let mut spec = pod("/p", 1);
    spec.labels
        .insert("HAPROXY_0_VHOST".to_owned(), "a.example".to_owned());
    let mut world = World::new(1);
    world.create(app("/web", 1));
    world.create(spec.clone());
    world.calm();
    let web = tasks_of(&world, "web");

    let backends = world.view().backends;
    let services = backends.services();
    let service = services.into_iter().find(|one| one.key.app == id("/p"));
    let service = service.expect("listed");
    assert_eq!(service.key.service_port, 10_001, "the next that is free");
    assert_eq!(service.backends[0].task, web[0]);
    let port = world.tasks[&web[0]].spec.resources.ports.iter().next();
    assert_eq!(Some(service.backends[0].port.into()), port);
    world.heard();
    assert!(matches!(world.put(spec), Reply::Changed { .. }));
    assert_eq!(
        world.task_ids().len(),
        3,
        "it keeps its port, so nothing changed"
    );
    world.ask(Wanted::RemovePod(id("/p")), false);

    assert_eq!(world.kills, [], "it drains first");
    assert_eq!(world.backends("/p")[&web[0]], BackendState::Draining);
    world.acknowledge("p", &[(&web[0], 1)]);
    assert_eq!(world.kills, []);
    world.acknowledge_all();
    assert_eq!(world.kills.len(), 2);
}

#[test]
fn how_its_instances_failed_is_remembered_up_to_a_bound() {
    let mut world = World::new(1);
    let mut spec = pod("/pod", 1);
    spec.backoff.initial = Duration::ZERO;
    spec.backoff.maximum = Duration::ZERO;
    world.create(spec);
    let mut failed = Vec::new();
    for _ in 0..12 {
        world.calm();
        let task = world.task_ids().remove(0);
        failed.insert(0, instance_of(&task));
        for one in world.task_ids() {
            world.report(&one, TaskState::Failed, None);
        }
    }
    failed.truncate(1 + MAX_EARLIER_FAILURES);
    let told = |world: &World| -> Vec<InstanceId> {
        let app = world.app("/pod");
        let tasks = app.failures().map(|failure| instance_of(&failure.task));
        tasks.collect()
    };

    assert_eq!(told(&world), failed);
    world.restart();
    assert_eq!(told(&world), failed);
}
