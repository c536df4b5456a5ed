//! A command that people run inside a container of an engine: begun, signalled, ended with all that it has started.
//!
//! ```text
//! made ─▶ begun: what it reads and says goes through the engine ─▶ its process is known ─▶ it has ended ─▶ its code is known
//!                                                    └─ or why it never ran
//! ```
//! Engines know neither signals for a command nor its end: both are the machine's. So in a container whose processes this agent does not
//! see, or may not signal, none begins.
//! Invariant: one that is dropped is killed, with all that it has started.

use std::path::Path;
use std::time::Duration;

use bollard::models::{ExecConfig, ExecInspectResponse};
use futures::StreamExt as _;
use mete_agent_core::task_dir::session::{Request, Size};
use mete_agent_core::task_dir::{End, EngineContainer, Process, TaskDir};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, test_kill_process};
use tokio::time::{sleep, timeout};

use super::engine::{Engine, EngineError, Output, console};
use super::mark::Mark;
use super::upgrade::Input;
use super::{container, follow, init};
use crate::containerizer::process::blocking;
use crate::{processes, shims};

/// Pause before an engine is asked again. It does not tell when a command begins, which takes some 50 ms.
const PAUSE: Duration = Duration::from_millis(10);

/// How long an engine may take to tell the code of a command that has ended: it looks for 2 s for what is still to be said.
const LAST_WORD: Duration = Duration::from_secs(10);

/// How long a command may take to end once the person has gone: a shell writes its history.
const GRACE: Duration = Duration::from_secs(1);

/// How long a command may take to begin that nobody waits for.
const BEGINNING: Duration = Duration::from_secs(5);

/// How long an engine may take to say why a command does not run.
const REASON: Duration = Duration::from_secs(5);

/// Bytes of that which are told.
const MAX_REASON_BYTES: usize = 500;

/// How engines, and what they run, say that there is no such program.
const NOT_THERE: [&str; 2] = ["executable file not found", "no such file or directory"];

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The engine cannot be asked, or says no.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Nobody could end it.
    #[error(
        "the agent does not see the processes of the task's Docker Engine, so it could not end a command; use docker exec there"
    )]
    OutOfSight,
    /// Nobody could end it.
    #[error(
        "the agent may not signal the processes of the task's container, so it could not end a command: {0}"
    )]
    OutOfReach(Errno),
    /// It never ran, by the word of the engine.
    #[error("{reason}")]
    NotRun {
        /// Its word.
        reason: String,
        /// The program is not there.
        is_missing: bool,
    },
}

/// A command that has begun: itself, what it reads, and what it says.
pub(crate) struct Begun {
    pub(crate) command: Command,
    pub(crate) input: Input,
    pub(crate) output: Output,
}

/// A command inside a container.
pub(crate) struct Command {
    engine: Engine,
    id: String,
    mark: Mark,
    pub(crate) has_terminal: bool,
}

/// Begins a command in the container of a task directory, as the user that the container or the image knows by that name. Takes as
/// long as the engine does: let it go on by itself, and drop what comes of it too late.
///
/// # Errors
/// [`CommandError`]; nothing of it runs then.
pub(crate) async fn begin(
    dir: &TaskDir,
    request: &Request,
    user: Option<&str>,
) -> Result<Begun, CommandError> {
    let known = container::record(dir).map_err(|why| EngineError::Unknown { why })?;
    let first = known.init.ok_or(CommandError::OutOfSight)?;
    reach(first)?;
    let engine = Engine::connect(Path::new(&known.socket)).await?;
    let mark = Mark::new(&known);
    let options = options(request, user, &mark);
    let id = engine.create_exec(&known.id, options).await?;
    let terminal = request.terminal;
    // From here on it is ended, whatever becomes of this.
    let mut command = Command::new(engine, id, mark, terminal.is_some());
    let started = command.engine.start_exec(&command.id, terminal);
    let (input, mut output) = started.await?;
    let leader = match command.seen(&known).await {
        Seen::Runs(leader) => leader,
        Seen::NeverRan => return Err(reason(&mut output).await),
    };
    command.mark.lead_by(leader);
    if let Some(size) = terminal {
        command.resize(size).await;
    }
    Ok(Begun {
        command,
        input,
        output,
    })
}

/// Whether the agent may signal a process.
fn reach(process: Process) -> Result<(), CommandError> {
    let pid = Pid::from_raw(process.pid).ok_or(CommandError::OutOfSight)?;
    match test_kill_process(pid) {
        // One that is gone is for the engine to tell.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(CommandError::OutOfReach(errno)),
    }
}

fn options(request: &Request, user: Option<&str>, mark: &Mark) -> ExecConfig {
    let variables = request.environment.iter();
    let variables = variables.map(|(name, value)| format!("{name}={value}"));
    ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(request.terminal.is_some()),
        console_size: request.terminal.map(console),
        env: Some(variables.chain([mark.variable().to_owned()]).collect()),
        cmd: Some(request.command.clone()),
        user: user.map(str::to_owned),
        ..ExecConfig::default()
    }
}

/// What became of a command that an engine was asked to begin.
enum Seen {
    /// It runs, or did: then without a process.
    Runs(Option<Process>),
    /// What it says is the reason.
    NeverRan,
}

/// Why a command never ran: the engine says it as if the command did.
async fn reason(output: &mut Output) -> CommandError {
    let mut said = Vec::new();
    let reading = async {
        while let Some(piece) = output.next().await {
            let room = MAX_REASON_BYTES.saturating_sub(said.len());
            said.extend(piece.as_ref().iter().take(room));
        }
    };
    let _ = timeout(REASON, reading).await;
    let said = String::from_utf8_lossy(&said);
    let reason = match said.trim() {
        "" => "the Docker Engine does not say why",
        said => said,
    };
    CommandError::NotRun {
        reason: reason.to_owned(),
        is_missing: NOT_THERE.iter().any(|words| reason.contains(words)),
    }
}

impl Command {
    /// One that the engine has made.
    pub(super) const fn new(engine: Engine, id: String, mark: Mark, has_terminal: bool) -> Self {
        Self {
            engine,
            id,
            mark,
            has_terminal,
        }
    }

    /// Kills one for which nobody waits any more, and which may be about to begin.
    pub(super) async fn give_up(mut self, known: &EngineContainer) {
        if let Ok(Seen::Runs(leader)) = timeout(BEGINNING, self.seen(known)).await {
            self.mark.lead_by(leader);
        }
        self.sweep().await;
    }

    /// Waits until the engine knows whether it runs, or its container is over.
    async fn seen(&self, known: &EngineContainer) -> Seen {
        loop {
            match self.engine.exec(&self.id).await {
                Ok(ExecInspectResponse { pid: Some(pid), .. }) if pid > 0 => {
                    return Seen::Runs(init::find(pid, &known.id).map(|(process, _)| process));
                }
                Ok(state) if state.exit_code.is_some() => return Seen::NeverRan,
                Err(error) if error.is_over() => return Seen::NeverRan,
                Ok(_) | Err(_) => {}
            }
            if !known.init.is_some_and(processes::is_running) {
                return Seen::NeverRan;
            }
            sleep(PAUSE).await;
        }
    }

    /// Gives its terminal another size.
    pub(crate) async fn resize(&self, size: Size) {
        // Another size is no reason to end it.
        let _ = self.engine.resize_exec(&self.id, size).await;
    }

    /// Sends a signal to it and its process group.
    pub(crate) async fn signal(&self, signal: Signal) {
        let mark = self.mark.clone();
        blocking(move || mark.signal(signal)).await;
    }

    /// Waits until its first process has ended.
    pub(crate) async fn over(&self) {
        if let Some(leader) = self.mark.leader() {
            shims::end_of(leader).await;
        }
    }

    /// The person has gone: it may end by itself for a moment.
    pub(crate) async fn hang_up(&self) {
        self.signal(Signal::HUP).await;
        self.signal(Signal::CONT).await;
        let _ = timeout(GRACE, self.over()).await;
    }

    /// Kills it, and what it has left behind.
    pub(crate) async fn sweep(&self) {
        let mark = self.mark.clone();
        blocking(move || mark.kill()).await;
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// When the engine does not tell.
    pub(crate) async fn end(&self) -> Result<End, EngineError> {
        let asking = async {
            loop {
                let state = match self.engine.exec(&self.id).await {
                    // Killed with its container, which is removed.
                    Err(error) if error.is_missing() => {
                        let signal = Signal::KILL.as_raw();
                        return Ok(End::Signaled { signal });
                    }
                    state => state?,
                };
                if state.running != Some(true) && state.exit_code.is_some() {
                    return Ok(follow::end(state.exit_code));
                }
                sleep(PAUSE).await;
            }
        };
        let asked = timeout(LAST_WORD, asking).await;
        asked.unwrap_or_else(|_| Err(self.engine.slow()))
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        let left = Left(self.mark.clone());
        // When the runtime ends it does not run this, but drops it.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(left))),
            Err(_) => drop(left),
        }
    }
}

/// What a command may have left behind: killed when this is dropped.
struct Left(Mark);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.kill();
    }
}
