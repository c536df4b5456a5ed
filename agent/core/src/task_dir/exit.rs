//! `exit.json`: how the task ended, or why it never started.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{EXIT_FILE, FORMAT_VERSION, TaskFile};

/// `exit.json`: how the task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// [`FORMAT_VERSION`] of the writer.
    pub version: u32,
    /// What became of the task's first process.
    pub end: End,
    /// Processes of the task that the kernel killed because its memory limit was reached.
    #[serde(default)]
    pub oom_kills: u64,
    /// When its program started, in microseconds since the epoch by the wall clock; `None`: never.
    #[serde(default)]
    pub started_at_us: Option<u64>,
    /// When it ended, in microseconds since the epoch by the wall clock.
    #[serde(default)]
    pub ended_at_us: u64,
    /// Bytes of standard output that were lost because they could not be written.
    #[serde(default)]
    pub stdout_dropped_bytes: u64,
    /// Bytes of standard error that were lost because they could not be written.
    #[serde(default)]
    pub stderr_dropped_bytes: u64,
    /// Processes that were still there when the first one had ended, and were killed.
    #[serde(default)]
    pub stragglers_killed: u32,
}

impl TaskFile for Exit {
    const NAME: &'static str = EXIT_FILE;
}

/// What became of a task's first process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It exited by itself.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// A signal ended it.
    Signaled {
        /// Its number.
        signal: i32,
    },
    /// Its program never ran.
    NotStarted {
        /// How far it came.
        step: StartStep,
        /// The error number of the system, if it was the system that refused.
        #[serde(default)]
        errno: Option<i32>,
        /// Why, with the value that was refused.
        reason: String,
    },
}

/// The steps from launch.json to a running program, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartStep {
    /// Reading launch.json.
    Read,
    /// Opening the sandbox and the output files in it.
    Sandbox,
    /// Making the process.
    Fork,
    /// Entering the control groups.
    Cgroup,
    /// Taking on the user.
    User,
    /// Executing the program.
    Exec,
    /// Building the container; between the groups and the user.
    Container,
}

impl fmt::Display for StartStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading launch.json",
            Self::Sandbox => "entering the sandbox",
            Self::Fork => "making the process",
            Self::Cgroup => "entering the control groups",
            Self::User => "becoming the user",
            Self::Exec => "executing the program",
            Self::Container => "building the container",
        })
    }
}

impl Exit {
    /// An end that nothing else is known of yet.
    pub const fn new(end: End, ended_at_us: u64) -> Self {
        Self {
            version: FORMAT_VERSION,
            end,
            oom_kills: 0,
            started_at_us: None,
            ended_at_us,
            stdout_dropped_bytes: 0,
            stderr_dropped_bytes: 0,
            stragglers_killed: 0,
        }
    }

    /// Whether the task did what it was to do: exit code 0.
    pub const fn is_success(&self) -> bool {
        matches!(self.end, End::Exited { code: 0 })
    }

    /// Whether the task failed because it reached its memory limit. A task that exits with 0
    /// although a child of it was killed has coped.
    pub const fn is_out_of_memory(&self) -> bool {
        self.oom_kills > 0 && !self.is_success() && !matches!(self.end, End::NotStarted { .. })
    }

    /// What happened, for people: `exited with code 3`.
    pub fn sentence(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_out_of_memory() {
            f.write_str("out of memory: the kernel killed it at its memory limit; ")?;
        }
        match &self.end {
            End::Exited { code } => write!(f, "exited with code {code}")?,
            End::Signaled { signal } => {
                write!(f, "killed by signal {signal}{}", signal_name(*signal))?
            }
            End::NotStarted { step, reason, .. } => {
                write!(f, "could not be started: {step}: {reason}")?
            }
        }
        let dropped = self
            .stdout_dropped_bytes
            .saturating_add(self.stderr_dropped_bytes);
        if dropped > 0 {
            write!(f, "; {dropped} bytes of output could not be written")?;
        }
        Ok(())
    }
}

/// The name of a common signal in parentheses, or nothing.
fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        25 => " (SIGXFSZ)",
        31 => " (SIGSYS)",
        _ => "",
    }
}
