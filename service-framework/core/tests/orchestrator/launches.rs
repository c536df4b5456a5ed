//! From a wish to healthy instances.

use std::time::Duration;

use mete_model::{Offer, Program, TaskState, Timestamp, Unavailability};
use mete_service_framework_core::backends::{BackendState, Changes, Mode};
use mete_service_framework_core::spec::app::{HealthProtocol, Protocol};
use mete_service_framework_core::state::instances::InstanceState;
use mete_service_framework_core::state::launch_queue::{OfferSummary, Reject};
use mete_service_framework_core::{Action, Change, Input, Reply, Wanted};

use crate::kit::{World, app, checked, id};
use crate::told::Names;

#[test]
fn a_new_app_is_stored_then_planned_then_asks_for_offers() {
    let mut world = World::new(1);
    let mut names = Names::default();

    let effects = world.step(Input::Change(Change {
        what: Wanted::Create(Box::new(checked("/web", 1))),
        force: false,
        origin: None,
    }));

    let expected = [
        "store version of /web",
        "store app /web wanted true kept nothing",
        "former of 1 apps, 0 groups",
        "store deployment",
        "store app /web wanted true kept 0",
        "store app /web wanted true kept 1",
        "publish group_change_success",
        "publish deployment_info",
        "publish add_health_check_event",
        "publish deployment_step_success",
        "publish deployment_info",
        "publish instance_changed_event",
        "demand 1x /web",
        "revive",
    ];
    assert_eq!(names.lines(&effects), expected);
    assert!(matches!(
        effects.reply,
        Some(Reply::Changed { created: true, .. })
    ));
}

#[test]
fn an_offer_that_fits_is_accepted_once_and_the_rest_declined() {
    let mut world = World::new(2);
    let mut names = Names::default();
    world.create(app("/web", 1));

    let effects = world.offer();

    let expected = [
        "store instance I1 Provisioned",
        "publish instance_changed_event",
        "accept m-O1: I1._app.1 on m-S1",
        "decline m-O2 for 120s",
        "suppress",
        "demand nothing",
    ];
    assert_eq!(names.lines(&effects), expected);
}

#[test]
fn a_task_that_becomes_healthy_ends_the_deployment() {
    let mut world = World::new(1);
    let mut names = Names::default();
    world.create(checked("/web", 1));
    names.lines(&world.offer());
    let task = world.task_ids()[0].clone();
    names.lines(&world.report(&task, TaskState::Staging, None));

    let running = world.report(&task, TaskState::Running, None);
    let healthy = world.report(&task, TaskState::Running, Some(true));

    let expected = [
        "store instance I1 Running",
        "publish status_update_event",
        "publish instance_changed_event",
        "acknowledge I1._app.1",
    ];
    assert_eq!(names.lines(&running), expected);
    let expected = [
        "store instance I1 Running",
        "forget deployment",
        "publish status_update_event",
        "publish health_status_changed_event",
        "publish instance_health_changed_event",
        "acknowledge I1._app.1",
        "publish deployment_step_success",
        "publish deployment_success",
    ];
    assert_eq!(names.lines(&healthy), expected);
    assert!(world.view().deployments.is_empty());
}

#[test]
fn an_instance_is_listed_from_healthy_on() {
    let mut world = World::new(1);
    world.create(checked("/web", 1));
    let before = world.view().backends;
    world.offer();
    let task = world.task_ids()[0].clone();
    world.report(&task, TaskState::Running, None);
    assert!(world.backends("/web").is_empty());
    assert_eq!(world.view().backends.version(), before.version());

    world.report(&task, TaskState::Running, Some(true));

    assert_eq!(
        world.backends("/web").into_iter().collect::<Vec<_>>(),
        [(task.clone(), BackendState::Up)]
    );
    let backends = world.view().backends;
    let Changes::Change {
        version,
        changed,
        removed,
    } = backends.changes_since("epoch-0", before.version())
    else {
        panic!("one version later it is a change")
    };
    assert_eq!(
        (version, changed.len(), removed.len()),
        (before.version() + 1, 1, 0)
    );
    let service = &changed[0];
    assert_eq!(
        (service.key.service_port, service.mode, service.protocol),
        (10_000, Mode::Http, Protocol::Tcp)
    );
    assert_eq!(service.backends[0].host, "127.0.0.1");
    let port = world.instances("/web")[0]
        .place
        .as_ref()
        .expect("placed")
        .ports[0];
    assert_eq!(service.backends[0].port, port);
}

#[test]
fn a_task_carries_command_ports_and_check() {
    let mut world = World::new(1);
    let mut spec = checked("/shop/web", 1);
    spec.cmd = None;
    spec.args = vec!["mete".to_owned(), "whoami".to_owned()];
    spec.health_checks[0].protocol = HealthProtocol::MesosTcp;
    spec.task_kill_grace_period = Some(Duration::from_secs(7));
    world.create(spec);

    let effects = world.offer();

    let Some(Action::Accept { launches, .. }) = effects
        .act
        .iter()
        .find(|action| matches!(action, Action::Accept { .. }))
    else {
        panic!("it is accepted")
    };
    let launch = &launches[0];
    let port = launch.discovery.ports[0].number;
    assert_eq!(launch.task.name, "web.shop");
    assert_eq!(
        launch.task.resources.ports.iter().collect::<Vec<_>>(),
        [u64::from(port)]
    );
    assert_eq!(launch.task.command.environment["PORT0"], port.to_string());
    assert_eq!(
        launch.task.command.environment["PORT_10000"],
        port.to_string()
    );
    let argv = vec!["mete".to_owned(), "whoami".to_owned()];
    assert_eq!(
        launch.task.command.program,
        Program::Exec {
            path: "mete".to_owned(),
            argv
        }
    );
    assert_eq!(
        launch.task.health_check.as_ref().map(|check| &check.probe),
        Some(&mete_model::Probe::Tcp { port })
    );
    assert_eq!(launch.task.kill_grace_period, Some(Duration::from_secs(7)));
}

#[test]
fn an_accept_has_room_for_what_secrets_may_hold() {
    let mut world = World::new(1);
    let mut spec = app("/web", 80);
    spec.cpus_milli = 1;
    spec.mem_bytes = 1 << 20;
    spec.port_definitions.clear();
    spec.secrets.insert("pw".to_owned(), "pw".to_owned());
    spec.env_secrets.insert("PW".to_owned(), "pw".to_owned());
    world.create(spec);

    let effects = world.offer();

    let launched = effects.act.iter().map(|action| {
        let Action::Accept { launches, .. } = action else {
            return 0;
        };
        launches.len()
    });
    // Some 66 KiB each, of 3 MiB.
    assert_eq!(launched.sum::<usize>(), 46);
}

#[test]
fn instances_spread_over_agents() {
    let mut world = World::new(3);
    world.create(app("/web", 3));

    world.calm();

    assert_eq!(world.hosts("/web").len(), 3);
}

#[test]
fn an_app_larger_than_every_agent_waits_and_the_queue_says_why() {
    let mut world = World::new(2);
    let mut spec = app("/huge", 1);
    spec.cpus_milli = 100_000;
    world.create(spec);

    world.offer();

    let queue = world.view().queue;
    let queued = &queue[&id("/huge")];
    assert_eq!(
        (queued.count, queued.offers.processed, queued.offers.unused),
        (1, 2, 2)
    );
    let rows = OfferSummary::rows(
        &queued.offers.last_offers,
        queued.offers.last_offers_processed,
    );
    assert!(rows.contains(&(Reject::InsufficientCpus, 2, 2)));
    assert!(rows.contains(&(Reject::InsufficientMemory, 0, 0)));
    assert_eq!(queued.offers.last_unused.len(), 2);
    assert_eq!(queued.offers.last_unused[0].1, [Reject::InsufficientCpus]);
}

#[test]
fn what_is_left_of_a_used_offer_is_no_good_to_those_that_still_wait() {
    let mut world = World::new(1);
    let mut spec = app("/web", 2);
    spec.constraints = vec![mete_service_framework_core::spec::app::Constraint {
        field: "hostname".to_owned(),
        operator: "UNIQUE".to_owned(),
        value: None,
    }];
    world.create(spec);

    world.offer();

    let queue = world.view().queue;
    let queued = &queue[&id("/web")];
    assert_eq!((queued.count, queued.offers.unused), (1, 0));
    let rows = OfferSummary::rows(
        &queued.offers.last_offers,
        queued.offers.last_offers_processed,
    );
    assert!(
        rows.contains(&(Reject::UnfulfilledConstraint, 1, 1)),
        "{rows:?}"
    );
}

#[test]
fn constraints_keep_instances_apart() {
    let mut world = World::new(2);
    let mut spec = app("/web", 3);
    let constraint = mete_service_framework_core::spec::app::Constraint {
        field: "hostname".to_owned(),
        operator: "UNIQUE".to_owned(),
        value: None,
    };
    spec.constraints = vec![constraint];
    world.create(spec);

    world.calm();

    assert_eq!((world.tasks.len(), world.hosts("/web").len()), (2, 2));
    let queue = world.view().queue;
    assert_eq!(
        queue[&id("/web")].offers.last_unused[0].1,
        [Reject::UnfulfilledConstraint]
    );

    world.add_agent(3);
    world.calm();
    assert_eq!(world.hosts("/web").len(), 3);
}

#[test]
fn a_required_port_is_taken_where_it_is_free() {
    let mut world = World::new(1);
    let mut spec = app("/web", 2);
    spec.port_definitions[0].port = 31_007;
    spec.require_ports = true;
    world.create(spec);

    world.calm();

    let ports: Vec<_> = world
        .instances("/web")
        .iter()
        .filter_map(|one| Some(one.place.as_ref()?.ports.clone()))
        .collect();
    assert_eq!(ports, [vec![31_007]]);
    let queue = world.view().queue;
    assert_eq!(
        queue[&id("/web")].offers.last_unused[0].1,
        [Reject::InsufficientPorts]
    );
}

#[test]
fn an_app_starts_after_those_it_depends_on() {
    let mut world = World::new(2);
    let mut web = app("/web", 1);
    web.dependencies.insert(id("/db"));
    let put = Wanted::Put {
        apps: vec![web, checked("/db", 1)],
        create: true,
        merged_with: Default::default(),
    };
    world.ask(put, false);

    world.offer();
    assert!(world.instances("/web").is_empty());
    world.run_all();

    assert_eq!(world.instances("/web").len(), 1);
    world.calm();
    assert!(world.view().deployments.is_empty());
}

#[test]
fn a_launch_nobody_hears_of_is_asked_about_then_given_up() {
    let mut world = World::new(1);
    let mut names = Names::default();
    world.create(app("/web", 1));
    names.lines(&world.offer());
    let task = world.task_ids()[0].clone();

    world.now = world.now + Duration::from_secs(30);
    let effects = world.step(Input::Deadline);
    assert_eq!(names.lines(&effects), ["reconcile I1._app.1"]);

    world.pass_s(269);
    assert!(world.kills.is_empty());
    world.pass_s(1);
    assert_eq!(world.kills, std::slice::from_ref(&task));
    assert_eq!(world.instances("/web").len(), 2, "another one waits");

    world.pass_s(20);
    assert_eq!(
        world.kills.len(),
        3,
        "the kill is repeated every ten seconds"
    );
    world.report(&task, TaskState::Gone, None);
    assert_eq!(world.states("/web"), [InstanceState::Waiting]);
    assert!(
        world.view().queue[&id("/web")].delayed_until.is_none(),
        "that was no failure of the app"
    );
}

#[test]
fn a_launch_that_may_have_gone_with_the_link_is_asked_about_soon() {
    let mut world = World::new(1);
    let mut names = Names::default();
    world.create(app("/web", 1));
    names.lines(&world.offer());
    world.now = world.now + Duration::from_secs(1);
    world.step(Input::Disconnected);

    world.subscribe();

    let begun = world.now;
    let mut asked = Vec::new();
    while asked.len() < 6 {
        world.now = world.now + Duration::from_secs(1);
        let effects = world.step(Input::Deadline);
        if names
            .lines(&effects)
            .contains(&"reconcile I1._app.1".to_owned())
        {
            asked.push(world.now.since(begun).as_secs());
        }
    }
    assert_eq!(asked, [2, 4, 8, 16, 32, 62]);
}

#[test]
fn a_huge_number_of_instances_costs_no_memory() {
    let mut world = World::new(1);

    world.create(app("/web", 4_000_000_000));

    assert_eq!(world.instances("/web").len(), 1_000);
    assert_eq!(world.view().queue[&id("/web")].count, 4_000_000_000);
    world.offer();
    assert_eq!(world.tasks.len(), 32, "as many as have 128 MB");
}

#[test]
fn nothing_begins_on_a_machine_whose_window_has_begun() {
    let mut world = World::new(1);
    world.create(app("/web", 1));
    let offers = |world: &mut World, from: i64| -> Vec<Offer> {
        let start = Timestamp::from_micros(world.now.as_micros().saturating_add_signed(from));
        let mut offers = world.free();
        for offer in &mut offers {
            offer.unavailability = Some(Unavailability {
                start,
                duration: Some(Duration::from_secs(3_600)),
            });
        }
        offers
    };

    let begun = offers(&mut world, -1_000_000);
    world.step(Input::Offers(begun));
    assert!(world.tasks.is_empty());
    let view = world.view();
    let unused = &view.queue[&id("/web")].offers.last_unused;
    assert_eq!(unused[0].1, [Reject::AgentMaintenance]);

    let planned = offers(&mut world, 60_000_000);
    world.step(Input::Offers(planned));
    assert_eq!(world.tasks.len(), 1);
}
