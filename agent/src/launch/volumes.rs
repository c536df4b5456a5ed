//! The volumes that a task holds, brought to where it wants them: mounted in a container, else by a link in its sandbox.

use std::io;
use std::path::{Path, PathBuf};

use mete_agent_core::{Executor, LaunchStage};
use mete_model::ContainerSpec;
use mete_model::container::MountSource;
use tokio::task::spawn_blocking;

use super::environment::allocation_role;
use super::inner::Inner;
use super::{Failure, Job, Launcher};
use crate::containerizer::volume_mount::VolumeMount;
use crate::volumes::{self, Held};

impl Launcher {
    /// Sees to it that the volumes of an executor are there, which tasks of its group see below its sandbox.
    pub(super) async fn volumes_of_parent(
        &self,
        job: &Job,
        parent: &Executor,
        inner: &Inner,
    ) -> Result<Vec<VolumeMount>, Failure> {
        let held = volumes::held_by(&parent.spec.resources);
        let (all, container) = (self.volumes.clone(), job.container.clone());
        let user = inner.owner.clone();
        let bring = move || {
            let ready = held.into_iter().map(|one| {
                // Others of the group may be using it, as another user.
                let one = Held {
                    shared: true,
                    ..one
                };
                let place = all.ready(&one, &container, user.as_ref())?;
                Ok(seen(one, place))
            });
            ready.collect()
        };
        in_turn(bring).await
    }

    /// Sees to it that the task makes no more volumes by name than its role and its agent may have.
    async fn have_room(&self, job: &Job) -> Result<(), Failure> {
        let names = job.spec.container.iter().flat_map(|spec| named(spec));
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (all, role) = (self.volumes.clone(), allocation_role(job));
        in_turn(move || all.have_room_for(&names, &role)).await
    }

    /// Sees to it that the volumes of a task are there, and leads it to them. The sandbox is there, and still empty.
    pub(super) async fn bring_volumes(
        &self,
        job: &Job,
        sandbox: &Path,
        inner: &mut Inner,
    ) -> Result<(), Failure> {
        self.have_room(job).await?;
        let held = volumes::held_by(&job.spec.resources);
        if held.is_empty() {
            return Ok(());
        }
        let (all, container) = (self.volumes.clone(), job.container.clone());
        let (sandbox, user) = (sandbox.to_owned(), inner.owner.clone());
        let in_container = inner.around.is_some() || inner.docker.is_some();
        let bring = move || {
            let mut mounts = Vec::new();
            for one in held {
                let place = all.ready(&one, &container, user.as_ref())?;
                if in_container {
                    mounts.push(seen(one, place));
                } else {
                    volumes::link(&one, &place, &sandbox, user.as_ref())?;
                }
            }
            Ok(mounts)
        };
        let mounts = in_turn(bring).await?;
        if let Some(around) = &mut inner.around {
            around.volumes = mounts;
        } else if let Some(wanted) = &mut inner.docker {
            wanted.volumes = mounts;
        }
        Ok(())
    }
}

/// The volumes that a container names, which are made when they are not there.
pub(crate) fn named(spec: &ContainerSpec) -> impl Iterator<Item = &str> {
    spec.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Named(name) => Some(name.as_str()),
        MountSource::Host(_)
        | MountSource::Sandbox(_)
        | MountSource::Parent(_)
        | MountSource::Tmpfs { .. }
        | MountSource::Image(_)
        | MountSource::Secret(_) => None,
    })
}

fn seen(held: Held, place: PathBuf) -> VolumeMount {
    VolumeMount {
        target: held.target,
        place,
        read_only: held.read_only,
        is_shared: held.shared,
    }
}

/// Work on the disk, which blocks.
async fn in_turn<T: Send + 'static>(
    bring: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let brought = spawn_blocking(bring).await;
    brought
        .map_err(|error| Failure::new(LaunchStage::Volumes, error))?
        .map_err(|error| Failure::io(LaunchStage::Volumes, &error))
}
