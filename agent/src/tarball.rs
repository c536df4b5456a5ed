//! Reads a tar archive entry by entry, with a bound on everything that it makes us remember.
//!
//! Ustar, GNU (long names, large numbers) and pax. Sparse files and archives over several volumes are refused by name:
//! they are rare, and half understood they would be wrong. Names are bytes, as Linux has them.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use tar::Header;

/// Bytes of a block.
const BLOCK: u64 = 512;
/// The longest name or link: what the kernel takes for a path (`PATH_MAX`).
const MAX_PATH_BYTES: u64 = 4096;
/// The largest set of pax records of one entry: all extended attributes that a file may have fit many times.
const MAX_PAX_BYTES: u64 = 1 << 20;
/// The largest size that is believed; beyond, sums of sizes could overflow.
const MAX_SIZE: u64 = 1 << 50;
/// Said of an entry whose name or link passes its bound.
const LONG_NAME: &str = "its name or link is longer than 4095 bytes";
/// Said of an entry whose pax records pass theirs.
const LONG_RECORDS: &str = "the records before it are too long";
/// Before an attribute's name in pax records.
const XATTR: &[u8] = b"SCHILY.xattr.";

/// Why an archive does not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// An entry breaks the format, or a bound.
    #[error("{entry:?}: {why}")]
    Bad {
        /// Its name, as far as it is known.
        entry: String,
        /// What is wrong.
        why: &'static str,
    },
    /// What it is read from fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and what it says.
    Symlink(PathBuf),
    /// A further name of the file with this path.
    HardLink(PathBuf),
    /// A pipe.
    Fifo,
    /// A device node.
    Device,
}

/// What stands before the content of an entry.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since the epoch, and nanoseconds.
    pub(crate) modified: (i64, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What pax records say of the next entry.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    modified: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive that is being read.
pub(crate) struct Archive<R> {
    reader: R,
    /// Bytes read so far: where in the archive we are.
    at: u64,
    /// What is left of the current entry's content.
    left: u64,
    /// Filling behind it.
    padding: u64,
}

impl<R: Read> Archive<R> {
    /// Reads from the beginning of an archive.
    pub(crate) const fn new(reader: R) -> Self {
        Self {
            reader,
            at: 0,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; `None` at the end. Its content is read with [`Read`].
    ///
    /// # Errors
    /// [`ArchiveError`] names the entry.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut pax = Pax::default();
        loop {
            if self.skip(self.left)? < self.left {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            // umoci leaves the filling of the last entry away, and all that should follow.
            match self.skip(self.padding)? {
                0 if self.padding > 0 => return Ok(None),
                skipped if skipped < self.padding => {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                _ => {}
            }
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = header
                .entry_size()
                .map_err(|_| bad(&header, "its size does not read"))?;
            // The letters of POSIX' pax, and GNU's for long names and sparse files.
            match header.entry_type().as_byte() {
                b'L' => pax.path = Some(self.text(&header, size)?),
                b'K' => pax.link = Some(self.text(&header, size)?),
                b'x' => self.records(&header, size, &mut pax)?,
                // What it says of all that follows (comments, times) is not needed.
                b'g' => {
                    self.take(&header, size, MAX_PAX_BYTES, LONG_RECORDS)?;
                }
                b'S' => return Err(bad(&header, "sparse files are not carried")),
                letter => return self.entry(&header, letter, size, pax).map(Some),
            }
        }
    }

    /// Where the content of the current entry begins, in bytes from the archive's beginning.
    pub(crate) const fn position(&self) -> u64 {
        self.at
    }

    /// What the archive was read from.
    pub(crate) fn into_inner(self) -> R {
        self.reader
    }

    fn entry(
        &mut self,
        header: &Header,
        letter: u8,
        size: u64,
        pax: Pax,
    ) -> Result<Entry, ArchiveError> {
        let path = pax.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let named = |why| ArchiveError::Bad {
            entry: String::from_utf8_lossy(&path).chars().take(200).collect(),
            why,
        };
        let link = pax
            .link
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let long = |text: &[u8]| text.len() as u64 >= MAX_PATH_BYTES;
        if long(&path) || link.as_deref().is_some_and(long) {
            return Err(named(LONG_NAME));
        }
        let link = || {
            let link = link.filter(|link| !link.is_empty());
            let link = link.ok_or_else(|| named("a link that leads nowhere"))?;
            Ok::<_, ArchiveError>(PathBuf::from(OsStr::from_bytes(&link)))
        };
        let kind = match letter {
            b'0' | b'\0' | b'7' => Kind::File,
            b'1' => Kind::HardLink(link()?),
            b'2' => Kind::Symlink(link()?),
            b'3' | b'4' => Kind::Device,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(named("an entry of this type is not carried")),
        };
        // Links and devices have no content, whatever they say; old writers put a size there.
        let size = match kind {
            Kind::File => pax.size.unwrap_or(size),
            Kind::Directory | Kind::Symlink(_) | Kind::HardLink(_) | Kind::Fifo | Kind::Device => 0,
        };
        if size > MAX_SIZE {
            return Err(named("its size is out of all bounds"));
        }
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        let fields = header.as_old();
        let owner = |said: Option<u32>, field: &[u8], read: io::Result<u64>| {
            let read = || u32::try_from(number(field, read)?).ok();
            said.or_else(read)
                .ok_or_else(|| named("its owner does not read"))
        };
        let mode = number(&fields.mode, header.mode().map(u64::from))
            .ok_or_else(|| named("its mode does not read"))?;
        let seconds = header.mtime().ok().and_then(|at| i64::try_from(at).ok());
        let seconds = (seconds.unwrap_or(0), 0);
        Ok(Entry {
            kind,
            size,
            mode: (mode & 0o7777) as u32,
            uid: owner(pax.uid, &fields.uid, header.uid())?,
            gid: owner(pax.gid, &fields.gid, header.gid())?,
            modified: pax.modified.unwrap_or(seconds),
            xattrs: pax.xattrs,
            path: PathBuf::from(OsStr::from_bytes(&path)),
        })
    }

    /// The next header; `None` at the end of the archive: a block of zeros, or simply no more.
    fn header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.at += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The sum is that of the header with blanks in the place of the sum.
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..156 => u32::from(b' '),
                _ => u32::from(*byte),
            })
            .sum();
        match header.cksum() {
            Ok(said) if said == sum => Ok(Some(header)),
            Ok(_) | Err(_) => Err(bad(
                &header,
                "its checksum is wrong: this is no tar archive",
            )),
        }
    }

    /// The content of an entry that describes the next one.
    fn take(
        &mut self,
        header: &Header,
        size: u64,
        bound: u64,
        too_long: &'static str,
    ) -> Result<Vec<u8>, ArchiveError> {
        if size > bound {
            return Err(bad(header, too_long));
        }
        let mut content = Vec::new();
        let taken = Read::by_ref(&mut self.reader)
            .take(size)
            .read_to_end(&mut content)? as u64;
        self.at += taken;
        if taken < size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok(content)
    }

    fn text(&mut self, header: &Header, size: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut text = self.take(header, size, MAX_PATH_BYTES, LONG_NAME)?;
        while text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    fn records(&mut self, header: &Header, size: u64, pax: &mut Pax) -> Result<(), ArchiveError> {
        let content = self.take(header, size, MAX_PAX_BYTES, LONG_RECORDS)?;
        // One set of records belongs to an entry; more of them do not add up.
        pax.xattrs.clear();
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let (key, value, after) =
                record(rest).ok_or_else(|| bad(header, "its pax records do not read"))?;
            let number = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
            let small = || number().and_then(|number| u32::try_from(number).ok());
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"size" => {
                    pax.size = Some(number().ok_or_else(|| bad(header, "its size does not read"))?)
                }
                b"uid" => pax.uid = small(),
                b"gid" => pax.gid = small(),
                b"mtime" => pax.modified = time(value),
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(bad(header, "sparse files are not carried"));
                }
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR) {
                        pax.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
            rest = after;
        }
        Ok(())
    }

    /// Passes over so many bytes, or all there are; how many.
    fn skip(&mut self, bytes: u64) -> Result<u64, ArchiveError> {
        let mut rest = Read::by_ref(&mut self.reader).take(bytes);
        let skipped = io::copy(&mut rest, &mut io::sink())?;
        self.at += skipped;
        Ok(skipped)
    }
}

impl<R: Read> Read for Archive<R> {
    /// Reads the content of the current entry; an archive that ends within it is an error.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(part) = buffer.get_mut(..most).filter(|part| !part.is_empty()) else {
            return Ok(0);
        };
        let count = self.reader.read(part)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.at += count as u64;
        Ok(count)
    }
}

/// A number of a header; a field that was left empty is zero.
fn number(field: &[u8], read: io::Result<u64>) -> Option<u64> {
    let is_empty = field.iter().all(|byte| matches!(byte, 0 | b' '));
    match is_empty {
        true => Some(0),
        false => read.ok(),
    }
}

/// One record, `<length> <key>=<value>\n`, and what follows. The length counts itself; values may hold anything.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = bytes.iter().take(8).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(bytes.get(..blank)?)
        .ok()?
        .parse()
        .ok()?;
    let whole = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = whole.iter().position(|byte| *byte == b'=')?;
    Some((
        whole.get(..equals)?,
        whole.get(equals + 1..)?,
        bytes.get(length..)?,
    ))
}

/// `seconds.fraction`; `None` when it does not read, which leaves the header's own time.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match text.starts_with('-') {
        // Before the epoch whole seconds are exact enough.
        true => Some((seconds, 0)),
        false => Some((seconds, nanoseconds)),
    }
}

fn bad(header: &Header, why: &'static str) -> ArchiveError {
    let path = header.path_bytes();
    ArchiveError::Bad {
        entry: String::from_utf8_lossy(&path).into_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_hold_line_breaks_and_zeros() {
        let (key, value, rest) = record(b"12 a=b\nc\0\n\n\n8 x=yz\n").expect("reads");

        assert_eq!(
            (key, value, rest),
            (&b"a"[..], &b"b\nc\0\n\n"[..], &b"8 x=yz\n"[..])
        );
    }

    #[test]
    fn a_record_that_lies_about_its_length_is_none() {
        for bytes in [
            &b"3 a=b\n"[..],
            b"99 a=b\n",
            b"a=b\n",
            b"6 a=b",
            b"0 a\n",
            b"6 a,b\n",
        ] {
            assert!(record(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn times_have_fractions() {
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"-1.5"), Some((-1, 0)));
        assert_eq!(time(b"x"), None);
    }

    #[test]
    fn a_long_name_is_not_read_into_memory_without_a_bound() {
        let mut header = Header::new_gnu();
        header.set_entry_type(tar::EntryType::GNULongName);
        header.set_size(1 << 40);
        header.set_cksum();
        let endless = io::Read::chain(&header.as_bytes()[..], io::repeat(b'a'));

        let error = Archive::new(endless).next().expect_err("too long");

        assert!(error.to_string().ends_with(LONG_NAME), "{error}");
    }
}
