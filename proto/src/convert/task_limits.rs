//! Limits of a task beyond its resources: a scalar by the name of the resource, infinity for none (Mesos' rule).

use std::collections::BTreeMap;

use mete_model::{Limit, MEBIBYTE, TaskLimits};

use super::ConvertError;
use crate::mesos::v1 as wire;

/// The largest limit, in CPUs or MB: thousandths of it are told apart, as those of resources are.
const MAX: f64 = (1_u64 << 40) as f64;

/// Reads them. Whether they are below the resources is for the master to say.
pub(super) fn read(
    limits: &BTreeMap<String, wire::value::Scalar>,
) -> Result<TaskLimits, ConvertError> {
    let mut read = TaskLimits::default();
    for (name, scalar) in limits {
        match name.as_str() {
            "cpus" => read.cpus_milli = Some(limit(name, scalar.value, 1_000.0)?),
            "mem" => read.mem_bytes = Some(limit(name, scalar.value, MEBIBYTE as f64)?),
            _ => {
                let rule = "only cpus and mem have limits";
                let name = format_args!("{name:?}");
                return Err(ConvertError::bad_value("limits", name, rule));
            }
        }
    }
    Ok(read)
}

fn limit(name: &str, value: f64, unit: f64) -> Result<Limit, ConvertError> {
    if value == f64::INFINITY {
        return Ok(Limit::Unlimited);
    }
    if value.is_nan() || value <= 0.0 || value > MAX {
        let path = format!("limits[{name:?}]");
        let rule = "a limit is above zero and at most 2^40, or infinite for none";
        return Err(ConvertError::bad_value(path, value, rule));
    }
    Ok(Limit::At((value * unit).round() as u64))
}

/// Writes them.
pub fn to_wire(limits: &TaskLimits) -> BTreeMap<String, wire::value::Scalar> {
    let scalar = |limit: Limit, unit: f64| wire::value::Scalar {
        value: limit
            .amount()
            .map_or(f64::INFINITY, |amount| amount as f64 / unit),
    };
    let cpus = limits.cpus_milli.map(|limit| ("cpus", scalar(limit, 1e3)));
    let mem = limits.mem_bytes;
    let mem = mem.map(|limit| ("mem", scalar(limit, MEBIBYTE as f64)));
    let all = cpus.into_iter().chain(mem);
    all.map(|(name, scalar)| (name.to_owned(), scalar))
        .collect()
}
