//! Which of the servers that come listen already: an instance without a health check is in the list from the moment its
//! process runs.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::haproxy::reconcile::{Change, Command};

/// From SYN to an open connection. Agents are near; one that takes longer waits for HAProxy's own check.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(150);
/// Connections that are tried at once.
const AT_ONCE: usize = 64;

/// Marks those of the servers to be added that listen.
pub(super) async fn ask(commands: &mut [Command]) {
    let coming = commands
        .iter_mut()
        .filter_map(|command| match &mut command.change {
            Change::Add {
                address, listens, ..
            } => Some((*address, listens)),
            Change::Move { .. }
            | Change::Ready
            | Change::Drain
            | Change::Stop
            | Change::EndSessions
            | Change::Delete => None,
        });
    stream::iter(coming)
        .for_each_concurrent(AT_ONCE, |(address, listens)| async move {
            *listens = accepts(address).await;
        })
        .await;
}

async fn accepts(address: SocketAddr) -> bool {
    let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    matches!(connected, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn add(address: SocketAddr) -> Command {
        Command {
            backend: "web_1".to_owned(),
            server: "a".to_owned(),
            change: Change::Add {
                address,
                cookie_key: None,
                listens: false,
            },
        }
    }

    #[tokio::test]
    async fn those_that_listen_are_told_from_those_that_do_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let open = listener.local_addr().expect("bound");
        let closing = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let closed = closing.local_addr().expect("bound");
        drop(closing);
        let mut commands = [add(open), add(closed)];

        ask(&mut commands).await;

        let listens =
            commands.map(|command| matches!(command.change, Change::Add { listens: true, .. }));
        assert_eq!(listens, [true, false]);
    }
}
