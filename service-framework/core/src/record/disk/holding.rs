//! The JSON of what instances hold on their agents.

use mete_model::resources::devices::WHOLE_DEVICE;
use mete_model::resources::megabytes::{bytes_of, milli_nearest};
use mete_model::{AgentId, Device, Devices, FrameworkId, Ranges, Resources, Role};
use serde::{Deserialize, Serialize};

use crate::state::{holdings, releases};

#[derive(Serialize, Deserialize)]
pub(super) struct Holding {
    framework: String,
    role: String,
    cpus_milli: u64,
    mem_bytes: u64,
    disk_bytes: u64,
    /// Whole devices: parts of them are not for apps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gpus: Vec<u16>,
    ports: Vec<(u64, u64)>,
    volumes: Vec<Volume>,
    is_confirmed: bool,
}

#[derive(Serialize, Deserialize)]
struct Volume {
    path: String,
    size_bytes: u64,
    uuid: String,
}

#[derive(Serialize, Deserialize)]
pub(in crate::record) struct Release {
    agent: String,
    holding: Holding,
    is_given: bool,
}

impl From<&holdings::Holding> for Holding {
    fn from(holding: &holdings::Holding) -> Self {
        let volume = |volume: &holdings::LocalVolume| Volume {
            path: volume.container_path.clone(),
            size_bytes: volume.size_bytes,
            uuid: volume.uuid.to_string(),
        };
        let resources = &holding.resources;
        let gpus = resources.devices().list().iter();
        Self {
            framework: holding.framework.to_string(),
            role: holding.role.to_string(),
            cpus_milli: resources.cpus_milli,
            mem_bytes: bytes_of(resources.mem_milli),
            disk_bytes: bytes_of(resources.disk_milli),
            gpus: gpus.map(|device| device.index).collect(),
            ports: resources.ports.intervals().to_vec(),
            volumes: holding.volumes.iter().map(volume).collect(),
            is_confirmed: holding.is_confirmed,
        }
    }
}

impl Holding {
    pub(super) fn back(self) -> Result<holdings::Holding, String> {
        let mut resources = Resources::none();
        resources.cpus_milli = self.cpus_milli;
        resources.mem_milli = milli_nearest(self.mem_bytes);
        resources.disk_milli = milli_nearest(self.disk_bytes);
        for (first, last) in self.ports {
            resources.ports.add(&Ranges::interval(first, last));
        }
        Ok(holdings::Holding {
            framework: FrameworkId::new(self.framework).map_err(|bad| bad.to_string())?,
            role: Role::new(&self.role).map_err(|bad| bad.to_string())?,
            resources: with_gpus(resources, self.gpus)?,
            volumes: self
                .volumes
                .into_iter()
                .map(Volume::back)
                .collect::<Result<_, _>>()?,
            is_confirmed: self.is_confirmed,
        })
    }
}

impl Volume {
    fn back(self) -> Result<holdings::LocalVolume, String> {
        let uuid = self.uuid.parse();
        Ok(holdings::LocalVolume {
            uuid: uuid.map_err(|_| format!("{:?} is no UUID of a volume", self.uuid))?,
            container_path: self.path,
            size_bytes: self.size_bytes,
        })
    }
}

fn with_gpus(mut resources: Resources, indices: Vec<u16>) -> Result<Resources, String> {
    let milli = WHOLE_DEVICE;
    let devices = indices.into_iter().map(|index| Device { index, milli });
    let devices = Devices::new(devices.collect());
    let devices = devices.ok_or_else(|| "it names a GPU twice".to_owned())?;
    resources.gpus_milli = devices.sum_milli();
    Ok(resources.with_named_devices(devices))
}

impl From<&releases::Release> for Release {
    fn from(release: &releases::Release) -> Self {
        Self {
            agent: release.agent.to_string(),
            holding: Holding::from(&release.holding),
            is_given: release.is_given,
        }
    }
}

impl Release {
    /// Where, what, and whether it was given back already.
    pub(in crate::record) fn back(self) -> Result<(AgentId, holdings::Holding, bool), String> {
        let agent = AgentId::new(self.agent).map_err(|bad| bad.to_string())?;
        Ok((agent, self.holding.back()?, self.is_given))
    }
}
