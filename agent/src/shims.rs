//! The agent's side of the shims: start one, find it again after a restart, learn when it ends.
//!
//! ```text
//! start ─▶ Shim ─ended─▶ exit.json there: Some(Exit)
//!            ▲           not there: the shim was killed; so is its task, and there is no Exit
//! find ──────┘  or Ended · NeverStarted · Vanished
//! ```
//!
//! Invariants: a shim is known by pid, start time and boot, never by pid alone. Its end is an event
//! of its pidfd, nothing is polled. A task directory is claimed before anything runs from it, so a
//! launch that the agent gives up can never begin later.

mod executable; // the program, which nobody can change
mod fork_server; // where shims come from
mod remains; // whatever of a task still runs

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use mete_agent_core::task_dir::{
    End, Exit, FORMAT_VERSION, PidFile, Process, Runner, TaskDir, TaskFile, Told,
};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, waitid};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::unix::pipe;

use crate::processes;
pub use executable::Executable;
pub(crate) use remains::read as read_file;
use remains::read;
pub(crate) use remains::{
    end_stuck_shim, has_running_shim, images_of, members_without_groups, plan_of, sandbox_of,
    stop_signal_of,
};
pub use remains::{kill_remains, signal};

/// How long a shim may take until its task runs. It takes milliseconds; on a machine that swaps it
/// may be seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What a shim says when the program runs.
const RUNNING: &[u8] = b"running\n";

/// Bytes of what a shim complains of that go into an error message.
const COMPLAINT_BYTES: usize = 500;

/// Why a task could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The shim ran and says why the program does not.
    #[error("{}", .0.sentence())]
    NotStarted(Box<Exit>),
    /// There is no shim.
    #[error("the shim could not be started")]
    Spawn(#[source] io::Error),
    /// The shim ended, and these were its words.
    #[error("the shim ended before the task ran: {0}")]
    Lost(String),
    /// The shim runs and says nothing.
    #[error("the task did not run within {} s", START_TIMEOUT.as_secs())]
    Slow,
    /// A file of the task directory is missing or bad.
    #[error("the task directory cannot be used: {0}")]
    Directory(String),
}

/// What a task directory holds after a restart of the agent.
#[derive(Debug)]
pub enum Found {
    /// The task runs.
    Running(Shim),
    /// It ended, and this is how.
    Ended(Exit),
    /// It never ran, and never will.
    NeverStarted,
    /// It ran and is gone, together with its shim; what was left of it has been killed.
    Vanished,
}

/// A running shim, and with it a running task.
#[derive(Debug)]
pub struct Shim {
    runner: Runner,
    dir: TaskDir,
    pidfd: AsyncFd<OwnedFd>,
}

impl Shim {
    /// The two processes.
    pub const fn runner(&self) -> Runner {
        self.runner
    }

    /// Waits until the shim is gone, and with it the task.
    pub(crate) async fn gone(&self) {
        gone(&self.pidfd).await;
    }

    /// Waits until the task has ended. `None`: the shim was killed and nobody saw how the task
    /// ended; what was left of it is dead by now.
    pub async fn ended(self) -> Option<Exit> {
        gone(&self.pidfd).await;
        let Self { runner, dir, .. } = self;
        // Reading is a moment; killing what a killed shim has left may take seconds.
        tokio::task::spawn_blocking(move || exit_of(&dir).or_else(|| exit_after_kill(&dir, runner)))
            .await
            .unwrap_or_default()
    }
}

/// Starts a shim on a directory that holds launch.json, and waits until the task's program runs.
///
/// # Errors
/// [`ShimError`]; no process is left then.
pub async fn start(
    executable: std::sync::Arc<Executable>,
    dir: TaskDir,
) -> Result<Shim, ShimError> {
    let begun = tokio::task::spawn_blocking(move || Begun::of(&executable, dir)).await;
    let begun = begun.map_err(|error| ShimError::Spawn(io::Error::other(error)))?;
    begun?.running().await
}

/// A shim whose task does not run yet.
#[derive(Debug)]
pub(crate) struct Begun {
    dir: TaskDir,
    pidfd: OwnedFd,
    /// What it says.
    said: OwnedFd,
}

impl Begun {
    /// Starts a shim on a directory that holds launch.json. Blocks for a moment.
    ///
    /// # Errors
    /// When there can be none.
    pub(crate) fn of(executable: &Executable, dir: TaskDir) -> Result<Self, ShimError> {
        let (said, words) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|errno| ShimError::Spawn(errno.into()))?;
        let pidfd = executable.shim(dir.path(), words.as_fd());
        let pidfd = pidfd.map_err(ShimError::Spawn)?;
        Ok(Self { dir, pidfd, said })
    }

    /// Waits until the task's program runs.
    ///
    /// # Errors
    /// [`ShimError`]; no process is left then.
    pub(crate) async fn running(self) -> Result<Shim, ShimError> {
        let Self { dir, pidfd, said } = self;
        let pidfd = watch(pidfd).map_err(ShimError::Spawn)?;
        match tokio::time::timeout(START_TIMEOUT, first_words(said)).await {
            Ok(words) if words == RUNNING => {
                let runner = read::<PidFile>(&dir.pid())
                    .and_then(|pid| pid.runner.ok_or_else(|| "pid names nobody".to_owned()));
                let runner = runner.map_err(ShimError::Directory)?;
                Ok(Shim { runner, dir, pidfd })
            }
            Ok(words) => {
                gone(&pidfd).await;
                Err(exit_of(&dir).map_or_else(
                    || ShimError::Lost(complaint(&words)),
                    |exit| ShimError::NotStarted(Box::new(exit)),
                ))
            }
            Err(_) => {
                let _ = rustix::process::pidfd_send_signal(pidfd.get_ref(), Signal::KILL);
                gone(&pidfd).await;
                let _ = tokio::task::spawn_blocking(move || kill_remains(&dir)).await;
                Err(ShimError::Slow)
            }
        }
    }
}

/// The pidfd of a child that nobody has waited for, so that the pid is still its own.
pub(crate) fn pidfd_of(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Readable when the child has ended; it is not collected.
pub(crate) fn watch_child(child: &Child) -> io::Result<AsyncFd<OwnedFd>> {
    watch(pidfd_of(child)?)
}

/// Waits until a process is gone that is no child of ours.
pub(crate) async fn end_of(process: Process) {
    let pidfd = processes::open(process).filter(|_| processes::is_running(process));
    if let Some(Ok(pidfd)) = pidfd.map(watch) {
        let _ = pidfd.readable().await;
    }
}

/// Has the runtime tell when a descriptor is readable.
#[expect(
    deprecated,
    reason = "an OwnedFd never changes its descriptor, so this is sound; what replaces it is unsafe"
)]
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Has the runtime tell when a descriptor is readable or writable.
#[expect(
    deprecated,
    reason = "an OwnedFd never changes its descriptor, so this is sound; what replaces it is unsafe"
)]
pub(crate) fn watch_both_ways(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE | Interest::WRITABLE)
}

/// What the shim says before it is silent for good.
async fn first_words(output: OwnedFd) -> Vec<u8> {
    let mut words = Vec::new();
    if let Ok(pipe) = pipe::Receiver::from_owned_fd(output) {
        let _ = pipe
            .take(COMPLAINT_BYTES as u64)
            .read_to_end(&mut words)
            .await;
    }
    words
}

/// Waits for the end of a process; collects it if it is a child of ours.
async fn gone(pidfd: &AsyncFd<OwnedFd>) {
    loop {
        match waitid(
            WaitId::PidFd(pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(Some(_)) => return,
            // Not a child of this agent: adopted, and collected by the first process of the machine.
            Err(Errno::CHILD) if is_readable(pidfd) => return,
            Ok(None) | Err(_) => {}
        }
        let Ok(mut ready) = pidfd.readable().await else {
            return;
        };
        ready.clear_ready();
    }
}

/// Whether the process has ended, without waiting.
fn is_readable(pidfd: &AsyncFd<OwnedFd>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(
        &mut [PollFd::new(pidfd.get_ref(), PollFlags::IN)],
        Some(&now),
    )
    .is_ok_and(|ready| ready > 0)
}

/// Looks at the directory of a task that an earlier agent started; gives the launch up if nobody
/// has begun it. Blocks while it kills what is left of a task whose shim is gone; call it off the
/// runtime's threads, but inside the runtime.
///
/// # Errors
/// When the directory cannot be read or claimed.
pub fn find(dir: &TaskDir, boot_id: &str) -> io::Result<Found> {
    if let Some(exit) = exit_of(dir) {
        return Ok(Found::Ended(exit));
    }
    if !dir.path().is_dir() || give_up(dir, boot_id)? {
        return Ok(Found::NeverStarted);
    }
    let pid: PidFile = read(&dir.pid()).map_err(io::Error::other)?;
    let Some(runner) = pid.runner else {
        return Ok(Found::NeverStarted);
    };
    if pid.boot_id != boot_id {
        return Ok(Found::Vanished);
    }
    if let Some(pidfd) = processes::open(runner.shim).filter(|_| processes::is_running(runner.shim))
    {
        return Ok(Found::Running(Shim {
            runner,
            dir: dir.clone(),
            pidfd: watch(pidfd)?,
        }));
    }
    // It may have ended between the two looks.
    Ok(exit_of(dir)
        .or_else(|| exit_after_kill(dir, runner))
        .map_or(Found::Vanished, Found::Ended))
}

/// Takes a directory that no shim has claimed, so that none ever will. Whether that was so.
fn give_up(dir: &TaskDir, boot_id: &str) -> io::Result<bool> {
    let slot = dir.path().join("pid.given-up");
    let pid = PidFile {
        version: FORMAT_VERSION,
        boot_id: boot_id.to_owned(),
        runner: None,
    };
    if dir.pid().exists() {
        return Ok(false);
    }
    fs::write(&slot, pid.encode())?;
    let claimed = fs::hard_link(&slot, dir.pid());
    let _ = fs::remove_file(&slot);
    match claimed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// The record of a task's end, if there is a good one.
fn exit_of(dir: &TaskDir) -> Option<Exit> {
    match read(&dir.exit()) {
        Ok(exit) if dir.docker().exists() => told_of(dir, exit),
        Ok(exit) => Some(exit),
        Err(error) => {
            if dir.exit().exists() {
                tracing::warn!(directory = %dir.path().display(), error, "record of a task's end is unreadable");
            }
            None
        }
    }
}

/// How the container of an engine ended, when what ran in the shim was its follower.
fn told_of(dir: &TaskDir, follower: Exit) -> Option<Exit> {
    if matches!(follower.end, End::NotStarted { .. }) {
        return Some(follower);
    }
    match read::<Told>(&dir.told()) {
        Ok(told) => Some(Exit {
            stdout_dropped_bytes: follower.stdout_dropped_bytes,
            stderr_dropped_bytes: follower.stderr_dropped_bytes,
            ..told.exit
        }),
        Err(error) => {
            tracing::warn!(directory = %dir.path().display(), error, "nobody has seen how a container ended");
            None
        }
    }
}

/// After the death of a shim that wrote nothing down: kills its task. Still `None`, unless a last
/// look finds a record after all.
fn exit_after_kill(dir: &TaskDir, runner: Runner) -> Option<Exit> {
    let left = kill_remains(dir);
    tracing::warn!(directory = %dir.path().display(), shim = runner.shim.pid, left, "shim was killed, and its task with it");
    exit_of(dir)
}

/// What a shim has said, for an error message.
fn complaint(words: &[u8]) -> String {
    match String::from_utf8_lossy(words).trim() {
        "" => "it has said nothing".to_owned(),
        text => text.to_owned(),
    }
}
