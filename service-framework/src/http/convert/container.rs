//! What an instance runs in, both ways. What is not carried yet is refused by name.

use mete_proto::rest::apps::{Container as Said, ContainerVolume, DockerContainer};
use mete_service_framework_core::spec::app::{Container, ContainerKind, HostVolume};
use serde_json::Value;

use super::Faults;
use super::legacy::asks_for_nothing;

/// The longest reference of an image (Marathon's schema).
const MAX_IMAGE_BYTES: usize = 1024;

/// `None` when nothing is asked for, or something that cannot be.
pub(super) fn read(said: &Said, faults: &mut Faults) -> Option<Container> {
    if *said == Said::default() {
        return None;
    }
    let kind = match said.r#type.as_deref() {
        None | Some("DOCKER") => ContainerKind::Docker,
        Some("MESOS") => ContainerKind::Mesos,
        Some(other) => {
            let message = format!("is {other:?}, must be one of MESOS and DOCKER");
            faults.shape("/container/type", message);
            return None;
        }
    };
    refuse(said, faults);
    let docker = said.docker.as_ref();
    let image = docker.and_then(|docker| docker.image.clone());
    match (&image, kind) {
        (Some(image), _) => faults.text("/container/docker/image", image, MAX_IMAGE_BYTES),
        (None, ContainerKind::Docker) => faults.shape("/container/docker/image", "is missing"),
        (None, ContainerKind::Mesos) => {}
    }
    let volumes = said.volumes.iter().flatten().enumerate();
    Some(Container {
        kind,
        image,
        force_pull: docker
            .and_then(|docker| docker.force_pull_image)
            .unwrap_or_default(),
        volumes: volumes
            .filter_map(|(at, volume)| read_volume(at, volume, faults))
            .collect(),
    })
}

fn refuse(said: &Said, faults: &mut Faults) {
    let docker = said.docker.clone().unwrap_or_default();
    let parameters = docker
        .parameters
        .filter(|all| !all.is_empty())
        .map(Value::Array);
    for (path, what, value) in [
        (
            "linuxInfo",
            "a seccomp profile or shared memory of its own",
            &said.linux_info,
        ),
        ("docker/parameters", "a parameter of Docker's", &parameters),
        ("docker/pullConfig", "a secret", &docker.pull_config),
        ("docker/credential", "a credential", &docker.credential),
    ] {
        if value.as_ref().is_some_and(|value| !asks_for_nothing(value)) {
            faults.not_carried(format!("/container/{path}"), what);
        }
    }
    if docker.privileged == Some(true) {
        faults.not_carried("/container/docker/privileged", "a privileged container");
    }
}

fn read_volume(at: usize, said: &ContainerVolume, faults: &mut Faults) -> Option<HostVolume> {
    let path = |field: &str| format!("/container/volumes({at}){field}");
    for (what, value) in [
        ("a persistent volume", &said.persistent),
        ("an external volume", &said.external),
        ("a secret", &said.secret),
    ] {
        if value.is_some() {
            faults.not_carried(path(""), what);
            return None;
        }
    }
    let read_only = match said.mode.as_deref() {
        Some("RO") => Some(true),
        Some("RW") => Some(false),
        other => {
            let message = format!(
                "is {:?}, must be one of RO and RW",
                other.unwrap_or_default()
            );
            faults.shape(path("/mode"), message);
            None
        }
    };
    let mut place =
        |field: &str, text: &Option<String>| path_inside(&path(field), text.as_ref(), faults);
    let container_path = place("/containerPath", &said.container_path);
    let host_path = place("/hostPath", &said.host_path);
    Some(HostVolume {
        container_path: container_path?,
        host_path: host_path?,
        read_only: read_only?,
    })
}

/// A path that leads to no other place than it seems to.
pub(super) fn path_inside(
    path: &str,
    said: Option<&String>,
    faults: &mut Faults,
) -> Option<String> {
    let text = said.cloned().unwrap_or_default();
    let parts = || text.split('/').filter(|part| !part.is_empty());
    if parts().next().is_none() || parts().any(|part| part == "..") || text.contains([':', '\0']) {
        faults.shape(path, "must be a path without '..' and ':'");
        return None;
    }
    Some(text)
}

/// As it is printed.
pub(super) fn write(container: &Container) -> Said {
    let volume = |volume: &HostVolume| ContainerVolume {
        container_path: Some(volume.container_path.clone()),
        host_path: Some(volume.host_path.clone()),
        mode: Some(if volume.read_only { "RO" } else { "RW" }.to_owned()),
        ..ContainerVolume::default()
    };
    let docker = container.image.as_ref().map(|image| DockerContainer {
        image: Some(image.clone()),
        force_pull_image: Some(container.force_pull),
        parameters: Some(Vec::new()),
        privileged: Some(false),
        ..DockerContainer::default()
    });
    Said {
        r#type: Some(container.kind.as_str().to_owned()),
        docker,
        volumes: Some(container.volumes.iter().map(volume).collect()),
        ..Said::default()
    }
}
