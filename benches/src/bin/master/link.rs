//! How a framework speaks to the master: gRPC, or Mesos' HTTP API with a stream of records and calls of their own.

mod posts; // calls over HTTP, many under way at once

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use mete_proto::media::Media;
use mete_proto::mesos::v1::scheduler::{Call, Event};
use mete_proto::mete::v1::scheduler_client::SchedulerClient;
use mete_proto::recordio::Decoder;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use self::posts::Posts;
use crate::world::World;

/// What may wait to be sent.
const QUEUE: usize = 1_024;
/// The longest record that makes sense: offers of ten thousand agents.
const RECORD_BYTES: usize = 64 * 1024 * 1024;

/// A way to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Grpc,
    Http(Media),
}

/// Calls to the master, and its events.
pub(crate) struct Link {
    way: Way,
    calls: Option<Calls>,
    events: Option<Events>,
}

enum Calls {
    Grpc(mpsc::Sender<Call>),
    Http(Posts),
}

enum Events {
    Grpc(Box<Streaming<Event>>),
    Http(Box<Records>),
}

/// Events as records in the body of an answer.
struct Records {
    answer: reqwest::Response,
    media: Media,
    decoder: Decoder,
    chunk: Bytes,
}

impl Link {
    pub(crate) const fn new(way: Way) -> Self {
        Self {
            way,
            calls: None,
            events: None,
        }
    }

    /// Connects with a SUBSCRIBE.
    pub(crate) async fn open(&mut self, subscribe: Call) -> Result<()> {
        match self.way {
            Way::Grpc => {
                let channel = Endpoint::from_shared(World::url(""))?.connect().await?;
                let (calls, waiting) = mpsc::channel(QUEUE);
                calls.send(subscribe).await?;
                let mut client =
                    SchedulerClient::new(channel).max_decoding_message_size(RECORD_BYTES);
                let events = client.connect(ReceiverStream::new(waiting)).await?;
                self.calls = Some(Calls::Grpc(calls));
                self.events = Some(Events::Grpc(Box::new(events.into_inner())));
            }
            Way::Http(media) => {
                let client = mete_daemon::http_client::plain().build()?;
                let request = client.post(World::url(posts::PATH));
                let request = request
                    .header("content-type", media.name())
                    .header("accept", media.name())
                    .body(media.encode(&subscribe));
                let answer = request.send().await?.error_for_status()?;
                let stream = answer.headers().get("mesos-stream-id");
                let stream = stream.context("no Mesos-Stream-Id")?.to_str()?.to_owned();
                self.calls = Some(Calls::Http(Posts::open(media, &stream).await?));
                self.events = Some(Events::Http(Box::new(Records {
                    answer,
                    media,
                    decoder: Decoder::new(RECORD_BYTES),
                    chunk: Bytes::new(),
                })));
            }
        }
        Ok(())
    }

    pub(crate) async fn call(&mut self, call: Call) -> Result<()> {
        match self.calls.as_mut().context("not connected")? {
            Calls::Grpc(calls) => Ok(calls.send(call).await?),
            Calls::Http(posts) => posts.send(&call).await,
        }
    }

    pub(crate) async fn event(&mut self) -> Result<Event> {
        match self.events.as_mut().context("not connected")? {
            Events::Grpc(events) => events.message().await?.context("the stream has ended"),
            Events::Http(records) => records.next().await,
        }
    }
}

impl Records {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(record) = self.decoder.next(&mut self.chunk)? {
                return Ok(self.media.decode(&record)?);
            }
            match self.answer.chunk().await? {
                Some(chunk) => self.chunk = chunk,
                None => bail!("the stream has ended"),
            }
        }
    }
}
