//! Whatever of a task still runs, with its shim or without: found through the files of its directory.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::{
    CgroupPlan, Launch, MAX_FILE_BYTES, PidFile, Process, TaskDir, TaskFile,
};
use rustix::process::Signal;

use crate::{cgroups, docker, processes};

/// Kills whatever still belongs to a task; returns how many processes could not be. Blocks for up
/// to 5 s.
pub fn kill_remains(dir: &TaskDir) -> usize {
    let in_groups = cgroups::kill(&plan_of(dir));
    in_groups.max(processes::kill_until_gone(|| {
        let of_engine = docker::init_of(dir);
        members_without_groups(dir)
            .into_iter()
            .chain(of_engine)
            .collect()
    }))
}

/// How long a shim may take to end when its task has: it looks for what is left for up to 5 s, and writes the end down.
const SHIM_PATIENCE_ROUNDS: u32 = 500;

/// Pause between two looks; so all of them are 10 s.
const SHIM_PAUSE: Duration = Duration::from_millis(20);

/// Ends a shim that outlives its task: one that is stopped, or stuck, would never tell that the task has ended. Whether that
/// was so. To be called when nothing else of the task is left; blocks for up to 10 s, and for no time usually.
pub(crate) fn end_stuck_shim(dir: &TaskDir) -> bool {
    let Ok(PidFile {
        boot_id,
        runner: Some(runner),
        ..
    }) = read::<PidFile>(&dir.pid())
    else {
        return false;
    };
    if processes::boot_id().is_ok_and(|now| now != boot_id) {
        return false;
    }
    for _ in 0..SHIM_PATIENCE_ROUNDS {
        if !processes::is_running(runner.shim) {
            return false;
        }
        thread::sleep(SHIM_PAUSE);
    }
    processes::kill_until_gone(|| vec![runner.shim]);
    true
}

/// Whether the shim of a task is still there.
pub(crate) fn has_running_shim(dir: &TaskDir) -> bool {
    let runner = read::<PidFile>(&dir.pid())
        .ok()
        .and_then(|file| file.runner);
    runner.is_some_and(|runner| processes::is_running(runner.shim))
}

/// Sends a signal to every process of a task, once. Does nothing when there are none.
pub fn signal(dir: &TaskDir, signal: Signal) {
    let plan = plan_of(dir);
    if plan.is_empty() {
        for process in members_without_groups(dir) {
            processes::signal(process, signal);
        }
    } else {
        cgroups::signal(&plan, signal);
    }
}

/// The processes of a task by parentage: all that the shim is the ancestor of; or, without the
/// shim, the session of the task's first process. None once the end is recorded: then the shim has
/// swept, and the machine need not be searched.
pub(crate) fn members_without_groups(dir: &TaskDir) -> Vec<Process> {
    if dir.exit().exists() {
        return Vec::new();
    }
    let Ok(PidFile {
        boot_id,
        runner: Some(runner),
        ..
    }) = read::<PidFile>(&dir.pid())
    else {
        return Vec::new();
    };
    if processes::boot_id().is_ok_and(|now| now != boot_id) {
        return Vec::new();
    }
    if processes::is_running(runner.shim) {
        processes::descendants(runner.shim.pid)
    } else {
        processes::session_of(runner.task)
    }
}

/// The control groups of a task; none when nobody knows.
pub(crate) fn plan_of(dir: &TaskDir) -> CgroupPlan {
    read::<Launch>(&dir.launch())
        .map(|launch| launch.cgroups)
        .unwrap_or_default()
}

/// The signal that asks a task to end.
pub(crate) fn stop_signal_of(dir: &TaskDir) -> Signal {
    let launch = read::<Launch>(&dir.launch()).ok();
    let number = launch.and_then(|launch| Some(launch.container?.stop_signal));
    number
        .and_then(Signal::from_named_raw)
        .unwrap_or(Signal::TERM)
}

/// Where a task's files are, as it was begun.
pub(crate) fn sandbox_of(dir: &TaskDir) -> Option<PathBuf> {
    let launch = read::<Launch>(&dir.launch()).ok();
    launch.map(|launch| PathBuf::from(launch.sandbox))
}

/// Digests of the images that a task's container is made of.
pub(crate) fn images_of(dir: &TaskDir) -> Vec<String> {
    let launch = read::<Launch>(&dir.launch()).ok();
    let container = launch.and_then(|launch| launch.container);
    container.map(|made| made.images).unwrap_or_default()
}

/// What files of task directories have at most as a rule: so they are read at once, and nobody asks before how long they are.
const USUAL_FILE_BYTES: usize = 4 << 10;

/// Reads one file of a task directory; the error is a sentence.
pub(crate) fn read<F: TaskFile>(path: &Path) -> Result<F, String> {
    let said = |error: io::Error| format!("{}: {error}", F::NAME);
    let file = fs::File::open(path).map_err(said)?;
    let mut bytes = Vec::with_capacity(USUAL_FILE_BYTES);
    let mut part = file.take(MAX_FILE_BYTES + 1);
    part.read_to_end(&mut bytes).map_err(said)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{} is larger than {MAX_FILE_BYTES} bytes", F::NAME));
    }
    F::decode(&bytes).map_err(|bad| match std::error::Error::source(&bad) {
        Some(cause) => format!("{bad}: {cause}"),
        None => bad.to_string(),
    })
}
