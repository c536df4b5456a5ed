//! How much of an app is text that goes along with each of its instances.

use std::collections::BTreeMap;

use crate::spec::app::{
    AppNetwork, AppSpec, Container, HealthCheckSpec, PodContainer, PodProgram, VolumeSource,
};

/// The most text of one app, in bytes. It is sent with every task to the master and on to the agent, in messages of a few
/// MiB, stored there, and the environment becomes that of a process, of which Linux takes 2 MiB with its arguments.
pub const MAX_TEXT_BYTES: usize = 1024 * 1024;
/// The largest secret, in bytes: a variable of a process cannot hold much more than twice of it.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;
/// All secrets of one instance, in bytes: they go in one message, as its texts do.
pub const MAX_SECRETS_BYTES: usize = 1024 * 1024;
/// What an entry of a list costs besides its text.
const ENTRY_BYTES: usize = 16;

/// The text of an app, in bytes, with something for each entry of its lists. What containers of a pod share goes along
/// with each of them.
pub fn text_bytes(spec: &AppSpec) -> usize {
    let of_containers: usize = spec.containers().iter().map(container_bytes).sum();
    let volumes = spec.pod.iter().flat_map(|pod| &pod.volumes);
    let volumes = volumes.map(|volume| match &volume.source {
        VolumeSource::Ephemeral => volume.name.len() + ENTRY_BYTES,
        VolumeSource::Host(text) | VolumeSource::Secret(text) => {
            volume.name.len() + text.len() + ENTRY_BYTES
        }
    });
    shared_bytes(spec) * spec.containers().len().max(1) + of_containers + volumes.sum::<usize>()
}

/// What the secrets of an instance take at most, in bytes. Only who reads them knows how long they are.
pub fn secrets_bytes(spec: &AppSpec) -> usize {
    let of_app = spec.env_secrets.len() * spec.containers().len().max(1);
    let files = spec.container.iter().map(|one| one.secrets.len());
    let volumes = spec.pod.iter().flat_map(|pod| &pod.volumes);
    let secret = |name: &String| {
        let mut volumes = volumes.clone();
        volumes.any(|volume| volume.name == *name && volume.secret().is_some())
    };
    let of_containers = spec.containers().iter().map(|one| {
        let shown = one.mounts.iter().filter(|mount| secret(&mount.name));
        one.env_secrets.len() + shown.count()
    });
    let count = of_app + files.sum::<usize>() + of_containers.sum::<usize>();
    MAX_SECRETS_BYTES.min(count * MAX_SECRET_BYTES)
}

fn container_bytes(container: &PodContainer) -> usize {
    let mut bytes = 0;
    let mut add = |text: &str| bytes += text.len() + ENTRY_BYTES;
    add(&container.name);
    container.user.iter().for_each(|user| add(user));
    match &container.program {
        Some(PodProgram::Shell(line)) => add(line),
        Some(PodProgram::Argv { words, .. }) => words.iter().for_each(|word| add(word)),
        None => {}
    }
    let mut pairs: Vec<&BTreeMap<String, String>> =
        vec![&container.env, &container.env_secrets, &container.labels];
    if let Some(image) = &container.image {
        add(&image.id);
        pairs.push(&image.labels);
    }
    for endpoint in &container.endpoints {
        endpoint.port.name.iter().for_each(|name| add(name));
        pairs.push(&endpoint.port.labels);
    }
    for (name, value) in pairs.into_iter().flatten() {
        add(name);
        add(value);
    }
    let checks = container
        .health_check
        .iter()
        .chain(container.check.as_deref());
    checks.flat_map(texts_of).for_each(|text| add(text));
    for mount in &container.mounts {
        add(&mount.name);
        add(&mount.path);
    }
    for fetch in &container.fetch {
        add(&fetch.uri);
        fetch.dest_path.iter().for_each(|path| add(path));
    }
    bytes
}

fn shared_bytes(spec: &AppSpec) -> usize {
    let mut bytes = 0;
    let mut add = |text: &str| bytes += text.len() + ENTRY_BYTES;
    let plain = [&spec.cmd, &spec.user, &spec.role];
    plain.into_iter().flatten().for_each(|text| add(text));
    spec.args.iter().for_each(|text| add(text));
    let texts = spec.env.iter().chain(&spec.labels);
    let secrets = spec.env_secrets.iter().chain(&spec.secrets);
    for (name, value) in texts.chain(secrets) {
        add(name);
        add(value);
    }
    let checks = spec.health_checks.iter().chain(spec.check.as_deref());
    checks.flat_map(texts_of).for_each(|text| add(text));
    for fetch in &spec.fetch {
        add(&fetch.uri);
        fetch.dest_path.iter().for_each(|path| add(path));
    }
    for constraint in &spec.constraints {
        add(&constraint.field);
        constraint.value.iter().for_each(|value| add(value));
    }
    for definition in &spec.port_definitions {
        definition.name.iter().for_each(|name| add(name));
        for (name, value) in &definition.labels {
            add(name);
            add(value);
        }
    }
    spec.dependencies.iter().for_each(|path| add(path.as_str()));
    spec.container
        .iter()
        .for_each(|container| within(container, &mut add));
    if let AppNetwork::Named(networks) = &spec.network {
        for network in networks {
            add(&network.name);
            for (name, value) in &network.labels {
                add(name);
                add(value);
            }
        }
    }
    bytes
}

fn texts_of(check: &HealthCheckSpec) -> impl Iterator<Item = &String> {
    check.path.iter().chain(&check.command).chain(&check.argv)
}

fn within(container: &Container, add: &mut impl FnMut(&str)) {
    container.image.iter().for_each(|image| add(image));
    container.pull_secret.iter().for_each(|secret| add(secret));
    for volume in &container.volumes {
        add(&volume.container_path);
        add(&volume.host_path);
    }
    for file in &container.secrets {
        add(&file.container_path);
        add(&file.secret);
    }
}
