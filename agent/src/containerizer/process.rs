//! Tasks as processes: a shim each, limits by control groups; on the file system of the machine, or in a container that
//! the shim builds (see [`oci`]).
//!
//! ```text
//! <root>/<container>/       the task directory, 0700       (see mete_agent_core::task_dir)
//! mete/<scope>/<container>  its control groups
//! ```
//!
//! Invariants: launch.json names the groups, so whoever finds the directory finds the groups.
//! The directory goes last.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use mete_agent_core::task_dir::{
    FORMAT_VERSION, LAUNCH_FILE, Launch, MAX_FILE_BYTES, TaskDir, TaskFile,
};
use mete_model::ContainerId;
use mete_model::container::Network;

use super::oci;
use super::permissions::{self, Permissions};
use super::{Containerizer, EndError, KillSignal, Start, StartError, Usage};
use crate::cgroups::{self, Cgroups};
use crate::networks::{Joined, Networks};
use crate::shims::{self, Begun, Executable, Found, Shim};
use crate::{docker, processes, sandbox, traffic};

/// The variable that tells a task its address.
const CONTAINER_IP: &str = "MESOS_CONTAINER_IP";

/// Runs tasks, plain or in containers.
#[derive(Clone, Debug)]
pub struct ProcessContainerizer {
    root: PathBuf,
    cgroups: Arc<Cgroups>,
    shim: Arc<Executable>,
    boot_id: Arc<str>,
    permissions: Arc<Permissions>,
    networks: Arc<Networks>,
}

impl ProcessContainerizer {
    /// Keeps task directories in `root`, which it makes if need be.
    ///
    /// # Errors
    /// When `root` cannot be made, or its path is not UTF-8.
    pub fn new(root: PathBuf, cgroups: Cgroups, shim: Executable) -> io::Result<Self> {
        if root.to_str().is_none() || !root.is_absolute() {
            let text = format!(
                "{}: the path of the work directory must be absolute and UTF-8",
                root.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root)?;
        Ok(Self {
            root,
            cgroups: Arc::new(cgroups),
            shim: Arc::new(shim),
            boot_id: processes::boot_id()?.into(),
            permissions: Arc::default(),
            networks: Arc::new(Networks::none()),
        })
    }

    /// What containers may do here; by default nothing that is not usual.
    #[must_use]
    pub fn allowing(mut self, permissions: Permissions) -> Self {
        self.permissions = Arc::new(permissions);
        self
    }

    /// What containers are joined to; by default there is nothing but the host's network and none.
    #[must_use]
    pub fn joining(mut self, networks: Networks) -> Self {
        self.networks = Arc::new(networks);
        self
    }

    /// What containers are joined to.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Takes the networks of containers over from an earlier agent. Blocks.
    ///
    /// # Errors
    /// When the root cannot be read, or networks cannot be taken over.
    pub fn recover_networks(&self) -> io::Result<()> {
        let containers = self.containers()?.into_iter();
        let there: Vec<_> = containers
            .map(|container| (container.clone(), self.task_dir(&container)))
            .collect();
        self.networks.recover(&there).map_err(io::Error::other)
    }

    /// Joins a container to its network of which there is nothing else: others will share it. Asked again, tells what it
    /// was joined to. [`Containerizer::destroy`] has it leave. Blocks.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left of it then.
    pub(crate) fn join(
        &self,
        container: &ContainerId,
        network: &Network,
    ) -> Result<Option<Joined>, StartError> {
        if let Some(joined) = self.networks.joined(container) {
            return Ok(Some(joined));
        }
        let dir = self.task_dir(container);
        make_dir(dir.path()).map_err(|error| full_or("making the task directory", error))?;
        let joined = self.networks.join(&dir, container, network);
        if joined.is_err()
            && let Err(error) = self.remove(container)
        {
            // What the caller wants to know is why it was not joined.
            tracing::warn!(%container, %error, "leftovers of a network cannot be removed");
        }
        Ok(joined?)
    }

    /// The directory of one task, there or not.
    pub fn task_dir(&self, container: &ContainerId) -> TaskDir {
        TaskDir::new(self.root.join(container.as_str()))
    }

    /// The program that is a shim, for health checks inside tasks.
    pub fn shim(&self) -> Arc<Executable> {
        Arc::clone(&self.shim)
    }

    /// Digests of the images that a container is made of; none for one that is not there.
    pub fn images_of(&self, container: &ContainerId) -> Vec<String> {
        shims::images_of(&self.task_dir(container))
    }

    /// Containers of which there is a directory, in order.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn containers(&self) -> io::Result<Vec<ContainerId>> {
        let names = fs::read_dir(&self.root)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let mut containers: Vec<ContainerId> = names
            .filter_map(|name| ContainerId::new(name).ok())
            .collect();
        containers.sort();
        Ok(containers)
    }

    /// Kills and removes every control group of this agent that belongs to no directory. Blocks.
    /// Returns the names.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn remove_orphaned_groups(&self) -> io::Result<Vec<String>> {
        let known = self
            .containers()?
            .iter()
            .map(|container| container.as_str().to_owned())
            .collect();
        let mut removed = Vec::new();
        for (container, plan) in self.cgroups.orphans(&known) {
            // Of these nobody knows whether all of their processes are in each group.
            let left = cgroups::kill_each(&plan);
            match cgroups::remove(&plan) {
                Ok(()) => removed.push(container),
                Err(error) => {
                    tracing::warn!(container, left, error = %error, "leftover control group cannot be removed");
                }
            }
        }
        Ok(removed)
    }

    /// Ends commands inside a task whose agent has died, as far as their own shims have not: stopped ones do not, nor killed
    /// ones; those inside a container of an engine have none. How many there were. Blocks.
    pub(crate) fn end_sessions(&self, container: &ContainerId) -> usize {
        let dir = self.task_dir(container);
        match dir.docker().exists() {
            true => docker::end_all(&dir),
            false => cgroups::end_sessions(&shims::plan_of(&dir)),
        }
    }

    /// Notes what a container may use from now on, be it that it is yet to start.
    pub fn note_width(&self, container: &ContainerId, limits: cgroups::Limits) {
        self.cgroups.note_width(container.as_str(), limits);
    }

    /// Lets what runs in a container use what was noted last. Blocks.
    ///
    /// # Errors
    /// [`CgroupError`](cgroups::CgroupError) names the file.
    pub fn widen(&self, container: &ContainerId) -> Result<(), cgroups::CgroupError> {
        self.cgroups.widen(container.as_str())
    }

    /// Removes the groups above those of the tasks, once there are no tasks.
    pub fn tear_down(&self) {
        self.cgroups.tear_down();
    }

    /// Everything up to the shim, and the shim. Blocks.
    fn begin(&self, task: Start) -> Result<Begun, StartError> {
        let dir = self.prepare(task)?;
        Ok(Begun::of(&self.shim, dir)?)
    }

    /// Everything up to the shim: directory, groups, launch.json. Blocks.
    fn prepare(&self, task: Start) -> Result<TaskDir, StartError> {
        let dir = self.task_dir(&task.container);
        let sandbox = task.sandbox.to_str().filter(|_| task.sandbox.is_absolute());
        let sandbox = sandbox.ok_or_else(|| {
            StartError::Unusable("the sandbox has no absolute UTF-8 path".to_owned())
        })?;
        if task.around.is_some() {
            permissions::check_command(&task.command, &self.permissions)?;
        }
        make_dir(dir.path()).map_err(|error| full_or("making the task directory", error))?;
        let (name, limits) = (task.container.as_str(), task.limits);
        let cgroups = match &task.around {
            Some(around) if around.spec.isolation.privileged => {
                self.cgroups.create(name, limits)?
            }
            Some(around) => self.cgroups.create_around(name, limits, &around.devices)?,
            None => self.cgroups.create(name, limits)?,
        };
        let mut environment = task.environment;
        let container = match &task.around {
            Some(around) => {
                let joined = match &around.shared {
                    Some(shared) => shared.joined.clone(),
                    None => {
                        let network = &around.spec.network;
                        self.networks.join(&dir, &task.container, network)?
                    }
                };
                let address = joined.as_ref().and_then(|joined| joined.address);
                environment.extend(address.map(|ip| (CONTAINER_IP.to_owned(), ip.to_string())));
                let (id, joined) = (&task.container, joined.as_ref());
                Some(
                    oci::prepare(&dir, id, sandbox, around, joined, &self.permissions)
                        .map_err(not_built)?,
                )
            }
            None => None,
        };
        let launch = Launch {
            version: FORMAT_VERSION,
            command: task.command,
            environment,
            sandbox: sandbox.to_owned(),
            user: task.user,
            cgroups,
            output: task.output,
            terminal: task.terminal,
            container,
        };
        let bytes = launch.encode();
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let text = format!(
                "command and environment take {} bytes, {MAX_FILE_BYTES} are allowed",
                bytes.len()
            );
            return Err(StartError::Unusable(text));
        }
        write_bytes_aside(&dir, LAUNCH_FILE, &bytes)
            .map_err(|error| full_or("writing launch.json", error))?;
        Ok(dir)
    }

    /// Kills and removes whatever there is of a container. Blocks.
    fn remove(&self, container: &ContainerId) -> Result<(), EndError> {
        let dir = self.task_dir(container);
        let mut plan = shims::plan_of(&dir);
        if plan.is_empty() {
            // Its groups may have been made, and launch.json never written.
            plan = self.cgroups.plan_for(container.as_str());
        }
        if dir.path().exists() {
            let left = shims::kill_remains(&dir);
            if left > 0 {
                return Err(EndError::Undead { left });
            }
        }
        cgroups::kill(&plan);
        cgroups::remove(&plan)?;
        self.cgroups.forget_width(container.as_str());
        self.networks.leave(&dir, container)?;
        sandbox::remove_tree(dir.path()).map_err(EndError::Directory)
    }
}

impl Containerizer for ProcessContainerizer {
    fn start(&self, task: Start) -> BoxFuture<'static, Result<Shim, StartError>> {
        let this = self.clone();
        async move {
            let container = task.container.clone();
            let beginning = this.clone();
            let started = match blocking(move || beginning.begin(task)).await {
                Ok(begun) => begun.running().await.map_err(StartError::from),
                Err(error) => Err(error),
            };
            if started.is_err() {
                // What the caller wants to know is why it did not start.
                let removed = blocking(move || this.remove(&container).map_err(|error| (container, error))).await;
                if let Err((container, error)) = removed {
                    tracing::warn!(%container, error = %error, "leftovers of a failed start cannot be removed");
                }
            }
            started
        }
        .boxed()
    }

    fn find(&self, container: ContainerId) -> BoxFuture<'static, io::Result<Found>> {
        let this = self.clone();
        blocking(move || shims::find(&this.task_dir(&container), &this.boot_id)).boxed()
    }

    fn kill(
        &self,
        container: ContainerId,
        signal: KillSignal,
    ) -> BoxFuture<'static, Result<(), EndError>> {
        let dir = self.task_dir(&container);
        blocking(move || match signal {
            KillSignal::Terminate => {
                shims::signal(&dir, shims::stop_signal_of(&dir));
                Ok(())
            }
            KillSignal::Kill => match shims::kill_remains(&dir) {
                0 => {
                    if shims::end_stuck_shim(&dir) {
                        tracing::warn!(%container, "shim outlived its task and is killed");
                    }
                    Ok(())
                }
                left => Err(EndError::Undead { left }),
            },
        })
        .boxed()
    }

    fn usage(&self, container: ContainerId) -> BoxFuture<'static, Usage> {
        let dir = self.task_dir(&container);
        blocking(move || {
            let plan = shims::plan_of(&dir);
            let counted = match plan.is_empty() {
                true => Usage {
                    pids: Some(shims::members_without_groups(&dir).len() as u64),
                    ..Usage::default()
                },
                false => cgroups::usage(&plan),
            };
            Usage {
                traffic: traffic::of(&dir),
                ..counted
            }
        })
        .boxed()
    }

    fn destroy(&self, container: ContainerId) -> BoxFuture<'static, Result<(), EndError>> {
        let this = self.clone();
        blocking(move || this.remove(&container)).boxed()
    }
}

/// Runs `work` on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends; nobody will ask for what this would have answered.
            Err(_) => std::future::pending().await,
        },
    }
}

pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Writes a file of a task directory so that it is never seen in part.
pub(crate) fn write_aside<F: TaskFile>(dir: &TaskDir, file: &F) -> io::Result<()> {
    write_bytes_aside(dir, F::NAME, &file.encode())
}

fn write_bytes_aside(dir: &TaskDir, name: &str, bytes: &[u8]) -> io::Result<()> {
    let slot = dir.path().join(format!("{name}.new"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&slot)?;
    file.write_all(bytes)?;
    fs::rename(&slot, dir.path().join(name))
}

fn not_built(error: oci::OciError) -> StartError {
    match error.is_disk_full() {
        true => StartError::DiskFull,
        false => StartError::Container(error),
    }
}

/// A full disk is told apart, because the agent refuses launches for it.
pub(crate) fn full_or(what: &str, source: io::Error) -> StartError {
    if sandbox::is_full(&source) {
        return StartError::DiskFull;
    }
    StartError::Directory {
        what: what.to_owned(),
        source,
    }
}
