//! Calls to a Docker Engine over its socket, each with a time limit, each with an error that names the socket.

use std::collections::BTreeMap;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::ResizeExecOptions;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState, ExecConfig, ExecInspectResponse,
    ExecStartConfig,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder,
};
use futures::{Stream, StreamExt as _};
use mete_agent_core::task_dir::session::Size;

use super::upgrade::{self, Input};

/// How long the engine may take for one call: removing a container on a busy disk takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Characters of the engine's words that go into an error.
const MAX_SAID_CHARS: usize = 400;

/// Keys at which an engine lets go of who types: by its own choice ^P and ^Q, which programs of terminals use. It cannot be told
/// that there are none; nobody types NUL so often in a row.
const LET_GO: &str = "ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@,ctrl-@";

/// What the engine answers when it has no such thing.
const NOT_FOUND: u16 = 404;

/// What it answers when a container is in no state for what is asked.
const CONFLICT: u16 = 409;

/// What a container says, until it has ended or the engine has.
pub(super) type Output = Pin<Box<dyn Stream<Item = LogOutput> + Send>>;

/// Why the engine did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody is there, or what is there does not speak as an engine does.
    #[error("the Docker Engine at {socket} cannot be asked")]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// What the client says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is there and says nothing.
    #[error("the Docker Engine at {socket} did not answer within {} s", CALL_TIMEOUT.as_secs())]
    Slow {
        /// Its socket.
        socket: PathBuf,
    },
    /// The task directory does not say which container it is.
    #[error("it is not known which container of the Docker Engine the task has: {why}")]
    Unknown {
        /// Why not.
        why: String,
    },
    /// It says no.
    #[error("the Docker Engine refuses: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
}

impl EngineError {
    /// Whether the container is gone, or does not run, as far as the engine knows.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: NOT_FOUND | CONFLICT,
                ..
            }
        )
    }

    /// Whether there is no such thing.
    pub(crate) const fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: NOT_FOUND,
                ..
            }
        )
    }
}

/// A size as engines take it. Those before version 23 do not look at it.
pub(super) fn console(size: Size) -> Vec<usize> {
    vec![size.rows.into(), size.columns.into()]
}

/// A Docker Engine.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) docker: Docker,
    socket: PathBuf,
}

impl Engine {
    /// Agrees with the engine on a version of its API.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn connect(socket: &Path) -> Result<Self, EngineError> {
        let unreachable = |error: Error| EngineError::Unreachable {
            socket: socket.to_owned(),
            source: error.into(),
        };
        let path = socket.to_string_lossy();
        let seconds = CALL_TIMEOUT.as_secs();
        let docker = Docker::connect_with_unix(&path, seconds, bollard::API_DEFAULT_VERSION)
            .map_err(unreachable)?;
        let agreed = tokio::time::timeout(CALL_TIMEOUT, docker.negotiate_version()).await;
        let slow = |_| EngineError::Slow {
            socket: socket.to_owned(),
        };
        Ok(Self {
            docker: agreed.map_err(slow)?.map_err(unreachable)?,
            socket: socket.to_owned(),
        })
    }

    /// One call.
    pub(super) async fn call<T>(
        &self,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        match tokio::time::timeout(CALL_TIMEOUT, asked).await {
            Ok(answer) => answer.map_err(|error| self.error(error)),
            Err(_) => Err(self.slow()),
        }
    }

    /// It says nothing.
    pub(super) fn slow(&self) -> EngineError {
        EngineError::Slow {
            socket: self.socket.clone(),
        }
    }

    /// What an error of the client means.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of the client's own errors none is told apart"
    )]
    pub(super) fn error(&self, error: Error) -> EngineError {
        let (status, message) = match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => (status_code, message),
            // Said in the middle of an answer that began well.
            Error::DockerStreamError { error } => (200, error),
            error => {
                return EngineError::Unreachable {
                    socket: self.socket.clone(),
                    source: error.into(),
                };
            }
        };
        EngineError::Refused {
            status,
            message: message.chars().take(MAX_SAID_CHARS).collect(),
        }
    }

    /// Its own version, for people.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn version(&self) -> Result<String, EngineError> {
        let version = self.call(self.docker.version()).await?;
        Ok(version.version.unwrap_or_default())
    }

    /// Makes a container; its id.
    pub(super) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = self.call(self.docker.create_container(Some(options), body));
        Ok(made.await?.id)
    }

    /// Its output from now on: that of its terminal, if it has one, or both streams.
    pub(super) async fn attach(&self, id: &str, terminal: bool) -> Result<Output, EngineError> {
        if terminal {
            return self.call(upgrade::attach(self.socket.clone(), id)).await;
        }
        let options = AttachContainerOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .stream(true)
            .build();
        let attached = self.call(self.docker.attach_container(id, Some(options)));
        let pieces = attached.await?.output;
        Ok(Box::pin(pieces.scan((), |(), piece| ready(piece.ok()))))
    }

    /// Where what is typed into its terminal goes.
    pub(super) async fn attach_input(
        &self,
        id: &str,
    ) -> Result<AttachContainerResults, EngineError> {
        let options = AttachContainerOptionsBuilder::new()
            .stdin(true)
            .stream(true)
            .detach_keys(LET_GO)
            .build();
        self.call(self.docker.attach_container(id, Some(options)))
            .await
    }

    /// Makes a command for a container, which does not run yet; its id.
    pub(super) async fn create_exec(
        &self,
        id: &str,
        options: ExecConfig,
    ) -> Result<String, EngineError> {
        let options = ExecConfig {
            detach_keys: Some(LET_GO.to_owned()),
            ..options
        };
        Ok(self.call(self.docker.create_exec(id, options)).await?.id)
    }

    /// Begins one. There is no time limit: an engine that hangs may begin it whenever it goes on, and somebody has to know then.
    pub(super) async fn start_exec(
        &self,
        id: &str,
        terminal: Option<Size>,
    ) -> Result<(Input, Output), EngineError> {
        let options = ExecStartConfig {
            detach: Some(false),
            tty: Some(terminal.is_some()),
            console_size: terminal.map(console),
        };
        let options = serde_json::to_vec(&options).expect("names and numbers");
        let started = upgrade::start(self.socket.clone(), id, options, terminal.is_some());
        started.await.map_err(|error| self.error(error))
    }

    /// How one is.
    pub(super) async fn exec(&self, id: &str) -> Result<ExecInspectResponse, EngineError> {
        self.call(self.docker.inspect_exec(id)).await
    }

    /// Gives the terminal of one another size.
    pub(super) async fn resize_exec(&self, id: &str, size: Size) -> Result<(), EngineError> {
        let options = ResizeExecOptions {
            height: size.rows,
            width: size.columns,
        };
        self.call(self.docker.resize_exec(id, options)).await
    }

    /// Gives its terminal another size.
    pub(super) async fn resize(&self, id: &str, size: Size) -> Result<(), EngineError> {
        let options = ResizeContainerTTYOptionsBuilder::new()
            .h(size.rows.into())
            .w(size.columns.into())
            .build();
        self.call(self.docker.resize_container_tty(id, options))
            .await
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), EngineError> {
        self.call(self.docker.start_container(id, None)).await
    }

    /// How it is.
    pub(super) async fn state(&self, id: &str) -> Result<ContainerState, EngineError> {
        let found = self.call(self.docker.inspect_container(id, None)).await?;
        Ok(found.state.unwrap_or_default())
    }

    /// All that it says of a container. What stands in its environment is nobody's business but the task's.
    pub(super) async fn inspect(&self, id: &str) -> Result<ContainerInspectResponse, EngineError> {
        let mut found = self.call(self.docker.inspect_container(id, None)).await?;
        if let Some(config) = &mut found.config {
            config.env = None;
        }
        Ok(found)
    }

    /// What its image, or its maker, says asks it to end.
    pub(super) async fn stop_signal(&self, id: &str) -> Result<Option<String>, EngineError> {
        let found = self.call(self.docker.inspect_container(id, None)).await?;
        let signal = found.config.and_then(|config| config.stop_signal);
        Ok(signal.filter(|signal| !signal.is_empty()))
    }

    /// Sends a signal to the first process of a container.
    pub(super) async fn kill(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        self.call(self.docker.kill_container(id, Some(options)))
            .await
    }

    /// Kills and removes a container with its volumes; one that is not there, or is just removed, is fine.
    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let removed = self.call(self.docker.remove_container(id, Some(options)));
        match removed.await {
            Err(error) if error.is_over() => Ok(()),
            done => done,
        }
    }

    /// Containers with a label, running or not: ids, and all their labels.
    pub(super) async fn labelled(
        &self,
        label: &str,
        value: &str,
    ) -> Result<Vec<(String, BTreeMap<String, String>)>, EngineError> {
        let filters = [("label", vec![format!("{label}={value}")])].into();
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        let found = self
            .call(self.docker.list_containers(Some(options)))
            .await?;
        let one = |found: bollard::models::ContainerSummary| {
            Some((
                found.id?,
                found.labels.unwrap_or_default().into_iter().collect(),
            ))
        };
        Ok(found.into_iter().filter_map(one).collect())
    }
}
