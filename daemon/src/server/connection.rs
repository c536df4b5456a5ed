//! One accepted socket. It counts against the bound on connections while it lives, and ends when the server cuts it, or when
//! it says nothing at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::Stream;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected as _, TcpConnectInfo};
use tracing::warn;

use super::MAX_CONNECTIONS;
use super::patience::FirstHead;

/// Pause after an accept that failed, mostly for want of file descriptors: others must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// After so long a silence the kernel asks a peer whether it is there, and nine times more before it gives it up.
const SILENCE: Duration = Duration::from_secs(120);

/// Ends all connections of a server.
#[derive(Clone, Default)]
pub(super) struct Cut {
    /// Cheap to look at on every read.
    done: Arc<AtomicBool>,
    /// Wakes those who wait.
    token: CancellationToken,
}

impl Cut {
    pub(super) fn all(&self) {
        self.done.store(true, Ordering::Release);
        self.token.cancel();
    }
}

/// Connections as they come, at most [`MAX_CONNECTIONS`] at a time.
pub(super) fn accept(listener: TcpListener, cut: Cut) -> impl Stream<Item = Connection> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    futures::stream::unfold(
        (listener, places, cut),
        |(listener, places, cut)| async move {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            let stream = accept_one(&listener).await;
            Some((
                Connection::new(stream, place, &cut),
                (listener, places, cut),
            ))
        },
    )
}

async fn accept_one(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Small messages wait for nobody; a socket that refuses this is dead and fails on the first read.
                drop(stream.set_nodelay(true));
                // Nor is one kept for a peer whose machine is gone.
                set_socket_keepalive(&stream, true).ok();
                set_tcp_keepidle(&stream, SILENCE).ok();
                return stream;
            }
            Err(failure) => {
                warn!(error = %failure, "connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A socket that can be cut.
pub(super) struct Connection {
    stream: TcpStream,
    done: Arc<AtomicBool>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The task that `cut` will wake.
    registered: Option<Waker>,
    /// `None`: it has come.
    first_head: Option<FirstHead>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, cut: &Cut) -> Self {
        Self {
            stream,
            done: Arc::clone(&cut.done),
            cut: Box::pin(cut.token.clone().cancelled_owned()),
            registered: None,
            first_head: Some(FirstHead::awaited()),
            _place: place,
        }
    }

    /// Whose it is, for handlers that ask.
    pub(super) fn info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }

    fn is_cut(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// Makes sure that the task is woken by the cut; true when it has come already.
    fn watch_cut(&mut self, context: &mut Context<'_>) -> bool {
        if self
            .registered
            .as_ref()
            .is_some_and(|registered| registered.will_wake(context.waker()))
        {
            return self.is_cut();
        }
        self.registered = Some(context.waker().clone());
        self.cut.as_mut().poll(context).is_ready()
    }

    fn unless_cut<T>(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_pending() && self.watch_cut(context) {
            return Poll::Ready(Err(was_cut()));
        }
        polled
    }
}

fn was_cut() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the server is ending")
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_cut() {
            return Poll::Ready(Err(was_cut()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Some(first) = &mut self.first_head {
            if polled.is_ready() {
                if first.is_whole_with(&buffer.filled()[before..]) {
                    self.first_head = None;
                }
            } else if let Poll::Ready(late) = first.poll_late(context) {
                return Poll::Ready(Err(late));
            }
        }
        self.unless_cut(context, polled)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut() {
            return Poll::Ready(Err(was_cut()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_cut(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_cut() {
            return Poll::Ready(Err(was_cut()));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.unless_cut(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
