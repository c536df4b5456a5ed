//! What a task sees besides the root of its container: its sandbox, its volumes, and whatever it asks to be mounted.

use std::iter;
use std::path::Path;

use mete_agent_core::task_dir::{Mounted, Source};
use mete_model::container::{ContainerKind, Mount, MountSource};

use super::host_paths;
use super::oci::{Around, OciError, text};
use super::permissions::{Permissions, below_root};
use super::volume_mount::{OnPath, depth, on_path};

/// All of it, in the order in which it is mounted. `inside` is where the sandbox is seen; `top` where images among the mounts are
/// put together, each under its number.
pub(super) fn of_task(
    around: &Around,
    sandbox: &str,
    inside: &str,
    top: &Path,
    permissions: &Permissions,
) -> Result<Vec<Mounted>, OciError> {
    let mut mounts = vec![Mounted {
        target: inside.to_owned(),
        source: path_source(sandbox.to_owned(), String::new()),
        read_only: false,
    }];
    for volume in &around.volumes {
        mounts.push(Mounted {
            target: seen_at(&volume.target, inside),
            source: path_source(text(&volume.place)?, String::new()),
            read_only: volume.read_only,
        });
    }
    for (at, mount) in around.spec.mounts.iter().enumerate() {
        let source = source(mount, at, sandbox, top, around, permissions)?;
        mounts.extend(mounted(mount, source, inside, around)?);
    }
    // As Docker does: what comes later and nearer to the root would hide what is below it.
    mounts.sort_by_key(|mounted| depth(&mounted.target));
    Ok(mounts)
}

/// A mount, and the volumes that are seen through it.
fn mounted(
    mount: &Mount,
    source: Source,
    inside: &str,
    around: &Around,
) -> Result<Vec<Mounted>, OciError> {
    let target = seen_at(&mount.target, inside);
    let found = match &mount.source {
        MountSource::Sandbox(path) => on_path(&around.volumes, path, inside),
        MountSource::Parent(path) => {
            let all = around.parent_volumes.iter().chain(&around.volumes);
            on_path(all, path, inside)
        }
        MountSource::Host(_)
        | MountSource::Tmpfs { .. }
        | MountSource::Named(_)
        | MountSource::Image(_)
        | MountSource::Secret(_) => OnPath::default(),
    };
    let own = Mounted {
        read_only: mount.read_only
            || found
                .on
                .as_ref()
                .is_some_and(|(volume, _)| volume.read_only),
        target: target.clone(),
        source: match &found.on {
            Some((volume, rest)) => made(text(&volume.place)?, rest),
            None => source,
        },
    };
    let below = found.below.iter().map(|(volume, rest)| {
        Ok(Mounted {
            target: format!("{target}/{rest}"),
            source: path_source(text(&volume.place)?, String::new()),
            read_only: mount.read_only || volume.read_only,
        })
    });
    iter::once(Ok(own)).chain(below).collect()
}

fn source(
    mount: &Mount,
    at: usize,
    sandbox: &str,
    top: &Path,
    around: &Around,
    permissions: &Permissions,
) -> Result<Source, OciError> {
    Ok(match &mount.source {
        MountSource::Host(path) => {
            let (root, below) = below_root(path, permissions)?;
            if matches!(around.spec.kind, ContainerKind::Docker) {
                host_paths::make_missing(&root, &below).map_err(OciError::HostPath)?;
            }
            path_source(text(&root)?, below)
        }
        MountSource::Sandbox(path) => made(sandbox.to_owned(), path),
        MountSource::Parent(path) => {
            let parent = around.parent.as_deref().ok_or(OciError::NoParent)?;
            made(text(parent)?, path)
        }
        MountSource::Tmpfs { size_bytes } => Source::Tmpfs {
            size_bytes: *size_bytes,
        },
        MountSource::Named(name) => made(text(&permissions.named_volumes)?, name),
        MountSource::Image(reference) => {
            let image = around.mounted.get(reference);
            let image = image.ok_or_else(|| OciError::NoImage(reference.clone()))?;
            around
                .image_root
                .of_mount(image, &top.join(at.to_string()))?
        }
        MountSource::Secret(_) => {
            let secrets = around.secrets.as_deref();
            let secrets = secrets.ok_or_else(|| OciError::NoSecret(mount.target.clone()))?;
            path_source(text(secrets)?, at.to_string())
        }
    })
}

/// A relative path is below the sandbox.
fn seen_at(target: &str, inside: &str) -> String {
    match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("{inside}/{target}"),
    }
}

/// A path below a directory, which is made when it is not there.
fn made(root: String, path: &str) -> Source {
    Source::Path {
        root,
        below: path.trim_start_matches('/').to_owned(),
        make: true,
    }
}

pub(super) const fn path_source(root: String, below: String) -> Source {
    Source::Path {
        root,
        below,
        make: false,
    }
}

pub(super) fn scratch(path: &str) -> Mounted {
    Mounted {
        target: path.to_owned(),
        source: Source::Tmpfs { size_bytes: None },
        read_only: false,
    }
}
