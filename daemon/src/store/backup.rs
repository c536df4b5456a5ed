//! All entries of one moment in one file, which proves by its end that it is whole.
//!
//! ```text
//! mete backup 1⏎                  the format of the file
//! {"of":"services", …}⏎           what it is a backup of, in JSON
//! u32 u32 key value               lengths, big end first; for each entry, in the order of the keys
//! ff ff ff ff u64                 the end, and how many entries there were
//! 32 bytes                        SHA-256 of everything before
//! ```
//! Invariants: who has read to the end without an error has read what was written, all of it. The digest tells damage, not
//! who wrote it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use serde::{Deserialize, Serialize};

use super::Entry;

/// The line a file begins with. A reader of a later format goes on reading this one.
const MAGIC: &str = "mete backup ";
/// The format that is written.
const FORMAT: u32 = 1;
/// The longest first line, for a number of ten digits.
const MAX_MAGIC_BYTES: usize = MAGIC.len() + 11;
/// The longest header: some names.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The longest key: one has the id of an app, which has at most 1 MiB.
const MAX_KEY_BYTES: usize = 2 * 1024 * 1024;
/// The largest value: far above what a change of thousands of apps stores, far below what memory holds.
const MAX_VALUE_BYTES: usize = 1024 * 1024 * 1024;
/// In the place of a key's length: no entry follows.
const END: u32 = u32::MAX;

/// What a backup is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Whose entries they are, e.g. `services`.
    pub of: String,
    /// The version of the program that wrote it.
    pub program: String,
    /// The moment of the entries, RFC 3339 in UTC.
    pub time: String,
    /// What else the daemon says of itself, e.g. `frameworkId`.
    #[serde(default)]
    pub about: BTreeMap<String, String>,
}

/// Why there is no backup to be read. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It begins with something else.
    #[error("it is no backup of Mete")]
    Other,
    /// A later program wrote it.
    #[error("its format is {0}, this program reads {FORMAT}")]
    Format(u32),
    /// It does not say what it is of.
    #[error("its second line does not say what it is a backup of")]
    Header,
    /// It ends too early, as a copy that was broken off does.
    #[error("it is cut off after {0} entries")]
    Cut(u64),
    /// A length makes no sense.
    #[error("entry {0} has a length of {1} bytes")]
    Length(u64, usize),
    /// It holds other entries than it says at its end.
    #[error("it has {read} entries and says {said}")]
    Count {
        /// How many were there.
        read: u64,
        /// How many there are to be.
        said: u64,
    },
    /// Bytes of it have changed.
    #[error("it is damaged: its digest is not that of its bytes")]
    Damaged,
    /// Something follows on its end.
    #[error("it goes on after its end")]
    Longer,
}

/// An entry that no backup can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry has a key of {key} bytes and a value of {value}, more than a backup can hold")]
pub struct TooLarge {
    key: usize,
    value: usize,
}

/// Writes a backup piece by piece; the pieces one after the other are the file.
pub struct Writer {
    digest: Context,
    entries: u64,
}

impl Writer {
    /// Begins, with the first piece.
    pub fn begin(header: &Header) -> (Self, Vec<u8>) {
        let mut piece = format!("{MAGIC}{FORMAT}\n").into_bytes();
        serde_json::to_writer(&mut piece, header).expect("plain texts, written to memory");
        piece.push(b'\n');
        let mut digest = Context::new(&SHA256);
        digest.update(&piece);
        (Self { digest, entries: 0 }, piece)
    }

    /// The piece of some entries, which come after those before.
    ///
    /// # Errors
    /// When one is too large.
    pub fn entries(&mut self, entries: &[Entry]) -> Result<Vec<u8>, TooLarge> {
        let mut piece = Vec::new();
        for (key, value) in entries {
            if key.len() > MAX_KEY_BYTES || value.len() > MAX_VALUE_BYTES {
                let (key, value) = (key.len(), value.len());
                return Err(TooLarge { key, value });
            }
            // Both are below the bounds, which are below 2³².
            piece.extend((key.len() as u32).to_be_bytes());
            piece.extend((value.len() as u32).to_be_bytes());
            piece.extend(key);
            piece.extend(value);
            self.entries += 1;
        }
        self.digest.update(&piece);
        Ok(piece)
    }

    /// The last piece.
    pub fn end(mut self) -> Vec<u8> {
        let mut piece = END.to_be_bytes().to_vec();
        piece.extend(self.entries.to_be_bytes());
        self.digest.update(&piece);
        piece.extend(self.digest.finish().as_ref());
        piece
    }
}

/// Reads a backup entry by entry. Nothing is proved before the end has come.
pub struct Reader<R> {
    from: R,
    digest: Context,
    entries: u64,
}

impl<R: Read> Reader<R> {
    /// Reads what it is of.
    ///
    /// # Errors
    /// When it is no backup, or of a later format.
    pub fn begin(from: R) -> Result<(Self, Header), BackupError> {
        let digest = Context::new(&SHA256);
        let mut reader = Self {
            from,
            digest,
            entries: 0,
        };
        let magic = reader.line(MAX_MAGIC_BYTES, BackupError::Other)?;
        let format = magic.strip_prefix(MAGIC).and_then(|n| n.parse().ok());
        match format.ok_or(BackupError::Other)? {
            FORMAT => {}
            later => return Err(BackupError::Format(later)),
        }
        let header = reader.line(MAX_HEADER_BYTES, BackupError::Header)?;
        let header = serde_json::from_str(&header).map_err(|_| BackupError::Header)?;
        Ok((reader, header))
    }

    /// The next entry; `None` once all have been read and the file is proved whole.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn entry(&mut self) -> Result<Option<Entry>, BackupError> {
        let key = u32::from_be_bytes(self.array()?);
        if key == END {
            return self.end().map(|()| None);
        }
        let (key, value) = (key as usize, u32::from_be_bytes(self.array()?) as usize);
        for (length, most) in [(key, MAX_KEY_BYTES), (value, MAX_VALUE_BYTES)] {
            if length > most {
                return Err(BackupError::Length(self.entries, length));
            }
        }
        let entry = (self.bytes(key)?, self.bytes(value)?);
        self.entries += 1;
        Ok(Some(entry))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let (read, said) = (self.entries, u64::from_be_bytes(self.array()?));
        let digest = self.digest.clone().finish();
        let written: [u8; SHA256_OUTPUT_LEN] = self.array()?;
        if digest.as_ref() != written {
            return Err(BackupError::Damaged);
        }
        if read != said {
            return Err(BackupError::Count { read, said });
        }
        match self.from.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(BackupError::Longer),
        }
    }

    /// Text up to the end of the line.
    fn line(&mut self, most: usize, otherwise: BackupError) -> Result<String, BackupError> {
        let mut line = Vec::new();
        loop {
            let [byte] = match self.array() {
                Ok(byte) => byte,
                Err(BackupError::Cut(_)) => return Err(otherwise),
                Err(other) => return Err(other),
            };
            if byte == b'\n' {
                return String::from_utf8(line).map_err(|_| otherwise);
            }
            if line.len() == most {
                return Err(otherwise);
            }
            line.push(byte);
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        match self.from.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(BackupError::Cut(self.entries));
            }
            Err(error) => return Err(error.into()),
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }

    /// Memory is taken as bytes come, not as a length says.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        let mut part = (&mut self.from).take(length as u64);
        if part.read_to_end(&mut bytes)? < length {
            return Err(BackupError::Cut(self.entries));
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            of: "services".to_owned(),
            program: "0.1.0".to_owned(),
            time: "2026-01-31T12:00:00.000Z".to_owned(),
            about: BTreeMap::from([("frameworkId".to_owned(), "x-0001".to_owned())]),
        }
    }

    fn entries() -> Vec<Entry> {
        let long = vec![7; 70_000];
        vec![
            (b"app/web".to_vec(), b"\x01{}".to_vec()),
            (b"empty".to_vec(), Vec::new()),
            (b"long".to_vec(), long),
        ]
    }

    fn written() -> Vec<u8> {
        let (mut writer, mut file) = Writer::begin(&header());
        let all = entries();
        file.extend(writer.entries(&all[..1]).expect("small"));
        file.extend(writer.entries(&all[1..]).expect("small"));
        file.extend(writer.end());
        file
    }

    fn read(file: &[u8]) -> Result<(Header, Vec<Entry>), BackupError> {
        let (mut reader, header) = Reader::begin(file)?;
        let mut entries = Vec::new();
        while let Some(entry) = reader.entry()? {
            entries.push(entry);
        }
        Ok((header, entries))
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(read(&written()).expect("whole"), (header(), entries()));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_found() {
        let file = written();
        for length in (0..200).chain(file.len() - 100..file.len()) {
            assert!(read(&file[..length]).is_err(), "cut at {length}");
        }
        for at in (0..200).chain(file.len() - 100..file.len()) {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let file = written();
        let told = |file: &[u8]| read(file).expect_err("refused").to_string();

        assert_eq!(told(b""), "it is no backup of Mete");
        assert_eq!(told(&[b'x'; 5_000]), "it is no backup of Mete");
        assert_eq!(
            told(b"mete backup 2\n{}"),
            "its format is 2, this program reads 1"
        );
        assert_eq!(
            told(b"mete backup 1\n{}\n"),
            "its second line does not say what it is a backup of"
        );
        let cut = &file[..file.len() - 50_000];
        assert_eq!(told(cut), "it is cut off after 2 entries");
        let mut changed = file.clone();
        changed[60_000] ^= 1;
        assert_eq!(
            told(&changed),
            "it is damaged: its digest is not that of its bytes"
        );
        let longer = [file, vec![0]].concat();
        assert_eq!(told(&longer), "it goes on after its end");
    }

    #[test]
    fn a_length_that_nothing_follows_takes_no_memory() {
        let (_, mut file) = Writer::begin(&header());
        file.extend(4_u32.to_be_bytes());
        file.extend(u32::MAX.to_be_bytes());
        let error = read(&file).expect_err("refused");
        assert!(matches!(error, BackupError::Length(0, _)), "{error}");

        let (_, mut file) = Writer::begin(&header());
        file.extend(4_u32.to_be_bytes());
        file.extend(1_000_000_u32.to_be_bytes());
        file.extend(b"keys");
        let error = read(&file).expect_err("refused");
        assert!(matches!(error, BackupError::Cut(0)), "{error}");
    }
}
