//! Random messages of any kind, made from the descriptors: encoded, so that a test reads them as the type that it means.

use std::collections::BTreeMap;

use mete_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Fields that JSON leaves out: see `NOT_WRITTEN` in `build/json.rs`.
const NOT_IN_JSON: [&str; 6] = [
    ".mesos.v1.AgentInfo.ip",
    ".mesos.v1.InverseOffer.draining",
    ".mesos.v1.Resource.devices",
    ".mesos.v1.scheduler.Event.Subscribed.master_epoch",
    ".mesos.v1.scheduler.Event.Subscribed.protocol_capabilities",
    ".mesos.v1.scheduler.Event.Subscribed.protocol_version",
];

/// Deeper down only what is required is set.
const MAX_DEPTH: u32 = 6;

/// Numbers from a seed: xorshift, so that a failure can be seen again.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn any(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.any() % most as u64).expect("below a usize")
    }
}

/// All messages and enums by their full names, with a dot before them.
pub(crate) struct Kinds {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, EnumDescriptorProto>,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        let files = FileDescriptorSet::decode(DESCRIPTORS).expect("our own descriptors");
        let mut kinds = Self {
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for file in files.file {
            let package = format!(".{}", file.package());
            for kind in &file.enum_type {
                let name = format!("{package}.{}", kind.name());
                kinds.enums.insert(name, kind.clone());
            }
            for message in &file.message_type {
                kinds.collect(&package, message);
            }
        }
        kinds
    }

    fn collect(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for kind in &message.enum_type {
            let name = format!("{name}.{}", kind.name());
            self.enums.insert(name, kind.clone());
        }
        for nested in &message.nested_type {
            self.collect(&name, nested);
        }
        self.messages.insert(name, message.clone());
    }

    /// A message of that name, encoded, with nothing in it that JSON leaves out. Fields that have a default are always set: JSON has them in any case.
    pub(crate) fn message(&self, name: &str, dice: &mut Dice, depth: u32) -> Vec<u8> {
        let message = &self.messages[name];
        let entry = message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry());
        let mut encoded = Vec::new();
        let chosen: Vec<usize> = message.oneof_decl.iter().map(|_| dice.below(4)).collect();
        let in_json = |field: &&FieldDescriptorProto| {
            !NOT_IN_JSON.contains(&format!("{name}.{}", field.name()).as_str())
        };
        let mut fields: Vec<&FieldDescriptorProto> = message.field.iter().filter(in_json).collect();
        fields.sort_by_key(|field| field.number());
        for field in fields {
            let wanted = match field.oneof_index {
                Some(oneof) => {
                    let oneof = usize::try_from(oneof).expect("small");
                    let members = message
                        .field
                        .iter()
                        .filter(|member| member.oneof_index == field.oneof_index);
                    members.clone().nth(chosen[oneof] % members.count()) == Some(field)
                }
                None => depth < MAX_DEPTH && dice.below(3) == 0,
            };
            let times = match field.label() {
                Label::Required => 1,
                Label::Optional => usize::from(wanted || entry || field.default_value.is_some()),
                Label::Repeated => {
                    if wanted {
                        1 + dice.below(3)
                    } else {
                        0
                    }
                }
            };
            for _ in 0..times {
                self.field(field, dice, depth, &mut encoded);
            }
        }
        encoded
    }

    fn field(&self, field: &FieldDescriptorProto, dice: &mut Dice, depth: u32, out: &mut Vec<u8>) {
        let number = u64::try_from(field.number()).expect("positive") << 3;
        let varint = |out: &mut Vec<u8>, value: u64| {
            prost::encoding::encode_varint(number, out);
            prost::encoding::encode_varint(value, out);
        };
        let delimited = |out: &mut Vec<u8>, held: &[u8]| {
            prost::encoding::encode_varint(number | 2, out);
            prost::encoding::encode_varint(held.len() as u64, out);
            out.extend_from_slice(held);
        };
        match field.r#type() {
            Type::Message => delimited(out, &self.message(field.type_name(), dice, depth + 1)),
            Type::String => delimited(out, text(dice).as_bytes()),
            Type::Bytes => {
                let bytes: Vec<u8> = (0..dice.below(20))
                    .map(|_| dice.any().to_le_bytes()[3])
                    .collect();
                delimited(out, &bytes);
            }
            Type::Enum => {
                let values = &self.enums[field.type_name()].value;
                let value = values[dice.below(values.len())].number();
                varint(
                    out,
                    u64::from(u32::try_from(value).expect("no enum has negative values")),
                );
            }
            Type::Bool => varint(out, dice.any() & 1),
            Type::Uint32 => varint(out, u64::from(u32::MAX) & edge(dice)),
            Type::Int32 => varint(out, i64::from(edge(dice) as u32 as i32) as u64),
            Type::Uint64 | Type::Int64 => varint(out, edge(dice)),
            Type::Double => {
                prost::encoding::encode_varint(number | 1, out);
                out.extend_from_slice(&double(dice).to_le_bytes());
            }
            Type::Float
            | Type::Fixed32
            | Type::Fixed64
            | Type::Sfixed32
            | Type::Sfixed64
            | Type::Sint32
            | Type::Sint64
            | Type::Group => panic!("{} has a type that nobody uses", field.name()),
        }
    }
}

/// Large and small numbers, and those at the ends.
fn edge(dice: &mut Dice) -> u64 {
    match dice.below(4) {
        0 => 0,
        1 => u64::MAX >> dice.below(64),
        2 => dice.any() % 100_000,
        _ => dice.any(),
    }
}

/// Any double but NaN, which is no value of a message.
fn double(dice: &mut Dice) -> f64 {
    match dice.below(6) {
        0 => 0.0,
        1 => f64::INFINITY,
        2 => (dice.any() % 1_000_000) as f64 / 1000.0,
        3 => -(dice.any() as f64),
        _ => Some(f64::from_bits(dice.any()))
            .filter(|number| !number.is_nan())
            .unwrap_or(0.1),
    }
}

/// Text with all that has to be escaped, and some that has not.
fn text(dice: &mut Dice) -> String {
    const CHARACTERS: [char; 14] = [
        'a', 'Z', '0', '/', '"', '\\', '\n', '\t', '\u{1}', '\u{1f}', '\u{7f}', 'ß', '€', '𝄞',
    ];
    (0..dice.below(12))
        .map(|_| CHARACTERS[dice.below(CHARACTERS.len())])
        .collect()
}
