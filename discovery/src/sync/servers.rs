//! Servers: what the worker has is read, what it lacks is told, and read back.
//!
//! Invariant: nothing counts as in step that was not read after the last command.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_daemon::clock;
use mete_proto::rest::backends::Service;
use tracing::{debug, warn};

use super::handover::{last_of_all, needed, with_serving};
use super::{Keeper, coming, frame};
use crate::haproxy::backends::Plan;
use crate::haproxy::names;
use crate::haproxy::reconcile::{Command, steps};
use crate::haproxy::render::render;
use crate::haproxy::rows::{Admin, Row, read_states};
use crate::haproxy::runtime::{MAX_LINE_BYTES, RuntimeError, WorkerInfo};
use crate::metrics::{BackendState, MAX_BACKENDS_MEASURED};

/// Commands and their effect, read back; twice, should another hand have been at it in between.
const ROUNDS: usize = 3;

/// From one change to the file on disk, so that many changes are one file: each costs a check of 60 ms.
const WRITE_DELAY: Duration = Duration::from_secs(1);

/// A server that comes has so long to begin to listen before the list counts as in effect without it.
const LISTENS_WITHIN: Duration = Duration::from_secs(1);

/// While someone serves on who is to drain, others are looked at so often.
const LOOKS_AGAIN: Duration = Duration::from_millis(100);

impl Keeper {
    /// Brings servers and frame to what the plan says. `false` when something is still missing.
    pub(super) async fn in_step(&mut self) -> Result<bool, RuntimeError> {
        let worker = self.sockets.worker().await?;
        self.unwell_since = None;
        self.worker = Some(worker.clone());
        let Ok(rendered) = render(&self.parts.template, &self.parts.layout, &self.plan) else {
            return self.in_step_with_other_frame(&worker).await;
        };
        if worker.frame.as_ref() != Some(&rendered.frame) {
            return self.in_step_with_other_frame(&worker).await;
        }
        self.refusals.is_served(&self.plan);
        let in_step = self.servers_in_step(&self.plan.clone()).await?;
        if rendered.text != self.text_on_disk {
            self.write_soon();
        }
        Ok(in_step)
    }

    /// Servers of backends that the worker has come first: that needs no reload. Then the frame, then all of them.
    async fn in_step_with_other_frame(
        &mut self,
        worker: &WorkerInfo,
    ) -> Result<bool, RuntimeError> {
        let shared = self.what_the_worker_has().await?;
        let rows = read_states(&self.sockets.ask("show servers state").await?)?;
        let serving = with_serving(shared.clone(), &last_of_all(&shared, &rows));
        self.servers_of(&serving, &self.ours_but_listed()).await?;
        match self.new_frame(worker).await {
            frame::Outcome::Runs => self.servers_in_step(&self.plan.clone()).await,
            // What cannot be had is logged; what can be had is in effect, and may be told.
            frame::Outcome::Refused => self.servers_in_step(&shared).await,
            frame::Outcome::Later(at) => {
                self.converge_at = self.converge_at.min(at);
                Ok(false)
            }
            frame::Outcome::Died => Ok(false),
        }
    }

    /// Our backends, without those that are to go although the list still has who serves them: another is to have their port.
    fn ours_but_listed(&self) -> BTreeSet<String> {
        let services = self.list.iter().flat_map(|list| &list.services);
        let listed = services.filter(|service| !service.instances.is_empty());
        let name = |service: &Service| names::backend(&service.app_id, service.service_port);
        let is_planned = |name: &String| {
            let mut planned = self.plan.backends.values();
            planned.any(|backend| backend.name == *name)
        };
        let going: BTreeSet<String> = listed.map(name).filter(|name| !is_planned(name)).collect();
        self.ours.difference(&going).cloned().collect()
    }

    /// The part of the plan for which the worker has backends.
    async fn what_the_worker_has(&self) -> Result<Plan, RuntimeError> {
        // Type 2: backends.
        let answer = self.sockets.ask("show stat -1 2 -1").await?;
        let names: BTreeSet<&str> = answer
            .lines()
            .filter_map(|line| line.split(',').next())
            .collect();
        let mut shared = self.plan.clone();
        shared
            .backends
            .retain(|_, backend| names.contains(backend.name.as_str()));
        Ok(shared)
    }

    /// The configuration file is to follow what the worker has.
    pub(super) fn write_soon(&mut self) {
        let at = clock::elapsed() + WRITE_DELAY;
        self.write_at.get_or_insert(at);
    }

    /// Sends commands until the worker's servers are those of the plan, as read back. `false` when they will not be.
    async fn servers_in_step(&mut self, plan: &Plan) -> Result<bool, RuntimeError> {
        let ours = self.ours.clone();
        self.servers_of(plan, &ours).await
    }

    /// The same of backends that are ours as far as `ours` says; others stay as they are. Who is to drain serves on while
    /// nobody who stays is up, and counts as busy.
    async fn servers_of(
        &mut self,
        plan: &Plan,
        ours: &BTreeSet<String>,
    ) -> Result<bool, RuntimeError> {
        for _ in 0..ROUNDS {
            let rows = read_states(&self.sockets.ask("show servers state").await?)?;
            self.needed = needed(plan, &rows);
            let steps = match self.needed.is_empty() {
                true => steps(plan, &rows, ours),
                false => steps(&with_serving(plan.clone(), &self.needed), &rows, ours),
            };
            if steps.needed.is_empty() {
                self.send(&steps.tidy).await?;
                self.measure(&rows);
                if !self.needed.is_empty() {
                    self.again_in(LOOKS_AGAIN);
                }
                return Ok(!self.waits_for_some(plan, &rows));
            }
            let mut needed = steps.needed;
            coming::ask(&mut needed).await;
            self.send(&needed).await?;
        }
        warn!("haproxy's servers are not as told");
        Ok(false)
    }

    /// Whether some that have just come may listen in a moment: others are drained for them when the list is told to be in
    /// effect.
    fn waits_for_some(&self, plan: &Plan, rows: &[Row]) -> bool {
        let since = self.arrived.map(|at| clock::elapsed().saturating_sub(at));
        let is_wanted = |row: &Row| {
            let mut backends = plan.backends.values();
            let backend = backends.find(|backend| backend.name == row.backend);
            let server = backend.and_then(|backend| backend.servers.get(&row.server));
            server.is_some_and(|server| !server.is_draining)
        };
        let is_new = |row: &Row| row.unchanged_secs <= LISTENS_WITHIN.as_secs();
        since.is_some_and(|since| since < LISTENS_WITHIN)
            && rows
                .iter()
                .any(|row| !row.is_up && row.admin == Admin::Ready && is_new(row) && is_wanted(row))
    }

    async fn send(&self, commands: &[Command]) -> Result<(), RuntimeError> {
        let mut line = String::new();
        let mut commands = commands.iter().map(ToString::to_string).peekable();
        while let Some(command) = commands.next() {
            self.parts.metrics.commands.inc();
            line.push_str(&command);
            if commands
                .peek()
                .is_none_or(|next| line.len() + next.len() + 1 > MAX_LINE_BYTES)
            {
                let answer = self.sockets.ask(&line).await?;
                debug!(line, answer = answer.trim(), "told haproxy");
                line.clear();
            } else {
                line.push(';');
            }
        }
        Ok(())
    }

    fn measure(&self, rows: &[Row]) {
        let servers = &self.parts.metrics.servers;
        servers.clear();
        let measured: BTreeSet<&String> = self.ours.iter().take(MAX_BACKENDS_MEASURED).collect();
        for row in rows.iter().filter(|row| measured.contains(&row.backend)) {
            let state = match (row.admin, row.is_up) {
                (Admin::Ready, true) => "up",
                (Admin::Ready, false) => "down",
                (Admin::Drain, _) => "draining",
                (Admin::Maintenance, _) => "leaving",
            };
            servers
                .get_or_create(&BackendState {
                    backend: row.backend.clone(),
                    state,
                })
                .inc();
        }
    }
}
