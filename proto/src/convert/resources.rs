//! Quantities. On the wire a scalar is a double of which three digits after the point count, memory and disk in MB of
//! 2^20 bytes; in the model quantities are integers, the thousandths of it.
//!
//! - What is written and read again is what it was, so what an offer says can be asked for.
//! - Several resources of one name and of one tag (reservations, volume, revocable, shared) are one. The role on whose
//!   account they are handed out (`allocation_info`) stands beside, not in them.
//! - A port and a device are there once, whatever they are reserved for.

mod tag; // reservations, volumes, revocable, shared

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::ids::MAX_ID_BYTES;
use mete_model::resources::devices::{MAX_DEVICES, WHOLE_DEVICE};
use mete_model::resources::{MAX_OTHERS, MAX_PARTS};
use mete_model::{Device, Devices, Ranges, Resources, Role, Tag};

use super::{ConvertError, Within as _, refuse, without_nul};
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
    let mut sum = Sum::default();
    for (at, resource) in resources.iter().enumerate() {
        sum.add(resource).within(format_args!("resources[{at}]"))?;
    }
    sum.finish()
}

/// One resource per name and tag: cpus, mem, disk, gpus, others by name, ports; what is plain first. Nothing is written
/// for what there is nothing of.
pub fn to_wire(resources: &Resources) -> Vec<wire::Resource> {
    let mut list = plain_to_wire(resources);
    for (tag, part) in resources.parts() {
        let mut items = plain_to_wire(part);
        items.iter_mut().for_each(|item| tag::write(tag, item));
        list.extend(items);
    }
    list
}

/// The same for operators: each with what readers of the older form look for.
pub fn to_endpoints(resources: &Resources) -> Vec<wire::Resource> {
    let mut list = to_wire(resources);
    to_endpoint_form(&mut list);
    list
}

/// Puts reservations as those read them who do not know refinements: `role`, and `reservation` for dynamic ones.
pub fn to_older_form(resources: &mut [wire::Resource]) {
    resources.iter_mut().for_each(tag::write_older_form);
}

/// Adds to each resource what readers of the older form look for: for whom it is, and who reserved it. Refined
/// reservations stand in the newer form alone.
pub fn to_endpoint_form(resources: &mut [wire::Resource]) {
    for resource in resources {
        let newer = resource.reservations.clone();
        tag::write_older_form(resource);
        resource.reservations = newer;
    }
}

fn plain_to_wire(resources: &Resources) -> Vec<wire::Resource> {
    let scalars = [
        ("cpus", resources.cpus_milli),
        ("mem", resources.mem_milli),
        ("disk", resources.disk_milli),
        ("gpus", resources.gpus_milli),
    ];
    let scalars = scalars.into_iter().chain(resources.others());
    let mut list: Vec<_> = scalars
        .filter(|(_, milli)| *milli > 0)
        .map(|(name, milli)| scalar(name, milli))
        .collect();
    if !resources.devices().is_empty()
        && let Some(gpus) = list.iter_mut().find(|one| one.name == "gpus")
    {
        let devices = resources.devices().list().iter();
        gpus.devices = devices
            .map(|one| wire::resource::Device {
                index: one.index.into(),
                milli: one.milli.into(),
            })
            .collect();
    }
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

/// Resources as they are read one by one. Ports are put together at the end, for a list may hold many.
#[derive(Default)]
struct Sum {
    all: Resources,
    ports: BTreeMap<Arc<Tag>, Vec<(u64, u64)>>,
    /// Every device named so far, whatever it is reserved for.
    devices: Devices,
}

impl Sum {
    fn add(&mut self, resource: &wire::Resource) -> Result<(), ConvertError> {
        let name = resource.name.as_str();
        check_name(name)?;
        let tag = Arc::new(tag::read(resource)?);
        if name != "gpus" && !resource.devices.is_empty() {
            let rule = "only gpus have devices";
            return Err(ConvertError::bad_value("devices", name, rule));
        }
        match (name, Type::try_from(resource.r#type)) {
            ("ports", Ok(Type::Ranges)) => {
                let into = self.ports.entry(tag).or_default();
                intervals(resource.ranges.as_ref(), "ranges", MAX_PORT, into)
            }
            ("ports", Ok(Type::Scalar | Type::Set | Type::Text)) => {
                Err(bad_type(resource, "ports are RANGES"))
            }
            (_, Ok(Type::Scalar)) => {
                let item = self.scalar(resource)?;
                self.all.add_part(Arc::clone(&tag), item);
                self.check_bounds(&tag)
            }
            ("cpus" | "mem" | "disk" | "gpus", Ok(Type::Ranges | Type::Set | Type::Text)) => {
                Err(bad_type(resource, "cpus, mem, disk and gpus are SCALAR"))
            }
            (_, Ok(Type::Ranges)) => Err(ConvertError::not_carried(
                "type",
                "ranges other than ports are",
            )),
            (_, Ok(Type::Set)) => Err(ConvertError::not_carried(
                "type",
                "resources that are sets are",
            )),
            (_, Ok(Type::Text) | Err(_)) => {
                Err(bad_type(resource, "a resource is SCALAR, RANGES or SET"))
            }
        }
    }

    /// One scalar, and the devices of a GPU.
    fn scalar(&mut self, resource: &wire::Resource) -> Result<Resources, ConvertError> {
        let milli = milli(resource.scalar.as_ref())?;
        let mut item = Resources::none();
        match resource.name.as_str() {
            "cpus" => item.cpus_milli = milli,
            "mem" => item.mem_milli = milli,
            "disk" => item.disk_milli = milli,
            "gpus" => item.gpus_milli = milli,
            other => item.set_other(other, milli),
        }
        if resource.devices.is_empty() {
            return Ok(item);
        }
        let devices = devices(&resource.devices)?;
        if devices.sum_milli() != milli {
            let rule = "they do not make up the scalar";
            return Err(ConvertError::bad_value("devices", devices, rule));
        }
        if !self.devices.add(&devices) {
            let rule = "more than the whole of one is given";
            return Err(ConvertError::bad_value("devices", devices, rule));
        }
        Ok(item.with_named_devices(devices))
    }

    fn check_bounds(&self, tag: &Tag) -> Result<(), ConvertError> {
        let changed = if tag.is_plain() {
            Some(&self.all)
        } else {
            self.all.part(tag)
        };
        let others = changed.map_or(0, |part| part.others().count());
        if others > MAX_OTHERS {
            let rule = "so many resources of different names are more than can be told apart";
            return Err(ConvertError::bad_value("name", others, rule));
        }
        let parts = self.all.parts().count();
        if parts > MAX_PARTS {
            let rule = "so many different reservations and volumes are more than can be told apart";
            return Err(ConvertError::bad_value("reservations", parts, rule));
        }
        Ok(())
    }

    fn finish(self) -> Result<Resources, ConvertError> {
        let mut all = self.all;
        let mut taken = Ranges::new();
        for (tag, intervals) in self.ports {
            let ports: Ranges = intervals.into_iter().collect();
            let twice = taken.common(&ports);
            if !twice.is_empty() {
                let rule = "a port is either reserved or not, and for one role";
                return Err(ConvertError::bad_value("resources.ports", twice, rule));
            }
            taken.add(&ports);
            all.add_part(tag, Resources::none().with_ports(ports));
        }
        check_sums(&all)?;
        Ok(all)
    }
}

fn check_name(name: &str) -> Result<(), ConvertError> {
    if name.is_empty() || name.len() > MAX_ID_BYTES {
        let rule = "a resource has a name of 1 to 255 bytes";
        return Err(ConvertError::bad_value(
            "name",
            format_args!("{name:?}"),
            rule,
        ));
    }
    without_nul("name", name)
}

fn check_sums(all: &Resources) -> Result<(), ConvertError> {
    let all = all.flat();
    let main = [
        ("cpus", all.cpus_milli > MAX_MILLI),
        ("mem", all.mem_milli > MAX_MILLI),
        ("disk", all.disk_milli > MAX_MILLI),
        ("gpus", all.gpus_milli > MAX_MILLI),
    ];
    let others = all.others().map(|(name, milli)| (name, milli > MAX_MILLI));
    match main.into_iter().chain(others).find(|(_, over)| *over) {
        None => Ok(()),
        Some((name, _)) => Err(ConvertError::bad_value(
            "resources",
            name,
            "the sum is more than can be counted",
        )),
    }
}

fn bad_type(resource: &wire::Resource, rule: &'static str) -> ConvertError {
    ConvertError::bad_value("type", type_name(resource.r#type), rule)
}

/// Devices of one resource, each once.
fn devices(list: &[wire::resource::Device]) -> Result<Devices, ConvertError> {
    let mut read = Vec::with_capacity(list.len());
    for (at, device) in list.iter().enumerate() {
        let bad = |field: &str, value, rule| {
            ConvertError::bad_value(format!("devices[{at}].{field}"), value, rule)
        };
        let index = u16::try_from(device.index)
            .ok()
            .filter(|index| usize::from(*index) < MAX_DEVICES)
            .ok_or_else(|| bad("index", device.index, "devices are numbered from 0 to 1023"))?;
        let milli = u16::try_from(device.milli)
            .ok()
            .filter(|milli| (1..=WHOLE_DEVICE).contains(milli))
            .ok_or_else(|| bad("milli", device.milli, "of a device there are 1 to 1000"))?;
        read.push(Device { index, milli });
    }
    Devices::new(read)
        .ok_or_else(|| ConvertError::bad_value("devices", list.len(), "one is named twice"))
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
    if value > 0.0 && milli == 0.0 {
        return Err(ConvertError::bad_value(
            "scalar",
            value,
            "less than half a thousandth cannot be counted",
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
