//! One stream of a task over its files: `stdout.1` is the file before `stdout`. The shim gives a full file the next name
//! and begins a new one, oldest first, so a file only ever moves to higher numbers until it is removed.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use bytes::Bytes;
use mete_agent_core::task_dir::rotated;

use crate::sandbox::{MAX_READ_BYTES, Sandbox};

/// Files of one stream that are looked at; an operator may keep more, and then older ones are not told.
const MAX_GENERATIONS: u32 = 64;

/// What one look found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Some bytes; there may be more.
    Data(Bytes),
    /// Something may be missing here.
    Gap,
    /// Nothing now.
    Nothing,
}

/// One file, known by more than its name.
type Identity = (u64, u64);

/// One stream.
pub(super) struct Tail {
    name: &'static str,
    tail_bytes: Option<u64>,
    /// Bytes that are still to be told; `None`: without end.
    left: Option<u64>,
    once: bool,
    current: Option<Current>,
}

struct Current {
    file: File,
    identity: Identity,
    offset: u64,
}

impl Tail {
    pub(super) const fn new(name: &'static str, tail_bytes: Option<u64>, once: bool) -> Self {
        Self {
            name,
            tail_bytes,
            left: None,
            once,
            current: None,
        }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// The file that is read now.
    pub(super) fn current(&self) -> Option<&File> {
        self.current.as_ref().map(|current| &current.file)
    }

    /// Looks once. Blocks.
    pub(super) fn step(&mut self, sandbox: &Sandbox) -> Step {
        if self.current.is_none() {
            self.begin(sandbox);
        }
        if self.left == Some(0) {
            return Step::Nothing;
        }
        match self.read() {
            Step::Nothing => self.move_on(sandbox),
            found @ (Step::Data(_) | Step::Gap) => found,
        }
    }

    /// The file of a generation; 0 is the current one.
    fn open(&self, sandbox: &Sandbox, generation: u32) -> Option<Current> {
        let name = match generation {
            0 => self.name.to_owned(),
            older => rotated(self.name, older),
        };
        let file = sandbox.open_file(&name).ok()?;
        let found = file.metadata().ok()?;
        Some(Current {
            file,
            identity: (found.dev(), found.ino()),
            offset: 0,
        })
    }

    /// The oldest file there is. While files are being renamed one name may be free.
    fn oldest(&self, sandbox: &Sandbox) -> Option<Current> {
        let mut oldest = self.open(sandbox, 0);
        let mut missing = 0;
        for generation in 1..=MAX_GENERATIONS {
            match self.open(sandbox, generation) {
                Some(older) => oldest = Some(older),
                None if missing > 0 => break,
                None => missing += 1,
            }
        }
        oldest
    }

    /// Finds its beginning. Blocks.
    pub(super) fn begin(&mut self, sandbox: &Sandbox) {
        let size = |current: &Current| current.file.metadata().map_or(0, |found| found.len());
        match self.tail_bytes {
            None => {
                if self.once {
                    let files = (0..=MAX_GENERATIONS).map_while(|at| self.open(sandbox, at));
                    self.left = Some(files.map(|file| size(&file)).fold(0, u64::saturating_add));
                }
                self.current = self.oldest(sandbox);
            }
            Some(bytes) => {
                self.current = self.open(sandbox, 0).map(|mut current| {
                    current.offset = size(&current).saturating_sub(bytes);
                    current
                });
                if let (true, Some(current)) = (self.once, &self.current) {
                    self.left = Some(size(current) - current.offset);
                }
                // A file that comes later is told whole.
                self.tail_bytes = None;
            }
        }
    }

    fn read(&mut self) -> Step {
        let Some(current) = &mut self.current else {
            return Step::Nothing;
        };
        let most = self.left.map_or(MAX_READ_BYTES, |left| {
            usize::try_from(left).map_or(MAX_READ_BYTES, |left| left.min(MAX_READ_BYTES))
        });
        let mut data = vec![0; most];
        let count = match current.file.read_at(&mut data, current.offset) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return self.read(),
            Err(_) => 0,
        };
        if count > 0 {
            data.truncate(count);
            current.offset += count as u64;
            self.left = self.left.map(|left| left.saturating_sub(count as u64));
            return Step::Data(data.into());
        }
        let size = current.file.metadata().map_or(0, |found| found.len());
        if size < current.offset {
            // The only file of a stream begins again when it is full.
            current.offset = 0;
            return Step::Gap;
        }
        Step::Nothing
    }

    /// At the end of a file: the next one, if there is one and this one is complete.
    fn move_on(&mut self, sandbox: &Sandbox) -> Step {
        let Some(current) = &self.current else {
            return Step::Nothing;
        };
        let identity = current.identity;
        let is_ours = |at: u32| {
            let found = self.open(sandbox, at);
            found.is_some_and(|found| found.identity == identity)
        };
        // Upwards, as files move: it cannot slip by.
        let place = (0..=MAX_GENERATIONS).find(|at| is_ours(*at));
        let next = match place {
            Some(0) => return Step::Nothing,
            Some(at) => {
                let next = self.open(sandbox, at - 1);
                // Had a file been moved meanwhile, this might not be the next one; the next look will tell.
                next.filter(|_| is_ours(at))
            }
            None => self.oldest(sandbox),
        };
        // It has another name now, so nobody writes to it any more; but somebody may have before that.
        match self.read() {
            Step::Nothing => {}
            found @ (Step::Data(_) | Step::Gap) => return found,
        }
        let Some(next) = next else {
            return Step::Nothing;
        };
        self.current = Some(next);
        match place {
            Some(_) => self.step(sandbox),
            None => Step::Gap,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// All that a tail tells now; `|` is a gap.
    fn told(tail: &mut Tail, place: &Path) -> String {
        let sandbox = Sandbox::open(place).expect("opens");
        let mut all = String::new();
        loop {
            match tail.step(&sandbox) {
                Step::Data(data) => all.push_str(&String::from_utf8_lossy(&data)),
                Step::Gap => all.push('|'),
                Step::Nothing => return all,
            }
        }
    }

    /// As the shim does it, with three files at most.
    fn rotate(place: &Path) {
        let _ = fs::rename(place.join("stdout.1"), place.join("stdout.2"));
        fs::rename(place.join("stdout"), place.join("stdout.1")).expect("renamed");
        fs::write(place.join("stdout"), "").expect("written");
    }

    fn append(place: &Path, text: &str) {
        use std::io::Write;
        let mut options = fs::OpenOptions::new();
        let options = options.append(true).create(true);
        let mut file = options.open(place.join("stdout")).expect("opens");
        file.write_all(text.as_bytes()).expect("written");
    }

    #[test]
    fn a_stream_is_told_once_over_its_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        append(place, "a");
        rotate(place);
        append(place, "b");
        let mut tail = Tail::new("stdout", None, false);

        assert_eq!(told(&mut tail, place), "ab");
        append(place, "c");
        rotate(place);
        append(place, "d");
        assert_eq!(told(&mut tail, place), "cd");
        append(place, "e");
        rotate(place);
        append(place, "f");
        rotate(place);
        assert_eq!(told(&mut tail, place), "ef");
        assert_eq!(told(&mut tail, place), "");
    }

    #[test]
    fn what_was_removed_before_it_was_read_is_a_gap() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        append(place, "a");
        let mut tail = Tail::new("stdout", None, false);
        assert_eq!(told(&mut tail, place), "a");

        for text in ["b", "c", "d", "e"] {
            append(place, text);
            rotate(place);
        }

        assert_eq!(
            told(&mut tail, place),
            "b|de",
            "the file itself is still held"
        );
    }

    #[test]
    fn a_file_that_begins_again_is_a_gap() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        append(place, "abc");
        let mut tail = Tail::new("stdout", None, false);
        assert_eq!(told(&mut tail, place), "abc");

        fs::write(place.join("stdout"), "d").expect("written");

        assert_eq!(told(&mut tail, place), "|d");
    }

    #[test]
    fn a_tail_begins_before_the_end_and_ends_there_when_it_is_told_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        append(place, "abcdef");
        let mut now = Tail::new("stdout", Some(0), false);
        let mut once = Tail::new("stdout", Some(2), true);
        let mut whole = Tail::new("stdout", None, true);
        let sandbox = Sandbox::open(place).expect("opens");
        for tail in [&mut now, &mut once, &mut whole] {
            tail.begin(&sandbox);
        }

        append(place, "gh");

        let all = [&mut now, &mut once, &mut whole].map(|tail| told(tail, place));
        assert_eq!(all, ["gh", "ef", "abcdef"]);
    }
}
