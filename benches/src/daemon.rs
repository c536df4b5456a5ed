//! A daemon of Mete as a process that is measured.
//!
//! Invariant: when a [`Daemon`] is dropped, its process has ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::process::{end, signal};

/// Bytes of the log that go into an error.
const LOG_TAIL_BYTES: usize = 3_000;

/// A process that may be started again and again; all of its lives write one log.
#[derive(Debug)]
pub struct Daemon {
    mete: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// One that is not started yet: the binary, what it is told, and where its log goes.
    #[must_use]
    pub fn new(mete: &Path, arguments: Vec<String>, log: PathBuf) -> Self {
        Self {
            mete: mete.to_owned(),
            arguments,
            log,
            child: None,
        }
    }

    /// Starts the process.
    ///
    /// # Errors
    /// When the binary or the log cannot be had.
    pub fn start(&mut self) -> Result<()> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let child = Command::new(&self.mete)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        let child = child.with_context(|| format!("cannot start {}", self.mete.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Its process.
    ///
    /// # Errors
    /// When there is none.
    pub fn pid(&self) -> Result<u32> {
        Ok(self
            .child
            .as_ref()
            .context("the daemon is not started")?
            .id())
    }

    /// Ends it as an operator does.
    ///
    /// # Errors
    /// When there is none, or it takes longer than a daemon may take.
    pub fn end(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon is not started")?;
        ensure!(end(&mut child), "the daemon has not ended in time");
        Ok(())
    }

    /// Kills it as a fault would.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the daemon is not started")?;
        signal(child.id(), Signal::KILL);
        child.wait()?;
        Ok(())
    }

    /// The end of what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let tail = &text[text.len().saturating_sub(LOG_TAIL_BYTES)..];
        String::from_utf8_lossy(tail).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            end(&mut child);
        }
    }
}
