//! What running tasks and executors use, looked at when somebody asks, and not more often than makes sense.
//!
//! Invariants: the kernel is asked for one of them at a time, however many ask here; a look serves all who ask within
//! [`FRESH`]. What is kept is one look: tasks that have ended are not in the next one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mete_agent_core::Node;
use mete_daemon::clock;
use mete_daemon::event_loop::Handle;
use mete_model::{ContainerId, Timestamp};
use tokio::sync::Mutex as Turn;

use crate::containerizer::{Containerizer, Usage};
use crate::disk_watch::{DiskUse, DiskWatch};
use crate::running;

/// For how long a look is good: those who look more often want to see change, and rates over less than a second say
/// little.
const FRESH: Duration = Duration::from_secs(1);

/// One look at a task or an executor.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) at: Timestamp,
    pub(crate) usage: Usage,
    /// What it takes of the disk, as it was looked at before; `None`: it was not yet.
    pub(crate) disk: Option<Arc<DiskUse>>,
}

impl Sample {
    /// Adds what another one uses; the later time is that of both.
    pub(crate) fn add(&mut self, other: &Self) {
        self.at = self.at.max(other.at);
        self.usage.add(&other.usage);
        self.disk = match (self.disk.take(), &other.disk) {
            (Some(one), Some(other)) => Some(Arc::new(one.plus(other))),
            (one, other) => one.or_else(|| other.clone()),
        };
    }
}

/// The samples of one look, by container.
pub(crate) type Look = BTreeMap<ContainerId, Sample>;

/// Looks at running tasks.
pub(crate) struct Statistics {
    handle: Handle<Node>,
    containerizer: Arc<dyn Containerizer>,
    disks: Arc<DiskWatch>,
    /// When the last look began, by the clock that never goes back; held while somebody looks.
    last: Turn<Option<Duration>>,
    look: Mutex<Arc<Look>>,
}

impl Statistics {
    pub(crate) fn new(
        handle: Handle<Node>,
        containerizer: Arc<dyn Containerizer>,
        disks: Arc<DiskWatch>,
    ) -> Self {
        Self {
            handle,
            containerizer,
            disks,
            last: Turn::new(None),
            look: Mutex::default(),
        }
    }

    /// All that runs, as it is now or was a moment ago.
    pub(crate) async fn fresh(&self) -> Arc<Look> {
        let mut last = self.last.lock().await;
        let now = clock::elapsed();
        if last.is_some_and(|last| now < last + FRESH) {
            return self.latest();
        }
        let view = self.handle.view();
        let mut look = Look::new();
        let running = running::all(&view).into_iter();
        let containers: Vec<_> = running.map(|one| one.container.clone()).collect();
        for container in containers {
            let usage = self.containerizer.usage(container.clone()).await;
            let at = clock::now();
            let disk = self.disks.of(&container);
            look.insert(container, Sample { at, usage, disk });
        }
        let look = Arc::new(look);
        *self.look.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&look);
        *last = Some(now);
        look
    }

    /// The last look there was.
    pub(crate) fn latest(&self) -> Arc<Look> {
        Arc::clone(&self.look.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
