//! What people may ask of a task while they watch it, whichever way they come: a command inside it, what it prints.
//!
//! Invariants: so many at a time; each ends when nobody hears any more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use mete_agent_core::Node;
use mete_agent_core::task_dir::End;
use mete_agent_core::task_dir::session::Request;
use mete_daemon::auth::Principal;
use mete_daemon::event_loop::Handle;
use mete_model::{ContainerId, TaskId, TaskKey};
use rustix::process::Signal;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tracing::info;

use crate::containerizer::process::ProcessContainerizer;
use crate::containerizer::{Containerizer as _, EndError, Found, users};
use crate::docker;
use crate::named::{self, NameError, Run};
use crate::output::{Followed, Piece, Told, WAITING_PIECES, Wanted};
use crate::places::Places;
use crate::sessions::{Heard, Said, Session, SessionError, Sessions, WAITING_PARTS};
use crate::shims;

/// Followers of output at once: each holds some descriptors and one of the 128 watchers that a user may have.
const MAX_FOLLOWERS: usize = 100;

/// Why somebody is sent away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// It is not known which task is meant.
    #[error(transparent)]
    Name(#[from] NameError),
    /// What is asked for makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// There are enough.
    #[error("{MAX_FOLLOWERS} follow what tasks of this agent print; more are not let in")]
    TooManyFollowers,
    /// The command does not run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// It reads nothing, so nothing can be typed.
    #[error("task {0} has no terminal: its container.tty_info (tty of an app) asks for none")]
    NoTerminal(TaskId),
    /// A signal does not reach its task.
    #[error("the signal does not reach the task: {}", mete_daemon::chain(.0))]
    Signal(#[from] EndError),
}

/// What a task prints, as long as somebody reads it.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = Piece> + Send>>;

/// Where they ask.
pub(crate) struct TaskDesk {
    handle: Handle<Node>,
    places: Places,
    containerizer: Arc<ProcessContainerizer>,
    sessions: Sessions,
    followers: Arc<Semaphore>,
}

impl TaskDesk {
    pub(crate) fn new(
        handle: Handle<Node>,
        places: Places,
        containerizer: Arc<ProcessContainerizer>,
    ) -> Self {
        let sessions = Sessions::new(containerizer.shim());
        Self {
            handle,
            places,
            containerizer,
            sessions,
            followers: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
        }
    }

    /// Runs a command in a running task. Who did it is in the log; what it was given is not, beyond the program: it may
    /// be secret.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn exec(
        &self,
        task: &str,
        framework: Option<&str>,
        request: &Request,
        principal: Option<&Principal>,
    ) -> Result<Session, DeskError> {
        let task = named::running(&self.handle.view(), task, framework)?;
        self.run((&task.key, &task.container), request, None, principal)
            .await
    }

    /// The same in what runs in a container: a task, or an executor of its framework's own; as that one's user, or as another.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn exec_in(
        &self,
        container: &str,
        mut request: Request,
        user: Option<&str>,
        principal: Option<&Principal>,
    ) -> Result<Session, DeskError> {
        let run = named::running_in(&self.handle.view(), container)?;
        let dir = self.containerizer.task_dir(&run.container);
        // Names are those of the image, to an engine.
        if let Some(name) = user.filter(|_| !dir.docker().exists()) {
            let name = name.to_owned();
            let found = spawn_blocking(move || users::for_session(&dir, &name)).await;
            let found = found.unwrap_or_else(|error| Err(io::Error::other(error).into()));
            request.user = found.map_err(|error| DeskError::BadRequest(error.to_string()))?;
        }
        self.run((&run.key, &run.container), &request, user, principal)
            .await
    }

    async fn run(
        &self,
        (key, container): (&TaskKey, &ContainerId),
        request: &Request,
        user: Option<&str>,
        principal: Option<&Principal>,
    ) -> Result<Session, DeskError> {
        let program = request.command.first().filter(|word| !word.is_empty());
        let program = program.ok_or_else(|| DeskError::BadRequest("no command is given".into()))?;
        let odd = |name: &&String| name.is_empty() || name.contains('=');
        if let Some(name) = request.environment.keys().find(odd) {
            let words = format!("{name:?} cannot be the name of a variable");
            return Err(DeskError::BadRequest(words));
        }
        let dir = self.containerizer.task_dir(container);
        let session = self.sessions.start(&dir, request, user).await?;
        info!(
            task = %key.task,
            framework = %key.framework,
            %container,
            program,
            principal = principal.map(|who| &*who.name),
            terminal = request.terminal.is_some(),
            "command runs inside a task"
        );
        Ok(session)
    }

    /// Sends a signal to all processes of what runs in a container; to the first alone in one of a Docker Engine.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn signal_in(
        &self,
        container: &str,
        signal: i32,
        principal: Option<&Principal>,
    ) -> Result<(), DeskError> {
        let run = named::running_in(&self.handle.view(), container)?;
        let number = Signal::from_named_raw(signal);
        let number = number.ok_or_else(|| {
            let words = format!("signal {signal} is not possible: there is none of this number");
            DeskError::BadRequest(words)
        })?;
        let dir = self.containerizer.task_dir(&run.container);
        info!(
            task = %run.key.task,
            framework = %run.key.framework,
            container = %run.container,
            signal,
            principal = principal.map(|who| &*who.name),
            "container is sent a signal"
        );
        if dir.docker().exists() {
            return Ok(docker::signal(&dir, number).await?);
        }
        let signalled = spawn_blocking(move || match number {
            Signal::KILL => drop(shims::kill_remains(&dir)),
            number => shims::signal(&dir, number),
        });
        let _ = signalled.await;
        Ok(())
    }

    /// The container of a running task.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) fn container_of(
        &self,
        task: &str,
        framework: Option<&str>,
    ) -> Result<ContainerId, DeskError> {
        let task = named::running(&self.handle.view(), task, framework)?;
        Ok(task.container.clone())
    }

    /// Where to say what is typed into the terminal of what runs in a container.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn type_in(
        &self,
        container: &str,
        principal: Option<&Principal>,
    ) -> Result<mpsc::Sender<Said>, DeskError> {
        let run = named::running_in(&self.handle.view(), container)?;
        let dir = self.containerizer.task_dir(&run.container);
        let said = self.sessions.type_into(&dir).await?;
        let said = said.ok_or_else(|| DeskError::NoTerminal(run.key.task.clone()))?;
        info!(
            task = %run.key.task,
            framework = %run.key.framework,
            container = %run.container,
            principal = principal.map(|who| &*who.name),
            "somebody types into the terminal of a task"
        );
        Ok(said)
    }

    /// How what runs in a container ends, once it has; `None`: nobody knows.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn end_in(&self, container: &str) -> Result<Option<End>, DeskError> {
        let run = named::running_in(&self.handle.view(), container)?;
        let found = self.containerizer.find(run.container).await;
        Ok(match found {
            Ok(Found::Running(shim)) => shim.ended().await.map(|exit| exit.end),
            Ok(Found::Ended(exit)) => Some(exit.end),
            Ok(Found::NeverStarted | Found::Vanished) | Err(_) => None,
        })
    }

    /// Passes on what is said to a command; what is heard of it comes back. When that is dropped the session ends.
    pub(crate) fn converse(
        &self,
        session: Session,
        said: impl Stream<Item = Said> + Send + 'static,
    ) -> ReceiverStream<Heard> {
        let (heard, hears) = mpsc::channel(WAITING_PARTS);
        tokio::spawn(session.converse(said, heard));
        ReceiverStream::new(hears)
    }

    /// What a task prints: its newest run, or the one in `container`; and which that is.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn follow(
        &self,
        (task, framework, container): (&str, Option<&str>, Option<&str>),
        wanted: Wanted,
    ) -> Result<(ContainerId, ReceiverStream<Told>), DeskError> {
        let run = named::newest_run(&self.handle.view(), task, framework, container)?;
        let container = run.container.clone();
        Ok((container, self.told(run, wanted).await?))
    }

    /// The same of what runs in a container.
    ///
    /// # Errors
    /// [`DeskError`].
    pub(crate) async fn follow_in(
        &self,
        container: &str,
        wanted: Wanted,
    ) -> Result<Pieces, DeskError> {
        let run = named::running_in(&self.handle.view(), container)?;
        let told = self.told(run, wanted).await?;
        Ok(Box::pin(told.filter_map(async |told| told.piece)))
    }

    async fn told(&self, run: Run, wanted: Wanted) -> Result<ReceiverStream<Told>, DeskError> {
        if !wanted.stdout && !wanted.stderr {
            let words = "neither standard output nor standard error is wanted";
            return Err(DeskError::BadRequest(words.into()));
        }
        let turn = Arc::clone(&self.followers).try_acquire_owned();
        let turn = turn.map_err(|_| DeskError::TooManyFollowers)?;
        let within = run.within.as_ref();
        let place = self
            .places
            .sandbox_within(&run.agent, &run.key, &run.container, within);
        let handle = self.handle.clone();
        let running = move || named::goes_on(&handle.view(), &run);
        let (pieces, waiting) = mpsc::channel(WAITING_PIECES);
        let followed = Followed::begin(place, wanted).await;
        tokio::spawn(async move {
            followed.tell(running, pieces).await;
            drop(turn);
        });
        Ok(ReceiverStream::new(waiting))
    }
}
