//! Quantities. On the wire a scalar is a double of which three digits after the point count, memory and disk in MB of
//! 2^20 bytes; in the model quantities are integers.
//!
//! - What is written and read again has not grown: bytes are cut to thousandths of a MB on the way out, and these become
//!   the next whole byte on the way in. So message → model → message is exact, and an offer never says too much.
//! - Several resources of one name are one. Unreserved resources only; the role on whose account they are handed out
//!   (`allocation_info`) stands beside, not in them.

use mete_model::{MEBIBYTE, Ranges, Resources, Role};

use super::{ConvertError, Within as _, refuse};
use crate::mesos::v1 as wire;
use wire::value::Type;

/// The largest scalar, in thousandths: up to here a double tells all thousandths apart with a margin, also after
/// multiplication. 2^50 thousandths of a MB are an exbibyte.
const MAX_MILLI: u64 = 1 << 50;
/// The last port there is.
const MAX_PORT: u64 = 65_535;

/// All resources of a list together.
///
/// # Errors
/// Names the resource that is bad or not carried yet.
pub fn from_wire(resources: &[wire::Resource]) -> Result<Resources, ConvertError> {
    let mut sum = Resources::none();
    let mut ports = Vec::new();
    for (at, resource) in resources.iter().enumerate() {
        add(&mut sum, &mut ports, resource).within(format_args!("resources[{at}]"))?;
    }
    sum.ports = ports.into_iter().collect();
    Ok(sum)
}

/// One resource per name: cpus, mem, disk, gpus, others by name, ports. Nothing is written for what there is nothing of.
pub fn to_wire(resources: &Resources) -> Vec<wire::Resource> {
    let scalars = [
        ("cpus", resources.cpus_milli),
        ("mem", milli_megabytes(resources.mem_bytes)),
        ("disk", milli_megabytes(resources.disk_bytes)),
        ("gpus", resources.gpus_milli),
    ];
    let scalars = scalars.into_iter().chain(resources.others());
    let mut list: Vec<_> = scalars
        .filter(|(_, milli)| *milli > 0)
        .map(|(name, milli)| scalar(name, milli))
        .collect();
    if !resources.ports.is_empty() {
        list.push(ports(&resources.ports));
    }
    list
}

/// Writes into each resource on whose account it is handed out.
pub fn allocate(resources: &mut [wire::Resource], role: &Role) {
    for resource in resources {
        resource.allocation_info = Some(allocation_info(role));
    }
}

/// On whose account resources are handed out.
pub fn allocation_info(role: &Role) -> wire::resource::AllocationInfo {
    wire::resource::AllocationInfo {
        role: Some(role.as_str().to_owned()),
    }
}

fn add(
    sum: &mut Resources,
    ports: &mut Vec<(u64, u64)>,
    resource: &wire::Resource,
) -> Result<(), ConvertError> {
    refuse_owned(resource)?;
    let name = resource.name.as_str();
    match (name, Type::try_from(resource.r#type)) {
        ("", _) => Err(ConvertError::bad_value(
            "name",
            "\"\"",
            "a resource has a name",
        )),
        ("ports", Ok(Type::Ranges)) => {
            intervals(resource.ranges.as_ref(), "ranges", MAX_PORT, ports)
        }
        ("ports", Ok(Type::Scalar | Type::Set | Type::Text)) => Err(ConvertError::bad_value(
            "type",
            type_name(resource.r#type),
            "ports are RANGES",
        )),
        (_, Ok(Type::Scalar)) => add_scalar(sum, name, milli(resource.scalar.as_ref())?),
        ("cpus" | "mem" | "disk" | "gpus", Ok(Type::Ranges | Type::Set | Type::Text)) => {
            Err(ConvertError::bad_value(
                "type",
                type_name(resource.r#type),
                "cpus, mem, disk and gpus are SCALAR",
            ))
        }
        (_, Ok(Type::Ranges)) => Err(ConvertError::not_carried(
            "type",
            "ranges other than ports are",
        )),
        (_, Ok(Type::Set)) => Err(ConvertError::not_carried(
            "type",
            "resources that are sets are",
        )),
        (_, Ok(Type::Text) | Err(_)) => Err(ConvertError::bad_value(
            "type",
            type_name(resource.r#type),
            "a resource is SCALAR, RANGES or SET",
        )),
    }
}

/// Refuses resources that are somebody's, or special in another way.
fn refuse_owned(resource: &wire::Resource) -> Result<(), ConvertError> {
    let role = resource.role.as_deref().unwrap_or("*");
    refuse(role != "*", "role", "reserved resources are")?;
    refuse(
        resource.reservation.is_some(),
        "reservation",
        "reserved resources are",
    )?;
    refuse(
        !resource.reservations.is_empty(),
        "reservations",
        "reserved resources are",
    )?;
    refuse(
        resource.revocable.is_some(),
        "revocable",
        "revocable resources are",
    )?;
    refuse(resource.shared.is_some(), "shared", "shared resources are")?;
    refuse(
        resource.provider_id.is_some(),
        "provider_id",
        "resource providers are",
    )?;
    let plain_disk = resource
        .disk
        .as_ref()
        .is_none_or(|disk| *disk == wire::resource::DiskInfo::default());
    refuse(!plain_disk, "disk", "volumes and special disks are")
}

fn add_scalar(sum: &mut Resources, name: &str, milli: u64) -> Result<(), ConvertError> {
    let mut more = Resources::none();
    match name {
        "cpus" => more.cpus_milli = milli,
        "mem" => more.mem_bytes = bytes(milli),
        "disk" => more.disk_bytes = bytes(milli),
        "gpus" => more.gpus_milli = milli,
        _ => more.set_other(name, milli),
    }
    sum.add(&more);
    let largest = sum.cpus_milli.max(sum.gpus_milli).max(sum.other(name));
    if largest > MAX_MILLI || sum.mem_bytes.max(sum.disk_bytes) > bytes(MAX_MILLI) {
        return Err(ConvertError::bad_value(
            "scalar",
            milli as f64 / 1e3,
            "the sum is more than can be counted",
        ));
    }
    Ok(())
}

/// A scalar in thousandths.
fn milli(scalar: Option<&wire::value::Scalar>) -> Result<u64, ConvertError> {
    let value = scalar.ok_or_else(|| ConvertError::missing("scalar"))?.value;
    let milli = (value * 1e3).round();
    if !value.is_finite() || value < 0.0 {
        return Err(ConvertError::bad_value(
            "scalar",
            value,
            "a quantity is a number, at least 0",
        ));
    }
    if milli > MAX_MILLI as f64 {
        return Err(ConvertError::bad_value(
            "scalar",
            value,
            "it is more than can be counted",
        ));
    }
    Ok(milli as u64)
}

/// Adds intervals whose numbers are at most `last_allowed`.
pub(super) fn intervals(
    ranges: Option<&wire::value::Ranges>,
    path: &str,
    last_allowed: u64,
    into: &mut Vec<(u64, u64)>,
) -> Result<(), ConvertError> {
    let ranges = ranges.ok_or_else(|| ConvertError::missing(path))?;
    for wire::value::Range { begin, end } in &ranges.range {
        let bad = |rule| ConvertError::bad_value(path, format_args!("{begin}-{end}"), rule);
        if begin > end {
            return Err(bad("a range begins before it ends"));
        }
        if *end > last_allowed {
            return Err(bad("ports end at 65535"));
        }
        into.push((*begin, *end));
    }
    Ok(())
}

/// Bytes that hold so many thousandths of a MB.
fn bytes(milli: u64) -> u64 {
    let bytes = (u128::from(milli) * u128::from(MEBIBYTE)).div_ceil(1_000);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Whole thousandths of a MB that are in so many bytes.
fn milli_megabytes(bytes: u64) -> u64 {
    let milli = u128::from(bytes) * 1_000 / u128::from(MEBIBYTE);
    u64::try_from(milli).unwrap_or(u64::MAX)
}

fn scalar(name: &str, milli: u64) -> wire::Resource {
    wire::Resource {
        name: name.to_owned(),
        r#type: Type::Scalar.into(),
        scalar: Some(wire::value::Scalar {
            value: milli.min(MAX_MILLI) as f64 / 1e3,
        }),
        ..wire::Resource::default()
    }
}

fn ports(ports: &Ranges) -> wire::Resource {
    wire::Resource {
        name: "ports".to_owned(),
        r#type: Type::Ranges.into(),
        ranges: Some(ranges(ports)),
        ..wire::Resource::default()
    }
}

pub(super) fn ranges(ranges: &Ranges) -> wire::value::Ranges {
    let range = ranges
        .intervals()
        .iter()
        .map(|&(begin, end)| wire::value::Range { begin, end });
    wire::value::Ranges {
        range: range.collect(),
    }
}

pub(super) fn type_name(number: i32) -> String {
    Type::try_from(number).map_or_else(
        |_| number.to_string(),
        |known| known.as_str_name().to_owned(),
    )
}
