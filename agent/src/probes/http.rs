//! One GET, over TLS when that is asked for, whatever certificate is shown. A status from 200 to 399 passes, or one of those that the check names; redirects are
//! answers, not orders.

use std::error::Error;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::Target;
use super::connection::{self, Connection};

/// Who asks.
const ASKER: &str = concat!("mete-health-check/", env!("CARGO_PKG_VERSION"));

/// Asks on a connection of its own; the body is not read.
pub(super) async fn get(
    target: &Target,
    port: u16,
    path: &str,
    statuses: &[u16],
    tls: Option<&TlsConnector>,
) -> Result<(), String> {
    let (url, status) = status(target, port, path, tls).await?;
    let passes = if statuses.is_empty() {
        (200..400).contains(&status)
    } else {
        statuses.contains(&status)
    };
    if passes {
        Ok(())
    } else {
        Err(format!("{url}: status {status}"))
    }
}

/// What is asked, and the status of the answer.
pub(super) async fn status(
    target: &Target,
    port: u16,
    path: &str,
    tls: Option<&TlsConnector>,
) -> Result<(String, u16), String> {
    let connection = connection::open(target, port).await?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("GET {scheme}://{}{path}", connection.address);
    let status = ask(connection, path, tls).await;
    match status {
        Ok(status) => Ok((url, status.as_u16())),
        Err(error) => Err(format!("{url}: {}", mete_daemon::innermost(&*error))),
    }
}

async fn ask(
    connection: Connection,
    path: &str,
    tls: Option<&TlsConnector>,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let (host, ip) = (connection.address.to_string(), connection.address.ip());
    let stream = connection.outcome?;
    match tls {
        Some(tls) => {
            let stream = tls.connect(ServerName::from(ip), stream).await?;
            converse(stream, &host, path).await
        }
        None => converse(stream, &host, path).await,
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    host: &str,
    path: &str,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let (mut sender, conversation) = handshake(TokioIo::new(stream)).await?;
    // Ends with the question, answered or not.
    let _conversation = AbortOnDropHandle::new(tokio::spawn(conversation));
    let question = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, ASKER)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(question).await?.status())
}
