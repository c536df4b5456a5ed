//! Groups: made, replaced, scaled, gone back to, removed.

use std::collections::BTreeSet;

use mete_model::Timestamp;
use mete_service_framework_core::deployment::plan::ActionKind;
use mete_service_framework_core::events::Happening;
use mete_service_framework_core::spec::app::AppSpec;
use mete_service_framework_core::spec::group::GroupSpec;
use mete_service_framework_core::{Input, Missing, Reply, Wanted};

use crate::kit::{World, app, id};

fn group(text: &str, apps: &[AppSpec]) -> GroupSpec {
    GroupSpec {
        id: Some(id(text)),
        apps: Some(
            apps.iter()
                .enumerate()
                .map(|(at, app)| (format!("/apps({at})"), app.clone()))
                .collect(),
        ),
        ..GroupSpec::default()
    }
}

fn put(world: &mut World, spec: GroupSpec) -> Timestamp {
    let reply = world.ask(Wanted::PutGroup(Box::new(spec)), false);
    let Reply::Changed { version, .. } = reply else {
        panic!("{reply:?}")
    };
    version
}

fn wanted(world: &World) -> Vec<String> {
    world
        .view()
        .wanted()
        .map(|(app, version)| format!("{} {}", app.id, version.spec.instances))
        .collect()
}

fn groups(world: &World) -> Vec<String> {
    let view = world.view();
    view.groups.all().keys().map(ToString::to_string).collect()
}

#[test]
fn an_app_brings_the_groups_it_lies_in_and_they_stay() {
    let mut world = World::new(1);
    world.create(app("/shop/eu/web", 1));

    assert_eq!(groups(&world), ["/shop", "/shop/eu"]);
    world.ask(Wanted::Remove(id("/shop/eu/web")), true);
    assert_eq!(groups(&world), ["/shop", "/shop/eu"]);
    world.restart();
    assert_eq!(groups(&world), ["/shop", "/shop/eu"]);
}

#[test]
fn a_put_replaces_the_lists_it_names_and_keeps_the_others() {
    let mut world = World::new(2);
    world.create(app("/shop/old", 1));
    world.create(app("/shop/db/sql", 1));
    world.calm();

    put(&mut world, group("/shop", &[app("/shop/web", 2)]));

    assert_eq!(wanted(&world), ["/shop/db/sql 1", "/shop/web 2"]);
    world.calm();
    let nothing_below = GroupSpec {
        id: Some(id("/shop")),
        groups: Some(Vec::new()),
        ..GroupSpec::default()
    };
    put(&mut world, nothing_below);
    assert_eq!(wanted(&world), ["/shop/web 2"]);
    assert_eq!(groups(&world), ["/shop"]);
}

#[test]
fn a_put_of_what_is_there_already_changes_nothing() {
    let mut world = World::new(2);
    let spec = || group("/shop", &[app("/shop/web", 1), app("/shop/api", 1)]);
    put(&mut world, spec());
    world.calm();
    let (tasks, version) = (world.task_ids(), world.view().groups.version());

    put(&mut world, spec());
    world.calm();

    assert_eq!(world.task_ids(), tasks);
    assert_eq!(world.view().groups.version(), version);
}

#[test]
fn nested_groups_wait_for_each_other() {
    let mut world = World::new(2);
    let mut service = group("/shop/service", &[app("/shop/service/web", 1)]);
    service.dependencies = Some(BTreeSet::from([id("/shop/db")]));
    let shop = GroupSpec {
        id: Some(id("/shop")),
        groups: Some(vec![group("/shop/db", &[app("/shop/db/sql", 1)]), service]),
        ..GroupSpec::default()
    };
    let planned = world.step(Input::DryRun(Wanted::PutGroup(Box::new(shop.clone()))));
    let Some(Reply::Planned(steps)) = planned.reply else {
        panic!("{:?}", planned.reply)
    };
    let told: Vec<_> = steps
        .iter()
        .flat_map(|step| &step.actions)
        .map(|action| format!("{} {}", action.name(), action.app))
        .collect();
    assert_eq!(
        told,
        [
            "StartApplication /shop/db/sql",
            "StartApplication /shop/service/web",
            "ScaleApplication /shop/db/sql",
            "ScaleApplication /shop/service/web",
        ]
    );
    assert!(planned.store.is_empty() && wanted(&world).is_empty());

    put(&mut world, shop);
    world.offer();

    assert_eq!(world.instances("/shop/service/web").len(), 0);
    world.calm();
    assert_eq!(world.instances("/shop/service/web").len(), 1);
}

#[test]
fn a_group_is_scaled_with_all_below() {
    let mut world = World::new(2);
    put(
        &mut world,
        group("/shop", &[app("/shop/web", 3), app("/shop/api", 1)]),
    );
    world.calm();

    world.ask(Wanted::ScaleGroup(Some(id("/shop")), 1.5), false);

    assert_eq!(wanted(&world), ["/shop/api 2", "/shop/web 5"]);
    world.calm();
    world.ask(Wanted::ScaleGroup(None, 0.0), false);
    assert_eq!(wanted(&world), ["/shop/api 0", "/shop/web 0"]);
    let huge = world.step(Input::DryRun(Wanted::ScaleGroup(None, 1e300)));
    assert_eq!(huge.reply, Some(Reply::Planned(Vec::new())));
}

#[test]
fn a_group_goes_back_to_what_it_was_also_after_a_restart() {
    let mut world = World::new(2);
    let first = put(&mut world, group("/shop", &[app("/shop/web", 1)]));
    world.create(app("/other", 1));
    world.calm();
    put(&mut world, group("/shop", &[app("/shop/api", 2)]));
    world.calm();
    world.restart();
    let versions: Vec<Timestamp> = world.view().trees().map(|(version, _)| version).collect();
    assert_eq!(versions.len(), 3);
    assert_eq!(versions.last(), Some(&first));

    let revert = Wanted::RevertGroup(Some(id("/shop")), first);
    let reply = world.ask(revert, false);

    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
    assert_eq!(wanted(&world), ["/other 1", "/shop/web 1"]);
    let unknown = Wanted::RevertGroup(Some(id("/shop")), Timestamp::from_millis(1));
    let missing = Missing::GroupVersion(Some(id("/shop")), Timestamp::from_millis(1));
    assert_eq!(world.ask(unknown, false), Reply::NotFound(missing));
}

#[test]
fn a_service_port_that_is_anothers_by_now_is_given_anew_to_who_comes_back() {
    let mut world = World::new(2);
    let first = put(&mut world, group("/shop", &[app("/shop/web", 1)]));
    world.calm();
    let port = |world: &World, app: &str| {
        let wanted = world.app(app).wanted.clone().expect("it is wanted");
        let mut ports = wanted.spec.ports().map(|definition| definition.port);
        ports.next().expect("a port")
    };
    let given = port(&world, "/shop/web");
    world.ask(Wanted::Remove(id("/shop/web")), false);
    world.calm();
    world.create(app("/other", 1));
    world.calm();
    assert_eq!(port(&world, "/other"), given);

    world.ask(Wanted::RevertGroup(Some(id("/shop")), first), false);

    assert_eq!(port(&world, "/other"), given);
    assert_ne!(port(&world, "/shop/web"), given);
}

#[test]
fn a_group_goes_with_all_below_and_only_when_it_is_there() {
    let mut world = World::new(2);
    put(&mut world, group("/shop", &[app("/shop/web", 1)]));
    world.create(app("/shop-x", 1));
    world.calm();

    world.ask(Wanted::RemoveGroup(Some(id("/shop"))), false);
    world.calm();

    assert_eq!(wanted(&world), ["/shop-x 1"]);
    let again = world.ask(Wanted::RemoveGroup(Some(id("/shop"))), false);
    assert_eq!(again, Reply::NotFound(Missing::Group(id("/shop"))));
    world.ask(Wanted::RemoveGroup(None), false);
    world.calm();
    assert_eq!(wanted(&world), Vec::<String>::new());
    assert!(world.view().apps.is_empty());
}

#[test]
fn an_app_and_a_group_do_not_have_one_name() {
    let mut world = World::new(1);
    world.create(app("/shop/web", 1));
    world.create(app("/x", 1));

    for spec in [app("/shop", 1), app("/x/y", 1)] {
        let reply = world.create(spec);
        assert!(matches!(reply, Reply::Invalid(_)), "{reply:?}");
    }
    let create = |text| Wanted::CreateGroup(Box::new(group(text, &[])));
    let exists = Reply::GroupExists(Some(id("/shop")));
    assert_eq!(world.ask(create("/shop"), false), exists);
    assert_eq!(
        world.ask(create("/x"), false),
        Reply::AppInPlaceOfGroup(id("/x"))
    );
    assert_eq!(groups(&world), ["/shop"]);

    // But an app takes the place of a group that holds nothing.
    world.ask(Wanted::Remove(id("/shop/web")), true);
    let reply = world.create(app("/shop", 1));
    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
    assert!(groups(&world).is_empty());
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_one_lock_holds_up_all() {
    let mut world = World::new(1);
    let mut bad = app("/shop/web", 1);
    bad.cmd = None;
    let spec = group("/shop", &[app("/shop/api", 1), bad]);
    let Reply::Invalid(found) = world.ask(Wanted::PutGroup(Box::new(spec)), false) else {
        panic!("it is invalid")
    };
    assert_eq!(found[0].path, "/apps(1)");
    assert!(groups(&world).is_empty());

    put(&mut world, group("/shop", &[app("/shop/api", 1)]));
    let again = group("/shop", &[app("/shop/api", 2), app("/shop/web", 1)]);
    world.events.clear();
    let reply = world.ask(Wanted::PutGroup(Box::new(again)), false);
    assert!(matches!(reply, Reply::Conflict { .. }), "{reply:?}");
    assert_eq!(wanted(&world), ["/shop/api 1"]);
    assert!(matches!(
        &*world.events,
        [Happening::GroupChangeFailed { group: None, .. }]
    ));
}

#[test]
fn undoing_a_deployment_undoes_its_groups() {
    let mut world = World::new(1);
    let Reply::Changed { deployment, .. } = world.ask(
        Wanted::PutGroup(Box::new(group("/shop", &[app("/shop/web", 1)]))),
        false,
    ) else {
        panic!("it is taken")
    };

    world.step(Input::CancelDeployment {
        id: deployment,
        force: false,
    });
    world.calm();

    assert!(groups(&world).is_empty() && world.view().apps.is_empty());
    let stop = |kind: &ActionKind| matches!(kind, ActionKind::Stop);
    assert!(world.view().deployments.values().all(|plan| {
        plan.steps
            .iter()
            .flat_map(|step| &step.actions)
            .all(|action| stop(&action.kind))
    }));
}
