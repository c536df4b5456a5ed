//! Control groups: what a task may use, what it has used, and how all of it is killed.
//!
//! Each task gets one group per hierarchy, `mete/<scope>/<container>`. Limits come from version 2
//! where the host has its controllers, from version 1 where it has not; version 2 without any
//! controller still kills a group at once. A host that lets us write nothing runs tasks without:
//! [`Isolation`] says, once, what is missing.
//!
//! Invariants: the scope belongs to one work directory, so that no agent ever takes another's groups
//! for leftovers. Limits are set before a process enters. A plan is kept with its task, so whatever
//! was made is also found and removed after a restart with other options.
//!
//! All of this reads and writes files of the kernel and may block for a moment: not for the
//! runtime's threads.

mod devices; // which devices a container may use
mod disks; // whose turn it is at a disk
mod files; // numbers and lists as the kernel writes them
mod group; // one task's groups: members, killing, removing
mod limits; // what a task may use, in the kernel's units
mod mounts; // where the hierarchies are
mod usage; // what one task's groups have used

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use mete_agent_core::task_dir::CgroupPlan;
use mete_model::Limit;

use files::{enable, list, make, write};
pub use group::{end_sessions, kill, kill_each, members, remove, signal};
pub use mounts::Hierarchies;
pub(crate) use usage::sum;
pub use usage::{Cpu, Direction, Io, Pressure, Pressures, Traffic, Usage, usage};

/// Mesos gives 1,024 shares per CPU.
const SHARES_PER_CPU: u64 = 1_024;

/// The least memory a task is limited to: Mesos' floor, below which a shell hardly starts.
pub const MIN_MEMORY_BYTES: u64 = 32 << 20;

/// Processes and threads a task may have when nothing else is said: enough for a JVM on a large
/// machine, few enough that a fork bomb leaves room for others (`pid_max` is 32,768 by default).
pub const DEFAULT_MAX_PIDS: u64 = 4_096;

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names the groups of one agent; see [`scope_of`].
    pub scope: String,
    /// Also cap the CPU time at what was asked, instead of only sharing fairly.
    pub cpu_quota: bool,
    /// Processes and threads per task.
    pub max_pids: u64,
}

impl Options {
    /// The usual ones.
    pub const fn new(scope: String) -> Self {
        Self {
            scope,
            cpu_quota: false,
            max_pids: DEFAULT_MAX_PIDS,
        }
    }
}

/// The scope of an agent: its name, made unique by its work directory.
pub fn scope_of(agent: &str, work_dir: &Path) -> String {
    // FNV-1a: short, stable across versions, and nobody gains by a collision with himself.
    let hash = work_dir
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') {
            c
        } else {
            '_'
        }
    };
    format!(
        "{}-{:08x}",
        agent.chars().map(plain).collect::<String>(),
        hash >> 32
    )
}

/// What a task may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Thousandths of a CPU.
    pub cpus_milli: u64,
    /// Bytes of memory that are kept for it; raised to [`MIN_MEMORY_BYTES`].
    pub mem_bytes: u64,
    /// Thousandths of a CPU that are never exceeded; `None`: as the options say.
    pub cpu_limit: Option<Limit>,
    /// Bytes of memory that are never exceeded, at least `mem_bytes`; `None`: `mem_bytes`.
    pub mem_limit: Option<Limit>,
    /// Processes and threads, at most as many as the options say; `None`: as many.
    pub max_pids: Option<u64>,
}

impl Limits {
    /// Thousandths of a CPU that are never exceeded, where an agent may have said `quota` for all; `None`: no bound.
    pub fn cpu_cap_milli(&self, quota: bool) -> Option<u64> {
        match self.cpu_limit {
            Some(limit) => limit.amount(),
            None => quota.then_some(self.cpus_milli),
        }
    }

    /// Bytes of memory that are never exceeded; `None`: no bound.
    pub fn mem_cap_bytes(&self) -> Option<u64> {
        let limit = self.mem_limit.unwrap_or(Limit::At(self.mem_bytes));
        limit.amount().map(|bytes| bytes.max(MIN_MEMORY_BYTES))
    }

    /// Of a task that asks for nothing else.
    pub const fn new(cpus_milli: u64, mem_bytes: u64) -> Self {
        Self {
            cpus_milli,
            mem_bytes,
            cpu_limit: None,
            mem_limit: None,
            max_pids: None,
        }
    }
}

/// A resource that can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limited {
    /// Shares of CPU time.
    Cpu,
    /// Memory.
    Memory,
    /// Number of processes and threads.
    Pids,
}

impl Limited {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    /// The kernel's name for its controller.
    pub const fn controller(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// Which limits are in force, and why others are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Limited resource → version of control groups that does it.
    pub limits: BTreeMap<Limited, u8>,
    /// Not limited resource → why.
    pub missing: BTreeMap<Limited, String>,
    /// The version that weighs who is next at a disk; `None`: tasks share disks as the kernel pleases.
    pub disks: Option<u8>,
    /// Whether a whole task can be killed as a group; else its processes are followed by parentage.
    pub kills_groups: bool,
}

/// For the log and the attributes of an agent: `cpu v1, memory v1, pids v1, disks v1`.
impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = self
            .limits
            .iter()
            .map(|(limited, version)| format!("{} v{version}", limited.controller()));
        let missing = self
            .missing
            .iter()
            .map(|(limited, reason)| format!("no {} limit ({reason})", limited.controller()));
        let disks = self.disks.iter().map(|version| format!("disks v{version}"));
        let parts: Vec<String> = limits.chain(disks).chain(missing).collect();
        f.write_str(&parts.join(", "))
    }
}

/// Why a group cannot be made or kept.
#[derive(Debug, thiserror::Error)]
#[error("control group file {path}")]
pub struct CgroupError {
    /// Which file or directory.
    path: PathBuf,
    /// What the system says.
    #[source]
    source: io::Error,
}

/// The control groups of one agent.
#[derive(Clone, Debug)]
pub struct Cgroups {
    options: Options,
    /// Version 1: controller → our directory, above those of the tasks.
    v1: BTreeMap<String, PathBuf>,
    /// Version 2: our directory.
    v2: Option<PathBuf>,
    v2_controllers: Vec<String>,
    isolation: Isolation,
    /// What may be used by containers that may use more, or less, than what they were made with.
    widths: Arc<Mutex<BTreeMap<String, Limits>>>,
}

impl Cgroups {
    /// Makes the groups above those of the tasks, as far as the host lets us. Never fails: what
    /// cannot be had is in [`Cgroups::isolation`].
    pub fn set_up(hierarchies: &Hierarchies, options: Options) -> Self {
        let place = Path::new("mete").join(&options.scope);
        let mut groups = Self {
            options,
            v1: BTreeMap::new(),
            v2: None,
            v2_controllers: Vec::new(),
            isolation: Isolation::default(),
            widths: Arc::default(),
        };
        groups.set_up_v2(hierarchies, &place);
        for limited in Limited::ALL {
            let controller = limited.controller();
            let version = if groups.v2_controllers.iter().any(|name| name == controller) {
                Ok(2)
            } else {
                groups
                    .set_up_v1(hierarchies, controller, &place)
                    .map(|()| 1)
            };
            match version {
                Ok(version) => drop(groups.isolation.limits.insert(limited, version)),
                Err(reason) => drop(groups.isolation.missing.insert(limited, reason)),
            }
        }
        groups.isolation.kills_groups = groups.v2.is_some();
        if groups.v2.is_none() {
            groups.isolation.kills_groups =
                groups.set_up_v1(hierarchies, "freezer", &place).is_ok();
            let _ = groups.set_up_v1(hierarchies, "cpuacct", &place);
        }
        let _ = groups.set_up_v1(hierarchies, devices::CONTROLLER, &place);
        groups.weigh();
        groups.isolation.disks = groups.share_disks(hierarchies, &place);
        groups
    }

    /// Without any control groups, because the operator wants none.
    pub fn none(options: Options) -> Self {
        let mut groups = Self::set_up(&Hierarchies::default(), options);
        for reason in groups.isolation.missing.values_mut() {
            "--isolation none".clone_into(reason);
        }
        groups
    }

    /// What is in force.
    pub const fn isolation(&self) -> &Isolation {
        &self.isolation
    }

    fn set_up_v2(&mut self, hierarchies: &Hierarchies, place: &Path) {
        let Some(root) = &hierarchies.v2 else { return };
        let wanted = Limited::ALL.iter().map(|limited| limited.controller());
        let wanted = wanted.chain([disks::CONTROLLER_V2]);
        let offered = list(&root.join("cgroup.controllers"));
        let wanted: Vec<&str> = wanted.filter(|name| offered.contains(*name)).collect();
        let ours = root.join(place);
        if make(&ours).is_err() {
            return;
        }
        let above = [root.as_path(), &root.join("mete"), &ours];
        let enabled = |name: &&str| above.iter().all(|group| enable(group, name).is_ok());
        self.v2_controllers = wanted
            .into_iter()
            .filter(enabled)
            .map(str::to_owned)
            .collect();
        // Without controllers it serves for killing only, if the kernel can do that (5.14).
        if !self.v2_controllers.is_empty() || ours.join("cgroup.kill").exists() {
            self.v2 = Some(ours);
        }
    }

    fn set_up_v1(
        &mut self,
        hierarchies: &Hierarchies,
        controller: &str,
        place: &Path,
    ) -> Result<(), String> {
        let Some(root) = hierarchies.v1.get(controller) else {
            return Err("the host has no such control group".to_owned());
        };
        let ours = root.join(place);
        make(&ours).map_err(|error| format!("{}: {}", error.path.display(), error.source))?;
        self.v1.insert(controller.to_owned(), ours);
        Ok(())
    }

    /// Gives all tasks together the weight of the whole machine; else they would count, all of them
    /// together, like one process of the host. The memory that is kept for them is what each asks for.
    fn weigh(&self) {
        let cpus = thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let shares = SHARES_PER_CPU.saturating_mul(cpus);
        let above = |ours: &Path| [ours.parent().map(Path::to_owned), Some(ours.to_owned())];
        let ours = self.v1.get("cpu").or(self.v2.as_ref());
        for group in ours.into_iter().flat_map(|ours| above(ours)).flatten() {
            let _ = write(&group.join("cpu.shares"), shares)
                .or_else(|_| write(&group.join("cpu.weight"), limits::weight(shares)));
        }
        // What is kept for a task counts only as far as it is kept for the groups above.
        for group in self.v2.iter().flat_map(|ours| above(ours)).flatten() {
            let _ = write(&group.join("memory.low"), "max");
        }
    }

    /// Weights of disks, with all tasks together weighing as the whole machine; the version that has them.
    fn share_disks(&mut self, hierarchies: &Hierarchies, place: &Path) -> Option<u8> {
        let is_v2 = self
            .v2_controllers
            .iter()
            .any(|name| name == disks::CONTROLLER_V2);
        let cpus = thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let weighed = |ours: &Path| {
            let above = ours.parent().into_iter().chain([ours]);
            let weighed = above.map(|group| disks::weigh(group, cpus.saturating_mul(1_000)));
            weighed.fold(true, |all, one| all & one.unwrap_or(false))
        };
        if is_v2 {
            return self.v2.as_deref().filter(|ours| weighed(ours)).map(|_| 2);
        }
        let _ = self.set_up_v1(hierarchies, disks::CONTROLLER_V1, place);
        let ours = self.v1.get(disks::CONTROLLER_V1)?;
        if weighed(ours) {
            return Some(1);
        }
        // Nothing to say there: no task needs a group of it.
        if let Some(ours) = self.v1.remove(disks::CONTROLLER_V1) {
            remove_ours(&ours);
        }
        None
    }

    /// Makes the groups of one task and sets its limits.
    ///
    /// # Errors
    /// [`CgroupError`] names the file; what was made is removed again.
    pub fn create(&self, container: &str, limits: Limits) -> Result<CgroupPlan, CgroupError> {
        let mut plan = self.plan_for(container);
        // Without walls every device of the machine is there.
        plan.v1.remove(devices::CONTROLLER);
        self.make(container, plan, limits, None)
    }

    /// The same for a container, which may use the usual devices and those `granted`: `c 195:0`.
    ///
    /// # Errors
    /// [`CgroupError`] names the file; what was made is removed again.
    pub fn create_around<D: fmt::Display>(
        &self,
        container: &str,
        limits: Limits,
        granted: &[D],
    ) -> Result<CgroupPlan, CgroupError> {
        let granted: Vec<String> = granted.iter().map(ToString::to_string).collect();
        self.make(container, self.plan_for(container), limits, Some(&granted))
    }

    fn make(
        &self,
        container: &str,
        plan: CgroupPlan,
        limits: Limits,
        granted: Option<&[String]>,
    ) -> Result<CgroupPlan, CgroupError> {
        let made = plan
            .directories()
            .into_iter()
            .try_for_each(|group| make(Path::new(group)));
        let set = made.and_then(|()| limits::set(&self.options, &plan, limits));
        let set = set.and_then(|()| granted.map_or(Ok(()), |all| devices::set(&plan, all)));
        let set = set.and_then(|()| self.widen(container));
        match set {
            Ok(()) => Ok(plan),
            Err(error) => {
                let _ = remove(&plan);
                Err(error)
            }
        }
    }

    /// Notes what a container may use from now on: the last word counts, also for groups that are yet to be made. Meant for
    /// more memory than before: what is in use cannot be taken away. [`widen`](Self::widen) follows.
    pub fn note_width(&self, container: &str, limits: Limits) {
        self.widths().insert(container.to_owned(), limits);
    }

    /// Sets what was noted last for a container, if anything was and its groups are there. One after the other: none that
    /// comes late overwrites a later one.
    ///
    /// # Errors
    /// [`CgroupError`] names the file.
    pub fn widen(&self, container: &str) -> Result<(), CgroupError> {
        let widths = self.widths();
        let Some(limits) = widths.get(container) else {
            return Ok(());
        };
        let mut plan = self.plan_for(container);
        plan.v1.retain(|_, group| Path::new(group).is_dir());
        plan.v2 = plan.v2.filter(|group| Path::new(group).is_dir());
        limits::set(&self.options, &plan, *limits)
    }

    /// A container is gone.
    pub fn forget_width(&self, container: &str) {
        self.widths().remove(container);
    }

    fn widths(&self) -> MutexGuard<'_, BTreeMap<String, Limits>> {
        self.widths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The groups that [`Cgroups::create`] makes, there or not.
    pub fn plan_for(&self, container: &str) -> CgroupPlan {
        let below = |group: &PathBuf| group.join(container).to_string_lossy().into_owned();
        CgroupPlan {
            v1: self
                .v1
                .iter()
                .map(|(controller, group)| (controller.clone(), below(group)))
                .collect(),
            v2: self.v2.as_ref().map(below),
            v2_controllers: self.v2_controllers.clone(),
        }
    }

    /// Containers that have groups here but are not among `known`: left over by an agent that died
    /// between making and recording, or after a machine's crash.
    pub fn orphans(&self, known: &BTreeSet<String>) -> BTreeMap<String, CgroupPlan> {
        let mut orphans: BTreeMap<String, CgroupPlan> = BTreeMap::new();
        for (controller, ours) in &self.v1 {
            for container in files::subgroups(ours).filter(|name| !known.contains(name)) {
                let group = ours.join(&container).to_string_lossy().into_owned();
                orphans
                    .entry(container)
                    .or_default()
                    .v1
                    .insert(controller.clone(), group);
            }
        }
        if let Some(ours) = &self.v2 {
            for container in files::subgroups(ours).filter(|name| !known.contains(name)) {
                let group = ours.join(&container).to_string_lossy().into_owned();
                let plan = orphans.entry(container).or_default();
                plan.v2 = Some(group);
                plan.v2_controllers.clone_from(&self.v2_controllers);
            }
        }
        orphans
    }

    /// Removes the groups above those of the tasks, if no task is left: for an agent that ends for
    /// good.
    pub fn tear_down(&self) {
        self.v1
            .values()
            .chain(&self.v2)
            .for_each(|ours| remove_ours(ours));
    }
}

/// Removes a group above those of tasks, if it is empty.
fn remove_ours(ours: &Path) {
    let _ = std::fs::remove_dir(ours);
    // Another agent may have its scope beside ours; then this stays.
    let _ = ours.parent().map(std::fs::remove_dir);
}

#[cfg(test)]
mod tests;
