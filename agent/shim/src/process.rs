//! From launch.json to a running program.
//!
//! ```text
//! shim    open everything → fork → (stands still)                                  → running | not started
//! child                       └─ in the shim's memory: claims the directory → groups → user → exec
//!
//! shim    open everything → fork → claims the directory → go                       → running | not started
//! child                       └─ a copy: waits ────────────┘ → container, groups → user → exec
//! ```
//!
//! Invariants: the child's program does not start before the directory is claimed; a child whose
//! shim dies before that ends by itself. What a copy needs is allocated before the fork; it makes
//! system calls only. A failure after the fork comes back as step and errno through a pipe that a
//! successful exec closes.

use std::os::fd::{AsFd, OwnedFd};

use mete_agent_core::task_dir::session::{Size, TERMINAL_DESCRIPTOR};
use mete_agent_core::task_dir::{Launch, STDERR, STDOUT, StartStep, User};
use rustix::fs::{Mode, OFlags, fchown};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Gid, Pid, Signal, Uid, WaitOptions, getpid, getppid, kill_process,
    set_parent_process_death_signal, waitpid,
};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::container::{self, Users};
use crate::directory::{self, Directory};
use crate::image::{Image, program_of};
use crate::output::Output;
use crate::report::{self, Fault, STEPS, Told};
use crate::session::streams;
use crate::supervise::end_of;
use crate::system::{self, CStringArray};

/// Exit code of a child that never became the program; only the shim sees it.
const NEVER_RAN: i32 = 127;

/// Why the program does not run.
#[derive(Debug)]
pub(crate) struct NotStarted {
    pub(crate) step: StartStep,
    pub(crate) errno: Option<Errno>,
    pub(crate) reason: String,
}

impl NotStarted {
    /// The system refused `what`.
    fn refused(step: StartStep, what: &str, errno: Errno) -> Self {
        Self {
            step,
            errno: Some(errno),
            reason: format!("{what}: {}", text_of(errno)),
        }
    }
}

/// `No such file or directory (os error 2)`.
pub(crate) fn text_of(errno: Errno) -> String {
    std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string()
}

/// `/dev/null`, for reading and writing.
pub(crate) fn open_null() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// A task's process that runs its program.
pub(crate) struct Task {
    pub(crate) pid: Pid,
    pub(crate) outputs: [Output; 2],
    /// Where the first process of its container tells how it ended, if it has a container.
    pub(crate) container: Option<OwnedFd>,
}

/// A task's process on its way to its program.
struct Forked {
    task: Task,
    failure: OwnedFd,
    in_container: bool,
    /// What each step is about, for its error.
    subjects: [String; STEPS.len()],
}

/// All that a task's process is made of, opened and allocated before there is one.
struct Ready<'a> {
    launch: &'a Launch,
    image: Image,
    entry: Entry,
    stdin: OwnedFd,
    /// The task's ends.
    stdout: OwnedFd,
    stderr: OwnedFd,
    outputs: [Output; 2],
    /// Where the process says why it does not become its program.
    failure: OwnedFd,
    failure_write: OwnedFd,
}

impl<'a> Ready<'a> {
    fn of(launch: &'a Launch) -> Result<Self, NotStarted> {
        let image = Image::of(&launch.command, &launch.environment)?;
        let entry = Entry::open(launch)?;
        let (outputs, [stdin, stdout, stderr]) = streams(launch, &entry)?;
        let (failure, failure_write) = pipe_with(PipeFlags::CLOEXEC).map_err(forking)?;
        Ok(Self {
            launch,
            image,
            entry,
            stdin,
            stdout,
            stderr,
            outputs,
            failure,
            failure_write,
        })
    }

    /// In the child: standard streams, and a session of its own.
    fn stand_alone(&self) {
        let _ = rustix::stdio::dup2_stdin(&self.stdin);
        let _ = rustix::stdio::dup2_stdout(&self.stdout);
        let _ = rustix::stdio::dup2_stderr(&self.stderr);
        let _ = rustix::process::setsid();
        // In a container the program is a process further on, and leads a session of its own.
        if self.launch.terminal.is_some() && self.launch.container.is_none() {
            take_terminal();
        }
    }

    /// In the child: becomes the program. Returns only when that failed, and has told why.
    fn become_program(&self, pointers: &Pointers<'_>, in_group: bool) -> i32 {
        let failed = self.entry.enter(in_group).err();
        let (step, errno) = failed.unwrap_or_else(|| {
            (
                StartStep::Exec,
                self.image.execute(&pointers.0, &pointers.1),
            )
        });
        report::failed(&self.failure_write, step, errno, "");
        NEVER_RAN
    }

    /// The process is there; the task's ends of everything are its own from now on.
    fn forked(self, pid: Pid) -> Forked {
        Forked {
            task: Task {
                pid,
                outputs: self.outputs,
                container: None,
            },
            failure: self.failure,
            in_container: self.launch.container.is_some(),
            subjects: subjects(self.launch),
        }
    }
}

/// Arguments and environment as exec wants them.
type Pointers<'a> = (CStringArray<'a>, CStringArray<'a>);

fn forking(errno: Errno) -> NotStarted {
    NotStarted::refused(StartStep::Fork, "fork", errno)
}

/// Starts the program of `launch` once `directory` is claimed.
///
/// # Errors
/// What keeps the directory from being claimed; inside, why the program does not run.
pub(crate) fn start(
    launch: &Launch,
    directory: &Directory,
) -> Result<Result<Task, NotStarted>, directory::Error> {
    let started = Ready::of(launch).and_then(|ready| {
        // A container needs a copy of this process.
        if launch.container.is_none()
            && let Ok(shared) = share(&ready, directory)
        {
            return Ok(shared.map(|pid| ready.forked(pid)));
        }
        fork(ready, directory)
    });
    match started {
        Err(refusal) => Ok(Err(refusal)),
        Ok(Err(error)) => Err(error),
        Ok(Ok(forked)) => Ok(forked.started()),
    }
}

/// A plain task: the child uses this process's memory until it is its program, which saves copying it. It claims the
/// directory itself, as this process stands still meanwhile. An error when the system cannot do that; inside, why the
/// directory is not claimed.
fn share(ready: &Ready<'_>, directory: &Directory) -> Result<Result<Pid, directory::Error>, Errno> {
    let pointers = (
        CStringArray::new(&ready.image.argv),
        CStringArray::new(&ready.image.environment),
    );
    let group = ready.entry.v2.as_ref();
    let shim = getpid();
    let mut claimed = None;
    let pid = system::fork_sharing(group.map(|group| group.directory.as_fd()), || {
        // If the shim dies before the directory is claimed, nobody would know of this process.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        if getppid() != Some(shim) {
            return NEVER_RAN;
        }
        let done = directory.claim(shim, getpid());
        let is_ours = done.is_ok();
        claimed = Some(done);
        if !is_ours {
            return NEVER_RAN;
        }
        let _ = set_parent_process_death_signal(None);
        ready.stand_alone();
        ready.become_program(&pointers, group.is_some())
    })?;
    Ok(claimed_by(pid, claimed))
}

/// The process that was to claim the directory, if it has; else it is waited for. `None`: it has not come so far.
fn claimed_by(
    pid: Pid,
    claimed: Option<Result<(), directory::Error>>,
) -> Result<Pid, directory::Error> {
    if let Some(Ok(())) = claimed {
        return Ok(pid);
    }
    let ended = waitpid(Some(pid), WaitOptions::empty()).ok().flatten();
    let end = ended.map(|(_, status)| end_of(status));
    Err(match claimed {
        Some(Err(error)) => error,
        Some(Ok(())) | None => directory::Error::Unclaimed { end },
    })
}

/// The child is a copy of this process; it waits until this one has claimed the directory.
fn fork(
    ready: Ready<'_>,
    directory: &Directory,
) -> Result<Result<Forked, directory::Error>, NotStarted> {
    let (go_read, go) = pipe_with(PipeFlags::CLOEXEC).map_err(forking)?;
    let pointers = (
        CStringArray::new(&ready.image.argv),
        CStringArray::new(&ready.image.environment),
    );
    let launch = ready.launch;
    let users = users_of(launch)?;
    let child = |in_group: bool| {
        // The child's own copy of the writing end would keep it waiting after the shim's death.
        system::close_copy(&go);
        if !matches!(read(&go_read, &mut [0_u8; 1]), Ok(1)) {
            return NEVER_RAN;
        }
        ready.stand_alone();
        if let Some(wanted) = &launch.container {
            let program = container::Program {
                image: &ready.image,
                argv: &pointers.0,
                environment: &pointers.1,
                users: users.as_ref(),
            };
            let (entry, pipe) = (&ready.entry, &ready.failure_write);
            return container::live(launch, wanted, entry, in_group, &program, pipe);
        }
        ready.become_program(&pointers, in_group)
    };
    let namespaces = launch.container.as_ref().map_or(0, container::namespaces);
    // Into the group at once if the kernel can: moving a process later takes a system-wide lock.
    let forked = match &ready.entry.v2 {
        Some(group) => system::fork(Some(group.directory.as_fd()), namespaces, || child(true)),
        None => Err(Errno::NOSYS),
    };
    let pid = forked
        .or_else(|_| system::fork(None, namespaces, || child(false)))
        .map_err(forking)?;
    if let Err(error) = directory.claim(getpid(), pid) {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
        return Ok(Err(error));
    }
    let _ = write(&go, b"g");
    drop(pointers);
    Ok(Ok(ready.forked(pid)))
}

/// Makes the terminal on its standard input that of this process, which leads its session.
pub(crate) fn take_terminal() {
    // A program without one runs as well, without job control.
    let _ = rustix::process::ioctl_tiocsctty(rustix::stdio::stdin());
}

/// Where output goes: files that the shim writes, and the task's standard input, output and error.
fn streams(launch: &Launch, entry: &Entry) -> Result<([Output; 2], [OwnedFd; 3]), NotStarted> {
    let in_sandbox = |errno| NotStarted::refused(StartStep::Sandbox, &launch.sandbox, errno);
    let owner = launch.owner();
    let (stderr_read, stderr) = output_pipe(owner.as_ref()).map_err(forking)?;
    let (stdout_read, stdin, stdout, stderr) = match launch.terminal {
        None => {
            let (stdout_read, stdout) = output_pipe(owner.as_ref()).map_err(forking)?;
            (stdout_read, open_null().map_err(forking)?, stdout, stderr)
        }
        Some(size) => {
            let (outer, inner) = terminal(size, owner.as_ref()).map_err(forking)?;
            let copy = || inner.try_clone().map_err(|error| forking(errno_of(&error)));
            (outer, copy()?, copy()?, inner)
        }
    };
    let outputs = [
        Output::open(&entry.sandbox, STDOUT, launch.output, stdout_read).map_err(in_sandbox)?,
        Output::open(&entry.sandbox, STDERR, launch.output, stderr_read).map_err(in_sandbox)?,
    ];
    Ok((outputs, [stdin, stdout, stderr]))
}

/// A terminal; its outer end is where an agent looks for it.
fn terminal(size: Size, owner: Option<&User>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (outer, inner) = streams::terminal_of(size, owner)?;
    let outer = rustix::io::fcntl_dupfd_cloexec(outer, TERMINAL_DESCRIPTOR)?;
    Ok((outer, inner))
}

fn errno_of(error: &std::io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::INVAL, Errno::from_raw_os_error)
}

/// Its users, where they are others than the machine's.
fn users_of(launch: &Launch) -> Result<Option<Users>, NotStarted> {
    let range = launch.container.as_ref().and_then(|one| one.users);
    let users = range.map(Users::make).transpose();
    users.map_err(|fault| NotStarted::refused(fault.step, &fault.what, fault.errno))
}

/// What a refusal of each step is about, in the order of [`STEPS`].
fn subjects(launch: &Launch) -> [String; STEPS.len()] {
    STEPS.map(|step| match step {
        StartStep::Read => "launch.json".to_owned(),
        StartStep::Sandbox => launch.sandbox.clone(),
        StartStep::Fork => "fork".to_owned(),
        StartStep::Cgroup => launch.cgroups.directories().join(", "),
        StartStep::User => launch
            .user
            .as_ref()
            .map_or_else(String::new, |user| user.name.clone()),
        StartStep::Exec => program_of(&launch.command).to_owned(),
        StartStep::Container => "the container".to_owned(),
    })
}

impl Forked {
    /// Waits until the process has become the program, or has failed to.
    fn started(mut self) -> Result<Task, NotStarted> {
        // The writing ends close by exec or by the child's end; inside a container somebody says that it has started.
        let fault = match report::listen(&self.failure) {
            Told::Failed(fault) => fault,
            Told::Started | Told::Ended(_) => {
                self.task.container = Some(self.failure);
                return Ok(self.task);
            }
            Told::Nothing if self.in_container => Fault {
                step: StartStep::Container,
                errno: Errno::CANCELED,
                what: "its first process has ended".to_owned(),
            },
            Told::Nothing => return Ok(self.task),
        };
        let _ = waitpid(Some(self.task.pid), WaitOptions::empty());
        let usual = STEPS.iter().position(|step| *step == fault.step);
        let usual = usual.and_then(|at| self.subjects.get(at));
        let subject = match fault.what.as_str() {
            "" => usual.map_or("", String::as_str),
            what => what,
        };
        Err(NotStarted::refused(fault.step, subject, fault.errno))
    }
}

/// A pipe for output: the shim's end never blocks, the task's end does. It belongs to the task's
/// user, so that the task may open `/dev/stdout`.
fn output_pipe(user: Option<&User>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    if let Some(user) = user {
        fchown(
            &writer,
            Some(Uid::from_raw(user.uid)),
            Some(Gid::from_raw(user.gid)),
        )?;
    }
    Ok((reader, writer))
}

/// Everything a process needs to take its place: groups, sandbox, user. Opened before the fork.
pub(crate) struct Entry {
    v1: Vec<OwnedFd>,
    v2: Option<UnifiedGroup>,
    pub(crate) sandbox: OwnedFd,
    user: Option<(Uid, Gid, Vec<Gid>)>,
}

/// A version 2 group: to be forked into, or to be entered when the kernel cannot do that.
struct UnifiedGroup {
    directory: OwnedFd,
    members: OwnedFd,
}

impl Entry {
    /// Opens what `launch` names.
    pub(crate) fn open(launch: &Launch) -> Result<Self, NotStarted> {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let sandbox = rustix::fs::open(launch.sandbox.as_str(), directory, Mode::empty())
            .map_err(|errno| NotStarted::refused(StartStep::Sandbox, &launch.sandbox, errno))?;
        let in_group = |path: String| {
            rustix::fs::open(
                path.as_str(),
                OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .map_err(|errno| NotStarted::refused(StartStep::Cgroup, &path, errno))
        };
        let v1 = launch
            .cgroups
            .enter_files()
            .into_iter()
            .map(in_group)
            .collect::<Result<_, _>>()?;
        let v2 = match &launch.cgroups.v2 {
            None => None,
            Some(path) => Some(UnifiedGroup {
                directory: rustix::fs::open(path.as_str(), directory, Mode::empty())
                    .map_err(|errno| NotStarted::refused(StartStep::Cgroup, path, errno))?,
                members: in_group(format!("{path}/cgroup.procs"))?,
            }),
        };
        let user = launch.user.as_ref().map(|user| {
            let groups = user.groups.iter().copied().map(Gid::from_raw).collect();
            (Uid::from_raw(user.uid), Gid::from_raw(user.gid), groups)
        });
        Ok(Self {
            v1,
            v2,
            sandbox,
            user,
        })
    }

    /// The group to be forked into.
    pub(crate) fn group(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.v2.as_ref().map(|group| group.directory.as_fd())
    }

    /// Enters the control groups.
    pub(crate) fn join_groups(&self, already_in_v2: bool) -> Result<(), (StartStep, Errno)> {
        let at = |step| move |errno| (step, errno);
        for tasks in &self.v1 {
            write(tasks, b"0").map_err(at(StartStep::Cgroup))?;
        }
        if let Some(group) = self.v2.as_ref().filter(|_| !already_in_v2) {
            write(&group.members, b"0").map_err(at(StartStep::Cgroup))?;
        }
        Ok(())
    }

    /// Takes the place: system calls only, so that it may run between fork and exec.
    pub(crate) fn enter(&self, already_in_v2: bool) -> Result<(), (StartStep, Errno)> {
        let at = |step| move |errno| (step, errno);
        self.join_groups(already_in_v2)?;
        rustix::process::fchdir(&self.sandbox).map_err(at(StartStep::Sandbox))?;
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        if let Some((uid, gid, groups)) = &self.user {
            // One thread: what changes the thread changes the process.
            set_thread_groups(groups).map_err(at(StartStep::User))?;
            set_thread_res_gid(*gid, *gid, *gid).map_err(at(StartStep::User))?;
            set_thread_res_uid(*uid, *uid, *uid).map_err(at(StartStep::User))?;
        }
        system::default_signals();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A process of this one that ends as the line says.
    fn ending(line: &str) -> Pid {
        let child = Command::new("/bin/sh").args(["-c", line]).spawn();
        Pid::from_child(&child.expect("a shell"))
    }

    #[test]
    fn a_process_that_dies_before_it_has_claimed_is_told_so() {
        let killed = claimed_by(ending("kill -9 $$"), None).expect_err("not claimed");
        let taken = claimed_by(ending("exit 127"), Some(Err(directory::Error::Taken)));

        assert_eq!(
            killed.to_string(),
            "the task's process has ended before it had claimed the directory: Command terminated with signal Killed (9, SIGKILL)"
        );
        let taken = taken.expect_err("claimed by another").to_string();
        assert!(
            taken.starts_with("the directory was claimed before"),
            "{taken}"
        );
    }
}
