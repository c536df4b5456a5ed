//! From launch.json to a running program.
//!
//! ```text
//! shim    open everything → fork → (blocked) → claim the directory → release → running | not started
//! child                       └── waits ─────────────────────────────┘ → groups → user → exec
//! ```
//!
//! Invariants: the child's program does not start before the directory is claimed; a child whose
//! shim dies while it waits ends by itself. Everything that can allocate is done before the fork;
//! the child makes system calls only. A failure after the fork comes back as step and errno through
//! a pipe that a successful exec closes.

use std::os::fd::{AsFd, OwnedFd};

use mete_agent_core::task_dir::{Launch, STDERR, STDOUT, StartStep, User};
use rustix::fs::{Mode, OFlags, fchown};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Signal, Uid, WaitOptions, kill_process, waitpid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::container::{self, Users};
use crate::image::{Image, program_of};
use crate::output::Output;
use crate::report::{self, Fault, STEPS, Told};
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

/// A task's process that waits to become its program.
pub(crate) struct Blocked {
    task: Task,
    go: OwnedFd,
    failure: OwnedFd,
    in_container: bool,
    /// What each step is about, for its error.
    subjects: [String; STEPS.len()],
}

/// Prepares everything and forks; the child waits for [`Blocked::release`].
pub(crate) fn fork(launch: &Launch) -> Result<Blocked, NotStarted> {
    let image = Image::of(&launch.command, &launch.environment)?;
    let entry = Entry::open(launch)?;
    let forking = |errno| NotStarted::refused(StartStep::Fork, "fork", errno);
    let (outputs, [stdout, stderr]) = streams(launch, &entry)?;
    let stdin = open_null().map_err(forking)?;
    let (go_read, go) = pipe_with(PipeFlags::CLOEXEC).map_err(forking)?;
    let (failure, failure_write) = pipe_with(PipeFlags::CLOEXEC).map_err(forking)?;

    let pointers = (
        CStringArray::new(&image.argv),
        CStringArray::new(&image.environment),
    );
    let users = users_of(launch)?;
    let child = |in_group: bool| {
        // The child's own copy of the writing end would keep it waiting after the shim's death.
        system::close_copy(&go);
        if !matches!(read(&go_read, &mut [0_u8; 1]), Ok(1)) {
            return NEVER_RAN;
        }
        let _ = rustix::stdio::dup2_stdin(&stdin);
        let _ = rustix::stdio::dup2_stdout(&stdout);
        let _ = rustix::stdio::dup2_stderr(&stderr);
        let _ = rustix::process::setsid();
        if let Some(wanted) = &launch.container {
            let program = container::Program {
                image: &image,
                argv: &pointers.0,
                environment: &pointers.1,
                users: users.as_ref(),
            };
            return container::live(launch, wanted, &entry, in_group, &program, &failure_write);
        }
        let failed = entry.enter(in_group).err();
        let (step, errno) =
            failed.unwrap_or_else(|| (StartStep::Exec, image.execute(&pointers.0, &pointers.1)));
        report::failed(&failure_write, step, errno, "");
        NEVER_RAN
    };
    let namespaces = launch.container.as_ref().map_or(0, container::namespaces);
    // Into the group at once if the kernel can: moving a process later takes a system-wide lock.
    let forked = match &entry.v2 {
        Some(group) => system::fork(Some(group.directory.as_fd()), namespaces, || child(true)),
        None => Err(Errno::NOSYS),
    };
    let pid = forked
        .or_else(|_| system::fork(None, namespaces, || child(false)))
        .map_err(forking)?;
    Ok(Blocked {
        task: Task {
            pid,
            outputs,
            container: None,
        },
        go,
        failure,
        in_container: launch.container.is_some(),
        subjects: subjects(launch),
    })
}

/// Where output goes: files that the shim writes, and the task's ends of what leads to them.
fn streams(launch: &Launch, entry: &Entry) -> Result<([Output; 2], [OwnedFd; 2]), NotStarted> {
    let in_sandbox = |errno| NotStarted::refused(StartStep::Sandbox, &launch.sandbox, errno);
    let forking = |errno| NotStarted::refused(StartStep::Fork, "fork", errno);
    let owner = launch.owner();
    let (stdout_read, stdout) = output_pipe(owner.as_ref()).map_err(forking)?;
    let (stderr_read, stderr) = output_pipe(owner.as_ref()).map_err(forking)?;
    let outputs = [
        Output::open(&entry.sandbox, STDOUT, launch.output, stdout_read).map_err(in_sandbox)?,
        Output::open(&entry.sandbox, STDERR, launch.output, stderr_read).map_err(in_sandbox)?,
    ];
    Ok((outputs, [stdout, stderr]))
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

impl Blocked {
    pub(crate) fn pid(&self) -> Pid {
        self.task.pid
    }

    /// Ends the child before it has become anything.
    pub(crate) fn abandon(self) {
        let _ = kill_process(self.task.pid, Signal::KILL);
        let _ = waitpid(Some(self.task.pid), WaitOptions::empty());
    }

    /// Lets the child become the program, and waits until it has or has failed to.
    pub(crate) fn release(mut self) -> Result<Task, NotStarted> {
        let _ = write(&self.go, b"g");
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
