//! The first process of a container: starts the task, reaps whatever ends, tells the shim how the task ended. When it
//! ends, the kernel ends everything else in the container.

use std::ffi::c_int;
use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::{Container, Launch, StartStep};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, wait};

use super::{NEVER_RAN, Powers, Program};
use crate::report::{self, Fault};
use crate::system;

/// Lives until the task has ended. `report` leads to the shim.
pub(super) fn live(
    launch: &Launch,
    container: &Container,
    program: &Program<'_>,
    report: &OwnedFd,
) -> c_int {
    let failed = |errno| {
        report::failed(
            report,
            StartStep::Fork,
            errno,
            "the first process of the container",
        );
        NEVER_RAN
    };
    let powers = match Powers::of(launch, container, program.users) {
        Ok(powers) => powers,
        Err(fault) => {
            report::failed(report, fault.step, fault.errno, &fault.what);
            return NEVER_RAN;
        }
    };
    // A handle on a directory of the machine would be a way out: only the two pipes stay open.
    let (failure, failure_write) = match pipe_with(PipeFlags::CLOEXEC) {
        Ok(pipe) => pipe,
        Err(errno) => return failed(errno),
    };
    let pipes = [report, &failure, &failure_write];
    system::close_all_but(pipes.into_iter().chain(powers.handles()));
    let task = || {
        system::close_copy(&failure);
        let _ = rustix::process::setsid();
        if launch.terminal.is_some() {
            crate::process::take_terminal();
        }
        let fault = match become_task(container, &powers, program) {
            Ok(errno) => Fault {
                step: StartStep::Exec,
                errno,
                what: String::new(),
            },
            Err(fault) => fault,
        };
        report::failed(report, fault.step, fault.errno, &fault.what);
        let _ = write(&failure_write, b"f");
        NEVER_RAN
    };
    let task = match system::fork(None, 0, task) {
        Ok(pid) => pid,
        Err(errno) => return failed_late(report, errno),
    };
    drop(failure_write);
    if matches!(read(&failure, &mut [0_u8; 1]), Ok(1)) {
        return NEVER_RAN;
    }
    watch(task, report)
}

/// Tells that the task runs, and how it ends.
pub(super) fn watch(task: Pid, report: &OwnedFd) -> c_int {
    report::started(report);
    // The task's output ends with the task, not with this process.
    if let Ok(null) = crate::process::open_null() {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    until_ended(task, report)
}

/// Reaps whatever ends, until it is the task.
fn until_ended(task: Pid, report: &OwnedFd) -> c_int {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == task => {
                match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => report::exited(report, code),
                    (None, Some(signal)) => report::signaled(report, signal),
                    (None, None) => continue,
                }
                return 0;
            }
            Ok(_) | Err(Errno::INTR) => {}
            // There is a child until the task has been waited for.
            Err(_) => return NEVER_RAN,
        }
    }
}

fn failed_late(report: &OwnedFd, errno: Errno) -> c_int {
    report::failed(report, StartStep::Fork, errno, "the task's process");
    NEVER_RAN
}

/// Returns the errno of exec.
fn become_task(
    container: &Container,
    powers: &Powers,
    program: &Program<'_>,
) -> Result<Errno, Fault> {
    let place = &container.working_dir;
    rustix::process::chdir(place.as_str()).map_err(Fault::of(place.as_str()))?;
    powers.take()?;
    Ok(program.image.execute(program.argv, program.environment))
}
