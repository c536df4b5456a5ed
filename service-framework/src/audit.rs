//! Who changed what: one line of JSON for each request that is no mere question, in a file of its own.
//!
//! ```text
//! handler's answer ──line──▶ bounded queue ──▶ thread ──▶ FILE ──full──▶ FILE.1 … FILE.4
//! ```
//! Of those who are refused because nobody knows them, so many a second are written down; the rest is counted.
//! Nobody waits for it: a line that finds the queue full or the disk full is lost, which is counted, logged and written
//! down once there is room again. No line has anything of a body or of a secret.

mod page; // what was written down last

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use mete_daemon::clock;
use mete_service_framework_core::spec::time;
use serde::Serialize;
use tracing::{error, info};

pub(crate) use page::{Page, read};

/// Lines that wait to be written: a second of a flood of requests.
const MAX_WAITING: usize = 1_024;
/// The file is put aside at this size: some fifty thousand lines.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// So many that were put aside are kept: 80 MiB with the one that is written.
const MAX_OLD_FILES: usize = 4;

/// Lines a second of those whom nobody knows: whoever reaches the port could have all others put aside else.
const MAX_STRANGERS: u64 = 10;

/// Why the audit log cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("audit log {} cannot be written", path.display())]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

/// One request and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// Who asked, by name.
    pub(crate) principal: String,
    /// From where.
    pub(crate) address: String,
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// Apps and groups it was about, as far as the service framework came to know them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deployment: Option<String>,
    /// Of the answer.
    pub(crate) status: u16,
    /// So many others whom nobody knows were refused before, and not written down.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unlisted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct Written<'a> {
    time: String,
    #[serde(flatten)]
    line: &'a Line,
}

/// Those whom nobody knows, in one second.
#[derive(Debug, Default)]
struct Strangers {
    /// Since 1970.
    second: u64,
    listed: u64,
    unlisted: u64,
}

impl Strangers {
    /// How many were left out before this one, or `None` when it is left out.
    const fn count(&mut self, second: u64) -> Option<u64> {
        if self.second != second {
            (self.second, self.listed) = (second, 0);
        }
        if self.listed == MAX_STRANGERS {
            self.unlisted += 1;
            return None;
        }
        self.listed += 1;
        let unlisted = self.unlisted;
        self.unlisted = 0;
        Some(unlisted)
    }
}

/// Takes lines. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audit {
    path: Arc<Path>,
    strangers: Arc<Mutex<Strangers>>,
    lines: SyncSender<Option<Line>>,
    lost: Arc<AtomicU64>,
}

/// The thread that writes them.
#[derive(Debug)]
pub(crate) struct Writing {
    audit: Audit,
    thread: JoinHandle<()>,
}

impl Audit {
    /// Opens the file, to which is added, and begins.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn begin(path: &Path) -> Result<(Self, Writing), AuditError> {
        let failed = |source| AuditError {
            path: path.to_owned(),
            source,
        };
        let file = Log::open(path).map_err(failed)?;
        let (lines, waiting) = sync_channel(MAX_WAITING);
        let lost = Arc::<AtomicU64>::default();
        let losses = Arc::clone(&lost);
        let thread = thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || write_all(file, &waiting, &losses));
        let audit = Self {
            path: path.into(),
            strangers: Arc::default(),
            lines,
            lost,
        };
        let thread = thread.map_err(failed)?;
        let writing = Writing {
            audit: audit.clone(),
            thread,
        };
        Ok((audit, writing))
    }

    /// Writes a line down, soon; never waits.
    pub(crate) fn note(&self, line: Line) {
        if self.lines.try_send(Some(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same of somebody whom nobody knows: as many as are written down of those.
    pub(crate) fn note_stranger(&self, line: Line) {
        let second = clock::now().as_millis() / 1_000;
        let counted = {
            let strangers = self.strangers.lock();
            let mut strangers = strangers.unwrap_or_else(PoisonError::into_inner);
            strangers.count(second)
        };
        if let Some(unlisted) = counted {
            self.note(Line { unlisted, ..line });
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> Arc<Path> {
        Arc::clone(&self.path)
    }
}

impl Writing {
    /// Waits until all lines so far are written.
    pub(crate) fn end(self) {
        // Waits for room when there is none: the thread takes what is before it first.
        drop(self.audit.lines.send(None));
        drop(self.thread.join());
    }
}

fn write_all(mut log: Log, waiting: &Receiver<Option<Line>>, lost: &AtomicU64) {
    while let Ok(Some(line)) = waiting.recv() {
        let missing = lost.load(Ordering::Relaxed);
        let time = time::text(clock::now());
        let mut text = String::new();
        if missing > 0 {
            text = format!("{{\"time\":\"{time}\",\"lost\":{missing}}}\n");
        }
        let Ok(json) = serde_json::to_string(&Written { time, line: &line }) else {
            continue;
        };
        text.push_str(&json);
        text.push('\n');
        match log.write(&text) {
            Ok(()) if log.failing => {
                log.failing = false;
                info!(path = %log.path.display(), "audit log is written again");
            }
            Ok(()) => {}
            Err(error) => {
                lost.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut log.failing, true) {
                    error!(path = %log.path.display(), %error, "audit log cannot be written: lines are lost");
                }
                continue;
            }
        }
        lost.fetch_sub(missing, Ordering::Relaxed);
    }
}

/// The file that is written.
struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// The last line has no end.
    is_torn: bool,
    failing: bool,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            is_torn: false,
            failing: false,
        })
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + text.len() as u64 > MAX_FILE_BYTES {
            self.put_aside()?;
        }
        if self.is_torn {
            self.file.write_all(b"\n")?;
        }
        self.is_torn = true;
        self.file.write_all(text.as_bytes())?;
        self.is_torn = false;
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn put_aside(&mut self) -> io::Result<()> {
        for number in (1..MAX_OLD_FILES).rev() {
            let (from, to) = (old(&self.path, number), old(&self.path, number + 1));
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.path, old(&self.path, 1))?;
        self.file = open(&self.path)?;
        (self.bytes, self.is_torn) = (0, false);
        Ok(())
    }
}

/// Only its owner reads who does what.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

fn old(path: &Path, number: usize) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line {
        Line {
            principal: "shop".to_owned(),
            address: "127.0.0.1:9".to_owned(),
            method: "POST".to_owned(),
            path: path.to_owned(),
            ids: vec!["/shop/web".to_owned()],
            deployment: None,
            status: 201,
            unlisted: 0,
        }
    }

    #[test]
    fn of_strangers_some_a_second_are_listed_and_the_rest_is_counted() {
        let mut strangers = Strangers::default();

        let counted: Vec<_> = (0..12).map(|_| strangers.count(1)).collect();

        assert_eq!(counted[..10], [Some(0); 10]);
        assert_eq!(counted[10..], [None, None]);
        assert_eq!(strangers.count(2), Some(2));
        assert_eq!(strangers.count(2), Some(0));
    }

    #[test]
    fn lines_are_added_and_each_is_json() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        for at in ["/v2/apps", "/v2/\"x\"\n"] {
            let (audit, writing) = Audit::begin(&path).expect("a file");
            audit.note(line(at));
            writing.end();
        }

        let text = fs::read_to_string(&path).expect("read");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (&lines[0]["principal"], &lines[1]["path"]),
            (&"shop".into(), &"/v2/\"x\"\n".into())
        );
        assert!(
            lines[0]["time"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z'))
        );
    }

    #[test]
    fn a_file_that_is_full_is_put_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let mut log = Log::open(&path).expect("a file");

        for number in 0..=MAX_OLD_FILES + 1 {
            log.bytes = MAX_FILE_BYTES * u64::from(number > 0);
            log.write(&format!("{number}\n")).expect("written");
        }

        let read = |path: PathBuf| fs::read_to_string(path).expect("read");
        assert_eq!(read(path.clone()), "5\n");
        assert_eq!(
            (read(old(&path, 1)), read(old(&path, 4))),
            ("4\n".to_owned(), "1\n".to_owned())
        );
        assert!(!old(&path, 5).exists());
    }

    /// `/dev/full` is a disk without room.
    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let (audit, writing) = Audit::begin(Path::new("/dev/full")).expect("opened");
        for _ in 0..3 {
            audit.note(line("/v2/apps"));
        }

        let lost = Arc::clone(&audit.lost);
        writing.end();

        assert_eq!(lost.load(Ordering::Relaxed), 3);
    }
}
