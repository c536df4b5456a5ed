//! Old sandboxes go; the disk is full, and has room again.

use std::time::Duration;

use mete_model::{ContainerId, Effects, Timestamp};
use tracing::{info, warn};

use crate::effects::Action;
use crate::input::DiskSpace;
use crate::node::Node;
use crate::record::Record;

/// Thousandths of the disk that stay free of sandboxes (Mesos' `gc_disk_headroom`, 0.1).
const HEADROOM_THOUSANDTHS: u64 = 100;

impl Node {
    /// How long a sandbox is kept now: all of the delay on an empty disk, nothing on one that is 90 % full
    /// (Mesos: delay × max(0, 1 − headroom − usage)).
    pub(crate) fn keep_for(&self) -> Duration {
        let used = self.disk.used_thousandths() + HEADROOM_THOUSANDTHS;
        let left = u32::try_from(1_000_u64.saturating_sub(used)).unwrap_or(0);
        self.settings.gc_delay / 1_000 * left
    }

    /// Time to look at the disk and at what lies on it.
    pub(crate) fn collection_due(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        if self.disk.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.disk.measuring(now);
        out.act.push(Action::MeasureDisk);
        self.volumes.try_again();
        self.collect(now, out);
    }

    /// Begins to remove what is old enough.
    pub(super) fn collect(&mut self, now: Timestamp, out: &mut Effects<Self>) {
        for sandbox in self.sandboxes.start_due(now, self.keep_for()) {
            info!(task = %sandbox.key.task, container = %sandbox.container, "sandbox is removed");
            out.act.push(Action::RemoveSandbox {
                key: sandbox.key.clone(),
                container: sandbox.container.clone(),
                within: sandbox.within.clone(),
                agent: sandbox.agent.clone(),
            });
        }
    }

    /// A removal has ended.
    pub(crate) fn sandbox_removed(
        &mut self,
        now: Timestamp,
        container: &ContainerId,
        failure: Option<String>,
        out: &mut Effects<Self>,
    ) {
        if let Some(failure) = &failure {
            warn!(%container, failure, "sandbox could not be removed");
            self.counters.sandboxes_not_removed += 1;
        } else {
            self.counters.sandboxes_removed += 1;
        }
        if self.sandboxes.removed(container, failure.is_some()) {
            out.store.push(Record::SandboxGone(container.clone()));
        }
        if failure.is_none() {
            self.collect(now, out);
        }
    }

    /// The disk was measured, or could not be.
    pub(crate) fn disk_measured(
        &mut self,
        now: Timestamp,
        space: Option<DiskSpace>,
        out: &mut Effects<Self>,
    ) {
        let Some(space) = space else {
            return;
        };
        let was_full = self.disk.is_full();
        let reserve_bytes = self.settings.disk_reserve_bytes;
        if self.disk.measured(now, space, reserve_bytes) {
            info!(free_bytes = space.free_bytes, "disk has room again");
            out.act.push(Action::RestoreReserve);
        } else if self.disk.is_full() && !was_full {
            warn!(
                free_bytes = space.free_bytes,
                reserve_bytes, "disk is full, nothing is launched"
            );
            self.collect(now, out);
        }
    }

    /// The store has run into the end of the disk and lives on its reserve.
    pub(crate) fn store_full(&mut self, now: Timestamp) {
        warn!("store lives on its reserve, nothing is launched");
        self.disk.store_is_full();
        self.disk.measuring(now);
    }
}
