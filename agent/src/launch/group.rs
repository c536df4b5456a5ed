//! What a task shares with others of its group: the sandbox of their executor, and its network.

use std::sync::Arc;

use mete_agent_core::LaunchStage;
use mete_model::ContainerSpec;
use mete_model::container::MountSource;
use tokio::task::spawn_blocking;

use super::inner::Inner;
use super::{Failure, Job, Launcher, not_started};
use crate::group_networks;

impl Job {
    /// What is around the task: a network that is shared needs a container, whether the task asks for one or not.
    pub(super) fn container(&self) -> Option<ContainerSpec> {
        let own = self.spec.container.as_deref().cloned();
        let shared = self.parent.as_deref().and_then(group_networks::of);
        match (own, shared) {
            (Some(own), _) => Some(own),
            (None, Some(_)) => Some(ContainerSpec::default()),
            (None, None) => None,
        }
    }
}

impl Launcher {
    /// Leads a task to what it shares. Its own sandbox is there.
    pub(super) async fn share(&self, job: &Job, inner: &mut Inner) -> Result<(), Failure> {
        let Some(parent) = job.parent.as_ref().map(Arc::clone) else {
            return refuse_parents(inner);
        };
        refuse_others(inner)?;
        let (places, networks) = (self.places.clone(), self.group_networks.clone());
        let sandbox =
            places.executor_sandbox(&parent.agent, &parent.key.framework, &parent.within());
        let (task, container) = (job.key.task.clone(), job.container.clone());
        let seen = sandbox.clone();
        let linked = spawn_blocking(move || {
            places.link_latest(&sandbox)?;
            places.link_task(&sandbox, &task, &container)
        });
        linked
            .await
            .map_err(|error| Failure::new(LaunchStage::Sandbox, error))?
            .map_err(|error| Failure::io(LaunchStage::Sandbox, &error))?;
        let volumes = self.volumes_of_parent(job, &parent, inner).await?;
        let shared = spawn_blocking(move || networks.ready(&parent))
            .await
            .map_err(|error| Failure::new(LaunchStage::Start, error))?
            .map_err(|error| not_started(&error))?;
        if let Some(around) = &mut inner.around {
            around.parent = Some(seen);
            around.parent_volumes = volumes;
            around.shared = shared;
        }
        Ok(())
    }
}

/// What of the executor's sandbox belongs to single tasks.
const OF_TASKS: [&str; 2] = ["containers", "tasks"];

/// A path that leads into the sandbox of another task would show an empty directory where that one has a volume: what is
/// mounted there is seen by it alone.
fn refuse_others(inner: &Inner) -> Result<(), Failure> {
    let mounts = inner.around.iter().flat_map(|around| &around.spec.mounts);
    for mount in mounts {
        if let MountSource::Parent(path) = &mount.source {
            let mut parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
            if parts.next().is_some_and(|first| OF_TASKS.contains(&first)) {
                let why = format!(
                    "{path:?} of its group's sandbox is another task's; what tasks share lies beside them, and volumes that they share belong to their executor"
                );
                return Err(Failure::new(LaunchStage::Start, why));
            }
        }
    }
    Ok(())
}

/// The master has refused it.
fn refuse_parents(inner: &Inner) -> Result<(), Failure> {
    let mounts = inner.around.iter().flat_map(|around| &around.spec.mounts);
    let mut sources = mounts.map(|mount| &mount.source);
    if sources.any(|source| matches!(source, MountSource::Parent(_))) {
        let why = "a volume of a parent's sandbox is for tasks of a group";
        return Err(Failure::new(LaunchStage::Start, why));
    }
    Ok(())
}
