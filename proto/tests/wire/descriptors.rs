//! Names and numbers as clients of Mesos know them, and ours. They never change.

use mete_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorSet,
};

/// All of Mesos' v1 API: a line for each message with its fields in the order in which Mesos declares them, and for each enum
/// with its values. A field is `name=number`, a label, a type, its default in brackets, `~` if it is deprecated, `@` and the
/// oneof that it is in; labels are `!` required, `?` optional, `*` repeated, `%` a map. Names stand without `mesos.v1`.
const MESOS: &str = include_str!("mesos-v1.txt");

/// What is ours: message, field, number; `!` stands for required, `*` for repeated.
const FIELDS: &[(&str, &str, i32, char)] = &[
    ("mesos.v1.AgentInfo", "ip", 1000, '?'),
    ("mesos.v1.Resource", "devices", 1000, '*'),
    ("mesos.v1.Resource.Device", "index", 1, '!'),
    ("mesos.v1.Resource.Device", "milli", 2, '!'),
    ("mesos.v1.scheduler.Call", "demand", 1000, '?'),
    ("mesos.v1.scheduler.Call.Shape", "name", 1, '?'),
    ("mesos.v1.scheduler.Call.Shape", "resources", 2, '*'),
    ("mesos.v1.scheduler.Call.Shape", "count", 3, '?'),
    ("mesos.v1.scheduler.Call.Shape", "constraints", 4, '*'),
    ("mesos.v1.scheduler.Call.Shape", "role", 5, '?'),
    ("mesos.v1.scheduler.Call.Shape", "any_ports", 6, '?'),
    ("mesos.v1.scheduler.Call.Shape", "max_per_agent", 7, '?'),
    ("mesos.v1.scheduler.Call.Shape", "preferred", 8, '*'),
    ("mesos.v1.scheduler.Call.Shape", "unreserved", 9, '?'),
    ("mesos.v1.scheduler.Call.Shape", "reserved", 10, '?'),
    ("mesos.v1.scheduler.Call.Shape.Constraint", "field", 1, '!'),
    (
        "mesos.v1.scheduler.Call.Shape.Constraint",
        "operator",
        2,
        '!',
    ),
    ("mesos.v1.scheduler.Call.Shape.Constraint", "value", 3, '?'),
    (
        "mesos.v1.scheduler.Call.Subscribe",
        "protocol_version",
        1000,
        '?',
    ),
    (
        "mesos.v1.scheduler.Call.Subscribe",
        "protocol_capabilities",
        1001,
        '*',
    ),
    (
        "mesos.v1.scheduler.Event.Subscribed",
        "protocol_version",
        1000,
        '?',
    ),
    (
        "mesos.v1.scheduler.Event.Subscribed",
        "master_epoch",
        1002,
        '?',
    ),
    ("mete.v1.AgentMessage", "register", 1, '?'),
    ("mete.v1.AgentMessage", "update", 2, '?'),
    ("mete.v1.AgentMessage", "pong", 3, '?'),
    ("mete.v1.MasterMessage", "registered", 1, '?'),
    ("mete.v1.MasterMessage", "refused", 2, '?'),
    ("mete.v1.MasterMessage", "run_task", 3, '?'),
    ("mete.v1.MasterMessage", "kill_task", 4, '?'),
    ("mete.v1.MasterMessage", "acknowledge", 5, '?'),
    ("mete.v1.MasterMessage", "shutdown_framework", 6, '?'),
    ("mete.v1.MasterMessage", "shutdown", 7, '?'),
    ("mete.v1.MasterMessage", "ping", 8, '?'),
    ("mete.v1.MasterMessage", "standing", 15, '?'),
];

/// What is ours: enum, value, number.
const VALUES: &[(&str, &str, i32)] = &[
    (
        "mesos.v1.FrameworkInfo.Capability.Type",
        "GPU_FRACTIONS",
        1000,
    ),
    ("mesos.v1.scheduler.Call.Type", "DEMAND", 1000),
];

#[test]
fn each_message_and_enum_of_mesos_is_there_as_mesos_declares_it() {
    let (messages, enums) = all();
    let messages = messages
        .iter()
        .filter(|(_, message)| !is_map_entry(message));
    let mut ours: Vec<(String, Vec<(i32, String)>)> = messages
        .map(|(name, message)| (format!("{name}:"), fields_of(name, message)))
        .chain(
            enums
                .iter()
                .map(|(name, kind)| (format!("{name} ="), values_of(kind))),
        )
        .collect();
    ours.sort();

    for line in MESOS.lines() {
        let (name, rest) = line.split_at(line.find([':', '=']).expect("a name") + 1);
        let theirs: Vec<&str> = rest.split_whitespace().collect();

        let at =
            ours.binary_search_by(|(found, _)| found.as_str().cmp(&format!("mesos.v1.{name}")));
        let (_, found) = &ours[at.unwrap_or_else(|_| panic!("{name} is not there"))];
        let found = found
            .iter()
            .filter(|(number, text)| *number < 1000 || theirs.contains(&text.as_str()));
        let found: Vec<&str> = found.map(|(_, text)| text.as_str()).collect();

        assert_eq!(found, theirs, "{name}");
    }
    assert_eq!(
        MESOS.lines().count(),
        351 + 53,
        "messages without entries of maps, and enums"
    );
}

/// Number and text of each field, as a line of [`MESOS`] has them.
fn fields_of(name: &str, message: &DescriptorProto) -> Vec<(i32, String)> {
    let text = |field: &FieldDescriptorProto| {
        let entry = message.nested_type.iter().find(|nested| {
            is_map_entry(nested) && field.type_name() == format!(".{name}.{}", nested.name())
        });
        let held = entry.map_or(field, |entry| &entry.field[1]);
        let label = match (entry, field.label()) {
            (Some(_), _) => '%',
            (None, Label::Optional) => '?',
            (None, Label::Required) => '!',
            (None, Label::Repeated) => '*',
        };
        let kind = match held.type_name() {
            "" => format!("{:?}", held.r#type()).to_lowercase(),
            named => match named.strip_prefix(".mesos.v1") {
                Some(named) => named.to_owned(),
                None => named[1..].to_owned(),
            },
        };
        let mut text = format!("{}={}{label}{kind}", field.name(), field.number());
        if let Some(default) = &field.default_value {
            text += &format!("[{default}]");
        }
        if field
            .options
            .as_ref()
            .is_some_and(|options| options.deprecated())
        {
            text.push('~');
        }
        if let Some(oneof) = field.oneof_index {
            text += &format!(
                "@{}",
                message.oneof_decl[usize::try_from(oneof).expect("small")].name()
            );
        }
        text
    };
    message
        .field
        .iter()
        .map(|field| (field.number(), text(field)))
        .collect()
}

/// Number and text of each value, by number.
fn values_of(kind: &EnumDescriptorProto) -> Vec<(i32, String)> {
    let text = |value: &EnumValueDescriptorProto| {
        let deprecated = value
            .options
            .as_ref()
            .is_some_and(|options| options.deprecated());
        let mark = if deprecated { "~" } else { "" };
        format!("{}={}{mark}", value.name(), value.number())
    };
    let mut values: Vec<_> = kind
        .value
        .iter()
        .map(|value| (value.number(), text(value)))
        .collect();
    values.sort();
    values
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message
        .options
        .as_ref()
        .is_some_and(|options| options.map_entry())
}

#[test]
fn our_fields_keep_their_numbers() {
    let (messages, _) = all();
    for (message, field, number, kind) in FIELDS {
        let (_, found) = messages
            .iter()
            .find(|(name, _)| name == message)
            .expect(message);
        let found = found.field.iter().find(|found| found.name() == *field);
        let found = found.unwrap_or_else(|| panic!("{message} has no {field}"));
        let found_kind = match found.label() {
            Label::Optional => '?',
            Label::Required => '!',
            Label::Repeated => '*',
        };
        assert_eq!(
            (found.number(), found_kind),
            (*number, *kind),
            "{message}.{field}"
        );
    }
}

#[test]
fn our_values_keep_their_numbers() {
    let (_, enums) = all();
    for (kind, value, number) in VALUES {
        let (_, found) = enums.iter().find(|(name, _)| name == kind).expect(kind);
        let found = found.value.iter().find(|found| found.name() == *value);
        assert_eq!(
            found.map(|found| found.number()),
            Some(*number),
            "{kind}.{value}"
        );
    }
}

#[test]
fn unset_fields_read_as_the_defaults_of_mesos() {
    use mete_proto::mesos::v1 as wire;

    assert!(wire::CommandInfo::default().shell());
    assert!(wire::command_info::Uri::default().extract());
    assert_eq!(wire::Filters::default().refuse_seconds(), 5.0);
    assert_eq!(wire::AgentInfo::default().port(), 5051);
    assert_eq!(wire::FrameworkInfo::default().role(), "*");
    assert_eq!(wire::HealthCheck::default().consecutive_failures(), 3);
}

type Named<T> = Vec<(String, T)>;

/// Every message and every enum by full name.
fn all() -> (Named<DescriptorProto>, Named<EnumDescriptorProto>) {
    fn collect(
        scope: &str,
        message: DescriptorProto,
        messages: &mut Named<DescriptorProto>,
        enums: &mut Named<EnumDescriptorProto>,
    ) {
        let name = format!("{scope}.{}", message.name());
        for nested in message.nested_type.clone() {
            collect(&name, nested, messages, enums);
        }
        let nested = message.enum_type.iter().cloned();
        enums.extend(nested.map(|kind| (format!("{name}.{}", kind.name()), kind)));
        messages.push((name, message));
    }
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("our own descriptors");
    let (mut messages, mut enums) = (Vec::new(), Vec::new());
    for file in files.file {
        let package = file.package().to_owned();
        for message in file.message_type {
            collect(&package, message, &mut messages, &mut enums);
        }
        enums.extend(
            file.enum_type
                .into_iter()
                .map(|kind| (format!("{package}.{}", kind.name()), kind)),
        );
    }
    (messages, enums)
}
