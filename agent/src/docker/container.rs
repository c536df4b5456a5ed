//! The life of one container: made and started, killed, measured, removed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::task_dir::{Command, EngineContainer, FORMAT_VERSION, Launch, TaskDir};
use mete_model::ContainerId;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::engine::{Engine, EngineError};
use super::follow::FOLLOW;
use super::{Setup, Wanted, ask, init};
use crate::cgroups::Usage;
use crate::containerizer::process::{blocking, full_or, make_dir, write_aside};
use crate::containerizer::{EndError, KillSignal, Start, StartError};
use crate::shims::{self, Executable, Shim, ShimError};
use crate::{cgroups, processes};

/// How long the engine may take from the first word to a running program: it sets up networks and mounts, and a busy
/// one does so for others too.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the first report that a task runs waits for what the engine says of it.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest description that is told; usual ones have 6 to 10 KiB.
const MAX_INSPECTED_BYTES: usize = 256 * 1024;

/// The engine's name of a container.
pub(super) fn name(container: &ContainerId) -> String {
    format!("mete-{container}")
}

/// Makes and starts a container; done when its program runs. On an error something may be left: [`destroy`] it.
pub(crate) async fn start(
    setup: &Setup,
    executable: Arc<Executable>,
    dir: TaskDir,
    task: Start,
    wanted: Wanted,
) -> Result<Shim, StartError> {
    let engine = Engine::connect(&setup.socket).await?;
    let (place, own, container) = (dir.clone(), setup.clone(), task.container.clone());
    let terminal = task.terminal;
    let (body, launch) = blocking(move || prepare(&own, &place, &task, &wanted)).await?;
    let id = engine.create(&name(&container), body).await?;
    let record = EngineContainer {
        version: FORMAT_VERSION,
        socket: setup.socket.display().to_string(),
        stop_signal: engine
            .stop_signal(&id)
            .await?
            .unwrap_or_else(|| "SIGTERM".to_owned()),
        id,
        terminal,
        init: None,
        cgroups: mete_agent_core::task_dir::CgroupPlan::default(),
    };
    let place = dir.clone();
    let written = blocking(move || {
        write_aside(&place, &record)?;
        write_aside(&place, &launch)?;
        open_pipe(&place.began())
    });
    let mut began = written
        .await
        .map_err(|error| full_or("writing the task directory", error))?;
    let shim = shims::start(executable, dir).await?;
    let mut byte = [0; 1];
    tokio::select! {
        biased;
        said = began.read_exact(&mut byte) => match said {
            Ok(_) => Ok(shim),
            Err(error) => Err(ShimError::Directory(error.to_string()).into()),
        },
        () = shim.gone() => Err(match shim.ended().await {
            Some(exit) => ShimError::NotStarted(Box::new(exit)),
            None => ShimError::Lost("its follower was killed".to_owned()),
        }.into()),
        () = tokio::time::sleep(START_TIMEOUT) => Err(EngineError::Slow {
            socket: setup.socket.clone(),
        }.into()),
    }
}

/// What is asked of the engine, and what the shim runs.
fn prepare(
    setup: &Setup,
    dir: &TaskDir,
    task: &Start,
    wanted: &Wanted,
) -> Result<(bollard::models::ContainerCreateBody, Launch), StartError> {
    let unusable = |what: &str| StartError::Unusable(format!("the {what} has no UTF-8 path"));
    let sandbox = task.sandbox.to_str().ok_or_else(|| unusable("sandbox"))?;
    let path = dir.path().to_str();
    let path = path.ok_or_else(|| unusable("task directory"))?;
    make_dir(dir.path()).map_err(|error| full_or("making the task directory", error))?;
    let body = ask::body(setup, task, wanted)?;
    // The shim is the agent's own program, whatever lies at its path by now.
    let command = Command::Program {
        path: "/proc/self/exe".to_owned(),
        arguments: ["mete", FOLLOW, path].map(str::to_owned).into(),
    };
    let mut launch = Launch::new(command, sandbox);
    launch.output = task.output;
    Ok((body, launch))
}

/// Makes a pipe in the file system. Open for both, so that it has no end before the follower has opened it.
fn open_pipe(path: &Path) -> io::Result<pipe::Receiver> {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    pipe::OpenOptions::new()
        .read_write(true)
        .open_receiver(path)
}

/// The container of a task directory.
pub(super) fn record(dir: &TaskDir) -> Result<EngineContainer, String> {
    shims::read_file(&dir.docker())
}

/// Sends a signal; [`KillSignal::Kill`] is done when the container's first process is gone. It is this process that gets
/// it, from an engine too; so the engine is asked only when it alone knows the process.
pub(crate) async fn kill(dir: &TaskDir, signal: KillSignal) -> Result<(), EndError> {
    let known = record(dir).map_err(|why| EndError::Directory(io::Error::other(why)))?;
    let (by_name, number) = match signal {
        KillSignal::Terminate => (known.stop_signal.as_str(), known.stop_signal()),
        KillSignal::Kill => ("SIGKILL", Signal::KILL.as_raw()),
    };
    if known.init.is_none() {
        return Ok(tell(&known, by_name).await?);
    }
    let number = Signal::from_named_raw(number).unwrap_or(Signal::TERM);
    if let Some(init) = init::of(dir) {
        processes::signal(init, number);
    }
    if signal == KillSignal::Kill {
        let dir = dir.clone();
        let gone = move || processes::kill_until_gone(|| init::of(&dir).into_iter().collect());
        let left = blocking(gone).await;
        if left > 0 {
            // A container that was paused dies only when its engine lets it go on, which it does for this.
            return tell(&known, by_name)
                .await
                .map_err(|_| EndError::Undead { left });
        }
    }
    Ok(())
}

/// Sends a signal by number to the first process, as people ask for it.
pub(crate) async fn signal(dir: &TaskDir, number: Signal) -> Result<(), EndError> {
    if number == Signal::KILL {
        return kill(dir, KillSignal::Kill).await;
    }
    let known = record(dir).map_err(|why| EndError::Directory(io::Error::other(why)))?;
    match init::of(dir) {
        Some(init) => drop(processes::signal(init, number)),
        None => tell(&known, &number.as_raw().to_string()).await?,
    }
    Ok(())
}

/// Sends a signal through the engine; to one that does not run is fine.
async fn tell(known: &EngineContainer, signal: &str) -> Result<(), EngineError> {
    let engine = Engine::connect(Path::new(&known.socket)).await?;
    match engine.kill(&known.id, signal).await {
        Err(error) if error.is_over() => Ok(()),
        done => done,
    }
}

/// What a container has used, by its groups.
pub(crate) fn usage(dir: &TaskDir) -> Usage {
    match record(dir) {
        Ok(known) => cgroups::usage(&known.cgroups),
        Err(_) => Usage::default(),
    }
}

/// What the engine says of a container, in the form of `docker inspect`; `None` when it does not say it soon.
pub(crate) async fn inspect(dir: &TaskDir) -> Option<String> {
    let known = record(dir).ok()?;
    let asked = async {
        let engine = Engine::connect(Path::new(&known.socket)).await?;
        engine.inspect(&known.id).await
    };
    let said = tokio::time::timeout(INSPECT_TIMEOUT, asked)
        .await
        .ok()?
        .ok()?;
    serde_json::to_string(&[said])
        .ok()
        .filter(|said| said.len() <= MAX_INSPECTED_BYTES)
}

/// Removes a container from its engine, running or not. Without the engine's help it is at least killed.
pub(crate) async fn destroy(dir: &TaskDir) -> Result<(), EndError> {
    let known = record(dir).map_err(|why| EndError::Directory(io::Error::other(why)))?;
    let removed = async {
        let engine = Engine::connect(Path::new(&known.socket)).await?;
        engine.remove(&known.id).await
    };
    let Err(error) = removed.await else {
        return Ok(());
    };
    let dir = dir.clone();
    let left = blocking(move || shims::kill_remains(&dir)).await;
    if left > 0 {
        return Err(EndError::Undead { left });
    }
    Err(error.into())
}
