//! Programs that start real processes end them when somebody interrupts.

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

/// Waits for the first SIGINT or SIGTERM, and then always ends with an error: what runs beside it in a `select!` is
/// dropped, and the cluster with it.
///
/// # Errors
/// That it was interrupted, or that signals cannot be heard.
pub async fn interrupted() -> Result<()> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("interrupted; the cluster is taken down")
}
