//! `launch.json`: what to run, where, and with which limits.

use std::collections::BTreeMap;

use mete_model::container::Program;
use serde::{Deserialize, Serialize};

use super::container::Container;
use super::session::Size;
use super::{DEFAULT_OUTPUT_BYTES, DEFAULT_OUTPUT_FILES, FORMAT_VERSION, LAUNCH_FILE, TaskFile};

/// `launch.json`: all that the shim needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// What to run.
    pub command: Command,
    /// The whole environment, exactly as given.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Absolute path of the working directory; `stdout` and `stderr` lie in it.
    pub sandbox: String,
    /// Whom to become first; `None`: stay who the shim is.
    #[serde(default)]
    pub user: Option<User>,
    /// Which groups to enter first; all empty: none.
    #[serde(default)]
    pub cgroups: CgroupPlan,
    /// How much output is kept.
    #[serde(default)]
    pub output: OutputLimits,
    /// The terminal that the program reads from and writes to; `None`: it reads nothing and writes into pipes. What it writes
    /// there is kept as its standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Size>,
    /// What is built around the program; `None`: it runs on the file system of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
}

impl TaskFile for Launch {
    const NAME: &'static str = LAUNCH_FILE;
}

impl Launch {
    /// A launch of `command` in `sandbox` with nothing else said.
    pub fn new(command: Command, sandbox: impl Into<String>) -> Self {
        Self {
            version: FORMAT_VERSION,
            command,
            environment: BTreeMap::new(),
            sandbox: sandbox.into(),
            user: None,
            cgroups: CgroupPlan::default(),
            output: OutputLimits::default(),
            terminal: None,
            container: None,
        }
    }

    /// The task's user as the machine knows it; `None`: the shim's own.
    pub fn owner(&self) -> Option<User> {
        let users = self.container.as_ref().and_then(|one| one.users);
        let Some(range) = users else {
            return self.user.clone();
        };
        // Who is nobody outside was refused by the agent, and is by the kernel.
        let outside = |id| range.outside(id).unwrap_or(u32::MAX);
        let user = self.user.as_ref();
        let groups = user.map_or(&[][..], |user| &user.groups);
        Some(User {
            name: user.map_or_else(|| "root".to_owned(), |user| user.name.clone()),
            uid: outside(user.map_or(0, |user| user.uid)),
            gid: outside(user.map_or(0, |user| user.gid)),
            groups: groups.iter().copied().map(outside).collect(),
        })
    }
}

/// What is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// A text for `/bin/sh -c`.
    Shell(String),
    /// A program and its argument vector.
    Program {
        /// A path, or a name that is looked up in the task's own `PATH`.
        path: String,
        /// The argument vector, `argv[0]` included; when empty, `[path]`.
        #[serde(default)]
        arguments: Vec<String>,
    },
}

impl From<&Program> for Command {
    fn from(program: &Program) -> Self {
        match program {
            Program::Shell(line) => Self::Shell(line.clone()),
            Program::Exec { path, argv } => Self::Program {
                path: path.clone(),
                arguments: argv.clone(),
            },
            // Without the image nobody knows the program; exec will say that it is not there.
            Program::Image { arguments } => Self::Program {
                path: String::new(),
                arguments: arguments.clone(),
            },
        }
    }
}

/// A user of the host, already looked up: the shim knows no user database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// For messages.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    #[serde(default)]
    pub groups: Vec<u32>,
}

/// How much of a task's output is kept, per stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLimits {
    /// Bytes per file; at least 1.
    pub max_bytes: u64,
    /// Files per stream, the current one included; at least 1.
    pub max_files: u32,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self {
            max_bytes: DEFAULT_OUTPUT_BYTES,
            max_files: DEFAULT_OUTPUT_FILES,
        }
    }
}

/// The control groups of one task, as absolute directories. Kept with the task, so that an agent
/// which finds it again knows what to kill and remove even if the host's hierarchies look different.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// On version 1: controller → directory.
    #[serde(default)]
    pub v1: BTreeMap<String, String>,
    /// On version 2: the directory, which may have no controllers and still serves for killing.
    #[serde(default)]
    pub v2: Option<String>,
    /// Controllers that count in the version 2 directory.
    #[serde(default)]
    pub v2_controllers: Vec<String>,
}

impl CgroupPlan {
    /// Whether the task runs in no group.
    pub fn is_empty(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }

    /// Every directory once.
    pub fn directories(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self.v1.values().map(String::as_str).collect();
        all.extend(self.v2.as_deref());
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Version 1 files into which a process writes `0` to enter with its one thread. (`tasks`, not
    /// `cgroup.procs`: moving one's own single thread takes no system-wide lock.)
    pub fn enter_files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.v1.values().map(|dir| format!("{dir}/tasks")).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// The file that tells how many processes the kernel killed for memory, in its line `oom_kill N`.
    pub fn oom_file(&self) -> Option<String> {
        if let Some(dir) = self.v1.get("memory") {
            return Some(format!("{dir}/memory.oom_control"));
        }
        let dir = self.v2.as_ref()?;
        self.v2_controllers
            .iter()
            .any(|name| name == "memory")
            .then(|| format!("{dir}/memory.events"))
    }

    /// The file that takes descriptors to be told at, and the one whose descriptor asks for the moment at which memory is
    /// out. Only version 1 of control groups has them; version 2 ends all of a group then.
    pub fn oom_event_files(&self) -> Option<[String; 2]> {
        let dir = self.v1.get("memory")?;
        Some(["cgroup.event_control", "memory.oom_control"].map(|name| format!("{dir}/{name}")))
    }

    /// The files that tell the memory limit, and the most that was ever used.
    pub fn memory_files(&self) -> Option<[String; 2]> {
        if let Some(dir) = self.v1.get("memory") {
            let names = ["memory.limit_in_bytes", "memory.max_usage_in_bytes"];
            return Some(names.map(|name| format!("{dir}/{name}")));
        }
        let dir = self.v2.as_ref()?;
        let counts = self.v2_controllers.iter().any(|name| name == "memory");
        counts.then(|| ["memory.max", "memory.peak"].map(|name| format!("{dir}/{name}")))
    }

    /// The file that kills the whole group when `1` is written; kernels before 5.14 lack it.
    pub fn kill_file(&self) -> Option<String> {
        self.v2.as_ref().map(|dir| format!("{dir}/cgroup.kill"))
    }
}

/// The number in the line `oom_kill N` of a memory group's event file; 0 when there is none.
pub fn oom_kills_in(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.strip_prefix("oom_kill "))
        .find_map(|count| count.trim().parse().ok())
        .unwrap_or(0)
}
