//! Bodies as they come: piece by piece, within a bound, and with an end to patience.

use std::io;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::Session;
use super::transport::causes;
use crate::images::error::ImageError;

/// What must come of a body within the time of a stall: less is as good as silence, and would keep a pull for weeks.
const MIN_BYTES_PER_STALL: u64 = 16 << 10;

/// Takes what comes of a blob.
pub(in crate::images) trait Sink: Send {
    /// Begins anew: what came so far was for nothing.
    fn restart(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    /// Takes the next piece.
    fn write(&mut self, piece: Bytes) -> impl Future<Output = io::Result<()>> + Send;
}

/// A body in pieces: never more than its bound, never slower than [`MIN_BYTES_PER_STALL`].
pub(super) struct Pieces<'a> {
    session: &'a Session<'a>,
    body: Incoming,
    bound: u64,
    what: &'a str,
    pub(super) came: u64,
    /// How much must have come by the deadline.
    due: u64,
    deadline: Instant,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(session: &'a Session<'a>, body: Incoming, bound: u64, what: &'a str) -> Self {
        Self {
            session,
            body,
            bound,
            what,
            came: 0,
            due: MIN_BYTES_PER_STALL,
            deadline: Instant::now() + session.registries.stall,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ImageError> {
        loop {
            let frame = timeout_at(self.deadline, self.body.frame()).await;
            let frame = frame.map_err(|_| {
                let stall = self.session.registries.stall;
                let (what, came) = (self.what, self.came);
                let text = format!(
                    "{what} stopped after {came} bytes, or less than 16 KiB came in {stall:?}"
                );
                self.session.too_slow(text)
            })?;
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| {
                let (what, came) = (self.what, self.came);
                let text = format!("{what} broke off after {came} bytes: {}", causes(&error));
                self.session.unreachable(text)
            })?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.came += piece.len() as u64;
            if self.came > self.bound {
                return Err(self.session.too_large(self.what, self.bound));
            }
            if self.came >= self.due {
                self.due = self.came + MIN_BYTES_PER_STALL;
                self.deadline = Instant::now() + self.session.registries.stall;
            }
            return Ok(Some(piece));
        }
    }
}

/// A blob in memory.
pub(super) struct Memory(pub(super) Vec<u8>);

impl Sink for Memory {
    async fn restart(&mut self) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        self.0.extend_from_slice(&piece);
        Ok(())
    }
}
