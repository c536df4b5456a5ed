//! A health check inside a running container: the same namespaces, control groups, user and powers as the task.
//!
//! The one who joins stays outside and waits, because only a child comes into another namespace of processes. It and the
//! check end together: when it is killed, by the agent or by its time, the kernel kills the check.

use std::ffi::c_uint;

use mete_agent_core::task_dir::{Container, Launch, PidFile};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, set_parent_process_death_signal, setsid,
    waitpid,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::{NEVER_RAN, Powers};
use crate::directory::{Directory, identity};
use crate::image::Image;
use crate::process::{Entry, text_of};
use crate::report::Fault;
use crate::system::{self, CStringArray};

/// Every namespace of a container.
pub(crate) const ALL: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::PROCESS_ID)
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(ThreadNameSpaceType::CONTROL_GROUP)
    .union(ThreadNameSpaceType::NETWORK);

/// That of control groups alone.
pub(crate) const GROUPS: ThreadNameSpaceType = ThreadNameSpaceType::CONTROL_GROUP;

/// What a shell adds to the number of the signal that has ended a program.
const SIGNALED: i32 = 128;

/// Runs a program inside; returns its exit code.
pub(crate) fn run(
    directory: &Directory,
    launch: &Launch,
    container: &Container,
    image: &Image,
    seconds: c_uint,
) -> Result<u8, String> {
    let said = |fault: Fault| format!("{}: {}: {}", fault.step, fault.what, text_of(fault.errno));
    let first = first_process(directory)?;
    let entry = Entry::open(launch).map_err(|refusal| refusal.reason)?;
    let powers = Powers::of(launch, container).map_err(said)?;
    let (argv, environment) = (
        CStringArray::new(&image.argv),
        CStringArray::new(&image.environment),
    );
    let _ = setsid();
    entry
        .join_groups(false)
        .map_err(|(step, errno)| format!("{step}: {}", text_of(errno)))?;
    enter(&first, ALL).map_err(|errno| format!("joining the container: {}", text_of(errno)))?;
    system::end_after(seconds);
    let check = || {
        system::close_all_but([]);
        let place = container.working_dir.as_str();
        let ready = rustix::process::chdir(place).map_err(Fault::of(place));
        if let Err(fault) = ready.and_then(|()| powers.take()) {
            eprintln!("{}", said(fault));
            return NEVER_RAN;
        }
        // Becoming another user has undone it if it was said before.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        let errno = image.execute(&argv, &environment);
        eprintln!("{}", text_of(errno));
        i32::from(crate::check::CANNOT_RUN)
    };
    let check =
        system::fork(None, 0, check).map_err(|errno| format!("fork: {}", text_of(errno)))?;
    let ended = waitpid(Some(check), WaitOptions::empty());
    let status = ended.ok().flatten().map(|(_, status)| status);
    let code = status.and_then(|status| {
        let signal = status.terminating_signal().map(|signal| SIGNALED + signal);
        status.exit_status().or(signal)
    });
    Ok(code
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(crate::check::CANNOT_RUN))
}

/// Moves this process into some namespaces of the one that `first` is.
pub(crate) fn enter(
    first: &std::os::fd::OwnedFd,
    spaces: ThreadNameSpaceType,
) -> Result<(), rustix::io::Errno> {
    move_into_thread_name_spaces(std::os::fd::AsFd::as_fd(first), spaces)
}

/// The first process of the task, and nobody who has its number by chance.
pub(crate) fn first_process(directory: &Directory) -> Result<std::os::fd::OwnedFd, String> {
    let file: PidFile = directory.read().map_err(|error| error.to_string())?;
    let gone = || "the task does not run".to_owned();
    let task = file.runner.ok_or_else(gone)?.task;
    let pid = Pid::from_raw(task.pid).ok_or_else(gone)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    match identity(pid) {
        Ok(found) if found == task => Ok(handle),
        Ok(_) | Err(_) => Err(gone()),
    }
}
