//! What is over, the last of it, for people and tools that look: nothing is decided on it, and nothing of it is stored. After
//! a restart of the agent only the sandboxes tell of what was before.

use std::sync::Arc;

use mete_model::{ContainerId, ExecutorSpec, FrameworkId, FrameworkInfo, SharedMap};

use super::tasks::Task;

/// Tasks and executors, at most of each.
const MAX_PAST: usize = 1_000;
/// What each kind says of itself, at most together: a task may say a megabyte.
const MAX_PAST_BYTES: usize = 16 << 20;
/// Frameworks, at most (as many as Mesos' agents remember).
const MAX_PAST_FRAMEWORKS: usize = 50;

/// The last of it.
#[derive(Clone, Debug, Default)]
pub struct Past {
    tasks: Last<Arc<Task>>,
    executors: Last<Arc<PastExecutor>>,
    frameworks: Last<(FrameworkId, Arc<FrameworkInfo>)>,
}

/// An executor that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastExecutor {
    /// Whose.
    pub framework: FrameworkId,
    /// Which run of it.
    pub container: ContainerId,
    /// What it was.
    pub spec: Arc<ExecutorSpec>,
}

impl Past {
    /// Tasks, those first that were over first.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.iter()
    }

    /// Executors likewise.
    pub fn executors(&self) -> impl Iterator<Item = &Arc<PastExecutor>> {
        self.executors.iter()
    }

    /// Frameworks that had tasks here, likewise. One may be back since.
    pub fn frameworks(&self) -> impl Iterator<Item = &(FrameworkId, Arc<FrameworkInfo>)> {
        self.frameworks.iter()
    }

    /// Remembers a task, but for its secrets.
    pub(crate) fn task(&mut self, mut task: Arc<Task>) {
        if task.spec.tells_secrets() {
            Arc::make_mut(&mut Arc::make_mut(&mut task).spec).forget_secrets();
        }
        let bytes = task.spec.original.len();
        self.tasks.push(task, bytes, MAX_PAST);
    }

    /// Remembers an executor.
    pub(crate) fn executor(&mut self, executor: PastExecutor) {
        let bytes = executor.spec.original.len();
        self.executors.push(Arc::new(executor), bytes, MAX_PAST);
    }

    /// Remembers a framework.
    pub(crate) fn framework(&mut self, id: FrameworkId, info: Arc<FrameworkInfo>) {
        let bytes = info.original.len();
        self.frameworks.push((id, info), bytes, MAX_PAST_FRAMEWORKS);
    }
}

/// The last so many of something, each with how many bytes it says; cheap to share with readers.
#[derive(Clone, Debug)]
struct Last<T> {
    all: SharedMap<u64, (T, usize)>,
    next: u64,
    bytes: usize,
}

impl<T> Default for Last<T> {
    fn default() -> Self {
        Self {
            all: SharedMap::default(),
            next: 0,
            bytes: 0,
        }
    }
}

impl<T: Clone> Last<T> {
    fn iter(&self) -> impl Iterator<Item = &T> {
        self.all.values().map(|(one, _)| one)
    }

    /// Remembers one more, and forgets the first until no more are left than `most`, or than have room.
    fn push(&mut self, one: T, bytes: usize, most: usize) {
        self.all.insert(self.next, (one, bytes));
        self.next += 1;
        self.bytes += bytes;
        while self.all.len() > most || self.bytes > MAX_PAST_BYTES {
            let first = self.next - self.all.len() as u64;
            let Some((_, bytes)) = self.all.remove(&first) else {
                return;
            };
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_have_room_are_remembered() {
        let mut last = Last::default();
        let left = |last: &Last<u8>| last.iter().copied().collect::<Vec<_>>();

        for one in 0..10 {
            last.push(one, 1, 3);
        }
        assert_eq!(left(&last), [7, 8, 9]);
        last.push(10, MAX_PAST_BYTES - 1, 3);
        assert_eq!(left(&last), [9, 10]);
        last.push(11, MAX_PAST_BYTES + 1, 3);
        assert_eq!(left(&last), [0; 0]);
        last.push(12, 1, 3);
        assert_eq!(left(&last), [12]);
    }
}
