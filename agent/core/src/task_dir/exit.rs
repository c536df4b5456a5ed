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
    /// The memory limit it had, in bytes; `None`: there was none, or nobody knows.
    #[serde(default)]
    pub memory_limit_bytes: Option<u64>,
    /// The most memory it ever had, in bytes; `None`: nobody knows.
    #[serde(default)]
    pub memory_peak_bytes: Option<u64>,
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
            memory_limit_bytes: None,
            memory_peak_bytes: None,
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

    /// Whether the task ended because it reached its memory limit, whatever code it ended with: the first time is the
    /// last (so in Mesos).
    pub const fn is_out_of_memory(&self) -> bool {
        self.oom_kills > 0 && !matches!(self.end, End::NotStarted { .. })
    }

    /// What happened, for people, in the words of Mesos: `Command exited with status 3`.
    pub fn sentence(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_out_of_memory() {
            f.write_str("out of memory: the kernel killed it at its memory limit")?;
            if let Some(limit) = self.memory_limit_bytes {
                write!(f, " of {}", Size(limit))?;
            }
            if let Some(peak) = self.memory_peak_bytes {
                write!(f, ", it has had {}", Size(peak))?;
            }
            f.write_str("; ")?;
        }
        match &self.end {
            End::Exited { code } => {
                write!(f, "Command exited with status {code}")?;
                usual_meaning(*code, f)?;
            }
            End::Signaled { signal } => {
                f.write_str("Command terminated with signal ")?;
                match signal_words(*signal) {
                    Some((words, name)) => write!(f, "{words} ({signal}, {name})")?,
                    None => write!(f, "{signal}")?,
                }
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

/// What shells, and most who follow them, mean by a code. Nothing is said of codes that each program has for itself.
fn usual_meaning(code: i32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match code {
        126 => f.write_str(" (a command could not be executed)"),
        127 => f.write_str(" (a command was not found)"),
        _ => match code.checked_sub(128).and_then(signal_words) {
            Some((_, name)) => write!(f, " (as after signal {}, {name})", code - 128),
            None => Ok(()),
        },
    }
}

/// A signal, in the words of the C library and by its name; the kernel's numbers 32 and above have none.
const fn signal_words(signal: i32) -> Option<(&'static str, &'static str)> {
    Some(match signal {
        1 => ("Hangup", "SIGHUP"),
        2 => ("Interrupt", "SIGINT"),
        3 => ("Quit", "SIGQUIT"),
        4 => ("Illegal instruction", "SIGILL"),
        5 => ("Trace/breakpoint trap", "SIGTRAP"),
        6 => ("Aborted", "SIGABRT"),
        7 => ("Bus error", "SIGBUS"),
        8 => ("Floating point exception", "SIGFPE"),
        9 => ("Killed", "SIGKILL"),
        10 => ("User defined signal 1", "SIGUSR1"),
        11 => ("Segmentation fault", "SIGSEGV"),
        12 => ("User defined signal 2", "SIGUSR2"),
        13 => ("Broken pipe", "SIGPIPE"),
        14 => ("Alarm clock", "SIGALRM"),
        15 => ("Terminated", "SIGTERM"),
        16 => ("Stack fault", "SIGSTKFLT"),
        24 => ("CPU time limit exceeded", "SIGXCPU"),
        25 => ("File size limit exceeded", "SIGXFSZ"),
        26 => ("Virtual timer expired", "SIGVTALRM"),
        27 => ("Profiling timer expired", "SIGPROF"),
        29 => ("I/O possible", "SIGIO"),
        30 => ("Power failure", "SIGPWR"),
        31 => ("Bad system call", "SIGSYS"),
        _ => return None,
    })
}

/// Bytes as people write them: in MiB, with a digit after the point where there is something to say.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.saturating_mul(10) >> 20;
        match tenths % 10 {
            0 => write!(f, "{} MiB", tenths / 10),
            tenth => write!(f, "{}.{tenth} MiB", tenths / 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_said_as_people_understand_it() {
        let exited = |code| Exit::new(End::Exited { code }, 0).sentence();
        let killed = |signal| Exit::new(End::Signaled { signal }, 0).sentence();

        assert_eq!(exited(0), "Command exited with status 0");
        assert_eq!(exited(3), "Command exited with status 3");
        assert_eq!(
            exited(126),
            "Command exited with status 126 (a command could not be executed)"
        );
        assert_eq!(
            exited(127),
            "Command exited with status 127 (a command was not found)"
        );
        assert_eq!(
            exited(137),
            "Command exited with status 137 (as after signal 9, SIGKILL)"
        );
        assert_eq!(exited(255), "Command exited with status 255");
        assert_eq!(
            killed(11),
            "Command terminated with signal Segmentation fault (11, SIGSEGV)"
        );
        assert_eq!(killed(40), "Command terminated with signal 40");
    }

    #[test]
    fn a_lack_of_memory_is_said_with_limit_and_peak() {
        let mut exit = Exit::new(End::Signaled { signal: 9 }, 0);
        exit.oom_kills = 1;
        exit.memory_limit_bytes = Some(64 << 20);
        exit.memory_peak_bytes = Some((64 << 20) - 100_000);

        assert_eq!(
            exit.sentence(),
            "out of memory: the kernel killed it at its memory limit of 64 MiB, it has had 63.9 MiB; \
             Command terminated with signal Killed (9, SIGKILL)"
        );
    }
}
