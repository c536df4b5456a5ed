//! Names and numbers as clients of Mesos know them, and ours. They never change.

use mete_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// Message, field, number; `!` stands for required, `*` for repeated.
const FIELDS: &[(&str, &str, i32, char)] = &[
    ("mesos.v1.AgentID", "value", 1, '!'),
    ("mesos.v1.AgentInfo", "hostname", 1, '!'),
    ("mesos.v1.AgentInfo", "resources", 3, '*'),
    ("mesos.v1.AgentInfo", "attributes", 5, '*'),
    ("mesos.v1.AgentInfo", "id", 6, '?'),
    ("mesos.v1.AgentInfo", "port", 8, '?'),
    ("mesos.v1.AgentInfo", "ip", 1000, '?'),
    ("mesos.v1.Attribute", "text", 5, '?'),
    ("mesos.v1.CommandInfo", "uris", 1, '*'),
    ("mesos.v1.CommandInfo", "environment", 2, '?'),
    ("mesos.v1.CommandInfo", "value", 3, '?'),
    ("mesos.v1.CommandInfo", "user", 5, '?'),
    ("mesos.v1.CommandInfo", "shell", 6, '?'),
    ("mesos.v1.CommandInfo", "arguments", 7, '*'),
    ("mesos.v1.Filters", "refuse_seconds", 1, '?'),
    ("mesos.v1.FrameworkInfo", "user", 1, '!'),
    ("mesos.v1.FrameworkInfo", "name", 2, '!'),
    ("mesos.v1.FrameworkInfo", "id", 3, '?'),
    ("mesos.v1.FrameworkInfo", "failover_timeout", 4, '?'),
    ("mesos.v1.FrameworkInfo", "role", 6, '?'),
    ("mesos.v1.FrameworkInfo", "capabilities", 10, '*'),
    ("mesos.v1.FrameworkInfo", "roles", 12, '*'),
    ("mesos.v1.HealthCheck", "http", 1, '?'),
    ("mesos.v1.HealthCheck", "type", 8, '?'),
    ("mesos.v1.HealthCheck", "tcp", 9, '?'),
    ("mesos.v1.KillPolicy", "grace_period", 1, '?'),
    ("mesos.v1.Offer", "id", 1, '!'),
    ("mesos.v1.Offer", "framework_id", 2, '!'),
    ("mesos.v1.Offer", "agent_id", 3, '!'),
    ("mesos.v1.Offer", "hostname", 4, '!'),
    ("mesos.v1.Offer", "resources", 5, '*'),
    ("mesos.v1.Offer", "attributes", 7, '*'),
    ("mesos.v1.Offer", "url", 8, '?'),
    ("mesos.v1.Offer", "allocation_info", 10, '?'),
    ("mesos.v1.Offer.Operation", "launch", 2, '?'),
    ("mesos.v1.Offer.Operation.Launch", "task_infos", 1, '*'),
    ("mesos.v1.Resource", "name", 1, '!'),
    ("mesos.v1.Resource", "type", 2, '!'),
    ("mesos.v1.Resource", "scalar", 3, '?'),
    ("mesos.v1.Resource", "ranges", 4, '?'),
    ("mesos.v1.Resource", "role", 6, '?'),
    ("mesos.v1.Resource", "disk", 7, '?'),
    ("mesos.v1.Resource", "reservation", 8, '?'),
    ("mesos.v1.Resource", "revocable", 9, '?'),
    ("mesos.v1.Resource", "shared", 10, '?'),
    ("mesos.v1.Resource", "allocation_info", 11, '?'),
    ("mesos.v1.Resource", "devices", 1000, '*'),
    ("mesos.v1.Resource.Device", "index", 1, '!'),
    ("mesos.v1.Resource.Device", "milli", 2, '!'),
    ("mesos.v1.Resource.DiskInfo", "persistence", 1, '?'),
    ("mesos.v1.Resource.DiskInfo", "volume", 2, '?'),
    ("mesos.v1.Resource.DiskInfo.Persistence", "id", 1, '!'),
    ("mesos.v1.Resource.ReservationInfo", "principal", 1, '?'),
    ("mesos.v1.Resource.ReservationInfo", "labels", 2, '?'),
    ("mesos.v1.Resource.ReservationInfo", "role", 3, '?'),
    ("mesos.v1.Resource.ReservationInfo", "type", 4, '?'),
    ("mesos.v1.Resource", "reservations", 13, '*'),
    ("mesos.v1.TaskInfo", "name", 1, '!'),
    ("mesos.v1.TaskInfo", "task_id", 2, '!'),
    ("mesos.v1.TaskInfo", "agent_id", 3, '!'),
    ("mesos.v1.TaskInfo", "resources", 4, '*'),
    ("mesos.v1.TaskInfo", "command", 7, '?'),
    ("mesos.v1.TaskInfo", "health_check", 8, '?'),
    ("mesos.v1.TaskInfo", "container", 9, '?'),
    ("mesos.v1.TaskInfo", "labels", 10, '?'),
    ("mesos.v1.TaskInfo", "kill_policy", 12, '?'),
    ("mesos.v1.TaskStatus", "task_id", 1, '!'),
    ("mesos.v1.TaskStatus", "state", 2, '!'),
    ("mesos.v1.TaskStatus", "message", 4, '?'),
    ("mesos.v1.TaskStatus", "agent_id", 5, '?'),
    ("mesos.v1.TaskStatus", "timestamp", 6, '?'),
    ("mesos.v1.TaskStatus", "healthy", 8, '?'),
    ("mesos.v1.TaskStatus", "source", 9, '?'),
    ("mesos.v1.TaskStatus", "reason", 10, '?'),
    ("mesos.v1.TaskStatus", "uuid", 11, '?'),
    ("mesos.v1.Value.Range", "begin", 1, '!'),
    ("mesos.v1.Value.Scalar", "value", 1, '!'),
    ("mesos.v1.scheduler.Call", "framework_id", 1, '?'),
    ("mesos.v1.scheduler.Call", "type", 2, '?'),
    ("mesos.v1.scheduler.Call", "subscribe", 3, '?'),
    ("mesos.v1.scheduler.Call", "accept", 4, '?'),
    ("mesos.v1.scheduler.Call", "decline", 5, '?'),
    ("mesos.v1.scheduler.Call", "kill", 6, '?'),
    ("mesos.v1.scheduler.Call", "acknowledge", 8, '?'),
    ("mesos.v1.scheduler.Call", "reconcile", 9, '?'),
    ("mesos.v1.scheduler.Call", "revive", 15, '?'),
    ("mesos.v1.scheduler.Call", "suppress", 16, '?'),
    ("mesos.v1.scheduler.Call", "update_framework", 19, '?'),
    ("mesos.v1.scheduler.Call", "demand", 1000, '?'),
    ("mesos.v1.scheduler.Call.Shape", "name", 1, '?'),
    ("mesos.v1.scheduler.Call.Shape", "resources", 2, '*'),
    ("mesos.v1.scheduler.Call.Shape", "count", 3, '?'),
    ("mesos.v1.scheduler.Call.Shape", "constraints", 4, '*'),
    ("mesos.v1.scheduler.Call.Shape", "role", 5, '?'),
    ("mesos.v1.scheduler.Call.Shape", "any_ports", 6, '?'),
    ("mesos.v1.scheduler.Call.Shape", "max_per_agent", 7, '?'),
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
        "offer_constraints",
        3,
        '?',
    ),
    (
        "mesos.v1.scheduler.Call.UpdateFramework",
        "offer_constraints",
        3,
        '?',
    ),
    (
        "mesos.v1.scheduler.OfferConstraints",
        "role_constraints",
        1,
        '*',
    ),
    ("mesos.v1.scheduler.AttributeConstraint", "selector", 1, '!'),
    (
        "mesos.v1.scheduler.AttributeConstraint",
        "predicate",
        2,
        '!',
    ),
    ("mesos.v1.FrameworkInfo", "offer_filters", 13, '*'),
    ("mesos.v1.scheduler.Call.Accept", "offer_ids", 1, '*'),
    ("mesos.v1.scheduler.Call.Accept", "operations", 2, '*'),
    ("mesos.v1.scheduler.Call.Acknowledge", "uuid", 3, '!'),
    (
        "mesos.v1.scheduler.Call.Subscribe",
        "framework_info",
        1,
        '!',
    ),
    (
        "mesos.v1.scheduler.Call.Subscribe",
        "suppressed_roles",
        2,
        '*',
    ),
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
    ("mesos.v1.scheduler.Event", "type", 1, '?'),
    ("mesos.v1.scheduler.Event", "subscribed", 2, '?'),
    ("mesos.v1.scheduler.Event", "offers", 3, '?'),
    ("mesos.v1.scheduler.Event", "rescind", 4, '?'),
    ("mesos.v1.scheduler.Event", "update", 5, '?'),
    ("mesos.v1.scheduler.Event", "failure", 7, '?'),
    ("mesos.v1.scheduler.Event", "error", 8, '?'),
    (
        "mesos.v1.scheduler.Event.Subscribed",
        "framework_id",
        1,
        '!',
    ),
    (
        "mesos.v1.scheduler.Event.Subscribed",
        "heartbeat_interval_seconds",
        2,
        '?',
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
];

/// Enum, value, number.
const VALUES: &[(&str, &str, i32)] = &[
    ("mesos.v1.TaskState", "TASK_STARTING", 0),
    ("mesos.v1.TaskState", "TASK_RUNNING", 1),
    ("mesos.v1.TaskState", "TASK_FINISHED", 2),
    ("mesos.v1.TaskState", "TASK_FAILED", 3),
    ("mesos.v1.TaskState", "TASK_KILLED", 4),
    ("mesos.v1.TaskState", "TASK_LOST", 5),
    ("mesos.v1.TaskState", "TASK_STAGING", 6),
    ("mesos.v1.TaskState", "TASK_ERROR", 7),
    ("mesos.v1.TaskState", "TASK_KILLING", 8),
    ("mesos.v1.TaskState", "TASK_DROPPED", 9),
    ("mesos.v1.TaskState", "TASK_UNREACHABLE", 10),
    ("mesos.v1.TaskState", "TASK_GONE", 11),
    ("mesos.v1.TaskState", "TASK_GONE_BY_OPERATOR", 12),
    ("mesos.v1.TaskState", "TASK_UNKNOWN", 13),
    ("mesos.v1.TaskStatus.Reason", "REASON_INVALID_OFFERS", 6),
    ("mesos.v1.TaskStatus.Reason", "REASON_RECONCILIATION", 9),
    ("mesos.v1.TaskStatus.Source", "SOURCE_MASTER", 0),
    ("mesos.v1.Value.Type", "SCALAR", 0),
    ("mesos.v1.Value.Type", "TEXT", 3),
    ("mesos.v1.Offer.Operation.Type", "LAUNCH", 1),
    (
        "mesos.v1.FrameworkInfo.Capability.Type",
        "PARTITION_AWARE",
        5,
    ),
    ("mesos.v1.FrameworkInfo.Capability.Type", "MULTI_ROLE", 6),
    (
        "mesos.v1.FrameworkInfo.Capability.Type",
        "GPU_FRACTIONS",
        1000,
    ),
    ("mesos.v1.Offer.Operation.Type", "RESERVE", 2),
    ("mesos.v1.Offer.Operation.Type", "UNRESERVE", 3),
    ("mesos.v1.Offer.Operation.Type", "CREATE", 4),
    ("mesos.v1.Offer.Operation.Type", "DESTROY", 5),
    ("mesos.v1.scheduler.Call.Type", "SUBSCRIBE", 1),
    ("mesos.v1.scheduler.Call.Type", "TEARDOWN", 2),
    ("mesos.v1.scheduler.Call.Type", "ACCEPT", 3),
    ("mesos.v1.scheduler.Call.Type", "DECLINE", 4),
    ("mesos.v1.scheduler.Call.Type", "REVIVE", 5),
    ("mesos.v1.scheduler.Call.Type", "KILL", 6),
    ("mesos.v1.scheduler.Call.Type", "ACKNOWLEDGE", 8),
    ("mesos.v1.scheduler.Call.Type", "RECONCILE", 9),
    ("mesos.v1.scheduler.Call.Type", "SUPPRESS", 12),
    ("mesos.v1.scheduler.Call.Type", "UPDATE_FRAMEWORK", 17),
    ("mesos.v1.scheduler.Call.Type", "DEMAND", 1000),
    ("mesos.v1.scheduler.Event.Type", "SUBSCRIBED", 1),
    ("mesos.v1.scheduler.Event.Type", "OFFERS", 2),
    ("mesos.v1.scheduler.Event.Type", "RESCIND", 3),
    ("mesos.v1.scheduler.Event.Type", "UPDATE", 4),
    ("mesos.v1.scheduler.Event.Type", "FAILURE", 6),
    ("mesos.v1.scheduler.Event.Type", "ERROR", 7),
    ("mesos.v1.scheduler.Event.Type", "HEARTBEAT", 8),
];

#[test]
fn fields_have_the_numbers_that_clients_know() {
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
fn values_have_the_numbers_that_clients_know() {
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
