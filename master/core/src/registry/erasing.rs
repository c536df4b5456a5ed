//! The form of a volume that is to be erased.

use std::collections::BTreeSet;

use mete_model::{Role, VolumeName};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredVolume {
    role: String,
    id: String,
}

impl StoredVolume {
    pub(super) fn all_of(volumes: &BTreeSet<VolumeName>) -> Vec<Self> {
        let stored = |volume: &VolumeName| Self {
            role: volume.role().as_str().to_owned(),
            id: volume.id().to_owned(),
        };
        volumes.iter().map(stored).collect()
    }

    pub(super) fn read_all(all: Vec<Self>) -> Result<BTreeSet<VolumeName>, String> {
        let read = |one: Self| {
            let role = Role::new(&one.role).map_err(|bad| bad.to_string())?;
            VolumeName::new(role, one.id).map_err(|bad| bad.to_string())
        };
        all.into_iter().map(read).collect()
    }
}
