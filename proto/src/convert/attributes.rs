//! What an agent says of itself: numbers, ranges of numbers, texts. One value per name.

use std::sync::Arc;

use mete_model::{AttributeValue, Attributes};

use super::resources::{intervals, ranges, type_name};
use super::{ConvertError, Within as _};
use crate::mesos::v1 as wire;
use wire::value::Type;

/// The largest number either side of zero, in thousandths: see `resources`.
const MAX_MILLI: f64 = (1_i64 << 50) as f64;

/// All attributes of a list.
///
/// # Errors
/// Names the attribute that is bad, given twice, or not carried yet.
pub fn from_wire(list: &[wire::Attribute]) -> Result<Attributes, ConvertError> {
    let mut attributes = Attributes::new();
    for (at, attribute) in list.iter().enumerate() {
        add(&mut attributes, attribute).within(format_args!("attributes[{at}]"))?;
    }
    Ok(attributes)
}

/// The attributes in the order of their names.
pub fn to_wire(attributes: &Attributes) -> Vec<wire::Attribute> {
    attributes
        .iter()
        .map(|(name, value)| attribute(name, value))
        .collect()
}

fn add(attributes: &mut Attributes, attribute: &wire::Attribute) -> Result<(), ConvertError> {
    let name = attribute.name.as_str();
    if name.is_empty() {
        return Err(ConvertError::bad_value(
            "name",
            "\"\"",
            "an attribute has a name",
        ));
    }
    if attributes.get(name).is_some() {
        return Err(ConvertError::bad_value("name", name, "it is given twice"));
    }
    attributes.set(name, value(attribute)?);
    Ok(())
}

fn value(attribute: &wire::Attribute) -> Result<AttributeValue, ConvertError> {
    match Type::try_from(attribute.r#type) {
        Ok(Type::Scalar) => {
            let value = attribute
                .scalar
                .as_ref()
                .ok_or_else(|| ConvertError::missing("scalar"))?
                .value;
            scalar(value).ok_or_else(|| {
                ConvertError::bad_value("scalar", value, "it is more than can be counted")
            })
        }
        Ok(Type::Ranges) => {
            let mut found = Vec::new();
            intervals(attribute.ranges.as_ref(), "ranges", u64::MAX, &mut found)?;
            Ok(AttributeValue::Ranges(found.into_iter().collect()))
        }
        Ok(Type::Text) => {
            let text = attribute
                .text
                .as_ref()
                .ok_or_else(|| ConvertError::missing("text"))?;
            Ok(AttributeValue::Text(Arc::from(text.value.as_str())))
        }
        Ok(Type::Set) => Err(ConvertError::not_carried(
            "type",
            "attributes that are sets are",
        )),
        Err(_) => {
            let found = type_name(attribute.r#type);
            Err(ConvertError::bad_value(
                "type",
                found,
                "an attribute is SCALAR, RANGES, SET or TEXT",
            ))
        }
    }
}

/// A number in thousandths; `None` when it is not one, or too large.
pub(crate) fn scalar(value: f64) -> Option<AttributeValue> {
    let milli = (value * 1e3).round();
    (milli.abs() <= MAX_MILLI).then_some(AttributeValue::Scalar(milli as i64))
}

fn attribute(name: &str, value: &AttributeValue) -> wire::Attribute {
    let mut attribute = wire::Attribute {
        name: name.to_owned(),
        ..wire::Attribute::default()
    };
    match value {
        AttributeValue::Scalar(milli) => {
            attribute.set_type(Type::Scalar);
            attribute.scalar = Some(wire::value::Scalar {
                value: *milli as f64 / 1e3,
            });
        }
        AttributeValue::Ranges(numbers) => {
            attribute.set_type(Type::Ranges);
            attribute.ranges = Some(ranges(numbers));
        }
        AttributeValue::Text(text) => {
            attribute.set_type(Type::Text);
            attribute.text = Some(wire::value::Text {
                value: text.as_ref().to_owned(),
            });
        }
    }
    attribute
}
