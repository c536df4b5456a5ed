//! A health check inside a running container: the same namespaces, control groups, user and powers as the task.
//!
//! The one who joins stays outside and waits, because only a child comes into another namespace of processes. It and the
//! check end together: when it is killed, by the agent or by its time, the kernel kills the check.

use std::ffi::c_uint;
use std::os::fd::{AsFd, OwnedFd};

use mete_agent_core::task_dir::{Container, Launch, PidFile, Process};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, set_parent_process_death_signal, setsid,
    waitpid,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::{NEVER_RAN, Powers, Users};
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

/// That of processes alone.
pub(super) const PROCESSES: ThreadNameSpaceType = ThreadNameSpaceType::PROCESS_ID;

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
    let users = users(directory, container)?;
    let powers = Powers::of(launch, container, users.as_ref()).map_err(said)?;
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
        system::close_all_but(powers.handles());
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
pub(crate) fn enter(first: &OwnedFd, spaces: ThreadNameSpaceType) -> Result<(), Errno> {
    move_into_thread_name_spaces(first.as_fd(), spaces)
}

/// The first process of the task, and nobody who has its number by chance.
pub(crate) fn first_process(directory: &Directory) -> Result<OwnedFd, String> {
    let (pid, task) = runner(directory)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    still(pid, &task).map(|()| handle)
}

/// The users of a running container, where they are others than the machine's. To be asked before the container is
/// entered: then processes have other numbers.
pub(crate) fn users(directory: &Directory, container: &Container) -> Result<Option<Users>, String> {
    let Some(range) = container.users else {
        return Ok(None);
    };
    let (pid, task) = runner(directory)?;
    let users = Users::held_by(pid, range)
        .map_err(|errno| format!("the users of the container: {}", text_of(errno)))?;
    still(pid, &task).map(|()| Some(users))
}

fn runner(directory: &Directory) -> Result<(Pid, Process), String> {
    let file: PidFile = directory.read().map_err(|error| error.to_string())?;
    let task = file.runner.ok_or_else(gone)?.task;
    let pid = Pid::from_raw(task.pid).ok_or_else(gone)?;
    Ok((pid, task))
}

fn still(pid: Pid, task: &Process) -> Result<(), String> {
    match identity(pid) {
        Ok(found) if found == *task => Ok(()),
        Ok(_) | Err(_) => Err(gone()),
    }
}

fn gone() -> String {
    "the task does not run".to_owned()
}
