//! Apps in roles of their own: which they may have, and that only offers in these are taken for them.

use mete_model::Role;
use mete_service_framework_core::spec::app::AppSpec;
use mete_service_framework_core::spec::group::GroupSpec;
use mete_service_framework_core::{Action, Change, Input, Reply, Wanted};

use crate::kit::{World, app, id};

/// A group enforces its role, or does so no more.
fn enforce(world: &mut World, group: &str, is_enforced: bool) {
    let group = GroupSpec {
        id: Some(id(group)),
        enforce_role: Some(is_enforced),
        ..GroupSpec::default()
    };
    let reply = world.ask(Wanted::PutGroup(Box::new(group)), false);
    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
}

fn in_role(text: &str, role: &str) -> AppSpec {
    let mut spec = app(text, 1);
    spec.role = Some(role.to_owned());
    spec
}

fn role_of(world: &World, text: &str) -> Option<String> {
    let app = world.app(text);
    app.wanted.as_ref().expect("wanted").spec.role.clone()
}

/// Why an app is turned down.
fn told(reply: Reply) -> String {
    let Reply::Invalid(violations) = reply else {
        panic!("{reply:?}")
    };
    let one = &violations[0];
    format!("{} {}", one.path, one.message)
}

fn role(text: &str) -> Role {
    Role::new(text).expect("good")
}

#[test]
fn an_app_takes_offers_in_its_role_only() {
    let mut world = World::new(1);
    enforce(&mut world, "/dev", true);

    let effects = world.step(Input::Change(Change {
        what: Wanted::Create(Box::new(app("/dev/shop/web", 1))),
        force: false,
        origin: None,
    }));

    let at = |is_it: fn(&Action) -> bool| effects.act.iter().position(is_it);
    let roles = at(|action| matches!(action, Action::Roles(_)));
    let demand = at(|action| matches!(action, Action::Demand(_)));
    assert!(roles.is_some() && roles < demand, "a shape names its role");
    assert_eq!(role_of(&world, "/dev/shop/web").as_deref(), Some("dev"));
    assert_eq!(world.roles, [role("dev"), Role::any()]);
    assert_eq!(world.demand[0].role, Some(role("dev")));
    world.offer();
    assert!(world.tasks.is_empty(), "these are for everybody");

    let offers = world.free_in("dev");
    world.step(Input::Offers(offers));

    let task = world.tasks.values().next().expect("launched");
    let environment = &task.spec.command.environment;
    assert_eq!(environment["MARATHON_APP_ENFORCE_GROUP_ROLE"], "true");
    world.restart();
    let roles: Vec<Role> = world.core.roles().cloned().collect();
    assert_eq!(roles, [role("dev"), Role::any()]);
}

#[test]
fn an_app_may_have_the_role_of_the_framework_or_of_its_group() {
    let mut world = World::new(1);

    assert_eq!(
        told(world.create(in_role("/web", "dev"))),
        "/role expected one of: [*]"
    );
    assert_eq!(
        told(world.create(in_role("/dev/web", "prod"))),
        "/role expected one of: [*, dev]"
    );
    for (text, role, kept) in [
        ("/web", "*", None),
        ("/dev/a", "*", None),
        ("/dev/b/c", "dev", Some("dev")),
    ] {
        let reply = world.create(in_role(text, role));
        assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
        assert_eq!(role_of(&world, text).as_deref(), kept);
    }
}

#[test]
fn what_a_group_enforces_is_for_what_comes_after() {
    let mut world = World::new(1);
    world.create(app("/dev/old", 1));
    world.calm();
    enforce(&mut world, "/dev", true);

    let refused = told(world.create(in_role("/dev/new", "*")));
    world.create(app("/dev/new", 1));
    world.scale("/dev/old", 2);

    assert_eq!(refused, "/role expected one of: [dev]");
    assert_eq!(role_of(&world, "/dev/new").as_deref(), Some("dev"));
    assert_eq!(role_of(&world, "/dev/old"), None);
    world.restart();
    world.subscribe();
    let groups = world.view().groups;
    assert!(groups.get(&id("/dev")).expect("there").enforce_role);
    enforce(&mut world, "/dev", false);
    let reply = world.ask(
        Wanted::Put {
            apps: vec![in_role("/dev/old", "dev")],
            create: false,
            merged_with: Default::default(),
        },
        true,
    );
    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
}
