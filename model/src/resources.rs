//! Vectors of quantities: CPUs, memory, disk, GPUs, ports, and whatever else an agent names.
//!
//! Quantities are integers in the smallest unit, so that sums are exact: thousandths of a CPU or a
//! GPU, of a MB of memory and disk, of any other scalar. Taking away returns `None` when
//! there is not enough, because that is an ordinary answer.
//!
//! The fields are what is *plain*: unreserved, kept by nobody, not to be withdrawn. What is special lies in
//! [`parts`](Resources::parts), each under its [`Tag`]; [`flat`](Resources::flat) sums all of it. Which GPUs
//! there are is said by [`devices`](Resources::devices). Most resources have neither, and their clones
//! do not allocate.

pub mod devices; // which GPUs
pub mod megabytes; // memory and disk
mod parts; // what is special, by tag
pub mod ranges; // sets of ports
pub mod tag; // what makes it special
mod text; // in words
mod volume; // its name on one agent

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use devices::{Device, Devices};
pub use megabytes::MB_MILLI;
pub use ranges::Ranges;
pub use tag::{BadStack, Reservation, ReservationKind, Tag, Volume};
pub use volume::{BadVolumeName, VOLUME_ID_RULE, VolumeName, is_volume_id};

use parts::Parts;

/// Bytes in one MB of a Mesos resource, which is 2^20.
pub const MEBIBYTE: u64 = 1 << 20;

/// Most further scalars in one description. Real agents name a handful; each costs memory per agent and
/// a comparison per offer.
pub const MAX_OTHERS: usize = 1_024;

/// Most parts of one agent: every reservation with its own labels and every volume is one.
pub const MAX_PARTS: usize = 1_024;

/// How much of everything. All-zero is the default; nothing of zero is ever kept in `other` or a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpus_milli: u64,
    /// Thousandths of a MB of memory.
    pub mem_milli: u64,
    /// Thousandths of a MB of disk.
    pub disk_milli: u64,
    /// Thousandths of a GPU; all of [`devices`](Self::devices) when those are named.
    pub gpus_milli: u64,
    /// Ports of the host.
    pub ports: Ranges,
    /// Further scalars by name, in thousandths; `None` when there are none.
    other: Option<Arc<BTreeMap<Arc<str>, u64>>>,
    /// Which GPUs. Empty: an amount only, as tasks ask for it and as sums over agents have it.
    devices: Devices,
    /// What is special.
    parts: Parts,
}

impl Resources {
    /// Nothing.
    pub const fn none() -> Self {
        Self {
            cpus_milli: 0,
            mem_milli: 0,
            disk_milli: 0,
            gpus_milli: 0,
            ports: Ranges::new(),
            other: None,
            devices: Devices::none(),
            parts: Parts::none(),
        }
    }

    /// CPUs in thousandths and memory in MB, as most tasks ask for.
    pub fn cpus_mem(cpus_milli: u64, mem_mb: u64) -> Self {
        Self {
            cpus_milli,
            mem_milli: mem_mb.saturating_mul(MB_MILLI),
            ..Self::default()
        }
    }

    /// The same with other ports.
    #[must_use]
    pub fn with_ports(mut self, ports: Ranges) -> Self {
        self.ports = ports;
        self
    }

    /// Thousandths of a further scalar; zero when there is none.
    pub fn other(&self, name: &str) -> u64 {
        self.other
            .as_ref()
            .and_then(|all| all.get(name))
            .copied()
            .unwrap_or(0)
    }

    /// Sets a further scalar, in thousandths. `cpus`, `mem`, `disk` and `gpus` are fields, never here.
    pub fn set_other(&mut self, name: &str, milli: u64) {
        debug_assert!(
            !matches!(name, "cpus" | "mem" | "disk" | "gpus" | "ports"),
            "{name} is a field"
        );
        if self.other(name) == milli {
            return;
        }
        let all = Arc::make_mut(self.other.get_or_insert_default());
        if milli == 0 {
            all.remove(name);
        } else {
            all.insert(Arc::from(name), milli);
        }
        if all.is_empty() {
            self.other = None;
        }
    }

    /// Whether there are further scalars.
    pub const fn has_others(&self) -> bool {
        self.other.is_some()
    }

    /// The further scalars by name, in thousandths.
    pub fn others(&self) -> impl Iterator<Item = (&str, u64)> {
        self.other
            .iter()
            .flat_map(|all| all.iter())
            .map(|(name, milli)| (&**name, *milli))
    }

    /// Which GPUs there are of what is plain; empty when only their amount is known.
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Names the GPUs; their amount follows.
    #[must_use]
    pub fn with_named_devices(mut self, devices: Devices) -> Self {
        self.gpus_milli = devices.sum_milli();
        self.devices = devices;
        self
    }

    /// The same with an amount of plain GPUs, not devices.
    #[must_use]
    pub fn without_device_names(mut self) -> Self {
        self.devices = Devices::none();
        self
    }

    /// Numbers the GPUs from zero, those of the parts after the plain ones, when they have no names yet: for
    /// an agent's total as it registers. What is not a whole device is left away.
    #[must_use]
    pub fn with_devices(self) -> Self {
        let has_names = |one: &Self| !one.devices.is_empty();
        if has_names(&self) || self.parts().any(|(_, part)| has_names(part)) {
            return self;
        }
        let mut next = 0;
        let mut number = |one: &mut Self| {
            let count = one.gpus_milli / u64::from(devices::WHOLE_DEVICE);
            one.devices = Devices::whole_from(next, count);
            one.gpus_milli = one.devices.sum_milli();
            next += count;
        };
        let mut numbered = self.plain();
        number(&mut numbered);
        for (tag, part) in self.parts() {
            let mut part = part.clone();
            if part.gpus_milli > 0 {
                number(&mut part);
            }
            numbered.add_part(Arc::clone(tag), part);
        }
        numbered
    }

    /// What is asked with its devices chosen out of this: whole GPUs are the lowest wholly free devices, a
    /// part of one goes where least is left over. As it was when there is nothing to choose.
    /// `None` when these GPUs are not there.
    pub fn pin(&self, asked: &Self) -> Option<Self> {
        if asked.gpus_milli == 0 && asked.parts.is_empty() {
            return Some(asked.clone());
        }
        let mut pinned = asked.plain();
        pinned.devices = self.devices_for(asked)?;
        for (tag, part) in asked.parts() {
            let mut part = part.clone();
            if part.gpus_milli > 0 {
                part.devices = self.part(tag)?.devices_for(&part)?;
            }
            pinned.add_part(Arc::clone(tag), part);
        }
        Some(pinned)
    }

    /// The same, with the plain part of a GPU on device `index`.
    pub fn pin_on(&self, asked: &Self, index: u16) -> Option<Self> {
        if !asked.devices.is_empty() {
            return self.pin(asked);
        }
        let mut named = asked.clone();
        named.devices = self.devices.choose_on(asked.gpus_milli, index)?;
        self.pin(&named)
    }

    /// Whether there is nothing at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.cpus_milli == 0
            && self.mem_milli == 0
            && self.disk_milli == 0
            && self.gpus_milli == 0
            && self.ports.is_empty()
            && self.other.is_none()
            && self.parts.is_empty()
    }

    /// Whether `asked` can be taken from this: the plain from the plain, each part from the part of the same
    /// tag, a volume only whole, GPUs as devices where devices are named.
    pub fn contains(&self, asked: &Self) -> bool {
        self.cpus_milli >= asked.cpus_milli
            && self.mem_milli >= asked.mem_milli
            && self.disk_milli >= asked.disk_milli
            && self.has_gpus(asked)
            && asked
                .others()
                .all(|(name, milli)| self.other(name) >= milli)
            && self.ports.includes(&asked.ports)
            && self.parts.contain(&asked.parts)
    }

    /// Adds `more`; scalars saturate, ports are united, parts of equal tags are added. A shared part that is
    /// there already stays as it is. GPUs keep their names when both have them and no device
    /// would be more than whole; otherwise they become an amount.
    pub fn add(&mut self, more: &Self) {
        self.cpus_milli = self.cpus_milli.saturating_add(more.cpus_milli);
        self.mem_milli = self.mem_milli.saturating_add(more.mem_milli);
        self.disk_milli = self.disk_milli.saturating_add(more.disk_milli);
        if more.gpus_milli > 0 {
            self.add_gpus(more);
        }
        self.ports.add(&more.ports);
        if let Some(others) = &more.other {
            self.add_others(others);
        }
        self.parts.add(&more.parts);
    }

    /// What is left after `asked` is taken away; `None` when it is not all there.
    #[must_use]
    pub fn minus(&self, asked: &Self) -> Option<Self> {
        self.contains(asked).then(|| self.minus_at_most(asked))
    }

    /// What is left after as much of `asked` as there is has been taken away. A shared part stays: taking it
    /// does not use it up.
    #[must_use]
    pub fn minus_at_most(&self, asked: &Self) -> Self {
        let mut left = self.clone();
        left.take_at_most(asked);
        left
    }

    /// Takes `asked` out of this, and says true; false, and nothing changes, when it is not all there. As
    /// [`minus`](Self::minus), in place: most of what is taken is CPUs and memory alone.
    pub fn take(&mut self, asked: &Self) -> bool {
        let is_there = self.contains(asked);
        if is_there {
            self.take_at_most(asked);
        }
        is_there
    }

    /// Takes as much of `asked` out of this as there is. As [`minus_at_most`](Self::minus_at_most), in place.
    pub fn take_at_most(&mut self, asked: &Self) {
        self.cpus_milli = self.cpus_milli.saturating_sub(asked.cpus_milli);
        self.mem_milli = self.mem_milli.saturating_sub(asked.mem_milli);
        self.disk_milli = self.disk_milli.saturating_sub(asked.disk_milli);
        if asked.gpus_milli > 0 {
            (self.gpus_milli, self.devices) = self.gpus_without(asked);
        }
        if !asked.ports.is_empty() {
            self.ports.remove(&asked.ports);
        }
        if asked.other.is_some() {
            self.other = self.others_without(asked);
        }
        if !asked.parts.is_empty() {
            self.parts = self.parts.without(&asked.parts);
        }
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(more);
        sum
    }

    /// CPUs, GPUs, memory and disk by name, in the units in which people and tools read them: memory and disk in MB of 2^20
    /// bytes. All of it, whatever it is reserved for.
    pub fn in_units(&self) -> [(&'static str, f64); 4] {
        let all = self.flat();
        [
            ("cpus", all.cpus_milli as f64 / 1e3),
            ("gpus", all.gpus_milli as f64 / 1e3),
            ("mem", all.mem_milli as f64 / 1e3),
            ("disk", all.disk_milli as f64 / 1e3),
        ]
    }

    /// The further scalars of what is plain by name, in the units in which people and tools read them.
    pub fn others_in_units(&self) -> impl Iterator<Item = (&str, f64)> {
        self.others()
            .map(|(name, milli)| (name, milli as f64 / 1e3))
    }

    /// The largest part of `total` that this is, over all scalars, parts included: the dominant share of DRF,
    /// 0 to 1 when this is within `total`. Scalars of which there is nothing in `total` do not count.
    pub fn dominant_share(&self, total: &Self) -> f64 {
        let (used, total) = (self.flat(), total.flat());
        let part = |used: u64, all: u64| {
            if all == 0 {
                0.0
            } else {
                used as f64 / all as f64
            }
        };
        let mut share = part(used.cpus_milli, total.cpus_milli)
            .max(part(used.mem_milli, total.mem_milli))
            .max(part(used.disk_milli, total.disk_milli))
            .max(part(used.gpus_milli, total.gpus_milli));
        for (name, milli) in used.others() {
            share = share.max(part(milli, total.other(name)));
        }
        share
    }

    /// Whether parts of devices are in what is plain.
    pub fn has_gpu_pieces(&self) -> bool {
        self.devices.list().iter().any(|one| !one.is_whole())
    }

    /// Without parts of devices in what is plain: for those who take whole ones only.
    #[must_use]
    pub fn without_gpu_pieces(mut self) -> Self {
        if self.has_gpu_pieces() {
            let whole = self.devices.list().iter().copied();
            self.devices = Devices::new(whole.filter(|one| one.is_whole()).collect())
                .expect("a part of what is sorted and without doubles is so, too");
            self.gpus_milli = self.devices.sum_milli();
        }
        self
    }

    /// Leaves at most so many thousandths of a GPU in what is plain.
    pub fn cut_gpus(&mut self, most_milli: u64) {
        let surplus = self.gpus_milli.saturating_sub(most_milli);
        if surplus == 0 {
            return;
        }
        self.gpus_milli = most_milli;
        self.devices = self.devices.without_amount(surplus);
    }

    fn has_gpus(&self, asked: &Self) -> bool {
        if self.gpus_milli < asked.gpus_milli {
            false
        } else if self.devices.is_empty() {
            true
        } else if asked.devices.is_empty() {
            self.devices.can_give(asked.gpus_milli)
        } else {
            self.devices.includes(&asked.devices)
        }
    }

    /// The devices for the plain GPUs that are asked for.
    fn devices_for(&self, asked: &Self) -> Option<Devices> {
        if !self.has_gpus(asked) {
            None
        } else if self.devices.is_empty() || !asked.devices.is_empty() {
            Some(asked.devices.clone())
        } else {
            self.devices.choose(asked.gpus_milli)
        }
    }

    fn add_gpus(&mut self, more: &Self) {
        let both_named = !self.devices.is_empty() && !more.devices.is_empty();
        if self.gpus_milli == 0 {
            self.devices.clone_from(&more.devices);
        } else if !both_named || !self.devices.add(&more.devices) {
            self.devices = Devices::none();
        }
        self.gpus_milli = self.gpus_milli.saturating_add(more.gpus_milli);
    }

    fn gpus_without(&self, asked: &Self) -> (u64, Devices) {
        if self.devices.is_empty() || asked.gpus_milli == 0 {
            let left = self.gpus_milli.saturating_sub(asked.gpus_milli);
            return (left, self.devices.clone());
        }
        let devices = if asked.devices.is_empty() {
            self.devices.without_amount(asked.gpus_milli)
        } else {
            self.devices.without(&asked.devices)
        };
        (devices.sum_milli(), devices)
    }

    fn add_others(&mut self, more: &Arc<BTreeMap<Arc<str>, u64>>) {
        let Some(all) = &mut self.other else {
            self.other = Some(Arc::clone(more));
            return;
        };
        let all = Arc::make_mut(all);
        for (name, milli) in &**more {
            let sum = all.entry(Arc::clone(name)).or_insert(0);
            *sum = sum.saturating_add(*milli);
        }
    }

    fn others_without(&self, asked: &Self) -> Option<Arc<BTreeMap<Arc<str>, u64>>> {
        let (Some(all), Some(taken)) = (&self.other, &asked.other) else {
            return self.other.clone();
        };
        if Arc::ptr_eq(all, taken) {
            return None;
        }
        let left = all.iter().map(|(name, milli)| {
            let taken = taken.get(name).copied().unwrap_or(0);
            (Arc::clone(name), milli.saturating_sub(taken))
        });
        let left: BTreeMap<_, _> = left.filter(|(_, milli)| *milli > 0).collect();
        (!left.is_empty()).then(|| Arc::new(left))
    }
}
