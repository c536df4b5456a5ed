//! Names of volumes.

use mete_model::VolumeName;

use super::{ConvertError, role};
use crate::mete::v1 as wire;

impl TryFrom<&wire::VolumeName> for VolumeName {
    type Error = ConvertError;
    fn try_from(name: &wire::VolumeName) -> Result<Self, ConvertError> {
        let role = role("role", &name.role)?;
        Self::new(role, name.id.as_str()).map_err(|bad| ConvertError::bad_ask("id", &bad))
    }
}

impl From<&VolumeName> for wire::VolumeName {
    fn from(name: &VolumeName) -> Self {
        Self {
            role: name.role().as_str().to_owned(),
            id: name.id().to_owned(),
        }
    }
}
