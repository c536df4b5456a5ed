//! What the walls of a container are made of. The defaults are those of a task that asks for nothing.

use std::collections::BTreeSet;

use super::LinuxCapability;

/// The walls of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Whether it is as good as root of the machine: it finds the machine's devices, and may change what the kernel lets root
    /// change. Up to the operator of the agent. Made by [`Self::raze`].
    pub privileged: bool,
    /// Exactly these powers of root; `None`: the usual ones.
    pub capabilities: Option<BTreeSet<LinuxCapability>>,
    /// These as well. Those beyond the usual ones are up to the operator of the agent.
    pub add: BTreeSet<LinuxCapability>,
    /// But not these; what is added stays.
    pub drop: BTreeSet<LinuxCapability>,
    /// Whether system calls that no ordinary program needs are refused. Yes by default.
    pub seccomp: bool,
    /// Whether programs with the set-user-id bit stay who they are. Yes by default.
    pub no_new_privileges: bool,
    /// Whether the image can only be read. The sandbox and mounts are not concerned.
    pub read_only_root: bool,
    /// Size of `/dev/shm` in bytes; `None`: 64 MiB.
    pub shm_bytes: Option<u64>,
    /// Processes and threads; `None`: the agent's own limit, which is never exceeded.
    pub max_pids: Option<u64>,
    /// Thousandths of a CPU that are never exceeded; `None`: as the agent is set.
    pub cpu_limit_milli: Option<u64>,
    /// Limits of each process.
    pub rlimits: Vec<Rlimit>,
}

impl Default for Isolation {
    fn default() -> Self {
        Self {
            privileged: false,
            capabilities: None,
            add: BTreeSet::new(),
            drop: BTreeSet::new(),
            seccomp: true,
            no_new_privileges: true,
            read_only_root: false,
            shm_bytes: None,
            max_pids: None,
            cpu_limit_milli: None,
            rlimits: Vec::new(),
        }
    }
}

impl Isolation {
    /// Takes down all walls but those that keep it from seeing others. What is said of single walls after that holds.
    pub fn raze(&mut self) {
        self.privileged = true;
        self.capabilities = Some(LinuxCapability::all().collect());
        self.seccomp = false;
        self.no_new_privileges = false;
    }

    /// The powers of root that remain.
    pub fn remaining(&self) -> BTreeSet<LinuxCapability> {
        let usual = || LinuxCapability::USUAL.into_iter().collect();
        let mut all: BTreeSet<_> = self.capabilities.clone().unwrap_or_else(usual);
        all.retain(|capability| !self.drop.contains(capability));
        all.extend(&self.add);
        all
    }
}

/// One limit of each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// Of what.
    pub kind: RlimitKind,
    /// What holds at the start; `None`: no limit.
    pub soft: Option<u64>,
    /// How far the process itself may raise it; `None`: no limit.
    pub hard: Option<u64>,
}

/// What can be limited for each process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RlimitKind {
    /// Bytes of address space.
    As,
    /// Bytes of a core file.
    Core,
    /// Seconds of CPU time.
    Cpu,
    /// Bytes of data.
    Data,
    /// Bytes of a file.
    Fsize,
    /// Locks of files.
    Locks,
    /// Bytes locked in memory.
    Memlock,
    /// Bytes in message queues.
    Msgqueue,
    /// How nice it must at least be.
    Nice,
    /// Open files.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Bytes of memory; without effect on today's kernels.
    Rss,
    /// Real-time priority.
    Rtprio,
    /// Microseconds of real-time scheduling.
    Rttime,
    /// Signals that wait.
    Sigpending,
    /// Bytes of stack.
    Stack,
}

impl RlimitKind {
    /// All of them, in the order of their names.
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// The name in small letters: `nofile`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Locks => "locks",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Rss => "rss",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
            Self::Sigpending => "sigpending",
            Self::Stack => "stack",
        }
    }

    /// From the name in small letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_stays_and_what_is_dropped_goes() {
        let named = |name: &str| name.parse::<LinuxCapability>().expect("known");
        let mut isolation = Isolation::default();
        isolation.drop.extend(LinuxCapability::USUAL);
        isolation.add.insert(named("NET_BIND_SERVICE"));

        assert_eq!(isolation.remaining(), [named("NET_BIND_SERVICE")].into());
        isolation.add.clear();
        isolation.drop = [named("CHOWN")].into();
        isolation.capabilities = Some([named("CHOWN"), named("KILL")].into());
        assert_eq!(isolation.remaining(), [named("KILL")].into());
    }

    #[test]
    fn limits_are_known_by_name() {
        for kind in RlimitKind::ALL {
            assert_eq!(RlimitKind::from_name(kind.as_str()), Some(kind));
        }
        assert_eq!(RlimitKind::from_name("files"), None);
    }
}
