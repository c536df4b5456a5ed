//! Calls over HTTP/1.1 on a few connections, one request after the other without waiting for answers.
//!
//! Written by hand, so that the program which asks takes little of the machine that it shares with who answers.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};
use mete_proto::media::Media;
use mete_proto::mesos::v1::scheduler as full;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::wire::Call;
use crate::world::World;

/// Where frameworks call.
pub(super) const PATH: &str = "/api/v1/scheduler";
/// Connections for calls.
const CONNECTIONS: usize = 4;
/// Calls that may wait on one of them.
const QUEUE: usize = 256;

/// Connections that carry calls, in turn.
pub(super) struct Posts {
    media: Media,
    head: String,
    connections: Vec<mpsc::Sender<Vec<u8>>>,
    turn: usize,
    /// What went wrong first.
    fault: Arc<Mutex<Option<String>>>,
}

impl Posts {
    pub(super) async fn open(media: Media, stream: &str) -> Result<Self> {
        let kind = media.name();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nMesos-Stream-Id: {stream}\r\nContent-Type: {kind}\r\nAccept: {kind}\r\n",
            World::address()
        );
        let fault = Arc::default();
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let connection = TcpStream::connect(World::address()).await?;
            connection.set_nodelay(true)?;
            let (answers, requests) = connection.into_split();
            let (sender, waiting) = mpsc::channel(QUEUE);
            tokio::spawn(write(requests, waiting));
            tokio::spawn(read(answers, Arc::clone(&fault)));
            connections.push(sender);
        }
        Ok(Self {
            media,
            head,
            connections,
            turn: 0,
            fault,
        })
    }

    pub(super) async fn send(&mut self, call: &Call) -> Result<()> {
        let fault = self
            .fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(fault) = fault {
            bail!("a call was answered with {fault}");
        }
        let body = self.media.encode_from::<full::Call>(call.encode_to_vec());
        let mut request =
            format!("{}Content-Length: {}\r\n\r\n", self.head, body.len()).into_bytes();
        request.extend(body);
        self.turn = (self.turn + 1) % self.connections.len();
        Ok(self.connections[self.turn].send(request).await?)
    }
}

/// Writes what waits, and flushes when nothing does.
async fn write(requests: OwnedWriteHalf, mut waiting: mpsc::Receiver<Vec<u8>>) {
    let mut requests = BufWriter::with_capacity(64 * 1024, requests);
    while let Some(request) = waiting.recv().await {
        let mut written = requests.write_all(&request).await;
        while let Ok(request) = waiting.try_recv() {
            written = written.and(requests.write_all(&request).await);
        }
        if written.is_err() || requests.flush().await.is_err() {
            return;
        }
    }
}

/// Every answer must be a 202 without body.
async fn read(mut answers: OwnedReadHalf, fault: Arc<Mutex<Option<String>>>) {
    let mut buffer = Vec::new();
    while let Ok(1..) = answers.read_buf(&mut buffer).await {
        let mut begin = 0;
        while let Some(length) = buffer[begin..]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        {
            let head = &buffer[begin..begin + length];
            if !head.starts_with(b"HTTP/1.1 202") {
                let rest = String::from_utf8_lossy(&buffer[begin..]).into_owned();
                let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
                fault.get_or_insert(rest);
                return;
            }
            begin += length + 4;
        }
        buffer.drain(..begin);
    }
}
