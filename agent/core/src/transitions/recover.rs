//! After a restart: what the store says × what still runs → keep, report, clean.
//!
//! | stored | found | then |
//! |---|---|---|
//! | ended | – | what it held is removed once more; its report goes on waiting |
//! | live | running | adopted; reported running if that was not yet said |
//! | being killed | running | adopted, told again |
//! | live | ended | reported as it truly ended |
//! | live | never started | TASK_DROPPED; TASK_KILLED if it was being killed |
//! | accepted, of a group | never started | waits on for its turn |
//! | live | vanished, or another boot | TASK_FAILED |
//!
//! An executor of a framework's own that runs is adopted and awaited; its tasks are what it says of them when it comes. With
//! one that has ended its tasks have.

use std::sync::Arc;

use mete_model::{Effects, Reason, TaskState, Timestamp};
use tracing::{info, warn};

use super::finish::{ending, unknown_ending};
use super::kill::KILLED_EARLY;
use super::report::News;
use crate::effects::Action;
use crate::input::{Findings, Found};
use crate::node::Node;
use crate::record::Record;
use crate::state::executors::ExecutorKey;
use crate::state::tasks::{Phase, Task};

impl Node {
    /// The shell has looked after every task of the store: life goes on.
    pub(crate) fn recovered(
        &mut self,
        now: Timestamp,
        mut findings: Findings,
        out: &mut Effects<Self>,
    ) {
        if self.recovered {
            warn!("second recovery is ignored");
            return;
        }
        self.recovered = true;
        let before = &self.identity.boot_id;
        let rebooted = !before.is_empty() && *before != findings.boot_id;
        if *before != findings.boot_id {
            self.identity.boot_id.clone_from(&findings.boot_id);
            out.store.push(Record::Identity(self.identity.clone()));
        }
        let executors = self.custom_executors.iter().map(|one| one.key.clone());
        for key in executors.collect::<Vec<_>>() {
            let found = findings.executors.remove(&key);
            let found = found.unwrap_or(Found::Vanished);
            self.account_for_executor(now, &key, found, rebooted, out);
        }
        let keys: Vec<_> = self.tasks.iter().map(|task| task.key.clone()).collect();
        for key in &keys {
            // Looked up anew: a task that has failed ends its group.
            let Some(task) = self.tasks.get(key).map(Arc::clone) else {
                continue;
            };
            if task.is_delegated() {
                self.account_delegated(now, &task, out);
                continue;
            }
            let found = findings.found.remove(key);
            self.account(now, &task, found.unwrap_or(Found::Vanished), rebooted, out);
        }
        info!(tasks = keys.len(), rebooted, "agent has recovered");
        self.disk.measuring(now);
        out.act.push(Action::MeasureDisk);
        self.collect(now, out);
        self.connect(now, out);
    }

    fn account(
        &mut self,
        now: Timestamp,
        task: &Task,
        found: Found,
        rebooted: bool,
        out: &mut Effects<Self>,
    ) {
        if !task.is_live() {
            out.act.push(Action::Release {
                key: task.key.clone(),
                container: task.container.clone(),
            });
            return;
        }
        match found {
            Found::Running if !rebooted => self.adopt(now, task, out),
            Found::Ended(exit) => self.end(now, &task.key, ending(task, &exit), out),
            // It waits for others of its group, and its launch job was never begun.
            Found::NeverStarted if task.executor.is_some() && task.phase == Phase::Accepted => {}
            Found::NeverStarted if task.started_at.is_none() => {
                let news = match task.kill() {
                    Some(kill) => News::agent(
                        TaskState::Killed,
                        Reason::TaskKilledDuringLaunch,
                        kill.note.clone().unwrap_or_else(|| KILLED_EARLY.to_owned()),
                    ),
                    None => News::agent(
                        self.dropped(&task.key.framework),
                        Reason::AgentRestarted,
                        "the agent was restarted before the task had started".to_owned(),
                    ),
                };
                self.end(now, &task.key, news, out);
            }
            Found::Running | Found::NeverStarted | Found::Vanished => {
                let message = if rebooted {
                    "the machine of the agent was restarted"
                } else {
                    "the task's process ended while the agent was away and left no record of how"
                };
                self.end(now, &task.key, unknown_ending(task, message), out);
            }
        }
    }

    /// Its executor says how it goes, if that is still there.
    fn account_delegated(&mut self, now: Timestamp, task: &Task, out: &mut Effects<Self>) {
        let executor = task.executor.clone().map(|executor| ExecutorKey {
            framework: task.key.framework.clone(),
            executor,
        });
        let lives = executor.is_some_and(|key| self.custom_executors.get(&key).is_some());
        if task.is_live() && !lives {
            let message = "the task's executor is gone".to_owned();
            let news = News::agent(TaskState::Failed, Reason::ExecutorTerminated, message);
            self.end(now, &task.key, news, out);
        }
    }

    fn adopt(&mut self, now: Timestamp, task: &Task, out: &mut Effects<Self>) {
        let key = task.key.clone();
        let container = task.container.clone();
        info!(task = %key.task, framework = %key.framework, %container, "task is adopted");
        out.act.push(Action::Adopt {
            key: key.clone(),
            container: container.clone(),
        });
        match &task.phase {
            Phase::Killing(kill) if kill.launching => self.started_too_late(now, &key, out),
            Phase::Killing(_) => out.act.push(Action::Terminate { key, container }),
            Phase::Accepted | Phase::Starting | Phase::Running | Phase::Delegated => {
                // The clock may have been set back.
                let since = task.started_at.map_or(now, |at| at.min(now));
                self.runs(now, &key, since, task.latest.healthy);
                if task.latest.state != TaskState::Running {
                    self.report(now, &key, News::executor(TaskState::Running));
                }
            }
            Phase::Ended { .. } => {}
        }
    }
}
