//! Words of the model as Mesos' tools read them.

use std::collections::BTreeMap;

use mete_model::{AttributeValue, Attributes, Resources, TaskStatus};
use mete_proto::json as proto_json;
use mete_proto::mesos::v1 as wire;
use serde_json::{Map, Value, json};

/// `cpus`, `gpus`, `mem` and `disk` always, memory and disk in MB; others and ports where there are some. All of them,
/// whatever they are reserved for.
pub(super) fn resources(all: &Resources) -> Value {
    let all = all.flat();
    let mut object = Map::new();
    for (name, amount) in all.in_units().into_iter().chain(all.others_in_units()) {
        object.insert(name.into(), json!(amount));
    }
    if !all.ports.is_empty() {
        object.insert("ports".into(), json!(all.ports.to_string()));
    }
    Value::Object(object)
}

/// What is reserved, by the role that has it in the end.
pub(super) fn reserved(total: &Resources) -> Value {
    let mut by_role: BTreeMap<String, Resources> = BTreeMap::new();
    for (tag, part) in total.parts() {
        if let Some(role) = tag.role() {
            by_role.entry(role.to_string()).or_default().add(part);
        }
    }
    let each = by_role
        .into_iter()
        .map(|(role, kept)| (role, resources(&kept)));
    Value::Object(each.collect())
}

/// Numbers as numbers, the rest as text.
pub(super) fn attributes(all: &Attributes) -> Value {
    let value = |value: &AttributeValue| match value {
        AttributeValue::Scalar(milli) => json!(*milli as f64 / 1e3),
        AttributeValue::Ranges(_) | AttributeValue::Text(_) => json!(value.to_string()),
    };
    let each = all
        .iter()
        .map(|(name, said)| (name.to_owned(), value(said)));
    Value::Object(each.collect())
}

/// What a task runs in, and where it is reached.
pub(super) fn container_status(status: &TaskStatus) -> Value {
    let said = wire::TaskStatus::from(status).container_status;
    let said = said.unwrap_or_default();
    serde_json::from_slice(&proto_json::to_vec(&said)).unwrap_or_default()
}

/// One report.
pub(super) fn status(status: &TaskStatus) -> Value {
    let mut object = json!({
        "state": status.state.as_str(),
        "timestamp": status.timestamp.as_secs_f64(),
        "container_status": container_status(status),
    });
    if let Some(healthy) = status.healthy {
        object["healthy"] = json!(healthy);
    }
    if let Some(message) = &status.message {
        object["message"] = json!(message);
    }
    if let Some(reason) = status.reason {
        object["reason"] = json!(reason.as_str());
    }
    object
}
