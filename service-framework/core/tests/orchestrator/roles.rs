//! Apps in roles of their own: which they may have, and that only offers in these are taken for them.

use mete_model::{Ranges, Resources, Role, Tag};
use mete_placement::Takes;
use mete_service_framework_core::orchestrator::Settings;
use mete_service_framework_core::spec::app::{AppSpec, Constraint};
use mete_service_framework_core::spec::group::GroupSpec;
use mete_service_framework_core::{Action, Change, Input, Reply, Wanted};

use crate::kit::{Running, World, app, id};
use crate::pods::pod;

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
    assert_eq!(environment["MARATHON_APP_ENFORCE_GROUP_ROLE"], "TRUE");
    world.restart();
    let roles: Vec<Role> = world.core.roles().cloned().collect();
    assert_eq!(roles, [role("dev"), Role::any()]);
}

#[test]
fn an_app_may_have_the_role_of_the_framework_or_of_its_group() {
    let mut world = World::new(1);

    assert_eq!(
        told(world.create(in_role("/web", "dev"))),
        "/role got dev, expected one of: [*]"
    );
    assert_eq!(
        told(world.create(in_role("/dev/web", "prod"))),
        "/role got prod, expected one of: [*, dev]"
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

    assert_eq!(refused, "/role got *, expected one of: [dev]");
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

/// An agent with 2 CPUs for everybody and 2 reserved for `dev`.
fn half_reserved() -> Resources {
    let half = |port| {
        let ports = Ranges::interval(port, port + 9);
        let mut half = Resources::cpus_mem(2_000, 2_048).with_ports(ports);
        half.disk_milli = 1_024_000;
        half
    };
    half(31_000).with_part(Tag::reserved(role("dev")), half(32_000))
}

/// So many instances of a CPU each, on what `accepted` names, of one agent that is half reserved.
fn placed(accepted: Option<&[&str]>, instances: u32, change: impl FnOnce(&mut AppSpec)) -> World {
    let mut world = World::alone(Settings {
        role: "dev".to_owned(),
        ..Settings::default()
    });
    world.put_back(1, half_reserved());
    world.subscribe();
    let mut spec = app("/web", instances);
    spec.cpus_milli = 1_000;
    let names = accepted.map(|names| names.iter().map(ToString::to_string).collect());
    spec.accepted_resource_roles = names;
    change(&mut spec);
    let reply = world.create(spec);
    assert!(matches!(reply, Reply::Changed { .. }), "{reply:?}");
    world.calm();
    world
}

/// CPUs of its tasks: reserved, and nobody's.
fn taken(world: &World) -> (u64, u64) {
    let mut taken = (0, 0);
    for task in world.tasks.values() {
        let all = &task.spec.resources;
        let reserved = all.part(&Tag::reserved(role("dev")));
        taken.0 += reserved.map_or(0, |part| part.cpus_milli);
        taken.1 += all.cpus_milli;
    }
    taken
}

#[test]
fn an_app_takes_of_what_it_accepts_and_of_the_reserved_first() {
    for (accepted, instances, expected) in [
        (Some(&["dev"][..]), 3, (2_000, 0)),
        (Some(&["*"][..]), 3, (0, 2_000)),
        (Some(&["*", "dev"][..]), 1, (1_000, 0)),
        (Some(&["*", "dev"][..]), 3, (2_000, 1_000)),
        (None, 3, (2_000, 1_000)),
    ] {
        let world = placed(accepted, instances, |_| {});

        assert_eq!(taken(&world), expected, "{accepted:?}");
        let is_whole = |task: &Running| {
            let all = &task.spec.resources;
            all.flat().ports.count() == 1 && all.flat().cpus_milli == 1_000
        };
        assert!(world.tasks.values().all(is_whole));
    }
}

/// An agent of which some CPUs and memory are reserved for `dev`, and everything else is nobody's.
fn partly_reserved() -> World {
    let mut world = World::alone(Settings {
        role: "dev".to_owned(),
        ..Settings::default()
    });
    let mut all = Resources::cpus_mem(2_000, 2_048).with_ports(Ranges::interval(31_000, 31_009));
    all.disk_milli = 1_024_000;
    let some = Resources::cpus_mem(1_000, 512);
    world.put_back(1, all.with_part(Tag::reserved(role("dev")), some));
    world.subscribe();
    world
}

#[test]
fn of_each_resource_what_is_reserved_goes_first_and_the_rest_is_nobodys() {
    let mut world = partly_reserved();
    let mut spec = app("/web", 1);
    (spec.cpus_milli, spec.disk_bytes) = (1_500, 1 << 20);

    world.create(spec);
    world.calm();

    let task = world.tasks.values().next().expect("it runs");
    let all = &task.spec.resources;
    let reserved = all.part(&Tag::reserved(role("dev"))).expect("some");
    assert_eq!((reserved.cpus_milli, all.cpus_milli), (1_000, 500));
    assert_eq!((reserved.ports.count(), all.ports.count()), (0, 1));
    assert_eq!((reserved.disk_milli, all.disk_milli), (0, 1_000));
}

#[test]
fn a_pod_takes_of_both_and_each_of_its_parts_has_its_own() {
    let mut world = partly_reserved();
    let spec = pod("/pod", 2);

    world.create(spec.clone());
    world.calm();

    assert!(!world.tasks.is_empty());
    let tag = Tag::reserved(role("dev"));
    let reserved = |task: &Running| {
        let part = task.spec.resources.part(&tag);
        part.map_or(0, |part| part.cpus_milli)
    };
    let of_reserved: u64 = world.tasks.values().map(reserved).sum();
    assert!((1..=1_000).contains(&of_reserved), "{of_reserved}");
    let is_whole = |task: &Running| {
        let (name, _) = task.spec.id.as_str().rsplit_once('.').expect("a task's");
        let mut containers = spec.containers().iter();
        let own = containers.find(|one| name.ends_with(&format!(".{}", one.name)));
        own.is_some_and(|own| own.cpus_milli == task.spec.resources.flat().cpus_milli)
    };
    assert!(world.tasks.values().all(is_whole));
}

#[test]
fn who_takes_nothing_reserved_or_nothing_else_says_so() {
    let mut world = World::alone(Settings {
        role: "dev".to_owned(),
        ..Settings::default()
    });
    world.subscribe();
    let mut spec = app("/web", 1);
    spec.accepted_resource_roles = Some(["*".to_owned()].into());

    world.create(spec);
    world.create(app("/any", 1));
    let mut spec = app("/own", 1);
    spec.accepted_resource_roles = Some(["dev".to_owned()].into());
    world.create(spec);

    let told: Vec<(Option<&str>, Takes)> = world
        .demand
        .iter()
        .map(|shape| (shape.name.as_deref(), shape.takes))
        .collect();
    assert_eq!(
        told,
        [
            (Some("/any"), Takes::Any),
            (Some("/own"), Takes::Reserved),
            (Some("/web"), Takes::Unreserved)
        ]
    );
}

#[test]
fn who_names_no_region_stays_in_that_of_the_master() {
    let mut world = World::alone(Settings::default());
    world.subscribe();
    let framework = world.view().framework.expect("it has subscribed");
    world.step(Input::Subscribed {
        framework,
        master: String::new(),
        region: Some("eu".to_owned()),
    });
    let mut zoned = app("/zoned", 1);
    zoned.constraints = vec![Constraint {
        field: "@zone".to_owned(),
        operator: "LIKE".to_owned(),
        value: Some(".*".to_owned()),
    }];

    world.create(app("/any", 1));
    world.create(zoned);

    let told = world.demand.iter().map(|shape| {
        let constraints = shape.constraints.iter();
        constraints.map(ToString::to_string).collect::<Vec<_>>()
    });
    let told: Vec<Vec<String>> = told.collect();
    assert_eq!(told, [["@region:HOME:eu"], ["@zone:LIKE:.*"]]);
    let home = Constraint {
        field: "@region".to_owned(),
        operator: "HOME".to_owned(),
        value: Some("eu".to_owned()),
    };
    let mut spec = app("/home", 1);
    spec.constraints = vec![home];
    let reply = world.create(spec);
    assert!(matches!(reply, Reply::Invalid(_)), "{reply:?}");
}

#[test]
fn constraints_see_what_was_placed_on_reserved_resources() {
    let world = placed(None, 2, |spec| {
        spec.constraints = vec![Constraint {
            field: "hostname".to_owned(),
            operator: "UNIQUE".to_owned(),
            value: None,
        }];
    });

    assert_eq!(taken(&world), (1_000, 0));
}

#[test]
fn what_is_reserved_with_labels_is_kept_for_something_else() {
    let mut world = World::alone(Settings {
        role: "dev".to_owned(),
        ..Settings::default()
    });
    let mut tag = Tag::reserved(role("dev"));
    tag.reservations[0].labels = vec![("whose".to_owned(), None)];
    let kept = Resources::cpus_mem(2_000, 2_048).with_ports(Ranges::interval(32_000, 32_009));
    world.put_back(1, Resources::none().with_part(tag, kept));
    world.subscribe();

    world.create(app("/web", 1));
    world.calm();

    assert!(world.tasks.is_empty());
}

#[test]
fn a_pod_on_reserved_resources_has_all_of_it_there() {
    let mut world = placed(Some(&["dev"]), 0, |_| {});
    let mut spec = pod("/pod", 1);
    spec.accepted_resource_roles = Some(["dev".to_owned()].into());
    world.create(spec);
    world.calm();

    assert!(!world.tasks.is_empty());
    assert_eq!(taken(&world).1, 0);
    let offer = world.free().remove(0);
    let plain = half_reserved().plain();
    assert_eq!(offer.resources.plain(), plain, "nothing of it was taken");
}
