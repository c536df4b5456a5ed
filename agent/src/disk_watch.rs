//! How much of the disk running tasks take: their sandboxes and volumes are walked through one after the other, in the
//! background, now and then.
//!
//! ```text
//! pass: container ─▶ sandbox, rest ─▶ volume, rest ─▶ next container …      interval      pass …
//! ```
//! Invariants: one walk at a time, and a rest after each that is nine times as long, so that all of it takes at most a tenth
//! of one CPU and of the disk's time; what is kept is the last pass.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mete_agent_core::{ExecutorPhase, Input, Node, View};
use mete_daemon::clock;
use mete_daemon::event_loop::Handle;
use mete_model::resources::megabytes::bytes_of;
use mete_model::{ContainerId, Resources, TaskKey, VolumeName};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::cgroups::sum;
use crate::places::Places;
use crate::sandbox;
use crate::volumes::Volumes;

/// How much longer than a walk the rest after it is.
const REST: u32 = 9;

/// Entries of one directory that are looked at: some seconds' work. What has more is not measured.
const MAX_ENTRIES: usize = 1_000_000;

/// What one container takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskUse {
    /// Its sandbox, in bytes; `None`: it could not be measured.
    pub(crate) sandbox_bytes: Option<u64>,
    /// Each volume that it holds.
    pub(crate) volumes: Vec<VolumeUse>,
}

impl DiskUse {
    /// Of both.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut volumes = self.volumes.clone();
        let more = other.volumes.iter();
        volumes.extend(more.filter(|one| !self.volumes.contains(one)).cloned());
        Self {
            sandbox_bytes: sum(self.sandbox_bytes, other.sandbox_bytes),
            volumes,
        }
    }
}

/// What one volume takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeUse {
    /// The volume's id.
    pub(crate) id: String,
    /// Who created it, when that is known.
    pub(crate) principal: Option<String>,
    /// How large it is meant to be.
    pub(crate) limit_bytes: u64,
    /// In bytes; `None`: it could not be measured.
    pub(crate) used_bytes: Option<u64>,
}

/// Measures running containers.
pub(crate) struct DiskWatch {
    handle: Handle<Node>,
    places: Places,
    volumes: Volumes,
    /// From one pass to the next.
    interval: Duration,
    /// Whether tasks that take more than they asked for are ended.
    enforce: bool,
    last: Mutex<BTreeMap<ContainerId, Arc<DiskUse>>>,
}

/// What is measured of one container.
struct Measured {
    /// The task that is ended if it is too much; `None`: an executor of a framework's own.
    task: Option<TaskKey>,
    container: ContainerId,
    sandbox: PathBuf,
    /// What its sandbox may take; 0: nobody said.
    limit_bytes: u64,
    volumes: Vec<(VolumeName, VolumeUse)>,
}

impl DiskWatch {
    pub(crate) fn new(
        handle: Handle<Node>,
        places: Places,
        volumes: Volumes,
        interval: Duration,
        enforce: bool,
    ) -> Self {
        Self {
            handle,
            places,
            volumes,
            interval,
            enforce,
            last: Mutex::default(),
        }
    }

    /// What a container took when it was last looked at; `None` before that.
    pub(crate) fn of(&self, container: &ContainerId) -> Option<Arc<DiskUse>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(container).map(Arc::clone)
    }

    /// Measures until the end.
    pub(crate) async fn watch_for_ever(self: Arc<Self>, end: CancellationToken) {
        let passes = async {
            loop {
                tokio::time::sleep(self.interval).await;
                self.pass().await;
            }
        };
        tokio::select! {
            () = end.cancelled() => {}
            () = passes => {}
        }
    }

    async fn pass(&self) {
        let all = measured(&self.handle.view(), &self.places);
        let running: Vec<_> = all.iter().map(|one| one.container.clone()).collect();
        for mut one in all {
            let sandbox_bytes = walk(one.sandbox.clone()).await;
            let mut volumes = Vec::new();
            for (name, mut volume) in std::mem::take(&mut one.volumes) {
                volume.used_bytes = walk(self.volumes.place(&name)).await;
                volumes.push(volume);
            }
            let used = DiskUse {
                sandbox_bytes,
                volumes,
            };
            if self.enforce {
                self.enforce(&one, &used).await;
            }
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.insert(one.container, Arc::new(used));
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|container, _| running.contains(container));
    }

    async fn enforce(&self, one: &Measured, used: &DiskUse) {
        let (Some(key), Some((limit_bytes, excess))) = (&one.task, excess(one.limit_bytes, used))
        else {
            return;
        };
        let input = Input::DiskUsedUp {
            key: key.clone(),
            container: one.container.clone(),
            limit_bytes,
            excess,
        };
        // The loop has ended when this fails.
        let _ = self.handle.tell(input).await;
    }
}

/// How much it asked for, of what it takes too much of, and that for people. A sandbox of which nobody said how large it may be is never.
fn excess(limit_bytes: u64, used: &DiskUse) -> Option<(u64, String)> {
    let sandbox = used.sandbox_bytes.filter(|_| limit_bytes > 0);
    let sandbox = sandbox.map(|bytes| ("its sandbox".to_owned(), bytes, limit_bytes));
    let volumes = used.volumes.iter().filter_map(|one| {
        let what = format!("its volume {}", one.id);
        Some((what, one.used_bytes?, one.limit_bytes))
    });
    let mut all = sandbox.into_iter().chain(volumes);
    let (what, bytes, limit_bytes) = all.find(|(_, bytes, limit)| bytes > limit)?;
    let (bytes, limit) = (bytes.div_ceil(1 << 20), limit_bytes >> 20);
    let words = format!("{what} takes {bytes} MB of the disk, more than its {limit} MB");
    Some((limit_bytes, words))
}

/// What a sandbox may take: disk that is no volume.
pub(crate) fn sandbox_limit(resources: &Resources) -> u64 {
    let parts = resources.parts();
    let parts = parts.filter(|(tag, _)| tag.volume.is_none());
    let parts: u64 = parts.map(|(_, part)| part.disk_milli).sum();
    bytes_of(resources.disk_milli.saturating_add(parts))
}

fn volumes_of(resources: &Resources) -> Vec<(VolumeName, VolumeUse)> {
    let held = resources.volumes().filter_map(|(name, tag, bytes)| {
        let volume = tag.volume.as_ref()?;
        let used = VolumeUse {
            id: volume.id.clone(),
            principal: volume.principal.clone(),
            limit_bytes: bytes,
            used_bytes: None,
        };
        Some((name, used))
    });
    held.collect()
}

/// All that runs: tasks, and executors of frameworks' own with what their tasks hold.
fn measured(view: &View, places: &Places) -> Vec<Measured> {
    let live = || view.tasks.values().filter(|task| task.is_live());
    let own = live().filter(|task| !task.is_delegated());
    let tasks = own.filter(|task| task.started_at.is_some());
    let tasks = tasks.map(|task| Measured {
        task: Some(task.key.clone()),
        container: task.container.clone(),
        sandbox: places.sandbox_of(task, view),
        limit_bytes: sandbox_limit(&task.spec.resources),
        volumes: volumes_of(&task.spec.resources),
    });
    let executors = view.custom_executors.iter();
    let executors = executors.filter(|(_, one)| one.phase != ExecutorPhase::Starting);
    let executors = executors.map(|(key, one)| {
        let its = live().filter(|task| {
            task.is_delegated()
                && task.key.framework == key.framework
                && task.executor.as_ref() == Some(&key.executor)
        });
        let mut held = one.spec.resources.clone();
        its.for_each(|task| held.add(&task.spec.resources));
        Measured {
            task: None,
            container: one.container.clone(),
            sandbox: places.executor_sandbox(&one.agent, &key.framework, &one.within()),
            limit_bytes: sandbox_limit(&held),
            volumes: volumes_of(&held),
        }
    });
    tasks.chain(executors).collect()
}

/// One walk, and the rest after it. What cannot be measured is not told.
async fn walk(path: PathBuf) -> Option<u64> {
    let began = clock::elapsed();
    let looked = path.clone();
    let found = spawn_blocking(move || sandbox::used_bytes(&looked, &mut { MAX_ENTRIES })).await;
    let took = clock::elapsed().saturating_sub(began);
    tokio::time::sleep(took.saturating_mul(REST)).await;
    match found {
        Ok(Ok(bytes)) => Some(bytes),
        Ok(Err(error)) => {
            debug!(path = %path.display(), %error, "directory cannot be measured");
            None
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "directory cannot be measured");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_more_than_was_asked_for() {
        let used = |sandbox, volume| DiskUse {
            sandbox_bytes: Some(sandbox),
            volumes: vec![VolumeUse {
                id: "db".into(),
                principal: None,
                limit_bytes: 4 << 20,
                used_bytes: Some(volume),
            }],
        };

        assert_eq!(excess(2 << 20, &used(2 << 20, 4 << 20)), None);
        assert_eq!(excess(0, &used(9 << 20, 0)), None);
        assert_eq!(
            excess(2 << 20, &used((2 << 20) + 1, 0)),
            Some((
                2 << 20,
                "its sandbox takes 3 MB of the disk, more than its 2 MB".into()
            ))
        );
        assert_eq!(
            excess(0, &used(0, 5 << 20)),
            Some((
                4 << 20,
                "its volume db takes 5 MB of the disk, more than its 4 MB".into()
            ))
        );
    }
}
