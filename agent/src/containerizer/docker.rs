//! The containerizers of an agent as one: a task goes to its engine, or to the agent's own.
//!
//! Which of them has a task stands in its directory, so a task of before is found whatever the agent has now.

use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use mete_agent_core::task_dir::TaskDir;
use mete_model::ContainerId;

use super::process::{ProcessContainerizer, blocking};
use super::{Containerizer, EndError, KillSignal, Start, StartError, Usage};
use crate::docker::{self, Setup};
use crate::shims::{Found, Shim};

/// Runs tasks as processes, in containers, and in containers of a Docker Engine.
#[derive(Clone, Debug)]
pub struct Containerizers {
    process: Arc<ProcessContainerizer>,
    docker: Option<Arc<Setup>>,
}

impl Containerizers {
    /// With an engine or without.
    pub const fn new(process: Arc<ProcessContainerizer>, docker: Option<Arc<Setup>>) -> Self {
        Self { process, docker }
    }

    /// The directory of a task that an engine has.
    fn engines(&self, container: &ContainerId) -> Option<TaskDir> {
        Some(self.process.task_dir(container)).filter(|dir| dir.docker().exists())
    }

    /// Removes containers of this agent from the engine when none of its directories is theirs.
    ///
    /// # Errors
    /// When the engine, or the directory, does not say which there are.
    pub(crate) async fn remove_strays(
        &self,
    ) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
        let Some(setup) = &self.docker else {
            return Ok(Vec::new());
        };
        // The engine first: a task that begins meanwhile has a directory before it has a container.
        let there = setup.containers().await?;
        let process = Arc::clone(&self.process);
        let known = blocking(move || process.containers()).await?;
        let known: Vec<String> = known.iter().map(ToString::to_string).collect();
        let mut removed = Vec::new();
        for (container, id) in there {
            if !known.contains(&container) {
                setup.remove(&id).await?;
                removed.push(container);
            }
        }
        Ok(removed)
    }
}

impl Containerizer for Containerizers {
    fn start(&self, mut task: Start) -> BoxFuture<'static, Result<Shim, StartError>> {
        let Some(wanted) = task.docker.take() else {
            return self.process.start(task);
        };
        let this = self.clone();
        async move {
            let setup = this.docker.clone().ok_or_else(|| {
                StartError::Unusable("this agent runs nothing on a Docker Engine".to_owned())
            })?;
            let container = task.container.clone();
            let dir = this.process.task_dir(&container);
            let started = docker::start(&setup, this.process.shim(), dir, task, wanted).await;
            if started.is_err()
                && let Err(error) = this.destroy(container.clone()).await
            {
                // What the caller wants to know is why it did not start.
                tracing::warn!(%container, error = %error, "leftovers of a failed start cannot be removed");
            }
            started
        }
        .boxed()
    }

    fn find(&self, container: ContainerId) -> BoxFuture<'static, io::Result<Found>> {
        self.process.find(container)
    }

    fn kill(
        &self,
        container: ContainerId,
        signal: KillSignal,
    ) -> BoxFuture<'static, Result<(), EndError>> {
        match self.engines(&container) {
            Some(dir) => async move { docker::kill(&dir, signal).await }.boxed(),
            None => self.process.kill(container, signal),
        }
    }

    fn usage(&self, container: ContainerId) -> BoxFuture<'static, Usage> {
        match self.engines(&container) {
            Some(dir) => blocking(move || docker::usage(&dir)).boxed(),
            None => self.process.usage(container),
        }
    }

    fn inspect(&self, container: ContainerId) -> BoxFuture<'static, Option<String>> {
        match self.engines(&container) {
            Some(dir) => async move { docker::inspect(&dir).await }.boxed(),
            None => std::future::ready(None).boxed(),
        }
    }

    fn destroy(&self, container: ContainerId) -> BoxFuture<'static, Result<(), EndError>> {
        let Some(dir) = self.engines(&container) else {
            return self.process.destroy(container);
        };
        let process = Arc::clone(&self.process);
        async move {
            docker::destroy(&dir).await?;
            process.destroy(container).await
        }
        .boxed()
    }
}
