//! HAProxy's coming into being: taken over from an earlier sync, or started, or started again.

use std::time::Duration;

use mete_daemon::chain;
use mete_daemon::clock;
use mete_daemon::server::{BindError, bind};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::refusals::{PORT_LOOK, PORT_LOOKS, Unusable, try_plan};
use super::{Keeper, saved};
use crate::haproxy::configuration::CheckError;
use crate::haproxy::process::{Running, StartError, adopt, kill_all, start};

/// With a saved list, a start waits so long for a fresh one: the service framework often starts at the same time.
const FIRST_LIST_WAIT: Duration = Duration::from_secs(2);

/// How long an HAProxy that was found may take to answer; it may be in the middle of a reload.
const ADOPTION_DEADLINE: Duration = Duration::from_secs(3);

/// One that lived for so long did not die of its configuration, and is started again at once.
const SOUND: Duration = Duration::from_secs(10);

/// The longest pause between starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Attempts to find a configuration that HAProxy takes; each leaves out at least one more service.
const MAX_ATTEMPTS: usize = 5;

/// Why HAProxy could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Another program has a port that HAProxy needs.
    #[error("haproxy cannot have {purpose}")]
    Port {
        /// What the port is for.
        purpose: &'static str,
        /// Which, and why not.
        source: BindError,
    },
    /// No configuration could be made that HAProxy takes.
    #[error("there is no usable configuration")]
    Unusable(#[source] Unusable),
    /// HAProxy did not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// When it was started, and how long to wait before the next time.
#[derive(Debug, Default)]
pub(super) struct Launches {
    last: Option<Duration>,
    pause: Duration,
}

impl Keeper {
    /// Takes over the HAProxy that an earlier sync has left, or starts one.
    ///
    /// # Errors
    /// When there is none and none can be started.
    pub(super) async fn begin(&mut self) -> Result<(), LaunchError> {
        if let Some(running) = self.take_over().await {
            info!(pid = running.pid(), "haproxy taken over");
            self.running = Some(running);
            self.launches.last = Some(clock::elapsed());
        } else {
            self.check_ports().await?;
            if self.parts.folder.list().exists() {
                let has_list = self.parts.known.wait_for(|watched| watched.list.is_some());
                // With or without one: the saved list is next best.
                let _ = timeout(FIRST_LIST_WAIT, has_list).await;
            }
            self.parts.known.mark_changed();
            let fresh = self.parts.known.borrow().list.clone();
            if fresh.is_some() {
                self.list = fresh;
                self.is_fresh = true;
                self.arrived = Some(clock::elapsed());
            }
            self.launch().await?;
        }
        self.publish();
        Ok(())
    }

    async fn take_over(&self) -> Option<Running> {
        let running = adopt(&self.parts.folder).await?;
        let answers = async {
            while self.sockets.worker().await.is_err() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        if timeout(ADOPTION_DEADLINE, answers).await.is_ok() {
            return Some(running);
        }
        warn!(
            pid = running.pid(),
            "haproxy from an earlier sync does not answer and is killed"
        );
        kill_all(&self.parts.folder).await;
        None
    }

    /// HAProxy itself would share a port with another that allows it; so the question is put beforehand.
    async fn check_ports(&self) -> Result<(), LaunchError> {
        kill_all(&self.parts.folder).await;
        let layout = &self.parts.layout;
        for (purpose, address) in [
            ("its http frontend", layout.http),
            ("its stats page", layout.stats),
        ] {
            let mut bound = bind(address).await;
            for _ in 0..PORT_LOOKS {
                if bound.is_ok() {
                    break;
                }
                sleep(PORT_LOOK).await;
                bound = bind(address).await;
            }
            bound.map_err(|source| LaunchError::Port { purpose, source })?;
        }
        Ok(())
    }

    /// Starts HAProxy after it died, not too often. `false` when it does not run; then the next time is set.
    pub(super) async fn relaunch(&mut self) -> bool {
        let now = clock::elapsed();
        let Launches { last, pause } = self.launches;
        let not_before = last.map_or(now, |last| last + pause);
        if now < not_before {
            self.converge_at = self.converge_at.min(not_before);
            return false;
        }
        let was_sound = last.is_some_and(|last| now.saturating_sub(last) >= SOUND);
        self.launches.pause = if was_sound {
            Duration::from_millis(100)
        } else {
            (pause * 2).max(Duration::from_millis(100))
        };
        self.launches.pause = self.launches.pause.min(LONGEST_PAUSE);
        match self.launch().await {
            Ok(()) => true,
            Err(failure) => {
                self.launches.last = Some(clock::elapsed());
                error!(
                    cause = chain(&failure),
                    "haproxy cannot be started, trying again"
                );
                self.again_in(self.launches.pause);
                false
            }
        }
    }

    /// Starts HAProxy with the present list, or the saved one, or none.
    async fn launch(&mut self) -> Result<(), LaunchError> {
        if self.list.is_none() {
            self.list = Some(saved::load(&self.parts.folder).unwrap_or_default().into());
            self.is_fresh = false;
        }
        kill_all(&self.parts.folder).await;
        self.make_plan().await;
        self.make_configuration().await?;
        self.running = Some(start(&self.parts.folder).await?);
        self.parts.metrics.starts.inc();
        self.launches.last = Some(clock::elapsed());
        self.ours.clear();
        self.use_what_is_taken();
        Ok(())
    }

    /// Puts a configuration in place that HAProxy takes: the plan's, or the last good one.
    async fn make_configuration(&mut self) -> Result<(), LaunchError> {
        let Self {
            parts,
            refusals,
            wanted,
            ..
        } = self;
        let now = clock::elapsed();
        refusals.serves_nothing();
        let mut refusal: Option<Unusable> = None;
        for _ in 0..MAX_ATTEMPTS {
            let mut plan = refusals.apply(wanted, now);
            if refusals.refuse_busy_ports(&plan, &parts.layout, now).await {
                plan = refusals.apply(wanted, now);
            }
            match try_plan(&plan, &parts.template, &parts.layout, &parts.folder).await {
                Ok(rendered) => {
                    parts
                        .folder
                        .adopt_candidate()
                        .map_err(|cause| LaunchError::Unusable(cause.into()))?;
                    self.text_on_disk = rendered.text;
                    return Ok(());
                }
                Err(unusable) => {
                    parts.metrics.refused.inc();
                    let found = unusable.is_refusal()
                        && refusals
                            .find(&plan, &parts.template, &parts.layout, &parts.folder, now)
                            .await;
                    refusal = Some(unusable);
                    if !found {
                        break;
                    }
                }
            }
        }
        let cause = refusal.unwrap_or(Unusable::Check(CheckError::Late));
        if parts.folder.config().exists() {
            error!(
                cause = chain(&cause),
                "no usable configuration for the present list, starting with the last good one"
            );
            refusals.serves_what_the_file_says();
            return Ok(());
        }
        Err(LaunchError::Unusable(cause))
    }
}
