//! A session inside a container of a Docker Engine, which passes on what is typed and said.

use std::pin::pin;

use bollard::container::LogOutput;
use futures::{Stream as Saying, StreamExt as _};
use mete_agent_core::task_dir::TaskDir;
use mete_agent_core::task_dir::session::Request;
use rustix::process::Signal;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{END_OF_INPUT, Heard, LAST_WORDS, START_TIMEOUT, Said, SessionError};
use crate::docker::{self, Begun, Command, CommandError};

/// ENOENT.
const NO_ENTRY: i32 = 2;

/// A command inside a container of an engine.
pub(crate) struct Inside {
    begun: Begun,
    _place: OwnedSemaphorePermit,
}

impl Inside {
    /// Has the engine begin the command. One that begins too late, or for nobody any more, is killed; until then it has its place.
    pub(super) async fn start(
        dir: &TaskDir,
        request: &Request,
        user: Option<&str>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, SessionError> {
        let (dir, request, user) = (dir.clone(), request.clone(), user.map(str::to_owned));
        let beginning = tokio::spawn(async move {
            let begun = docker::begin(&dir, &request, user.as_deref()).await?;
            Ok(Self {
                begun,
                _place: place,
            })
        });
        let begun = timeout(START_TIMEOUT, beginning).await;
        let begun = begun.map_err(|_| SessionError::Slow)?;
        begun.map_err(|_| SessionError::Lost)?.map_err(error)
    }

    /// As [`Session::converse`](super::Session::converse).
    pub(super) async fn converse(self, said: impl Saying<Item = Said>, heard: mpsc::Sender<Heard>) {
        let Self {
            begun:
                Begun {
                    command,
                    input,
                    output,
                },
            _place,
        } = self;
        let ended = CancellationToken::new();
        let mut outputs = pin!(pump(output, heard.clone(), ended.clone()));
        let mut input = pin!(feed(said, input, &command));
        let (mut fed, mut silent) = (false, false);
        let mut over = pin!(command.over());
        loop {
            tokio::select! {
                biased;
                () = heard.closed() => return command.hang_up().await,
                () = &mut over => break,
                () = &mut outputs, if !silent => silent = true,
                () = &mut input, if !fed => fed = true,
            }
        }
        // What it has left behind would keep its output open.
        command.sweep().await;
        ended.cancel();
        if !silent {
            tokio::select! {
                () = heard.closed() => return,
                () = &mut outputs => {}
            }
        }
        match command.end().await {
            Ok(end) => drop(heard.send(Heard::Ended(end)).await),
            Err(error) => warn!(%error, "nobody says how a command inside a task has ended"),
        }
    }
}

fn error(error: CommandError) -> SessionError {
    let reason = error.to_string();
    let errno = match error {
        CommandError::Engine(error) => return error.into(),
        CommandError::OutOfSight => None,
        CommandError::OutOfReach(errno) => Some(errno.raw_os_error()),
        CommandError::NotRun { is_missing, .. } => is_missing.then_some(NO_ENTRY),
    };
    SessionError::NotStarted { reason, errno }
}

/// Moves output until it ends, or, after the command's end, is silent.
async fn pump(
    output: impl Saying<Item = LogOutput>,
    heard: mpsc::Sender<Heard>,
    ended: CancellationToken,
) {
    let mut output = pin!(output);
    loop {
        let too_late = async {
            ended.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        let piece = tokio::select! {
            biased;
            piece = output.next() => piece,
            () = too_late => None,
        };
        let word = match piece {
            Some(LogOutput::StdErr { message }) => Heard::Stderr(message),
            Some(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                Heard::Stdout(message)
            }
            Some(LogOutput::StdIn { .. }) => continue,
            None => return,
        };
        if heard.send(word).await.is_err() {
            return;
        }
    }
}

/// Carries out what is said, as it is done for others.
async fn feed(said: impl Saying<Item = Said>, input: impl AsyncWrite, command: &Command) {
    let (mut said, mut input) = (pin!(said), pin!(input));
    let mut is_open = true;
    loop {
        match said.next().await {
            Some(Said::Stdin(bytes)) => {
                if is_open {
                    is_open = input.write_all(&bytes).await.is_ok() && input.flush().await.is_ok();
                }
            }
            Some(Said::Resize(size)) => {
                if command.has_terminal {
                    command.resize(size).await;
                }
            }
            Some(Said::Signal(number)) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    command.signal(signal).await;
                }
            }
            end @ (Some(Said::StdinEnd) | None) => {
                if std::mem::take(&mut is_open) {
                    let _ = match command.has_terminal {
                        true => input.write_all(END_OF_INPUT).await,
                        false => input.shutdown().await,
                    };
                }
                if end.is_none() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mete_agent_core::task_dir::{CgroupPlan, EngineContainer, FORMAT_VERSION, TaskFile as _};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn nobody_enters_a_container_whose_processes_are_not_seen_from_here() {
        let place = tempfile::tempdir().unwrap();
        let dir = TaskDir::new(place.path());
        let known = EngineContainer {
            version: FORMAT_VERSION,
            socket: "/nowhere".into(),
            id: "0123456789abcdef".into(),
            stop_signal: "SIGTERM".into(),
            terminal: None,
            init: None,
            cgroups: CgroupPlan::default(),
        };
        std::fs::write(dir.docker(), known.encode()).unwrap();
        let request = Request {
            command: vec!["id".into()],
            environment: std::collections::BTreeMap::new(),
            terminal: None,
            user: None,
        };
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();

        let started = Inside::start(&dir, &request, None, place).await;

        let refused = started.err().map(|error| error.to_string());
        assert!(refused.is_some_and(|why| why.contains("does not see the processes")));
    }
}
