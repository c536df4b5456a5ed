//! One stream of a task's output: from a pipe into a file of the sandbox, rotated by size.
//!
//! Invariants: no file grows beyond its limit, and there are never more files than allowed. The task
//! is never held up and never ended by its output: what cannot be written, because the disk is full
//! or the file cannot be made, is dropped and counted. The sandbox belongs to the task, so no link
//! it may have put in the place of a file is followed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mete_agent_core::task_dir::{OutputLimits, rotated};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, ftruncate, openat, renameat, unlinkat};
use rustix::io::{Errno, read, write};

/// A stream while its task runs.
pub(crate) struct Output {
    /// `None` once every writer has closed it.
    pipe: Option<OwnedFd>,
    sandbox: OwnedFd,
    name: &'static str,
    limits: OutputLimits,
    /// `None` while it cannot be made.
    file: Option<OwnedFd>,
    written_bytes: u64,
    dropped_bytes: u64,
}

/// What one turn of [`Output::pump`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// So many bytes were there.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// Nothing ever again.
    Closed,
}

impl Output {
    /// Opens the stream's file in the sandbox.
    pub(crate) fn open(
        sandbox: &OwnedFd,
        name: &'static str,
        limits: OutputLimits,
        pipe: OwnedFd,
    ) -> Result<Self, Errno> {
        let sandbox = rustix::io::fcntl_dupfd_cloexec(sandbox, 3)?;
        let limits = OutputLimits {
            max_bytes: limits.max_bytes.max(1),
            max_files: limits.max_files.max(1),
        };
        let mut output = Self {
            pipe: Some(pipe),
            sandbox,
            name,
            limits,
            file: None,
            written_bytes: 0,
            dropped_bytes: 0,
        };
        output.open_file()?;
        Ok(output)
    }

    /// The pipe to watch.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Bytes lost so far.
    pub(crate) const fn dropped_bytes(&self) -> u64 {
        self.dropped_bytes
    }

    /// Moves what the pipe holds, up to the size of `buffer`, into the file.
    pub(crate) fn pump(&mut self, buffer: &mut [u8]) -> Pumped {
        let Some(pipe) = &self.pipe else {
            return Pumped::Closed;
        };
        match read(pipe, &mut *buffer) {
            Ok(0) => {
                self.pipe = None;
                Pumped::Closed
            }
            Ok(count) => {
                self.keep(buffer.get(..count).unwrap_or_default());
                Pumped::Bytes(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Pumped::Nothing,
            Err(_) => {
                self.pipe = None;
                Pumped::Closed
            }
        }
    }

    /// Writes `bytes`, beginning new files where the limit falls, at the end of a line if there is one.
    fn keep(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.limits.max_bytes.saturating_sub(self.written_bytes))
                .unwrap_or(usize::MAX);
            if bytes.len() <= room {
                return self.write(bytes);
            }
            let (fits, rest) = bytes.split_at(room);
            let line_end = fits
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map(|at| at + 1);
            // A line that began in an earlier chunk is cut only if it does not fit a file by itself.
            let cut = line_end.unwrap_or(if self.written_bytes == 0 || rest.is_empty() {
                room
            } else {
                0
            });
            let (now, later) = bytes.split_at(cut);
            self.write(now);
            self.rotate();
            bytes = later;
        }
    }

    /// Appends to the file, or drops.
    fn write(&mut self, mut bytes: &[u8]) {
        if self.file.is_none() && self.open_file().is_err() {
            self.dropped_bytes += bytes.len() as u64;
            return;
        }
        while let Some(file) = self.file.as_ref().filter(|_| !bytes.is_empty()) {
            match write(file, bytes) {
                Ok(count) => {
                    self.written_bytes += count as u64;
                    bytes = bytes.get(count..).unwrap_or_default();
                }
                Err(Errno::INTR) => {}
                Err(_) => break,
            }
        }
        self.dropped_bytes += bytes.len() as u64;
    }

    /// Gives the full file the next name and begins a new one.
    fn rotate(&mut self) {
        let oldest = self.limits.max_files - 1;
        for generation in (1..oldest).rev() {
            let _ = self.rename(
                &rotated(self.name, generation),
                &rotated(self.name, generation + 1),
            );
        }
        let moved = oldest > 0 && self.rename(self.name, &rotated(self.name, 1)).is_ok();
        if moved {
            self.file = None;
            let _ = self.open_file();
        } else if let Some(file) = &self.file {
            // Better to lose the past than to fill the disk.
            let _ = ftruncate(file, 0);
            self.written_bytes = 0;
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Errno> {
        renameat(&self.sandbox, from, &self.sandbox, to)
    }

    /// Opens the current file, which must be a plain one; what is no file makes way.
    fn open_file(&mut self) -> Result<(), Errno> {
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
        let open = || -> Result<(OwnedFd, u64), Errno> {
            let file = openat(&self.sandbox, self.name, flags, mode)?;
            let stat = fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1 {
                return Err(Errno::LOOP);
            }
            Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
        };
        let opened = open().or_else(|errno| match errno {
            Errno::LOOP | Errno::NXIO | Errno::ISDIR => {
                unlinkat(&self.sandbox, self.name, AtFlags::empty())?;
                open()
            }
            other => Err(other),
        });
        self.written_bytes = 0;
        let (file, size) = opened?;
        self.file = Some(file);
        self.written_bytes = size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::fs;

    /// A stream over a fresh directory, and the end of the pipe to write into.
    fn stream(max_bytes: u64, max_files: u32) -> (tempfile::TempDir, Output, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let sandbox = rustix::fs::open(
            directory.path(),
            OFlags::DIRECTORY | OFlags::RDONLY,
            Mode::empty(),
        )
        .unwrap();
        let output = Output::open(
            &sandbox,
            "stdout",
            OutputLimits {
                max_bytes,
                max_files,
            },
            reader,
        )
        .unwrap();
        (directory, output, writer)
    }

    fn say(output: &mut Output, writer: &OwnedFd, text: &str) {
        write(writer, text.as_bytes()).unwrap();
        while let Pumped::Bytes(_) = output.pump(&mut [0; 32]) {}
    }

    #[test]
    fn files_are_cut_between_lines_and_the_oldest_goes() {
        let (directory, mut output, writer) = stream(10, 3);

        for line in [
            "one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n",
        ] {
            say(&mut output, &writer, line);
        }

        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(
            (read("stdout"), read("stdout.1"), read("stdout.2")),
            (
                "six\nseven\n".into(),
                "four\nfive\n".into(),
                "three\n".into()
            )
        );
        assert!(!directory.path().join("stdout.3").exists());
    }

    #[test]
    fn a_line_longer_than_a_file_is_cut() {
        let (directory, mut output, writer) = stream(10, 2);

        say(&mut output, &writer, "0123456789abcdefghij!");

        let read = |name| fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(
            (read("stdout"), read("stdout.1")),
            ("!".into(), "abcdefghij".into())
        );
    }

    #[test]
    fn one_file_begins_again() {
        let (directory, mut output, writer) = stream(4, 1);

        say(&mut output, &writer, "abcdef");

        assert_eq!(
            fs::read_to_string(directory.path().join("stdout")).unwrap(),
            "ef"
        );
    }

    #[test]
    fn a_link_in_the_place_of_the_next_file_is_not_followed() {
        let (directory, mut output, writer) = stream(4, 2);
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::remove_file(directory.path().join("stdout")).unwrap();
        std::os::unix::fs::symlink(outside.path(), directory.path().join("stdout")).unwrap();

        output.file = None;
        say(&mut output, &writer, "abc");

        assert_eq!(fs::read_to_string(outside.path()).unwrap(), "");
        assert_eq!(
            fs::read_to_string(directory.path().join("stdout")).unwrap(),
            "abc"
        );
    }

    #[test]
    fn output_that_cannot_be_written_is_counted() {
        let (_directory, mut output, writer) = stream(100, 2);
        output.file = Some(rustix::fs::open("/dev/full", OFlags::WRONLY, Mode::empty()).unwrap());

        say(&mut output, &writer, "lost");

        assert_eq!(output.dropped_bytes(), 4);
    }
}
