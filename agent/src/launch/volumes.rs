//! The volumes that a task holds, brought to where it wants them: mounted in a container, else by a link in its sandbox.

use std::path::Path;

use mete_agent_core::LaunchStage;
use tokio::task::spawn_blocking;

use super::inner::Inner;
use super::{Failure, Job, Launcher};
use crate::containerizer::oci::VolumeMount;
use crate::volumes;

impl Launcher {
    /// Sees to it that the volumes of a task are there, and leads it to them. The sandbox is there, and still empty.
    pub(super) async fn bring_volumes(
        &self,
        job: &Job,
        sandbox: &Path,
        inner: &mut Inner,
    ) -> Result<(), Failure> {
        let held = volumes::held_by(&job.spec);
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
                    mounts.push(VolumeMount {
                        target: one.target,
                        place,
                        read_only: one.read_only,
                    });
                } else {
                    volumes::link(&one, &place, &sandbox, user.as_ref())?;
                }
            }
            Ok(mounts)
        };
        let brought = spawn_blocking(bring).await;
        let mounts = brought
            .map_err(|error| Failure::new(LaunchStage::Volumes, error))?
            .map_err(|error: std::io::Error| Failure::io(LaunchStage::Volumes, &error))?;
        if let Some(around) = &mut inner.around {
            around.volumes = mounts;
        } else if let Some(wanted) = &mut inner.docker {
            wanted.volumes = mounts;
        }
        Ok(())
    }
}
