//! Persistent volumes.

use mete_model::{Role, Timestamp, VolumeName};
use serde::{Deserialize, Serialize};

use crate::state::volumes::VolumePhase;

/// One volume.
#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Volume {
    role: String,
    id: String,
    bytes: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    since: u64,
    /// It was destroyed and is to be erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    doomed: bool,
}

impl From<&crate::state::volumes::Volume> for Volume {
    fn from(volume: &crate::state::volumes::Volume) -> Self {
        Self {
            role: volume.name.role().as_str().to_owned(),
            id: volume.name.id().to_owned(),
            bytes: volume.bytes,
            shared: volume.shared,
            since: volume.since.as_micros(),
            doomed: volume.is_doomed(),
        }
    }
}

impl Volume {
    pub(in crate::record) fn read(self) -> Result<crate::state::volumes::Volume, String> {
        let role = Role::new(&self.role).map_err(|bad| bad.to_string())?;
        Ok(crate::state::volumes::Volume {
            name: VolumeName::new(role, self.id).map_err(|bad| bad.to_string())?,
            bytes: self.bytes,
            shared: self.shared,
            since: Timestamp::from_micros(self.since),
            phase: match self.doomed {
                true => VolumePhase::Doomed { failure: None },
                false => VolumePhase::Kept,
            },
        })
    }
}
