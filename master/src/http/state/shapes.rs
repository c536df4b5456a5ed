//! The JSON of `/state`, in the order in which its parts stand in each other. Memory and disk are in MB; what Mesos always
//! writes is always written, what it leaves out when unset is left out.

use std::collections::BTreeMap;

use mete_daemon::mesos_http::Built;
use mete_master_core::{Framework, Task};
use mete_model::{
    ExecutorSpec, FaultDomain, FrameworkInfo, Limit, MEBIBYTE, Resources, TaskLimits, TaskStatus,
};
use mete_proto::convert::offer_constraints;
use mete_proto::convert::resources::to_endpoints;
use mete_proto::json::{self as proto_json, Json};
use mete_proto::mesos::v1 as wire;
use prost::Message;
use serde::Serialize;
use serde::ser::{SerializeSeq as _, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// Everything but agents and frameworks.
#[derive(Serialize)]
pub(super) struct StateShape<'a> {
    pub(super) version: &'a str,
    pub(super) mete_version: &'a str,
    #[serde(flatten)]
    pub(super) built: Built,
    pub(super) id: &'a str,
    pub(super) pid: String,
    pub(super) hostname: &'a str,
    pub(super) cluster: &'a str,
    pub(super) start_time: f64,
    pub(super) elected_time: f64,
    pub(super) leader: String,
    pub(super) leader_info: LeaderShape<'a>,
    pub(super) capabilities: [&'a str; 3],
    pub(super) activated_slaves: usize,
    pub(super) deactivated_slaves: usize,
    pub(super) unreachable_slaves: usize,
    pub(super) flags: &'a BTreeMap<String, String>,
}

/// The master that decides: this one.
#[derive(Default, Serialize)]
pub(super) struct LeaderShape<'a> {
    pub(super) id: &'a str,
    pub(super) pid: String,
    pub(super) port: u16,
    pub(super) hostname: &'a str,
}

/// An agent, in Mesos' older word.
#[derive(Serialize)]
pub(super) struct AgentShape<'a> {
    pub(super) id: &'a str,
    pub(super) hostname: &'a str,
    pub(super) port: u16,
    pub(super) pid: String,
    pub(super) attributes: BTreeMap<&'a str, Value>,
    pub(super) registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reregistered_time: Option<f64>,
    pub(super) resources: ResourcesShape,
    pub(super) used_resources: ResourcesShape,
    pub(super) offered_resources: ResourcesShape,
    pub(super) reserved_resources: BTreeMap<String, ResourcesShape>,
    pub(super) reserved_resources_full: BTreeMap<String, Vec<Box<RawValue>>>,
    pub(super) unreserved_resources: ResourcesShape,
    pub(super) unreserved_resources_full: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) used_resources_full: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offered_resources_full: Option<Vec<Box<RawValue>>>,
    pub(super) active: bool,
    pub(super) deactivated: bool,
    pub(super) admission: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drain_info: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimated_drain_start_time_seconds: Option<f64>,
    /// When its last task is over at the latest, while it drains: not in `drain_info`, which tools compare with the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drain_deadline_seconds: Option<f64>,
    pub(super) version: &'a str,
    /// Of its program.
    pub(super) mete_version: &'a str,
    pub(super) capabilities: [&'a str; 7],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain: Option<Value>,
}

/// An agent that is not back after a restart of the master.
#[derive(Serialize)]
pub(super) struct RecoveredShape<'a> {
    pub(super) id: &'a str,
    pub(super) hostname: &'a str,
    pub(super) port: u16,
}

/// An agent that is not heard of.
#[derive(Serialize)]
pub(super) struct UnreachableShape<'a> {
    pub(super) id: &'a str,
    pub(super) hostname: &'a str,
    pub(super) port: u16,
    /// Since when, in seconds.
    pub(super) unreachable_time: f64,
}

/// A framework without what it has.
#[derive(Serialize)]
pub(super) struct FrameworkShape<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) user: &'a str,
    pub(super) hostname: &'a str,
    /// Empty when the framework has none.
    pub(super) webui_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) principal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) roles: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offer_constraints: Option<Box<RawValue>>,
    pub(super) capabilities: Vec<&'a str>,
    pub(super) failover_timeout: f64,
    pub(super) checkpoint: bool,
    pub(super) active: bool,
    pub(super) connected: bool,
    pub(super) recovered: bool,
    pub(super) registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reregistered_time: Option<f64>,
    pub(super) unregistered_time: f64,
    pub(super) resources: ResourcesShape,
    pub(super) used_resources: ResourcesShape,
    pub(super) offered_resources: ResourcesShape,
}

/// What looks after a group of tasks.
#[derive(Serialize)]
pub(super) struct ExecutorShape<'a> {
    pub(super) executor_id: &'a str,
    pub(super) name: &'a str,
    pub(super) framework_id: &'a str,
    pub(super) slave_id: &'a str,
    pub(super) role: &'a str,
    pub(super) resources: ResourcesShape,
    #[serde(flatten)]
    pub(super) said: SaidOfExecutor,
}

/// What a framework said of an executor.
#[derive(Serialize)]
pub(super) struct SaidOfExecutor {
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

impl SaidOfExecutor {
    /// Of what is known of it.
    pub(super) fn of(spec: &ExecutorSpec) -> Self {
        let info = wire::ExecutorInfo::from(spec);
        let kind = info.r#type.is_some();
        Self {
            command: info.command.as_ref().map(message),
            container: info.container.as_ref().map(message),
            labels: info.labels.as_ref().map(label_list),
            kind: kind.then(|| info.r#type().as_str_name()),
            source: info.source,
        }
    }
}

/// An offer on the table.
#[derive(Serialize)]
pub(super) struct OfferShape<'a> {
    pub(super) id: &'a str,
    pub(super) framework_id: &'a str,
    pub(super) slave_id: &'a str,
    pub(super) role: &'a str,
    pub(super) resources: ResourcesShape,
}

/// A task.
#[derive(Serialize)]
pub(super) struct TaskShape<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) framework_id: &'a str,
    pub(super) executor_id: &'a str,
    pub(super) slave_id: &'a str,
    pub(super) state: &'a str,
    pub(super) resources: ResourcesShape,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<Value>,
    pub(super) role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) labels: Vec<LabelShape<'a>>,
    pub(super) statuses: ReportsShape<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) discovery: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_check: Option<Box<RawValue>>,
}

/// A label.
#[derive(Serialize)]
pub(super) struct LabelShape<'a> {
    pub(super) key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<&'a str>,
}

impl<'a> LabelShape<'a> {
    /// Of its key and its value.
    pub(super) const fn of((key, value): (&'a str, Option<&'a str>)) -> Self {
        Self { key, value }
    }
}

/// What was said of a task: one report of each state, made whole one after the other.
pub(super) struct ReportsShape<'a>(pub(super) &'a Task);

impl Serialize for ReportsShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.reports.len()))?;
        for report in &self.0.reports {
            list.serialize_element(&super::status_shape(&self.0.told(report)))?;
        }
        list.end()
    }
}

/// The last report of one state.
#[derive(Serialize)]
pub(super) struct StatusShape<'a> {
    pub(super) state: &'a str,
    pub(super) timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) healthy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container_status: Option<ContainerStatusShape<'a>>,
}

/// What a task runs in, and how that stands in the network.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum ContainerStatusShape<'a> {
    /// As an executor of a framework's own said it.
    AsSaid(Box<RawValue>),
    /// As agents say it.
    Ours {
        #[serde(skip_serializing_if = "Option::is_none")]
        container_id: Option<ValueShape<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        network_infos: Option<[NetworkShape<'a>; 1]>,
    },
}

/// An id.
#[derive(Serialize)]
pub(super) struct ValueShape<'a> {
    value: &'a str,
}

/// A network with the task's addresses in it.
#[derive(Serialize)]
pub(super) struct NetworkShape<'a> {
    ip_addresses: Vec<AddressShape<'a>>,
}

#[derive(Serialize)]
struct AddressShape<'a> {
    protocol: &'static str,
    ip_address: &'a str,
}

impl<'a> AddressShape<'a> {
    fn of(address: &'a str) -> Self {
        let protocol = if address.contains(':') {
            "IPv6"
        } else {
            "IPv4"
        };
        Self {
            protocol,
            ip_address: address,
        }
    }
}

impl<'a> ContainerStatusShape<'a> {
    /// Of a report that has it in its message.
    pub(super) fn as_said(status: &wire::TaskStatus) -> Option<Self> {
        status
            .container_status
            .as_ref()
            .map(message)
            .map(Self::AsSaid)
    }

    /// Of any other report.
    pub(super) fn of(status: &'a TaskStatus) -> Option<Self> {
        let addresses = status.ip_addresses.iter();
        let ip_addresses: Vec<_> = addresses.map(|ip| AddressShape::of(ip)).collect();
        let container_id = status
            .container
            .as_ref()
            .map(|id| ValueShape { value: id.as_str() });
        let network_infos = (!ip_addresses.is_empty()).then_some([NetworkShape { ip_addresses }]);
        (container_id.is_some() || network_infos.is_some()).then_some(Self::Ours {
            container_id,
            network_infos,
        })
    }
}

/// Resources as Mesos writes them: four numbers always, further scalars and ports when there are some.
#[derive(Clone, Default, Serialize)]
pub(in crate::http) struct ResourcesShape {
    cpus: f64,
    gpus: f64,
    mem: f64,
    disk: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, f64>,
}

impl ResourcesShape {
    /// Whatever they are reserved for.
    pub(in crate::http) fn of(resources: &Resources) -> Self {
        let resources = resources.flat();
        let [cpus, gpus, mem, disk] = resources.in_units().map(|(_, amount)| amount);
        let others = resources.others_in_units();
        Self {
            cpus,
            gpus,
            mem,
            disk,
            ports: (!resources.ports.is_empty()).then(|| resources.ports.to_string()),
            others: others
                .map(|(name, amount)| (name.to_owned(), amount))
                .collect(),
        }
    }
}

/// Where an agent stands, as far as failures go.
pub(super) fn domain(domain: &FaultDomain) -> Value {
    let FaultDomain { region, zone } = domain;
    json!({ "fault_domain": { "region": { "name": region }, "zone": { "name": zone } } })
}

/// Each resource as a message: what is reserved has `role` and `reservation` beside `reservations`, of refined ones these
/// alone.
pub(super) fn full(resources: &Resources) -> Vec<Box<RawValue>> {
    to_endpoints(resources).iter().map(message).collect()
}

/// The labels of a framework.
pub(super) fn labels_of(info: &FrameworkInfo) -> Option<Vec<Value>> {
    let info = wire::FrameworkInfo::from(info);
    info.labels.as_ref().map(label_list)
}

/// Which agents a framework wants offers of, by role.
pub(super) fn offer_constraints(framework: &Framework) -> Option<Box<RawValue>> {
    let constraints = offer_constraints::to_wire(&framework.rules.constraints);
    constraints.as_ref().map(message)
}

/// A message as the JSON that stands for it everywhere.
pub(super) fn message<T: Message + Json>(message: &T) -> Box<RawValue> {
    let json = String::from_utf8(proto_json::to_vec(message)).ok();
    // JSON that we have written is JSON.
    json.and_then(|json| RawValue::from_string(json).ok())
        .unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// Labels, a value for each.
pub(super) fn label_list(labels: &wire::Labels) -> Vec<Value> {
    let labels = labels.labels.iter();
    labels
        .map(|label| json!({ "key": label.key, "value": label.value() }))
        .collect()
}

/// Limits of a task beyond its resources; no number in JSON is infinite, so no limit is a word (Mesos').
pub(super) fn limits(limits: &TaskLimits) -> Option<Value> {
    let one = |limit: Limit, unit: f64| match limit {
        Limit::At(amount) => Value::from(amount as f64 / unit),
        Limit::Unlimited => Value::from("Infinity"),
    };
    let cpus = limits.cpus_milli.map(|limit| ("cpus", one(limit, 1e3)));
    let mem = limits.mem_bytes;
    let mem = mem.map(|limit| ("mem", one(limit, MEBIBYTE as f64)));
    let said = cpus.into_iter().chain(mem);
    let said: Map<_, _> = said.map(|(name, value)| (name.to_owned(), value)).collect();
    (!said.is_empty()).then_some(Value::Object(said))
}
