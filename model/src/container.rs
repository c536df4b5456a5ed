//! What to run: a command and its environment.
//!
//! Images, mounts and networks come with the containerizers that carry them.

use std::collections::BTreeMap;

/// A command as the agent starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSpec {
    /// How the words are found.
    pub program: Program,
    /// Environment variables by name; they win over those the agent sets.
    pub environment: BTreeMap<String, String>,
    /// The user to run as; `None`: as the agent.
    pub user: Option<String>,
    /// What to bring into the sandbox first.
    pub uris: Vec<FetchUri>,
}

impl CommandSpec {
    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl Into<String>) -> Self {
        Self {
            program: Program::Shell(line.into()),
            environment: BTreeMap::new(),
            user: None,
            uris: Vec::new(),
        }
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
