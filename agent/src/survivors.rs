//! What there still is after a restart of the agent: tasks that run on, and what belongs to no task and goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use mete_agent_core::{Findings, Found, Node};
use mete_model::{ContainerId, Machine};
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use crate::containerizer::Containerizer;
use crate::containerizer::docker::Containerizers;
use crate::containerizer::process::ProcessContainerizer;
use crate::images::Images;
use crate::namespaces::Namespaces;
use crate::secrets::Secrets;
use crate::shims::{self, Shim};

/// Where to look.
pub(crate) struct Survivors {
    pub(crate) containerizer: Arc<ProcessContainerizer>,
    /// That one and others.
    pub(crate) tasks: Containerizers,
    pub(crate) images: Images,
    pub(crate) namespaces: Namespaces,
    pub(crate) secrets: Secrets,
    /// Of this boot of the machine.
    pub(crate) boot_id: String,
}

/// Looking at a task takes a few descriptors, one of which is kept as long as it runs.
const DESCRIPTORS: usize = 8;

/// Whether there are so many that nobody has.
fn spare_descriptors() -> io::Result<()> {
    let spare = (0..DESCRIPTORS).map(|_| File::open("/proc/self/stat"));
    spare.collect::<io::Result<Vec<_>>>().map(drop)
}

impl Survivors {
    /// What there still is of the tasks of before. What belongs to no task ends here.
    ///
    /// # Errors
    /// When there are too few file descriptors: a task that cannot be looked at is not one that has ended.
    pub(crate) async fn look_after(
        &self,
        node: &Node,
    ) -> io::Result<(Findings, BTreeMap<ContainerId, Shim>)> {
        let mut findings = Findings {
            boot_id: self.boot_id.clone(),
            ..Findings::default()
        };
        self.recover_networks().await;
        let mut running = BTreeMap::new();
        for task in node.unaccounted() {
            spare_descriptors()?;
            let (found, shim) = self.find(&task.container).await;
            running.extend(shim.map(|shim| (task.container, shim)));
            findings.found.insert(task.key, found);
        }
        for (key, executor) in node.view().custom_executors.iter() {
            spare_descriptors()?;
            let (found, shim) = self.find(&executor.container).await;
            running.extend(shim.map(|shim| (executor.container.clone(), shim)));
            findings.executors.insert(key.clone(), found);
        }
        self.remove_strays(node).await;
        self.remove_stray_secrets(node).await;
        self.remove_stray_networks(node).await;
        Ok((findings, running))
    }

    /// What there is in a container; its images are held as long as it runs.
    async fn find(&self, container: &ContainerId) -> (Found, Option<Shim>) {
        match self.tasks.find(container.clone()).await {
            Ok(shims::Found::Running(shim)) => {
                for digest in self.containerizer.images_of(container) {
                    self.images.hold(container, &digest);
                }
                self.end_sessions(container).await;
                (Found::Running, Some(shim))
            }
            Ok(shims::Found::Ended(exit)) => (Found::Ended(exit), None),
            Ok(shims::Found::NeverStarted) => (Found::NeverStarted, None),
            Ok(shims::Found::Vanished) => (Found::Vanished, None),
            Err(error) => {
                error!(%container, %error, "container cannot be looked after");
                (Found::Vanished, None)
            }
        }
    }

    /// Whoever started commands inside a task has lost them with the agent; what is left of them goes.
    async fn end_sessions(&self, container: &ContainerId) {
        let (containerizer, its) = (Arc::clone(&self.containerizer), container.clone());
        let ended = spawn_blocking(move || containerizer.end_sessions(&its)).await;
        if let Ok(commands @ 1..) = ended {
            warn!(%container, commands, "commands inside a task have outlived their agent and are ended");
        }
    }

    async fn recover_networks(&self) {
        let networks = Arc::clone(&self.containerizer);
        match spawn_blocking(move || networks.recover_networks()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "networks of containers cannot be taken over"),
            Err(error) => error!(%error, "networks of containers cannot be taken over"),
        }
    }

    /// Ends and removes containers that no task of the store owns.
    async fn remove_strays(&self, node: &Node) {
        let view = node.view();
        let executors = view.custom_executors.values().map(|one| &one.container);
        let groups = view.executors.values().map(|one| &one.container);
        let tasks = view.tasks.values().map(|task| &task.container);
        let known: Vec<_> = tasks.chain(executors).chain(groups).collect();
        let listing = Arc::clone(&self.containerizer);
        let there = spawn_blocking(move || listing.containers()).await;
        let there = match there {
            Ok(Ok(there)) => there,
            Ok(Err(error)) => return warn!(%error, "task directories cannot be listed"),
            Err(error) => return warn!(%error, "task directories cannot be listed"),
        };
        for container in there.into_iter().filter(|one| !known.contains(&one)) {
            warn!(%container, "container of no task is removed");
            if let Err(error) = self.tasks.destroy(container.clone()).await {
                error!(%container, %error, "container of no task stays");
            }
        }
        let groups = Arc::clone(&self.containerizer);
        match spawn_blocking(move || groups.remove_orphaned_groups()).await {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => warn!(
                groups = removed.join(", "),
                "control groups of no task removed"
            ),
            Ok(Err(error)) => warn!(%error, "control groups cannot be listed"),
            Err(error) => warn!(%error, "control groups cannot be listed"),
        }
    }

    /// Removes what secrets held of tasks that the store does not know.
    async fn remove_stray_secrets(&self, node: &Node) {
        let view = node.view();
        let known = view.tasks.values();
        let known = known.map(|task| task.container.to_string()).collect();
        let secrets = self.secrets.clone();
        match spawn_blocking(move || secrets.remove_strays(&known)).await {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => warn!(tasks = removed.join(", "), "secrets of no task removed"),
            Ok(Err(error)) => warn!(%error, "secrets of no task stay"),
            Err(error) => warn!(%error, "secrets of no task stay"),
        }
    }

    /// Removes networks that no executor of the store owns.
    async fn remove_stray_networks(&self, node: &Node) {
        let view = node.view();
        let known = view.executors.values();
        let known = known.map(|executor| executor.container.to_string());
        let (known, namespaces) = (known.collect(), self.namespaces.clone());
        match spawn_blocking(move || namespaces.remove_strays(&known)).await {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => warn!(
                networks = removed.join(", "),
                "networks of no executor removed"
            ),
            Ok(Err(error)) => warn!(%error, "networks of no executor stay"),
            Err(error) => warn!(%error, "networks of no executor stay"),
        }
    }
}
