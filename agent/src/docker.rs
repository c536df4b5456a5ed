//! Tasks in containers that a Docker Engine makes: the containerizer `docker`.
//!
//! ```text
//! agent ── create ──▶ engine        docker.json says which container it is
//!   └─ shim ─ follower ── attach, start, wait ──▶ engine
//!        └── output, rotated       └── told.json: how it ended
//! ```
//!
//! The shim and its follower live as long as the container, whatever becomes of the agent; so output, end and adoption
//! are those of every other task. What the agent must never wait for is the engine: each call has a time limit, and the
//! container's first process is known, so that it can be killed without the engine's help.

mod ask; // what the engine is asked for: from a task to a container
pub(crate) mod check; // health checks by command, inside
mod command; // what people run inside
mod container; // the life of one container
mod engine; // calls with a time limit
pub mod follow; // the follower, a program of its own
mod init; // the first process of a container
mod keyboard; // what is typed into a terminal
mod mark; // what a command has started
pub(crate) mod presence; // whether the engine answers
mod pull; // images, with progress
mod upgrade; // connections that become a program's

use std::path::PathBuf;

use mete_model::ContainerSpec;
use mete_model::container::Program;

use crate::containerizer::image::Tell;
use crate::containerizer::permissions::Permissions;
use crate::containerizer::volume_mount::VolumeMount;
use crate::devices::Node;
pub(crate) use ask::is_for_engine;
pub(crate) use command::{Begun, Command, CommandError, begin};
pub(crate) use container::{destroy, inspect, kill, signal, start, usage};
pub use engine::{Engine, EngineError};
pub(crate) use init::of as init_of;
pub(crate) use keyboard::Keyboard;
pub(crate) use mark::end_all;
use mete_model::container::{Pull, SecretValue};

/// The label that names the agent of a container.
const AGENT_LABEL: &str = "mete.agent";

/// The label that names the container as Mete does.
const CONTAINER_LABEL: &str = "mete.container";

/// What an agent makes containers with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The engine's socket.
    pub socket: PathBuf,
    /// Names the agent; no other agent has the same.
    pub scope: String,
    /// What containers may do here.
    pub permissions: Permissions,
    /// Caps the CPU time of a task at what it asked for.
    pub cpu_quota: bool,
    /// Processes and threads that a task may have.
    pub max_pids: u64,
    /// Logins for registries: a Docker `config.json`. The engine has none of its own.
    pub logins: Option<PathBuf>,
}

/// What a task wants of the engine, besides what every task wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The container.
    pub spec: ContainerSpec,
    /// The device nodes of the GPUs that the task was given.
    pub devices: Vec<Node>,
    /// Persistent volumes of the task.
    pub volumes: Vec<VolumeMount>,
    /// Where its secrets lie, each under the number of the mount that shows it; `None`: it has none.
    pub secrets: Option<PathBuf>,
    /// What runs in it; the image may say.
    pub program: Program,
    /// Whom to run as, as the engine takes it; `None`: whom the image says.
    pub user: Option<String>,
}

impl Setup {
    /// Has the engine bring an image, by a login of the task's own if it has one: a Docker `config.json`; `tell` hears how far
    /// it is.
    ///
    /// # Errors
    /// A sentence that names the image.
    pub(crate) async fn pull(
        &self,
        reference: &str,
        pull: Pull,
        own: Option<SecretValue>,
        tell: &Tell,
    ) -> Result<(), String> {
        pull::pull(self, reference, pull, own, tell).await
    }

    /// Every container of this agent: what Mete calls it, and the engine.
    ///
    /// # Errors
    /// When the engine does not say which there are.
    pub(crate) async fn containers(&self) -> Result<Vec<(String, String)>, EngineError> {
        let engine = Engine::connect(&self.socket).await?;
        let all = engine.labelled(AGENT_LABEL, &self.scope).await?;
        let named = all.into_iter().map(|(id, mut labels)| {
            let container = labels.remove(CONTAINER_LABEL).unwrap_or_default();
            (container, id)
        });
        Ok(named.collect())
    }

    /// Removes a container, by the engine's name.
    ///
    /// # Errors
    /// When the engine does not.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        Engine::connect(&self.socket).await?.remove(id).await
    }
}
