//! Compiles the `.proto` files: messages and services by prost and tonic, the table of required fields by
//! `required` below. No protoc: protox is a compiler in Rust.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

const FILES: [&str; 4] = [
    "mete/v1/scheduler.proto",
    "mete/v1/agent.proto",
    "mete/v1/operator.proto",
    "mete/v1/tasks.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let files: FileDescriptorSet = protox::compile(FILES, ["proto"])?;

    let mut bare = files.clone();
    for file in &mut bare.file {
        file.source_code_info = None; // Comments are for the generated code, reflection needs none.
    }
    std::fs::write(out.join("descriptors.bin"), bare.encode_to_vec())?;
    std::fs::write(out.join("required.rs"), required(&files)?)?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names(); // By which a codec finds what is required of its message.
    tonic_prost_build::configure()
        .build_transport(false) // Our services have a call named Connect; clients are made with `new(channel)`.
        .btree_map(".")
        .bytes(".")
        .codec_path("crate::strict::StrictCodec")
        .compile_fds_with_config(without_deprecations(files), config)?;
    Ok(())
}

/// Deprecated fields and values are on the wire all the same: writing them should not warn.
fn without_deprecations(mut files: FileDescriptorSet) -> FileDescriptorSet {
    fn clear(message: &mut DescriptorProto) {
        let fields = message
            .field
            .iter_mut()
            .filter_map(|field| field.options.as_mut());
        fields.for_each(|options| options.deprecated = None);
        let values = message
            .enum_type
            .iter_mut()
            .flat_map(|kind| &mut kind.value);
        let values = values.filter_map(|value| value.options.as_mut());
        values.for_each(|options| options.deprecated = None);
        message.nested_type.iter_mut().for_each(clear);
    }
    files
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type)
        .for_each(clear);
    files
}

/// Writes `TABLE`: for each message its required fields, and the fields through which more of them can be reached.
fn required(files: &FileDescriptorSet) -> Result<String, std::fmt::Error> {
    let mut messages = BTreeMap::new();
    for file in &files.file {
        for message in &file.message_type {
            collect(&format!(".{}", file.package()), message, &mut messages);
        }
    }
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

/// Every message by its full name, map entries included.
fn collect<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    into: &mut BTreeMap<String, &'a DescriptorProto>,
) {
    let name = format!("{scope}.{}", message.name());
    for nested in &message.nested_type {
        collect(&name, nested, into);
    }
    into.insert(name, message);
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

fn constant(name: &str) -> String {
    name[1..].replace('.', "_").to_uppercase()
}
