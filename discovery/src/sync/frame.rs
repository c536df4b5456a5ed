//! A new frame: the configuration less its servers has changed, so HAProxy needs a new worker.
//!
//! ```text
//! plan ──render, check──► file replaced ──reload──► new worker answers: Runs
//!   └─ refused: without the services at fault, or not at all: Refused      └─ failed: old file put back, old worker goes on
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mete_daemon::chain;
use mete_daemon::clock;
use tracing::{error, info, warn};

use super::Keeper;
use super::refusals::{definitions, try_plan};
use crate::haproxy::backends::Backend;
use crate::haproxy::reload::{ReloadError, reload};
use crate::haproxy::render::Rendered;
use crate::haproxy::runtime::WorkerInfo;

/// Reloads at most per [`WINDOW`]: each leaves an old worker behind that ends its connections. A few may come at once, so
/// that the first apps of a new cluster do not wait.
const MAX_RELOADS: usize = 3;

/// See [`MAX_RELOADS`].
const WINDOW: Duration = Duration::from_secs(3);

/// After this a refused frame is tried again although it is the same.
const TRY_AGAIN: Duration = Duration::from_secs(15);

/// Rounds of leaving out services; each leaves out all that were found at fault.
const MAX_ATTEMPTS: usize = 3;

/// What came of a new frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The worker runs the plan's frame.
    Runs,
    /// It does not, and will not before something changes.
    Refused,
    /// Not before this moment.
    Later(Duration),
    /// HAProxy died of it.
    Died,
}

/// What is known of earlier attempts.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// When the last reloads were, at most [`MAX_RELOADS`] of them.
    reloads: VecDeque<Duration>,
    refused: Option<RefusedFrame>,
}

#[derive(Debug)]
struct RefusedFrame {
    definitions: BTreeMap<u16, Backend>,
    reason: String,
    until: Duration,
}

impl Frames {
    /// When the next reload may be; `None` for at any time.
    fn not_before(&self) -> Option<Duration> {
        let oldest = self.reloads.front()?;
        (self.reloads.len() >= MAX_RELOADS).then_some(*oldest + WINDOW)
    }

    fn note_reload(&mut self, now: Duration) {
        self.reloads.push_back(now);
        if self.reloads.len() > MAX_RELOADS {
            self.reloads.pop_front();
        }
    }

    /// Why the present frame is not the wanted one, in words.
    pub(super) fn trouble(&self) -> impl Iterator<Item = String> {
        self.refused.iter().map(|refused| refused.reason.clone())
    }
}

impl Keeper {
    /// Has HAProxy run the plan's frame, if it will have it.
    pub(super) async fn new_frame(&mut self, worker: &WorkerInfo) -> Outcome {
        let now = clock::elapsed();
        if let Some(refused) = &self.frames.refused
            && now < refused.until
            && refused.definitions == definitions(&self.plan)
        {
            return Outcome::Refused;
        }
        if let Some(at) = self.frames.not_before().filter(|at| now < *at) {
            return Outcome::Later(at);
        }
        let Some(rendered) = self.accepted(now).await else {
            return Outcome::Refused;
        };
        if worker.frame.as_ref() == Some(&rendered.frame) {
            self.frames.refused = None;
            return Outcome::Runs;
        }
        self.reload(worker, rendered).await
    }

    /// A configuration that HAProxy accepts, checked but not yet in place; services at fault are left out of the plan.
    async fn accepted(&mut self, now: Duration) -> Option<Rendered> {
        for _ in 0..MAX_ATTEMPTS {
            let Self {
                parts,
                refusals,
                plan,
                wanted,
                ..
            } = self;
            if refusals.knows_what_is_served()
                && refusals.refuse_busy_ports(plan, &parts.layout, now).await
            {
                *plan = refusals.apply(wanted, now);
            }
            let refusal = match try_plan(plan, &parts.template, &parts.layout, &parts.folder).await
            {
                Ok(rendered) => return Some(rendered),
                Err(refusal) => refusal,
            };
            parts.metrics.refused.inc();
            let found = refusal.is_refusal()
                && refusals
                    .find(plan, &parts.template, &parts.layout, &parts.folder, now)
                    .await;
            if !found {
                self.refuse(chain(&refusal));
                return None;
            }
            *plan = refusals.apply(wanted, now);
        }
        self.refuse("services at fault cannot be told from others".to_owned());
        None
    }

    async fn reload(&mut self, worker: &WorkerInfo, rendered: Rendered) -> Outcome {
        let Some(running) = &self.running else {
            return Outcome::Died;
        };
        let (folder, metrics) = (&self.parts.folder, &self.parts.metrics);
        let previous = folder.current_text();
        if let Err(failure) = folder.adopt_candidate() {
            self.refuse(chain(&failure));
            return Outcome::Refused;
        }
        let begin = clock::elapsed();
        let reloaded = reload(running, &self.sockets, Some(worker.pid), &rendered.frame).await;
        self.frames.note_reload(clock::elapsed());
        match reloaded {
            Ok(pid) => {
                metrics.reloads.inc();
                let took_ms = (clock::elapsed() - begin).as_secs_f64() * 1e3;
                info!(
                    worker = pid,
                    took_ms,
                    services = self.plan.backends.len(),
                    "haproxy reloaded"
                );
                folder.tidy_maps([&rendered.text, previous.as_deref().unwrap_or_default()]);
                self.worker = Some(WorkerInfo {
                    pid,
                    stopping: false,
                    frame: Some(rendered.frame),
                });
                self.text_on_disk = rendered.text;
                self.frames.refused = None;
                self.refusals.is_served(&self.plan);
                self.ours = self
                    .plan
                    .backends
                    .values()
                    .map(|backend| backend.name.clone())
                    .collect();
                self.write_soon();
                Outcome::Runs
            }
            Err(ReloadError::Died) => Outcome::Died,
            Err(failure @ (ReloadError::Failed | ReloadError::Late)) => {
                metrics.reloads_failed.inc();
                self.back_to(previous, worker).await;
                self.refuse(chain(&failure));
                Outcome::Refused
            }
        }
    }

    /// Puts the last good file back and lets the master run it, so that its next start is a good one.
    async fn back_to(&mut self, previous: Option<String>, worker: &WorkerInfo) {
        let (Some(previous), Some(running)) = (previous, &self.running) else {
            return;
        };
        if let Err(failure) = self.parts.folder.put_back(&previous) {
            error!(
                cause = chain(&failure),
                "the last good configuration cannot be put back"
            );
            return;
        }
        let frame = worker.frame.as_deref().unwrap_or_default();
        if let Err(failure) = reload(running, &self.sockets, Some(worker.pid), frame).await {
            warn!(cause = chain(&failure), "haproxy keeps its old worker");
        }
    }

    fn refuse(&mut self, reason: String) {
        error!(reason, "new configuration refused, the old one stays");
        let until = clock::elapsed() + TRY_AGAIN;
        self.frames.refused = Some(RefusedFrame {
            definitions: definitions(&self.plan),
            reason,
            until,
        });
    }

    /// Brings the file up to date with the servers that came and went since the last reload.
    pub(super) async fn write_configuration(&mut self) {
        let Self {
            parts,
            plan,
            worker,
            ..
        } = self;
        match try_plan(plan, &parts.template, &parts.layout, &parts.folder).await {
            Ok(rendered) => {
                let is_running = worker
                    .as_ref()
                    .is_some_and(|worker| worker.frame.as_ref() == Some(&rendered.frame));
                if !is_running {
                    parts.folder.drop_candidate(); // It gets there by a reload, or not at all.
                } else if let Err(failure) = parts.folder.adopt_candidate() {
                    error!(cause = chain(&failure), "configuration not written");
                } else {
                    self.text_on_disk = rendered.text;
                }
            }
            Err(refusal) => {
                parts.metrics.refused.inc();
                error!(
                    cause = chain(&refusal),
                    "configuration with the present servers refused, the file keeps the old ones"
                );
            }
        }
    }
}
