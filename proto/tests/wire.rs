//! What crosses the network: numbers that must never change, required fields, refusals by name, round trips, JSON.

#[path = "wire/arbitrary.rs"]
mod arbitrary;
#[path = "wire/demand.rs"]
mod demand;
#[path = "wire/descriptors.rs"]
mod descriptors;
#[path = "wire/json.rs"]
mod json;
#[path = "wire/recordio.rs"]
mod recordio;
#[path = "wire/refusals.rs"]
mod refusals;
#[path = "wire/reservations.rs"]
mod reservations;
#[path = "wire/rest.rs"]
mod rest;
#[path = "wire/round_trips.rs"]
mod round_trips;
#[path = "wire/strict.rs"]
mod strict;
#[path = "wire/text.rs"]
mod text;

use mete_proto::mesos::v1::{self as wire, value};

/// A scalar resource that belongs to nobody.
fn scalar(name: &str, value: f64) -> wire::Resource {
    wire::Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar.into(),
        scalar: Some(value::Scalar { value }),
        ..wire::Resource::default()
    }
}

/// A port range that belongs to nobody.
fn ports(begin: u64, end: u64) -> wire::Resource {
    wire::Resource {
        name: "ports".to_owned(),
        r#type: value::Type::Ranges.into(),
        ranges: Some(value::Ranges {
            range: vec![value::Range { begin, end }],
        }),
        ..wire::Resource::default()
    }
}

/// The least task that is accepted.
fn task() -> wire::TaskInfo {
    wire::TaskInfo {
        name: "web".to_owned(),
        task_id: wire::TaskId {
            value: "web.1".to_owned(),
        },
        agent_id: wire::AgentId {
            value: "m-S1".to_owned(),
        },
        resources: vec![
            scalar("cpus", 0.5),
            scalar("mem", 32.0),
            ports(31_000, 31_001),
        ],
        command: Some(wire::CommandInfo {
            value: Some("sleep 1".to_owned()),
            ..wire::CommandInfo::default()
        }),
        ..wire::TaskInfo::default()
    }
}
