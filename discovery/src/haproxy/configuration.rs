//! The state directory: who holds it, and how a configuration gets into it.
//!
//! ```text
//! text ──► haproxy.cfg.new ──`haproxy -c`──► haproxy.cfg        (one rename)
//!                               └─ refused: deleted, the good one stays
//! ```
//! Invariants: `haproxy.cfg` is always one that HAProxy has accepted; one process at a time holds the directory; nobody
//! else may read it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mete_daemon::directory::{self, DirectoryError};
use mete_daemon::store::StoreError;
use rustix::fs::{FlockOperation, flock};
use tokio::process::Command;
use tokio::time::timeout;
use tracing::debug;

use super::render::Rendered;

/// The longest path of a socket that HAProxy takes: it binds a temporary name of ten characters more, and the system's
/// limit is 107.
pub const MAX_SOCKET_PATH: usize = 97;

/// A check takes about 60 ms; one with 10,000 services a second.
const CHECK_DEADLINE: Duration = Duration::from_secs(30);

/// How much of HAProxy's refusal is kept: its first alerts.
const MAX_REFUSAL_CHARS: usize = 1000;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made.
    #[error("haproxy-sync has no state directory")]
    Directory(#[from] DirectoryError),
    /// It cannot be opened or changed.
    #[error("state directory {} cannot be used", path.display())]
    Io {
        /// The directory or a file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another haproxy-sync works on it.
    #[error("another haproxy-sync works on the same state directory")]
    Locked(#[source] StoreError),
    /// Sockets in it would have longer names than HAProxy can bind.
    #[error("state directory {} is too long: a socket in it would have {length} bytes, HAProxy takes {MAX_SOCKET_PATH}", path.display())]
    TooLong {
        /// The directory.
        path: PathBuf,
        /// Of the longest socket.
        length: usize,
    },
    /// A configuration could not name it without quoting.
    #[error("state directory {} has characters other than letters, digits and / . _ - + @ ~", path.display())]
    Characters {
        /// The directory.
        path: PathBuf,
    },
}

/// Why a configuration was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// HAProxy says that it is wrong.
    #[error("haproxy refuses the configuration: {alerts}")]
    Refused {
        /// Its first alerts.
        alerts: String,
    },
    /// HAProxy could not be asked.
    #[error("cannot run {} -c", binary.display())]
    NotRun {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("haproxy -c took longer than {} s", CHECK_DEADLINE.as_secs())]
    Late,
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The files of one HAProxy. While this lives, nobody else can open the same directory.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    binary: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the directory if need be, closes it to others, and takes its lock.
    ///
    /// # Errors
    /// As [`FolderError`] says.
    pub fn open(path: &Path, binary: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError::Io {
            path: path.to_owned(),
            source,
        };
        directory::make(path, 0o700)?;
        let path = path.canonicalize().map_err(failed)?;
        let failed = |source| FolderError::Io {
            path: path.clone(),
            source,
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/._-+@~".contains(c);
        if !path.to_str().is_some_and(|text| text.chars().all(allowed)) {
            return Err(FolderError::Characters { path });
        }
        let length = path.join("master.sock").as_os_str().len();
        if length > MAX_SOCKET_PATH {
            return Err(FolderError::TooLong { path, length });
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"));
        let lock = lock.map_err(failed)?;
        if let Err(refusal) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            return Err(match refusal {
                rustix::io::Errno::WOULDBLOCK => FolderError::Locked(StoreError::Locked { path }),
                other => failed(other.into()),
            });
        }
        Ok(Self {
            path,
            binary: binary.to_owned(),
            _lock: lock,
        })
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The HAProxy program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The configuration that HAProxy runs or is to run.
    pub fn config(&self) -> PathBuf {
        self.path.join("haproxy.cfg")
    }

    /// HAProxy's own note of its master process.
    pub fn pid_file(&self) -> PathBuf {
        self.path.join("haproxy.pid")
    }

    /// A new file for what HAProxy says while it starts, and its path.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn start_log(&self) -> io::Result<(File, PathBuf)> {
        let path = self.path.join("start.log");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)?;
        Ok((file, path))
    }

    /// Empties the pid file, so that what it names next is what was started next.
    pub fn forget_pid(&self) {
        // Where it cannot be written HAProxy cannot write it either, and says so.
        let _ = std::fs::write(self.pid_file(), "");
    }

    /// The socket of the current worker.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }

    /// The socket of the master.
    pub fn master_socket(&self) -> PathBuf {
        self.path.join("master.sock")
    }

    /// The last list of services that was followed.
    pub fn list(&self) -> PathBuf {
        self.path.join("backends.json")
    }

    /// Has HAProxy check a configuration; nothing is replaced.
    ///
    /// # Errors
    /// As [`CheckError`] says.
    pub async fn check(&self, rendered: &Rendered) -> Result<(), CheckError> {
        let candidate = self.candidate();
        self.write(&rendered.map, &rendered.map_text)?;
        self.write(&candidate, &rendered.text)?;
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg("-f").arg(&candidate);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let not_run = |source| CheckError::NotRun {
            binary: self.binary.clone(),
            source,
        };
        let output = timeout(CHECK_DEADLINE, command.output())
            .await
            .map_err(|_| CheckError::Late)?
            .map_err(not_run)?;
        debug!(bytes = rendered.text.len(), status = %output.status, "configuration checked");
        if output.status.success() {
            return Ok(());
        }
        Err(CheckError::Refused {
            alerts: alerts(&String::from_utf8_lossy(&output.stderr)),
        })
    }

    /// Makes the configuration that has just passed [`Self::check`] the one that counts.
    ///
    /// # Errors
    /// When the file cannot be renamed; the old one is still there then.
    pub fn adopt_candidate(&self) -> Result<(), CheckError> {
        let path = self.config();
        std::fs::rename(self.candidate(), &path)
            .map_err(|source| CheckError::Write { path, source })
    }

    /// Forgets a configuration that did not pass.
    pub fn drop_candidate(&self) {
        // It is overwritten by the next one in any case.
        let _ = std::fs::remove_file(self.candidate());
    }

    /// The text of the configuration that counts, if there is one.
    pub fn current_text(&self) -> Option<String> {
        std::fs::read_to_string(self.config()).ok()
    }

    /// Puts back a configuration that was accepted before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_back(&self, text: &str) -> Result<(), CheckError> {
        self.write(&self.candidate(), text)?;
        self.adopt_candidate()
    }

    /// Deletes maps that neither of these two texts names.
    pub fn tidy_maps(&self, texts: [&str; 2]) {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_map = name.starts_with("routes-") && name.ends_with(".map");
            if is_map && !texts.iter().any(|text| text.contains(&*name)) {
                // A map too many does no harm; the next round tries again.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Writes a file as a whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path, text: &str) -> Result<(), CheckError> {
        let failed = |source| CheckError::Write {
            path: path.to_owned(),
            source,
        };
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary);
        let written = written.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_data()
        });
        written
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(failed)
    }

    fn candidate(&self) -> PathBuf {
        self.path.join("haproxy.cfg.new")
    }
}

/// The alerts in what HAProxy wrote, without its own framing.
pub(crate) fn alerts(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("[ALERT]"))
        .collect();
    let text = if lines.is_empty() {
        stderr.trim().to_owned()
    } else {
        lines.join("; ")
    };
    text.chars().take(MAX_REFUSAL_CHARS).collect()
}
