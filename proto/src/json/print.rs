//! Protobuf to JSON. What comes in is what prost has just written, so nothing in it is refused: what no table knows is left
//! out, as Mesos leaves out numbers of enums that it has no name for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::shape::{Field, Kind, Label, MAX_FIELDS, Names, Shape};
use super::text::plain_length;
use crate::encoded::{self, Held};

/// The doubles that are written without an exponent, as RapidJSON does it, which Mesos prints with.
const PLAIN: std::ops::Range<f64> = 1e-6..1e21;

/// 2^53: every whole double below is written as the integer that it is.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What is noted of each field takes 40 bytes of stack, and clearing them for 64 fields longer than writing most messages.
/// Ids, labels and values have no more fields than this, and nearly all other messages no more than [`MANY_FIELDS`].
const FEW_FIELDS: usize = 4;

const MANY_FIELDS: usize = 16;

/// Writes one encoded message.
pub(super) fn message(shape: &Shape, encoded: &[u8], out: &mut Vec<u8>) {
    let count = shape.fields.len();
    if count <= FEW_FIELDS {
        fields::<FEW_FIELDS>(shape, encoded, out);
    } else if count <= MANY_FIELDS {
        fields::<MANY_FIELDS>(shape, encoded, out);
    } else {
        fields::<MAX_FIELDS>(shape, encoded, out);
    }
}

/// What the encoding has of one field; `to` is 0 when that is nothing.
#[derive(Clone, Copy)]
struct Found<'a> {
    /// Where it occurs first.
    from: usize,
    /// The end of the last time that it occurs.
    to: usize,
    /// What it holds there: all that counts of a field that is no list.
    last: Held<'a>,
}

const NOTHING: Found<'_> = Found {
    from: 0,
    to: 0,
    last: Held::Varint(0),
};

/// The same for messages of at most `MOST` fields: the encoding is in the order of numbers, JSON in that of the declaration.
fn fields<const MOST: usize>(shape: &Shape, encoded: &[u8], out: &mut Vec<u8>) {
    let mut all = [NOTHING; MOST];
    find(shape, encoded, &mut all);
    out.push(b'{');
    let first = out.len();
    for (field, found) in shape.fields.iter().zip(&all) {
        let is_unset = found.to == 0 && field.default.is_none() && field.label != Label::Required;
        if is_unset || !field.is_written {
            continue;
        }
        let before = out.len();
        let key = field.key.as_bytes();
        out.extend_from_slice(if before > first { key } else { &key[1..] });
        if found.to > 0 && held(field, found, encoded, out) {
            continue;
        }
        match field.default {
            Some(default) => out.extend_from_slice(default.as_bytes()),
            None if field.label == Label::Required => unset(field.kind, out),
            None => out.truncate(before),
        }
    }
    out.push(b'}');
}

/// Notes what there is of each field.
fn find<'a>(shape: &Shape, encoded: &'a [u8], all: &mut [Found<'a>]) {
    let number_of = |at: &u8| shape.fields[usize::from(*at)].number;
    let mut rest = encoded;
    let mut order = shape.by_number;
    while !rest.is_empty() {
        let from = encoded.len() - rest.len();
        let Ok((number, last)) = encoded::field(&mut rest) else {
            return;
        };
        while let [next, later @ ..] = order
            && number_of(next) < number
        {
            order = later;
        }
        let found = match order.first() {
            Some(next) if number_of(next) == number => Some(usize::from(*next)),
            // A member of a oneof stands where the first of them would.
            Some(_) | None => shape.fields.iter().position(|field| field.number == number),
        };
        if let Some(found) = found.and_then(|at| all.get_mut(at)) {
            if found.to == 0 {
                found.from = from;
            }
            found.to = encoded.len() - rest.len();
            found.last = last;
        }
    }
}

/// Writes what a field holds; false when there is nothing that can be written.
fn held(field: &Field, found: &Found<'_>, encoded: &[u8], out: &mut Vec<u8>) -> bool {
    let all = || each(field.number, &encoded[found.from..found.to]);
    match field.label {
        Label::Required | Label::Optional => value(field.kind, found.last, out),
        Label::Repeated => list(all(), field.kind, out),
        Label::Map => map(all(), field.kind, out),
    }
}

/// What the fields of one number hold.
fn each(number: u32, encoded: &[u8]) -> impl Iterator<Item = Held<'_>> {
    let mut rest = encoded;
    std::iter::from_fn(move || encoded::field(&mut rest).ok())
        .filter_map(move |(found, held)| (found == number).then_some(held))
}

fn list<'a>(values: impl Iterator<Item = Held<'a>>, kind: Kind, out: &mut Vec<u8>) -> bool {
    let mut open = b'[';
    for element in values {
        let before = out.len();
        out.push(open);
        if value(kind, element, out) {
            open = b',';
        } else {
            out.truncate(before);
        }
    }
    if open == b',' {
        out.push(b']');
    }
    open == b','
}

/// Entries are messages of a key, number 1, and a value, number 2; what has the default of its type is not in them.
fn map<'a>(entries: impl Iterator<Item = Held<'a>>, kind: Kind, out: &mut Vec<u8>) -> bool {
    let mut open = b'{';
    for entry in entries {
        let Held::Delimited(entry) = entry else {
            continue;
        };
        out.push(open);
        open = b',';
        match each(1, entry).last() {
            Some(Held::Delimited(key)) => string(key, out),
            Some(Held::Varint(_) | Held::Fixed64(_) | Held::Fixed32(_)) | None => string(b"", out),
        }
        out.push(b':');
        if !each(2, entry)
            .last()
            .is_some_and(|held| value(kind, held, out))
        {
            unset(kind, out);
        }
    }
    if open == b',' {
        out.push(b'}');
    }
    open == b','
}

/// Writes one value; false when it is an enum's and has no name.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "that is how 32-bit and signed integers are encoded"
)]
fn value(kind: Kind, held: Held<'_>, out: &mut Vec<u8>) -> bool {
    match (kind, held) {
        (Kind::Message(shape), Held::Delimited(encoded)) => message(shape, encoded, out),
        (Kind::String, Held::Delimited(text)) => string(text, out),
        (Kind::Bytes, Held::Delimited(bytes)) => base64(bytes, out),
        (Kind::Double, Held::Fixed64(bits)) => double(f64::from_bits(bits), out),
        (Kind::Uint32 | Kind::Uint64, Held::Varint(number)) => integer(number, out),
        (Kind::Int32 | Kind::Int64, Held::Varint(number)) => integer(number as i64, out),
        (Kind::Bool, Held::Varint(number)) => boolean(number != 0, out),
        (Kind::Enum(names), Held::Varint(number)) => return name(names, number as i32, out),
        (
            Kind::Message(_)
            | Kind::String
            | Kind::Bytes
            | Kind::Double
            | Kind::Uint32
            | Kind::Uint64
            | Kind::Int32
            | Kind::Int64
            | Kind::Bool
            | Kind::Enum(_),
            Held::Varint(_) | Held::Fixed64(_) | Held::Delimited(_) | Held::Fixed32(_),
        ) => return false,
    }
    true
}

/// What a field that has to be there holds when nobody has set it.
fn unset(kind: Kind, out: &mut Vec<u8>) {
    match kind {
        Kind::Message(shape) => message(shape, b"", out),
        Kind::String | Kind::Bytes => string(b"", out),
        Kind::Double => double(0.0, out),
        Kind::Uint32 | Kind::Uint64 | Kind::Int32 | Kind::Int64 => out.push(b'0'),
        Kind::Bool => boolean(false, out),
        Kind::Enum(names) => string(names.first.as_bytes(), out),
    }
}

fn name(names: &Names, number: i32, out: &mut Vec<u8>) -> bool {
    let name = names.name_of(number);
    if let Some(name) = name {
        string(name.as_bytes(), out);
    }
    name.is_some()
}

fn boolean(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn integer(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The shortest text that is read as the same number again; always one that tells it from an integer.
fn double(number: f64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let size = number.abs();
    let written = if size < EXACT && number.fract() == 0.0 {
        if number.is_sign_negative() {
            out.push(b'-');
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and below 2^53"
        )]
        integer(size as u64, out);
        out.extend_from_slice(b".0");
        Ok(())
    } else if let Some(milli) = thousandths(size) {
        if number.is_sign_negative() {
            out.push(b'-');
        }
        integer(milli / 1_000, out);
        let digit = |unit: u64| b'0' + u8::try_from(milli / unit % 10).unwrap_or_default();
        let fraction = [b'.', digit(100), digit(10), digit(1)];
        let zeros = fraction.iter().rev().take_while(|digit| **digit == b'0');
        out.extend_from_slice(&fraction[..4 - zeros.count()]);
        Ok(())
    } else if PLAIN.contains(&size) {
        let whole = if number.fract() == 0.0 { ".0" } else { "" };
        write!(out, "{number}{whole}")
    } else if number.is_finite() {
        write!(out, "{number:e}")
    } else if number.is_nan() {
        write!(out, "\"NaN\"")
    } else {
        let sign = if number < 0.0 { "-" } else { "" };
        write!(out, "\"{sign}Infinity\"")
    };
    debug_assert!(written.is_ok(), "memory takes all that is written to it");
}

/// A number that is so many thousandths, as all resources are. Of up to fifteen digits no two are the same double, and what
/// is written with the fewest digits is read as it again: that is it.
fn thousandths(size: f64) -> Option<u64> {
    let milli = (size * 1e3).round();
    let is_it = (1.0..1e15).contains(&milli) && milli / 1e3 == size;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative and below 2^53"
    )]
    is_it.then_some(milli as u64)
}

/// Standard base64 with padding.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    string(STANDARD.encode(bytes).as_bytes(), out);
}

/// A string in quotes. `/` and all that is not ASCII stand as they are.
fn string(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((&byte, left)) = special.split_first() else {
            break;
        };
        rest = left;
        let escaped = match byte {
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            0x00..=0x1f => b'u',
            _ => byte,
        };
        out.extend_from_slice(&[b'\\', escaped]);
        if escaped == b'u' {
            let digit = |value: u8| DIGITS[usize::from(value & 0xf)];
            out.extend_from_slice(&[b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
    }
    out.push(b'"');
}
