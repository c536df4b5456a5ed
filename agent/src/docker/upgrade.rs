//! Calls after which a connection belongs to a program: what it reads goes in, what it says comes out.
//!
//! A terminal says bytes as they come; pipes say pieces, each with a head that names its stream. The client that is used for all else
//! takes a piece of a terminal that begins with 0, 1 or 2 for such a head, and gives up a call that an engine keeps waiting; so this asks
//! for itself.

use std::error::Error as StdError;
use std::future::ready;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bytes::{Buf as _, BytesMut};
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::codec::{Decoder, FramedRead};
use tokio_util::io::ReaderStream;

use super::engine::Output;

/// Bytes of a refusal that are read.
const MAX_REFUSAL_BYTES: usize = 4 << 10;

/// Bytes before each piece of a pipe: its stream, three of nothing, its length.
const HEAD_BYTES: usize = 8;

/// The largest piece of a pipe; engines read 32 KiB at a time.
const MAX_PIECE_BYTES: usize = 1 << 20;

/// The stream of a piece that is not standard output.
const STDERR: u8 = 2;

/// Where what a program reads goes.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// What the terminal of a container says from now on.
pub(super) async fn attach(socket: PathBuf, id: &str) -> Result<Output, Error> {
    let path = format!("/containers/{id}/attach?stdout=1&stderr=1&stream=1");
    let connection = upgrade(socket, path, Vec::new()).await?;
    Ok(of_terminal(connection))
}

/// Begins a command that has been made, at a terminal or at pipes: what it reads, and what it says.
pub(super) async fn start(
    socket: PathBuf,
    id: &str,
    options: Vec<u8>,
    terminal: bool,
) -> Result<(Input, Output), Error> {
    let connection = upgrade(socket, format!("/exec/{id}/start"), options).await?;
    let (output, input) = tokio::io::split(connection);
    let output = match terminal {
        true => of_terminal(output),
        false => of_pipes(output),
    };
    Ok((Box::pin(input), output))
}

fn of_terminal(connection: impl AsyncRead + Send + 'static) -> Output {
    let said = ReaderStream::new(connection).scan((), |(), piece| ready(piece.ok()));
    Box::pin(said.map(|message| LogOutput::Console { message }))
}

fn of_pipes(connection: impl AsyncRead + Send + 'static) -> Output {
    let said = FramedRead::new(connection, Pieces);
    Box::pin(said.scan((), |(), piece| ready(piece.ok())))
}

/// Asks over a connection of its own, which is then the program's.
async fn upgrade(socket: PathBuf, path: String, body: Vec<u8>) -> Result<TokioIo<Upgraded>, Error> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, conversation) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the connection.
    tokio::spawn(conversation.with_upgrades());
    let request = Request::post(path)
        .header(HOST, "docker")
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "tcp")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(broken)?;
    let answer = sender.send_request(request).await.map_err(broken)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(answer).await);
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(broken)?;
    Ok(TokioIo::new(upgraded))
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

/// Pieces of two streams in one.
struct Pieces;

impl Decoder for Pieces {
    type Item = LogOutput;
    type Error = io::Error;

    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<LogOutput>> {
        let Some(&[stream, _, _, _, a, b, c, d]) = bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d]));
        let length = length.ok().filter(|length| *length <= MAX_PIECE_BYTES);
        let length = length.ok_or(io::ErrorKind::InvalidData)?;
        if bytes.len() < HEAD_BYTES + length {
            bytes.reserve(HEAD_BYTES + length - bytes.len());
            return Ok(None);
        }
        bytes.advance(HEAD_BYTES);
        let message = bytes.split_to(length).freeze();
        Ok(Some(match stream {
            STDERR => LogOutput::StdErr { message },
            _ => LogOutput::StdOut { message },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_pipes_are_whole_however_they_come() {
        let said = b"\x01\0\0\0\0\0\0\x02\x01\x02\x02\0\0\0\0\0\0\x00\x02\0\0\0\0\0\0\x03bad";
        let mut bytes = BytesMut::new();
        let mut pieces = Vec::new();

        for byte in said {
            bytes.extend([*byte]);
            pieces.extend(Pieces.decode(&mut bytes).unwrap());
        }

        let message = |text: &'static [u8]| Bytes::from_static(text);
        let out = LogOutput::StdOut {
            message: message(b"\x01\x02"),
        };
        let nothing = LogOutput::StdErr {
            message: message(b""),
        };
        let err = LogOutput::StdErr {
            message: message(b"bad"),
        };
        assert_eq!(pieces, [out, nothing, err]);
        let mut endless = BytesMut::from(&b"\x01\0\0\0\xff\xff\xff\xff"[..]);
        assert!(Pieces.decode(&mut endless).is_err());
    }
}
