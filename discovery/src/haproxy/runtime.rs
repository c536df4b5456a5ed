//! HAProxy's two sockets: the admin socket of the current worker, and the master's, which reaches the old ones too.
//!
//! One connection per line of commands: HAProxy answers and closes, so that an answer can never be taken for another's.
//! Invariants: every exchange has a deadline and every answer a bound.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// One exchange takes about 0.1 ms; a worker that does not answer within this is not well.
const EXCHANGE_DEADLINE: Duration = Duration::from_secs(2);

/// `show stat` of 50,000 servers.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Commands joined into one line stay below this: HAProxy reads a line into one buffer of 16 KiB.
pub const MAX_LINE_BYTES: usize = 8 << 10;

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Nobody listens, or the connection broke.
    #[error("cannot talk to {}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("no answer from {} within {} ms", path.display(), EXCHANGE_DEADLINE.as_millis())]
    Late {
        /// The socket.
        path: PathBuf,
    },
    /// More than the bound.
    #[error("an answer of more than {MAX_ANSWER_BYTES} bytes from {}", path.display())]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
    /// An answer that is not what the command's documentation says.
    #[error("cannot read the answer to {command:?}: {detail}")]
    Unreadable {
        /// What was asked.
        command: &'static str,
        /// What is missing.
        detail: String,
    },
}

/// What the current worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its process.
    pub pid: u32,
    /// Whether it is on its way out.
    pub stopping: bool,
    /// The frame of the configuration that it runs, where the configuration is ours.
    pub frame: Option<String>,
}

/// What the master says of its processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    /// Reloads tried since the master started.
    pub reloads: u64,
    /// Of them, those that failed since the last one that did not.
    pub failed: u64,
    /// Workers that have been replaced and still end their connections.
    pub old_workers: Vec<u32>,
}

/// The admin socket and the master's socket of one HAProxy.
#[derive(Clone, Debug)]
pub struct Sockets {
    admin: PathBuf,
    master: PathBuf,
}

impl Sockets {
    /// The two paths; nothing is opened before it is needed.
    pub fn new(admin: &Path, master: &Path) -> Self {
        Self {
            admin: admin.to_owned(),
            master: master.to_owned(),
        }
    }

    /// Sends commands to the current worker and returns its answer.
    ///
    /// # Errors
    /// As [`RuntimeError`] says; some of the commands may have been carried out.
    pub async fn ask(&self, line: &str) -> Result<String, RuntimeError> {
        exchange(&self.admin, line).await
    }

    /// Sends one command to an old worker through the master.
    ///
    /// # Errors
    /// As [`RuntimeError`] says.
    pub async fn ask_old_worker(&self, pid: u32, command: &str) -> Result<String, RuntimeError> {
        exchange(&self.master, &format!("@!{pid} {command}")).await
    }

    /// Which worker answers, and which configuration it runs.
    ///
    /// # Errors
    /// As [`RuntimeError`] says.
    pub async fn worker(&self) -> Result<WorkerInfo, RuntimeError> {
        let answer = self.ask("show info;get var proc.mete_frame").await?;
        read_worker(&answer)
    }

    /// What the master has under it.
    ///
    /// # Errors
    /// As [`RuntimeError`] says.
    pub async fn processes(&self) -> Result<Processes, RuntimeError> {
        read_processes(&exchange(&self.master, "show proc").await?)
    }
}

async fn exchange(path: &Path, line: &str) -> Result<String, RuntimeError> {
    let late = |_| RuntimeError::Late {
        path: path.to_owned(),
    };
    timeout(EXCHANGE_DEADLINE, talk(path, line))
        .await
        .map_err(late)?
}

async fn talk(path: &Path, line: &str) -> Result<String, RuntimeError> {
    let io = |source| RuntimeError::Io {
        path: path.to_owned(),
        source,
    };
    let mut stream = UnixStream::connect(path).await.map_err(io)?;
    stream
        .write_all(format!("{line}\n").as_bytes())
        .await
        .map_err(io)?;
    // The master's socket stays open after its answer unless it sees the end of the questions.
    stream.shutdown().await.map_err(io)?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(MAX_ANSWER_BYTES as u64 + 1);
    bounded.read_to_end(&mut answer).await.map_err(io)?;
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(RuntimeError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn read_worker(answer: &str) -> Result<WorkerInfo, RuntimeError> {
    let field = |name: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let missing = |detail: &str| RuntimeError::Unreadable {
        command: "show info",
        detail: detail.to_owned(),
    };
    let pid = field("Pid")
        .and_then(|pid| pid.trim().parse().ok())
        .ok_or_else(|| missing("no Pid"))?;
    let stopping = field("Stopping").is_some_and(|value| value.trim() != "0");
    let frame = field("proc.mete_frame")
        .and_then(|value| Some(value.split_once('<')?.1.split_once('>')?.0.to_owned()));
    Ok(WorkerInfo {
        pid,
        stopping,
        frame,
    })
}

fn read_processes(answer: &str) -> Result<Processes, RuntimeError> {
    let mut found = Processes::default();
    let mut has_master = false;
    let mut among_old = false;
    for line in answer.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            among_old = heading.starts_with("old workers");
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, "master", reloads, rest @ ..] => {
                has_master = true;
                found.reloads = reloads.parse().unwrap_or_default();
                let failed = rest.iter().skip_while(|word| **word != "[failed:").nth(1);
                found.failed = failed
                    .and_then(|word| word.trim_end_matches(']').parse().ok())
                    .unwrap_or_default();
            }
            [pid, "worker", ..] if among_old => found.old_workers.extend(pid.parse::<u32>()),
            _ => {}
        }
    }
    if has_master {
        Ok(found)
    } else {
        Err(RuntimeError::Unreadable {
            command: "show proc",
            detail: "no master among the processes".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_answer_names_process_and_frame() {
        let answer = "Name: HAProxy\nPid: 6101\nUptime: 0d\nStopping: 0\n\nproc.mete_frame: type=str value=<abc>\n\n";

        let worker = read_worker(answer).expect("a good answer");

        assert_eq!(
            worker,
            WorkerInfo {
                pid: 6101,
                stopping: false,
                frame: Some("abc".into())
            }
        );
        assert_eq!(
            read_worker("Pid: 7\nStopping: 1\n\nVariable not found\n")
                .expect("good")
                .frame,
            None
        );
        assert!(read_worker("").is_err());
    }

    #[test]
    fn old_workers_are_told_from_the_current_one() {
        let answer = "#<PID>          <type>          <reloads>       <uptime>        <version>      \n\
            6100            master          6 [failed: 1]   0d00h02m56s     2.6.12-1+deb12u3\n# workers\n\
            10606           worker          1               0d00h00m17s     2.6.12\n# old workers\n\
            7884            worker          2               0d00h00m04s     2.6.12\n# programs\n\n";

        let processes = read_processes(answer).expect("a good answer");

        assert_eq!(
            processes,
            Processes {
                reloads: 6,
                failed: 1,
                old_workers: vec![7884]
            }
        );
        assert!(read_processes("Unknown command").is_err());
    }
}
