//! What the terminal of a container says: bytes as they come.
//!
//! The client that is used for all else takes a piece that begins with 0, 1 or 2 for the head of one stream among several,
//! which the output of a terminal never has; so this asks for itself.

use std::error::Error as StdError;
use std::future::ready;
use std::io;
use std::path::PathBuf;

use bollard::container::LogOutput;
use bollard::errors::Error;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, HOST, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio_util::io::ReaderStream;

use super::engine::Output;

/// Bytes of a refusal that are read.
const MAX_REFUSAL_BYTES: usize = 4 << 10;

/// What it says from now on.
pub(super) async fn attach(socket: PathBuf, id: &str) -> Result<Output, Error> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, conversation) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the connection.
    tokio::spawn(conversation.with_upgrades());
    let request = Request::post(format!(
        "/containers/{id}/attach?stdout=1&stderr=1&stream=1"
    ))
    .header(HOST, "docker")
    .header(CONNECTION, "Upgrade")
    .header(UPGRADE, "tcp")
    .body(Empty::<Bytes>::new())
    .map_err(broken)?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(answer).await);
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(broken)?;
    let pieces = ReaderStream::new(TokioIo::new(upgraded));
    let said = pieces.scan((), |(), piece| ready(piece.ok()));
    Ok(Box::pin(said.map(|message| LogOutput::Console { message })))
}

fn broken(error: impl StdError + Send + Sync + 'static) -> Error {
    io::Error::other(error).into()
}

async fn refused(answer: Response<Incoming>) -> Error {
    let status_code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_REFUSAL_BYTES);
    let said = body.collect().await.map(|body| body.to_bytes());
    let said = said.unwrap_or_default();
    Error::DockerResponseServerError {
        status_code,
        message: String::from_utf8_lossy(&said).into_owned(),
    }
}
