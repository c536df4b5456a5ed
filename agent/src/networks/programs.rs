//! `ip` and `nft`: found once, run with their orders on standard input, and not for ever.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{NAMESPACES, NetworkError};

/// Where programs of the administrator are, even when the agent's own `PATH` does not say so.
pub(super) const FOLDERS: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// They take milliseconds; plugins that ask others may take some seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Most bytes of an answer: a machine's routes.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Bytes of what a program says that go into an error.
const SAID_BYTES: usize = 500;

/// What networks are made with.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    ip: PathBuf,
    nft: PathBuf,
}

impl Programs {
    /// Looks for them.
    ///
    /// # Errors
    /// What is missing, for people.
    pub(super) fn find() -> Result<Self, String> {
        let found = |name: &str, package: &str| {
            let folders = std::env::split_paths(FOLDERS);
            let mut places = folders.map(|folder| folder.join(name));
            let place = places.find(|place| place.is_file());
            place.ok_or_else(|| format!("{name} is not installed (package {package})"))
        };
        let programs = Self {
            ip: found("ip", "iproute2")?,
            nft: found("nft", "nftables")?,
        };
        let tables = run(Command::new(&programs.nft).args(["list", "tables"]), b"");
        tables.map_err(|error| error.to_string())?;
        Ok(programs)
    }

    /// Carries out orders of `ip`, one a line, up to the first that fails.
    pub(super) fn ip(&self, orders: &str) -> Result<(), NetworkError> {
        run(
            Command::new(&self.ip).args(["-batch", "-"]),
            orders.as_bytes(),
        )
        .map(drop)
    }

    /// The same inside a namespace.
    pub(super) fn ip_in(&self, namespace: &str, orders: &str) -> Result<(), NetworkError> {
        let mut command = Command::new(&self.ip);
        command.args(["-netns", namespace, "-batch", "-"]);
        run(&mut command, orders.as_bytes()).map(drop)
    }

    /// What `ip` answers.
    pub(super) fn show(&self, question: &[&str]) -> Result<String, NetworkError> {
        let answer = run(Command::new(&self.ip).args(question), b"")?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Makes a namespace that is known by name.
    pub(super) fn add_namespace(&self, name: &str) -> Result<(), NetworkError> {
        run(Command::new(&self.ip).args(["netns", "add", name]), b"").map(drop)
    }

    /// Removes it; one that is not there is fine.
    pub(super) fn remove_namespace(&self, name: &str) -> Result<(), NetworkError> {
        match Path::new(NAMESPACES).join(name).exists() {
            true => run(Command::new(&self.ip).args(["netns", "del", name]), b"").map(drop),
            false => Ok(()),
        }
    }

    /// The name of a table, if it is there.
    pub(super) fn table(&self, name: &str) -> Option<String> {
        let listed = run(
            Command::new(&self.nft).args(["list", "table", "ip", name]),
            b"",
        );
        listed.ok().map(|_| name.to_owned())
    }

    /// Carries out orders of `nft`: all of them or none.
    pub(super) fn nft(&self, orders: &str) -> Result<(), NetworkError> {
        run(Command::new(&self.nft).args(["-f", "-"]), orders.as_bytes()).map(drop)
    }
}

/// Runs a program to its end; returns what it wrote to standard output. Blocks.
pub(super) fn run(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, NetworkError> {
    let failed = |command: &Command, said: String| NetworkError::Program {
        program: title(command),
        said,
    };
    let (status, answer, said) =
        finish(command, input).map_err(|error| failed(command, error.to_string()))?;
    if status.success() {
        return Ok(answer);
    }
    // Plugins of CNI say on standard output what is wrong.
    let words = if said.is_empty() { &answer } else { &said };
    let words = String::from_utf8_lossy(words.get(..SAID_BYTES).unwrap_or(words));
    Err(failed(command, format!("{status}: {}", words.trim())))
}

/// The program and its first words, for an error.
fn title(command: &Command) -> String {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words = [name].into_iter().chain(command.get_args().take(3));
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

fn finish(command: &mut Command, input: &[u8]) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    // Files in memory: no program waits for somebody to read or write.
    let (mut answer, mut said) = (memory()?, memory()?);
    let mut orders = memory()?;
    orders.write_all(input)?;
    orders.rewind()?;
    let child = command
        .stdin(orders)
        .stdout(answer.try_clone()?)
        .stderr(said.try_clone()?)
        .spawn()?;
    let status = wait(child)?;
    let read = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    Ok((status, read(&mut answer)?, read(&mut said)?))
}

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("mete", MemfdFlags::CLOEXEC)?))
}

fn wait(mut child: Child) -> io::Result<ExitStatus> {
    let ended = crate::shims::pidfd_of(&child).and_then(|pidfd| {
        let time = Timespec {
            tv_sec: PATIENCE.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        let count = poll(
            &mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)],
            Some(&time),
        )?;
        Ok(count > 0)
    });
    if !matches!(ended, Ok(true)) {
        let _ = child.kill();
        child.wait()?;
        ended?;
        let text = format!("it has not ended within {} s", PATIENCE.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    }
    child.wait()
}
