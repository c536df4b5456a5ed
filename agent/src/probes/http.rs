//! One GET. A status from 200 to 399 passes, or one of those that the check names; redirects are
//! answers, not orders.

use std::error::Error;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
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
) -> Result<(), String> {
    let connection = connection::open(target, port).await?;
    let url = format!("GET http://{}{path}", connection.address);
    let status = ask(connection, path).await;
    let status = status
        .map_err(|error| format!("{url}: {}", innermost(&*error)))?
        .as_u16();
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

async fn ask(
    connection: Connection,
    path: &str,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let host = connection.address.to_string();
    let stream = TokioIo::new(connection.outcome?);
    let (mut sender, conversation) = handshake(stream).await?;
    // Ends with the question, answered or not.
    let _conversation = AbortOnDropHandle::new(tokio::spawn(conversation));
    let question = Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, ASKER)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(question).await?.status())
}

/// The cause at the bottom, which is the one that tells something: `connection refused`.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
