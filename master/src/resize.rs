//! How the size of a volume is to change, as frameworks and operators say it alike: GROW_VOLUME, SHRINK_VOLUME.

use std::slice;

use mete_master_core::OperationKind;
use mete_model::Resources;
use mete_proto::convert::{ConvertError, Within as _, resources};
use mete_proto::mesos::v1 as wire;
use wire::value::{Scalar, Type};

/// The volume and what it is to grow by are one amount.
///
/// # Errors
/// Names the field that makes no sense.
pub(crate) fn grow(
    volume: &wire::Resource,
    addition: &wire::Resource,
) -> Result<(OperationKind, Resources), ConvertError> {
    let grown = one(volume).within("volume")?;
    let grown = grown.plus(&one(addition).within("addition")?);
    Ok((OperationKind::Grow, grown))
}

/// A scalar that says how many MB of disk a volume is to lose.
///
/// # Errors
/// Names the field that makes no sense.
pub(crate) fn shrink(
    volume: &wire::Resource,
    subtract: &Scalar,
) -> Result<(OperationKind, Resources), ConvertError> {
    let disk = wire::Resource {
        name: "disk".to_owned(),
        r#type: Type::Scalar.into(),
        scalar: Some(*subtract),
        ..wire::Resource::default()
    };
    let by_milli = one(&disk).within("subtract")?.disk_milli;
    let volume = one(volume).within("volume")?;
    Ok((OperationKind::Shrink { by_milli }, volume))
}

fn one(resource: &wire::Resource) -> Result<Resources, ConvertError> {
    resources::from_wire(slice::from_ref(resource))
}
