//! What this machine has for tasks: measured, less what the agent and the system keep; an operator
//! may say otherwise for each part.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use mete_daemon::host;
use mete_model::resources::megabytes::milli_within;
use mete_model::{Attributes, Ranges, Resources};

use crate::{processes, sandbox};

/// Memory that is not given to tasks (Mesos: 1 GiB), in bytes.
const KEPT_MEMORY_BYTES: u64 = 1 << 30;

/// Disk that is not given to tasks (Mesos: 5 GiB), in bytes.
const KEPT_DISK_BYTES: u64 = 5 << 30;

/// Mesos' default ports for tasks.
pub const DEFAULT_PORTS: (u64, u64) = (31_000, 32_000);

/// What an operator may say; what is not said is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Quantities.
    pub resources: Resources,
    /// The resources that were named, those of which there is to be nothing included (as in Mesos). What was not is measured.
    pub named: BTreeSet<String>,
    /// Rack, zone, kind of disk.
    pub attributes: Attributes,
    /// The name under which tasks are reached.
    pub hostname: Option<String>,
}

/// What the agent offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// For tasks.
    pub resources: Resources,
    /// As given.
    pub attributes: Attributes,
    /// The name under which tasks are reached.
    pub hostname: String,
    /// Of this boot of the machine.
    pub boot_id: String,
}

/// Why the machine cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The memory is not known.
    #[error("the memory of this machine cannot be measured; say it with the option for resources")]
    Memory(#[source] io::Error),
    /// The disk is not known.
    #[error("the disk of {path} cannot be measured; say it with the option for resources")]
    Disk {
        /// The work directory.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The boot has no id.
    #[error("the boot id of this machine cannot be read")]
    BootId(#[source] io::Error),
}

/// Measures what is not given. The work directory must be there. Blocks for a moment.
///
/// # Errors
/// [`InventoryError`] names what can neither be measured nor was given.
pub fn take(work_dir: &Path, given: Given) -> Result<Inventory, InventoryError> {
    let mut resources = given.resources;
    // What is given for some role only is given: the rest is not measured on top of it.
    let is_measured = |name: &str| !given.named.contains(name);
    if is_measured("cpus") {
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        resources.cpus_milli = cpus.saturating_mul(1_000);
    }
    if is_measured("mem") {
        resources.mem_milli = milli_within(for_tasks(
            memory_bytes().map_err(InventoryError::Memory)?,
            KEPT_MEMORY_BYTES,
        ));
    }
    if is_measured("disk") {
        let disk = |source| InventoryError::Disk {
            path: work_dir.display().to_string(),
            source,
        };
        resources.disk_milli = milli_within(for_tasks(
            sandbox::space(work_dir).map_err(disk)?.total_bytes,
            KEPT_DISK_BYTES,
        ));
    }
    if is_measured("ports") {
        resources.ports = Ranges::interval(DEFAULT_PORTS.0, DEFAULT_PORTS.1);
    }
    Ok(Inventory {
        resources,
        attributes: given.attributes,
        hostname: given.hostname.unwrap_or_else(host::name),
        boot_id: processes::boot_id().map_err(InventoryError::BootId)?,
    })
}

/// All but what is kept; half of it when there is less than twice that (as Mesos does).
const fn for_tasks(total: u64, kept: u64) -> u64 {
    if total < 2 * kept {
        total / 2
    } else {
        total - kept
    }
}

/// The memory of the machine in bytes.
fn memory_bytes() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    parse_memory(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/meminfo has no MemTotal"))
}

fn parse_memory(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_keeps_half_and_a_large_one_a_fixed_part() {
        const GIB: u64 = 1 << 30;

        assert_eq!(for_tasks(GIB, KEPT_MEMORY_BYTES), GIB / 2);
        assert_eq!(for_tasks(2 * GIB, KEPT_MEMORY_BYTES), GIB);
        assert_eq!(for_tasks(24 * GIB, KEPT_MEMORY_BYTES), 23 * GIB);
        assert_eq!(for_tasks(9 * GIB, KEPT_DISK_BYTES), 9 * GIB / 2);
        assert_eq!(for_tasks(100 * GIB, KEPT_DISK_BYTES), 95 * GIB);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(
            parse_memory("MemTotal:       24684092 kB\nMemFree: 1 kB\n"),
            Some(24_684_092 * 1_024)
        );
        assert_eq!(parse_memory("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn what_is_given_is_not_measured() {
        let directory = tempfile::tempdir().unwrap();
        let measured = take(directory.path(), Given::default()).unwrap();
        let given = Given {
            resources: Resources::cpus_mem(1_500, 0).with_ports(Ranges::interval(9, 10)),
            named: ["cpus", "mem", "ports"].map(str::to_owned).into(),
            attributes: Attributes::new(),
            hostname: Some("127.0.0.2".into()),
        };

        let taken = take(directory.path(), given).unwrap();

        assert!(measured.resources.cpus_milli >= 1_000 && measured.resources.mem_milli > 0);
        assert_eq!(measured.resources.ports, Ranges::interval(31_000, 32_000));
        assert_eq!(
            (taken.resources.cpus_milli, taken.resources.mem_milli),
            (1_500, 0),
            "nothing was said to be what there is"
        );
        assert_eq!(taken.resources.disk_milli, measured.resources.disk_milli);
        assert_eq!(
            (taken.hostname.as_str(), taken.resources.ports.count()),
            ("127.0.0.2", 2)
        );
        assert!(!measured.hostname.is_empty());
    }
}
