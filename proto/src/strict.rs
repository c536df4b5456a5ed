//! Decoding that insists on required fields.
//!
//! prost reads a message without its required fields as if they were there and empty. The check here walks the encoded
//! bytes once, along tables generated from the descriptors, before prost decodes them; the message is refused with the
//! path of the first field that is missing. Every gRPC stream of this crate decodes through [`StrictCodec`].

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf as _, Bytes};
use prost::{Message, Name};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

use crate::encoded::{self, Held, Malformed};

include!(concat!(env!("OUT_DIR"), "/required.rs"));

/// How deep messages may stand in each other: prost's own limit.
const MAX_DEPTH: usize = 100;

/// A message of which it is known what it must have: each of `mesos.v1` and `mete.v1`.
pub trait Checked {
    /// `None`: nothing, and nothing in it either.
    const FIELDS: Option<&'static Fields>;
}

/// What is asked of one kind of message.
#[derive(Debug)]
pub struct Fields {
    /// Names of the required fields; each is a bit, in this order.
    required: &'static [&'static str],
    /// No message in it has required fields.
    leaf: bool,
    /// What each field means, by its number.
    steps: &'static [Step],
    /// The same of fields with numbers far beyond.
    far: &'static [(u32, Step)],
}

/// What a field means for its message.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// The bit of a required field, else 0.
    required: u64,
    /// Of a field whose messages have, somewhere, required fields.
    nested: Option<&'static Nested>,
}

/// What all other fields mean.
const NOTHING: Step = Step {
    required: 0,
    nested: None,
};

#[derive(Debug)]
struct Nested {
    number: u32,
    name: &'static str,
    repeated: bool,
    fields: &'static Fields,
}

impl Fields {
    #[inline]
    fn step(&self, number: u32) -> Step {
        let far = || self.far.iter().find(|(far, _)| *far == number);
        let step = self.steps.get(number as usize);
        let step = step.or_else(|| far().map(|(_, step)| step));
        step.copied().unwrap_or(NOTHING)
    }
}

/// Why bytes are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A required field is not there.
    #[error("bad {message}: {path} is missing")]
    Missing {
        /// Full name of the message.
        message: String,
        /// Path from the message to the field: `accept.operations[0].launch.task_infos[1].task_id`.
        path: String,
    },
    /// Not protobuf, or not of this message.
    #[error("bad {message}: {reason}")]
    Malformed {
        /// Full name of the message.
        message: String,
        /// What was found.
        reason: String,
    },
}

/// Decodes a message that has all its required fields. Byte fields of the message share `encoded`.
///
/// # Errors
/// [`DecodeError`] names the message and the field that is missing, or what cannot be read.
pub fn decode<M: Message + Name + Default + Checked>(
    encoded: impl Into<Bytes>,
) -> Result<M, DecodeError> {
    let encoded = encoded.into();
    let malformed = |reason: String| DecodeError::Malformed {
        message: M::full_name(),
        reason,
    };
    match M::FIELDS.map_or(Ok(()), |fields| walk(fields, &encoded, MAX_DEPTH)) {
        Ok(()) => M::decode(encoded).map_err(|error| malformed(error.to_string())),
        Err(Fault::Missing(path)) => Err(DecodeError::Missing {
            message: M::full_name(),
            path,
        }),
        Err(Fault::Malformed(reason)) => Err(malformed(reason.to_owned())),
    }
}

/// The path of the first required field of an `M` that `encoded` lacks.
pub fn missing<M: Checked>(encoded: &[u8]) -> Option<String> {
    match walk(M::FIELDS?, encoded, MAX_DEPTH) {
        Err(Fault::Missing(path)) => Some(path),
        Err(Fault::Malformed(_)) | Ok(()) => None,
    }
}

enum Fault {
    Missing(String),
    Malformed(&'static str),
}

/// Checks one encoded message. A singular message field that comes in several parts must be complete in each.
fn walk(fields: &Fields, encoded: &[u8], depth: usize) -> Result<(), Fault> {
    if depth == 0 {
        return Err(Fault::Malformed("messages stand too deep in each other"));
    }
    let mut missing = !(u64::MAX << fields.required.len());
    let mut rest = encoded;
    while !rest.is_empty() {
        let (number, held) = encoded::field(&mut rest)?;
        let step = fields.step(number);
        missing &= !step.required;
        if fields.leaf && missing == 0 {
            return Ok(()); // The rest is for prost to read.
        }
        let Some(nested) = step.nested else {
            continue;
        };
        let message = match held {
            Held::Delimited(message) => message,
            Held::Varint(_) | Held::Fixed64(_) | Held::Fixed32(_) => &[],
        };
        if let Err(fault) = walk(nested.fields, message, depth - 1) {
            return Err(fault.below(nested, encoded.len() - rest.len(), encoded));
        }
    }
    match fields.required.get(missing.trailing_zeros() as usize) {
        Some(name) => Err(Fault::Missing((*name).to_owned())),
        None => Ok(()),
    }
}

impl From<Malformed> for Fault {
    fn from(Malformed(reason): Malformed) -> Self {
        Self::Malformed(reason)
    }
}

impl Fault {
    /// The same fault seen from one level up; `end` is where the faulty element ends.
    fn below(self, nested: &Nested, end: usize, encoded: &[u8]) -> Self {
        let Self::Missing(path) = self else {
            return self;
        };
        if !nested.repeated {
            return Self::Missing(format!("{}.{path}", nested.name));
        }
        let mut before = 0;
        let mut rest = &encoded[..end];
        while let Ok((number, _)) = encoded::field(&mut rest) {
            before += usize::from(number == nested.number);
        }
        Self::Missing(format!(
            "{}[{}].{path}",
            nested.name,
            before.saturating_sub(1)
        ))
    }
}

/// What a stream holds ready for each direction: room for a usual message, because a master has ten thousand of them; and how
/// much may come together before it is sent (tonic's own measure).
pub(crate) fn buffers() -> BufferSettings {
    BufferSettings::new(1024, 32 * 1024)
}

/// Protobuf as tonic's own codec writes it, read with [`decode`].
pub struct StrictCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for StrictCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> fmt::Debug for StrictCodec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StrictCodec")
    }
}

impl<T, U> Codec for StrictCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Name + Default + Checked + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder::new()
    }
}

/// Reads the messages of one stream; a bad one ends the stream with `INVALID_ARGUMENT` and the reason.
pub struct StrictDecoder<U>(PhantomData<U>);

impl<U> StrictDecoder<U> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<U: Name> fmt::Debug for StrictDecoder<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StrictDecoder of {}", U::full_name())
    }
}

impl<U: Message + Name + Default + Checked> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let encoded = buffer.copy_to_bytes(buffer.remaining());
        decode(encoded)
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}
