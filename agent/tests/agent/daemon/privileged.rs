//! Tasks that are as good as root of the machine, where the operator allows it.

use mete_model::{Reason, TaskSpec, TaskState};

use super::contained::contained;
use super::master::Link;
use super::runtime;
use super::world::Scene;
use crate::containers::possible;

/// Says what of the machine it may change, and finds.
const LOOK: &str = "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; \
    mkdir /m && mount -t tmpfs none /m && echo mounted; \
    grep ' /proc/sys ' /proc/mounts; grep ' /sys ' /proc/mounts | grep -o ' ro,'; \
    test -c /dev/loop-control && : < /dev/loop-control && echo opened; \
    ls -d /dev/fuse; true";

fn privileged(id: &str, line: &str) -> TaskSpec {
    contained(id, line, |container| container.isolation.raze())
}

async fn refused(link: &mut Link, spec: &TaskSpec) -> String {
    link.run(spec).await;
    let failed = link.until(TaskState::Failed).await;
    assert_eq!(failed.reason, Some(Reason::ContainerLaunchFailed));
    failed.message.unwrap()
}

#[tokio::test]
async fn nobody_is_privileged_unless_the_operator_says_so() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;

    let said = refused(&mut scene.link, &privileged("a", "true")).await;
    assert!(
        said.contains("does not allow privileged containers"),
        "{said}"
    );
    let grouped = contained("b", "true", |one| one.groups = vec!["0".into()]);
    let said = refused(&mut scene.link, &grouped).await;
    assert!(said.contains("does not allow group \"0\""), "{said}");
}

/// Runs what looks around itself on an agent that is built in a certain way.
async fn looks_around(more: &[&str]) {
    let more: Vec<_> = ["--allow-privileged"].iter().chain(more).copied().collect();
    let mut scene = Scene::with(&more).await;

    scene.link.run(&privileged("all", LOOK)).await;
    scene.link.until(TaskState::Finished).await;
    let grouped = contained("in-groups", "id -G", |one| {
        one.user = Some("web".into());
        one.groups = vec!["17".into(), "0".into()];
    });
    scene.link.run(&grouped).await;
    scene.link.until(TaskState::Finished).await;
    let grouped = contained("unknown", "true", |one| one.groups = vec!["nobodys".into()]);
    let said = refused(&mut scene.link, &grouped).await;

    let told = scene.work.said_now("all", "stdout");
    let here = std::fs::read_to_string("/proc/self/status").unwrap();
    let all = here
        .lines()
        .find(|line| line.starts_with("CapEff"))
        .unwrap();
    for expected in [all, "Seccomp:\t0", "mounted"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    for missing in ["/proc/sys", " ro,"] {
        assert!(!told.contains(missing), "{missing}: {told}");
    }
    for (node, word) in [("/dev/loop-control", "opened"), ("/dev/fuse", "/dev/fuse")] {
        let is_here = std::path::Path::new(node).exists();
        assert_eq!(told.contains(word), is_here, "{node}: {told}");
    }
    let groups = scene.work.said_now("in-groups", "stdout");
    let mut groups: Vec<_> = groups.split_whitespace().collect();
    groups.sort_unstable();
    assert!(
        groups.contains(&"17") && groups.contains(&"0"),
        "{groups:?}"
    );
    assert!(said.contains("group \"nobodys\""), "{said}");
}

#[tokio::test]
async fn a_privileged_task_finds_the_devices_and_may_change_what_root_may() {
    if possible() {
        looks_around(&[]).await;
    }
}

#[tokio::test]
async fn so_does_one_that_crun_has_built() {
    if runtime::installed() {
        looks_around(&["--oci-runtime=/usr/bin/crun"]).await;
    }
}
