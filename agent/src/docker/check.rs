//! A health check by command, inside a container of an engine: with its environment, its user, in its groups.

use std::path::Path;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use futures::StreamExt;
use mete_agent_core::task_dir::{EngineContainer, TaskDir};
use mete_model::{CommandSpec, Program};

use super::command::Command;
use super::container;
use super::engine::{Engine, EngineError};
use super::mark::Mark;

/// Bytes of what it says that go into the sentence.
const MAX_SAID_BYTES: usize = 200;

/// Runs the command; exit code 0 passes.
///
/// # Errors
/// A sentence.
pub(crate) async fn run(
    dir: &TaskDir,
    spec: &CommandSpec,
    timeout: Duration,
) -> Result<(), String> {
    let (code, said) = end_of(dir, spec, timeout).await?;
    let said = String::from_utf8_lossy(&said);
    let said = match said.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    };
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(format!("the command exited with code {code}{said}")),
        None => Err(format!("nobody says how the command ended{said}")),
    }
}

/// Runs the command; its exit code, when it has one.
pub(crate) async fn exit_code(dir: &TaskDir, spec: &CommandSpec, timeout: Duration) -> Option<i32> {
    let (code, _) = end_of(dir, spec, timeout).await.ok()?;
    code.and_then(|code| i32::try_from(code).ok())
}

/// How it ended, and what it said.
async fn end_of(
    dir: &TaskDir,
    spec: &CommandSpec,
    timeout: Duration,
) -> Result<(Option<i64>, Vec<u8>), String> {
    let known = container::record(dir)?;
    let failed = |error: EngineError| format!("the command cannot be run: {error}");
    let connected = Engine::connect(Path::new(&known.socket)).await;
    let engine = connected.map_err(failed)?;
    let mark = Mark::new(&known);
    let id = make(&engine, &known, spec, &mark).await.map_err(failed)?;
    // However this ends, nothing of the command stays.
    let command = Command::new(engine.clone(), id.clone(), mark, false);
    let mut said = Vec::new();
    match tokio::time::timeout(timeout, listen(&engine, &id, &mut said)).await {
        Ok(heard) => heard.map_err(failed)?,
        Err(_) => {
            command.give_up(&known).await;
            return Err(format!("no answer within {} s", timeout.as_secs_f64()));
        }
    }
    let state = engine.exec(&id).await;
    Ok((state.map_err(failed)?.exit_code, said))
}

async fn make(
    engine: &Engine,
    known: &EngineContainer,
    spec: &CommandSpec,
    mark: &Mark,
) -> Result<String, EngineError> {
    let words = match &spec.program {
        Program::Shell(line) => ["/bin/sh", "-c", line].map(str::to_owned).into(),
        Program::Exec { path, argv } => {
            let rest = argv.iter().skip(1).cloned();
            std::iter::once(path.clone()).chain(rest).collect()
        }
        // Refused where checks come in.
        Program::Image { arguments } => arguments.clone(),
    };
    let variables = spec.environment.iter();
    let variables = variables.map(|(name, value)| format!("{name}={value}"));
    let options = CreateExecOptions {
        cmd: Some(words),
        env: Some(variables.chain([mark.variable().to_owned()]).collect()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let made = engine.call(engine.docker.create_exec(&known.id, options));
    Ok(made.await?.id)
}

/// Starts it, and keeps the beginning of what it says until it ends.
async fn listen(engine: &Engine, id: &str, said: &mut Vec<u8>) -> Result<(), EngineError> {
    let started = engine.call(engine.docker.start_exec(id, None)).await?;
    if let StartExecResults::Attached { mut output, .. } = started {
        while let Some(Ok(piece)) = output.next().await {
            let room = MAX_SAID_BYTES.saturating_sub(said.len());
            said.extend(piece.as_ref().iter().take(room));
        }
    }
    Ok(())
}
