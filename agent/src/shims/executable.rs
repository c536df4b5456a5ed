//! The program that is a shim: a copy in memory that nobody can change.
//!
//! ```text
//! file on disk ─▶ copy in memory ─▶ sealed: no writing, no growing, no shrinking ─▶ opened again, for reading
//! ```
//! Invariants: whatever becomes of the file while the agent runs, its shims stay of the agent's own version; a task that
//! gets hold of its shim's program, by `/proc/<pid>/exe` for one, cannot write to it. All shims share the pages of the
//! one copy, which lasts as long as the agent or the last of its shims.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};

use mete_agent_core::task_dir::IdRange;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use tracing::warn;

use super::COMPLAINT_BYTES;
use super::fork_server::ForkServer;
use crate::containerizer::image_root::ImageRoot;

/// What the copy is called where a link to it is shown, as in `/proc/<pid>/exe`.
const NAME: &str = "mete-shim";

/// The program that is a shim, ready to be executed.
#[derive(Debug)]
pub struct Executable {
    file: OwnedFd,
    arguments: Vec<String>,
    forks: ForkServer,
}

impl Executable {
    /// The running program itself, as `mete shim …`.
    ///
    /// # Errors
    /// As [`at`](Self::at).
    pub fn of_this_process() -> io::Result<Self> {
        Self::at(Path::new("/proc/self/exe"), &["shim"])
    }

    /// Another program; `arguments` come before those of the shim. Blocks while the program is read.
    ///
    /// On a machine that allows no programs in memory (`vm.memfd_noexec=2`), or has none of the memory, the file itself
    /// is held open instead, with a warning: it may be replaced then, but not written to while a shim runs from it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn at(path: &Path, arguments: &[&str]) -> io::Result<Self> {
        let source = File::open(path)?;
        match sealed(&source) {
            Ok(file) => Ok(Self::of(file, arguments)),
            Err(error) => {
                warn!(program = %path.display(), %error, "no sealed copy of the shim's program; the file on disk must not be written to");
                Self::on_disk(path, arguments)
            }
        }
    }

    /// Another program, run from its file: what [`at`](Self::at) falls back to.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn on_disk(path: &Path, arguments: &[&str]) -> io::Result<Self> {
        Ok(Self::of(held(path)?, arguments))
    }

    fn of(file: OwnedFd, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        Self {
            file,
            arguments,
            forks: ForkServer::default(),
        }
    }

    /// Shims and all that they run have this soft limit of open files, whatever the agent has; `None`: the agent's.
    #[must_use]
    pub fn with_descriptors(mut self, soft: Option<u64>) -> Self {
        let said = soft.map(|soft| ["--descriptors".to_owned(), soft.to_string()]);
        self.arguments.extend(said.into_iter().flatten());
        self
    }

    /// Whether containers can be built, in an empty directory, with roots of that kind, and with
    /// users that are others outside if there are any.
    ///
    /// # Errors
    /// Why not, in the shim's words. Blocks for some milliseconds.
    pub(crate) fn try_container(
        &self,
        place: &Path,
        root: ImageRoot,
        users: Option<IdRange>,
    ) -> Result<(), String> {
        let what = match root {
            ImageRoot::Overlay => "--probe",
            ImageRoot::Copy => "--probe-copy",
        };
        let users = users.map(|range| range.to_string());
        self.help(what, place, users.as_deref())
    }

    fn help(&self, what: &str, place: &Path, more: Option<&str>) -> Result<(), String> {
        let mut trial = self.command();
        trial.arg(what).arg(place).args(more).stdout(Stdio::null());
        let output = trial.output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(match said.trim() {
            "" => format!("the shim ended with {}", output.status),
            said => said.chars().take(COMPLAINT_BYTES).collect(),
        })
    }

    /// Makes a network with a loopback and nothing else, and mounts it on a file.
    ///
    /// # Errors
    /// Why not, in the shim's words. Blocks for some milliseconds.
    pub(crate) fn make_network(&self, file: &Path) -> Result<(), String> {
        self.help("--network", file, None)
    }

    /// Begins what shims come from, so that the first launch need not. Blocks for some milliseconds.
    pub(crate) fn prepare_shims(&self) {
        if let Err(error) = self.forks.begin(|| self.command()) {
            warn!(%error, "shims cannot be prepared; the first launch tries again");
        }
    }

    /// A new shim for a task directory; its pidfd. Blocks for a moment.
    ///
    /// # Errors
    /// When there can be none.
    pub(super) fn shim(&self, dir: &Path, words: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        self.forks.shim(|| self.command(), dir, words)
    }

    /// A command that runs it with nothing of the agent's environment.
    pub(crate) fn command(&self) -> Command {
        // The child still has the descriptor when it looks up this path; exec closes it.
        let mut command = Command::new(path_of(&self.file));
        command
            .args(&self.arguments)
            .env_clear()
            .stdin(Stdio::null())
            .current_dir("/");
        command
    }
}

/// Where this process finds what it has open.
fn path_of(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// A copy in memory, complete and sealed.
fn sealed(mut source: &File) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 do not know the flag, and let every copy be executed.
        Err(Errno::INVAL) => memfd_create(NAME, flags),
        made => made,
    };
    let mut copy = File::from(memory?);
    let size = source.metadata()?.len();
    let copied = io::copy(&mut source, &mut copy)?;
    if copied != size {
        let text = format!("{copied} bytes of {size} were read");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(copy.as_fd(), seals)?;
    // What may write is closed: a program that somebody could write to is not executed.
    let readable = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path_of(&copy), readable, Mode::empty())?;
    Ok(file)
}

/// The file itself, held open so that it may be replaced.
fn held(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that says `before`.
    fn program(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("program");
        fs::write(&path, "#!/bin/sh\necho before\n").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("is mine");
        path
    }

    fn said(executable: &Executable) -> String {
        let output = executable.command().output().expect("runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn what_is_written_over_the_file_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = program(dir.path());
        let copied = fs::copy("/bin/echo", &path).expect("a program");
        let executable = Executable::at(&path, &["before"]).expect("can be read");

        fs::write(&path, vec![0; usize::try_from(copied).expect("fits")]).expect("is mine");

        assert_eq!(said(&executable), "before\n");
    }

    #[test]
    fn nobody_can_write_to_the_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let executable = Executable::at(&program(dir.path()), &[]).expect("can be read");

        // Root may open anything for writing.
        let opened = fs::OpenOptions::new()
            .write(true)
            .open(path_of(&executable.file));
        let written = opened.and_then(|mut file| file.write_all(b"#!/bin/sh\necho after\n"));

        let refused = written.expect_err("it is sealed");
        assert_eq!(
            refused.raw_os_error(),
            Some(Errno::PERM.raw_os_error()),
            "{refused}"
        );
    }

    #[test]
    fn a_program_on_disk_stays_itself_when_its_file_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("program");
        fs::copy("/bin/echo", &path).expect("a program");
        let executable = Executable::on_disk(&path, &["before"]).expect("can be opened");

        let other = dir.path().join("other");
        fs::copy("/bin/false", &other).expect("a program");
        fs::rename(&other, &path).expect("is mine");

        assert_eq!(said(&executable), "before\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let missing = Executable::at(Path::new("/no/such/program"), &[]);

        assert_eq!(
            missing.map(|_| ()).map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound)
        );
    }
}
