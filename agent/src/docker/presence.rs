//! Whether the engine of an agent answers. It may begin after the agent, so it is asked until it does.
//!
//! ```text
//! unknown ── answers ──▶ there: for good; one that hangs or ends later is seen by those who call it
//!    └── asked again each minute, and when a task wants it
//! ```
//! Nobody waits long for one that hangs: it is given [`PATIENCE`], and then asked by the minute only.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Engine, Setup};

/// How long an engine may take to say its version, which costs it nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// One that is not there, or hangs, is asked again after this time.
const AGAIN: Duration = Duration::from_secs(60);

/// An engine, and whether it has answered.
#[derive(Debug)]
pub(crate) struct Presence {
    setup: Arc<Setup>,
    has_answered: watch::Sender<bool>,
    /// Held while it is asked, so that it is asked once at a time.
    silence: Mutex<Silence>,
}

/// That of an engine that does not answer yet.
#[derive(Debug, Default)]
struct Silence {
    /// The log has it.
    is_told: bool,
    /// Until when one that hung is left alone.
    hangs_until: Option<Instant>,
}

/// It accepts, and says nothing.
#[derive(Debug, thiserror::Error)]
#[error("the Docker Engine did not answer within {} s", PATIENCE.as_secs())]
struct Hangs;

impl Silence {
    /// Once is enough.
    fn tell(&mut self, error: &(dyn std::error::Error + 'static)) {
        if !std::mem::replace(&mut self.is_told, true) {
            warn!(error, "tasks of Docker's kind do not run on an engine yet");
        }
    }
}

impl Presence {
    /// Not asked yet.
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup: Arc::new(setup),
            has_answered: watch::Sender::new(false),
            silence: Mutex::default(),
        }
    }

    /// What containers are made with, once it answers.
    pub(crate) fn setup(&self) -> Arc<Setup> {
        Arc::clone(&self.setup)
    }

    /// Whether it has answered.
    pub(crate) fn has_answered(&self) -> bool {
        *self.has_answered.borrow()
    }

    /// Whether it is there, as far as can be known in [`PATIENCE`].
    pub(crate) async fn is_there(&self) -> bool {
        if self.has_answered() {
            return true;
        }
        let mut silence = self.silence.lock().await;
        if self.has_answered() {
            return true;
        }
        let hangs_until = silence.hangs_until;
        if hangs_until.is_some_and(|until| Instant::now() < until) {
            return false;
        }
        let socket = &self.setup.socket;
        let asked = async { Engine::connect(socket).await?.version().await };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(version)) => {
                info!(version, "Docker Engine answers");
                self.has_answered.send_replace(true);
            }
            Ok(Err(error)) => silence.tell(&error),
            Err(_) => {
                silence.hangs_until = Some(Instant::now() + AGAIN);
                silence.tell(&Hangs);
            }
        }
        self.has_answered()
    }

    /// Returns when it answers, whoever has asked it, or at the `end`: `false`.
    pub(crate) async fn awaited(&self, end: &CancellationToken) -> bool {
        let mut answers = self.has_answered.subscribe();
        while !self.is_there().await {
            let asked_by_others = timeout(AGAIN, answers.wait_for(|answers| *answers));
            if end.run_until_cancelled(asked_by_others).await.is_none() {
                return false;
            }
        }
        true
    }
}
