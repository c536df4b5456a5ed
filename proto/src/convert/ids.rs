//! Ids: opaque text on both sides, checked on the way in.

use bytes::Bytes;
use mete_model::{ContainerId, UpdateId};

use super::{ConvertError, Fault};
use crate::mesos::v1 as wire;

macro_rules! ids {
    ($($name:ident $(, $parent:ident)?;)*) => {
        $(
            impl From<&mete_model::$name> for wire::$name {
                fn from(id: &mete_model::$name) -> Self {
                    Self { value: id.as_str().to_owned() $(, $parent: None)? }
                }
            }

            /// The error's path is the id's own field, `value`.
            impl TryFrom<&wire::$name> for mete_model::$name {
                type Error = ConvertError;
                fn try_from(id: &wire::$name) -> Result<Self, ConvertError> {
                    Self::new(&id.value).map_err(|bad| ConvertError { path: "value".to_owned(), fault: Fault::BadId(bad) })
                }
            }
        )*
    };
}

ids! { AgentId; FrameworkId; OfferId; TaskId; ExecutorId; OperationId; ContainerId, parent; }

/// The id of a container with that of the one in which it is.
pub fn nested(container: &ContainerId, parent: &ContainerId) -> wire::ContainerId {
    wire::ContainerId {
        parent: Some(Box::new(parent.into())),
        ..container.into()
    }
}

/// The id of an update, given as sixteen bytes.
///
/// # Errors
/// When there are not sixteen.
pub fn update_id(path: &str, uuid: &[u8]) -> Result<UpdateId, ConvertError> {
    let rule = "an update id has 16 bytes";
    <[u8; 16]>::try_from(uuid).map(UpdateId).map_err(|_| {
        ConvertError::bad_value(path, format_args!("one of {} bytes", uuid.len()), rule)
    })
}

/// The sixteen bytes of an update's id.
pub fn uuid(id: UpdateId) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}
