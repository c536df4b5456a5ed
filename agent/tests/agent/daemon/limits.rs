//! Requests and limits: what a task may have beyond what it asks for. Needs writable control groups, and says so without.

use mete_agent::cgroups::{Cgroups, Hierarchies, Limits, Options, remove};
use mete_model::{Limit, Reason, Resources, TaskLimits, TaskSpec, TaskState};

use super::master::{info_of, task};
use super::world::{Scene, json};
use crate::support::until;

/// Holds 60 MB, and says so.
const HOLDS_60_MB: &str = "head -c 60000000 /dev/zero | tail -c 60000000 | wc -c";

fn possible() -> bool {
    let scope = format!("limits-{}", std::process::id());
    let groups = Cgroups::set_up(&Hierarchies::of_this_host(), Options::new(scope));
    let is_possible = groups.isolation().missing.is_empty();
    if !is_possible {
        eprintln!("skipped: needs control groups: {}", groups.isolation());
    }
    groups.tear_down();
    is_possible
}

/// A task that asks for 32 MB.
fn small(id: &str, line: &str, limits: TaskLimits) -> TaskSpec {
    TaskSpec {
        resources: Resources::cpus_mem(100, 32),
        limits,
        ..task(id, line)
    }
}

fn memory(limit: Limit) -> TaskLimits {
    TaskLimits {
        mem_bytes: Some(limit),
        ..TaskLimits::default()
    }
}

#[test]
fn a_container_may_have_more_memory_later_and_less_again() {
    if !possible() {
        return;
    }
    let scope = format!("width-{}", std::process::id());
    let groups = Cgroups::set_up(&Hierarchies::of_this_host(), Options::new(scope));
    let plan = groups.create("c", Limits::new(100, 32 << 20)).unwrap();
    let file = match plan.v1.get("memory") {
        Some(group) => format!("{group}/memory.limit_in_bytes"),
        None => format!("{}/memory.max", plan.v2.as_deref().expect("one of the two")),
    };
    for megabytes in [96_u64, 48] {
        groups.note_width("c", Limits::new(100, megabytes << 20));
        groups.widen("c").unwrap();
        let most = std::fs::read_to_string(&file).unwrap();
        assert_eq!(most.trim(), (megabytes << 20).to_string());
    }
    remove(&plan).unwrap();
    groups.tear_down();
}

#[tokio::test]
async fn a_task_may_have_as_much_memory_as_its_limit_says() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;

    let free = [
        small("higher", HOLDS_60_MB, memory(Limit::At(256 << 20))),
        small("free", HOLDS_60_MB, memory(Limit::Unlimited)),
    ];
    for spec in &free {
        scene.link.run(spec).await;
        scene.link.until(TaskState::Finished).await;
        assert_eq!(
            scene.work.said_now(spec.id.as_str(), "stdout"),
            "60000000\n"
        );
    }
    let line = format!("{HOLDS_60_MB} | grep 60000000");
    scene
        .link
        .run(&small("tight", &line, TaskLimits::default()))
        .await;
    let failed = scene.link.until(TaskState::Failed).await;
    assert_eq!(failed.reason, Some(Reason::ContainerLimitationMemory));
}

#[tokio::test]
async fn requests_and_limits_are_told_apart_also_by_the_next_agent() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&["--cpu-quota"]).await;
    let limits = TaskLimits {
        cpus_milli: Some(Limit::At(1_500)),
        mem_bytes: Some(Limit::At(64 << 20)),
    };
    scene
        .link
        .run(&small("t", "echo up; sleep 1000", limits))
        .await;
    scene.link.until(TaskState::Running).await;
    let mut scene = scene.again(&["--cpu-quota"]).await;

    assert_eq!(info_of(&scene.register.tasks[0]).limits["mem"].value, 64.0);
    let port = scene.port;
    let (_, all) = json(port, "/monitor/statistics", &[]).await;
    let known = &all[0]["statistics"];
    assert_eq!(known["cpus_soft_limit"], 0.1);
    assert_eq!(known["cpus_limit"], 1.5);
    assert_eq!(known["mem_soft_limit_bytes"], 32 << 20);
    assert_eq!(known["mem_limit_bytes"], 64 << 20);
    scene.link.kill("t").await;
    scene.link.until(TaskState::Killed).await;
    let work = scene.end().await;
    until(|| std::fs::read_dir(work.path.join("tasks")).unwrap().count() == 0).await;
}
