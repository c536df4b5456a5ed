//! Single powers of root, as Linux numbers and names them.

use std::fmt;
use std::str::FromStr;

/// The names by number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One power of root. Text form: `NET_ADMIN`, read with or without `CAP_` and in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinuxCapability(u8);

/// A text that names no capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no capability is called {0:?}")]
pub struct BadCapability(String);

impl LinuxCapability {
    /// Makes device nodes.
    pub const MKNOD: Self = Self(27);
    /// Traces processes of others.
    pub const SYS_PTRACE: Self = Self(19);
    /// Most of what root can do.
    pub const SYS_ADMIN: Self = Self(21);

    /// What a container has when nothing is said: Docker's set without the making of device nodes, which no ordinary
    /// program needs and which is half a way out.
    pub const USUAL: [Self; 13] = [
        Self(0),  // CHOWN
        Self(1),  // DAC_OVERRIDE
        Self(3),  // FOWNER
        Self(4),  // FSETID
        Self(5),  // KILL
        Self(6),  // SETGID
        Self(7),  // SETUID
        Self(8),  // SETPCAP
        Self(10), // NET_BIND_SERVICE
        Self(13), // NET_RAW
        Self(18), // SYS_CHROOT
        Self(29), // AUDIT_WRITE
        Self(31), // SETFCAP
    ];

    /// The one with this number; `None` when there is none.
    pub const fn from_number(number: u8) -> Option<Self> {
        if (number as usize) < NAMES.len() {
            Some(Self(number))
        } else {
            None
        }
    }

    /// All of them, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map_while(Self::from_number)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its name without `CAP_`.
    pub const fn as_str(self) -> &'static str {
        NAMES[self.0 as usize]
    }
}

impl fmt::Display for LinuxCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LinuxCapability {
    type Err = BadCapability;
    fn from_str(text: &str) -> Result<Self, BadCapability> {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        let found = Self::all().find(|capability| capability.as_str() == name);
        found.ok_or_else(|| BadCapability(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_with_and_without_their_prefix() {
        for capability in LinuxCapability::all() {
            assert_eq!(capability.as_str().parse(), Ok(capability));
            assert_eq!(format!("cap_{capability}").parse(), Ok(capability));
        }
        assert_eq!("SYS_ADMIN".parse(), Ok(LinuxCapability::SYS_ADMIN));
        assert_eq!("SYS_PTRACE".parse(), Ok(LinuxCapability::SYS_PTRACE));
        assert!("FLY".parse::<LinuxCapability>().is_err());
    }

    #[test]
    fn nobody_makes_device_nodes_unless_asked_for() {
        assert!(!LinuxCapability::USUAL.contains(&LinuxCapability::MKNOD));
        assert!(!LinuxCapability::USUAL.contains(&LinuxCapability::SYS_ADMIN));
    }
}
