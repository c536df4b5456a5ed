//! Compiles the `.proto` files: messages and services by prost and tonic, the tables of required fields by [`required`],
//! the shapes by which messages become JSON by [`json`]. No protoc: protox is a compiler in Rust.

mod json; // the shape of each message
mod required; // what each message must have

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet};

const FILES: [&str; 10] = [
    "mesos/v1/agent/agent.proto",
    "mesos/v1/allocator/allocator.proto",
    "mesos/v1/executor/executor.proto",
    "mesos/v1/master/master.proto",
    "mesos/v1/quota/quota.proto",
    "mesos/v1/resource_provider/resource_provider.proto",
    "mete/v1/scheduler.proto",
    "mete/v1/agent.proto",
    "mete/v1/operator.proto",
    "mete/v1/tasks.proto",
];

/// The package that prost has types of its own for.
const FOREIGN: &str = ".google.";

/// What few messages have, and all would have room for: a resource is a fifth as large without room for a disk's source.
const RARE_AND_LARGE: [&str; 29] = [
    ".mesos.v1.Resource.disk",
    ".mesos.v1.TaskInfo.executor",
    ".mesos.v1.TaskInfo.container",
    ".mesos.v1.TaskInfo.check",
    ".mesos.v1.TaskInfo.health_check",
    ".mesos.v1.TaskStatus.check_status",
    ".mesos.v1.TaskStatus.limitation",
    ".mesos.v1.Task.container",
    ".mesos.v1.Task.health_check",
    ".mesos.v1.Offer.Operation.launch_group",
    ".mesos.v1.Offer.Operation.grow_volume",
    ".mesos.v1.Offer.Operation.shrink_volume",
    ".mesos.v1.Offer.Operation.create_disk",
    ".mesos.v1.Offer.Operation.destroy_disk",
    ".mesos.v1.scheduler.Call.subscribe",
    ".mesos.v1.scheduler.Call.update_framework",
    ".mesos.v1.scheduler.Call.kill",
    ".mesos.v1.scheduler.Call.message",
    ".mesos.v1.scheduler.Call.shutdown",
    ".mesos.v1.scheduler.Call.accept_inverse_offers",
    ".mesos.v1.scheduler.Call.decline_inverse_offers",
    ".mesos.v1.scheduler.Call.acknowledge_operation_status",
    ".mesos.v1.scheduler.Event.subscribed",
    ".mesos.v1.scheduler.Event.update",
    ".mesos.v1.scheduler.Event.update_operation_status",
    ".mete.v1.MasterMessage.message.run_task",
    ".mete.v1.MasterMessage.message.run_group",
    ".mete.v1.AgentMessage.message.register",
    ".mete.v1.AgentTask.executor_info",
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
    std::fs::write(out.join("required.rs"), required::tables(&files)?)?;
    std::fs::write(out.join("json.rs"), json::shapes(&files)?)?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names(); // By which a codec finds what is required of its message.
    for rare in RARE_AND_LARGE {
        config.boxed(rare);
    }
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

/// Every message by its full name with a dot before it, map entries included.
fn messages(files: &FileDescriptorSet) -> BTreeMap<String, &DescriptorProto> {
    let mut messages = BTreeMap::new();
    for file in &files.file {
        for message in &file.message_type {
            collect(&format!(".{}", file.package()), message, &mut messages);
        }
    }
    messages
}

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

/// What a message is called among the generated constants.
fn constant(name: &str) -> String {
    name[1..].replace('.', "_").to_uppercase()
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message
        .options
        .as_ref()
        .is_some_and(|options| options.map_entry())
}

/// The type that prost makes of a message, as it is reached within the crate.
fn rust_path(name: &str) -> String {
    let mut path = "crate".to_owned();
    let (scopes, last) = name[1..]
        .rsplit_once('.')
        .unwrap_or_else(|| ("", &name[1..]));
    for scope in scopes.split('.') {
        path += "::";
        path += &scope.to_snake_case();
    }
    format!("{path}::{}", last.to_upper_camel_case())
}
