//! A network that the scenario can cut: forwards connections to a master until it is told not to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A way to a master. Dropping it cuts it.
#[derive(Debug)]
pub(super) struct Cable {
    address: SocketAddr,
    /// Of the connections that are open now.
    live: Arc<Mutex<CancellationToken>>,
    accepting: JoinHandle<()>,
}

impl Cable {
    /// A way to the master at `http://host:port`.
    pub(super) async fn to(master: &str) -> Self {
        let master = master
            .strip_prefix("http://")
            .expect("an http address")
            .to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let live = Arc::new(Mutex::new(CancellationToken::new()));
        let accepting = tokio::spawn(accept(listener, master, Arc::clone(&live)));
        Self {
            address,
            live,
            accepting,
        }
    }

    pub(super) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks all connections; new ones can be made.
    pub(super) fn cut(&self) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *live).cancel();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, master: String, live: Arc<Mutex<CancellationToken>>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let cut = live.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let master = master.clone();
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(master).await else {
                return;
            };
            tokio::select! {
                () = cut.cancelled() => {}
                _ended = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            }
        });
    }
}
