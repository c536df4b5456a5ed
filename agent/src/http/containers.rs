//! `GET /containers` and `GET /monitor/statistics`: what runs, and what it uses, in the shape of Mesos'
//! `ResourceStatistics`. Pressure, and reads and writes of all disks together, have no place there and stand beside.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mete_model::Limit;
use mete_model::resources::megabytes::bytes_of;
use mete_proto::convert::ids::nested;
use mete_proto::mesos::v1 as wire;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::About;
use super::asked::Asked;
use crate::cgroups::{Cpu, Pressure, Pressures, Traffic};
use crate::containerizer::Usage;
use crate::disk_watch::{DiskUse, VolumeUse, sandbox_limit};
use crate::running::{self, Running};
use crate::statistics::Sample;

/// Which containers are asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    container_id: Option<String>,
    /// Those of the tasks of groups, too.
    show_nested: Option<String>,
}

pub(super) async fn containers(
    State(about): State<Arc<About>>,
    Asked(wanted): Asked<Wanted>,
) -> Json<Value> {
    let nested = wanted.show_nested.as_deref() == Some("true");
    let id = wanted.container_id.as_deref();
    list(&about, nested, |one, entry| {
        let container = one.container.as_str();
        entry.insert("container_id".into(), json!(container));
        entry.insert("status".into(), status(one));
        id.is_none_or(|id| id == container)
    })
    .await
}

pub(super) async fn statistics(State(about): State<Arc<About>>) -> Json<Value> {
    list(&about, false, |_, _| true).await
}

/// Mesos' `ContainerStatus`, as far as it is known.
fn status(one: &Running<'_>) -> Value {
    let mut status = one
        .status
        .map_or_else(|| json!({}), super::json::container_status);
    status["container_id"] = super::json::message(&id(one));
    status
}

/// Names a container as calls do, with that in which it is.
pub(super) fn id(one: &Running<'_>) -> wire::ContainerId {
    match one.parent {
        Some(parent) => nested(one.container, &parent.container),
        None => one.container.into(),
    }
}

/// Those of which `more` says that they are meant; it adds to them what is told besides.
async fn list(
    about: &About,
    nested: bool,
    more: impl Fn(&Running<'_>, &mut Map<String, Value>) -> bool,
) -> Json<Value> {
    let look = about.statistics.fresh().await;
    let view = about.handle.view();
    let mut all = Vec::new();
    for (one, sample) in running::used(&view, &look, nested) {
        let mut entry = Map::new();
        entry.insert("executor_id".into(), json!(one.executor));
        entry.insert("executor_name".into(), json!(one.name));
        entry.insert("framework_id".into(), json!(one.framework.as_str()));
        entry.insert("source".into(), json!(one.source));
        entry.insert("statistics".into(), of(&one, &sample));
        if more(&one, &mut entry) {
            all.push(Value::Object(entry));
        }
    }
    Json(Value::Array(all))
}

/// Fields that are known; the rest is left out.
struct Known(Map<String, Value>);

impl Known {
    fn put(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }
}

/// What one container uses.
pub(super) fn of(one: &Running<'_>, sample: &Sample) -> Value {
    let usage = &sample.usage;
    let resources = one.resources.flat();
    let mut known = Known(Map::new());
    known.put("timestamp", Some(sample.at.as_secs_f64()));
    let most = one.cpu_limit.unwrap_or(Limit::At(resources.cpus_milli));
    known.put("cpus_limit", most.amount().map(|limit| limit as f64 / 1e3));
    known.put("mem_soft_limit_bytes", Some(bytes_of(resources.mem_milli)));
    known.put("cpus_soft_limit", Some(resources.cpus_milli as f64 / 1e3));
    disk(&mut known, one, sample.disk.as_deref());
    known.put("processes", usage.processes.or(usage.pids));
    known.put("threads", usage.pids);
    cpu(&mut known, &usage.cpu);
    memory(&mut known, usage);
    pressure(&mut known, &usage.pressure);
    if let Some(io) = &usage.io {
        let io = json!({
            "read_bytes": io.read_bytes,
            "written_bytes": io.written_bytes,
            "reads": io.reads,
            "writes": io.writes,
        });
        known.put("io", Some(io));
    }
    if let Some(traffic) = &usage.traffic {
        network(&mut known, traffic);
    }
    Value::Object(known.0)
}

/// Where user and system are not told apart, all is the user's.
fn cpu(known: &mut Known, cpu: &Cpu) {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let apart = cpu.user_ns.zip(cpu.system_ns);
    let (user, system) = match (apart, cpu.total_ns) {
        (Some((user, system)), _) => (Some(user), Some(system)),
        (None, total) => (total, total.map(|_| 0)),
    };
    known.put("cpus_user_time_secs", user.map(seconds));
    known.put("cpus_system_time_secs", system.map(seconds));
    known.put("cpus_nr_periods", cpu.periods);
    known.put("cpus_nr_throttled", cpu.throttled_periods);
    known.put("cpus_throttled_time_secs", cpu.throttled_ns.map(seconds));
}

fn memory(known: &mut Known, usage: &Usage) {
    known.put("mem_total_bytes", usage.mem_bytes);
    known.put("mem_rss_bytes", usage.mem_rss_bytes);
    known.put("mem_anon_bytes", usage.mem_rss_bytes);
    known.put("mem_file_bytes", usage.mem_file_bytes);
    known.put("mem_cache_bytes", usage.mem_file_bytes);
    known.put("mem_mapped_file_bytes", usage.mem_mapped_bytes);
    known.put("mem_swap_bytes", usage.mem_swap_bytes);
    known.put("mem_unevictable_bytes", usage.mem_unevictable_bytes);
    known.put("mem_limit_bytes", usage.mem_limit_bytes);
    known.put("mem_peak_bytes", usage.mem_peak_bytes);
    known.put("mem_oom_kills", usage.oom_kills);
}

fn pressure(known: &mut Known, pressures: &Pressures) {
    let one = |pressure: Pressure| {
        json!({
            "some_percent": f64::from(pressure.some_recently) / 1e2,
            "some_secs": pressure.some_us as f64 / 1e6,
            "full_percent": f64::from(pressure.full_recently) / 1e2,
            "full_secs": pressure.full_us as f64 / 1e6,
        })
    };
    let mut all = Known(Map::new());
    all.put("cpu", pressures.cpu.map(one));
    all.put("memory", pressures.memory.map(one));
    all.put("io", pressures.io.map(one));
    known.put("pressure", Some(all.0).filter(|all| !all.is_empty()));
}

/// Of the sandbox, and of each volume by itself.
fn disk(known: &mut Known, one: &Running<'_>, used: Option<&DiskUse>) {
    known.put("disk_limit_bytes", Some(sandbox_limit(&one.resources)));
    let Some(used) = used else { return };
    known.put("disk_used_bytes", used.sandbox_bytes);
    let volume = |volume: &VolumeUse| {
        let mut persistence = json!({ "id": volume.id });
        if let Some(principal) = &volume.principal {
            persistence["principal"] = json!(principal);
        }
        let mut all = json!({ "persistence": persistence, "limit_bytes": volume.limit_bytes });
        if let Some(bytes) = volume.used_bytes {
            all["used_bytes"] = json!(bytes);
        }
        all
    };
    let volumes: Vec<_> = used.volumes.iter().map(volume).collect();
    known.put(
        "disk_statistics",
        Some(volumes).filter(|all| !all.is_empty()),
    );
}

fn network(known: &mut Known, traffic: &Traffic) {
    let directions = [("rx", traffic.received), ("tx", traffic.sent)];
    for (name, direction) in directions {
        known.put(&format!("net_{name}_bytes"), Some(direction.bytes));
        known.put(&format!("net_{name}_packets"), Some(direction.packets));
        known.put(&format!("net_{name}_errors"), Some(direction.errors));
        known.put(&format!("net_{name}_dropped"), Some(direction.dropped));
    }
}
