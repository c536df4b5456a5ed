//! Holding what HAProxy has against what it should have, and telling the service framework what is in effect.
//!
//! ```text
//! a new list ─┐
//! haproxy died ├──► converge: plan → running → servers → frame → servers read back ──► acknowledge
//! audit, retry ┘                                                   draining: sessions read every 100 ms ──► acknowledge
//! ```
//! Invariants: nothing is acknowledged that was not read back from HAProxy; a list never touches HAProxy before it has
//! come from the service framework, or HAProxy has to be started anyway; instances never cause a reload; every loop has
//! a pause.

mod coming; // which of the servers that come listen already
mod frame; // a new configuration: checked, without whom it must be, reloaded
mod handover; // who is to drain serves on until others do
mod hosts; // names of agents → addresses
mod launch; // taking over, starting, starting again
mod refusals; // services that HAProxy would not take
mod saved; // the last list, for a start without service framework
mod servers; // what the worker has, told and read back
mod tell; // sessions of those that drain; acknowledgements

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mete_daemon::{chain, clock};
use mete_proto::rest::backends::Backends;
use mete_proto::rest::cluster::Haproxy;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub use self::launch::LaunchError;
pub use self::refusals::Unusable;

use self::hosts::Resolver;
use self::refusals::Refusals;
use crate::acks::ToTell;
use crate::haproxy::backends::{Plan, Problem, Reserved, plan};
use crate::haproxy::configuration::Folder;
use crate::haproxy::process::{Running, kill_all};
use crate::haproxy::render::Layout;
use crate::haproxy::runtime::{RuntimeError, Sockets, WorkerInfo};
use crate::haproxy::template::Template;
use crate::metrics::{Metrics, Status};
use crate::watch::Watched;

/// How often everything is read back and put right although nothing is known to have changed.
const AUDIT: Duration = Duration::from_secs(5);

/// After something did not work.
const RETRY: Duration = Duration::from_millis(200);

/// How long the admin socket may not answer before HAProxy is taken for hung and started anew.
const UNWELL: Duration = Duration::from_secs(5);

/// What the sync is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) folder: Folder,
    pub(crate) template: Template,
    pub(crate) layout: Layout,
    pub(crate) known: watch::Receiver<Watched>,
    pub(crate) to_tell: watch::Sender<Option<ToTell>>,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) proxy_id: String,
    pub(crate) stop_on_exit: bool,
}

/// The sync at work. Owns HAProxy.
#[derive(Debug)]
pub(crate) struct Keeper {
    parts: Parts,
    sockets: Sockets,
    reserved: Reserved,
    resolver: Resolver,
    refusals: Refusals,
    running: Option<Running>,
    worker: Option<WorkerInfo>,
    /// The list to follow; `None` until there is one.
    list: Option<Arc<Backends>>,
    /// Whether it came from the service framework, so that it may be acknowledged.
    is_fresh: bool,
    /// When it came, or one before it that was never in effect; until it is.
    arrived: Option<Duration>,
    /// What the list asks for, and what of it HAProxy takes.
    wanted: Plan,
    plan: Plan,
    /// Names of backends that are ours in the current worker.
    ours: BTreeSet<String>,
    /// Servers that are to drain and serve on, since nobody else does yet.
    needed: handover::Servers,
    /// The list that is in effect.
    applied: Option<Arc<Backends>>,
    known_problems: BTreeSet<Problem>,
    unwell_since: Option<Duration>,
    /// The configuration on disk, as far as known.
    text_on_disk: String,
    frames: frame::Frames,
    launches: launch::Launches,
    /// When to do what next.
    converge_at: Duration,
    poll_at: Option<Duration>,
    write_at: Option<Duration>,
}

enum Happening {
    Watched,
    Died,
    Due,
    End,
}

impl Keeper {
    pub(crate) fn new(parts: Parts) -> Self {
        let folder = &parts.folder;
        let reserved = Reserved::from([
            (
                parts.layout.http.port(),
                "the shared http frontend".to_owned(),
            ),
            (parts.layout.stats.port(), "the stats page".to_owned()),
        ]);
        Self {
            sockets: Sockets::new(&folder.admin_socket(), &folder.master_socket()),
            reserved,
            text_on_disk: folder.current_text().unwrap_or_default(),
            resolver: Resolver::default(),
            refusals: Refusals::default(),
            running: None,
            worker: None,
            list: None,
            is_fresh: false,
            arrived: None,
            wanted: Plan::default(),
            plan: Plan::default(),
            ours: BTreeSet::new(),
            needed: handover::Servers::new(),
            applied: None,
            known_problems: BTreeSet::new(),
            unwell_since: None,
            frames: frame::Frames::default(),
            launches: launch::Launches::default(),
            converge_at: Duration::ZERO,
            poll_at: None,
            write_at: None,
            parts,
        }
    }

    /// Takes over or starts HAProxy, then keeps it in step until `shutdown`.
    ///
    /// # Errors
    /// When HAProxy cannot be started the first time; later it is tried again for ever.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), LaunchError> {
        tokio::select! {
            () = shutdown.cancelled() => {
                self.end().await;
                return Ok(());
            }
            begun = self.begin() => begun?,
        }
        loop {
            let due = [Some(self.converge_at), self.poll_at, self.write_at]
                .into_iter()
                .flatten()
                .min();
            let pause = due.unwrap_or_default().saturating_sub(clock::elapsed());
            let happening = tokio::select! {
                () = shutdown.cancelled() => Happening::End,
                () = exited(self.running.as_ref()) => Happening::Died,
                changed = self.parts.known.changed() => if changed.is_ok() { Happening::Watched } else { Happening::End },
                () = sleep(pause) => Happening::Due,
            };
            match happening {
                Happening::Watched => self.watched().await,
                Happening::Died => self.died().await,
                Happening::Due => self.due().await,
                Happening::End => break,
            }
        }
        self.end().await;
        Ok(())
    }

    async fn watched(&mut self) {
        let watched = self.parts.known.borrow_and_update().clone();
        self.parts
            .metrics
            .connected
            .set(i64::from(watched.is_connected));
        let is_new = match (&watched.list, &self.list) {
            (Some(new), Some(old)) if self.is_fresh => !Arc::ptr_eq(new, old),
            (Some(_), _) => true,
            (None, _) => false,
        };
        if is_new {
            self.list = watched.list;
            self.is_fresh = true;
            self.arrived.get_or_insert_with(clock::elapsed);
            self.converge().await;
        } else {
            self.tell(watched.heartbeats).await;
            self.publish();
        }
    }

    async fn due(&mut self) {
        let now = clock::elapsed();
        if now >= self.converge_at {
            self.converge().await;
        } else if self.poll_at.is_some_and(|at| now >= at) {
            let beat = self.parts.known.borrow().heartbeats;
            self.tell(beat).await;
        }
        if self.write_at.is_some_and(|at| now >= at) {
            self.write_to_disk().await;
        }
    }

    async fn died(&mut self) {
        warn!("haproxy died, starting it again");
        self.parts.metrics.deaths.inc();
        self.running = None;
        self.worker = None;
        self.publish();
        self.converge().await;
    }

    async fn end(mut self) {
        if self.write_at.is_some() {
            self.write_to_disk().await;
        }
        if !self.parts.stop_on_exit {
            return;
        }
        info!("stopping haproxy");
        match self.running.take() {
            Some(running) => running.stop(&self.parts.folder).await,
            // It may have been about to start.
            None => kill_all(&self.parts.folder).await,
        }
        let folder = &self.parts.folder;
        for socket in [folder.admin_socket(), folder.master_socket()] {
            // Not there when HAProxy never came up.
            let _ = std::fs::remove_file(socket);
        }
    }

    /// Once through everything; what does not work is tried again soon.
    async fn converge(&mut self) {
        self.converge_at = clock::elapsed() + AUDIT;
        self.make_plan().await;
        if self.running.is_none() && !self.relaunch().await {
            self.publish();
            return;
        }
        if self.list.is_some() {
            match self.in_step().await {
                Ok(true) => self.is_applied(),
                Ok(false) => self.again_in(RETRY),
                Err(unwell) => self.is_unwell(&unwell).await,
            }
        }
        let beat = self.parts.known.borrow().heartbeats;
        self.tell(beat).await;
        self.publish();
    }

    /// What the list asks for, less what HAProxy has refused.
    async fn make_plan(&mut self) {
        let Some(list) = self.list.clone() else {
            return;
        };
        let hosts = self.resolver.resolve(&list.services).await;
        self.wanted = plan(&list.services, &hosts, &self.reserved);
        for problem in self.wanted.problems.difference(&self.known_problems) {
            warn!(%problem, "not served as asked");
        }
        self.known_problems.clone_from(&self.wanted.problems);
        self.use_what_is_taken();
    }

    fn use_what_is_taken(&mut self) {
        self.plan = self.refusals.apply(&self.wanted, clock::elapsed());
        self.ours.extend(
            self.plan
                .backends
                .values()
                .map(|backend| backend.name.clone()),
        );
    }

    fn is_applied(&mut self) {
        let now = clock::elapsed();
        let list = self.list.clone().filter(|_| self.is_fresh);
        if let Some(list) = list {
            if let Some(arrived) = self.arrived.take() {
                let took = now.saturating_sub(arrived);
                self.parts
                    .metrics
                    .effect_seconds
                    .observe(took.as_secs_f64());
                info!(
                    version = list.version,
                    took_ms = took.as_secs_f64() * 1e3,
                    "list in effect"
                );
            }
            self.parts
                .metrics
                .version
                .set(i64::try_from(list.version).unwrap_or(i64::MAX));
            self.applied = Some(list);
        }
    }

    /// The admin socket does not answer: for a while that may be a reload or a slow machine, then HAProxy is hung.
    async fn is_unwell(&mut self, cause: &RuntimeError) {
        let now = clock::elapsed();
        let since = *self.unwell_since.get_or_insert(now);
        if now.saturating_sub(since) < UNWELL {
            warn!(
                cause = chain(cause),
                "haproxy does not answer, trying again"
            );
            self.again_in(RETRY);
            return;
        }
        error!(
            cause = chain(cause),
            "haproxy has not answered for long, starting it anew"
        );
        self.unwell_since = None;
        self.running = None;
        kill_all(&self.parts.folder).await;
        self.parts.metrics.deaths.inc();
        self.again_in(Duration::ZERO);
    }

    fn again_in(&mut self, pause: Duration) {
        self.converge_at = self.converge_at.min(clock::elapsed() + pause);
    }

    /// The configuration file follows the servers, so that a start from it has all of them.
    async fn write_to_disk(&mut self) {
        self.write_at = None;
        if let Some(list) = self.list.as_ref().filter(|_| self.is_fresh) {
            saved::save(&self.parts.folder, list);
        }
        self.write_configuration().await;
    }

    fn publish(&self) {
        let layout = &self.parts.layout;
        let haproxy = self.running.as_ref().map(|running| Haproxy {
            pid: running.pid(),
            stats: format!("http://{}", layout.stats),
            admin_socket: layout.admin_socket.display().to_string(),
            http_frontend: format!("http://{}", layout.http),
        });
        let problems = self.wanted.problems.iter().map(ToString::to_string);
        let problems: Vec<String> = problems
            .chain(self.refusals.reasons())
            .chain(self.frames.trouble())
            .collect();
        self.parts
            .metrics
            .problems
            .set(i64::try_from(problems.len()).unwrap_or(i64::MAX));
        let status = Status {
            haproxy,
            worker_pid: self.worker.as_ref().map(|worker| worker.pid),
            proxy_id: self.parts.proxy_id.clone(),
            is_connected: self.parts.known.borrow().is_connected,
            epoch: self.applied.as_ref().map(|list| list.epoch.clone()),
            version: self.applied.as_ref().map(|list| list.version),
            problems,
        };
        self.parts.status.send_if_modified(|old| {
            let is_new = *old != status;
            *old = status;
            is_new
        });
    }
}

async fn exited(running: Option<&Running>) {
    match running {
        Some(running) => running.exited().await,
        None => std::future::pending().await,
    }
}
