//! The end of a process: the first SIGTERM or SIGINT asks for it, the second one does not wait. SIGHUP, by which others are
//! told to read their files again, ends nothing.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::exit::Exit;

/// A token that is cancelled by the first SIGTERM or SIGINT. A second signal ends the process at once. SIGHUP is a line in
/// the log; who has something to read again listens for it, too.
///
/// # Errors
/// When the process may not install signal handlers.
pub fn on_signal() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while let Some(()) = hang_up.recv().await {
            info!("SIGHUP does not end this process");
        }
    });
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    tokio::spawn(async move {
        let name = next(&mut terminate, &mut interrupt).await;
        info!(signal = name, "shutting down");
        asked.cancel();
        let name = next(&mut terminate, &mut interrupt).await;
        warn!(signal = name, "second signal, ending at once");
        std::process::exit(i32::from(Exit::Failed.code()));
    });
    Ok(shutdown)
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
