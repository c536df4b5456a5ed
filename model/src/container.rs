//! What to run: a command and its environment, and the container around it, if there is one.

mod capability; // single powers of root
mod isolation; // what the walls of a container are made of
mod mount; // what a container sees besides its image
mod network; // which network it sees
mod secret; // what a secret holds

use std::collections::BTreeMap;

pub use capability::{BadCapability, LinuxCapability};
pub use isolation::{Isolation, Rlimit, RlimitKind};
pub use mount::{Mount, MountSource};
pub use network::{MAX_NETWORKS, MAX_PORT_MAPPINGS, Network, PortMapping, Transport};
pub use secret::SecretValue;

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines. 0, as of the characters in a line, only where a terminal is given another size.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl WindowSize {
    /// With a side of a usual terminal in place of none: the size that a terminal begins with.
    #[must_use]
    pub fn or_usual(self) -> Self {
        let usual = Self::default();
        let side = |said: u16, usual: u16| if said == 0 { usual } else { said };
        Self {
            rows: side(self.rows, usual.rows),
            columns: side(self.columns, usual.columns),
        }
    }
}

impl Default for WindowSize {
    /// That of a usual terminal.
    fn default() -> Self {
        Self {
            rows: 24,
            columns: 80,
        }
    }
}

/// A command as the agent starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// How the words are found.
    pub program: Program,
    /// Environment variables by name; they win over those the agent sets.
    pub environment: BTreeMap<String, String>,
    /// Variables that hold what a secret does, by name, in UTF-8 without NUL; `None`: it is not told. None of them is in
    /// `environment`.
    pub secrets: BTreeMap<String, Option<SecretValue>>,
    /// The user to run as; `None`: as the agent.
    pub user: Option<String>,
    /// What to bring into the sandbox first.
    pub uris: Vec<FetchUri>,
    /// The terminal that it reads from and writes to; `None`: it reads nothing and writes into pipes.
    pub terminal: Option<WindowSize>,
}

impl CommandSpec {
    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl Into<String>) -> Self {
        Self {
            program: Program::Shell(line.into()),
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            user: None,
            uris: Vec::new(),
            terminal: None,
        }
    }

    /// Whether it holds what a secret holds.
    pub fn tells_secrets(&self) -> bool {
        self.secrets.values().any(Option::is_some)
    }

    /// Forgets what its secrets hold.
    pub fn forget_secrets(&mut self) {
        self.secrets.values_mut().for_each(|value| *value = None);
    }
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// An executable and its argument vector, `argv[0]` included.
    Exec {
        /// Path or name looked up in `PATH`.
        path: String,
        /// The argument vector; when empty, `[path]`.
        argv: Vec<String>,
    },
    /// What the image says; only in a container with an image.
    Image {
        /// In place of the image's own arguments; when empty, those.
        arguments: Vec<String>,
    },
}

/// A container as it is wanted around a task. A task without one runs on the file system of its agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Who is to make it.
    pub kind: ContainerKind,
    /// Reference of the image, as `docker pull` takes it; `None`: the file system of the agent, not to be written to.
    pub image: Option<String>,
    /// When the registry is asked.
    pub pull: Pull,
    /// How its registry is told who asks.
    pub login: Login,
    /// Which network it sees.
    pub network: Network,
    /// The name it finds itself under; `None`: that of the host on the host's network, else its container id.
    pub hostname: Option<String>,
    /// What it sees besides its image, in the order in which it is mounted.
    pub mounts: Vec<Mount>,
    /// Its walls.
    pub isolation: Isolation,
    /// The user inside it, by name, number, `user:group` or `uid:gid`; wins over the command's and the image's.
    pub user: Option<String>,
    /// Groups that its user is in as well, by name or number. Up to the operator of the agent.
    pub groups: Vec<String>,
    /// Working directory inside it; `None`: the image's, else the sandbox.
    pub working_dir: Option<String>,
}

impl ContainerSpec {
    /// Whether it holds what a secret holds.
    pub fn tells_secrets(&self) -> bool {
        let told = |mount: &Mount| matches!(mount.source, MountSource::Secret(Some(_)));
        matches!(self.login, Login::Own(Some(_))) || self.mounts.iter().any(told)
    }

    /// Forgets what its secrets hold.
    pub fn forget_secrets(&mut self) {
        let all = self.mounts.iter_mut().map(|mount| &mut mount.source);
        for source in all.filter(|source| source.is_secret()) {
            *source = MountSource::Secret(None);
        }
        if self.login != Login::Agents {
            self.login = Login::Own(None);
        }
    }
}

/// Who is to make a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerKind {
    /// The agent itself.
    #[default]
    Mesos,
    /// A Docker Engine where the agent has one; the agent itself where it has none.
    Docker,
}

/// By which login an image is pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Login {
    /// What the agent has for the registry, if it has one.
    #[default]
    Agents,
    /// What the task brings: a Docker `config.json`; `None`: it is not told.
    Own(Option<SecretValue>),
}

/// When the registry is asked for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// When the agent does not have it.
    #[default]
    IfMissing,
    /// Before every start, so that a tag that has moved is noticed.
    Always,
}

/// Something to fetch into the sandbox before the task starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchUri {
    /// `file`, `http` or `https` address, or an absolute path; its fragment may hold a [`Checksum`](crate::Checksum).
    pub value: String,
    /// Unpack it when its name says that it is an archive.
    pub extract: bool,
    /// Set the executable bit; then nothing is unpacked.
    pub executable: bool,
    /// Keep it for other tasks of the same user.
    pub cache: bool,
    /// Name in the sandbox; `None`: the last segment of `value`.
    pub output_file: Option<String>,
}
