//! A session inside a running task: a command that a person runs beside the task's program, with the task's user (or
//! another that is asked for), powers, environment, place and control groups, at a terminal or at pipes.
//!
//! ```text
//! agent ── socket ── this process ── fork into a group of the session's own ─▶ the command, in the task's namespaces
//!   └─────────────── terminal or pipes ────────────────────────────────────────────┘
//! ```
//! This process stays outside and waits. When the command ends, the task ends, or the agent lets go of the socket (because
//! the person has gone, or the agent itself has died), everything the session has started is killed: nothing of it
//! stays in the task. What the command says does not pass through here.

mod group; // the session's own control group
pub(crate) mod streams; // the terminal or the pipes

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use mete_agent_core::task_dir::session::{
    MAX_PACKET_BYTES, News, Order, Request, Size, decode, encode,
};
use mete_agent_core::task_dir::{Command, Container, End, Launch, StartStep};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, pread, read};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, set_dumpable_behavior, set_parent_process_death_signal, setsid, wait,
    waitpid,
};

use crate::container::{Powers, join};
use crate::directory::Directory;
use crate::image::Image;
use crate::process::{Entry, NotStarted, open_null, text_of};
use crate::report::{self, Fault, Told};
use crate::supervise::end_of;
use crate::system::{self, CStringArray};
use group::Group;
use streams::{Inner, Outer};

/// How long a command may take to end once the person has gone: a shell writes its history.
const GRACE_MS: i64 = 1_000;

/// How long what is left may take to die: SIGKILL needs longer only for a process stuck in the kernel.
const SWEEP_MS: i64 = 5_000;

/// Pause between two looks at what is left.
const SWEEP_STEP_MS: i64 = 20;

/// Exit code of a process that never became the command; only this process sees it.
const NEVER_RAN: i32 = 127;

/// The life of one session in the task of `directory`; standard input is the socket to the agent. Returns an exit code.
pub(crate) fn run(directory: &Path) -> u8 {
    system::close_from(3);
    system::hold_signals();
    let control = match let_go() {
        Ok(control) => control,
        Err(errno) => {
            eprintln!("no socket to an agent: {}", text_of(errno));
            return crate::FAILED;
        }
    };
    let children = match Children::open() {
        Ok(children) => children,
        Err(errno) => {
            let end = failing(StartStep::Fork, "the list of children")(errno);
            let _ = say(&control, &News::Ended(not_started(end)), &[]);
            return crate::FAILED;
        }
    };
    let end = match begin(directory, &control, &children) {
        Ok(session) => session.live(&control, &children),
        Err(refusal) => not_started(refusal),
    };
    let _ = say(&control, &News::Ended(end), &[]);
    0
}

fn not_started(refusal: NotStarted) -> End {
    End::NotStarted {
        step: refusal.step,
        errno: refusal.errno.map(Errno::raw_os_error),
        reason: refusal.reason,
    }
}

/// Takes the socket, and leaves everything else of the agent behind.
fn let_go() -> Result<OwnedFd, Errno> {
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = open_null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    let _ = setsid();
    let _ = set_child_subreaper(Some(getpid()));
    // After it has entered a container, nobody inside is to look into this process.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::process::chdir("/");
    Ok(control)
}

fn say(control: &OwnedFd, news: &News, handles: &[&OwnedFd]) -> Result<(), Errno> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let handles: Vec<_> = handles.iter().map(AsFd::as_fd).collect();
    if !handles.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&handles));
    }
    let bytes = encode(news);
    let slices = [std::io::IoSlice::new(&bytes)];
    sendmsg(control, &slices, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// A refusal in words of our own.
fn refused(step: StartStep, reason: impl Into<String>) -> NotStarted {
    NotStarted {
        step,
        errno: None,
        reason: reason.into(),
    }
}

/// The system refused something that is not worth a name.
fn failing(step: StartStep, what: &'static str) -> impl Fn(Errno) -> NotStarted {
    move |errno| NotStarted {
        step,
        errno: Some(errno),
        reason: format!("{what}: {}", text_of(errno)),
    }
}

/// Everything from the request to a running command; the agent has been told then.
fn begin(directory: &Path, control: &OwnedFd, children: &Children) -> Result<Session, NotStarted> {
    let request = request(control)?;
    let said = |error: crate::directory::Error| refused(StartStep::Read, error.to_string());
    let open = Directory::open(directory).map_err(said)?;
    let mut launch: Launch = open.read().map_err(said)?;
    let first = join::first_process(&open).map_err(|why| refused(StartStep::Read, why))?;
    if request.user.is_some() {
        launch.user = request.user;
    }
    let mut environment = launch.environment.clone();
    environment.extend(request.environment);
    let path = request.command.first().cloned();
    let command = Command::Program {
        path: path.ok_or_else(|| refused(StartStep::Exec, "no command is given"))?,
        arguments: request.command,
    };
    let image = Image::of(&command, &environment)?;
    let powers = powers(&open, &launch)?;
    let group = Group::make(&mut launch.cgroups)?;
    let terminal = request.terminal;
    let begun = start(&launch, &first, &command, &image, terminal, powers.as_ref());
    match begun.and_then(|(child, outer)| told(control, child, outer)) {
        Ok(child) => Ok(Session {
            child,
            first,
            group,
        }),
        Err(refusal) => {
            sweep(children, group.as_ref(), None);
            Err(refusal)
        }
    }
}

fn request(control: &OwnedFd) -> Result<Request, NotStarted> {
    let mut bytes = vec![0; MAX_PACKET_BYTES];
    let (length, _) = recv(control, &mut bytes, RecvFlags::empty())
        .map_err(failing(StartStep::Read, "the request"))?;
    let request = bytes.get(..length).and_then(decode);
    request.ok_or_else(|| refused(StartStep::Read, "the request cannot be read"))
}

/// Tells the agent that the command runs, and hands its ends of the streams over.
fn told(control: &OwnedFd, child: Pid, outer: Outer) -> Result<Pid, NotStarted> {
    say(control, &News::Running, &outer.handles())
        .map_err(failing(StartStep::Fork, "the agent does not listen"))?;
    Ok(child)
}

/// What the command is left with in the container of the task, if there is one.
fn powers(directory: &Directory, launch: &Launch) -> Result<Option<Powers>, NotStarted> {
    let Some(container) = &launch.container else {
        return Ok(None);
    };
    let users = join::users(directory, container);
    let users = users.map_err(|why| refused(StartStep::Container, why))?;
    let powers = Powers::of(launch, container, users.as_ref());
    powers.map(Some).map_err(in_words)
}

fn in_words(fault: Fault) -> NotStarted {
    NotStarted {
        step: fault.step,
        errno: Some(fault.errno),
        reason: match fault.what.as_str() {
            "" => text_of(fault.errno),
            what => format!("{what}: {}", text_of(fault.errno)),
        },
    }
}

/// Forks, and waits until the command runs.
fn start(
    launch: &Launch,
    first: &OwnedFd,
    command: &Command,
    image: &Image,
    terminal: Option<Size>,
    powers: Option<&Powers>,
) -> Result<(Pid, Outer), NotStarted> {
    let entry = Entry::open(launch)?;
    let spaces = launch.container.as_ref();
    if spaces.is_some() {
        // Control groups come later, in the child: from here on this process could not fork into one any more.
        join::enter(first, join::ALL - join::GROUPS)
            .map_err(failing(StartStep::Container, "joining the container"))?;
    }
    // After entering: a terminal of the container is one that its programs find by name.
    let (outer, inner) = streams::open(terminal, launch.owner().as_ref())
        .map_err(failing(StartStep::Fork, "making a terminal or pipes"))?;
    let (failure, failure_write) =
        pipe_with(PipeFlags::CLOEXEC).map_err(failing(StartStep::Fork, "a pipe"))?;
    let (argv, variables) = (
        CStringArray::new(&image.argv),
        CStringArray::new(&image.environment),
    );
    let child = |in_group: bool| {
        let place = Place {
            entry: &entry,
            inside: spaces.zip(powers),
            first,
            in_group,
        };
        let fault = match place.take(&inner, &failure_write) {
            Ok(()) => Fault {
                step: StartStep::Exec,
                errno: image.execute(&argv, &variables),
                what: crate::image::program_of(command).to_owned(),
            },
            Err(fault) => fault,
        };
        report::failed(&failure_write, fault.step, fault.errno, &fault.what);
        NEVER_RAN
    };
    let forked = match entry.group() {
        Some(group) => system::fork(Some(group), 0, || child(true)),
        None => Err(Errno::NOSYS),
    };
    let forked = forked.or_else(|_| system::fork(None, 0, || child(false)));
    let pid = forked.map_err(failing(StartStep::Fork, "fork"))?;
    drop((failure_write, inner));
    match report::listen(&failure) {
        Told::Failed(fault) => {
            let _ = waitpid(Some(pid), WaitOptions::empty());
            Err(in_words(fault))
        }
        // The writing end is closed by a successful exec.
        Told::Nothing | Told::Started | Told::Ended(_) => Ok((pid, outer)),
    }
}

/// Where a command is to be.
struct Place<'a> {
    entry: &'a Entry,
    inside: Option<(&'a Container, &'a Powers)>,
    first: &'a OwnedFd,
    in_group: bool,
}

impl Place<'_> {
    /// Takes the place: system calls only, as after any fork.
    fn take(&self, streams: &Inner, report: &OwnedFd) -> Result<(), Fault> {
        let plain = |(step, errno)| Fault {
            step,
            errno,
            what: String::new(),
        };
        let _ = setsid();
        streams
            .take()
            .map_err(|errno| plain((StartStep::Fork, errno)))?;
        let Some((container, powers)) = self.inside else {
            return self.entry.enter(self.in_group).map_err(plain);
        };
        self.entry.join_groups(self.in_group).map_err(plain)?;
        join::enter(self.first, join::GROUPS).map_err(Fault::of("joining the container"))?;
        system::close_all_but(powers.handles().chain([report]));
        let place = container.working_dir.as_str();
        rustix::process::chdir(place).map_err(Fault::of(place))?;
        powers.take()?;
        // Becoming another user has undone it if it was said before.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        Ok(())
    }
}

/// The list of this process's children, opened outside: inside a container `/proc` has other numbers.
struct Children(OwnedFd);

impl Children {
    fn open() -> Result<Self, Errno> {
        let own = getpid().as_raw_nonzero();
        let path = format!("/proc/{own}/task/{own}/children");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(Self)
    }

    /// Kills them all; their children become ours, or those of the container's first process.
    fn kill(&self) {
        let mut text = [0; 4_096];
        let length = pread(&self.0, &mut text, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        for word in text.split_ascii_whitespace() {
            if let Some(pid) = word.parse().ok().and_then(Pid::from_raw) {
                // A child stays ours, dead or not, until we have waited for it: the number is its own.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// A running session.
struct Session {
    child: Pid,
    /// The first process of the task; readable when it has ended.
    first: OwnedFd,
    group: Option<Group>,
}

impl Session {
    /// Stays until the command has ended and nothing of the session is left.
    fn live(&self, control: &OwnedFd, children: &Children) -> End {
        let end = match system::child_signals() {
            Ok(signals) => self.until_ended(control, &signals),
            Err(_) => None,
        };
        // Not seen to end by itself: it is killed.
        let left = sweep(children, self.group.as_ref(), Some(self.child));
        end.or(left).unwrap_or(End::Signaled {
            signal: Signal::KILL.as_raw(),
        })
    }

    /// How the command has ended; `None` when it is to be killed.
    fn until_ended(&self, control: &OwnedFd, signals: &OwnedFd) -> Option<End> {
        let mut deadline = None;
        loop {
            if let Some(end) = reap(Some(self.child)).0 {
                return Some(end);
            }
            let left = deadline.map(|at: i64| at - system::monotonic_ms());
            if left.is_some_and(|left| left <= 0) {
                return None;
            }
            let timeout = left.map(milliseconds);
            let mut watched = vec![
                PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.first.as_fd(), PollFlags::IN),
            ];
            if deadline.is_none() {
                watched.push(PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN));
            }
            let _ = poll(&mut watched, timeout.as_ref());
            let came = |at: usize| watched.get(at).is_some_and(|fd| !fd.revents().is_empty());
            let (task_ended, spoken) = (came(1), came(2));
            while matches!(read(signals, &mut [0_u8; 512]), Ok(1..)) {}
            if task_ended {
                return reap(Some(self.child)).0;
            }
            if spoken && !self.obey(control) {
                let _ = kill_process_group(self.child, Signal::HUP);
                let _ = kill_process_group(self.child, Signal::CONT);
                deadline = Some(system::monotonic_ms() + GRACE_MS);
            }
        }
    }

    /// Carries one order out; false when the agent has let go.
    fn obey(&self, control: &OwnedFd) -> bool {
        let mut bytes = [0; 256];
        match recv(control, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => false,
            Ok((length, _)) => {
                if let Some(Order::Signal(number)) = bytes.get(..length).and_then(decode)
                    && let Some(signal) = Signal::from_named_raw(number)
                {
                    // The number is that of our own child until we have waited for it.
                    let _ = kill_process_group(self.child, signal);
                }
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }
}

fn milliseconds(count: i64) -> Timespec {
    Timespec {
        tv_sec: count / 1_000,
        tv_nsec: (count % 1_000) * 1_000_000,
    }
}

/// Collects every child that has ended: how `awaited` did, if it is among them, and whether no child is left.
fn reap(awaited: Option<Pid>) -> (Option<End>, bool) {
    let mut end = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid) == awaited => end = Some(end_of(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return (end, false),
            Err(_) => return (end, true),
        }
    }
}

/// Kills everything that the session has started, and removes its group. How `awaited` ended, if that was seen now.
fn sweep(children: &Children, group: Option<&Group>, awaited: Option<Pid>) -> Option<End> {
    let deadline = system::monotonic_ms() + SWEEP_MS;
    let mut end = None;
    loop {
        children.kill();
        let empty = group.is_none_or(Group::kill);
        let reaped = reap(awaited);
        end = end.or(reaped.0);
        let done = empty && reaped.1 && group.is_none_or(Group::remove);
        if done || system::monotonic_ms() > deadline {
            return end;
        }
        let _ = poll(&mut [], Some(&milliseconds(SWEEP_STEP_MS)));
    }
}
