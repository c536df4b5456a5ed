//! Parts of an agent's resources as they lie on disk: what was reserved or made a volume while the agent ran.

use mete_model::{Device, Devices, Reservation, ReservationKind, Resources, Role, Tag, Volume};
use mete_placement::Amounts;
use serde::{Deserialize, Serialize};

use super::StoredAmounts;

/// Resources of which some are plain: after UNRESERVE, say.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredResources {
    plain: StoredPart,
    parts: Vec<StoredPart>,
}

impl From<&Resources> for StoredResources {
    fn from(resources: &Resources) -> Self {
        Self {
            plain: StoredPart::new(&Tag::default(), &resources.plain()),
            parts: StoredPart::all_of(resources),
        }
    }
}

impl StoredResources {
    /// # Errors
    /// Says what cannot be.
    pub(super) fn read(self) -> Result<Resources, String> {
        let (tag, plain) = self.plain.read()?;
        Ok(StoredPart::read_all(self.parts)?.with_part(tag, plain))
    }
}

/// One part.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredPart {
    reservations: Vec<StoredReservation>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    revocable: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volume: Option<StoredVolume>,
    amounts: StoredAmounts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ports: Vec<(u64, u64)>,
    /// Index and thousandths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    devices: Vec<(u16, u16)>,
}

#[derive(Serialize, Deserialize)]
struct StoredReservation {
    role: String,
    dynamic: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(String, Option<String>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredVolume {
    id: String,
    container_path: String,
    read_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
}

impl StoredPart {
    /// Every part of `made`.
    pub(super) fn all_of(made: &Resources) -> Vec<Self> {
        made.parts()
            .map(|(tag, part)| Self::new(tag, part))
            .collect()
    }

    /// The parts together.
    ///
    /// # Errors
    /// Says what cannot be.
    pub(super) fn read_all(parts: Vec<Self>) -> Result<Resources, String> {
        let mut all = Resources::none();
        for part in parts {
            let (tag, part) = part.read()?;
            all.add_part(tag, part);
        }
        Ok(all)
    }

    fn new(tag: &Tag, part: &Resources) -> Self {
        let devices = part.devices().list().iter();
        Self {
            reservations: tag.reservations.iter().map(Into::into).collect(),
            revocable: tag.revocable,
            shared: tag.shared,
            volume: tag.volume.as_ref().map(Into::into),
            amounts: StoredAmounts::from(&Amounts::from(part)),
            ports: part.ports.intervals().to_vec(),
            devices: devices.map(|one| (one.index, one.milli)).collect(),
        }
    }

    fn read(self) -> Result<(Tag, Resources), String> {
        let reservations: Result<_, String> = self
            .reservations
            .into_iter()
            .map(StoredReservation::read)
            .collect();
        let tag = Tag {
            reservations: reservations?,
            revocable: self.revocable,
            shared: self.shared,
            volume: self.volume.map(StoredVolume::read),
        };
        tag.check_stack().map_err(|bad| bad.to_string())?;
        let mut part = self.amounts.into_resources();
        part.ports = self.ports.into_iter().collect();
        if !self.devices.is_empty() {
            let devices = self.devices.into_iter();
            let devices = devices.map(|(index, milli)| Device { index, milli });
            let devices = Devices::new(devices.collect());
            part = part.with_named_devices(devices.ok_or("a device is there twice")?);
        }
        Ok((tag, part))
    }
}

impl From<&Reservation> for StoredReservation {
    fn from(reservation: &Reservation) -> Self {
        Self {
            role: reservation.role.as_str().to_owned(),
            dynamic: reservation.kind == ReservationKind::Dynamic,
            principal: reservation.principal.clone(),
            labels: reservation.labels.clone(),
        }
    }
}

impl StoredReservation {
    fn read(self) -> Result<Reservation, String> {
        Ok(Reservation {
            role: Role::new(&self.role).map_err(|bad| bad.to_string())?,
            kind: if self.dynamic {
                ReservationKind::Dynamic
            } else {
                ReservationKind::Static
            },
            principal: self.principal,
            labels: self.labels,
        })
    }
}

impl From<&Volume> for StoredVolume {
    fn from(volume: &Volume) -> Self {
        Self {
            id: volume.id.clone(),
            container_path: volume.container_path.clone(),
            read_only: volume.read_only,
            principal: volume.principal.clone(),
        }
    }
}

impl StoredVolume {
    fn read(self) -> Volume {
        Volume {
            id: self.id,
            container_path: self.container_path,
            read_only: self.read_only,
            principal: self.principal,
        }
    }
}
