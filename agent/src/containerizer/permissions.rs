//! What the operator of an agent allows containers, and how they are built there; whatever goes beyond is refused by name.

use std::path::{Component, Path, PathBuf};

use mete_agent_core::task_dir::{Command, IdRange};
use mete_model::container::MountSource;
use mete_model::{ContainerSpec, LinuxCapability};

use super::image_root::ImageRoot;
use super::oci::OciError;
use crate::devices::GpuDevices;
use crate::oci_runtime::{self, OciRuntime};

/// What the operator allows containers, and how they are built here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Directories of the machine below which volumes may lie.
    pub volume_roots: Vec<PathBuf>,
    /// Where volumes lie that are kept by name.
    pub named_volumes: PathBuf,
    /// Powers of root beyond the usual ones.
    pub capabilities: Vec<LinuxCapability>,
    /// Whether a task may do without the filter of system calls.
    pub unconfined: bool,
    /// Whether a task may be as good as root of the machine.
    pub privileged: bool,
    /// Directories and files that are never seen: the agent's own.
    pub hidden: Vec<PathBuf>,
    /// How images become roots.
    pub image_root: ImageRoot,
    /// Whom users of containers are outside; `None`: the same.
    pub users: Option<IdRange>,
    /// What GPUs are in `/dev`.
    pub gpus: GpuDevices,
    /// What builds containers; `None`: their shims.
    pub runtime: Option<OciRuntime>,
}

/// Refuses what the operator has not allowed. Asked before anything is fetched.
///
/// # Errors
/// [`OciError`].
pub fn check(spec: &ContainerSpec, permissions: &Permissions) -> Result<(), OciError> {
    for mount in &spec.mounts {
        if let MountSource::Host(path) = &mount.source {
            below_root(path, permissions)?;
        }
    }
    if let Some(group) = spec.groups.first().filter(|_| !permissions.privileged) {
        return Err(OciError::Group(group.clone()));
    }
    if !spec.isolation.privileged {
        return check_walls(spec, permissions);
    }
    match (permissions.privileged, permissions.users) {
        (false, _) => Err(OciError::Privileged),
        (true, Some(_)) => Err(OciError::PrivilegedUsers),
        (true, None) => Ok(()),
    }
}

/// The same of one that is not privileged.
fn check_walls(spec: &ContainerSpec, permissions: &Permissions) -> Result<(), OciError> {
    let usual = |one: &LinuxCapability| {
        LinuxCapability::USUAL.contains(one) || permissions.capabilities.contains(one)
    };
    if let Some(beyond) = spec
        .isolation
        .remaining()
        .into_iter()
        .find(|one| !usual(one))
    {
        return Err(OciError::Capability(beyond));
    }
    if !spec.isolation.seccomp && !permissions.unconfined {
        return Err(OciError::Unconfined);
    }
    Ok(())
}

/// Refuses a command that the runtime, if there is one, cannot carry out as it is meant.
///
/// # Errors
/// [`OciError::OtherName`].
pub(crate) fn check_command(command: &Command, permissions: &Permissions) -> Result<(), OciError> {
    let named = permissions
        .runtime
        .as_ref()
        .zip(oci_runtime::other_name(command));
    named.map_or(Ok(()), |(runtime, (program, name))| {
        Err(OciError::OtherName {
            program: program.to_owned(),
            name: name.to_owned(),
            runtime: runtime.name(),
        })
    })
}

/// The allowed root a path lies below, and the rest of it. The shim sees to it that no link leads out.
pub(crate) fn below_root(
    path: &str,
    permissions: &Permissions,
) -> Result<(PathBuf, String), OciError> {
    let wanted = Path::new(path);
    let straight = wanted
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let roots = permissions.volume_roots.iter().filter(|_| straight);
    let found = roots
        .filter_map(|root| Some((root, wanted.strip_prefix(root).ok()?.to_str()?)))
        .next();
    found
        .map(|(root, below)| (root.clone(), below.to_owned()))
        .ok_or_else(|| OciError::VolumeRoot {
            path: path.to_owned(),
            allowed: match permissions.volume_roots.as_slice() {
                [] => "none".to_owned(),
                roots => roots
                    .iter()
                    .map(|root| root.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_lie_below_what_the_operator_allows() {
        let permissions = Permissions {
            volume_roots: vec!["/srv/data".into(), "/opt".into()],
            ..Permissions::default()
        };
        let below = |path| below_root(path, &permissions).map(|(_, below)| below).ok();

        assert_eq!(below("/srv/data/a/b").as_deref(), Some("a/b"));
        assert_eq!(below("/opt").as_deref(), Some(""));
        assert_eq!(below("/srv/database"), None);
        assert_eq!(below("/srv/data/../secret"), None);
        assert_eq!(below("/"), None);
        let refused = below_root("/etc", &Permissions::default()).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            "volume /etc is below no directory that this agent allows (none)"
        );
    }

    #[test]
    fn powers_beyond_the_usual_are_up_to_the_operator() {
        let mut spec = ContainerSpec::default();
        let mut permissions = Permissions::default();
        assert!(check(&spec, &permissions).is_ok());

        spec.isolation.add.insert(LinuxCapability::SYS_ADMIN);
        let refused = check(&spec, &permissions).expect_err("refused").to_string();
        permissions.capabilities.push(LinuxCapability::SYS_ADMIN);

        assert_eq!(refused, "capability SYS_ADMIN is not allowed by this agent");
        assert!(check(&spec, &permissions).is_ok());
        spec.isolation.seccomp = false;
        assert!(matches!(
            check(&spec, &permissions),
            Err(OciError::Unconfined)
        ));
    }

    #[test]
    fn who_is_as_good_as_root_is_up_to_the_operator() {
        let mut privileged = ContainerSpec::default();
        privileged.isolation.raze();
        let grouped = ContainerSpec {
            groups: vec!["disk".to_owned()],
            ..ContainerSpec::default()
        };
        let mut permissions = Permissions::default();
        let said = |spec: &ContainerSpec, permissions: &Permissions| {
            check(spec, permissions).map_err(|error| error.to_string())
        };

        let refused = said(&privileged, &permissions).expect_err("refused");
        assert!(refused.contains("--allow-privileged"), "{refused}");
        let refused = said(&grouped, &permissions).expect_err("refused");
        assert!(refused.contains("group \"disk\""), "{refused}");
        permissions.privileged = true;
        assert_eq!(said(&privileged, &permissions), Ok(()));
        assert_eq!(said(&grouped, &permissions), Ok(()));
        permissions.users = Some("100000:65536".parse().expect("a range"));
        let refused = said(&privileged, &permissions).expect_err("refused");
        assert!(refused.contains("--user-namespaces"), "{refused}");
    }
}
