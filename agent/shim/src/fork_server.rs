//! One shim kept ready, of which the others are copies.
//!
//! ```text
//! agent ──[task directory; a pipe]──▶ server ──fork──▶ shim, the rest of its life as if it had been executed
//!       ◀──[pidfd, or an error number]──┘
//! agent gone ─▶ end of file ─▶ the server ends, its shims run on
//! ```
//! Executing a program of this size costs milliseconds (a linker, tens of thousands of relocations, as many dirty pages);
//! a copy of one that is ready costs a fifth of one, and shares those pages with all others.
//!
//! Invariants: the server has one thread and opens nothing of a task. It waits for each shim that ends, and takes its
//! pidfd before, so a pidfd is never another process's. Requests are answered in order, one packet each.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, wait};
use rustix::stdio;

use crate::{DONE, FAILED, directory, system};

/// Longest path of a task directory: the system's own bound.
const MAX_PATH_BYTES: usize = 4_096;

/// Serves until nobody can ask any more. Standard input is a socket of packets.
pub(crate) fn run() -> u8 {
    system::close_from(3);
    system::hold_signals();
    // Signals that a terminal sends to the agent are not for the shims to come.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    let title = system::Title::of_this_process();
    if let Some(title) = &title {
        title.set(&[b"mete-shim", b"shim", b"--fork-server"]);
    }
    match serve(title.as_ref()) {
        Ok(()) => DONE,
        Err(errno) => {
            eprintln!("fork server of the shims: {errno}");
            FAILED
        }
    }
}

fn serve(title: Option<&system::Title>) -> Result<(), Errno> {
    let child_signals = system::child_signals()?;
    // A shim that cannot read it says so.
    let _ = directory::boot_id();
    let socket = stdio::stdin();
    loop {
        let mut watched = [
            PollFd::new(&socket, PollFlags::IN),
            PollFd::new(&child_signals, PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let [asked, ended] = watched.map(|one| !one.revents().is_empty());
        if ended {
            while matches!(rustix::io::read(&child_signals, &mut [0_u8; 512]), Ok(1..)) {}
            // Not with every request: the kernel looks at each shim that runs.
            while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        }
        if !asked {
            continue;
        }
        let Some(request) = Request::receive()? else {
            return Ok(());
        };
        answer(request.fork(title))?;
    }
}

/// A shim that is wanted.
struct Request {
    directory: Vec<u8>,
    /// Where it says that the task runs, or why it does not.
    words: OwnedFd,
}

impl Request {
    /// Waits for the next; `None` when nobody can ask any more.
    fn receive() -> Result<Option<Self>, Errno> {
        let mut path = [0; MAX_PATH_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            stdio::stdin(),
            &mut [IoSliceMut::new(&mut path)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let descriptors = control.drain().filter_map(|message| {
            let RecvAncillaryMessage::ScmRights(descriptors) = message else {
                return None;
            };
            Some(descriptors)
        });
        let words = descriptors.flatten().next().ok_or(Errno::BADF)?;
        Ok(Some(Self {
            directory: path.get(..received.bytes).unwrap_or_default().to_vec(),
            words,
        }))
    }

    /// The shim, by its pidfd.
    fn fork(self, title: Option<&system::Title>) -> Result<OwnedFd, Errno> {
        let Self { directory, words } = &self;
        let shim = system::fork(None, 0, || {
            if let Some(title) = title {
                title.set(&[b"mete-shim", b"shim", directory]);
            }
            let placed = crate::process::open_null()
                .and_then(|null| stdio::dup2_stdin(&null))
                .and_then(|()| stdio::dup2_stdout(words))
                .and_then(|()| stdio::dup2_stderr(words));
            match placed {
                Ok(()) => crate::run(Path::new(OsStr::from_bytes(directory))).into(),
                Err(_) => FAILED.into(),
            }
        })?;
        pidfd_open(shim, PidfdFlags::empty()).inspect_err(|_| {
            // Nobody has waited for it, so the number is its own.
            let _ = kill_process(shim, Signal::KILL);
        })
    }
}

/// One packet: a pidfd with the number 0, or the number of an error alone.
fn answer(shim: Result<OwnedFd, Errno>) -> Result<(), Errno> {
    let number = shim.as_ref().err().map_or(0, |errno| errno.raw_os_error());
    let descriptors: Vec<_> = shim.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    sendmsg(
        stdio::stdin(),
        &[IoSlice::new(&number.to_ne_bytes())],
        &mut control,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
