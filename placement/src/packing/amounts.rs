//! Asked and free as policies count them: GPUs one by one, and parts of the largest machine.

use std::borrow::Cow;

use mete_model::Resources;
use mete_model::resources::Device;
use mete_model::resources::devices::WHOLE_DEVICE;

use super::{Mix, Node};
use crate::sums::scalars;

/// The largest machine around, in the unit of parts of it.
pub(super) const MACHINE: u64 = 1_000_000;
/// A part never counts as more than so many machines, so that sums of products of two stay within 64 bits.
const MOST: u64 = 1 << 29;

/// How much is free, in millionths of the largest machine, summed over CPUs, memory, disk and GPUs.
pub fn size(free: &Resources, mix: &Mix) -> u64 {
    parts(&free.flat(), mix).iter().sum()
}

/// Each kind as a part of the largest machine, in millionths.
pub(super) fn parts(amounts: &Resources, mix: &Mix) -> [u64; 4] {
    let mut parts = scalars(amounts);
    for (part, largest) in parts.iter_mut().zip(mix.largest()) {
        *part = ratio(*part, largest);
    }
    parts
}

fn ratio(amount: u64, largest: u64) -> u64 {
    if largest == 0 {
        return 0;
    }
    let exact = match amount.checked_mul(MACHINE) {
        Some(product) => product / largest,
        None => u64::try_from(u128::from(amount) * u128::from(MACHINE) / u128::from(largest))
            .unwrap_or(MOST),
    };
    exact.min(MOST)
}

/// What a task asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) cpus_milli: u64,
    pub(super) mem_milli: u64,
    pub(super) disk_milli: u64,
    pub(super) gpus: Gpus,
}

/// GPUs that are asked for. More than a device that is not whole devices is refused where tasks come
/// in; here it counts as the whole devices it takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gpus {
    None,
    /// Thousandths of one device.
    Part(u16),
    /// Wholly free devices.
    Whole(u64),
}

impl Ask {
    pub(super) fn of(asked: &Resources) -> Self {
        Self {
            cpus_milli: asked.cpus_milli,
            mem_milli: asked.mem_milli,
            disk_milli: asked.disk_milli,
            gpus: Gpus::of(asked.gpus_milli),
        }
    }
}

impl Gpus {
    pub(super) fn of(milli: u64) -> Self {
        let whole = u64::from(WHOLE_DEVICE);
        match u16::try_from(milli) {
            Ok(0) => Self::None,
            Ok(part) if part < WHOLE_DEVICE => Self::Part(part),
            Ok(_) | Err(_) => Self::Whole(milli.div_ceil(whole)),
        }
    }
}

/// What is free on a node, with its devices.
#[derive(Debug)]
pub(super) struct Room<'a> {
    pub(super) free: Cow<'a, Resources>,
    devices: Cow<'a, [Device]>,
    /// Whether the devices' names are the node's own.
    is_named: bool,
    has_gpus: bool,
    pub(super) group: u16,
}

impl<'a> Room<'a> {
    pub(super) fn new(node: Node<'a>) -> Self {
        let free = node.free.flat();
        let is_named = !free.devices().is_empty();
        let devices = match &free {
            Cow::Borrowed(free) if is_named => Cow::Borrowed(free.devices().list()),
            Cow::Owned(free) if is_named => Cow::Owned(free.devices().list().to_vec()),
            Cow::Borrowed(_) | Cow::Owned(_) => Cow::Owned(unnamed(free.gpus_milli)),
        };
        let has_gpus = free.gpus_milli > 0 || node.total.flat().gpus_milli > 0;
        Self {
            free,
            devices,
            is_named,
            has_gpus,
            group: node.group,
        }
    }

    pub(super) const fn has_gpus(&self) -> bool {
        self.has_gpus
    }

    /// What is free of each device on which something is, in thousandths.
    pub(super) fn levels(&self) -> impl Iterator<Item = u16> + Clone {
        self.devices.iter().map(|device| device.milli)
    }

    /// The same after whole devices were taken.
    pub(super) fn levels_without(&self, whole: u64) -> impl Iterator<Item = u16> + Clone {
        let mut due = whole;
        self.levels().filter(move |level| {
            let is_taken = due > 0 && *level >= WHOLE_DEVICE;
            due -= u64::from(is_taken);
            !is_taken
        })
    }

    /// The same after a part was taken of the `at`th device.
    pub(super) fn levels_with_part(
        &self,
        at: usize,
        part: u16,
    ) -> impl Iterator<Item = u16> + Clone {
        let levels = self.levels().enumerate();
        levels.map(move |(device, level)| if device == at { level - part } else { level })
    }

    /// The devices on which a part fits, by place in the list and free thousandths: of those equally
    /// free only the first.
    pub(super) fn choices(&self, part: u16) -> impl Iterator<Item = (usize, u16)> {
        self.levels().enumerate().filter(move |(at, level)| {
            *level >= part && self.levels().take(*at).all(|before| before != *level)
        })
    }

    /// The node's name for the `at`th device.
    pub(super) fn name(&self, at: usize) -> Option<u16> {
        let device = self.devices.get(at).filter(|_| self.is_named);
        device.map(|device| device.index)
    }

    /// The device on which least would be left of what a part goes on.
    pub(super) fn tightest(&self, ask: Ask) -> Option<u16> {
        let Gpus::Part(part) = ask.gpus else {
            return None;
        };
        let choice = self.choices(part).min_by_key(|(at, level)| (*level, *at));
        choice.and_then(|(at, _)| self.name(at))
    }
}

/// Devices for an amount without names: as many whole ones as there may be.
fn unnamed(milli: u64) -> Vec<Device> {
    let mut left = milli;
    let mut devices = Vec::new();
    while left > 0 && devices.len() < mete_model::resources::devices::MAX_DEVICES {
        let milli = u16::try_from(left)
            .unwrap_or(WHOLE_DEVICE)
            .min(WHOLE_DEVICE);
        left -= u64::from(milli);
        devices.push(Device {
            index: devices.len() as u16,
            milli,
        });
    }
    devices
}
