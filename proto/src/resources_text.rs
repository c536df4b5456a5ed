//! Resources and attributes as people write them in flags and files: `cpus:4;mem:2048;ports:[31000-32000]`, `rack:r1;zone:b`.
//! The form is that of Mesos: parts between semicolons, memory and disk in MB, ranges in brackets, blanks do not matter; a
//! role in parentheses after the name keeps the part for that role: `cpus(prod):4`. Resources also come as Mesos' JSON, a
//! list of `Resource`.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_model::{AttributeValue, Attributes, Resources, Role, Tag};

use crate::convert::{ConvertError, agent, attributes, resources};
use crate::json;
use crate::mesos::v1 as wire;
use wire::value::{Range, Ranges, Scalar, Type};

/// Reads resources, as text or as JSON. What is named twice is added up.
///
/// # Errors
/// Names the part that is bad or not carried yet.
pub fn parse_resources(text: &str) -> Result<Resources, ConvertError> {
    resources::from_wire(&list(text)?)
}

/// Reads what an agent is to have, and which resources were named: one of which there is nothing is named, too.
///
/// # Errors
/// As [`parse_resources`], and when GPUs are not whole.
pub fn parse_total(text: &str) -> Result<(Resources, BTreeSet<String>), ConvertError> {
    let list = list(text)?;
    let total = resources::from_wire(&list)?;
    agent::check_gpus(&total)?;
    let named = list.into_iter().map(|one| one.name).collect();
    Ok((total, named))
}

fn list(text: &str) -> Result<Vec<wire::Resource>, ConvertError> {
    if text.trim_start().starts_with('[') {
        return from_json(text);
    }
    parts(text).map(|part| resource(part?)).collect()
}

/// Reads a list of `Resource`.
fn from_json(text: &str) -> Result<Vec<wire::Resource>, ConvertError> {
    let bad = |why: &dyn std::error::Error| ConvertError::bad_ask("the list of resources", why);
    let list: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|error| bad(&error))?;
    let one = |value: serde_json::Value| {
        json::from_slice(value.to_string().as_bytes()).map_err(|error| bad(&error))
    };
    list.into_iter().map(one).collect()
}

/// Writes resources so that they are read as the same; nothing is an empty text. What came to be while the agent ran
/// (dynamic reservations, volumes, devices) has no such form and is written as Mesos prints it.
pub fn print_resources(resources: &Resources) -> String {
    let plain = resources.plain().without_device_names();
    let mut texts: Vec<String> = Vec::new();
    if !plain.is_empty() {
        texts.push(plain.to_string());
    }
    for (tag, part) in resources.parts() {
        let part = part.clone().without_device_names();
        let written = part.to_string();
        for item in written.split("; ") {
            let (name, value) = item.split_once(':').unwrap_or((item, ""));
            texts.push(match static_role(tag) {
                Some(role) => format!("{name}({role}):{value}"),
                None => format!("{name}{tag}:{value}"),
            });
        }
    }
    texts.join("; ")
}

/// The role, when all that is special is that the agent keeps it for one.
fn static_role(tag: &Tag) -> Option<&Role> {
    tag.role()
        .filter(|role| *tag == Tag::reserved((*role).clone()))
}

/// Reads attributes: `[1-4]` is a set of numbers, `2.5` a number, anything else a text.
///
/// # Errors
/// Names the part that is bad or given twice.
pub fn parse_attributes(text: &str) -> Result<Attributes, ConvertError> {
    let mut found = Attributes::new();
    for part in parts(text) {
        let (name, value) = part?;
        if found.get(name).is_some() {
            return Err(ConvertError::bad_value(
                name,
                value,
                "the name is given twice",
            ));
        }
        found.set(name, attribute(name, value)?);
    }
    Ok(found)
}

/// Writes attributes in the order of their names.
pub fn print_attributes(attributes: &Attributes) -> String {
    let parts: Vec<_> = attributes
        .iter()
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    parts.join("; ")
}

/// Names and values, in the order given.
fn parts(text: &str) -> impl Iterator<Item = Result<(&str, &str), ConvertError>> {
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once(':').unwrap_or((part, ""));
            let (name, value) = (name.trim(), value.trim());
            if name.is_empty() || value.is_empty() {
                let rule = "parts are name:value, with semicolons between them";
                return Err(ConvertError::bad_value(
                    "text",
                    format_args!("{part:?}"),
                    rule,
                ));
            }
            Ok((name, value))
        })
}

fn resource((name, value): (&str, &str)) -> Result<wire::Resource, ConvertError> {
    let mut resource = wire::Resource {
        name: name.to_owned(),
        ..wire::Resource::default()
    };
    if let Some((bare, rest)) = name.split_once('(') {
        let role = rest.strip_suffix(')').ok_or_else(|| {
            ConvertError::bad_value(name, value, "a reserved resource is name(role):value")
        })?;
        resource.name = bare.trim().to_owned();
        resource.role = Some(role.trim().to_owned());
    }
    if value.starts_with('[') {
        resource.set_type(Type::Ranges);
        resource.ranges = Some(ranges(name, value)?);
    } else if value.starts_with('{') {
        return Err(ConvertError::not_carried(
            name,
            "resources that are sets are",
        ));
    } else {
        let number = value
            .parse()
            .map_err(|_| ConvertError::bad_value(name, value, "it is a number, or [a-b]"))?;
        resource.set_type(Type::Scalar);
        resource.scalar = Some(Scalar { value: number });
    }
    // Alone first, so that the error can name it.
    let alone = std::slice::from_ref(&resource);
    resources::from_wire(alone).map_err(|error| ConvertError {
        path: name.to_owned(),
        fault: error.fault,
    })?;
    Ok(resource)
}

fn attribute(name: &str, value: &str) -> Result<AttributeValue, ConvertError> {
    if value.starts_with('[') {
        let intervals = ranges(name, value)?
            .range
            .into_iter()
            .map(|range| (range.begin, range.end));
        return Ok(AttributeValue::Ranges(intervals.collect()));
    }
    let number = value
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite());
    Ok(number
        .and_then(attributes::scalar)
        .unwrap_or_else(|| AttributeValue::Text(Arc::from(value))))
}

fn ranges(name: &str, value: &str) -> Result<Ranges, ConvertError> {
    let bad = || ConvertError::bad_value(name, value, "ranges are [a-b, c-d]");
    let inside = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or_else(bad)?;
    let mut list = Ranges::default();
    for part in inside
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (begin, end) = part.split_once('-').ok_or_else(bad)?;
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| bad());
        let (begin, end) = (number(begin)?, number(end)?);
        if begin > end {
            return Err(ConvertError::bad_value(
                name,
                part,
                "a range begins before it ends",
            ));
        }
        list.range.push(Range { begin, end });
    }
    Ok(list)
}
