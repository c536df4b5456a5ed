//! The disk of the work directory: how full it is, and whether there is room for new tasks.
//!
//! ```text
//! roomy ─▶ full: nothing is launched; updates, acknowledgements and kills go on in the store's reserve
//!   ▲────────┘ twice the reserve is free again
//! ```

use std::time::Duration;

use mete_model::Timestamp;

use crate::input::DiskSpace;

/// From one measurement to the next (Mesos looks every minute).
pub(crate) const MEASURE_EVERY: Duration = Duration::from_secs(60);
/// The same while the disk is full: people wait for it.
pub(crate) const MEASURE_FULL_EVERY: Duration = Duration::from_secs(5);

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk {
    space: Option<DiskSpace>,
    full: bool,
    next: Option<Timestamp>,
}

impl Disk {
    pub(crate) const fn new() -> Self {
        Self {
            space: None,
            full: false,
            next: None,
        }
    }

    pub(crate) const fn space(&self) -> Option<DiskSpace> {
        self.space
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.full
    }

    /// A measurement begins; the next one follows in its time.
    pub(crate) fn measuring(&mut self, now: Timestamp) {
        let wait = if self.full {
            MEASURE_FULL_EVERY
        } else {
            MEASURE_EVERY
        };
        self.next = Some(now + wait);
    }

    pub(crate) const fn store_is_full(&mut self) {
        self.full = true;
    }

    /// Takes a measurement; whether the disk has room again after it was full. Found full, it is looked at again soon.
    pub(crate) fn measured(
        &mut self,
        now: Timestamp,
        space: DiskSpace,
        reserve_bytes: u64,
    ) -> bool {
        self.space = Some(space);
        let was = self.full;
        self.full = space.free_bytes < reserve_bytes
            || was && space.free_bytes < reserve_bytes.saturating_mul(2);
        if self.full {
            let soon = now + MEASURE_FULL_EVERY;
            self.next = self.next.map(|next| next.min(soon));
        }
        was && !self.full
    }

    /// Used thousandths of the file system; 0 when not known.
    pub(crate) fn used_thousandths(&self) -> u64 {
        let Some(space) = self.space.filter(|space| space.total_bytes > 0) else {
            return 0;
        };
        let used = u128::from(space.used_bytes.min(space.total_bytes)) * 1_000;
        u64::try_from(used / u128::from(space.total_bytes)).unwrap_or(1_000)
    }

    pub(crate) const fn deadline(&self) -> Option<Timestamp> {
        self.next
    }
}
