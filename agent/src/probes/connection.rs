//! A connection to a task: to its ports on this host, or inside its own network when it has one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::TcpStream;
use tokio::task::spawn_blocking;

use super::Target;
use crate::networks::inside;

/// Where a task hears on a network of its own, whatever else its addresses are.
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An attempt that is over.
pub(super) struct Connection {
    /// Whom it was to reach.
    pub(super) address: SocketAddr,
    /// Whether it did.
    pub(super) outcome: io::Result<TcpStream>,
}

impl Connection {
    /// The connection, or a sentence that says why there is none.
    pub(super) fn stream(self) -> Result<TcpStream, String> {
        let address = self.address;
        self.outcome
            .map_err(|error| format!("connecting to {address}: {error}"))
    }
}

/// Connects to a port of a task.
///
/// # Errors
/// When it cannot be tried.
pub(super) async fn open(target: &Target, port: u16) -> Result<Connection, String> {
    let dir = target.dir.clone();
    let there = SocketAddr::new(INSIDE, port);
    let inside = spawn_blocking(move || inside::has_own(&dir).then(|| inside::socket(&dir, there)));
    let inside = inside.await.map_err(|error| error.to_string())?;
    Ok(match inside {
        Some(Ok(socket)) => Connection {
            address: there,
            outcome: socket.connect(there).await,
        },
        Some(Err(error)) => Connection {
            address: there,
            outcome: Err(error),
        },
        None => {
            let address = SocketAddr::new(target.address, port);
            Connection {
                address,
                outcome: TcpStream::connect(address).await,
            }
        }
    })
}
