use mete_agent_core::{Action, DiskSpace, Input};
use mete_model::{Machine, TaskState, Timestamp};

use crate::fixture::*;

fn disk(free_mb: u64) -> Input {
    Input::DiskMeasured(Some(DiskSpace {
        total_bytes: 1_000 * MEGABYTE,
        used_bytes: (1_000 - free_mb) * MEGABYTE,
        free_bytes: free_mb * MEGABYTE,
    }))
}

fn removals(actions: &[Action]) -> usize {
    actions
        .iter()
        .filter(|action| matches!(action, Action::RemoveSandbox { .. }))
        .count()
}

/// An agent whose only task has ended at noon, acknowledged.
fn with_old_sandbox(free_mb: u64) -> World {
    let mut world = World::running(spec("web"));
    world.step(NOON, disk(free_mb));
    let ended = report(&world.exited(NOON, &key("web"), exit(0))).status;
    world.acknowledge(NOON, &key("web"), ended.uuid.expect("set"));
    world
}

/// When the first removal begins, within a day.
fn first_removal(world: &mut World) -> Timestamp {
    loop {
        let due = world.node.next_deadline().expect("the disk is looked at");
        assert!(due < at(86_400.0), "never removed");
        if removals(&world.step(due, Input::Deadline)) > 0 {
            return due;
        }
    }
}

#[test]
fn a_sandbox_goes_after_its_time_and_sooner_on_a_fuller_disk() {
    let half_full = first_removal(&mut with_old_sandbox(500));
    let nearly_full = first_removal(&mut with_old_sandbox(150));

    assert_eq!(
        half_full,
        at(420.0),
        "1000 s × (1 − 0.1 − 0.5), at the next minute"
    );
    assert_eq!(
        nearly_full,
        at(60.0),
        "1000 s × (1 − 0.1 − 0.85), at the next minute"
    );
}

#[test]
fn what_became_too_old_while_the_agent_was_away_goes_at_its_start() {
    let mut world = with_old_sandbox(500);
    world.crash();

    let now = at(1_001.0);
    let findings = mete_agent_core::Findings::default();
    let actions = world.step(now, Input::Recovered(findings));

    assert_eq!(removals(&actions), 1);
}

#[test]
fn a_removed_sandbox_is_forgotten_for_good() {
    let mut world = with_old_sandbox(500);
    first_removal(&mut world);
    let container = world
        .node
        .view()
        .sandboxes
        .keys()
        .next()
        .expect("one")
        .clone();

    world.step(
        at(421.0),
        Input::SandboxRemoved {
            container,
            failure: None,
        },
    );

    assert!(world.node.view().sandboxes.is_empty());
    world.crash();
    assert!(world.node.view().sandboxes.is_empty());
}

#[test]
fn a_sandbox_that_cannot_be_removed_is_tried_five_times() {
    let mut world = with_old_sandbox(500);
    let container = world
        .node
        .view()
        .sandboxes
        .keys()
        .next()
        .expect("one")
        .clone();

    for _ in 0..5 {
        assert_eq!(world.node.view().sandboxes.len(), 1);
        let now = first_removal(&mut world);
        let failure = Some("busy".into());
        let container = container.clone();
        world.step(now, Input::SandboxRemoved { container, failure });
    }

    assert!(world.node.view().sandboxes.is_empty());
}

#[test]
fn a_full_disk_refuses_launches_and_lets_kills_and_reports_through() {
    let mut world = World::running(spec("web"));
    world.step(at(1.0), disk(9));

    let refused = report(&world.run(at(2.0), spec("more"))).status;
    assert_eq!(refused.state, TaskState::Failed);
    assert_eq!(
        refused.message.as_deref(),
        Some(
            "the disk of the agent's work directory is full: 9 MB free, 10 MB are kept in reserve"
        )
    );
    assert_eq!(world.last.store, [], "a refusal takes no room");

    let killing = report(&world.kill(at(3.0), &key("web"))).status;
    assert_eq!(killing.state, TaskState::Killing);
}

#[test]
fn a_disk_with_room_again_takes_launches_again() {
    let mut world = World::registered();
    world.step(at(1.0), Input::StoreFull);
    assert!(world.node.view().disk_full);

    let still = world.step(at(2.0), disk(15));
    let again = world.step(at(3.0), disk(25));

    assert_eq!(still, []);
    assert_eq!(again, [Action::RestoreReserve]);
    assert!(!world.node.view().disk_full);
    assert_eq!(
        report(&world.run(at(4.0), spec("web"))).status.state,
        TaskState::Starting
    );
}

#[test]
fn a_disk_that_is_found_full_is_looked_at_again_soon_and_old_sandboxes_go_at_once() {
    let mut world = with_old_sandbox(500);

    let full = world.step(at(1.0), disk(9));
    let quiet = world.step(at(5.9), Input::Deadline);
    let again = world.step(at(6.0), Input::Deadline);

    assert_eq!(removals(&full), 1);
    assert!(!quiet.contains(&Action::MeasureDisk));
    assert!(again.contains(&Action::MeasureDisk));
}
