//! Services whose one call is `Connect`, a stream each way, from the side of the master: what goes out is encoded already.
//!
//! The generated services take messages and encode them on the way out. Ten thousand streams hold less, and a busy master
//! does less, when a message is made and encoded in one go, once, by whoever has the words for it.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes};
use prost::{Message, Name};
use tonic::body::Body;
use tonic::codec::{
    BufferSettings, Codec, CompressionEncoding, EnabledCompressionEncodings, EncodeBuf, Encoder,
};
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{Body as HttpBody, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use crate::strict::{self, Checked, StrictDecoder};

/// Who answers the calls of one service.
pub trait Connect: Send + Sync + 'static {
    /// The full name of the service.
    const SERVICE: &'static str;
    /// What comes in.
    type Said: Message + Name + Default + Checked + Send + 'static;
    /// What goes out, message by message, each encoded.
    type Outbound: Stream<Item = Result<Bytes, Status>> + Send + 'static;

    /// A stream begins.
    fn connect(&self, request: Request<Streaming<Self::Said>>) -> Self::Outbound;
}

/// A service as routers take it.
pub struct ConnectServer<T> {
    inner: Arc<T>,
    max_bytes: usize,
    unpacks: EnabledCompressionEncodings,
}

impl<T: Connect> ConnectServer<T> {
    /// One that reads messages of so many bytes at most.
    pub fn new(inner: T, max_bytes: usize) -> Self {
        Self {
            inner: Arc::new(inner),
            max_bytes,
            unpacks: EnabledCompressionEncodings::default(),
        }
    }

    /// Takes also what is packed in this way.
    #[must_use]
    pub fn unpacking(mut self, encoding: CompressionEncoding) -> Self {
        self.unpacks.enable(encoding);
        self
    }
}

impl<T> Clone for ConnectServer<T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            max_bytes: self.max_bytes,
            unpacks: self.unpacks,
        }
    }
}

impl<T: Connect> fmt::Debug for ConnectServer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectServer of {}", T::SERVICE)
    }
}

impl<T: Connect> NamedService for ConnectServer<T> {
    const NAME: &'static str = T::SERVICE;
}

impl<T, B> Service<http::Request<B>> for ConnectServer<T>
where
    T: Connect,
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let path = request.uri().path();
        let method = path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(T::SERVICE));
        if method != Some("/Connect") {
            let unknown = Status::unimplemented(format!("{path} is not known here"));
            return Box::pin(async move { Ok(unknown.into_http()) });
        }
        let server = self.clone();
        Box::pin(async move {
            let codec = Encoded::<T::Said>(PhantomData);
            let mut grpc = Grpc::new(codec)
                .apply_compression_config(server.unpacks, EnabledCompressionEncodings::default())
                .apply_max_message_size_config(Some(server.max_bytes), None);
            Ok(grpc.streaming(Method(server.inner), request).await)
        })
    }
}

struct Method<T>(Arc<T>);

impl<T: Connect> StreamingService<T::Said> for Method<T> {
    type Response = Bytes;
    type ResponseStream = T::Outbound;
    type Future = std::future::Ready<Result<Response<T::Outbound>, Status>>;

    fn call(&mut self, request: Request<Streaming<T::Said>>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.0.connect(request))))
    }
}

/// Reads as the other services do; writes what is encoded as it is.
struct Encoded<U>(PhantomData<U>);

impl<U: Message + Name + Default + Checked + Send + 'static> Codec for Encoded<U> {
    type Encode = Bytes;
    type Decode = U;
    type Encoder = Writer;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Writer {
        Writer
    }

    fn decoder(&mut self) -> StrictDecoder<U> {
        StrictDecoder::new()
    }
}

struct Writer;

impl Encoder for Writer {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        strict::buffers()
    }
}
