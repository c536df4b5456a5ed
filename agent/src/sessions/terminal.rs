//! The terminal of a task's own program: what is typed there. What the program says to it is kept as its standard output.
//!
//! The shim holds the terminal under a number that is known ([`TERMINAL_DESCRIPTOR`]); a copy of it is taken, so that nothing
//! needs to be remembered, and an agent that is started again finds it as well. That of a container of a Docker Engine is
//! held by the engine.

use std::io;
use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::session::{Size, TERMINAL_DESCRIPTOR};
use mete_agent_core::task_dir::{Launch, PidFile, TaskDir};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::stream::Stream;
use super::{END_OF_INPUT, Said, SessionError, resize};
use crate::docker::Keyboard;
use crate::{processes, shims};

/// Where a task's program reads.
pub(super) enum Terminal {
    /// The shim's.
    Own(Stream),
    /// An engine's.
    Engines(Keyboard),
}

impl Terminal {
    /// Of the task of a directory; `None`: it has none, or does not run.
    ///
    /// # Errors
    /// When the shim may not be looked into, or the engine does not let anybody type.
    pub(super) async fn of(dir: &TaskDir) -> Result<Option<Self>, SessionError> {
        if dir.docker().exists() {
            return Ok(Keyboard::of(dir).await?.map(Self::Engines));
        }
        let dir = dir.clone();
        let found = spawn_blocking(move || of_shim(&dir)).await;
        let found = found.map_err(|error| SessionError::Spawn(io::Error::other(error)))?;
        let stream = found.and_then(|found| found.map(Stream::new).transpose());
        Ok(stream.map_err(SessionError::Terminal)?.map(Self::Own))
    }

    /// Types what is said, until the program has ended or nobody says anything any more, which leaves it as it is.
    pub(super) async fn type_in(mut self, mut said: mpsc::Receiver<Said>) {
        while let Some(word) = said.recv().await {
            let typed = match word {
                Said::Stdin(bytes) => self.write_all(&bytes).await,
                Said::StdinEnd => self.write_all(END_OF_INPUT).await,
                Said::Resize(size) => {
                    self.resize(size).await;
                    Ok(())
                }
                Said::Signal(_) => Ok(()), // Tasks are sent signals without a terminal, too.
            };
            if typed.is_err() {
                return;
            }
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Own(stream) => stream.write_all(bytes).await,
            Self::Engines(keyboard) => keyboard.write_all(bytes).await,
        }
    }

    async fn resize(&mut self, size: Size) {
        match self {
            Self::Own(stream) => resize(stream, size),
            Self::Engines(keyboard) => keyboard.resize(size).await,
        }
    }
}

/// A copy of the outer end of the terminal that a shim holds; `None`: there is none. Blocks for a moment.
fn of_shim(dir: &TaskDir) -> io::Result<Option<OwnedFd>> {
    let launch: Launch = shims::read_file(&dir.launch()).map_err(io::Error::other)?;
    let pid: PidFile = shims::read_file(&dir.pid()).map_err(io::Error::other)?;
    let shim = pid.runner.filter(|_| launch.terminal.is_some());
    let Some(shim) = shim.and_then(|runner| processes::open(runner.shim)) else {
        return Ok(None);
    };
    let copy = pidfd_getfd(&shim, TERMINAL_DESCRIPTOR, PidfdGetfdFlags::empty());
    Ok(Some(copy?))
}
