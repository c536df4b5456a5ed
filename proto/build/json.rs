//! The shapes by which messages become JSON and come out of it: for each message its fields in the order in which they are
//! declared, for each enum its names. `proto/src/json/shape.rs` has their types and says what each part means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::{FOREIGN, constant, is_map_entry, messages, rust_path};

/// As in `shape.rs`.
const MAX_FIELDS: usize = 64;

/// Mete's own fields of messages that come to clients who have not asked for them. A strict reader refuses a whole message for
/// one field that it does not know, so in JSON these are read and never written.
const NOT_WRITTEN: [&str; 6] = [
    ".mesos.v1.AgentInfo.ip",
    ".mesos.v1.InverseOffer.draining",
    ".mesos.v1.Resource.devices",
    ".mesos.v1.scheduler.Event.Subscribed.master_epoch",
    ".mesos.v1.scheduler.Event.Subscribed.protocol_capabilities",
    ".mesos.v1.scheduler.Event.Subscribed.protocol_version",
];

type Messages<'a> = BTreeMap<String, &'a DescriptorProto>;
type Failure = Box<dyn std::error::Error>;

/// Writes the statics of all messages and enums, and `Json` for each type that is generated from them.
pub(crate) fn shapes(files: &FileDescriptorSet) -> Result<String, Failure> {
    let messages = messages(files);
    let mut out = String::new();
    for (name, message) in &messages {
        let entry = is_map_entry(message);
        if !entry {
            shape(&mut out, name, message, &messages)?;
        }
        if !entry && !name.starts_with(FOREIGN) {
            let (path, shape) = (rust_path(name), constant(name));
            writeln!(
                out,
                "impl Json for {path} {{ const SHAPE: &'static Shape = &{shape}; }}"
            )?;
        }
    }
    let fields = messages.values().flat_map(|message| &message.field);
    let used: BTreeSet<&str> = fields.map(|field| field.type_name()).collect();
    for (name, kind) in enums(files, &messages) {
        if used.contains(name.as_str()) {
            names(&mut out, &name, kind)?;
        }
    }
    Ok(out)
}

fn shape(
    out: &mut String,
    name: &str,
    message: &DescriptorProto,
    messages: &Messages<'_>,
) -> Result<(), Failure> {
    let fields = &message.field;
    if fields.len() > MAX_FIELDS {
        return Err(format!("{name} has {} fields, more than {MAX_FIELDS}", fields.len()).into());
    }
    let mut by_number: Vec<usize> = (0..fields.len()).collect();
    by_number.sort_by_key(|&at| fields[at].number());
    let required = |field: &FieldDescriptorProto| field.label() == Label::Required;
    let required: Vec<usize> = (0..fields.len())
        .filter(|&at| required(&fields[at]))
        .collect();
    let required = required.iter().fold(0_u64, |all, at| all | 1 << at);
    writeln!(
        out,
        "static {}: Shape = Shape {{ name: {:?}, fields: &[",
        constant(name),
        &name[1..]
    )?;
    for field in fields {
        let (label, value) = match map_value(field, messages) {
            Some(value) => ("Map", value),
            None => (label(field), field),
        };
        let full = format!("{name}.{}", field.name());
        writeln!(
            out,
            "    Field {{ name: {:?}, key: {:?}, is_written: {}, number: {}, label: Label::{label}, kind: {}, default: {:?} }},",
            field.name(),
            format!(",\"{}\":", field.name()),
            !NOT_WRITTEN.contains(&full.as_str()),
            field.number(),
            kind(value)?,
            default(field)?,
        )?;
    }
    writeln!(
        out,
        "], by_number: &{by_number:?}, required: {required} }};"
    )?;
    Ok(())
}

fn label(field: &FieldDescriptorProto) -> &'static str {
    match field.label() {
        Label::Required => "Required",
        Label::Optional => "Optional",
        Label::Repeated => "Repeated",
    }
}

fn kind(field: &FieldDescriptorProto) -> Result<String, Failure> {
    let held = field.type_name();
    Ok(match field.r#type() {
        Type::Double => "Kind::Double".to_owned(),
        Type::Int32 => "Kind::Int32".to_owned(),
        Type::Int64 => "Kind::Int64".to_owned(),
        Type::Uint32 => "Kind::Uint32".to_owned(),
        Type::Uint64 => "Kind::Uint64".to_owned(),
        Type::Bool => "Kind::Bool".to_owned(),
        Type::String => "Kind::String".to_owned(),
        Type::Bytes => "Kind::Bytes".to_owned(),
        Type::Enum => format!("Kind::Enum(&{})", constant(held)),
        Type::Message => format!("Kind::Message(&{})", constant(held)),
        unused @ (Type::Float
        | Type::Fixed32
        | Type::Fixed64
        | Type::Sfixed32
        | Type::Sfixed64
        | Type::Sint32
        | Type::Sint64
        | Type::Group) => {
            return Err(format!("{} is a {unused:?}, which has no JSON yet", field.name()).into());
        }
    })
}

/// What is written for a field that is not set, as JSON: its declared default, unless it is deprecated.
fn default(field: &FieldDescriptorProto) -> Result<Option<String>, Failure> {
    let deprecated = field
        .options
        .as_ref()
        .is_some_and(|options| options.deprecated());
    let Some(default) = field.default_value.as_ref().filter(|_| !deprecated) else {
        return Ok(None);
    };
    Ok(Some(match field.r#type() {
        Type::Double => format!("{:?}", default.parse::<f64>()?),
        Type::String | Type::Enum => format!("{default:?}"),
        Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Bool => default.clone(),
        other @ (Type::Float
        | Type::Fixed32
        | Type::Fixed64
        | Type::Sfixed32
        | Type::Sfixed64
        | Type::Sint32
        | Type::Sint64
        | Type::Bytes
        | Type::Group
        | Type::Message) => {
            return Err(format!("{} has a default of {other:?}", field.name()).into());
        }
    }))
}

/// The values of a map, when the field is one. Keys are strings, as all of Mesos' are.
fn map_value<'a>(
    field: &FieldDescriptorProto,
    messages: &Messages<'a>,
) -> Option<&'a FieldDescriptorProto> {
    let entry = messages
        .get(field.type_name())
        .filter(|held| is_map_entry(held))?;
    let [key, value] = entry.field.as_slice() else {
        return None;
    };
    (key.r#type() == Type::String).then_some(value)
}

/// Every enum by its full name with a dot before it.
fn enums<'a>(
    files: &'a FileDescriptorSet,
    messages: &Messages<'a>,
) -> Vec<(String, &'a EnumDescriptorProto)> {
    let top = files.file.iter().flat_map(|file| {
        let package = file.package();
        file.enum_type
            .iter()
            .map(move |kind| (format!(".{package}.{}", kind.name()), kind))
    });
    let nested = messages.iter().flat_map(|(name, message)| {
        message
            .enum_type
            .iter()
            .map(move |kind| (format!("{name}.{}", kind.name()), kind))
    });
    top.chain(nested).collect()
}

fn names(out: &mut String, name: &str, kind: &EnumDescriptorProto) -> Result<(), Failure> {
    let first = kind.value.first().map_or("", |value| value.name());
    let mut values: Vec<(i32, &str)> = kind.value.iter().map(|v| (v.number(), v.name())).collect();
    values.sort_unstable();
    writeln!(
        out,
        "static {}: Names = Names {{ name: {:?}, first: {first:?}, values: &{values:?} }};",
        constant(name),
        &name[1..]
    )?;
    Ok(())
}
