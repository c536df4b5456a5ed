//! JSON to protobuf, by the rules of Mesos. What is refused is refused here; prost only reads what this wrote.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::JsonError;
use super::shape::{Field, Kind, Label, Names, Shape};
use super::text::{self, Malformed, Sort, Text};
use crate::encoded;

/// How many fields of a text may occur again. Each costs a walk over the message that it is in, and a copy: without a bound
/// eight megabytes could keep a thread busy for minutes. Nobody repeats fields on purpose.
const MAX_REPEATED: usize = 16;

/// As much of a value as an error shows, in characters.
const MAX_SHOWN: usize = 64;

/// Mesos does not insist on the padding that it writes.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The protobuf encoding of a message in JSON.
pub(super) fn message(shape: &'static Shape, text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let room = text.len() / 2; // An offer's protobuf is 0.4 of its JSON.
    let mut reader = match Text::new(text) {
        Ok(text) => Reader {
            text,
            encoded: Vec::with_capacity(room),
            repeated: 0,
        },
        Err(malformed) => return Err(Box::<Fault>::from(malformed).of(shape)),
    };
    match reader.whole(shape) {
        Ok(()) => Ok(reader.encoded),
        Err(fault) => Err(fault.of(shape)),
    }
}

/// Reads one text from front to end, and appends to the encoding as it goes.
struct Reader<'a> {
    text: Text<'a>,
    encoded: Vec<u8>,
    /// Fields so far that had occurred before.
    repeated: usize,
}

#[derive(Debug)]
enum Step {
    Field(&'static str),
    Element(usize),
    Key(String),
}

/// What is wrong, and where. Boxed: nearly nothing that is read is wrong, and all of it is handed over by way of results.
#[derive(Debug)]
struct Fault {
    what: Wrong,
    /// The way to it, its last step first: noted when something is wrong, and only then.
    path: Vec<Step>,
}

#[derive(Debug)]
enum Wrong {
    /// The path leads to the message that lacks this field.
    Missing(&'static str),
    /// The path leads to what is wrong.
    Value(String),
    Malformed(Malformed),
}

type Read<T> = Result<T, Box<Fault>>;

impl Reader<'_> {
    fn whole(&mut self, shape: &'static Shape) -> Read<()> {
        match self.text.sort()? {
            Sort::Object => self.object(shape)?,
            Sort::Null | Sort::Bool | Sort::Number | Sort::String | Sort::Array => {
                return Err(self.text.malformed("expected an object".to_owned()).into());
            }
        }
        Ok(self.text.end()?)
    }

    /// Reads the fields of one message.
    fn object(&mut self, shape: &'static Shape) -> Read<()> {
        let start = self.encoded.len();
        let (mut seen, mut first, mut next) = (0_u64, true, 0);
        self.text.open()?;
        while self.text.another_member(first)? {
            first = false;
            let Some(at) = self.name_of_field(shape, next)? else {
                self.text.skip()?;
                continue;
            };
            next = at + 1;
            let field = &shape.fields[at];
            let step = |fault: Box<Fault>| fault.below(Step::Field(field.name));
            if seen & (1 << at) != 0 {
                self.forget(start, field).map_err(step)?;
                seen &= !(1 << at);
            }
            if self.field(field).map_err(step)? {
                seen |= 1 << at;
            }
        }
        let missing = shape.required & !seen;
        match shape.fields.get(missing.trailing_zeros() as usize) {
            Some(field) if missing != 0 => Err(Wrong::Missing(field.name).into()),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the name of a member, and finds the field of that name. Mostly it is one of the next in the order of the
    /// declaration, and stands there as it is printed.
    fn name_of_field(&mut self, shape: &Shape, next: usize) -> Read<Option<usize>> {
        let printed = |field: &Field| self.text.begins_with(&field.key[1..]);
        let coming = shape.fields.get(next..).unwrap_or_default();
        if let Some(at) = coming.iter().position(printed) {
            self.text.pass(shape.fields[next + at].key.len() - 1);
            return Ok(Some(next + at));
        }
        let name = self.text.name()?;
        Ok(shape.find(&name, next))
    }

    /// Takes a field back that occurs again: the last one counts, whole.
    fn forget(&mut self, start: usize, field: &Field) -> Read<()> {
        self.repeated += 1;
        if self.repeated > MAX_REPEATED {
            let reason = format!("occurs again, and {MAX_REPEATED} fields have done so before");
            return Err(Wrong::Value(reason).into());
        }
        encoded::remove(&mut self.encoded, start, field.number);
        Ok(())
    }

    /// Reads what one field holds; false when that is nothing.
    fn field(&mut self, field: &Field) -> Read<bool> {
        match (self.text.sort()?, field.label) {
            (Sort::Null, _) => {
                self.text.null()?;
                Ok(false)
            }
            (Sort::Object, Label::Map) => self.map(field),
            (Sort::Array, Label::Repeated) => self.array(field),
            (sort, Label::Map) => Err(self.unfit(sort, "an object")),
            (Sort::Array, Label::Required | Label::Optional) => {
                Err(self.unfit(Sort::Array, "one value"))
            }
            (sort, Label::Required | Label::Optional | Label::Repeated) => {
                self.value(field, field.number, sort)
            }
        }
    }

    /// Lists in a list count as one, and null as no element.
    fn array(&mut self, field: &Field) -> Read<bool> {
        self.text.open()?;
        let (mut any, mut at) = (false, 0);
        while self.text.element(at == 0)? {
            let read = self.field(field);
            any |= read.map_err(|fault| fault.below(Step::Element(at)))?;
            at += 1;
        }
        Ok(any)
    }

    /// Each entry is a message of a key, number 1, and a value, number 2. prost lets the last of a key win.
    fn map(&mut self, field: &Field) -> Read<bool> {
        self.text.open()?;
        let mut first = true;
        while let Some(key) = self.text.member(first)? {
            first = false;
            let sort = self.text.sort()?;
            if sort == Sort::Null {
                self.text.null()?;
                continue;
            }
            let entry = encoded::open(&mut self.encoded, field.number);
            encoded::put_delimited(&mut self.encoded, 1, key.as_bytes());
            let read = self.value(field, 2, sort);
            read.map_err(|fault| fault.below(Step::Key(key.into_owned())))?;
            encoded::close(&mut self.encoded, entry);
        }
        Ok(!first)
    }

    /// Reads one value and writes it under `number`; false when it is an enum's and its name is not known.
    fn value(&mut self, field: &Field, number: u32, sort: Sort) -> Read<bool> {
        match (field.kind, sort) {
            (Kind::Message(shape), Sort::Object) => {
                let inner = encoded::open(&mut self.encoded, number);
                self.object(shape)?;
                encoded::close(&mut self.encoded, inner);
            }
            (Kind::String, Sort::String) => {
                let text = self.text.string()?;
                encoded::put_delimited(&mut self.encoded, number, text.as_bytes());
            }
            (Kind::Bytes, Sort::String) => {
                let text = self.text.string()?;
                let bytes = BASE64.decode(text.as_bytes());
                let bytes = bytes.map_err(|_| wrong(&text, "no base64"))?;
                encoded::put_delimited(&mut self.encoded, number, &bytes);
            }
            (Kind::Enum(names), Sort::String) => return self.name(field, number, names),
            (Kind::Bool, Sort::Bool) => {
                let value = self.text.boolean()?;
                encoded::put_varint(&mut self.encoded, number, u64::from(value));
            }
            (Kind::Bool, Sort::String) => {
                let text = self.text.string()?;
                let value = text
                    .parse::<bool>()
                    .map_err(|_| wrong(&text, "neither true nor false"))?;
                encoded::put_varint(&mut self.encoded, number, u64::from(value));
            }
            (
                Kind::Double | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64,
                Sort::Number,
            ) => {
                let text = self.text.number()?;
                self.number(field.kind, number, text, true)?;
            }
            (
                Kind::Double | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64,
                Sort::String,
            ) => {
                let text = self.text.string()?;
                let is_number = text::is_number(&text);
                self.number(field.kind, number, &text, is_number)?;
            }
            (kind, sort) => return Err(self.unfit(sort, expected(kind))),
        }
        Ok(true)
    }

    fn name(&mut self, field: &Field, number: u32, names: &Names) -> Read<bool> {
        let name = self.text.string()?;
        let found = names.number_of(&name);
        if found.is_none() && field.label == Label::Required {
            return Err(wrong(&name, &format!("no {}", names.name)));
        }
        if let Some(value) = found {
            #[expect(
                clippy::cast_sign_loss,
                reason = "that is how negative values are encoded"
            )]
            encoded::put_varint(&mut self.encoded, number, i64::from(value) as u64);
        }
        Ok(found.is_some())
    }

    fn number(&mut self, kind: Kind, number: u32, text: &str, is_number: bool) -> Read<()> {
        if let Kind::Double = kind {
            let infinite = matches!(text, "Infinity" | "-Infinity");
            let value = Some(text).filter(|_| is_number || infinite);
            let value = value.and_then(|text| text.parse().ok());
            let value = value.filter(|value: &f64| infinite || value.is_finite());
            let value = value.ok_or_else(|| wrong(text, "no double"))?;
            encoded::put_fixed64(&mut self.encoded, number, value.to_bits());
            return Ok(());
        }
        let (least, most, called) = match kind {
            Kind::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX), "int32"),
            Kind::Int64 => (i128::from(i64::MIN), i128::from(i64::MAX), "int64"),
            Kind::Uint32 => (0, i128::from(u32::MAX), "uint32"),
            Kind::Uint64
            | Kind::Double
            | Kind::Bool
            | Kind::String
            | Kind::Bytes
            | Kind::Enum(_)
            | Kind::Message(_) => (0, i128::from(u64::MAX), "uint64"),
        };
        let value = Some(text).filter(|_| is_number).and_then(integer);
        let value = value.filter(|value| (least..=most).contains(value));
        let value = value.ok_or_else(|| wrong(text, &format!("no {called}")))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range, and encoded as 64 bits of two's complement"
        )]
        encoded::put_varint(&mut self.encoded, number, value as u64);
        Ok(())
    }

    /// Refuses what comes next.
    fn unfit(&mut self, sort: Sort, expected: &str) -> Box<Fault> {
        let found = match sort {
            Sort::Null => "null".to_owned(),
            Sort::Array => "a list".to_owned(),
            Sort::Object => "an object".to_owned(),
            Sort::Bool => match self.text.boolean() {
                Ok(value) => value.to_string(),
                Err(malformed) => return malformed.into(),
            },
            Sort::Number => match self.text.number() {
                Ok(number) => shown(number),
                Err(malformed) => return malformed.into(),
            },
            Sort::String => match self.text.string() {
                Ok(text) => format!("{:?}", shown(&text)),
                Err(malformed) => return malformed.into(),
            },
        };
        Wrong::Value(format!("expected {expected}, found {found}")).into()
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Double | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 => "a number",
        Kind::Bool => "true or false",
        Kind::String => "a string",
        Kind::Bytes => "base64 in a string",
        Kind::Enum(_) => "a name in a string",
        Kind::Message(_) => "an object",
    }
}

/// A whole number as it is; of another one the part before the point, as Mesos cuts it.
fn integer(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into()); // Nearly all of them.
    }
    if text
        .bytes()
        .all(|byte| byte == b'-' || byte.is_ascii_digit())
    {
        return text.parse().ok();
    }
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| number.abs() < 1e20)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "smaller than 2^127, and cut on purpose"
    )]
    Some(number as i128)
}

fn wrong(value: &str, what: &str) -> Box<Fault> {
    Wrong::Value(format!("{:?} is {what}", shown(value))).into()
}

/// The beginning of a value.
fn shown(value: &str) -> String {
    let mut rest = value.chars();
    let mut shown: String = rest.by_ref().take(MAX_SHOWN).collect();
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

impl From<Wrong> for Box<Fault> {
    fn from(what: Wrong) -> Self {
        let path = Vec::new();
        Self::new(Fault { what, path })
    }
}

impl From<Box<Malformed>> for Box<Fault> {
    fn from(malformed: Box<Malformed>) -> Self {
        Wrong::Malformed(*malformed).into()
    }
}

impl Fault {
    /// The same seen from one level up.
    fn below(mut self: Box<Self>, step: Step) -> Box<Self> {
        self.path.push(step);
        self
    }

    fn of(self, shape: &Shape) -> JsonError {
        let message = shape.name;
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.extend([".", name]),
                Step::Element(at) => path.push_str(&format!("[{at}]")),
                Step::Key(key) => path.push_str(&format!("[{:?}]", shown(key))),
            }
        }
        match self.what {
            Wrong::Value(reason) => JsonError::Value {
                message,
                path,
                reason,
            },
            Wrong::Malformed(Malformed { reason, at }) => JsonError::Malformed {
                message,
                reason,
                at,
            },
            Wrong::Missing(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                JsonError::Missing { message, path }
            }
        }
    }
}
