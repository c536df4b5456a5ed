//! RecordIO: the framing of Mesos' streams over HTTP. Each record is its length in bytes, in decimal ASCII digits, one line
//! feed, and then that many bytes: `3\nabc`. Nothing stands between records.

use bytes::{Buf as _, Bytes, BytesMut};

/// As many digits as the largest length has that 64 bits hold.
const MAX_DIGITS: usize = 20;

/// Why a stream is no RecordIO, or none that is read here. Nothing that follows can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A length has something else in it than digits.
    #[error("the length of a record has the byte 0x{0:02x} in it")]
    NoDigit(u8),
    /// A line feed where a length should be.
    #[error("a record has no length")]
    NoLength,
    /// More digits than any length has.
    #[error("the length of a record has more than 20 digits")]
    TooManyDigits,
    /// A record is longer than whoever reads can take.
    #[error("a record is {length} bytes long, at most {most} are taken")]
    TooLong {
        /// Its length in bytes.
        length: u64,
        /// The bound.
        most: usize,
    },
}

/// One record, with its length before it.
pub fn encode(record: &[u8]) -> Bytes {
    let mut framed = Vec::with_capacity(MAX_DIGITS + 1 + record.len());
    framed.extend_from_slice(itoa::Buffer::new().format(record.len()).as_bytes());
    framed.push(b'\n');
    framed.extend_from_slice(record);
    Bytes::from(framed)
}

/// Takes records off a stream that comes in pieces of any size. Holds at most one record.
#[derive(Debug)]
pub struct Decoder {
    most: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Within the digits of a length: how many there are, and what they say so far.
    Length { digits: usize, length: u64 },
    /// Within a record: how long it is, and what there is of it.
    Record { length: usize, begun: BytesMut },
}

const START: State = State::Length {
    digits: 0,
    length: 0,
};

impl Decoder {
    /// Refuses records of more than `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { most, state: START }
    }

    /// The next record, taken off the front of `chunk`. `None`: `chunk` is empty now, and more of them are needed. A record
    /// that lies within one chunk shares its memory.
    ///
    /// # Errors
    /// [`RecordError`] when the stream cannot be read any further.
    pub fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, RecordError> {
        loop {
            match &mut self.state {
                State::Length { digits, length } => {
                    if chunk.is_empty() {
                        return Ok(None);
                    }
                    match chunk.get_u8() {
                        b'\n' if *digits == 0 => return Err(RecordError::NoLength),
                        b'\n' => self.state = begin(*length, self.most)?,
                        _ if *digits == MAX_DIGITS => return Err(RecordError::TooManyDigits),
                        digit @ b'0'..=b'9' => {
                            *digits += 1;
                            *length = length
                                .saturating_mul(10)
                                .saturating_add(u64::from(digit - b'0'));
                        }
                        byte => return Err(RecordError::NoDigit(byte)),
                    }
                }
                State::Record { length, begun } => {
                    let missing = *length - begun.len();
                    if begun.is_empty() && chunk.len() >= missing {
                        self.state = START;
                        return Ok(Some(chunk.split_to(missing)));
                    }
                    let part = chunk.split_to(missing.min(chunk.len()));
                    begun.extend_from_slice(&part);
                    if begun.len() < *length {
                        return Ok(None);
                    }
                    let record = std::mem::take(begun).freeze();
                    self.state = START;
                    return Ok(Some(record));
                }
            }
        }
    }

    /// Whether the stream may end here: the last record is whole, and no other has begun.
    pub fn is_between_records(&self) -> bool {
        matches!(self.state, State::Length { digits: 0, .. })
    }
}

/// The record of a length that is all there; its memory grows with what comes, not with what is promised.
fn begin(length: u64, most: usize) -> Result<State, RecordError> {
    match usize::try_from(length) {
        Ok(length) if length <= most => Ok(State::Record {
            length,
            begun: BytesMut::new(),
        }),
        Ok(_) | Err(_) => Err(RecordError::TooLong { length, most }),
    }
}
