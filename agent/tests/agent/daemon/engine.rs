//! Tasks of Docker's kind, from launch to acknowledgement, on a real engine.

use std::time::Duration;

use mete_model::container::ContainerKind;
use mete_model::{ContainerSpec, TaskSpec, TaskState};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use prost::Message as _;
use reqwest::StatusCode;

use super::contained::asked_inside;
use super::master::{Master, task};
use super::nested::data;
use super::terminals::{another_size, types, with_terminal};
use super::world::{Scene, Work, json};
use crate::dockerd::{Dockerd, IMAGE, engine_possible};
use crate::support::{soon, until};

pub(super) fn on_engine(id: &str, line: &str, image: &str) -> TaskSpec {
    let mut spec = task(id, line);
    spec.container = Some(Box::new(ContainerSpec {
        kind: ContainerKind::Docker,
        image: Some(image.into()),
        working_dir: Some("/mnt/mesos/sandbox".into()),
        ..ContainerSpec::default()
    }));
    spec
}

/// What an agent is told of an engine, and these options beside.
fn told_of<'a>(socket: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--containerizers=process,oci,docker", socket], more].concat()
}

/// The option that names the socket of an engine.
fn socket_of(engine: &Dockerd) -> String {
    format!("--docker-socket={}", engine.socket().display())
}

/// An agent with an engine of its own, and with these options beside; `None` where there can be none. The agent ends first.
pub(super) async fn with_engine(more: &[&str]) -> Option<(Dockerd, Scene)> {
    if !engine_possible() {
        return None;
    }
    let engine = Dockerd::start().await;
    let scene = Scene::with(&told_of(&socket_of(&engine), more)).await;
    Some((engine, scene))
}

/// The agent is killed, and started again with its engine alone.
pub(super) async fn again(engine: &Dockerd, scene: Scene) -> Scene {
    scene.again(&told_of(&socket_of(engine), &[])).await
}

#[tokio::test]
async fn an_engine_that_hangs_holds_up_no_start_and_one_that_comes_later_is_found() {
    if !engine_possible() {
        return;
    }
    let mut master = Master::start().await;
    let (work, place) = (Work::new(), tempfile::tempdir().unwrap());
    let (socket, hanging) = (place.path().join("later"), place.path().join("hanging"));
    let silent = std::os::unix::net::UnixListener::bind(&hanging).unwrap();
    let address = master.address;
    let start = |socket: &std::path::Path| {
        let socket = format!("--docker-socket={}", socket.display());
        work.start(address, &told_of(&socket, &[]))
    };
    let agent = start(&hanging);
    let (link, register) = master.admit().await; // in the time of a test: an engine may take 20 s for a call
    assert_eq!(kinds(&register), "process,oci");
    drop((link, silent));
    agent.stop().await.unwrap();

    let agent = start(&socket);
    let (link, _) = master.admit().await;
    let engine = Dockerd::start().await;
    std::os::unix::fs::symlink(engine.socket(), &socket).unwrap();
    link.run(&on_engine("late", "exec sleep 1000", IMAGE)).await;
    let (mut link, register) = master.admit().await;
    link.until(TaskState::Running).await;

    assert_eq!(engine.containers().await.len(), 1);
    assert_eq!(kinds(&register), "process,oci,docker", "it says so itself");
    let (_, state) = json(register.agent_info.port(), "/state", &[]).await;
    assert_eq!(state["attributes"]["containerizers"], "process,oci,docker");
    link.kill("late").await;
    link.until(TaskState::Killed).await;
    drop(link);
    agent.stop().await.unwrap();
}

/// What tasks run in there, as an agent says it.
fn kinds(register: &wire::Register) -> &str {
    let mut attributes = register.agent_info.attributes.iter();
    let kinds = attributes.find(|one| one.name == "containerizers").unwrap();
    &kinds.text.as_ref().unwrap().value
}

#[tokio::test]
async fn a_task_of_dockers_kind_runs_on_the_engine_is_healthy_and_survives_its_agent() {
    let Some((engine, mut scene)) = with_engine(&[]).await else {
        return;
    };
    let mut attributes = scene.register.agent_info.attributes.iter();
    let kinds = attributes.find(|one| one.name == "containerizers").unwrap();
    assert_eq!(kinds.text.as_ref().unwrap().value, "process,oci,docker");
    let line =
        "echo $MESOS_TASK_ID; echo up > here; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let mut spec = on_engine("web", line, IMAGE);
    spec.health_check = Some(asked_inside());

    scene.link.run(&spec).await;
    let running = scene.link.until(TaskState::Running).await;
    let said = mesos::TaskStatus::decode(&*running.original.unwrap()).unwrap();
    let said: serde_json::Value = serde_json::from_slice(said.data()).unwrap();
    assert!(said[0]["Name"].as_str().unwrap().starts_with("/mete-"));
    assert_eq!(said[0]["State"]["Running"], true);
    let healthy = scene
        .link
        .until_it(|status| status.healthy == Some(true))
        .await;
    assert_eq!(healthy.state, TaskState::Running);
    assert_eq!(scene.work.said("web", "stdout").await, "web\n");
    let mut scene = again(&engine, scene).await;

    assert_eq!(scene.register.tasks.len(), 1);
    scene.link.kill("web").await;
    scene.link.until(TaskState::Killed).await;
    scene
        .link
        .run(&on_engine("lost", "true", "127.0.0.1:1/nothing:1"))
        .await;
    let failed = scene.link.until(TaskState::Failed).await;
    let message = failed.message.unwrap();
    assert!(message.contains("127.0.0.1:1/nothing:1"), "{message}");
    scene.end().await;
    soon(async {
        while !engine.containers().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Says what no text begins with, that it has a terminal, and when that has its first size, which an engine gives it a moment later; then what is typed,
/// and the size by then.
const TALK: &str = "printf '\\001\\002'; test -t 0 && test -t 1 && echo terminal; \
    until stty size 2>/dev/null | grep -q '33 77'; do sleep 0.05; done; \
    echo sized; read word; echo got $word; stty size";

#[tokio::test]
async fn a_task_with_a_terminal_on_an_engine_hears_what_is_typed_also_after_a_restart_of_its_agent()
{
    let Some((engine, mut scene)) = with_engine(&[]).await else {
        return;
    };
    let spec = with_terminal(on_engine("talks", TALK, IMAGE));
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Running).await;
    until(|| scene.work.said_now("talks", "stdout").contains("sized")).await;
    let mut scene = again(&engine, scene).await;

    // At ^P and ^Q engines let go of who types, unless they are told otherwise.
    let first = types(
        scene.port,
        &[another_size(44, 100), data("hel\u{10}\u{11}")],
    )
    .await;
    let second = types(scene.port, &[data("lo\n")]).await;

    assert_eq!((first, second), (StatusCode::OK, StatusCode::OK));
    scene.link.until(TaskState::Finished).await;
    let said = scene.work.said_now("talks", "stdout");
    let expected = "\u{1}\u{2}terminal\r\nsized\r\nhel^Plo\r\ngot hel\u{10}lo\r\n44 100\r\n";
    assert_eq!(said, expected);
    assert_eq!(scene.work.said_now("talks", "stderr"), "");

    let spec = with_terminal(on_engine(
        "keys",
        "trap 'exit 5' INT; echo up; while :; do sleep 0.1; done",
        IMAGE,
    ));
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Running).await;
    until(|| scene.work.said_now("keys", "stdout") == "up\r\n").await;
    assert_eq!(types(scene.port, &[data("\u{3}")]).await, StatusCode::OK);
    scene.link.until(TaskState::Failed).await;
    let deaf = on_engine("deaf", "exec sleep 1000", IMAGE);
    scene.link.run(&deaf).await;
    scene.link.until(TaskState::Running).await;
    let typed = types(scene.port, &[data("x")]).await;
    assert_eq!(typed, StatusCode::BAD_REQUEST);
    scene.end().await;
}

#[tokio::test]
async fn a_privileged_task_on_an_engine_may_what_root_may_and_one_with_groups_has_them() {
    let Some((engine, mut scene)) = with_engine(&["--allow-privileged"]).await else {
        return;
    };
    let line = "grep CapEff /proc/self/status; grep Seccomp: /proc/self/status; \
        mkdir /m && mount -t tmpfs none /m && echo mounted; id -G";
    let mut all = on_engine("all", line, IMAGE);
    let inside = all.container.as_mut().unwrap();
    inside.isolation.raze();
    let mut grouped = on_engine("grouped", line, IMAGE);
    let inside = grouped.container.as_mut().unwrap();
    inside.user = Some("7:8".into());
    inside.groups = vec!["17".into(), "0".into()];

    scene.link.run(&grouped).await;
    scene.link.until(TaskState::Finished).await;
    scene.link.run(&all).await;
    let ended = scene.link.until_it(|status| status.state.is_terminal());
    let privileged = ended.await;
    let mut scene = again(&engine, scene).await;
    let mut refused = Vec::new();
    for (mut spec, id) in [(all, "all-again"), (grouped, "grouped-again")] {
        spec.id = id.parse().unwrap();
        scene.link.run(&spec).await;
        refused.push(scene.link.until(TaskState::Failed).await.message.unwrap());
    }

    // An engine gives powers that a machine may not have; then nothing that is privileged runs on it.
    let said = privileged.message.unwrap_or_default();
    if !said.contains("unable to apply caps") {
        assert_eq!(privileged.state, TaskState::Finished, "{said}");
        let told = scene.work.said_now("all", "stdout");
        let here = std::fs::read_to_string("/proc/self/status").unwrap();
        let mut powers = here.lines().filter(|line| line.starts_with("CapEff"));
        for expected in [powers.next().unwrap(), "Seccomp:\t0", "mounted"] {
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }
    let told = scene.work.said_now("grouped", "stdout");
    assert!(told.contains("CapEff:\t0000000000000000"), "{told}");
    assert!(!told.contains("mounted"), "{told}");
    let mut groups: Vec<_> = told.lines().last().unwrap().split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["0", "17", "8"]);
    assert!(refused[0].contains("privileged"), "{refused:?}");
    assert!(refused[1].contains("group \"17\""), "{refused:?}");
    scene.end().await;
}
