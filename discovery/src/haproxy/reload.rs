//! A hitless reload: SIGUSR2 to the master, which starts a new worker with the configuration file; the new worker takes
//! over the listening sockets, the old one ends its connections.
//!
//! It is over when the new worker answers on the admin socket and says that it runs the frame that was asked for, or
//! when the master says that it failed; then the old worker goes on, and the master waits for a better file.

use std::time::Duration;

use mete_daemon::clock;
use tokio::time::sleep;

use super::process::Running;
use super::runtime::{Processes, Sockets};

/// A new worker takes 40 to 110 ms, 250 under load.
const DEADLINE: Duration = Duration::from_secs(15);

/// How often the new worker is looked for.
const POLL: Duration = Duration::from_millis(5);

/// A master that has not even begun after this did not get the signal.
const SIGNAL_AGAIN: Duration = Duration::from_secs(3);

/// Why the new configuration does not run.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The new worker could not start, mostly because of a port that is in use; the old one goes on.
    #[error("haproxy could not start a worker with the new configuration")]
    Failed,
    /// Nothing is known after the deadline.
    #[error("no worker with the new configuration after {} s", DEADLINE.as_secs())]
    Late,
    /// The master has died.
    #[error("haproxy died during the reload")]
    Died,
}

/// Reloads and waits for a worker other than `old_worker` with this frame. Returns the new worker's pid.
///
/// # Errors
/// As [`ReloadError`] says; but for [`ReloadError::Died`], what ran before still runs.
pub async fn reload(
    running: &Running,
    sockets: &Sockets,
    old_worker: Option<u32>,
    frame: &str,
) -> Result<u32, ReloadError> {
    let before = before(sockets).await;
    running.reload().map_err(|_| ReloadError::Died)?;
    let begin = clock::elapsed();
    let mut signalled = begin;
    while clock::elapsed() - begin < DEADLINE {
        tokio::select! {
            () = running.exited() => return Err(ReloadError::Died),
            () = sleep(POLL) => {}
        }
        // While the master replaces itself its socket is closed for a moment: no answer is no news.
        if let Ok(worker) = sockets.worker().await
            && Some(worker.pid) != old_worker
            && !worker.stopping
            && worker.frame.as_deref() == Some(frame)
        {
            return Ok(worker.pid);
        }
        let Ok(now) = sockets.processes().await else {
            continue;
        };
        if now.reloads > before.reloads && now.failed > 0 {
            return Err(ReloadError::Failed);
        }
        if now.reloads == before.reloads && clock::elapsed() - signalled >= SIGNAL_AGAIN {
            running.reload().map_err(|_| ReloadError::Died)?;
            signalled = clock::elapsed();
        }
    }
    Err(ReloadError::Late)
}

/// What the master says before it is told. That it answers is waited for: while it replaces itself, after a start or a
/// reload, its socket is closed for a moment and a signal would be lost.
async fn before(sockets: &Sockets) -> Processes {
    let begin = clock::elapsed();
    loop {
        match sockets.processes().await {
            Ok(processes) => return processes,
            Err(_) if clock::elapsed() - begin < SIGNAL_AGAIN => sleep(POLL).await,
            Err(_) => return Processes::default(),
        }
    }
}
