//! One command inside the task: in its sandbox, with its environment, user and control groups.
//!
//! A shim enters the task and becomes the command, so the agent itself is never forked. When its
//! time is over the command and its process group are killed; were the agent to die first, the
//! kernel ends the command a moment later.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{CommandSpec, Program};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::runtime::Handle;

use super::{Target, no_answer};
use crate::shims::{self, Executable};

/// Bytes of standard error that go into the sentence; the rest is read and forgotten.
const MAX_SAID_BYTES: usize = 200;

/// How long the last words may take after the command's end; a background process may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// The shim's code for "the command never ran".
const CANNOT_RUN: i32 = 125;

/// Runs the command; exit code 0 passes.
pub(super) async fn run(
    shim: Arc<Executable>,
    spec: &CommandSpec,
    target: &Target,
    timeout: Duration,
) -> Result<(), String> {
    let (status, said) = end(shim, spec, target, timeout).await?;
    judge(status, &said)
}

/// Runs the command; its exit code, when it has one.
pub(super) async fn exit_code(
    shim: Arc<Executable>,
    spec: &CommandSpec,
    target: &Target,
    timeout: Duration,
) -> Option<i32> {
    let ended = end(shim, spec, target, timeout).await;
    let code = ended.ok().and_then(|(status, _)| status.code());
    code.filter(|code| *code != CANNOT_RUN)
}

/// How it ended, and what it said.
async fn end(
    shim: Arc<Executable>,
    spec: &CommandSpec,
    target: &Target,
    timeout: Duration,
) -> Result<(ExitStatus, Vec<u8>), String> {
    let command = command(&shim, spec, target, timeout);
    // Starting a process blocks until it has executed its program.
    let spawned = tokio::task::spawn_blocking(move || Running::spawn(command)).await;
    let spawned = spawned
        .map_err(std::io::Error::other)
        .and_then(|spawned| spawned);
    let (mut running, mut stderr) =
        spawned.map_err(|error| format!("the command cannot be started: {error}"))?;
    let mut said = Vec::new();
    let ended = tokio::time::timeout(timeout, running.ended(&mut stderr, &mut said)).await;
    let ended = ended.map_err(|_| no_answer(timeout))?;
    let status = ended.and_then(|()| running.finish());
    match status {
        Ok(status) => Ok((status, said)),
        Err(error) => Err(format!("the command cannot be watched: {error}")),
    }
}

/// The command's process. Killed when this is dropped; nobody waits until it has died of that, which in a group without CPU
/// time, or on a disk that hangs, takes its time.
struct Running {
    child: Option<Child>,
    group: Option<Pid>,
}

impl Running {
    fn spawn(mut command: Command) -> std::io::Result<(Self, Option<OwnedFd>)> {
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().map(OwnedFd::from);
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let child = Some(child);
        Ok((Self { child, group }, stderr))
    }

    /// Waits for the end, and keeps the beginning of what is said meanwhile. The process is not
    /// collected, so that its number stays its own.
    async fn ended(
        &mut self,
        stderr: &mut Option<OwnedFd>,
        said: &mut Vec<u8>,
    ) -> std::io::Result<()> {
        let child = self.child.as_ref().ok_or_else(gone)?;
        let pidfd = shims::watch_child(child)?;
        let mut stderr = stderr
            .take()
            .map(pipe::Receiver::from_owned_fd)
            .transpose()?;
        tokio::select! {
            ended = pidfd.readable() => drop(ended?),
            () = listen(&mut stderr, said) => drop(pidfd.readable().await?),
        }
        let _ = tokio::time::timeout(LAST_WORDS, listen(&mut stderr, said)).await;
        Ok(())
    }

    /// Kills what is left of the command, which has ended, and collects it.
    fn finish(&mut self) -> std::io::Result<ExitStatus> {
        self.kill();
        self.child.take().ok_or_else(gone)?.wait()
    }

    fn kill(&mut self) {
        let Some(child) = &mut self.child else { return };
        // The number is that of our own child until we have waited for it.
        if let Some(group) = self.group.take() {
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Both: the shim may not have got as far as to lead a group of its own.
        let _ = child.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // Outside of a runtime the process ends anyway.
        if let (Some(child), Ok(runtime)) = (self.child.take(), Handle::try_current()) {
            runtime.spawn(collect(child));
        }
    }
}

/// Collects a process once it has died.
async fn collect(mut child: Child) {
    if let Ok(ended) = shims::watch_child(&child)
        && ended.readable().await.is_ok()
    {
        let _ = child.wait();
    }
}

fn gone() -> std::io::Error {
    std::io::Error::other("it was collected before")
}

fn command(shim: &Executable, spec: &CommandSpec, target: &Target, timeout: Duration) -> Command {
    let mut command = shim.command();
    // One second more, so that it is the agent that ends it as long as there is one.
    let seconds = timeout.as_secs().saturating_add(2).min(u64::from(u32::MAX));
    command
        .arg("--check")
        .arg(target.dir.path())
        .arg(seconds.to_string());
    match &spec.program {
        Program::Shell(text) => command.args(["/bin/sh", "sh", "-c", text]),
        Program::Exec { path, argv } if argv.is_empty() => command.args([path, path]),
        Program::Exec { path, argv } => command.arg(path).args(argv),
        // Refused where checks come in; were it here, the check would fail with these words.
        Program::Image { arguments } => command.arg("(the image's own program)").args(arguments),
    };
    command
        .envs(&spec.environment)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Reads until the end of the stream.
async fn listen(stderr: &mut Option<pipe::Receiver>, said: &mut Vec<u8>) {
    let Some(open) = stderr else { return };
    let mut buffer = [0; 1_024];
    while let Ok(count @ 1..) = open.read(&mut buffer).await {
        let room = MAX_SAID_BYTES.saturating_sub(said.len()).min(count);
        said.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    *stderr = None;
}

fn judge(status: ExitStatus, said: &[u8]) -> Result<(), String> {
    let said = String::from_utf8_lossy(said);
    let said = match said.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    };
    match status.code() {
        Some(0) => Ok(()),
        Some(CANNOT_RUN) => Err(format!("the command could not be run{said}")),
        Some(code) => Err(format!("the command exited with code {code}{said}")),
        None => Err(format!("the command was ended by {status}{said}")),
    }
}
