//! How much a top-level role may have at most, and how much is kept for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::Resources;

/// Scalars of which some are stated: what is `None` is not limited (or not guaranteed).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub cpus_milli: Option<u64>,
    /// Bytes of memory.
    pub mem_bytes: Option<u64>,
    /// Bytes of disk.
    pub disk_bytes: Option<u64>,
    /// Thousandths of a GPU.
    pub gpus_milli: Option<u64>,
    /// Further scalars by name, in thousandths.
    pub other: BTreeMap<Arc<str>, u64>,
}

/// States the scalars that are not zero.
impl From<&Resources> for Amounts {
    fn from(resources: &Resources) -> Self {
        let stated = |amount: u64| (amount > 0).then_some(amount);
        Self {
            cpus_milli: stated(resources.cpus_milli),
            mem_bytes: stated(resources.mem_bytes),
            disk_bytes: stated(resources.disk_bytes),
            gpus_milli: stated(resources.gpus_milli),
            other: resources
                .others()
                .map(|(name, milli)| (Arc::from(name), milli))
                .collect(),
        }
    }
}
