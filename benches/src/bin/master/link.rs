//! How a framework speaks to the master: gRPC, or Mesos' HTTP API with a stream of records and calls of their own.

mod posts; // calls over HTTP, many under way at once

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use mete_proto::media::Media;
use mete_proto::mesos::v1::scheduler as full;
use mete_proto::recordio::Decoder;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

use self::posts::Posts;
use crate::wire::{Call, Event};
use crate::world::World;

/// Where frameworks connect.
const PATH: PathAndQuery = PathAndQuery::from_static("/mete.v1.Scheduler/Connect");

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
                let mut client = Grpc::new(channel).max_decoding_message_size(RECORD_BYTES);
                client.ready().await?;
                let said = Request::new(ReceiverStream::new(waiting));
                let codec = ProstCodec::<Call, Event>::default();
                let events = client.streaming(said, PATH, codec).await?;
                self.calls = Some(Calls::Grpc(calls));
                self.events = Some(Events::Grpc(Box::new(events.into_inner())));
            }
            Way::Http(media) => {
                let client = mete_daemon::http_client::plain().build()?;
                let request = client.post(World::url(posts::PATH));
                let request = request
                    .header("content-type", media.name())
                    .header("accept", media.name())
                    .body(media.encode_from::<full::Call>(subscribe.encode_to_vec()));
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
                return Ok(match self.media {
                    Media::Protobuf => Event::decode(record)?,
                    Media::Json => self.media.decode::<full::Event>(&record)?.into(),
                });
            }
            match self.answer.chunk().await? {
                Some(chunk) => self.chunk = chunk,
                None => bail!("the stream has ended"),
            }
        }
    }
}
