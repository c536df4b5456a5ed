//! The terminal of a task's own program: what is typed there. What the program says to it is kept as its standard output.
//!
//! The shim holds the terminal under a number that is known ([`TERMINAL_DESCRIPTOR`]); a copy of it is taken, so that nothing
//! needs to be remembered, and an agent that is started again finds it as well.

use std::io;
use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::session::TERMINAL_DESCRIPTOR;
use mete_agent_core::task_dir::{Launch, PidFile, TaskDir};
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use tokio::sync::mpsc;

use super::stream::Stream;
use super::{END_OF_INPUT, Said, resize};
use crate::{processes, shims};

/// A copy of the outer end of a task's terminal; `None`: it has none, or does not run. Blocks for a moment.
///
/// # Errors
/// When the shim may not be looked into.
pub(super) fn of_task(dir: &TaskDir) -> io::Result<Option<OwnedFd>> {
    let launch: Launch = shims::read_file(&dir.launch()).map_err(io::Error::other)?;
    let pid: PidFile = shims::read_file(&dir.pid()).map_err(io::Error::other)?;
    let shim = pid.runner.filter(|_| launch.terminal.is_some());
    let Some(shim) = shim.and_then(|runner| processes::open(runner.shim)) else {
        return Ok(None);
    };
    let copy = pidfd_getfd(&shim, TERMINAL_DESCRIPTOR, PidfdGetfdFlags::empty());
    Ok(Some(copy?))
}

/// Types what is said, until the program has ended or nobody says anything any more, which leaves it as it is.
pub(super) async fn type_in(terminal: Stream, mut said: mpsc::Receiver<Said>) {
    while let Some(word) = said.recv().await {
        let typed = match word {
            Said::Stdin(bytes) => terminal.write_all(&bytes).await,
            Said::StdinEnd => terminal.write_all(END_OF_INPUT).await,
            Said::Resize(size) => {
                resize(&terminal, size);
                Ok(())
            }
            Said::Signal(_) => Ok(()), // Tasks are sent signals without a terminal, too.
        };
        if typed.is_err() {
            return;
        }
    }
}
