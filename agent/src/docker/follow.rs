//! The follower: what the shim of a task runs instead of the task, whose processes are children of the engine.
//!
//! ```text
//! attach ─▶ start ─▶ began ─▶ output ─▶ the engine says that it ended ─▶ told.json
//!                               ▲  └─ the engine went away: while the container lives, again and again
//!                               └─────┘
//! ```
//!
//! A program of its own with one thread. Its standard output and error are those of the task, so it says nothing of its
//! own there. Without told.json nobody has seen the end, and the task is reported as lost.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::ContainerState;
use futures::StreamExt;
use mete_agent_core::task_dir::{
    End, EngineContainer, Exit, FORMAT_VERSION, StartStep, TaskDir, Told,
};
use mete_daemon::clock;
use rustix::fs::{Mode, OFlags};
use tokio::time::sleep;

use super::engine::{Engine, EngineError, Output};
use super::{container, init};
use crate::containerizer::process::write_aside;
use crate::{processes, shims};

/// The word that makes the agent's program a follower.
pub const FOLLOW: &str = "docker-follow";

/// Pause before the engine is asked again: it restarts within a second or two.
const PAUSE: Duration = Duration::from_millis(500);

/// How long after a container's end the engine may stay away; then nobody will tell how it ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long output may go on after the container's first process has ended: what is under way is moved within a moment,
/// and a hung engine ends no stream.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// Exit codes above this are signals, as shells and engines say it.
const SIGNALS_FROM: i64 = 128;

/// The highest number of an ordinary signal.
const LAST_SIGNAL: i64 = 31;

/// Follows the container of a task directory, `mete docker-follow DIRECTORY`, to its end.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(path) = arguments.into_iter().next() else {
        eprintln!("usage: mete {FOLLOW} TASK_DIRECTORY");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let dir = TaskDir::new(path);
    let exit = match runtime {
        Ok(runtime) => runtime.block_on(follow(&dir)),
        Err(error) => Some(not_started(&error.to_string())),
    };
    let told = exit.map(|exit| Told {
        version: FORMAT_VERSION,
        exit,
    });
    match told.map(|told| write_aside(&dir, &told)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(_)) | None => ExitCode::FAILURE,
    }
}

/// From an engine that has the container to the container's end; `None`: nobody tells how it ended.
async fn follow(dir: &TaskDir) -> Option<Exit> {
    let mut known = match container::record(dir) {
        Ok(known) => known,
        Err(why) => return Some(not_started(&why)),
    };
    let begun = begin(&known).await;
    let (engine, mut output) = match begun {
        Ok(begun) => begun,
        Err(error) => return Some(not_started(&sentence(&error))),
    };
    let started_at_us = now_us();
    if let Some(size) = known.terminal {
        // Another size is no reason to end it.
        let _ = engine.resize(&known.id, size).await;
    }
    if let Ok(state) = engine.state(&known.id).await
        && let Some((init, groups)) = init::find(state.pid.unwrap_or(0), &known.id)
    {
        known.init = Some(init);
        known.cgroups = groups;
        // Without it, the container is followed all the same.
        let _ = write_aside(dir, &known);
    }
    say_began(&dir.began());
    pass_on(&mut output, &known).await;
    let state = until_ended(&known).await?;
    let mut exit = Exit::new(end(state.exit_code), now_us());
    exit.started_at_us = Some(started_at_us);
    // An engine lets a container go on of which one process was killed: what ends with 0 has coped. Elsewhere none does, the task
    // ends as a whole then; so an end with 0 is nowhere told together with a kill.
    exit.oom_kills = u64::from(state.oom_killed == Some(true) && !exit.is_success());
    Some(exit)
}

/// Attached before it starts, so that nothing is missed.
async fn begin(known: &EngineContainer) -> Result<(Engine, Output), EngineError> {
    let engine = Engine::connect(Path::new(&known.socket)).await?;
    let output = engine.attach(&known.id, known.terminal.is_some()).await?;
    engine.start(&known.id).await?;
    Ok((engine, output))
}

/// Tells the agent, if one waits.
fn say_began(pipe: &Path) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(pipe) = rustix::fs::open(pipe, flags, Mode::empty()) {
        let _ = rustix::io::write(&pipe, b"b");
    }
}

/// Moves output until there is none, or until the container's first process is gone for a while.
async fn pass_on(output: &mut Output, known: &EngineContainer) {
    let over = async {
        match known.init {
            Some(init) => {
                shims::end_of(init).await;
                sleep(LAST_OUTPUT).await;
            }
            None => std::future::pending().await,
        }
    };
    let moving = async {
        while let Some(piece) = output.next().await {
            let written = match &piece {
                LogOutput::StdErr { message } => write(io::stderr(), message),
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    write(io::stdout(), message)
                }
                LogOutput::StdIn { .. } => Ok(()),
            };
            // The shim reads to the end; were it gone, so would be what keeps the output.
            if written.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = moving => {}
        () = over => {}
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Asks the engine until it says that the container has ended, and follows the output meanwhile, if need be of the next
/// engine. `None`: the container is gone, and the engine stays away.
async fn until_ended(known: &EngineContainer) -> Option<ContainerState> {
    let mut gone_since: Option<Duration> = None;
    loop {
        match again(known).await {
            Ok(Seen::Ended(state)) => return Some(*state),
            Ok(Seen::Running(mut output)) => {
                gone_since = None;
                pass_on(&mut output, known).await;
            }
            // Somebody has removed it, and how it ended with it.
            Err(error) if error.is_missing() => return None,
            Err(_) => {}
        }
        let lives = known.init.is_some_and(processes::is_running);
        if lives {
            gone_since = None;
        } else {
            let now = clock::elapsed();
            if now > *gone_since.get_or_insert(now) + PATIENCE {
                return None;
            }
        }
        sleep(PAUSE).await;
    }
}

/// What the engine says of the container.
enum Seen {
    Ended(Box<ContainerState>),
    Running(Output),
}

async fn again(known: &EngineContainer) -> Result<Seen, EngineError> {
    let engine = Engine::connect(Path::new(&known.socket)).await?;
    let state = engine.state(&known.id).await?;
    if state.running == Some(true) {
        let output = engine.attach(&known.id, known.terminal.is_some());
        return Ok(Seen::Running(output.await?));
    }
    Ok(Seen::Ended(Box::new(state)))
}

/// How a process ended. An engine tells the signal that ended it as a code above 128, as a shell does.
pub(super) fn end(code: Option<i64>) -> End {
    let code = code.unwrap_or(255);
    let signal = code - SIGNALS_FROM;
    let number = |code: i64| i32::try_from(code).unwrap_or(255);
    match (1..=LAST_SIGNAL).contains(&signal) {
        true => End::Signaled {
            signal: number(signal),
        },
        false => End::Exited { code: number(code) },
    }
}

fn not_started(why: &str) -> Exit {
    let end = End::NotStarted {
        step: StartStep::Container,
        errno: None,
        reason: why.to_owned(),
    };
    Exit::new(end, now_us())
}

/// An error with its cause.
fn sentence(error: &EngineError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn now_us() -> u64 {
    clock::now().as_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_above_128_are_signals() {
        let ended = |code| end(Some(code));

        assert_eq!(ended(0), End::Exited { code: 0 });
        assert_eq!(ended(128), End::Exited { code: 128 });
        assert_eq!(ended(137), End::Signaled { signal: 9 });
        assert_eq!(ended(255), End::Exited { code: 255 });
    }
}
