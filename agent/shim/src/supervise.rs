//! While the task runs: its output kept, its children reaped. After it: what is left killed.
//!
//! ```text
//! Running ──first process ended──▶ Sweeping ──no child left, or 5 s──▶ drained ──▶ Exit
//!    └─memory is out: first process killed─┘
//! ```
//!
//! The shim is the reaper of all its descendants, so a grandchild that has left its session becomes
//! the shim's child when its parent ends: killing children until there are none reaches everything
//! the task ever started, with or without control groups.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mete_agent_core::task_dir::{End, Exit, Launch, oom_kills_in};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, read, write};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait,
};

use crate::directory::read_text;
use crate::output::{Output, Pumped};
use crate::process::Task;
use crate::report::{self, Told};
use crate::system;

/// Bytes moved at once. A pipe holds 64 KiB, so of the rest no page is ever touched; but from 128 KiB on the C library's
/// `calloc` maps the buffer instead of clearing a piece of the heap, and a silent task's shim is 64 KiB smaller.
const BUFFER_BYTES: usize = 256 << 10;

/// How long leftovers may take to die: SIGKILL needs longer only for a process stuck in the kernel,
/// and for that nobody waits.
const SWEEP_MS: i64 = 5_000;

/// Pause between two looks at the leftovers.
const SWEEP_STEP_MS: i64 = 20;

/// Bytes read after the task's end, per stream: the largest pipe an ordinary user may have. A
/// process elsewhere that still holds the pipe cannot keep the shim busy for ever.
const DRAIN_BYTES: usize = 1 << 20;

/// Version 1 of control groups writes the largest number of pages for "no limit".
const NO_LIMIT_BYTES: u64 = 1 << 62;

/// What is not counted yet of a group whose limit is reached: processors charge in batches of 64 pages.
const NEARLY_BYTES: u64 = 1 << 20;

/// Stays until the task has ended and everything of it is gone; says how it ended.
pub(crate) fn to_the_end(launch: &Launch, task: Task) -> Exit {
    let started_at_us = system::wall_clock_us();
    let memory = launch.cgroups.memory_files();
    let mut watch = match Watch::new(task, memory_out(launch), memory.clone()) {
        Ok(watch) => watch,
        Err(errno) => return cannot_watch(errno),
    };
    let end = watch.until_ended();
    // It may have come between the last look and the end.
    watch.has_reached_its_limit();
    let mut exit = Exit::new(end, system::wall_clock_us());
    exit.started_at_us = Some(started_at_us);
    exit.oom_kills = launch
        .cgroups
        .oom_file()
        .and_then(|path| read_text(&path).ok())
        .map_or(0, |text| oom_kills_in(&text))
        .max(u64::from(watch.is_memory_out));
    if let Some([limit, peak]) = &memory {
        exit.memory_limit_bytes = number(limit).filter(|limit| *limit < NO_LIMIT_BYTES);
        exit.memory_peak_bytes = number(peak);
    }
    exit.stragglers_killed = watch.sweep(launch.cgroups.kill_file().as_deref());
    watch.drain();
    let [stdout, stderr] = &watch.outputs;
    exit.stdout_dropped_bytes = stdout.dropped_bytes();
    exit.stderr_dropped_bytes = stderr.dropped_bytes();
    exit
}

/// Tells when the task has come to its memory limit, where the kernel then kills one process and lets the others go on.
/// `None` where it does not, or does not tell.
fn memory_out(launch: &Launch) -> Option<OwnedFd> {
    let [events, what] = launch.cgroups.oom_event_files()?;
    let open =
        |path: String, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).ok();
    let told = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok()?;
    let what = open(what, OFlags::RDONLY)?;
    let line = format!("{} {}", told.as_raw_fd(), what.as_raw_fd());
    write(open(events, OFlags::WRONLY)?, line.as_bytes()).ok()?;
    Some(told)
}

/// Whether a group has come to its own limit. When memory is out in a group above it, the kernel tells that below, too.
fn has_been_full([limit, peak]: &[String; 2]) -> bool {
    match (number(limit), number(peak)) {
        (Some(limit), Some(peak)) => peak.saturating_add(NEARLY_BYTES) >= limit,
        (None, _) | (_, None) => true,
    }
}

fn number(path: &str) -> Option<u64> {
    read_text(path).ok()?.trim().parse().ok()
}

/// A task that cannot be watched is not left running.
fn cannot_watch(errno: Errno) -> Exit {
    kill_children();
    let reason = format!(
        "its end cannot be watched: {}",
        crate::process::text_of(errno)
    );
    let step = mete_agent_core::task_dir::StartStep::Fork;
    Exit::new(
        End::NotStarted {
            step,
            errno: Some(errno.raw_os_error()),
            reason,
        },
        system::wall_clock_us(),
    )
}

/// A running task as its shim sees it.
struct Watch {
    first: Pid,
    outputs: [Output; 2],
    /// From the first process of the task's container.
    container: Option<OwnedFd>,
    child_signals: OwnedFd,
    /// See [`memory_out`].
    memory_out: Option<OwnedFd>,
    /// The files that tell the task's own limit, and the most it ever used.
    memory: Option<[String; 2]>,
    is_memory_out: bool,
    buffer: Vec<u8>,
}

/// What a round of reaping found.
struct Reaped {
    /// How the first process ended, if it is among them.
    end: Option<End>,
    /// How many others there were.
    others: u32,
    /// Whether no child is left.
    none_left: bool,
}

impl Watch {
    fn new(
        task: Task,
        memory_out: Option<OwnedFd>,
        memory: Option<[String; 2]>,
    ) -> Result<Self, Errno> {
        let child_signals = system::child_signals()?;
        Ok(Self {
            first: task.pid,
            outputs: task.outputs,
            container: task.container,
            child_signals,
            memory_out,
            memory,
            is_memory_out: false,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// Runs until the first process has ended.
    fn until_ended(&mut self) -> End {
        loop {
            // Before the first wait too: the process may have ended before the signal was watched.
            if let Some(end) = self.reap().end {
                return end;
            }
            self.wait_for_something(None);
            if self.has_reached_its_limit() {
                // The task is over as a whole, as with version 2; what it leaves behind is swept.
                let _ = kill_process(self.first, Signal::KILL);
            }
        }
    }

    /// Whether memory is out since the last look. The kernel tells it before it kills, and counts no kill when the
    /// process is dying by then.
    fn has_reached_its_limit(&mut self) -> bool {
        let told = self.memory_out.as_ref();
        let is_told = told.is_some_and(|told| read(told, &mut [0_u8; 8]).is_ok());
        let is_out = is_told && self.memory.as_ref().is_none_or(has_been_full);
        self.is_memory_out |= is_out;
        is_out
    }

    /// Waits for output or a child's end, and moves the output that is there.
    fn wait_for_something(&mut self, timeout_ms: Option<i64>) {
        let timeout = timeout_ms.map(|ms| Timespec {
            tv_sec: ms / 1_000,
            tv_nsec: (ms % 1_000) * 1_000_000,
        });
        let mut watched = vec![PollFd::from_borrowed_fd(
            self.child_signals.as_fd(),
            PollFlags::IN,
        )];
        watched.extend(
            self.memory_out
                .iter()
                .map(|told| PollFd::from_borrowed_fd(told.as_fd(), PollFlags::IN)),
        );
        for output in &self.outputs {
            watched.extend(
                output
                    .pipe()
                    .map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN)),
            );
        }
        let _ = poll(&mut watched, timeout.as_ref());
        // The signals carry nothing that waiting does not tell better; several may be one.
        while matches!(read(&self.child_signals, &mut [0_u8; 512]), Ok(1..)) {}
        for output in &mut self.outputs {
            let _ = output.pump(&mut self.buffer);
        }
    }

    /// Collects every child that has ended.
    fn reap(&self) -> Reaped {
        let mut reaped = Reaped {
            end: None,
            others: 0,
            none_left: false,
        };
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.first => reaped.end = Some(self.end(status)),
                Ok(Some(_)) => reaped.others += 1,
                Ok(None) => return reaped,
                Err(Errno::INTR) => {}
                Err(_) => {
                    reaped.none_left = true;
                    return reaped;
                }
            }
        }
    }

    /// How the task ended: what the first process of its container says, else how its own first process ended.
    fn end(&self, status: WaitStatus) -> End {
        match self.container.as_ref().map(report::listen) {
            Some(Told::Ended(end)) => end,
            Some(Told::Nothing | Told::Started | Told::Failed(_)) | None => end_of(status),
        }
    }

    /// Kills what the first process left behind; returns how many there were.
    fn sweep(&mut self, kill_file: Option<&str>) -> u32 {
        let deadline = system::monotonic_ms() + SWEEP_MS;
        if let Some(path) = kill_file {
            // Also reaches processes that entered the group from elsewhere.
            if let Ok(file) =
                rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            {
                let _ = write(&file, b"1");
            }
        }
        let mut stragglers = 0;
        loop {
            let reaped = self.reap();
            stragglers += reaped.others;
            if reaped.none_left || system::monotonic_ms() > deadline {
                return stragglers;
            }
            // The group's number is not used again while a member of it is left, and one is: a child.
            let _ = kill_process_group(self.first, Signal::KILL);
            kill_children();
            self.wait_for_something(Some(SWEEP_STEP_MS));
        }
    }

    /// Moves what is left in the pipes.
    fn drain(&mut self) {
        for output in &mut self.outputs {
            let mut left = DRAIN_BYTES;
            while let Pumped::Bytes(count) = output.pump(&mut self.buffer) {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
        }
    }
}

/// Kills every child of this process; their children become ours and are next.
fn kill_children() {
    let own = getpid().as_raw_nonzero();
    let children = read_text(&format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    for pid in children.split_ascii_whitespace() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            // A child stays ours, dead or not, until we have waited for it: the number is its own.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// How a process ended.
pub(crate) fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (_, Some(signal)) => End::Signaled { signal },
        (Some(code), None) => End::Exited { code },
        // Stops are not asked for, so there is no third case; 255 would be seen to be odd.
        (None, None) => End::Exited { code: 255 },
    }
}
