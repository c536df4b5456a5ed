//! Vectors of quantities: CPUs, memory, disk, GPUs, ports, and whatever else an agent names.
//!
//! Quantities are integers in the smallest unit, so that sums are exact: thousandths of a CPU or a
//! GPU, bytes of memory and disk, thousandths of any other scalar. Taking away returns `None` when
//! there is not enough, because that is an ordinary answer.

pub mod ranges;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use ranges::Ranges;

/// Bytes in one MB of a Mesos resource, which is 2^20.
pub const MEBIBYTE: u64 = 1 << 20;

/// How much of everything. All-zero is the default; no entry of `other` is ever zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub cpus_milli: u64,
    /// Bytes of memory.
    pub mem_bytes: u64,
    /// Bytes of disk.
    pub disk_bytes: u64,
    /// Thousandths of a GPU.
    pub gpus_milli: u64,
    /// Ports of the host.
    pub ports: Ranges,
    /// Further scalars by name, in thousandths.
    other: BTreeMap<Arc<str>, u64>,
}

impl Resources {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// CPUs in thousandths and memory in MB, as most tasks ask for.
    pub fn cpus_mem(cpus_milli: u64, mem_mb: u64) -> Self {
        Self {
            cpus_milli,
            mem_bytes: mem_mb.saturating_mul(MEBIBYTE),
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
        self.other.get(name).copied().unwrap_or(0)
    }

    /// Sets a further scalar, in thousandths. `cpus`, `mem`, `disk` and `gpus` are fields, never here.
    pub fn set_other(&mut self, name: &str, milli: u64) {
        debug_assert!(
            !matches!(name, "cpus" | "mem" | "disk" | "gpus" | "ports"),
            "{name} is a field"
        );
        if milli == 0 {
            self.other.remove(name);
        } else {
            self.other.insert(Arc::from(name), milli);
        }
    }

    /// The further scalars by name, in thousandths.
    pub fn others(&self) -> impl Iterator<Item = (&str, u64)> {
        self.other.iter().map(|(name, milli)| (&**name, *milli))
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.cpus_milli == 0
            && self.mem_bytes == 0
            && self.disk_bytes == 0
            && self.gpus_milli == 0
            && self.ports.is_empty()
            && self.other.is_empty()
    }

    /// Whether `asked` can be taken from this.
    pub fn contains(&self, asked: &Self) -> bool {
        self.cpus_milli >= asked.cpus_milli
            && self.mem_bytes >= asked.mem_bytes
            && self.disk_bytes >= asked.disk_bytes
            && self.gpus_milli >= asked.gpus_milli
            && asked
                .other
                .iter()
                .all(|(name, milli)| self.other(name) >= *milli)
            && self.ports.includes(&asked.ports)
    }

    /// Adds `more`; scalars saturate, ports are united.
    pub fn add(&mut self, more: &Self) {
        self.cpus_milli = self.cpus_milli.saturating_add(more.cpus_milli);
        self.mem_bytes = self.mem_bytes.saturating_add(more.mem_bytes);
        self.disk_bytes = self.disk_bytes.saturating_add(more.disk_bytes);
        self.gpus_milli = self.gpus_milli.saturating_add(more.gpus_milli);
        self.ports.add(&more.ports);
        for (name, milli) in &more.other {
            let sum = self.other.entry(Arc::clone(name)).or_insert(0);
            *sum = sum.saturating_add(*milli);
        }
    }

    /// What is left after `asked` is taken away; `None` when it is not all there.
    #[must_use]
    pub fn minus(&self, asked: &Self) -> Option<Self> {
        self.contains(asked).then(|| self.minus_at_most(asked))
    }

    /// What is left after as much of `asked` as there is has been taken away.
    #[must_use]
    pub fn minus_at_most(&self, asked: &Self) -> Self {
        let mut left = self.clone();
        left.cpus_milli = left.cpus_milli.saturating_sub(asked.cpus_milli);
        left.mem_bytes = left.mem_bytes.saturating_sub(asked.mem_bytes);
        left.disk_bytes = left.disk_bytes.saturating_sub(asked.disk_bytes);
        left.gpus_milli = left.gpus_milli.saturating_sub(asked.gpus_milli);
        left.ports.remove(&asked.ports);
        for (name, milli) in &asked.other {
            left.set_other(name, left.other(name).saturating_sub(*milli));
        }
        left
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, more: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(more);
        sum
    }

    /// The largest part of `total` that this is, over all scalars: the dominant share of DRF, 0 to 1
    /// when this is within `total`. Scalars of which there is nothing in `total` do not count.
    pub fn dominant_share(&self, total: &Self) -> f64 {
        let part = |used: u64, all: u64| {
            if all == 0 {
                0.0
            } else {
                used as f64 / all as f64
            }
        };
        let mut share = part(self.cpus_milli, total.cpus_milli)
            .max(part(self.mem_bytes, total.mem_bytes))
            .max(part(self.disk_bytes, total.disk_bytes))
            .max(part(self.gpus_milli, total.gpus_milli));
        for (name, milli) in &self.other {
            share = share.max(part(*milli, total.other(name)));
        }
        share
    }

    /// Each shortage when `asked` is to be taken from this, in words: `cpus 2 asked, 0.5 there`.
    pub fn shortages(&self, asked: &Self) -> Vec<String> {
        let mut short = Vec::new();
        let mut scalar = |name: &str, asked: u64, there: u64, unit: f64| {
            if there < asked {
                short.push(format!(
                    "{name} {} asked, {} there",
                    asked as f64 / unit,
                    there as f64 / unit
                ));
            }
        };
        scalar("cpus", asked.cpus_milli, self.cpus_milli, 1e3);
        scalar("mem", asked.mem_bytes, self.mem_bytes, MEBIBYTE as f64);
        scalar("disk", asked.disk_bytes, self.disk_bytes, MEBIBYTE as f64);
        scalar("gpus", asked.gpus_milli, self.gpus_milli, 1e3);
        for (name, milli) in &asked.other {
            scalar(name, *milli, self.other(name), 1e3);
        }
        let mut missing = asked.ports.clone();
        missing.remove(&self.ports);
        if !missing.is_empty() {
            short.push(format!("ports {missing} not there"));
        }
        short
    }
}

/// As Mesos prints resources: `cpus:1.5; mem:128; ports:[31000-31001]`, memory and disk in MB.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut part = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
            let gap = if std::mem::take(&mut first) { "" } else { "; " };
            write!(f, "{gap}{name}:{value}")
        };
        let megabytes = |bytes: u64| (bytes as f64 / MEBIBYTE as f64 * 1e3).round() / 1e3;
        if self.cpus_milli > 0 {
            part(f, "cpus", &(self.cpus_milli as f64 / 1e3))?;
        }
        if self.mem_bytes > 0 {
            part(f, "mem", &megabytes(self.mem_bytes))?;
        }
        if self.disk_bytes > 0 {
            part(f, "disk", &megabytes(self.disk_bytes))?;
        }
        if self.gpus_milli > 0 {
            part(f, "gpus", &(self.gpus_milli as f64 / 1e3))?;
        }
        for (name, milli) in &self.other {
            part(f, name, &(*milli as f64 / 1e3))?;
        }
        if !self.ports.is_empty() {
            part(f, "ports", &self.ports)?;
        }
        if first {
            f.write_str("nothing")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some() -> impl Strategy<Value = Resources> {
        let ports = proptest::collection::btree_set(31_000_u64..31_040, 0..12);
        (
            0..9_000_u64,
            0..1_u64 << 40,
            0..1_u64 << 40,
            0..4_000_u64,
            ports,
            0..50_u64,
        )
            .prop_map(|(cpus, mem, disk, gpus, ports, fpga)| {
                let mut all = Resources {
                    cpus_milli: cpus,
                    mem_bytes: mem,
                    disk_bytes: disk,
                    gpus_milli: gpus,
                    ports: ports.into_iter().collect(),
                    ..Resources::none()
                };
                all.set_other("fpga", fpga);
                all
            })
    }

    proptest! {
        #[test]
        fn what_was_taken_and_what_is_left_make_the_whole(whole in some(), asked in some()) {
            match whole.minus(&asked) {
                Some(left) => {
                    prop_assert_eq!(left.plus(&asked), whole.clone());
                    prop_assert!(whole.shortages(&asked).is_empty());
                }
                None => {
                    prop_assert!(!whole.contains(&asked));
                    prop_assert!(!whole.shortages(&asked).is_empty());
                }
            }
        }

        #[test]
        fn a_part_never_has_a_share_above_one(whole in some(), asked in some()) {
            let part = whole.minus_at_most(&asked);

            prop_assert!(part.dominant_share(&whole) <= 1.0);
            prop_assert!(whole.contains(&part));
        }
    }

    #[test]
    fn resources_print_as_mesos_prints_them() {
        let all = Resources::cpus_mem(1_500, 128).with_ports(Ranges::interval(31_000, 31_001));

        assert_eq!(all.to_string(), "cpus:1.5; mem:128; ports:[31000-31001]");
        assert_eq!(Resources::none().to_string(), "nothing");
    }

    #[test]
    fn a_shortage_names_what_is_missing() {
        let there = Resources::cpus_mem(500, 64);
        let asked = Resources::cpus_mem(2_000, 64).with_ports(Ranges::interval(80, 80));

        assert_eq!(
            there.shortages(&asked),
            ["cpus 2 asked, 0.5 there", "ports [80-80] not there"]
        );
    }
}
