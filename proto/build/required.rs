//! The table by which decoding insists on required fields.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

use crate::{constant, messages};

/// Writes `TABLE`: for each message its required fields, and the fields through which more of them can be reached.
pub(crate) fn table(files: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let messages = messages(files);
    let demanding = demanding(&messages);
    let mut out = String::new();
    for name in &demanding {
        writeln!(
            out,
            "static {}: Fields = Fields {{ required: &[",
            constant(name)
        )?;
        for field in messages[*name]
            .field
            .iter()
            .filter(|field| field.label() == Label::Required)
        {
            writeln!(out, "    ({}, {:?}),", field.number(), field.name())?;
        }
        writeln!(out, "], nested: &[")?;
        for field in messages[*name]
            .field
            .iter()
            .filter(|field| demanding.contains(&field.type_name()))
        {
            let (number, name, repeated) = (
                field.number(),
                field.name(),
                field.label() == Label::Repeated,
            );
            let fields = constant(field.type_name());
            writeln!(
                out,
                "    Nested {{ number: {number}, name: {name:?}, repeated: {repeated}, fields: &{fields} }},"
            )?;
        }
        writeln!(out, "] }};")?;
    }
    writeln!(
        out,
        "static TABLE: [(&str, &Fields); {}] = [",
        demanding.len()
    )?;
    for name in &demanding {
        writeln!(out, "    ({:?}, &{}),", &name[1..], constant(name))?;
    }
    writeln!(out, "];")?;
    Ok(out)
}

/// The messages that have a required field, or can hold a message that has one, sorted by name.
fn demanding<'a>(messages: &'a BTreeMap<String, &DescriptorProto>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    loop {
        let more = messages.iter().filter(|(name, message)| {
            !found.contains(&name.as_str())
                && message.field.iter().any(|field| {
                    field.label() == Label::Required
                        || (field.r#type() == Type::Message && found.contains(&field.type_name()))
                })
        });
        let more: Vec<&str> = more.map(|(name, _)| name.as_str()).collect();
        if more.is_empty() {
            found.sort_unstable();
            return found;
        }
        found.extend(more);
    }
}
