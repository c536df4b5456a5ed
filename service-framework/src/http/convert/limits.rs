//! `resourceLimits`, both ways: `{"cpus": 2, "mem": "unlimited"}`.

use mete_model::MEBIBYTE;
use mete_service_framework_core::spec::app::{ResourceLimit, ResourceLimits};
use mete_service_framework_core::validate::quantity;
use serde_json::{Map, Value, json};

use super::Faults;

/// The word for no limit.
const UNLIMITED: &str = "unlimited";

/// What is said; nothing is said by leaving it out, also in an update (Marathon's rule).
pub(super) fn read(said: Option<&Value>, faults: &mut Faults) -> ResourceLimits {
    let mut limits = ResourceLimits::default();
    let entries = match said {
        None | Some(Value::Null) => return limits,
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            faults.shape("/resourceLimits", "error.expected.jsobject");
            return limits;
        }
    };
    for (name, value) in entries {
        let path = format!("/resourceLimits/{name}");
        match name.as_str() {
            "cpus" => limits.cpus_milli = limit(&path, value, 1_000, faults),
            "mem" => limits.mem_bytes = limit(&path, value, MEBIBYTE, faults),
            _ => faults.shape(path, "only cpus and mem have limits"),
        }
    }
    limits
}

fn limit(path: &str, value: &Value, unit: u64, faults: &mut Faults) -> Option<ResourceLimit> {
    match value {
        Value::Null => None,
        Value::String(word) if word == UNLIMITED => Some(ResourceLimit::Unlimited),
        Value::Number(number) => {
            let read = quantity(path, number.as_f64().unwrap_or(f64::NAN), 0.0, unit);
            read.map(ResourceLimit::At)
                .map_err(|violation| faults.shape.push(violation))
                .ok()
        }
        Value::String(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            faults.shape(path, "is neither a number nor \"unlimited\"");
            None
        }
    }
}

/// As it is printed; `None` when there is nothing to say.
pub(super) fn write(limits: &ResourceLimits) -> Option<Value> {
    let one = |limit: ResourceLimit, unit: u64| match limit {
        ResourceLimit::At(amount) if amount.is_multiple_of(unit) => json!(amount / unit),
        ResourceLimit::At(amount) => json!(amount as f64 / unit as f64),
        ResourceLimit::Unlimited => json!(UNLIMITED),
    };
    let cpus = limits.cpus_milli.map(|limit| ("cpus", one(limit, 1_000)));
    let mem = limits.mem_bytes.map(|limit| ("mem", one(limit, MEBIBYTE)));
    let said: Map<_, _> = cpus
        .into_iter()
        .chain(mem)
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    (!said.is_empty()).then_some(Value::Object(said))
}
