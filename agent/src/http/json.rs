//! Words of the model as Mesos' tools read them.

use mete_model::{AttributeValue, Attributes, Resources, TaskStatus};
use mete_proto::convert::resources::to_endpoints;
use mete_proto::json as proto_json;
use mete_proto::mesos::v1 as wire;
use prost::Message;
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

/// What is reserved, by the role that has it in the end, each in a shape.
pub(super) fn by_role(total: &Resources, shape: fn(&Resources) -> Value) -> Value {
    let by_role = total.by_role();
    let each = by_role
        .iter()
        .map(|(role, kept)| (role.to_string(), shape(kept)));
    Value::Object(each.collect())
}

/// Each resource as a message.
pub(super) fn full(resources: &Resources) -> Value {
    to_endpoints(resources).iter().map(message).collect()
}

/// Keys, with values where there are some.
pub(super) fn labels(labels: &[(String, Option<String>)]) -> Value {
    let labels = labels.iter().map(|(key, value)| match value {
        Some(value) => json!({ "key": key, "value": value }),
        None => json!({ "key": key }),
    });
    labels.collect()
}

/// A message as the JSON that stands for it everywhere.
pub(super) fn message<T: Message + proto_json::Json>(message: &T) -> Value {
    serde_json::from_slice(&proto_json::to_vec(message)).unwrap_or_default()
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
    message(&said.unwrap_or_default())
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
