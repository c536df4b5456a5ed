//! Tasks of Docker's kind, from launch to acknowledgement, on a real engine.

use std::time::Duration;

use mete_model::container::ContainerKind;
use mete_model::{ContainerSpec, TaskSpec, TaskState};
use mete_proto::mesos::v1 as mesos;
use prost::Message as _;

use super::contained::asked_inside;
use super::master::{Master, task};
use super::world::Work;
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
async fn a_task_of_dockers_kind_runs_on_the_engine_is_healthy_and_survives_its_agent() {
    if !engine_possible() {
        return;
    }
    let engine = Dockerd::start().await;
    let mut master = Master::start().await;
    let work = Work::new();
    let socket = format!("--docker-socket={}", engine.socket().display());
    let options = ["--containerizers=process,oci,docker", &socket];
    let agent = work.start(master.address, &options);
    let (mut link, register) = master.admit().await;
    let mut attributes = register.agent_info.attributes.iter();
    let kinds = attributes.find(|one| one.name == "containerizers").unwrap();
    assert_eq!(kinds.text.as_ref().unwrap().value, "process,oci,docker");
    let line =
        "echo $MESOS_TASK_ID; echo up > here; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    let mut spec = on_engine("web", line, IMAGE);
    spec.health_check = Some(asked_inside());

    link.run(&spec).await;
    let running = link.until(TaskState::Running).await;
    let said = mesos::TaskStatus::decode(&*running.original.unwrap()).unwrap();
    let said: serde_json::Value = serde_json::from_slice(said.data()).unwrap();
    assert!(said[0]["Name"].as_str().unwrap().starts_with("/mete-"));
    assert_eq!(said[0]["State"]["Running"], true);
    let healthy = link.until_it(|status| status.healthy == Some(true)).await;
    assert_eq!(healthy.state, TaskState::Running);
    assert_eq!(work.said("web", "stdout").await, "web\n");
    agent.kill().await;

    let agent = work.start(master.address, &options);
    let (mut link, again) = master.admit().await;
    assert_eq!(again.tasks.len(), 1);
    link.kill("web").await;
    link.until(TaskState::Killed).await;
    link.run(&on_engine("lost", "true", "127.0.0.1:1/nothing:1"))
        .await;
    let failed = link.until(TaskState::Failed).await;
    let message = failed.message.unwrap();
    assert!(message.contains("127.0.0.1:1/nothing:1"), "{message}");
    drop(link);
    agent.stop().await.unwrap();
    soon(async {
        while !engine.containers().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
