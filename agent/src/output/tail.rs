//! One stream of a task over its files: `stdout.1` is the file before `stdout`. The shim gives a full file the next name
//! and begins a new one, oldest first, so a file only ever moves to higher numbers until it is removed.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};

use bytes::Bytes;
use mete_agent_core::task_dir::rotated;
use rustix::fs::{AtFlags, StatxFlags, statx};

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

/// A byte of a file of a stream, whatever its name is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// What its file system knows it by.
    pub(crate) inode: u64,
    /// When it was made, in ns since 1970, where the file system knows: numbers of removed files are used again.
    pub(crate) made_ns: Option<i64>,
    /// Bytes before this one.
    pub(crate) offset: u64,
}

/// Where a stream begins to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// With the oldest file that is kept.
    Oldest,
    /// So many bytes before the end of the current file.
    BeforeEnd(u64),
    /// Where it was told before.
    At(Place),
}

/// One stream.
pub(super) struct Tail {
    name: &'static str,
    begin: Begin,
    /// The file that it was to go on in is there no more, and nobody has been told yet.
    lost: bool,
    /// Bytes that are still to be told; `None`: without end.
    left: Option<u64>,
    once: bool,
    current: Option<Current>,
}

struct Current {
    file: File,
    identity: Identity,
    made_ns: Option<i64>,
    offset: u64,
}

impl Current {
    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }
}

impl Tail {
    pub(super) const fn new(name: &'static str, begin: Begin, once: bool) -> Self {
        Self {
            name,
            begin,
            lost: false,
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

    /// How far it is told; `None`: no file has been there.
    pub(super) fn place(&self) -> Option<Place> {
        let current = self.current.as_ref()?;
        Some(Place {
            inode: current.identity.1,
            made_ns: current.made_ns,
            offset: current.offset,
        })
    }

    /// Looks once. Blocks.
    pub(super) fn step(&mut self, sandbox: &Sandbox) -> Step {
        if self.current.is_none() {
            self.begin(sandbox);
        }
        if std::mem::take(&mut self.lost) {
            return Step::Gap;
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
        let made_ns = made_ns(&file);
        Some(Current {
            file,
            identity: (found.dev(), found.ino()),
            made_ns,
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
        // A file that comes later is told whole.
        match std::mem::replace(&mut self.begin, Begin::Oldest) {
            Begin::Oldest => self.begin_with_oldest(sandbox),
            Begin::BeforeEnd(bytes) => {
                self.current = self.open(sandbox, 0).map(|mut current| {
                    current.offset = current.size().saturating_sub(bytes);
                    current
                });
                if let (true, Some(current)) = (self.once, &self.current) {
                    self.left = Some(current.size() - current.offset);
                }
            }
            Begin::At(place) => self.begin_at(place, sandbox),
        }
    }

    fn begin_with_oldest(&mut self, sandbox: &Sandbox) {
        if self.once {
            self.left = Some(self.kept_bytes(MAX_GENERATIONS, sandbox));
        }
        self.current = self.oldest(sandbox);
    }

    fn begin_at(&mut self, place: Place, sandbox: &Sandbox) {
        // Upwards, as files move: it cannot slip by.
        let mut files = (0..=MAX_GENERATIONS).filter_map(|at| Some((at, self.open(sandbox, at)?)));
        let is_it = |(_, file): &(u32, Current)| {
            file.identity.1 == place.inode && file.made_ns == place.made_ns
        };
        let Some((at, mut current)) = files.find(is_it) else {
            self.lost = true;
            return self.begin_with_oldest(sandbox);
        };
        if self.once {
            let kept = self.kept_bytes(at, sandbox);
            self.left = Some(kept.saturating_sub(place.offset));
        }
        current.offset = place.offset;
        self.current = Some(current);
    }

    /// Bytes of all files up to a generation.
    fn kept_bytes(&self, oldest: u32, sandbox: &Sandbox) -> u64 {
        let files = (0..=oldest).map_while(|at| self.open(sandbox, at));
        files.map(|file| file.size()).fold(0, u64::saturating_add)
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
        if current.size() < current.offset {
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

/// When a file was made, where its file system knows.
fn made_ns(file: &File) -> Option<i64> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    let is_known = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    let made = is_known.then_some(found.stx_btime)?;
    let seconds = made.tv_sec.checked_mul(1_000_000_000)?;
    seconds.checked_add(made.tv_nsec.into())
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
        let mut tail = Tail::new("stdout", Begin::Oldest, false);

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
        let mut tail = Tail::new("stdout", Begin::Oldest, false);
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
        let mut tail = Tail::new("stdout", Begin::Oldest, false);
        assert_eq!(told(&mut tail, place), "abc");

        fs::write(place.join("stdout"), "d").expect("written");

        assert_eq!(told(&mut tail, place), "|d");
    }

    #[test]
    fn a_tail_begins_before_the_end_and_ends_there_when_it_is_told_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        append(place, "abcdef");
        let mut now = Tail::new("stdout", Begin::BeforeEnd(0), false);
        let mut once = Tail::new("stdout", Begin::BeforeEnd(2), true);
        let mut whole = Tail::new("stdout", Begin::Oldest, true);
        let sandbox = Sandbox::open(place).expect("opens");
        for tail in [&mut now, &mut once, &mut whole] {
            tail.begin(&sandbox);
        }

        append(place, "gh");

        let all = [&mut now, &mut once, &mut whole].map(|tail| told(tail, place));
        assert_eq!(all, ["gh", "ef", "abcdef"]);
    }

    #[test]
    fn another_goes_on_where_one_was_cut_off() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        append(place, "abc");
        let mut tail = Tail::new("stdout", Begin::Oldest, false);
        assert_eq!(told(&mut tail, place), "abc");
        let at = tail.place().expect("a file");
        let again = |once| told(&mut Tail::new("stdout", Begin::At(at), once), place);

        assert_eq!([again(false), again(true)], ["", ""], "nothing is new");
        append(place, "d");
        rotate(place);
        append(place, "e");
        rotate(place);
        append(place, "f");
        assert_eq!([again(false), again(true)], ["def", "def"]);

        rotate(place);
        append(place, "g");
        assert_eq!(
            again(false),
            "|efg",
            "the file is gone, those after it are not"
        );
    }

    #[test]
    fn a_file_with_the_number_of_a_removed_one_is_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        append(place, "abc");
        let mut tail = Tail::new("stdout", Begin::BeforeEnd(0), false);
        let sandbox = Sandbox::open(place).expect("opens");
        tail.begin(&sandbox);
        let mut at = tail.place().expect("a file");
        at.made_ns = at.made_ns.map(|made| made - 1);
        if at.made_ns.is_none() {
            return; // This file system does not know.
        }

        let mut again = Tail::new("stdout", Begin::At(at), false);

        assert_eq!(told(&mut again, place), "|abc");
    }
}
