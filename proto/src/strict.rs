//! Decoding that insists on required fields.
//!
//! prost reads a message without its required fields as if they were there and empty. The check here walks the encoded
//! bytes once, along a table generated from the descriptors, before prost decodes them; the message is refused with the
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

/// What is asked of one kind of message.
struct Fields {
    /// Number and name of each required field.
    required: &'static [(u32, &'static str)],
    /// The fields whose messages have, somewhere, required fields.
    nested: &'static [Nested],
}

struct Nested {
    number: u32,
    name: &'static str,
    repeated: bool,
    fields: &'static Fields,
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
pub fn decode<M: Message + Name + Default>(encoded: impl Into<Bytes>) -> Result<M, DecodeError> {
    decode_as(&M::full_name(), find(&M::full_name()), encoded.into())
}

/// The path of the first required field of an `M` that `encoded` lacks.
pub fn missing<M: Name>(encoded: &[u8]) -> Option<String> {
    match walk(find(&M::full_name())?, encoded, MAX_DEPTH) {
        Err(Fault::Missing(path)) => Some(path),
        Err(Fault::Malformed(_)) | Ok(()) => None,
    }
}

fn decode_as<M: Message + Default>(
    name: &str,
    fields: Option<&Fields>,
    encoded: Bytes,
) -> Result<M, DecodeError> {
    let malformed = |reason: String| DecodeError::Malformed {
        message: name.to_owned(),
        reason,
    };
    match fields.map_or(Ok(()), |fields| walk(fields, &encoded, MAX_DEPTH)) {
        Ok(()) => M::decode(encoded).map_err(|error| malformed(error.to_string())),
        Err(Fault::Missing(path)) => Err(DecodeError::Missing {
            message: name.to_owned(),
            path,
        }),
        Err(Fault::Malformed(reason)) => Err(malformed(reason.to_owned())),
    }
}

fn find(full_name: &str) -> Option<&'static Fields> {
    TABLE
        .binary_search_by(|(name, _)| (*name).cmp(full_name))
        .ok()
        .map(|at| TABLE[at].1)
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
    let mut seen = 0_u64;
    let mut rest = encoded;
    while !rest.is_empty() {
        let (number, held) = encoded::field(&mut rest)?;
        if let Some(at) = fields
            .required
            .iter()
            .position(|(required, _)| *required == number)
        {
            seen |= 1 << at;
        }
        let Some(nested) = fields.nested.iter().find(|nested| nested.number == number) else {
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
    match fields
        .required
        .iter()
        .enumerate()
        .find(|(at, _)| seen & (1 << at) == 0)
    {
        Some((_, (_, name))) => Err(Fault::Missing((*name).to_owned())),
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
fn buffers() -> BufferSettings {
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
    U: Message + Name + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        let name = U::full_name();
        StrictDecoder {
            fields: find(&name),
            name,
            decodes: PhantomData,
        }
    }
}

/// Reads the messages of one stream; a bad one ends the stream with `INVALID_ARGUMENT` and the reason.
pub struct StrictDecoder<U> {
    name: String,
    fields: Option<&'static Fields>,
    decodes: PhantomData<U>,
}

impl<U> fmt::Debug for StrictDecoder<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StrictDecoder of {}", self.name)
    }
}

impl<U: Message + Default> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let encoded = buffer.copy_to_bytes(buffer.remaining());
        let decoded = decode_as(&self.name, self.fields, encoded);
        decoded
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}
