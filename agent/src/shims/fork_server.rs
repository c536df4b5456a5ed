//! Where shims come from: one that is kept ready, and makes copies of itself (see `fork_server` of the crate `mete-shim`).
//!
//! It begins with the agent, or with the first launch. Should it end, by an operator's hand or for want of memory, the next launch begins
//! another; the shims it has made run on. It ends with the agent.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    sockopt,
};

/// How long a copy may take. It takes a fraction of a millisecond; on a machine that swaps it may be seconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// Servers that are tried for one shim: one that has ended is found out by asking it.
const TRIES: usize = 2;
/// Room for the title of a shim: the program, `shim`, and a long path of a task directory.
const TITLE_BYTES: usize = 512;

/// The server, if it has begun.
#[derive(Debug, Default)]
pub(super) struct ForkServer(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    /// `None` only while it is dropped.
    socket: Option<OwnedFd>,
    process: Child,
}

impl ForkServer {
    /// Begins it, if it has not begun.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn begin(&self, command: impl Fn() -> Command) -> io::Result<()> {
        let mut server = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if server.is_none() {
            *server = Some(Running::begin(command())?);
        }
        Ok(())
    }

    /// A new shim for the task directory; its pidfd. What it has to say until
    /// its task runs goes to `words`. Blocks for a moment.
    ///
    /// # Errors
    /// When the server cannot be had, or has no room for another.
    pub(super) fn shim(
        &self,
        command: impl Fn() -> Command,
        dir: &Path,
        words: BorrowedFd<'_>,
    ) -> io::Result<OwnedFd> {
        let mut server = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failure = io::Error::other("no server of shims");
        for _ in 0..TRIES {
            let running = match server.take() {
                Some(running) => running,
                None => Running::begin(command())?,
            };
            match running.ask(dir, words) {
                Ok(shim) => {
                    *server = Some(running);
                    return shim;
                }
                // It is dropped, and nobody hears of what it may still make: a directory is claimed once.
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl Running {
    fn begin(mut command: Command) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_timeout(&ours, sockopt::Timeout::Recv, Some(PATIENCE))?;
        let room = "-".repeat(TITLE_BYTES);
        let process = command
            .args(["--fork-server", &room])
            .stdin(theirs)
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self {
            socket: Some(ours),
            process,
        })
    }

    /// The answer; the outer error is that there was none.
    fn ask(&self, dir: &Path, words: BorrowedFd<'_>) -> io::Result<io::Result<OwnedFd>> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the server of shims has ended");
        let socket = self.socket.as_ref().ok_or_else(gone)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let words = [words];
        control.push(SendAncillaryMessage::ScmRights(&words));
        let path = IoSlice::new(dir.as_os_str().as_bytes());
        sendmsg(socket, &[path], &mut control, SendFlags::NOSIGNAL)?;

        let mut number = [0; size_of::<i32>()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut number)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if received.bytes != number.len() {
            return Err(gone());
        }
        let shim = control.drain().find_map(|message| {
            let RecvAncillaryMessage::ScmRights(mut descriptors) = message else {
                return None;
            };
            descriptors.next()
        });
        Ok(shim.ok_or_else(|| match i32::from_ne_bytes(number) {
            // It was made, and its pidfd found no place here.
            0 => io::Error::other("the agent has no more file descriptors"),
            number => io::Error::from_raw_os_error(number),
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // End of file ends it; one that is stuck is not waited for.
        drop(self.socket.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_program_that_is_no_server_is_an_error() {
        let forks = ForkServer::default();
        let null = std::fs::File::open("/dev/null").expect("is there");

        let program = || Command::new("/bin/true");
        let refused = forks.shim(program, Path::new("/tmp"), null.as_fd());

        let refused = refused.expect_err("it serves nothing");
        let kinds = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        assert!(kinds.contains(&refused.kind()), "{refused}");
    }
}
