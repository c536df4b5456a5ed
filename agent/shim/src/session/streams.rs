//! What a session's command reads and writes: one terminal, or three pipes; and the other ends of them, for the agent.

use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::User;
use mete_agent_core::task_dir::session::Size;
use rustix::fs::{Mode, OFlags, fchmod, fchown};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Uid, ioctl_tiocsctty};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The agent's ends; none of them blocks.
pub(super) enum Outer {
    Terminal(OwnedFd),
    /// Standard input, output and error.
    Pipes([OwnedFd; 3]),
}

/// The command's ends.
pub(super) enum Inner {
    Terminal(OwnedFd),
    Pipes([OwnedFd; 3]),
}

/// Both ends. A terminal is one of the place this process is in: inside a container, the container's. They belong to
/// the task's user, who may so open `/dev/stdout`.
pub(super) fn open(terminal: Option<Size>, user: Option<&User>) -> Result<(Outer, Inner), Errno> {
    let Some(size) = terminal else {
        let (stdin, stdin_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stdout_read, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr_read, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let outer = [stdin_write, stdout_read, stderr_read];
        for end in &outer {
            // It counts for one end of a pipe only, and stays with it when it is passed on.
            let flags = rustix::fs::fcntl_getfl(end)?;
            rustix::fs::fcntl_setfl(end, flags | OFlags::NONBLOCK)?;
        }
        let inner = [stdin, stdout, stderr];
        inner.iter().try_for_each(|end| give(end, user))?;
        return Ok((Outer::Pipes(outer), Inner::Pipes(inner)));
    };
    let (outer, inner) = terminal_of(size, user)?;
    Ok((Outer::Terminal(outer), Inner::Terminal(inner)))
}

/// Both ends of a terminal; the first, which is not the program's, does not block. It is the user's.
pub(crate) fn terminal_of(size: Size, user: Option<&User>) -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let outer = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty())
        // A machine's devices may be closed there to all but root, and open here.
        .or_else(|_| rustix::fs::open("/dev/ptmx", flags, Mode::empty()))?;
    unlockpt(&outer)?;
    resize(&outer, size)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let inner = ioctl_tiocgptpeer(&outer, flags)?;
    give(&inner, user)?;
    fchmod(&inner, Mode::RUSR | Mode::WUSR | Mode::WGRP)?;
    Ok((outer, inner))
}

fn give(end: &OwnedFd, user: Option<&User>) -> Result<(), Errno> {
    match user {
        Some(user) => {
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            fchown(end, Some(uid), Some(gid))
        }
        None => Ok(()),
    }
}

fn resize(terminal: &OwnedFd, size: Size) -> Result<(), Errno> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size)
}

impl Outer {
    /// One or three, as the agent expects them.
    pub(super) fn handles(&self) -> Vec<&OwnedFd> {
        match self {
            Self::Terminal(terminal) => vec![terminal],
            Self::Pipes(pipes) => pipes.iter().collect(),
        }
    }
}

impl Inner {
    /// Makes them the standard three of this process, which leads its session: a terminal becomes that of the session.
    pub(super) fn take(&self) -> Result<(), Errno> {
        let [stdin, stdout, stderr] = match self {
            Self::Terminal(terminal) => {
                ioctl_tiocsctty(terminal)?;
                [terminal, terminal, terminal]
            }
            Self::Pipes([stdin, stdout, stderr]) => [stdin, stdout, stderr],
        };
        rustix::stdio::dup2_stdin(stdin)?;
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)
    }
}
