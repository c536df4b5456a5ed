//! `docker.json` and `told.json`: of a task whose container a Docker Engine makes.
//!
//! The shim of such a task runs a follower, which starts the container, passes its output on and tells how it ended.

use serde::{Deserialize, Serialize};

use super::session::Size;
use super::{CgroupPlan, DOCKER_FILE, Exit, Process, TOLD_FILE, TaskFile};
use crate::image::signal_number;

/// `SIGTERM`.
const TERMINATE: i32 = 15;

/// `docker.json`: the container, as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineContainer {
    /// [`FORMAT_VERSION`](super::FORMAT_VERSION) of the writer.
    pub version: u32,
    /// Path of the engine's socket.
    pub socket: String,
    /// The engine's id of it.
    pub id: String,
    /// What asks its program to end, as the engine names signals.
    pub stop_signal: String,
    /// The size that its terminal begins with; `None`: it has no terminal.
    #[serde(default)]
    pub terminal: Option<Size>,
    /// Its first process; `None`: it does not run yet, or the engine is not of this machine.
    #[serde(default)]
    pub init: Option<Process>,
    /// The groups that the engine has put it into, to be read only.
    #[serde(default)]
    pub cgroups: CgroupPlan,
}

impl EngineContainer {
    /// Number of the signal that asks its program to end; SIGTERM for one that is not known here.
    pub fn stop_signal(&self) -> i32 {
        signal_number(&self.stop_signal).unwrap_or(TERMINATE)
    }
}

impl TaskFile for EngineContainer {
    const NAME: &'static str = DOCKER_FILE;
}

/// `told.json`: how the container ended, by the word of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// [`FORMAT_VERSION`](super::FORMAT_VERSION) of the writer.
    pub version: u32,
    /// The end.
    pub exit: Exit,
}

impl TaskFile for Told {
    const NAME: &'static str = TOLD_FILE;
}
