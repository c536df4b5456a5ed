//! Quantities, with what is special about some of them.

use std::collections::BTreeMap;

use mete_model::resources::megabytes::{bytes_of, milli_nearest};
use mete_model::{Device, Devices, Reservation, ReservationKind, Resources, Role, Tag, Volume};
use serde::{Deserialize, Serialize};

/// What a task has.
#[derive(Serialize, Deserialize)]
pub(super) struct Quantities {
    #[serde(flatten)]
    plain: Amounts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
struct Amounts {
    #[serde(default)]
    cpus_milli: u64,
    #[serde(default)]
    mem_bytes: u64,
    #[serde(default)]
    disk_bytes: u64,
    #[serde(default)]
    gpus_milli: u64,
    #[serde(default)]
    ports: Vec<(u64, u64)>,
    #[serde(default)]
    other: BTreeMap<String, u64>,
    /// Index and thousandths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    devices: Vec<(u16, u16)>,
}

/// What is special, and so much of it.
#[derive(Serialize, Deserialize)]
struct Part {
    reservations: Vec<ReservationForm>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    revocable: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volume: Option<VolumeForm>,
    amounts: Amounts,
}

impl From<&Resources> for Quantities {
    fn from(all: &Resources) -> Self {
        Self {
            plain: Amounts::from(all),
            parts: all
                .parts()
                .map(|(tag, part)| Part::new(tag, part))
                .collect(),
        }
    }
}

impl Quantities {
    pub(super) fn read(self) -> Result<Resources, String> {
        let mut all = self.plain.read()?;
        for part in self.parts {
            let (tag, part) = part.read()?;
            all.add_part(tag, part);
        }
        Ok(all)
    }
}

/// What is plain of them.
impl From<&Resources> for Amounts {
    fn from(all: &Resources) -> Self {
        let devices = all.devices().list().iter();
        Self {
            cpus_milli: all.cpus_milli,
            mem_bytes: bytes_of(all.mem_milli),
            disk_bytes: bytes_of(all.disk_milli),
            gpus_milli: all.gpus_milli,
            ports: all.ports.intervals().to_vec(),
            other: all
                .others()
                .map(|(name, milli)| (name.to_owned(), milli))
                .collect(),
            devices: devices.map(|one| (one.index, one.milli)).collect(),
        }
    }
}

impl Amounts {
    fn read(self) -> Result<Resources, String> {
        let mut all = Resources::none();
        all.cpus_milli = self.cpus_milli;
        all.mem_milli = milli_nearest(self.mem_bytes);
        all.disk_milli = milli_nearest(self.disk_bytes);
        all.gpus_milli = self.gpus_milli;
        all.ports = self.ports.into_iter().collect();
        for (name, milli) in self.other {
            all.set_other(&name, milli);
        }
        if self.devices.is_empty() {
            return Ok(all);
        }
        let devices = self.devices.into_iter();
        let devices = devices.map(|(index, milli)| Device { index, milli });
        let devices = Devices::new(devices.collect());
        Ok(all.with_named_devices(devices.ok_or("a device is there twice")?))
    }
}

impl Part {
    fn new(tag: &Tag, part: &Resources) -> Self {
        Self {
            reservations: tag.reservations.iter().map(Into::into).collect(),
            revocable: tag.revocable,
            shared: tag.shared,
            volume: tag.volume.as_ref().map(Into::into),
            amounts: Amounts::from(part),
        }
    }

    fn read(self) -> Result<(Tag, Resources), String> {
        let reservations: Result<_, String> = self
            .reservations
            .into_iter()
            .map(ReservationForm::read)
            .collect();
        let tag = Tag {
            reservations: reservations?,
            revocable: self.revocable,
            shared: self.shared,
            volume: self.volume.map(VolumeForm::read),
        };
        tag.check_stack().map_err(|bad| bad.to_string())?;
        Ok((tag, self.amounts.read()?))
    }
}

#[derive(Serialize, Deserialize)]
struct ReservationForm {
    role: String,
    dynamic: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<(String, Option<String>)>,
}

#[derive(Serialize, Deserialize)]
struct VolumeForm {
    id: String,
    container_path: String,
    read_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    principal: Option<String>,
}

impl From<&Reservation> for ReservationForm {
    fn from(reservation: &Reservation) -> Self {
        Self {
            role: reservation.role.as_str().to_owned(),
            dynamic: reservation.kind == ReservationKind::Dynamic,
            principal: reservation.principal.clone(),
            labels: reservation.labels.clone(),
        }
    }
}

impl ReservationForm {
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

impl From<&Volume> for VolumeForm {
    fn from(volume: &Volume) -> Self {
        Self {
            id: volume.id.clone(),
            container_path: volume.container_path.clone(),
            read_only: volume.read_only,
            principal: volume.principal.clone(),
        }
    }
}

impl VolumeForm {
    fn read(self) -> Volume {
        Volume {
            id: self.id,
            container_path: self.container_path,
            read_only: self.read_only,
            principal: self.principal,
        }
    }
}
