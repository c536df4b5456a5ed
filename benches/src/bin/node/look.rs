//! What `/proc` says of processes: whose they are, their memory, their time.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mete_framework_sdk::TaskId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// In `/proc/<pid>/stat`: USER_HZ is 100 wherever Linux has a stable interface to tell it by.
const TICK: Duration = Duration::from_millis(10);

/// Memory of one process, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Nobody else's.
    pub(crate) private_kib: u64,
    /// Nobody else's, and written to.
    pub(crate) private_dirty_kib: u64,
    /// All that is in memory, what is shared included.
    pub(crate) resident_kib: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().strip_suffix("kB"));
            let number = number.and_then(|number| number.trim().parse::<u64>().ok());
            number.with_context(|| format!("no {name} in {path}"))
        };
        let private_dirty_kib = value("Private_Dirty:")?;
        Ok(Self {
            private_kib: private_dirty_kib + value("Private_Clean:")?,
            private_dirty_kib,
            resident_kib: value("Rss:")?,
        })
    }
}

/// User and system time of a process so far, all its threads together.
pub(crate) fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name in parentheses may hold anything; utime and stime are the 12th and 13th word behind it.
    let behind = text.rsplit(')').next().unwrap_or_default();
    let ticks = behind.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(|word| word.parse().unwrap_or(0)).sum();
    Ok(TICK * ticks)
}

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

/// Sends a signal to a process, which may be gone already.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
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
