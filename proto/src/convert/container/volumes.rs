//! What a container sees besides its image.

use mete_model::container::{Mount, MountSource, SecretValue};

use super::{named, reference};
use crate::convert::{ConvertError, Within as _, refuse, secret, without_nul};
use crate::mesos::v1 as wire;
use wire::volume::source::sandbox_path::Type as Whose;
use wire::volume::source::{DockerVolume, HostPath, SandboxPath, Type};
use wire::volume::{Mode, Source};

/// The driver of Docker's own volumes.
const LOCAL: &str = "local";

/// The longest name of a file.
const MAX_NAME_BYTES: usize = 255;

pub(super) fn read(volumes: &[wire::Volume]) -> Result<Vec<Mount>, ConvertError> {
    let all = volumes.iter().enumerate();
    all.map(|(at, volume)| mount(volume).within(format_args!("volumes[{at}]")))
        .collect()
}

fn mount(volume: &wire::Volume) -> Result<Mount, ConvertError> {
    let source = match (&volume.source, &volume.image, &volume.host_path) {
        (Some(source), _, _) => source_of(source).within("source")?,
        (None, Some(image), _) => {
            let own = image
                .docker
                .as_ref()
                .is_some_and(|one| one.config.is_some());
            refuse(
                own,
                "image.docker.config",
                "logins for images of volumes are",
            )?;
            MountSource::Image(reference(image).within("image")?)
        }
        (None, None, Some(path)) => on_host("host_path", path)?,
        (None, None, None) => return Err(ConvertError::missing("source")),
    };
    Ok(Mount {
        target: target("container_path", &volume.container_path)?,
        read_only: volume.mode() == Mode::Ro || source.is_secret(),
        source,
    })
}

/// A place inside a container.
pub(in crate::convert) fn target(path: &str, text: &str) -> Result<String, ConvertError> {
    let parts = || {
        text.split('/')
            .filter(|part| !part.is_empty() && *part != ".")
    };
    if parts().next().is_none() || parts().any(|part| part == "..") || text.contains(['\0', ':']) {
        let rule = "it is a path inside the container without '..' and ':'";
        return Err(ConvertError::bad_value(
            path,
            format_args!("{text:?}"),
            rule,
        ));
    }
    Ok(text.to_owned())
}

/// A path of a sandbox, which may be the sandbox itself.
fn of_sandbox(path: &str, text: &str) -> Result<String, ConvertError> {
    let is_all = !text.is_empty() && text.split('/').all(|part| matches!(part, "" | "."));
    match is_all {
        true => Ok(".".to_owned()),
        false => target(path, text),
    }
}

/// A relative path is below the sandbox, as in Mesos.
fn on_host(path: &str, text: &str) -> Result<MountSource, ConvertError> {
    if text.starts_with('/') {
        without_nul(path, text)?;
        return Ok(MountSource::Host(text.to_owned()));
    }
    of_sandbox(path, text).map(MountSource::Sandbox)
}

fn source_of(source: &Source) -> Result<MountSource, ConvertError> {
    if source.secret.is_some() && source.r#type() != Type::Secret {
        let rule = "it is for volumes of type SECRET alone";
        return Err(ConvertError::bad_value("secret", "a value", rule));
    }
    match source.r#type() {
        Type::HostPath => {
            let host = source
                .host_path
                .as_ref()
                .ok_or_else(|| ConvertError::missing("host_path"))?;
            refuse(
                host.mount_propagation.is_some(),
                "host_path.mount_propagation",
                "mounts that show up elsewhere are",
            )?;
            named("host_path.path", &host.path)?;
            on_host("host_path.path", &host.path)
        }
        Type::SandboxPath => {
            let sandbox = source
                .sandbox_path
                .as_ref()
                .ok_or_else(|| ConvertError::missing("sandbox_path"))?;
            let path = of_sandbox("sandbox_path.path", &sandbox.path)?;
            Ok(match sandbox.r#type() {
                Whose::Parent => MountSource::Parent(path),
                Whose::Self_ | Whose::Unknown => MountSource::Sandbox(path),
            })
        }
        Type::DockerVolume => {
            let volume = source.docker_volume.as_ref();
            let volume = volume.ok_or_else(|| ConvertError::missing("docker_volume"))?;
            by_name(volume).within("docker_volume")
        }
        Type::Secret => {
            let secret = source.secret.as_ref();
            let secret = secret.ok_or_else(|| ConvertError::missing("secret"))?;
            secret::value(secret)
                .within("secret")
                .map(MountSource::Secret)
        }
        Type::CsiVolume => Err(ConvertError::not_carried("type", "CSI volumes are")),
        Type::Unknown => Err(ConvertError::missing("type")),
    }
}

/// A volume of Docker's own driver: a directory with a name.
fn by_name(volume: &DockerVolume) -> Result<MountSource, ConvertError> {
    let driver = volume.driver.as_deref().unwrap_or(LOCAL);
    if driver != LOCAL {
        let rule = "the only driver of volumes is local";
        return Err(ConvertError::bad_value(
            "driver",
            format_args!("{driver:?}"),
            rule,
        ));
    }
    let options = volume.driver_options.as_ref();
    refuse(
        options.is_some_and(|options| !options.parameter.is_empty()),
        "driver_options",
        "options of drivers are",
    )?;
    let name = &volume.name;
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || name.len() > MAX_NAME_BYTES || !name.chars().all(is_good) {
        let rule = "it has letters, digits, '_', '.' and '-', 255 at most, and begins with one of the first two";
        return Err(ConvertError::bad_value(
            "name",
            format_args!("{name:?}"),
            rule,
        ));
    }
    Ok(MountSource::Named(name.clone()))
}

/// `None` for memory, which Docker's parameters carry.
pub(super) fn write(mount: &Mount) -> Option<wire::Volume> {
    let mut volume = wire::Volume {
        container_path: mount.target.clone(),
        ..wire::Volume::default()
    };
    volume.set_mode(if mount.read_only { Mode::Ro } else { Mode::Rw });
    match &mount.source {
        MountSource::Host(path) => {
            let mut source = Source {
                host_path: Some(HostPath {
                    path: path.clone(),
                    mount_propagation: None,
                }),
                ..Source::default()
            };
            source.set_type(Type::HostPath);
            volume.source = Some(source);
        }
        MountSource::Sandbox(path) => volume.source = Some(in_sandbox(path, Whose::Self_)),
        MountSource::Parent(path) => volume.source = Some(in_sandbox(path, Whose::Parent)),
        MountSource::Named(name) => {
            let mut source = Source {
                docker_volume: Some(DockerVolume {
                    driver: Some(LOCAL.to_owned()),
                    name: name.clone(),
                    driver_options: None,
                }),
                ..Source::default()
            };
            source.set_type(Type::DockerVolume);
            volume.source = Some(source);
        }
        MountSource::Image(name) => volume.image = Some(image(name)),
        MountSource::Secret(value) => volume.source = Some(secret(value.as_ref())),
        MountSource::Tmpfs { .. } => return None,
    }
    Some(volume)
}

fn secret(value: Option<&SecretValue>) -> Source {
    let mut source = Source {
        secret: Some(secret::to_wire(value)),
        ..Source::default()
    };
    source.set_type(Type::Secret);
    source
}

fn in_sandbox(path: &str, whose: Whose) -> Source {
    let mut sandbox = SandboxPath {
        path: path.to_owned(),
        ..SandboxPath::default()
    };
    sandbox.set_type(whose);
    let mut source = Source {
        sandbox_path: Some(sandbox),
        ..Source::default()
    };
    source.set_type(Type::SandboxPath);
    source
}

/// An image by its reference.
pub(super) fn image(name: &str) -> wire::Image {
    let mut image = wire::Image {
        docker: Some(wire::image::Docker {
            name: name.to_owned(),
            ..wire::image::Docker::default()
        }),
        ..wire::Image::default()
    };
    image.set_type(wire::image::Type::Docker);
    image
}
