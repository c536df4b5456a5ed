//! What the service framework is told: the version in effect, and the sessions of tasks that drain.
//!
//! Invariant: a count is told only if every worker that may hold sessions has been asked; otherwise the last one stands.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_daemon::chain;
use mete_daemon::clock;
use mete_proto::rest::backends::{Ack, Backends, DrainingTask, InstanceState};
use tracing::debug;

use super::Keeper;
use crate::acks::ToTell;
use crate::haproxy::names;
use crate::haproxy::rows::{Sessions, add_sessions};
use crate::haproxy::runtime::{MAX_LINE_BYTES, RuntimeError};

/// How often sessions of draining tasks are counted: what a planned kill waits at most after the last one ended.
const POLL: Duration = Duration::from_millis(100);

/// Draining tasks with the servers that they are, by backend and server name.
type Draining = BTreeMap<String, Vec<(String, String)>>;

impl Keeper {
    /// Acknowledges the list that is in effect; again when sessions have ended, and with every heartbeat.
    pub(super) async fn tell(&mut self, beat: u64) {
        self.poll_at = None;
        let Some(applied) = self.applied.clone() else {
            return;
        };
        let draining = draining(&applied);
        let mut counted = Vec::new();
        if !draining.is_empty() {
            self.poll_at = Some(clock::elapsed() + POLL);
            match self.count(&draining).await {
                Ok(sessions) => counted = sessions,
                Err(cause) => {
                    debug!(cause = chain(&cause), "sessions not counted");
                    return;
                }
            }
        }
        let ack = Ack {
            epoch: applied.epoch.clone(),
            version: applied.version,
            draining: counted,
        };
        let told = Some(ToTell { ack, beat });
        self.parts.to_tell.send_if_modified(|old| {
            let is_new = *old != told;
            *old = told;
            is_new
        });
    }

    async fn count(&self, draining: &Draining) -> Result<Vec<DrainingTask>, RuntimeError> {
        let mut sessions = Sessions::new();
        let backends: BTreeSet<&str> = draining
            .values()
            .flatten()
            .map(|(backend, _)| backend.as_str())
            .collect();
        // Old workers first: a worker that becomes old in between is then counted as the current one.
        for worker in self.sockets.processes().await?.old_workers {
            for backend in &backends {
                match self
                    .sockets
                    .ask_old_worker(worker, &format!("show stat {backend} 4 -1"))
                    .await
                {
                    Ok(answer) => add_sessions(&answer, &mut sessions)?,
                    // It may have ended since; with it, its sessions.
                    Err(cause) if self.is_still_there(worker).await? => return Err(cause),
                    Err(_) => break,
                }
            }
        }
        // A backend that the worker has no more is "No such proxy.", and has no sessions.
        let mut line = String::new();
        for backend in &backends {
            let command = format!("show stat {backend} 4 -1");
            if !line.is_empty() && line.len() + 1 + command.len() > MAX_LINE_BYTES {
                let answer = self.sockets.ask(&std::mem::take(&mut line)).await?;
                add_sessions(&answer, &mut sessions)?;
            }
            if !line.is_empty() {
                line.push(';'); // between two only: after one that is the last HAProxy reads an unknown command
            }
            line.push_str(&command);
        }
        if !line.is_empty() {
            add_sessions(&self.sockets.ask(&line).await?, &mut sessions)?;
        }
        // Who takes requests still is busy, whatever it does at this moment.
        let of = |server: &(String, String)| {
            let counted = sessions.get(server).copied().unwrap_or_default();
            counted.max(u64::from(self.needed.contains(server)))
        };
        let count = |servers: &Vec<(String, String)>| servers.iter().map(of).sum();
        let tasks = draining.iter();
        Ok(tasks
            .map(|(task, servers)| DrainingTask {
                task_id: task.clone(),
                sessions: count(servers),
            })
            .collect())
    }

    async fn is_still_there(&self, worker: u32) -> Result<bool, RuntimeError> {
        Ok(self
            .sockets
            .processes()
            .await?
            .old_workers
            .contains(&worker))
    }
}

fn draining(list: &Backends) -> Draining {
    let mut draining = Draining::new();
    for service in &list.services {
        let backend = names::backend(&service.app_id, service.service_port);
        for instance in service
            .instances
            .iter()
            .filter(|instance| instance.state == InstanceState::Draining)
        {
            let server = (backend.clone(), names::server(&instance.task_id));
            draining
                .entry(instance.task_id.clone())
                .or_default()
                .push(server);
        }
    }
    draining
}
