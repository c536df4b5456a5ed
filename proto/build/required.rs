//! The tables by which decoding insists on required fields. `proto/src/strict.rs` has their types and says what each part
//! means.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::{FOREIGN, constant, is_map_entry, messages, rust_path};

/// Fields with smaller numbers are found by their number alone. Mete's own begin at 1000.
const DENSE: i32 = 64;

/// Writes for each message its required fields, and the fields through which more of them can be reached.
pub(crate) fn tables(files: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let messages = messages(files);
    let demanding = demanding(&messages);
    let mut out = String::new();
    for name in &demanding {
        fields(&mut out, name, messages[*name], &demanding)?;
    }
    for (name, message) in &messages {
        if is_map_entry(message) || name.starts_with(FOREIGN) {
            continue;
        }
        let fields = match demanding.binary_search(&name.as_str()) {
            Ok(_) => format!("Some(&{})", constant(name)),
            Err(_) => "None".to_owned(),
        };
        let path = rust_path(name);
        writeln!(
            out,
            "impl Checked for {path} {{ const FIELDS: Option<&'static Fields> = {fields}; }}"
        )?;
    }
    Ok(out)
}

fn fields(
    out: &mut String,
    name: &str,
    message: &DescriptorProto,
    demanding: &[&str],
) -> std::fmt::Result {
    let is_nested =
        |field: &FieldDescriptorProto| demanding.binary_search(&field.type_name()).is_ok();
    let (mut required, mut steps) = (Vec::new(), BTreeMap::new());
    for field in &message.field {
        let mut bit = "0".to_owned();
        if field.label() == Label::Required {
            bit = format!("1 << {}", required.len());
            required.push(field.name());
        }
        let nested = match is_nested(field) {
            true => format!("Some(&{})", nested(field)),
            false => "None".to_owned(),
        };
        if field.label() == Label::Required || is_nested(field) {
            let step = format!("Step {{ required: {bit}, nested: {nested} }}");
            steps.insert(field.number(), step);
        }
    }
    let leaf = !message.field.iter().any(is_nested);
    writeln!(
        out,
        "static {}: Fields = Fields {{ required: &{required:?}, leaf: {leaf}, steps: &[",
        constant(name)
    )?;
    let last = steps.range(..DENSE).next_back();
    for number in 0..last.map_or(0, |(last, _)| last + 1) {
        let step = steps.get(&number).map_or("NOTHING", String::as_str);
        writeln!(out, "    {step},")?;
    }
    writeln!(out, "], far: &[")?;
    for (number, step) in steps.range(DENSE..) {
        writeln!(out, "    ({number}, {step}),")?;
    }
    writeln!(out, "] }};")
}

fn nested(field: &FieldDescriptorProto) -> String {
    format!(
        "Nested {{ number: {}, name: {:?}, repeated: {}, fields: &{} }}",
        field.number(),
        field.name(),
        field.label() == Label::Repeated,
        constant(field.type_name())
    )
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
