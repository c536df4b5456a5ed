//! One end of a terminal or a pipe that does not block.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use crate::shims;

/// One end.
pub(super) struct Stream(AsyncFd<OwnedFd>);

impl Stream {
    /// Of a descriptor that does not block.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        shims::watch_both_ways(fd).map(Self)
    }

    pub(super) fn handle(&self) -> &OwnedFd {
        self.0.get_ref()
    }

    /// Some bytes; 0 at the end, which a terminal has when nobody has its other end open.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|fd| match rustix::io::read(fd.get_ref(), &mut *buffer) {
                Err(Errno::IO) => Ok(0),
                read => Ok(read?),
            });
            if let Ok(read) = read {
                return read;
            }
        }
    }

    /// All bytes, as fast as they are taken.
    pub(super) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            let written = ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?));
            if let Ok(written) = written {
                bytes = bytes.get(written?..).unwrap_or_default();
            }
        }
        Ok(())
    }
}
