//! The container of a task as the shim builds it: everything looked up, merged and checked by the agent.

use mete_model::LinuxCapability;
use serde::{Deserialize, Serialize};

use super::users::IdRange;

/// Where the sandbox is seen inside a container that has an image (Mesos' place).
pub const SANDBOX_INSIDE: &str = "/mnt/mesos/sandbox";

/// `SIGTERM`.
const TERMINATE: i32 = 15;

/// What is built around a task's program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Digests of the images that it is made of: while it is there, so are they.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// The file system it starts from.
    pub root: Root,
    /// An empty directory of this task alone, on which `root` is put together. Nothing of it is seen outside.
    pub place: String,
    /// What is seen besides, in order; the sandbox is one of them.
    #[serde(default)]
    pub mounts: Vec<Mounted>,
    /// Absolute paths inside that the image wants to be volumes: what it has there stays writable, whatever `root` is.
    /// Made when they are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Absolute path inside; made when it is not there.
    pub working_dir: String,
    /// Whom its users are outside; `None`: the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<IdRange>,
    /// Its name; `None`: that of the machine.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Which network it has.
    #[serde(default)]
    pub network: Net,
    /// Names of the powers of root that remain.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What the kernel lets root change of the machine is not kept from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// Refuse system calls that no ordinary program needs.
    pub seccomp: bool,
    /// Programs with the set-user-id bit stay who they are.
    pub no_new_privileges: bool,
    /// The root can only be read.
    #[serde(default)]
    pub read_only_root: bool,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: u64,
    /// Limits of each process.
    #[serde(default)]
    pub rlimits: Vec<ProcessLimit>,
    /// Absolute paths of device nodes below `/dev` that it sees besides the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Number of the signal that asks the program to end.
    #[serde(default = "terminate")]
    pub stop_signal: i32,
    /// The program that builds it; `None`: the shim's own code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
}

const fn terminate() -> i32 {
    TERMINATE
}

/// An OCI runtime that builds one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Whose command line it has.
    pub kind: RuntimeKind,
    /// Absolute path of the program.
    pub program: String,
    /// An empty directory of this task alone, in which its bundle is seen by the runtime and by nobody else.
    pub room: String,
}

/// The OCI runtimes that are known. Text form: `crun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuntimeKind {
    /// That of the containers project, in C.
    Crun,
    /// That of the Open Container Initiative, in Go.
    Runc,
}

impl RuntimeKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Crun, Self::Runc];

    /// The name by which it calls itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Runc => "runc",
        }
    }
}

/// The file system a container starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// Layers of an image, put on top of one another.
    Layers(Layers),
    /// A directory that is the task's alone: a copy of its image.
    Directory {
        /// Its absolute path.
        path: String,
    },
    /// That of the machine, without what is mounted into it; it can only be read.
    Machine {
        /// Directories that look empty, and files that do: the agent's own.
        #[serde(default)]
        hidden: Vec<String>,
    },
}

/// Layers of an image with a writable one on top.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Directories that are only read, lowest first; at least one.
    pub lower: Vec<String>,
    /// Takes what is written: an empty directory.
    pub upper: String,
    /// The kernel's own, empty, on the same file system as `upper`.
    pub work: String,
}

/// One place inside a container, and what is seen there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounted {
    /// Absolute path inside; made when it is not there.
    pub target: String,
    /// What is seen there.
    pub source: Source,
    /// Whether it can only be read.
    #[serde(default)]
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Something of the machine.
    Path {
        /// A directory that is trusted, as an absolute path.
        root: String,
        /// Below it; symbolic links that lead out are refused. Empty: `root` itself.
        below: String,
        /// Make a directory when nothing is there.
        #[serde(default)]
        make: bool,
    },
    /// Memory.
    Tmpfs {
        /// The most it may hold, in bytes; `None`: half of the machine's memory, of which the task's limit is felt first.
        #[serde(default)]
        size_bytes: Option<u64>,
    },
    /// A copy of another image, of this task alone.
    Copy {
        /// Its absolute path.
        path: String,
    },
    /// Another image.
    Layers {
        /// Its layers.
        layers: Layers,
        /// An empty directory of this task alone, on which they are put together.
        place: String,
    },
}

/// Which network a container has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Net {
    /// The machine's.
    #[default]
    Host,
    /// Its own, with nothing but a loopback.
    None,
    /// One that the agent has made.
    Joined {
        /// File of its namespace.
        namespace: String,
    },
}

/// A limit of each process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessLimit {
    /// Its name in small letters, without `RLIMIT_`: `nofile`.
    pub kind: String,
    /// What holds at the start; `None`: no limit.
    pub soft: Option<u64>,
    /// How far the process itself may raise it; `None`: no limit.
    pub hard: Option<u64>,
}

impl Container {
    /// The powers of root that remain, one bit each by number. Names that this version does not know are none.
    pub fn capability_bits(&self) -> u64 {
        let known = self
            .capabilities
            .iter()
            .filter_map(|name| name.parse().ok());
        known.fold(0, |bits, one: LinuxCapability| bits | 1 << one.number())
    }
}
