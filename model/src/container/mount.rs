//! What a container sees besides its image.

use super::secret::SecretValue;

/// One place inside a container, and what is seen there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path inside the container; a relative one is below the sandbox.
    pub target: String,
    /// What is seen there.
    pub source: MountSource,
    /// Whether it can only be read.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// An absolute path of the agent's machine, below a root that its operator allows.
    Host(String),
    /// A path below the task's sandbox; a directory is made when there is none.
    Sandbox(String),
    /// A path below the sandbox of the executor, which all tasks of a group see; a directory is made when there is none.
    Parent(String),
    /// Memory, empty at the start.
    Tmpfs {
        /// The most it may hold, in bytes; `None`: what the task's memory holds.
        size_bytes: Option<u64>,
    },
    /// A directory of this name that the agent keeps for whoever names it, as Docker's own volumes; made when there is none.
    Named(String),
    /// The files of another image; what is written there goes with the task.
    Image(String),
    /// A file that holds a secret, for the task's user alone, to be read only; `None` where what it holds is not told, as by
    /// everybody but those who bring it to the agent.
    Secret(Option<SecretValue>),
}

impl MountSource {
    /// Whether it holds a secret, told or not.
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_))
    }
}
