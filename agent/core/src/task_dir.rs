//! The directory of one task: the whole protocol between the agent and the task's shim.
//!
//! ```text
//! <task directory>/            0700, written by agent and shim only
//!     launch.json   agent → shim    what to run, where, with which limits      ([`Launch`])
//!     pid           shim → agent    who runs it: shim and task, by start time  ([`PidFile`])
//!     exit.json     shim → agent    how it ended, or why it never started      ([`Exit`])
//!     shim.log      shim → people   what the shim complained of; mostly it is not there
//!     docker.json   agent, follower the container that a Docker Engine makes   ([`EngineContainer`])
//!     began         follower → agent  a pipe: one byte when that container runs
//!     told.json     follower → agent  how that container ended                 ([`Told`])
//! <sandbox>/                   the task's working directory
//!     stdout stdout.1 …  stderr stderr.1 …    what the task wrote, newest without a number
//! ```
//!
//! Invariants: `pid` is created once and never replaced, so that one directory launches at most one
//! task, whoever tries again; it exists before the task's program does. `exit.json` appears whole
//! (written aside, then renamed) and last. Each file carries the version of its format; readers
//! ignore fields they do not know and accept older versions, because a directory outlives upgrades
//! of the agent.
//!
//! Only words and bytes here: who reads and writes the files is the agent's and the shim's business.

mod container;
mod engine;
mod exit;
mod launch;
mod pid;
pub mod session; // a command that people run inside a running task
mod users; // users of a container that are others outside

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use container::{
    Container, Layers, Mounted, Net, ProcessLimit, Root, Runtime, RuntimeKind, SANDBOX_INSIDE,
    Source,
};
pub use engine::{EngineContainer, Told};
pub use exit::{End, Exit, StartStep};
pub use launch::{CgroupPlan, Command, Launch, OutputLimits, User, oom_kills_in};
pub use pid::{PidFile, ProcStat, Process, Runner};
pub use users::{BadIdRange, IdRange};

/// The format that is written today; readers accept this one and those before.
pub const FORMAT_VERSION: u32 = 1;

/// The largest file of the directory that is read: exec itself takes 2 MiB of arguments and
/// environment at most, and JSON may double that with escapes.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

/// Bytes a stream may write before its file is rotated (Mesos' logrotate logger: 10 MB).
pub const DEFAULT_OUTPUT_BYTES: u64 = 10 << 20;

/// Files kept per stream, the current one included.
pub const DEFAULT_OUTPUT_FILES: u32 = 2;

/// File name of a task's standard output in its sandbox.
pub const STDOUT: &str = "stdout";

/// File name of a task's standard error in its sandbox.
pub const STDERR: &str = "stderr";

/// File name of [`Launch`] in the task directory.
pub const LAUNCH_FILE: &str = "launch.json";

/// File name of [`PidFile`] in the task directory.
pub const PID_FILE: &str = "pid";

/// File name of [`Exit`] in the task directory.
pub const EXIT_FILE: &str = "exit.json";

/// File name of what a shim complains of in the task directory.
pub const SHIM_LOG_FILE: &str = "shim.log";

/// File name of [`EngineContainer`] in the task directory.
pub const DOCKER_FILE: &str = "docker.json";

/// File name of [`Told`] in the task directory.
pub const TOLD_FILE: &str = "told.json";

/// The name of an older file of a stream: `stdout.1` is the one before `stdout`.
pub fn rotated(stream: &str, generation: u32) -> String {
    format!("{stream}.{generation}")
}

/// Where the files of one task lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDir(PathBuf);

impl TaskDir {
    /// Of the directory at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `launch.json`.
    pub fn launch(&self) -> PathBuf {
        self.0.join(LAUNCH_FILE)
    }

    /// `pid`.
    pub fn pid(&self) -> PathBuf {
        self.0.join(PID_FILE)
    }

    /// `exit.json`.
    pub fn exit(&self) -> PathBuf {
        self.0.join(EXIT_FILE)
    }

    /// `docker.json`.
    pub fn docker(&self) -> PathBuf {
        self.0.join(DOCKER_FILE)
    }

    /// `told.json`.
    pub fn told(&self) -> PathBuf {
        self.0.join(TOLD_FILE)
    }

    /// `began`, a pipe.
    pub fn began(&self) -> PathBuf {
        self.0.join("began")
    }

    /// `shim.log`.
    pub fn shim_log(&self) -> PathBuf {
        self.0.join(SHIM_LOG_FILE)
    }
}

/// Why a file of a task directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadTaskFile {
    /// It is not what it should be.
    #[error("{file} cannot be read")]
    Malformed {
        /// Which file.
        file: &'static str,
        /// Where and what.
        #[source]
        source: serde_json::Error,
    },
    /// It was written by a later agent.
    #[error("{file} has format {found}, this agent knows formats up to {FORMAT_VERSION}")]
    TooNew {
        /// Which file.
        file: &'static str,
        /// The version it names.
        found: u32,
    },
}

/// A file of the task directory: JSON with the version of its format.
pub trait TaskFile: Serialize + DeserializeOwned {
    /// Its name in the directory.
    const NAME: &'static str;

    /// The bytes to write.
    fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps have text keys and nothing here fails to serialise")
    }

    /// Reads what [`TaskFile::encode`] wrote, today or in an earlier version.
    ///
    /// # Errors
    /// [`BadTaskFile`] names the file and what is wrong with it.
    fn decode(bytes: &[u8]) -> Result<Self, BadTaskFile> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |source| BadTaskFile::Malformed {
            file: Self::NAME,
            source,
        };
        let Versioned { version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if version > FORMAT_VERSION {
            return Err(BadTaskFile::TooNew {
                file: Self::NAME,
                found: version,
            });
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 43_200_000_000;

    #[test]
    fn what_was_written_is_read_again() {
        let mut launch = Launch::new(Command::Shell("sleep 1".into()), "/work/sandbox");
        launch.environment.insert("PORT0".into(), "31000".into());
        launch
            .cgroups
            .v1
            .insert("memory".into(), "/cg/memory/mete/a/c".into());
        let exit = Exit::new(End::Signaled { signal: 9 }, NOON);

        assert_eq!(Launch::decode(&launch.encode()).expect("reads"), launch);
        assert_eq!(Exit::decode(&exit.encode()).expect("reads"), exit);
    }

    #[test]
    fn unknown_fields_are_ignored_and_missing_ones_have_defaults() {
        let text =
            br#"{"version":1,"command":{"shell":"true"},"sandbox":"/s","seccomp":{"profile":"x"}}"#;

        let launch = Launch::decode(text).expect("reads");

        assert_eq!(launch, Launch::new(Command::Shell("true".into()), "/s"));
    }

    #[test]
    fn a_launch_without_a_container_is_that_of_an_older_agent() {
        let text = br#"{"version":1,"command":{"shell":"true"},"sandbox":"/s"}"#;

        assert_eq!(Launch::decode(text).expect("reads").container, None);
        let written = Launch::new(Command::Shell("true".into()), "/s").encode();
        assert!(
            !String::from_utf8(written)
                .expect("text")
                .contains("container")
        );
    }

    #[test]
    fn an_older_version_is_accepted_and_a_newer_one_is_named() {
        let old = br#"{"version":0,"end":{"exited":{"code":7}}}"#;
        let new = br#"{"version":2,"end":{"vanished":{}}}"#;

        assert_eq!(
            Exit::decode(old).expect("reads").end,
            End::Exited { code: 7 }
        );
        let refused = Exit::decode(new).expect_err("too new").to_string();
        assert_eq!(
            refused,
            "exit.json has format 2, this agent knows formats up to 1"
        );
    }

    #[test]
    fn start_time_is_found_behind_a_hostile_process_name() {
        let text = "77 (a) b (c) S 1 77 77 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 5 6 7";

        let stat = ProcStat::parse(text).expect("parses");

        assert_eq!(
            stat.process,
            Process {
                pid: 77,
                start_ticks: 4242
            }
        );
        assert_eq!(
            (stat.state, stat.parent, stat.group, stat.session),
            ('S', 1, 77, 77)
        );
        assert_eq!(ProcStat::parse("77 (x"), None);
    }

    #[test]
    fn memory_kills_are_read_from_both_versions_of_control_groups() {
        assert_eq!(
            oom_kills_in("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            3
        );
        assert_eq!(
            oom_kills_in("low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n"),
            1
        );
        assert_eq!(oom_kills_in("oom_kill_disable 0\n"), 0);
    }

    #[test]
    fn an_end_is_told_in_a_sentence() {
        let mut exit = Exit::new(End::Signaled { signal: 9 }, NOON);
        assert_eq!(
            exit.sentence(),
            "Command terminated with signal Killed (9, SIGKILL)"
        );
        exit.oom_kills = 1;
        assert!(exit.is_out_of_memory());
        assert!(exit.sentence().starts_with("out of memory: "));
        exit.end = End::Exited { code: 0 };
        assert!(
            exit.is_out_of_memory(),
            "nobody knows what it has done without the process that was killed"
        );
        exit.end = End::NotStarted {
            step: StartStep::Exec,
            errno: Some(2),
            reason: "/nope: No such file or directory".into(),
        };
        assert_eq!(
            exit.sentence(),
            "could not be started: executing the program: /nope: No such file or directory"
        );
    }

    #[test]
    fn groups_that_share_a_mount_are_entered_once() {
        let mut plan = CgroupPlan::default();
        for controller in ["cpu", "cpuacct"] {
            plan.v1
                .insert(controller.into(), "/cg/cpu,cpuacct/mete/a/c".into());
        }

        assert_eq!(plan.enter_files(), ["/cg/cpu,cpuacct/mete/a/c/tasks"]);
        assert_eq!(plan.directories(), ["/cg/cpu,cpuacct/mete/a/c"]);
        assert_eq!(plan.oom_file(), None);
    }
}
