//! The dimensions in which tasks and bins are compared.
//!
//! Each is a condition that every valid placement meets, so that nothing possible is ruled out: the sum of what
//! the tasks of a bin ask is at most what the bin offers.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::Resources;

use super::Ask;

/// Dimensions of one sort at most (names of scalars, ports, classes); the rest is only seen when the plan is
/// laid out exactly. Each dimension is compared in every step, for every bin.
const MOST_OF_A_SORT: usize = 64;

/// Ports of one task that are looked at for others that ask the same; ranges larger than that are not host
/// ports of services.
const MOST_PORTS: u64 = 64;

/// More than half of a GPU: two tasks that ask so much never share one.
const HALF_GPU_MILLI: u64 = 500;

/// Thousandths in a whole GPU.
const GPU_MILLI: u64 = 1_000;

/// Which dimensions there are, besides those that all have.
pub(super) struct Columns {
    /// Further scalars that are asked.
    names: Vec<String>,
    /// Ports that are asked more than once.
    ports: Vec<u64>,
    /// Classes that may not go everywhere, and for each bin whether they may go there.
    classes: Vec<(u32, Vec<bool>)>,
}

impl Columns {
    pub(super) fn of(asks: &[Ask], bins: usize, permit: impl Fn(u32, usize) -> bool) -> Self {
        let names: BTreeSet<&str> = asks
            .iter()
            .flat_map(|ask| ask.resources.others().map(|(name, _)| name))
            .collect();
        let classes: BTreeSet<u32> = asks.iter().map(|ask| ask.class).collect();
        let classes = classes.into_iter().map(|class| {
            let permitted: Vec<bool> = (0..bins).map(|bin| permit(class, bin)).collect();
            (class, permitted)
        });
        Self {
            names: names
                .into_iter()
                .take(MOST_OF_A_SORT)
                .map(str::to_owned)
                .collect(),
            ports: contended(asks),
            classes: classes
                .filter(|(_, permitted)| permitted.contains(&false))
                .take(MOST_OF_A_SORT)
                .collect(),
        }
    }

    /// What a task takes of each dimension.
    pub(super) fn asked(&self, ask: &Ask) -> Vec<u64> {
        let asked = &ask.resources;
        let mut vector = scalars(asked);
        vector.push(more_than_half(asked.gpus_milli));
        vector.extend(self.names.iter().map(|name| asked.other(name)));
        let takes = |&port: &u64| u64::from(asked.ports.contains(port));
        vector.extend(self.ports.iter().map(takes));
        let classes = self.classes.iter();
        vector.extend(classes.map(|(class, _)| u64::from(*class == ask.class)));
        vector
    }

    /// What a bin has of each dimension.
    pub(super) fn offered(&self, bin: usize, free: &Resources) -> Vec<u64> {
        let mut vector = scalars(free);
        let devices = free.devices().list();
        let halves = devices
            .iter()
            .filter(|device| u64::from(device.milli) > HALF_GPU_MILLI);
        vector.push(if devices.is_empty() {
            u64::MAX // only an amount is known
        } else {
            halves.count() as u64
        });
        vector.extend(self.names.iter().map(|name| free.other(name)));
        let offers = |&port: &u64| u64::from(free.ports.contains(port));
        vector.extend(self.ports.iter().map(offers));
        let classes = self.classes.iter();
        vector.extend(classes.map(|(_, permitted)| if permitted[bin] { u64::MAX } else { 0 }));
        vector
    }
}

fn scalars(of: &Resources) -> Vec<u64> {
    vec![
        of.cpus_milli,
        of.mem_milli,
        of.disk_milli,
        of.gpus_milli,
        of.ports.count(),
    ]
}

/// How many GPUs an ask needs of which more than half is free.
const fn more_than_half(gpus_milli: u64) -> u64 {
    let rest = gpus_milli % GPU_MILLI;
    gpus_milli / GPU_MILLI + if rest > HALF_GPU_MILLI { 1 } else { 0 }
}

/// Ports that more than one task asks, from the lowest.
fn contended(asks: &[Ask]) -> Vec<u64> {
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    let few = asks
        .iter()
        .map(|ask| &ask.resources.ports)
        .filter(|ports| ports.count() <= MOST_PORTS);
    for port in few.flat_map(|ports| ports.iter()) {
        *times.entry(port).or_default() += 1;
    }
    let often = times.into_iter().filter(|(_, times)| *times > 1);
    often.map(|(port, _)| port).take(MOST_OF_A_SORT).collect()
}
