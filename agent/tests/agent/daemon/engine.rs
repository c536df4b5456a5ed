//! Tasks of Docker's kind, from launch to acknowledgement, on a real engine.

use std::time::Duration;

use mete_model::container::ContainerKind;
use mete_model::{ContainerSpec, TaskSpec, TaskState};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use prost::Message as _;

use super::contained::asked_inside;
use super::master::{Master, task};
use super::world::{Scene, Work, json};
use crate::dockerd::{Dockerd, IMAGE, engine_possible};
use crate::support::soon;

fn on_engine(id: &str, line: &str, image: &str) -> TaskSpec {
    let mut spec = task(id, line);
    spec.container = Some(Box::new(ContainerSpec {
        kind: ContainerKind::Docker,
        image: Some(image.into()),
        working_dir: Some("/mnt/mesos/sandbox".into()),
        ..ContainerSpec::default()
    }));
    spec
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
        work.start(address, &["--containerizers=process,oci,docker", &socket])
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
    if !engine_possible() {
        return;
    }
    let engine = Dockerd::start().await;
    let socket = format!("--docker-socket={}", engine.socket().display());
    let options = ["--containerizers=process,oci,docker", &socket];
    let mut scene = Scene::with(&options).await;
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
    let mut scene = scene.again(&options).await;

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
