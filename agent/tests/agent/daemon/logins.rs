//! Logins that tasks of Docker's kind fetch for their image, at a real registry that wants a password.

use std::path::Path;

use mete_model::container::{ContainerKind, Network, Pull};
use mete_model::{ContainerSpec, FetchUri, TaskSpec, TaskState};
use serde_json::json;

use super::master::task;
use super::world::Scene;
use crate::containers::{BUSYBOX, possible};
use crate::dockerd::{Dockerd, engine_possible};
use crate::registry::Real;
use crate::sample::{Sample, layer};

/// What a task of the image says.
const LINE: &str = "echo in";

fn of_image(id: &str, image: &str, login: Option<&Path>) -> TaskSpec {
    let mut spec = task(id, LINE);
    spec.container = Some(Box::new(ContainerSpec {
        kind: ContainerKind::Docker,
        image: Some(image.into()),
        pull: Pull::IfMissing,
        network: Network::None,
        ..ContainerSpec::default()
    }));
    spec.command.uris = login.into_iter().map(fetched).collect();
    spec
}

fn fetched(file: &Path) -> FetchUri {
    FetchUri {
        value: file.display().to_string(),
        extract: false,
        executable: false,
        cache: false,
        output_file: Some(".docker/config.json".into()),
    }
}

/// The image is had by the right password alone; `says` is in what is told of none and of a wrong one.
async fn is_had_by_its_password(options: &[&str], says: [&str; 2]) {
    let registry = Real::start_with_login().await;
    let shell = BUSYBOX.iter().find_map(|path| std::fs::read(path).ok());
    let sample = Sample::of(&[layer(&[("bin/sh", &shell.unwrap())])]);
    let image = registry.push(&sample, "app:1", &["--dest-creds", "mete:open sesame"]);
    let mut scene = Scene::pulling(options).await;
    let beside = scene.work.beside().to_owned();
    let keys = |name: &str, user: &str| {
        let file = beside.join(name);
        let auths = json!({ "auths": { registry.address.clone(): { "auth": user } } });
        std::fs::write(&file, auths.to_string()).unwrap();
        file
    };
    let wrong = keys("wrong", "bWV0ZTpodW50ZXIy"); // mete:hunter2
    let right = keys("right", "bWV0ZTpvcGVuIHNlc2FtZQ=="); // mete:open sesame

    for (id, login, expected) in [("none", None, says[0]), ("wrong", Some(&wrong), says[1])] {
        let login = login.map(std::path::PathBuf::as_path);
        scene.link.run(&of_image(id, &image, login)).await;
        let failed = scene.link.until(TaskState::Failed).await;
        let words = failed.message.unwrap();
        for part in [&registry.address, expected] {
            assert!(words.contains(part), "{part}: {words}");
        }
        for secret in ["hunter2", "bWV0ZTpodW50ZXIy"] {
            assert!(!words.contains(secret), "{words}");
        }
    }
    scene
        .link
        .run(&of_image("right", &image, Some(&right)))
        .await;
    scene.link.until(TaskState::Finished).await;
    assert_eq!(scene.work.said_now("right", "stdout"), "in\n");
    scene.end().await;
}

#[tokio::test]
async fn an_image_is_had_by_the_password_that_a_task_fetches() {
    if possible() {
        let says = ["wants a login", "it refuses the task's login"];
        is_had_by_its_password(&[], says).await;
    }
}

#[tokio::test]
async fn so_is_one_that_a_docker_engine_pulls() {
    if engine_possible() {
        let engine = Dockerd::start().await;
        let socket = format!("--docker-socket={}", engine.socket().display());
        let options = ["--containerizers=process,oci,docker", &socket];
        let says = ["the Docker Engine refuses", "the Docker Engine refuses"];
        is_had_by_its_password(&options, says).await;
    }
}
