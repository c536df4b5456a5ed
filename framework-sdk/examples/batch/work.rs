//! The list of tasks, and what became of each: waiting, running, finished, failed.

use std::collections::BTreeMap;

use mete_framework_sdk::matching::WaitingTask;
use mete_framework_sdk::{BadId, Resources, Task, TaskId, TaskState, TaskStatus};

use crate::Arguments;

/// One item of the list that is not over, in its present attempt.
struct Item {
    number: u32,
    attempt: u32,
    task: Task,
    is_running: bool,
}

/// The list of tasks.
pub(crate) struct Work {
    name: String,
    command: String,
    needs: Resources,
    attempts: u32,
    waiting: Vec<WaitingTask>,
    open: BTreeMap<TaskId, Item>,
    pub(crate) finished: u32,
    pub(crate) failed: u32,
    pub(crate) relaunched: u32,
}

impl Work {
    /// All wait. Fails when the name cannot begin an id.
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, BadId> {
        let sleep = || format!("sleep {}", arguments.seconds);
        let mut work = Self {
            name: arguments.name.clone(),
            command: arguments.command.clone().unwrap_or_else(sleep),
            needs: Resources::cpus_mem((arguments.cpus * 1e3).round() as u64, arguments.mem),
            attempts: arguments.attempts,
            waiting: Vec::new(),
            open: BTreeMap::new(),
            finished: 0,
            failed: 0,
            relaunched: 0,
        };
        for number in 1..=arguments.count {
            work.add(number, 1)?;
        }
        Ok(work)
    }

    /// Every attempt is a task of its own: ids are never used twice.
    fn add(&mut self, number: u32, attempt: u32) -> Result<(), BadId> {
        let id = format!("{}-{number}-{attempt}", self.name);
        let task = Task::shell(id, &self.command)?.resources(self.needs.clone());
        self.waiting.push(WaitingTask::new(task.clone()));
        let item = Item {
            number,
            attempt,
            task,
            is_running: false,
        };
        self.open.insert(item.task.id().clone(), item);
        Ok(())
    }

    /// Those that wait, to be laid onto offers; the rest of them comes back by [`Self::launched_all_but`].
    pub(crate) fn take_waiting(&mut self) -> Vec<WaitingTask> {
        std::mem::take(&mut self.waiting)
    }

    pub(crate) fn launched_all_but(&mut self, waiting: Vec<WaitingTask>) {
        for item in self.open.values_mut() {
            item.is_running = true;
        }
        for waiting in &waiting {
            if let Some(item) = self.open.get_mut(waiting.task().id()) {
                item.is_running = false;
            }
        }
        self.waiting = waiting;
    }

    pub(crate) fn waiting(&self) -> &[WaitingTask] {
        &self.waiting
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.open.is_empty()
    }

    /// Those that were launched and are not over.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Task> {
        let running = self.open.values().filter(|item| item.is_running);
        running.map(|item| &item.task)
    }

    /// News of a task; true when it has to run once more.
    pub(crate) fn hear(&mut self, status: &TaskStatus) -> bool {
        let is_over = status.state.is_terminal() || status.state == TaskState::Unknown;
        if !is_over {
            return false;
        }
        let Some(item) = self.open.remove(&status.task) else {
            return false; // Told before.
        };
        if status.state == TaskState::Finished {
            self.finished += 1;
            return false;
        }
        let why = status.message.as_deref().unwrap_or("no reason given");
        eprintln!("{} is {}: {why}", status.task, status.state);
        let again = item.attempt < self.attempts && self.add(item.number, item.attempt + 1).is_ok();
        if again {
            self.relaunched += 1;
        } else {
            self.failed += 1;
        }
        again
    }
}
