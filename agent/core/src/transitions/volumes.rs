//! Tasks hold volumes, the master destroys them.

use std::collections::BTreeSet;

use mete_model::{Effects, Reason, Resources, TaskState, Timestamp, VolumeName};
use tracing::{info, warn};

use super::report::News;
use crate::effects::{Action, Outgoing};
use crate::node::Node;
use crate::record::Record;
use crate::state::volumes::{MAX_VOLUMES, Volume, VolumePhase};

impl Node {
    /// Why a task or an executor cannot have the volumes that it names. The master sees to all of it but the number; an agent that is told
    /// otherwise keeps what is on them apart all the same.
    pub(super) fn volume_refusal(&self, resources: &Resources) -> Option<News> {
        let mut new = 0;
        for (name, tag, _) in resources.volumes() {
            let message = match self.volumes.get(&name) {
                Some(known) if known.is_doomed() => {
                    format!("volume {name} was destroyed and is being erased")
                }
                Some(_) | None => match self.holder(&name, tag.shared) {
                    Some(other) => format!("volume {name} is held by {other}"),
                    None => {
                        new += usize::from(self.volumes.get(&name).is_none());
                        continue;
                    }
                },
            };
            return Some(refused(message));
        }
        (self.volumes.len() + new > MAX_VOLUMES).then(|| {
            refused(format!(
                "the agent has {MAX_VOLUMES} volumes, more than that it does not keep"
            ))
        })
    }

    /// The live task, or the executor, that holds a volume which is not to be held by two.
    fn holder(&self, name: &VolumeName, shared: bool) -> Option<String> {
        let holds = |resources: &Resources| {
            let mut held = resources.volumes();
            held.any(|(other, tag, _)| other == *name && !(shared && tag.shared))
        };
        let mut live = self.tasks.iter().filter(|task| task.is_live());
        let task = live.find(|task| holds(&task.spec.resources));
        let executors = self.executors.shared();
        let mut executors = executors.values();
        task.map(|task| format!("task {}", task.key.task))
            .or_else(|| {
                let executor = executors.find(|executor| holds(&executor.spec.resources));
                executor.map(|executor| format!("executor {}", executor.key.executor))
            })
    }

    /// A task or an executor was accepted: from now on there is a directory for each volume that it holds, or will be.
    pub(super) fn keep_volumes(
        &mut self,
        now: Timestamp,
        resources: &Resources,
        out: &mut Effects<Self>,
    ) {
        for (name, tag, bytes) in resources.volumes() {
            if self.volumes.get(&name).is_none() {
                info!(volume = %name, "volume is kept from now on");
                let kept = self.volumes.keep(Volume {
                    name,
                    bytes,
                    shared: tag.shared,
                    since: now,
                    phase: VolumePhase::Kept,
                });
                out.store.push(Record::Volume(kept));
            }
        }
    }

    /// The master says that these volumes are not any more. One that the agent has never heard of is erased as well: its
    /// store may be younger than the directory.
    pub(crate) fn erase_volumes(
        &mut self,
        now: Timestamp,
        names: BTreeSet<VolumeName>,
        out: &mut Effects<Self>,
    ) {
        for name in names {
            let known = self.volumes.get(&name);
            if known.is_some_and(|known| known.is_doomed()) {
                continue;
            }
            info!(volume = %name, "volume was destroyed and is erased");
            let (bytes, shared) = known.map_or((0, false), |known| (known.bytes, known.shared));
            let since = known.map_or(now, |known| known.since);
            let doomed = self.volumes.keep(Volume {
                name,
                bytes,
                shared,
                since,
                phase: VolumePhase::Doomed { failure: None },
            });
            out.store.push(Record::Volume(doomed));
        }
    }

    /// Begins to erase what is doomed and held by nobody.
    pub(crate) fn begin_erasures(&mut self, out: &mut Effects<Self>) {
        for volume in self.volumes.waiting() {
            if self.holder(&volume, false).is_none() && self.volumes.begin(&volume) {
                out.act.push(Action::EraseVolume { volume });
            }
        }
    }

    /// The work of erasing a volume has ended.
    pub(crate) fn volume_erased(
        &mut self,
        volume: VolumeName,
        failure: Option<String>,
        out: &mut Effects<Self>,
    ) {
        match &failure {
            None => {
                info!(%volume, "volume is erased");
                self.volumes.forget(&volume);
                out.store.push(Record::VolumeGone(volume.clone()));
            }
            Some(why) => {
                warn!(%volume, failure = why, "volume cannot be erased; it is tried again");
                self.volumes.failed(&volume);
                if let Some(known) = self.volumes.edit(&volume) {
                    let failure = failure.clone();
                    known.phase = VolumePhase::Doomed { failure };
                }
            }
        }
        // Without a master nobody is told: it asks again when the agent registers.
        if let Some(link) = self.link.registered() {
            let message = Box::new(Outgoing::VolumeErased { volume, failure });
            out.act.push(Action::Send { link, message });
        }
    }
}

const fn refused(message: String) -> News {
    News::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message)
}
