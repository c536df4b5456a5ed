//! Told by the kernel when a file changes, and in any case after a while: a kernel that has no more watches for us, a
//! change that nobody tells, a task that ends without a word.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::shims;

/// The longest sleep: as long as a person does not notice, and a glance at a file costs some microseconds.
const TICK: Duration = Duration::from_millis(200);

/// Watches files.
pub(super) struct Wake(Option<AsyncFd<OwnedFd>>);

impl Wake {
    /// Without the kernel's help when it has none to give: a user may have so many watchers.
    pub(super) fn new() -> Self {
        let watcher = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let watcher = watcher.map_err(std::io::Error::from).and_then(shims::watch);
        Self(watcher.ok())
    }

    /// Watches an open file, whatever its name becomes. A file that is watched already is fine.
    pub(super) fn watch(&self, file: &File) {
        if let Some(watcher) = &self.0 {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let events = WatchFlags::MODIFY | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB;
            let _ = inotify::add_watch(watcher.get_ref(), path, events);
        }
    }

    /// Waits for a change or the tick. A change between a look and this is not missed: it waits in the watcher.
    pub(super) async fn changed(&self) {
        let Some(watcher) = &self.0 else {
            return sleep(TICK).await;
        };
        tokio::select! {
            ready = watcher.readable() => {
                let Ok(mut ready) = ready else { return sleep(TICK).await };
                let mut events = [0_u8; 4_096];
                while ready
                    .try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut events)?))
                    .is_ok_and(|read| read.is_ok())
                {}
            }
            () = sleep(TICK) => {}
        }
    }
}
