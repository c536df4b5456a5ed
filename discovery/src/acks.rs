//! Telling the service framework what is in effect: `PUT /v2/backends/acks/{proxyId}`.
//!
//! Only the newest acknowledgement matters: one that could not be delivered is given up for the next. A task of its own,
//! so that a service framework that is slow to answer never holds up HAProxy.

use std::sync::Arc;
use std::time::Duration;

use mete_daemon::chain;
use mete_daemon::clock;
use mete_proto::rest::backends::Ack;
use tokio::sync::watch::Receiver;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// For one acknowledgement; the service framework answers from memory.
const DEADLINE: Duration = Duration::from_secs(3);

/// Between attempts to deliver the same one.
const PAUSE: Duration = Duration::from_millis(500);

/// Something to tell, again each time `beat` changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ToTell {
    /// What is in effect.
    pub(crate) ack: Ack,
    /// Counts the heartbeats answered.
    pub(crate) beat: u64,
}

/// Delivers what `to_tell` holds, whenever it changes, until `shutdown`.
pub(crate) async fn deliver(
    client: reqwest::Client,
    url: String,
    proxy_id: String,
    mut to_tell: Receiver<Option<ToTell>>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) {
    let address = format!("{}/v2/backends/acks/{proxy_id}", url.trim_end_matches('/'));
    let mut is_first_failure = true;
    loop {
        let latest = to_tell.borrow_and_update().clone();
        let mut delivered = true;
        if let Some(ToTell { ack, .. }) = latest {
            match put(&client, &address, &ack).await {
                Ok(()) => {
                    metrics.acked(clock::now(), ack.version);
                    is_first_failure = true;
                }
                Err(cause) => {
                    delivered = false;
                    metrics.ack_failures.inc();
                    if std::mem::replace(&mut is_first_failure, false) {
                        warn!(%address, version = ack.version, cause, "acknowledgement not delivered");
                    } else {
                        debug!(%address, version = ack.version, cause, "acknowledgement not delivered");
                    }
                }
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = to_tell.changed() => if changed.is_err() { return },
            () = sleep(PAUSE), if !delivered => {}
        }
    }
}

async fn put(client: &reqwest::Client, address: &str, ack: &Ack) -> Result<(), String> {
    let sent = timeout(DEADLINE, client.put(address).json(ack).send()).await;
    let answer = sent
        .map_err(|_| "no answer in time".to_owned())?
        .map_err(|error| chain(&error))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(format!("the service framework answers {}", answer.status()))
}
