//! The HAProxy process: one of its own, which outlives the sync and is found again.
//!
//! ```text
//! absent ──start──► running ──exited──► absent
//!    found at start ──adopt──► running ──stop──► absent
//! ```
//! HAProxy runs as master and workers, as a daemon of its own session, so that neither the sync's death nor its terminal's
//! touches it. It is known by its command line, which names our configuration file; pids are only trusted through a
//! pidfd that was opened before the command line was read. When the master dies its workers end themselves, and the
//! other way round; whatever is left is killed before another is started.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::configuration::{Folder, alerts};

/// HAProxy forks to the background once its ports are bound: about 60 ms.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// After SIGUSR1, how long requests in flight may take before HAProxy is stopped for good. Those who stop the proxy
/// stop what is behind it too; and HAProxy 2.6 takes 1.5 s even if there is nothing to end.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long a pid file that was found may name a process that is not ours, before it is taken for a stale one.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the pid file is looked at.
const POLL: Duration = Duration::from_millis(5);

/// After SIGTERM and after SIGKILL.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// Why HAProxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program cannot be run.
    #[error("cannot run {}", binary.display())]
    NotRun {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended with an error, often because of a port that is in use.
    #[error("haproxy did not start: {alerts}")]
    Failed {
        /// Its first alerts.
        alerts: String,
    },
    /// Its messages cannot be taken down.
    #[error("cannot write the log of haproxy's start")]
    Log(#[source] io::Error),
    /// It did not get ready in time.
    #[error("haproxy did not start within {} s", START_DEADLINE.as_secs())]
    Late,
    /// It went to the background and is not there.
    #[error("haproxy started and was gone at once")]
    Gone,
}

/// HAProxy's master, alive when last looked at.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    pidfd: AsyncFd<OwnedFd>,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Returns when it has died.
    pub async fn exited(&self) {
        // A pidfd becomes readable when its process ends, and stays so. An error here means that we cannot know, and the
        // audit will.
        if self.pidfd.ready(Interest::READABLE).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Asks the master to run the configuration file anew.
    ///
    /// # Errors
    /// When it has died.
    pub fn reload(&self) -> io::Result<()> {
        self.signal(Signal::USR2)
    }

    /// Ends HAProxy: requests in flight get a moment, then it goes.
    pub async fn stop(self, folder: &Folder) {
        for (signal, grace) in [(Signal::USR1, STOP_GRACE), (Signal::TERM, KILL_GRACE)] {
            if self.signal(signal).is_err() || timeout(grace, self.exited()).await.is_ok() {
                break;
            }
        }
        kill_all(folder).await;
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(self.pidfd.get_ref(), signal)?)
    }
}

/// Finds the HAProxy that runs our configuration: the master that its pid file names, or else the process whose parent is
/// none of ours. Other masters are killed.
pub async fn adopt(folder: &Folder) -> Option<Running> {
    let noted = timeout(PATIENCE, noted(folder)).await.ok().flatten();
    let processes = ours(folder).await;
    let is_master = |process: &&Process| !processes.contains_key(&process.parent);
    let found = || {
        processes
            .values()
            .find(is_master)
            .map(|process| process.pid)
    };
    let kept = noted.or_else(found)?;
    let is_other = |process: &&Process| {
        is_master(process) && process.pid != kept && process.parent != kept.as_raw_nonzero().get()
    };
    for process in processes.values().filter(is_other) {
        let pid = process.pid.as_raw_nonzero().get();
        warn!(pid, "a second haproxy with our configuration is killed");
        kill(folder, process.pid);
    }
    open(folder, kept).await
}

/// The master that the pid file names; `None` when it names none that is there. Waits while the file is empty or what it
/// names is not ours yet: HAProxy writes the file after it went to the background, and has no command line for a moment
/// while it replaces itself (2.5 and newer do so after every start).
async fn noted(folder: &Folder) -> Option<Pid> {
    loop {
        let text = std::fs::read_to_string(folder.pid_file()).ok()?;
        if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) {
            if runs(pid, folder.config().as_os_str().as_encoded_bytes()) {
                return Some(pid);
            }
            if !Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists() {
                return None;
            }
        }
        sleep(POLL).await;
    }
}

/// Starts HAProxy with the configuration of the folder, after whatever was left of an earlier one is gone.
///
/// # Errors
/// As [`StartError`] says.
pub async fn start(folder: &Folder) -> Result<Running, StartError> {
    kill_all(folder).await;
    // An old note would be believed if its pid had been given to another HAProxy of ours meanwhile.
    folder.forget_pid();
    let mut command = Command::new(folder.binary());
    let mut master = folder.master_socket().into_os_string();
    master.push(",mode,600");
    command.arg("-W").arg("-D").arg("-S").arg(master);
    command
        .arg("-f")
        .arg(folder.config())
        .arg("-p")
        .arg(folder.pid_file());
    // A file and no pipe: HAProxy's background processes may keep it open, and a pipe would then never end.
    let (log, said) = folder.start_log().map_err(StartError::Log)?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .current_dir("/")
        .kill_on_drop(true);
    debug!("starting haproxy");
    let not_run = |source| StartError::NotRun {
        binary: folder.binary().to_owned(),
        source,
    };
    let status = timeout(START_DEADLINE, command.status())
        .await
        .map_err(|_| StartError::Late)?
        .map_err(not_run)?;
    if !status.success() {
        let said = std::fs::read(said).unwrap_or_default();
        return Err(StartError::Failed {
            alerts: alerts(&String::from_utf8_lossy(&said)),
        });
    }
    let started = timeout(START_DEADLINE, noted(folder))
        .await
        .map_err(|_| StartError::Late)?;
    let pid = started.ok_or(StartError::Gone)?;
    let running = open(folder, pid).await.ok_or(StartError::Gone)?;
    info!(pid = running.pid(), "haproxy started");
    Ok(running)
}

/// Kills every process that runs our configuration, and returns when they are gone or a time has passed.
pub async fn kill_all(folder: &Folder) {
    let pause = Duration::from_millis(10);
    let rounds = KILL_GRACE.as_millis() / pause.as_millis();
    for _ in 0..rounds {
        let left = ours(folder).await;
        if left.is_empty() && !is_between_lives(folder) {
            return;
        }
        for process in left.values() {
            kill(folder, process.pid);
        }
        sleep(pause).await;
    }
    warn!("processes of an earlier haproxy do not go away");
}

/// Whether the pid file names an HAProxy without a command line: one that replaces itself at this moment.
fn is_between_lives(folder: &Folder) -> bool {
    let noted = std::fs::read_to_string(folder.pid_file()).unwrap_or_default();
    let Some(pid) = noted.trim().parse().ok().and_then(Pid::from_raw) else {
        return false;
    };
    let read = |file: &str| {
        std::fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap_or_default()
    };
    let status = String::from_utf8(read("status")).unwrap_or_default();
    let is_dead = status.lines().any(|line| line.starts_with("State:\tZ"));
    read("comm") == b"haproxy\n" && read("cmdline").is_empty() && !is_dead
}

struct Process {
    pid: Pid,
    parent: i32,
}

/// All processes that run our configuration, by pid. Ended ones that nobody has waited for have no command line.
async fn ours(folder: &Folder) -> BTreeMap<i32, Process> {
    let config = folder.config();
    let scan = move || {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let number: Option<i32> = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let Some(pid) = number.and_then(Pid::from_raw) else {
                continue;
            };
            if runs(pid, config.as_os_str().as_encoded_bytes())
                && let Some(parent) = parent_of(pid)
            {
                found.insert(pid.as_raw_nonzero().get(), Process { pid, parent });
            }
        }
        found
    };
    tokio::task::spawn_blocking(scan).await.unwrap_or_default()
}

/// Whether the command line is `… -W … -f <config> …`.
fn runs(pid: Pid, config: &[u8]) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else {
        return false;
    };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.iter().skip(1).any(|word| *word == b"-W")
        && words
            .windows(2)
            .any(|pair| pair[0] == b"-f" && pair[1] == config)
}

fn parent_of(pid: Pid) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

/// Holds a process, and then makes sure that it is still who we think.
async fn open(folder: &Folder, pid: Pid) -> Option<Running> {
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
    let is_ours = async {
        // It has no command line for a moment while it replaces itself.
        while !runs(pid, folder.config().as_os_str().as_encoded_bytes()) {
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, is_ours).await.ok()?;
    #[expect(
        deprecated,
        reason = "its replacement is unsafe, for types that may give up their descriptor; OwnedFd never does"
    )]
    let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE).ok()?;
    Some(Running { pid, pidfd })
}

fn kill(folder: &Folder, pid: Pid) {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if runs(pid, folder.config().as_os_str().as_encoded_bytes()) {
        // Already gone is as good.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}
