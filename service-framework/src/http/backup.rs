//! `/v2/backup`: all that is stored, as it is at this moment, while everything goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use mete_daemon::chain;
use mete_daemon::store::backup::{Header, TooLarge, Writer};
use mete_daemon::store::{PAGE_ENTRIES, Snapshot, Store, StoreError};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::Api;
use super::failure::Failure;
use crate::backup;

/// How long a backup may take: its moment keeps room on the disk, which a caller who does not read would hold for ever.
/// Far longer than a state of a GiB takes.
const MAX_TIME: Duration = Duration::from_secs(600);
/// Pieces that wait for the caller; each has a page of entries.
const PIECES_AHEAD: usize = 2;

/// Of what backups are made.
#[derive(Clone)]
pub(crate) struct Backups {
    store: Arc<dyn Store>,
    /// One at a time.
    turn: Arc<Semaphore>,
}

impl Backups {
    pub(crate) fn of(store: Arc<dyn Store>) -> Self {
        let turn = Arc::new(Semaphore::new(1));
        Self { store, turn }
    }
}

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v2/backup", get(take))
}

/// Why a backup breaks off. Its reader sees that the end is missing.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error("the caller has gone")]
    Gone,
}

type Piece = Result<Vec<u8>, BrokenOff>;

async fn take(State(api): State<Api>) -> Result<Response, Failure> {
    let turn = api.backups.turn.try_acquire_owned();
    let turn = turn.map_err(|_| {
        let text = "A backup is being taken; ask again when it has ended";
        Failure::new(StatusCode::TOO_MANY_REQUESTS, text)
    })?;
    let framework = api
        .handle
        .view()
        .framework
        .as_ref()
        .map(ToString::to_string);
    let snapshot = api.backups.store.snapshot().await.map_err(|failure| {
        error!(error = %chain(&failure), "a backup cannot be taken");
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The store cannot be read",
        )
    })?;
    let header = backup::header(framework);
    let name = format!("attachment; filename=\"services-{}.backup\"", header.time);
    let (pieces, sent) = mpsc::channel(PIECES_AHEAD);
    // A task of its own: it ends in time, whether the caller reads or not.
    tokio::spawn(async move {
        let sending = send(snapshot.as_ref(), &header, &pieces);
        match timeout(MAX_TIME, sending).await {
            Ok(Ok(())) => info!("a backup was taken"),
            Ok(Err(failure)) => {
                warn!(error = %chain(&failure), "a backup is broken off");
                drop(pieces.try_send(Err(failure)));
            }
            Err(_) => warn!("a backup is broken off: it was not read in time"),
        }
        drop(turn);
    });
    let sent = stream::unfold(sent, |mut sent: mpsc::Receiver<Piece>| async {
        let piece = sent.recv().await?;
        Some((piece, sent))
    });
    let kind = (CONTENT_TYPE, "application/octet-stream".to_owned());
    let headers = [kind, (CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(sent)).into_response())
}

async fn send(
    snapshot: &dyn Snapshot,
    header: &Header,
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), BrokenOff> {
    let pass = async |piece| pieces.send(Ok(piece)).await.map_err(|_| BrokenOff::Gone);
    let (mut writer, first) = Writer::begin(header);
    pass(first).await?;
    let mut after = None;
    loop {
        let page = snapshot.load(after, PAGE_ENTRIES).await?;
        pass(writer.entries(&page.entries)?).await?;
        after = page.next;
        if after.is_none() {
            return pass(writer.end()).await;
        }
    }
}
