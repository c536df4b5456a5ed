//! Resources that have changed while tasks ran on.

use mete_agent_core::{Findings, Found, Order};
use mete_model::{
    ExecutorId, ExecutorKind, ExecutorSpec, MB_MILLI, Ranges, Resources, Tag, TaskGroup, TaskKey,
    Volume,
};

use crate::fixture::*;

fn findings<const N: usize>(boot: &str, found: [(TaskKey, Found); N]) -> Findings {
    Findings {
        executors: [].into(),
        boot_id: boot.into(),
        found: found.into(),
    }
}

/// A task of half a CPU, 64 MB and ten ports.
fn with_ports() -> mete_model::TaskSpec {
    let mut spec = spec("web");
    spec.resources = spec.resources.with_ports(Ranges::interval(31_000, 31_009));
    spec
}

#[test]
fn what_running_tasks_hold_must_be_there() {
    let mut world = World::running(with_ports());
    world.crash();
    let ports = |from, to| Resources::cpus_mem(500, 64).with_ports(Ranges::interval(from, to));
    let lacking = |total: &Resources| {
        let found = findings("boot-1", [(key("web"), Found::Running)]);
        world.node.lacking(total, &found)
    };

    assert_eq!(lacking(&ports(31_000, 31_009)), [""; 0]);
    assert_eq!(lacking(&ports(30_000, 40_000)), [""; 0]);
    assert_eq!(
        lacking(&Resources::cpus_mem(400, 64).with_ports(Ranges::interval(31_000, 31_009))),
        ["cpus 0.5 asked, 0.4 there"]
    );
    let words = lacking(&ports(31_005, 32_000)).join(", ");
    assert!(words.starts_with("ports "), "{words}");
}

#[test]
fn what_has_ended_needs_no_room() {
    let mut world = World::running(spec("web"));
    world.crash();
    let nothing = Resources::none();

    for (boot, found) in [
        ("boot-1", Found::Ended(exit(0))),
        ("boot-1", Found::Vanished),
        ("boot-1", Found::NeverStarted),
        ("boot-2", Found::Running),
    ] {
        let found = findings(boot, [(key("web"), found)]);
        assert_eq!(world.node.lacking(&nothing, &found), [""; 0], "{found:?}");
    }
}

#[test]
fn a_group_holds_its_executor_too_and_those_that_wait_for_their_turn() {
    let mut world = World::registered();
    let executor = ExecutorSpec {
        id: ExecutorId::new("pod").expect("good"),
        kind: ExecutorKind::Default,
        name: "a pod".into(),
        resources: Resources::cpus_mem(10, 32),
        command: None,
        container: None,
        shutdown_grace_period: None,
        original: vec![].into(),
    };
    let group = TaskGroup {
        executor,
        tasks: vec![spec("first"), spec("second")],
    };
    let order = Order::RunGroup {
        framework: framework(),
        group: Box::new(group),
    };
    world.order(NOON, order);
    world.crash();

    let found = [
        (key("first"), Found::Running),
        (key("second"), Found::NeverStarted),
    ];
    let lacking = world
        .node
        .lacking(&Resources::none(), &findings("boot-1", found));

    assert_eq!(
        lacking,
        ["cpus 1.01 asked, 0 there", "mem 160 asked, 0 there"]
    );
}

#[test]
fn a_shared_volume_is_held_once() {
    let mut world = World::registered();
    let tag = Tag {
        shared: true,
        volume: Some(Volume {
            id: "v".into(),
            container_path: "data".into(),
            read_only: false,
            principal: None,
        }),
        ..Tag::reserved(mete_model::Role::new("web").expect("good"))
    };
    let mut disk = Resources::none();
    disk.disk_milli = MB_MILLI;
    for (task, read_only) in [("one", false), ("two", true)] {
        let mut spec = spec(task);
        let mut tag = tag.clone();
        if let Some(volume) = &mut tag.volume {
            volume.read_only = read_only;
        }
        spec.resources = Resources::none().with_part(tag, disk.clone());
        world.run(NOON, spec);
    }
    world.crash();
    let on = Tag::reserved(mete_model::Role::new("web").expect("good"));
    let total = Resources::none().with_part(on, disk);

    let found = [(key("one"), Found::Running), (key("two"), Found::Running)];
    let found = findings("boot-1", found);

    assert_eq!(world.node.lacking(&total, &found), [""; 0]);
    assert_eq!(world.node.lacking(&Resources::none(), &found).len(), 1);
}
