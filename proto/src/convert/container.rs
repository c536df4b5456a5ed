//! The container around a task. Both kinds of Mesos (MESOS and DOCKER) name the same thing here; what would break the walls
//! is refused by name. The terminal that a container asks for is a matter of the command.
//!
//! What only Docker has words for (a read-only image, a limit of processes) is carried as Docker's own parameters, on a
//! container of either kind.

mod limits; // RLimitInfo, CapabilityInfo
mod networks; // NetworkInfo, and Docker's words for networks and mapped ports
mod parameters; // Docker's command line
mod volumes; // Volume

pub use networks::BRIDGE_NAME;

use std::collections::BTreeSet;

use mete_model::ContainerSpec;
use mete_model::container::{ContainerKind, Isolation, LinuxCapability, Login, Network, Pull};

pub(in crate::convert) use volumes::target;

use super::{ConvertError, Within as _, refuse, secret, without_nul};
use crate::mesos::v1 as wire;
use wire::container_info::{DockerInfo, MesosInfo, Type};

impl TryFrom<&wire::ContainerInfo> for ContainerSpec {
    type Error = ConvertError;
    fn try_from(info: &wire::ContainerInfo) -> Result<Self, ConvertError> {
        let mut spec = Self {
            network: networks::read(info.docker.as_ref(), &info.network_infos)?,
            ..Self::default()
        };
        if let Some(image) = info.mesos.as_ref().and_then(|mesos| mesos.image.as_ref()) {
            spec.image = Some(reference(image).within("mesos.image")?);
            spec.pull = pull(!image.cached());
            spec.login = login(image).within("mesos.image.docker")?;
        }
        spec.mounts = volumes::read(&info.volumes)?;
        if let Some(docker) = &info.docker {
            read_docker(&mut spec, docker, info.r#type()).within("docker")?;
        } else if info.r#type() == Type::Docker {
            return Err(ConvertError::missing("docker"));
        }
        if let Some(name) = info.hostname.as_ref().filter(|name| !name.is_empty()) {
            spec.hostname = Some(hostname("hostname", name)?);
        }
        if let Some(linux) = &info.linux_info {
            read_linux(&mut spec.isolation, linux).within("linux_info")?;
        }
        if let Some(rlimits) = &info.rlimit_info {
            spec.isolation.rlimits = limits::rlimits(rlimits).within("rlimit_info")?;
        }
        Ok(spec)
    }
}

impl From<&ContainerSpec> for wire::ContainerInfo {
    fn from(spec: &ContainerSpec) -> Self {
        let mut info = Self {
            volumes: spec.mounts.iter().filter_map(volumes::write).collect(),
            hostname: spec.hostname.clone(),
            linux_info: linux(&spec.isolation),
            rlimit_info: limits::rlimits_to_wire(&spec.isolation.rlimits),
            docker: docker(spec),
            network_infos: networks::infos(spec.kind, &spec.network),
            ..Self::default()
        };
        info.set_type(match spec.kind {
            ContainerKind::Mesos => Type::Mesos,
            ContainerKind::Docker => Type::Docker,
        });
        let own = spec.image.as_ref();
        if let Some(name) = own.filter(|_| spec.kind == ContainerKind::Mesos) {
            let mut image = volumes::image(name);
            image.cached = (spec.pull == Pull::Always).then_some(false);
            if let (Login::Own(value), Some(docker)) = (&spec.login, &mut image.docker) {
                docker.config = Some(secret::to_wire(value.as_ref()));
            }
            info.mesos = Some(MesosInfo { image: Some(image) });
        }
        info
    }
}

/// The reference of an image that has one.
fn reference(image: &wire::Image) -> Result<String, ConvertError> {
    refuse(
        image.r#type() == wire::image::Type::Appc || image.appc.is_some(),
        "appc",
        "appc images are",
    )?;
    let docker = image
        .docker
        .as_ref()
        .ok_or_else(|| ConvertError::missing("docker"))?;
    refuse(
        docker.credential.is_some(),
        "docker.credential",
        "credentials of single tasks are",
    )?;
    named("docker.name", &docker.name)
}

/// What the task says to its image's registry.
fn login(image: &wire::Image) -> Result<Login, ConvertError> {
    let config = image
        .docker
        .as_ref()
        .and_then(|docker| docker.config.as_ref());
    Ok(match config {
        Some(config) => Login::Own(secret::value(config).within("config")?),
        None => Login::Agents,
    })
}

fn named(path: &str, name: &str) -> Result<String, ConvertError> {
    without_nul(path, name)?;
    if name.is_empty() {
        return Err(ConvertError::missing(path));
    }
    Ok(name.to_owned())
}

const fn pull(always: bool) -> Pull {
    if always {
        Pull::Always
    } else {
        Pull::IfMissing
    }
}

/// A name a machine may have.
fn hostname(path: &str, name: &str) -> Result<String, ConvertError> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    // The kernel keeps 64 characters.
    if name.len() > 64 || !name.chars().all(is_good) {
        let rule = "a host name has letters, digits, '-' and '.', 64 at most";
        return Err(ConvertError::bad_value(
            path,
            format_args!("{name:?}"),
            rule,
        ));
    }
    Ok(name.to_owned())
}

fn read_docker(
    spec: &mut ContainerSpec,
    docker: &DockerInfo,
    kind: Type,
) -> Result<(), ConvertError> {
    if kind == Type::Docker {
        spec.kind = ContainerKind::Docker;
        spec.image = Some(named("image", &docker.image)?);
        spec.pull = pull(docker.force_pull_image());
    }
    if docker.privileged() {
        spec.isolation.raze();
    }
    refuse(
        docker.volume_driver.is_some(),
        "volume_driver",
        "volume drivers are",
    )?;
    for (at, parameter) in docker.parameters.iter().enumerate() {
        parameters::read(spec, parameter).within(format_args!("parameters[{at}]"))?;
    }
    Ok(())
}

/// What Mesos' own kind has no words for; `None` when there is nothing of it.
fn docker(spec: &ContainerSpec) -> Option<DockerInfo> {
    let parameters = parameters::write(spec);
    let is_docker = spec.kind == ContainerKind::Docker;
    let says_more = !parameters.is_empty() || spec.isolation.privileged;
    if !says_more && spec.network != Network::None && !is_docker {
        return None;
    }
    let mut docker = DockerInfo {
        image: spec.image.clone().unwrap_or_default(),
        parameters,
        privileged: spec.isolation.privileged.then_some(true),
        force_pull_image: (is_docker && spec.pull == Pull::Always).then_some(true),
        ..DockerInfo::default()
    };
    networks::write(spec, &mut docker);
    Some(docker)
}

fn read_linux(isolation: &mut Isolation, linux: &wire::LinuxInfo) -> Result<(), ConvertError> {
    refuse(
        linux.share_pid_namespace(),
        "share_pid_namespace",
        "containers that see the processes of their agent are",
    )?;
    refuse(
        linux.ipc_mode() == wire::linux_info::IpcMode::ShareParent,
        "ipc_mode",
        "containers that share memory with their agent are",
    )?;
    isolation.capabilities = capabilities(linux)?;
    if let Some(seccomp) = &linux.seccomp {
        refuse(
            seccomp.profile_name.is_some(),
            "seccomp.profile_name",
            "seccomp profiles other than the default are",
        )?;
        isolation.seccomp = !seccomp.unconfined();
    }
    if let Some(megabytes) = linux.shm_size {
        isolation.shm_bytes = Some(u64::from(megabytes) << 20);
    }
    Ok(())
}

/// What a program has. Bounding capabilities alone say what it may gain; here that is what it has.
fn capabilities(
    linux: &wire::LinuxInfo,
) -> Result<Option<BTreeSet<LinuxCapability>>, ConvertError> {
    let read = |list: &Option<wire::CapabilityInfo>, path| {
        let list = list.as_ref().map(limits::capabilities);
        list.transpose().within(path)
    };
    let bounding = read(&linux.bounding_capabilities, "bounding_capabilities")?;
    let effective = match read(&linux.effective_capabilities, "effective_capabilities")? {
        Some(effective) => Some(effective),
        None => read(&linux.capability_info, "capability_info")?,
    };
    let (Some(all), Some(bounding)) = (&effective, &bounding) else {
        return Ok(effective.or(bounding));
    };
    match all.difference(bounding).next() {
        Some(outside) => Err(ConvertError::bad_value(
            "effective_capabilities",
            outside,
            "bounding_capabilities are said and do not have it",
        )),
        None => Ok(effective),
    }
}

fn linux(isolation: &Isolation) -> Option<wire::LinuxInfo> {
    let info = wire::LinuxInfo {
        effective_capabilities: isolation
            .capabilities
            .as_ref()
            .map(limits::capabilities_to_wire),
        seccomp: (!isolation.seccomp).then_some(wire::SeccompInfo {
            profile_name: None,
            unconfined: Some(true),
        }),
        ..wire::LinuxInfo::default()
    };
    (info != wire::LinuxInfo::default()).then_some(info)
}
