//! The shim's side of the task directory: launch.json in, pid and exit.json out.
//!
//! Invariants: pid is created at most once in the life of a directory (by `link`, which refuses to
//! replace). The blocks of exit.json are taken before the task starts, so that a full disk cannot
//! keep its end from being written down.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use mete_agent_core::task_dir::{
    BadTaskFile, EXIT_FILE, End, Exit, FORMAT_VERSION, MAX_FILE_BYTES, PID_FILE, PidFile, ProcStat,
    Process, Runner, SHIM_LOG_FILE, TaskFile,
};
use rustix::fs::{
    AtFlags, FallocateFlags, Mode, OFlags, fallocate, fsync, ftruncate, linkat, openat, renameat,
    unlinkat,
};
use rustix::io::{Errno, pwrite, read, write};
use rustix::process::Pid;

/// Where exit.json waits until it is complete.
const EXIT_SLOT: &str = "exit.json.new";

/// Where pid is written before it gets its name.
const PID_SLOT: &str = "pid.new";

/// Blocks taken for exit.json: one page, several times what it holds.
const EXIT_SLOT_BYTES: u64 = 4_096;

/// Why the shim cannot work with its directory.
#[derive(Debug)]
pub(crate) enum Error {
    /// The system refused something.
    System { what: &'static str, errno: Errno },
    /// A file is not what it should be.
    Malformed(BadTaskFile),
    /// Somebody else runs this directory, or has given it up.
    Taken,
    /// The process that was to claim it has ended before.
    Unclaimed {
        /// How, if anybody knows.
        end: Option<End>,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System { what, errno } => write!(f, "{what}: {errno}"),
            Self::Malformed(bad) => match std::error::Error::source(bad) {
                Some(cause) => write!(f, "{bad}: {cause}"),
                None => write!(f, "{bad}"),
            },
            Self::Taken => f.write_str(
                "the directory was claimed before; its task is not started a second time",
            ),
            Self::Unclaimed { end } => {
                f.write_str("the task's process has ended before it had claimed the directory")?;
                let how = end.clone().map(|end| Exit::new(end, 0).sentence());
                how.map_or(Ok(()), |how| write!(f, ": {how}"))
            }
        }
    }
}

/// Names what was tried when the system refuses it.
fn doing(what: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::System { what, errno }
}

/// An open task directory. Held open, so that it may be moved.
pub(crate) struct Directory(OwnedFd);

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map(Self)
            .map_err(doing("opening the task directory"))
    }

    /// Reads and decodes one file.
    pub(crate) fn read<F: TaskFile>(&self) -> Result<F, Error> {
        let file = openat(
            &self.0,
            F::NAME,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let file = file.map_err(doing(F::NAME))?;
        let bytes = read_all(&file).map_err(doing(F::NAME))?;
        F::decode(&bytes).map_err(Error::Malformed)
    }

    /// Makes room for exit.json.
    pub(crate) fn reserve_exit(&self) -> Result<ExitSlot<'_>, Error> {
        // A claimed directory is refused before its slot is touched: another shim may hold it.
        if openat(
            &self.0,
            PID_FILE,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .is_ok()
        {
            return Err(Error::Taken);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = openat(&self.0, EXIT_SLOT, flags, Mode::RUSR | Mode::WUSR);
        let file = file.map_err(doing("making room for exit.json"))?;
        match fallocate(&file, FallocateFlags::empty(), 0, EXIT_SLOT_BYTES) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(ExitSlot {
                directory: self,
                file,
            }),
            Err(errno) => Err(Error::System {
                what: "making room for exit.json",
                errno,
            }),
        }
    }

    /// Writes pid; [`Error::Taken`] when somebody was faster.
    pub(crate) fn claim(&self, shim: Pid, task: Pid) -> Result<(), Error> {
        let identity = |pid| identity(pid).map_err(doing("reading the start time of a process"));
        let runner = Runner {
            shim: identity(shim)?,
            task: identity(task)?,
        };
        let pid = PidFile {
            version: FORMAT_VERSION,
            boot_id: boot_id().map_err(doing("reading the boot id"))?.to_owned(),
            runner: Some(runner),
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = openat(&self.0, PID_SLOT, flags, Mode::RUSR | Mode::WUSR)
            .map_err(doing("writing pid"))?;
        write_all(&file, &pid.encode()).map_err(doing("writing pid"))?;
        let linked = linkat(&self.0, PID_SLOT, &self.0, PID_FILE, AtFlags::empty());
        let _ = unlinkat(&self.0, PID_SLOT, AtFlags::empty());
        match linked {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(Error::Taken),
            Err(errno) => Err(Error::System {
                what: "writing pid",
                errno,
            }),
        }
    }
}

/// Appends to shim.log. What cannot be written is lost: there is nobody else to tell.
pub(crate) fn log(directory: &Path, text: &[u8]) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
    let path = directory.join(SHIM_LOG_FILE);
    if let Ok(file) = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        let _ = write_all(&file, text);
    }
}

/// Room on the disk for exit.json, taken before the task starts.
pub(crate) struct ExitSlot<'a> {
    directory: &'a Directory,
    file: OwnedFd,
}

impl ExitSlot<'_> {
    /// Writes exit.json and makes it appear, whole. The bytes are on the disk before the name is;
    /// the name itself may be lost with the power, and then the boot id tells what happened.
    pub(crate) fn write(self, exit: &Exit) -> Result<(), Error> {
        let bytes = exit.encode();
        let mut done = 0;
        while done < bytes.len() {
            let rest = bytes.get(done..).unwrap_or_default();
            done += pwrite(&self.file, rest, done as u64).map_err(doing("writing exit.json"))?;
        }
        ftruncate(&self.file, bytes.len() as u64).map_err(doing("writing exit.json"))?;
        fsync(&self.file).map_err(doing("writing exit.json"))?;
        renameat(&self.directory.0, EXIT_SLOT, &self.directory.0, EXIT_FILE)
            .map_err(doing("naming exit.json"))
    }
}

/// Names this boot of the machine. Read once: shims that are copies of one have it already.
pub(crate) fn boot_id() -> Result<&'static str, Errno> {
    static READ: OnceLock<String> = OnceLock::new();
    if let Some(known) = READ.get() {
        return Ok(known);
    }
    let text = read_text("/proc/sys/kernel/random/boot_id")?;
    Ok(READ.get_or_init(|| text.trim().to_owned()))
}

/// A process by pid and start time.
pub(crate) fn identity(pid: Pid) -> Result<Process, Errno> {
    let text = read_text(&format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
    ProcStat::parse(&text)
        .map(|stat| stat.process)
        .ok_or(Errno::IO)
}

/// The whole text of a small file of `/proc` or `/sys`; empty when it is not text.
pub(crate) fn read_text(path: &str) -> Result<String, Errno> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(String::from_utf8(read_all(&file)?).unwrap_or_default())
}

/// All bytes of a file, up to the largest that a task directory may hold.
fn read_all(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let count = read(file, &mut buffer)?;
        if count == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(Errno::FBIG);
        }
    }
}

/// Writes all of `bytes`.
fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = write(file, bytes)?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}
