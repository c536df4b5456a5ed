//! One connection. That it is accepted is the answer.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Connects and hangs up.
pub(super) async fn connect(address: SocketAddr) -> Result<(), String> {
    TcpStream::connect(address)
        .await
        .map(drop)
        .map_err(|error| format!("connecting to {address}: {error}"))
}
