//! Messages as Mesos' HTTP API has them in JSON: what it prints, byte for byte, and all that it reads.
//!
//! Written: the fields that are set, by their names in the `.proto` files and in the order in which they stand there;
//! lists that are not empty; and what is not set but has a declared default that is not deprecated. No whitespace. 64-bit
//! integers are numbers, doubles always have a fraction or an exponent, infinities are strings, enums are names, bytes are
//! base64, maps are objects. Mete's own fields of what clients get unasked (an agent's `ip`, the master's epoch) are left out:
//! strict readers would refuse the message.
//!
//! Read: the same, and besides unknown fields and unknown names of enums, which count as not there; null, which is not set;
//! numbers and booleans as strings; one value where a list is expected; and of a field that occurs twice the last.
//! What is refused is refused with its path.
//!
//! Nothing here is generated but tables: a message goes through its protobuf encoding, which prost writes and reads, and
//! the tables say what its numbers mean. So the JSON of another message costs a few words of data and no code.

mod print; // protobuf → JSON
mod read; // JSON → protobuf
mod shape; // what the tables are made of
mod text; // the grammar of JSON

use bytes::Bytes;
use prost::Message;

use crate::strict::Checked;
pub use shape::Shape;
use shape::{Field, Kind, Label, Names};

include!(concat!(env!("OUT_DIR"), "/json.rs"));

/// A message that has a JSON form: each of `mesos.v1` and `mete.v1`.
pub trait Json: Message + Default + Checked {
    /// Names, numbers and types of its fields.
    const SHAPE: &'static Shape;
}

/// Why a text is not the message it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// A required field is not there.
    #[error("bad {message}: {path} is missing")]
    Missing {
        /// Full name of the message.
        message: &'static str,
        /// Path from the message to the field: `accept.operations[0].launch.task_infos[1].task_id`.
        path: String,
    },
    /// A field holds what it cannot hold.
    #[error("bad {message}: {path}: {reason}")]
    Value {
        /// Full name of the message.
        message: &'static str,
        /// Path from the message to the field.
        path: String,
        /// What was found, and what is expected.
        reason: String,
    },
    /// No JSON object, or one that does not end.
    #[error("bad {message}: {reason} at byte {at}")]
    Malformed {
        /// Full name of the message.
        message: &'static str,
        /// What was found.
        reason: String,
        /// Where, counted from 0.
        at: usize,
    },
}

/// The number of a message's field, for constants of those who write an encoding piece by piece. A name that the message
/// does not have does not compile there.
pub const fn number_of<M: Json>(field: &str) -> u32 {
    match M::SHAPE.number_of(field) {
        Some(number) => number,
        None => panic!("the message has no field of this name"),
    }
}

/// The JSON of a message, as Mesos prints it.
pub fn to_vec<M: Json>(message: &M) -> Vec<u8> {
    from_protobuf::<M>(&message.encode_to_vec())
}

/// The JSON of a message that is there in protobuf.
pub fn from_protobuf<M: Json>(encoded: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(encoded.len() * 3); // An offer's JSON is 2.7 times its protobuf.
    print::message(M::SHAPE, encoded, &mut text);
    text
}

/// Reads a message from JSON, as leniently as Mesos does.
///
/// # Errors
/// [`JsonError`] names the message, the path to what is wrong and the value, or the place where the text ends to be JSON.
pub fn from_slice<M: Json>(text: &[u8]) -> Result<M, JsonError> {
    let shape = M::SHAPE;
    let encoded = read::message(shape, text)?;
    M::decode(Bytes::from(encoded)).map_err(|error| JsonError::Malformed {
        message: shape.name,
        reason: error.to_string(), // Only that messages stand too deep in each other: prost reads 100 levels.
        at: text.len(),
    })
}
