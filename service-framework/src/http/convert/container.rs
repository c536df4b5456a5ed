//! What an instance runs in, both ways. What is not carried yet is refused by name.

use mete_model::MEBIBYTE;
use mete_proto::rest::apps::{
    Container as Said, ContainerVolume, DockerContainer, PersistentVolume as Kept,
    Residency as SaidOfThem,
};
use mete_service_framework_core::spec::app::{
    Container, ContainerKind, HostVolume, PersistentVolume, Residency, SecretVolume,
    TaskLostBehavior,
};
use mete_service_framework_core::validate::quantity;
use serde_json::{Value, json};

use super::app_in::seconds;
use super::legacy::asks_for_nothing;
use super::{Faults, app_out};

/// The longest reference of an image (Marathon's schema).
const MAX_IMAGE_BYTES: usize = 1024;

/// Modes of volumes of the host, and whether they are read only.
const MODES: [(&str, bool); 2] = [("RO", true), ("RW", false)];

/// `None` when its type is none.
pub(super) fn read(said: &Said, faults: &mut Faults) -> Option<Container> {
    let kinds = [ContainerKind::Docker, ContainerKind::Mesos].map(|kind| (kind.as_str(), kind));
    let kind = match said.r#type.as_deref() {
        None => ContainerKind::Docker,
        Some(word) => faults.word("/container/type", word, &kinds)?,
    };
    refuse(said, faults);
    let docker = said.docker.as_ref();
    let image = docker.and_then(|docker| docker.image.clone());
    match (docker, &image, kind) {
        (_, Some(image), _) => faults.text("/container/docker/image", image, MAX_IMAGE_BYTES),
        (Some(_), None, _) => faults.shape("/container/docker/image", "error.path.missing"),
        (None, None, ContainerKind::Docker) => faults.meaning("/container/docker", "not defined"),
        (None, None, ContainerKind::Mesos) => {}
    }
    let (mut volumes, mut secrets, mut persistent) = (Vec::new(), Vec::new(), Vec::new());
    for (at, volume) in said.volumes.iter().flatten().enumerate() {
        match (&volume.persistent, &volume.secret) {
            (Some(kept), _) => persistent.extend(read_persistent(at, volume, kept, faults)),
            (None, Some(secret)) => secrets.extend(read_secret(at, volume, secret, faults)),
            (None, None) => volumes.extend(read_volume(at, volume, faults)),
        }
    }
    let login = docker.and_then(|docker| docker.pull_config.as_ref());
    let pull_secret = pull_secret("/container/docker/pullConfig", login, faults);
    if pull_secret.is_some() && kind == ContainerKind::Docker {
        faults.meaning(
            "/container/docker/pullConfig",
            "is for containers of type MESOS",
        );
    }
    Some(Container {
        kind,
        pull_secret,
        image,
        force_pull: docker
            .and_then(|docker| docker.force_pull_image)
            .unwrap_or_default(),
        privileged: docker
            .and_then(|docker| docker.privileged)
            .unwrap_or_default(),
        volumes,
        secrets,
        persistent,
    })
}

/// The secret that is the login for an image.
pub(super) fn pull_secret(path: &str, said: Option<&Value>, faults: &mut Faults) -> Option<String> {
    let said = said.filter(|value| !asks_for_nothing(value))?;
    let secret = said.get("secret").and_then(Value::as_str);
    let secret = secret.filter(|secret| !secret.is_empty());
    if secret.is_none() {
        faults.shape(format!("{path}/secret"), "error.path.missing");
    }
    secret.map(str::to_owned)
}

/// As it is printed.
pub(super) fn pull_config(secret: &str) -> Value {
    json!({ "secret": secret })
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
        ("docker/credential", "a credential", &docker.credential),
    ] {
        if value.as_ref().is_some_and(|value| !asks_for_nothing(value)) {
            faults.not_carried(format!("/container/{path}"), what);
        }
    }
}

fn read_volume(at: usize, said: &ContainerVolume, faults: &mut Faults) -> Option<HostVolume> {
    let path = |field: &str| format!("/container/volumes({at}){field}");
    if said.external.is_some() {
        faults.not_carried(path(""), "an external volume");
        return None;
    }
    let read_only = match said.mode.as_deref() {
        Some(word) => faults.word(path("/mode"), word, &MODES),
        None => {
            faults.shape(path("/mode"), "error.path.missing");
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

fn read_secret(
    at: usize,
    said: &ContainerVolume,
    secret: &str,
    faults: &mut Faults,
) -> Option<SecretVolume> {
    let path = |field: &str| format!("/container/volumes({at}){field}");
    if secret.is_empty() {
        faults.shape(path("/secret"), "must not be empty");
    }
    let place = said.container_path.as_ref();
    Some(SecretVolume {
        container_path: path_inside(&path("/containerPath"), place, faults)?,
        secret: secret.to_owned(),
    })
}

fn read_persistent(
    at: usize,
    said: &ContainerVolume,
    kept: &Kept,
    faults: &mut Faults,
) -> Option<PersistentVolume> {
    let path = |field: &str| format!("/container/volumes({at}){field}");
    let disks = [("root", true), ("path", false), ("mount", false)];
    let disk = kept.r#type.as_deref().unwrap_or("root");
    if faults.word(path("/persistent/type"), disk, &disks) == Some(false) {
        faults.not_carried(path("/persistent/type"), "a disk of its own");
    }
    if kept.max_size.is_some() {
        faults.meaning(
            path("/persistent/maxSize"),
            "Only mount volumes can have maxSize",
        );
    }
    if kept.profile_name.is_some() {
        faults.not_carried(path("/persistent/profileName"), "a profile of disks");
    }
    let constraints = kept.constraints.as_ref();
    if constraints.is_some_and(|value| !asks_for_nothing(value)) {
        let text = "Constraints on root volumes are not supported";
        faults.meaning(path("/persistent/constraints"), text);
    }
    let mode = said.mode.as_deref().unwrap_or_default();
    if !mode.eq_ignore_ascii_case("RW") {
        faults.shape(path("/mode"), format!("is {mode:?}, must be RW"));
    }
    let container_path = said.container_path.clone().unwrap_or_default();
    let is_name = !container_path.contains(['/', '\\', '#', ':'])
        && !matches!(container_path.as_str(), "" | "." | "..")
        && !container_path.contains(char::is_control);
    if !is_name {
        let text = "must be one name without slashes, '#' and ':', below the sandbox";
        faults.shape(path("/containerPath"), text);
    }
    let megabytes = kept.size.unwrap_or_default();
    if megabytes <= 0 {
        faults.shape(path("/persistent/size"), "is less than 1");
    }
    match quantity(&path("/persistent/size"), megabytes as f64, 0.0, MEBIBYTE) {
        Ok(size_bytes) => Some(PersistentVolume {
            container_path,
            size_bytes,
        }),
        Err(violation) => {
            faults.shape.push(violation);
            None
        }
    }
}

/// What is said of volumes that stay.
pub(super) fn residency(said: &SaidOfThem, faults: &mut Faults) -> Residency {
    let default = Residency::default();
    let seconds = seconds(
        "/residency/relaunchEscalationTimeoutSeconds",
        said.relaunch_escalation_timeout_seconds,
        faults,
    );
    let known = [
        TaskLostBehavior::WaitForever,
        TaskLostBehavior::RelaunchAfterTimeout,
    ];
    let known = known.map(|behavior| (behavior.as_str(), behavior));
    let behavior = said.task_lost_behavior.as_deref();
    let found = behavior.and_then(|word| faults.word("/residency/taskLostBehavior", word, &known));
    Residency {
        relaunch_escalation_timeout: seconds.unwrap_or(default.relaunch_escalation_timeout),
        task_lost_behavior: found.unwrap_or(default.task_lost_behavior),
    }
}

/// As it is printed.
pub(super) fn write_residency(residency: &Residency) -> SaidOfThem {
    let seconds = app_out::seconds(residency.relaunch_escalation_timeout);
    SaidOfThem {
        relaunch_escalation_timeout_seconds: Some(seconds),
        task_lost_behavior: Some(residency.task_lost_behavior.as_str().to_owned()),
    }
}

/// A path that leads to no other place than it seems to.
pub(super) fn path_inside(
    path: &str,
    said: Option<&String>,
    faults: &mut Faults,
) -> Option<String> {
    let Some(text) = said.cloned() else {
        faults.shape(path, "undefined");
        return None;
    };
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
    let persistent = container.persistent.iter().map(write_persistent);
    let volumes = container.volumes.iter().map(volume);
    let secrets = container.secrets.iter();
    let secrets = secrets.map(|file| ContainerVolume {
        container_path: Some(file.container_path.clone()),
        secret: Some(file.secret.clone()),
        ..ContainerVolume::default()
    });
    let docker = container.image.as_ref().map(|image| DockerContainer {
        image: Some(image.clone()),
        force_pull_image: Some(container.force_pull),
        parameters: Some(Vec::new()),
        privileged: Some(container.privileged),
        pull_config: container.pull_secret.as_deref().map(pull_config),
        ..DockerContainer::default()
    });
    Said {
        r#type: Some(container.kind.as_str().to_owned()),
        docker,
        volumes: Some(volumes.chain(persistent).chain(secrets).collect()),
        ..Said::default()
    }
}

fn write_persistent(volume: &PersistentVolume) -> ContainerVolume {
    let megabytes = i64::try_from(volume.size_bytes / MEBIBYTE);
    ContainerVolume {
        container_path: Some(volume.container_path.clone()),
        mode: Some("RW".to_owned()),
        persistent: Some(Kept {
            r#type: Some("root".to_owned()),
            size: Some(megabytes.unwrap_or(i64::MAX)),
            ..Kept::default()
        }),
        ..ContainerVolume::default()
    }
}
