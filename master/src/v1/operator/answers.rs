//! What the calls that ask are answered, but for the state itself.

use std::collections::{BTreeMap, BTreeSet};

use mete_daemon::mesos_http;
use mete_master_core::{Amounts, MachineId, View};
use mete_model::{FrameworkId, Role};
use mete_proto::MESOS_VERSION;
use mete_proto::convert::{maintenance, resources, time_info};
use mete_proto::mesos::v1 as wire;
use wire::allocator::{InverseOfferStatus, inverse_offer_status};
use wire::maintenance::{ClusterStatus, Schedule, Window, cluster_status::DrainingMachine};
use wire::master::response;
use wire::quota::{QuotaConfig, QuotaInfo, QuotaStatus};

use crate::amounts;
use crate::grpc::{About, events};

/// GET_VERSION
pub(super) fn version() -> response::GetVersion {
    let built = mesos_http::built();
    response::GetVersion {
        version_info: wire::VersionInfo {
            version: MESOS_VERSION.to_owned(),
            build_date: Some(built.date),
            build_time: Some(built.time),
            build_user: Some(built.user.to_owned()),
            ..wire::VersionInfo::default()
        },
    }
}

/// GET_FLAGS
pub(super) fn flags(about: &About) -> response::GetFlags {
    let flags = about.flags.iter().map(|(name, value)| wire::Flag {
        name: name.clone(),
        value: Some(value.clone()),
    });
    response::GetFlags {
        flags: flags.collect(),
    }
}

/// GET_MASTER
pub(super) fn master(view: &View, about: &About) -> response::GetMaster {
    let since = view.started.as_secs_f64();
    response::GetMaster {
        master_info: Some(events::master_info(about)),
        start_time: Some(since),
        elected_time: Some(since),
    }
}

/// GET_METRICS
pub(super) fn metrics(numbers: BTreeMap<String, f64>) -> response::GetMetrics {
    let metrics = numbers.into_iter().map(|(name, value)| wire::Metric {
        name,
        value: Some(value),
    });
    response::GetMetrics {
        metrics: metrics.collect(),
    }
}

/// GET_ROLES
pub(super) fn roles(view: &View) -> response::GetRoles {
    let roles = view.roles().into_iter().map(|role| {
        let mut held = resources::to_wire(&role.used.plus(&role.offered));
        resources::allocate(&mut held, &role.role);
        wire::Role {
            name: role.role.to_string(),
            weight: f64::from(role.weight_milli.get()) / 1e3,
            frameworks: role.frameworks.iter().map(Into::into).collect(),
            resources: held,
        }
    });
    response::GetRoles {
        roles: roles.collect(),
    }
}

/// GET_WEIGHTS
pub(super) fn weights(view: &View) -> response::GetWeights {
    let weights = view.weights.iter().map(|(role, milli)| wire::WeightInfo {
        weight: f64::from(milli.get()) / 1e3,
        role: Some(role.to_string()),
    });
    response::GetWeights {
        weight_infos: weights.collect(),
    }
}

/// GET_QUOTA
pub(super) fn quota(view: &View) -> response::GetQuota {
    let roles: BTreeSet<&Role> = view.limits.keys().chain(view.guarantees.keys()).collect();
    let mut status = QuotaStatus::default();
    for role in roles {
        let (guarantee, limit) = (view.guarantees.get(role), view.limits.get(role));
        status.infos.push(QuotaInfo {
            role: Some(role.to_string()),
            guarantee: guarantee.map_or_else(Vec::new, amounts::to_wire),
            ..QuotaInfo::default()
        });
        status.configs.push(QuotaConfig {
            role: role.to_string(),
            guarantees: scalars(guarantee),
            limits: scalars(limit),
        });
    }
    response::GetQuota { status }
}

fn scalars(amounts: Option<&Amounts>) -> BTreeMap<String, wire::value::Scalar> {
    let numbers = amounts.map(amounts::to_json).unwrap_or_default();
    let scalars = numbers.into_iter();
    scalars
        .map(|(name, value)| (name, wire::value::Scalar { value }))
        .collect()
}

/// GET_MAINTENANCE_SCHEDULE
pub(super) fn schedule(view: &View) -> response::GetMaintenanceSchedule {
    let windows = view.schedule.windows().iter().map(|window| Window {
        machine_ids: window.machines.iter().map(machine_id).collect(),
        unavailability: maintenance::to_wire(window.unavailability),
    });
    response::GetMaintenanceSchedule {
        schedule: Schedule {
            windows: windows.collect(),
        },
    }
}

/// GET_MAINTENANCE_STATUS
pub(super) fn maintained(view: &View) -> response::GetMaintenanceStatus {
    let draining = view.schedule.draining().map(|machine| DrainingMachine {
        id: machine_id(machine),
        statuses: said(view, machine),
    });
    response::GetMaintenanceStatus {
        status: ClusterStatus {
            draining_machines: draining.collect(),
            down_machines: view.schedule.down().iter().map(machine_id).collect(),
        },
    }
}

/// What frameworks said to leaving a machine; UNKNOWN from those that said nothing, at the time of this answer.
fn said(view: &View, machine: &MachineId) -> Vec<InverseOfferStatus> {
    use inverse_offer_status::Status;
    let answers = view.answers_of(machine).into_iter();
    let answers = answers.map(|(framework, answer): (&FrameworkId, _)| {
        let status = match answer.map(|answer| answer.accepted) {
            None => Status::Unknown,
            Some(true) => Status::Accept,
            Some(false) => Status::Decline,
        };
        InverseOfferStatus {
            status: status.into(),
            framework_id: framework.into(),
            timestamp: time_info(answer.map_or(view.started, |answer| answer.at)),
        }
    });
    answers.collect()
}

fn machine_id(machine: &MachineId) -> wire::MachineId {
    wire::MachineId {
        hostname: machine.hostname().map(str::to_owned),
        ip: machine.ip().map(str::to_owned),
    }
}
