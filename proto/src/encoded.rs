//! The encoding of protobuf, piece by piece, for those who look at it before or instead of prost.

use prost::Message;

/// What a field holds, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held<'a> {
    Varint(u64),
    Fixed64(u64),
    /// A text, bytes, a message, or a packed list.
    Delimited(&'a [u8]),
    Fixed32(u32),
}

/// Why bytes are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Takes one field off the front: its number, and what it holds. Always inlined: what it returns does not fit into registers,
/// and a call that hands it over in memory took longer than the reading itself.
#[inline(always)]
pub(crate) fn field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Held<'a>), Malformed> {
    let key = varint(rest)?;
    let number = u32::try_from(key >> 3).map_err(|_| Malformed("a field number is too large"))?;
    let held = match key & 7 {
        0 => Held::Varint(varint(rest)?),
        1 => Held::Fixed64(u64::from_le_bytes(fixed(rest)?)),
        2 => {
            let length = varint(rest)?;
            Held::Delimited(take(rest, usize::try_from(length).unwrap_or(usize::MAX))?)
        }
        5 => Held::Fixed32(u32::from_le_bytes(fixed(rest)?)),
        _ => return Err(Malformed("a field has a wire type that is not carried")),
    };
    Ok((number, held))
}

fn fixed<const LENGTH: usize>(rest: &mut &[u8]) -> Result<[u8; LENGTH], Malformed> {
    let (taken, left) = rest.split_first_chunk().ok_or(ENDS)?;
    *rest = left;
    Ok(*taken)
}

const ENDS: Malformed = Malformed("it ends within a field");

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, left) = rest.split_at_checked(length).ok_or(ENDS)?;
    *rest = left;
    Ok(taken)
}

#[inline]
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    match rest.split_first() {
        Some((&byte, left)) if byte < 0x80 => {
            *rest = left; // Nearly all keys and lengths are one byte.
            Ok(u64::from(byte))
        }
        Some(_) | None => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for at in 0..10 {
        let (byte, left) = rest.split_first().ok_or(ENDS)?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed("a number does not end"))
}

/// The fields of a message that hold a text, bytes, or a message, up to where it is malformed, if it is.
pub fn delimited(message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = message;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            match field(&mut rest) {
                Ok((number, Held::Delimited(held))) => return Some((number, held)),
                Ok((_, Held::Varint(_) | Held::Fixed64(_) | Held::Fixed32(_))) => {}
                Err(_) => return None,
            }
        }
        None
    })
}

/// Appends a field that holds a message.
pub fn put_message(out: &mut Vec<u8>, number: u32, message: &impl Message) {
    put(out, u64::from(number) << 3 | 2);
    put(out, message.encoded_len() as u64);
    message.encode_raw(out);
}

/// Appends a field that holds an id: a message of one text, its value.
pub fn put_id(out: &mut Vec<u8>, number: u32, id: &str) {
    let from = open(out, number);
    put_delimited(out, 1, id.as_bytes());
    close(out, from);
}

/// Appends a field that holds an integer or a boolean.
pub fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    put(out, u64::from(number) << 3);
    put(out, value);
}

/// Appends a field that holds the value of an enum; a negative one takes ten bytes, as everywhere.
pub fn put_enum(out: &mut Vec<u8>, number: u32, value: i32) {
    put_varint(out, number, i64::from(value).cast_unsigned());
}

/// Appends a field that holds a double.
pub fn put_fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    put(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a field that holds a text, bytes, or a message which is encoded already.
pub fn put_delimited(out: &mut Vec<u8>, number: u32, held: &[u8]) {
    put(out, u64::from(number) << 3 | 2);
    put(out, held.len() as u64);
    out.extend_from_slice(held);
}

/// Appends a field that holds a message which is encoded in pieces. Large ones are copied once, here.
pub fn put_pieces(out: &mut Vec<u8>, number: u32, pieces: &[Vec<u8>]) {
    out.append(&mut head_of(number, pieces));
    out.reserve(length(pieces));
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

/// What stands before the pieces of a message that is a field: its number, and how long they are together.
pub fn head_of(number: u32, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut head = Vec::new();
    put(&mut head, u64::from(number) << 3 | 2);
    put(&mut head, length(pieces) as u64);
    head
}

fn length(pieces: &[Vec<u8>]) -> usize {
    pieces.iter().map(Vec::len).sum()
}

/// Begins a field that holds a message: what is appended from here on belongs to it, until [`close`] gets what this returns.
pub fn open(out: &mut Vec<u8>, number: u32) -> usize {
    put(out, u64::from(number) << 3 | 2);
    out.push(0); // Most messages are shorter than 128 bytes, and their length fits.
    out.len()
}

/// Ends the message that begins at `from`: now its length is known.
pub fn close(out: &mut Vec<u8>, from: usize) {
    let length = out.len() - from;
    if let Ok(length @ ..0x80) = u8::try_from(length) {
        out[from - 1] = length;
        return;
    }
    let mut encoded = Vec::with_capacity(10);
    put(&mut encoded, length as u64);
    out.splice(from - 1..from, encoded);
}

/// Appends the fields of an encoded message, but for those that `is_left_out` says of by their numbers, up to where it is
/// malformed; whether it is.
pub(crate) fn put_others(
    out: &mut Vec<u8>,
    message: &[u8],
    is_left_out: impl Fn(u32) -> bool,
) -> bool {
    let mut rest = message;
    while !rest.is_empty() {
        let whole = rest;
        let Ok((number, _)) = field(&mut rest) else {
            return true;
        };
        if !is_left_out(number) {
            out.extend_from_slice(&whole[..whole.len() - rest.len()]);
        }
    }
    false
}

/// Takes all fields of a number out of the message that begins at `start` and goes to the end.
pub(crate) fn remove(out: &mut Vec<u8>, start: usize, number: u32) {
    let mut kept = Vec::with_capacity(out.len() - start);
    if put_others(&mut kept, &out[start..], |found| found == number) {
        return;
    }
    out.truncate(start);
    out.extend_from_slice(&kept);
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the lowest seven bits are meant"
        )]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 128")]
    out.push(value as u8);
}
