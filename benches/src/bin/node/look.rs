//! What `/proc` says of processes: whose they are, their memory, their time.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mete_benches::process::{Memory, signal};
use mete_framework_sdk::TaskId;
use rustix::process::Signal;
use tokio::time::Instant;

/// The process of a task whose sandbox is below `dir`.
pub(crate) fn process_of(task: &TaskId, dir: &Path) -> Result<u32> {
    let wanted = format!("MESOS_TASK_ID={task}");
    let below = dir.display().to_string();
    let is_it = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        environment.contains(&below) && environment.split('\0').any(|word| word == wanted)
    };
    let found = pids().into_iter().find(is_it);
    found.with_context(|| format!("no process of {task}"))
}

/// All shims whose task directory is below `dir`.
pub(crate) fn shims(dir: &Path) -> Result<Vec<Memory>> {
    let tasks = dir.join("agent/tasks").display().to_string();
    let is_shim = |pid: &u32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words);
        let mut words = words.split('\0').skip_while(|word| *word != "shim");
        words.nth(1).is_some_and(|word| word.starts_with(&tasks))
    };
    pids().into_iter().filter(is_shim).map(Memory::of).collect()
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.collect()
}

pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// The command of the tasks, until its first word.
pub(crate) fn fork_and_exec() -> Result<Duration> {
    let begin = Instant::now();
    let mut child = Command::new("/bin/sh")
        .args(["-c", "echo; exec sleep 100000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().context("is piped")?;
    out.read_exact(&mut [0])?;
    let took = begin.elapsed();
    child.kill()?;
    child.wait()?;
    Ok(took)
}
