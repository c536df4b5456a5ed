//! Inside the network of a task: a socket belongs to the network in which it was opened, whoever uses it afterwards.
//!
//! A thread enters the namespace, does one thing, and ends: no other thread of the agent is ever in another network.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread;

use mete_agent_core::task_dir::{Launch, Net, PidFile, TaskDir};
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};
use tokio::net::TcpSocket;

use super::NetworkError;
use crate::processes;
use crate::shims;

/// From which port on programs without powers may listen (Docker's).
const LOW_PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Lets programs that are not root listen on any port of a namespace that is theirs alone.
pub(super) fn open_low_ports(namespace: &Path) -> Result<(), NetworkError> {
    let file = File::open(namespace).map_err(NetworkError::io(namespace))?;
    let enter = || {
        let network = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(file.as_fd(), network)
    };
    let written = on_a_thread(|| {
        enter()?;
        fs::write(LOW_PORTS, "0")
    });
    written.map_err(NetworkError::io(LOW_PORTS))
}

/// Whether the task of a directory has a network of its own. Blocks for a moment.
pub(crate) fn has_own(dir: &TaskDir) -> bool {
    let launch = shims::read_file::<Launch>(&dir.launch()).ok();
    let network = launch.and_then(|launch| Some(launch.container?.network));
    matches!(network, Some(Net::None | Net::Joined { .. }))
}

/// A socket in the network of a running task. Blocks for a moment.
///
/// # Errors
/// When the task does not run, or what the system says.
pub(crate) fn socket(dir: &TaskDir, to: SocketAddr) -> io::Result<TcpSocket> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, "the task does not run");
    let file: PidFile = shims::read_file(&dir.pid()).map_err(io::Error::other)?;
    let task = file.runner.ok_or_else(gone)?.task;
    let handle = processes::open(task).ok_or_else(gone)?;
    on_a_thread(|| {
        enter_of(handle.as_fd())?;
        match to {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
    })
}

fn enter_of(process: BorrowedFd<'_>) -> io::Result<()> {
    rustix::thread::move_into_thread_name_spaces(process, ThreadNameSpaceType::NETWORK)?;
    Ok(())
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("network".to_owned());
        let running = thread.spawn_scoped(scope, work)?;
        running
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread broke")))
    })
}
