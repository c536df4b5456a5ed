//! Persistent volumes: kept for tasks, erased on order.

use mete_agent_core::{Action, Found, Input, Order, Outgoing, Record, VolumePhase};
use mete_model::{
    MB_MILLI, Machine, Resources, Role, Tag, TaskSpec, TaskState, Volume, VolumeName,
};

use crate::fixture::*;

fn name() -> VolumeName {
    VolumeName::new(Role::new("prod/db").expect("good"), "data").expect("good")
}

/// A task that holds the volume.
fn holding(task: &str, shared: bool) -> TaskSpec {
    let volume = Volume {
        id: "data".into(),
        container_path: "db".into(),
        read_only: false,
        principal: None,
    };
    let tag = Tag {
        volume: Some(volume),
        shared,
        ..Tag::reserved(Role::new("prod/db").expect("good"))
    };
    let mut disk = Resources::none();
    disk.disk_milli = 64 * MB_MILLI;
    let mut spec = spec(task);
    spec.resources.add_part(tag, disk);
    spec
}

fn erase(world: &mut World) -> Vec<Action> {
    world.order(NOON, Order::EraseVolumes([name()].into()))
}

fn erased(world: &mut World, failure: Option<&str>) -> Vec<Action> {
    let failure = failure.map(str::to_owned);
    let volume = name();
    world.step(NOON, Input::VolumeErased { volume, failure })
}

fn erasing() -> Action {
    Action::EraseVolume { volume: name() }
}

/// What the master hears of the volume.
fn answers(actions: &[Action]) -> Vec<Option<String>> {
    let answer = |action: &Action| {
        let Action::Send { message, .. } = action else {
            return None;
        };
        let Outgoing::VolumeErased { volume, failure } = &**message else {
            return None;
        };
        (*volume == name()).then(|| failure.clone())
    };
    actions.iter().filter_map(answer).collect()
}

#[test]
fn a_volume_is_stored_before_the_first_task_that_holds_it_is_launched() {
    let mut world = World::registered();

    let actions = world.run(NOON, holding("db", false));

    assert!(matches!(actions[0], Action::Launch { .. }));
    let stored = world.last.store.iter().filter_map(|record| {
        let Record::Volume(volume) = record else {
            return None;
        };
        Some((volume.name.clone(), volume.bytes, &volume.phase))
    });
    let stored: Vec<_> = stored.collect();
    assert_eq!(stored, [(name(), 64 * MEGABYTE, &VolumePhase::Kept)]);
}

#[test]
fn a_volume_is_held_by_one_live_task_unless_it_is_shared() {
    let mut world = World::running(holding("db", false));

    let second = report(&world.run(NOON, holding("other", false))).status;
    world.exited(NOON, &key("db"), exit(0));
    let third = report(&world.run(NOON, holding("third", false))).status;

    assert_eq!(second.state, TaskState::Failed);
    assert_eq!(
        second.message.as_deref(),
        Some("volume prod/db: data is held by task db")
    );
    assert_eq!(third.state, TaskState::Starting);

    let mut world = World::running(holding("one", true));
    let two = report(&world.run(NOON, holding("two", true))).status;
    assert_eq!(two.state, TaskState::Starting);
}

#[test]
fn a_destroyed_volume_is_erased_when_its_last_task_has_ended() {
    let mut world = World::running(holding("db", false));

    let ordered = erase(&mut world);
    let doomed = world.last.store.clone();
    let ended = world.exited(NOON, &key("db"), exit(0));
    let refused = report(&world.run(NOON, holding("late", false))).status;
    let answered = erased(&mut world, None);

    assert!(!ordered.contains(&erasing()), "it is in use");
    assert!(matches!(&doomed[..], [Record::Volume(volume)] if volume.is_doomed()));
    assert!(ended.contains(&erasing()), "{ended:?}");
    assert_eq!(
        refused.message.as_deref(),
        Some("volume prod/db: data was destroyed and is being erased")
    );
    assert_eq!(answers(&answered), [None]);
    assert_eq!(world.last.store, [Record::VolumeGone(name())]);
    assert!(world.node.view().volumes.is_empty());
}

#[test]
fn a_volume_that_is_not_known_is_erased_all_the_same() {
    let mut world = World::registered();

    let actions = erase(&mut world);

    assert_eq!(actions, [erasing()]);
    assert_eq!(erase(&mut world), [], "it is under way");
}

#[test]
fn what_was_being_erased_is_erased_on_after_a_crash() {
    let mut world = World::registered();
    erase(&mut world);
    world.crash();

    let actions = world.recover("boot-1", []);

    assert!(actions.contains(&erasing()), "{actions:?}");
    assert_eq!(answers(&erased(&mut world, None)), [], "no master hears it");
}

#[test]
fn a_kept_volume_outlives_a_crash_and_a_boot() {
    let mut world = World::running(holding("db", false));
    let before = world.node.view().volumes;
    world.crash();

    world.recover("boot-2", [(key("db"), Found::Vanished)]);

    assert_eq!(world.node.view().volumes, before);
}

#[test]
fn a_volume_that_cannot_be_erased_is_told_and_tried_again_with_the_disk() {
    let mut world = World::registered();
    erase(&mut world);

    let failed = erased(&mut world, Some("a mount is in it"));
    let phase = world.node.view().volumes[&name()].phase.clone();
    let mut again = Vec::new();
    for _ in 0..100 {
        let then = world.node.next_deadline().expect("it looks at its disk");
        again = world.step(then, Input::Deadline);
        if again.contains(&erasing()) {
            break;
        }
    }

    assert_eq!(answers(&failed), [Some("a mount is in it".to_owned())]);
    let failure = Some("a mount is in it".to_owned());
    assert_eq!(phase, VolumePhase::Doomed { failure });
    assert!(again.contains(&erasing()), "{again:?}");
}
