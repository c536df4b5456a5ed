//! What survives a restart: agents admitted, draining, unreachable, gone; weights, quotas, policies; the maintenance
//! schedule; frameworks torn down; operations that wait for their acknowledgement; the epoch.
//!
//! One key per thing, so that each change is one small write:
//!
//! ```text
//! agent/<agent id>          admission, endpoint, resources and what was made of them, since when unreachable
//! erasing/<agent id>        volumes that were destroyed and are not erased yet
//! weight/<role>             thousandths
//! limit/<role>              scalars
//! guarantee/<role>          scalars
//! policy/<role>             the name of a packing policy
//! policy                    the same for the cluster
//! maintenance               windows, and machines that are down
//! torn-down/<framework id>  when
//! operation/<framework id>/<operation id>   what was done, until the framework knows
//! epoch                     of the last master that started
//! ```
//! A value is one byte, the version of its format, and JSON. Only this file, and those below it, read and write them.

mod schedule; // the form of the maintenance schedule

mod erasing; // volumes that are to be erased
mod operation; // operations that are done and not acknowledged
mod part; // what was reserved, what was made a volume

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mete_model::resources::megabytes::{bytes_of, milli_nearest};
use mete_model::{
    AgentId, Change, Durable, Endpoint, FrameworkId, Resources, Role, Timestamp, VolumeName,
};
use mete_placement::{Amounts, Policy};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::agents::{Admission, Drain, Pace};
use crate::state::operations::{DoneOperation, OperationKey};
use crate::state::schedule::Schedule;
use erasing::StoredVolume;
use operation::StoredOperation;
use part::StoredPart;
use schedule::StoredSchedule;

/// The version this build writes. There is none before it.
const VERSION: u8 = 1;

/// Torn-down frameworks that are remembered; beyond it the oldest may come back (as many agents as Mesos' registry keeps).
pub(crate) const MAX_TORN_DOWN: usize = 102_400;

/// What of an agent survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRecord {
    /// Its name.
    pub id: AgentId,
    /// Where it was.
    pub endpoint: Endpoint,
    /// What it had; scalars only. So much of the limits of roles is held back until it is there again.
    pub resources: Resources,
    /// What of them was reserved and made volumes while it ran; parts only. The agent does not know of it.
    pub made: Resources,
    /// Whether it may be used.
    pub admission: Admission,
    /// Since when it was unreachable; `None`: it was not.
    pub unreachable_since: Option<Timestamp>,
    /// When it came for the first time.
    pub registered_at: Timestamp,
}

/// One change to what survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An agent is admitted, or something of it has changed.
    Agent(AgentRecord),
    /// An agent is forgotten.
    AgentForgotten(AgentId),
    /// What of its volumes an agent is to erase; nothing: it has erased all.
    Erasing(AgentId, BTreeSet<VolumeName>),
    /// The weight of a role, in thousandths; `None`: that of every role, 1.
    Weight(Role, Option<NonZeroU32>),
    /// The limit of a role; `None`: it has none.
    Limit(Role, Option<Amounts>),
    /// What is kept for a role; `None`: nothing.
    Guarantee(Role, Option<Amounts>),
    /// How places are chosen for a role, or for the cluster; `None`: as one level up.
    Policy(Option<Role>, Option<Policy>),
    /// The maintenance schedule, whole.
    Maintenance(Schedule),
    /// A framework was torn down: its id is refused from now on.
    TornDown(FrameworkId, Timestamp),
    /// A torn-down framework is forgotten.
    TornDownForgotten(FrameworkId),
    /// A named operation is done; its framework is told until it acknowledges.
    Operation(Arc<DoneOperation>),
    /// It need not be told any more.
    OperationForgotten(OperationKey),
    /// A master has started.
    Epoch(u64),
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// The key is of no kind that this build knows.
    #[error("record {key:?} is of no known kind")]
    UnknownKey {
        /// The key as text.
        key: String,
    },
    /// The value was written in a format that this build does not know.
    #[error("record {key:?} has format {version:?}, this build reads format {VERSION}")]
    UnknownVersion {
        /// The key as text.
        key: String,
        /// The first byte of the value.
        version: Option<u8>,
    },
    /// The value is damaged.
    #[error("record {key:?} is damaged")]
    Damaged {
        /// The key as text.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The key or value holds something that cannot be.
    #[error("record {key:?} is damaged: {why}")]
    Impossible {
        /// The key as text.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Everything that survived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registry {
    /// Agents by id.
    pub agents: BTreeMap<AgentId, AgentRecord>,
    /// Volumes that agents are to erase.
    pub erasing: BTreeMap<AgentId, BTreeSet<VolumeName>>,
    /// Weights that were set, in thousandths.
    pub weights: BTreeMap<Role, NonZeroU32>,
    /// Limits that were set.
    pub limits: BTreeMap<Role, Amounts>,
    /// Guarantees that were set.
    pub guarantees: BTreeMap<Role, Amounts>,
    /// Packing policies that were set: by role, and that of the cluster under `None`.
    pub policies: BTreeMap<Option<Role>, Policy>,
    /// The maintenance schedule.
    pub schedule: Schedule,
    /// Frameworks torn down, and when.
    pub torn_down: BTreeMap<FrameworkId, Timestamp>,
    /// Operations that wait for their acknowledgement.
    pub operations: Vec<DoneOperation>,
    /// Of the last master that started; 0 for none.
    pub epoch: u64,
}

impl Registry {
    /// Reads what a store holds.
    ///
    /// # Errors
    /// [`BadRecord`] names the key that cannot be read.
    pub fn read(entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<Self, BadRecord> {
        let mut registry = Self::default();
        for (key, value) in entries {
            let key = String::from_utf8_lossy(&key).into_owned();
            registry.read_one(&key, &value)?;
        }
        Ok(registry)
    }

    /// Begins the next epoch. The record must be stored before anybody is told of it.
    ///
    /// Epochs are never below the seconds since 1970: agents obey no older epoch than the last, and a master whose
    /// state was lost must not be taken for one that has been replaced.
    pub fn begin_epoch(&mut self, now: Timestamp) -> Record {
        self.epoch = (self.epoch + 1).max(now.as_micros() / 1_000_000);
        Record::Epoch(self.epoch)
    }

    fn read_one(&mut self, key: &str, value: &[u8]) -> Result<(), BadRecord> {
        match key.split_once('/') {
            Some(("agent", id)) => {
                let id: AgentId = name(key, id)?;
                let stored: StoredAgent = decode(key, value)?;
                let record = stored.into_record(id.clone());
                let record = record.map_err(|why| BadRecord::Impossible {
                    key: key.to_owned(),
                    why,
                })?;
                self.agents.insert(id, record);
            }
            Some(("erasing", id)) => {
                let stored: Vec<StoredVolume> = decode(key, value)?;
                let volumes = StoredVolume::read_all(stored);
                let volumes = volumes.map_err(|why| BadRecord::Impossible {
                    key: key.to_owned(),
                    why,
                })?;
                self.erasing.insert(name(key, id)?, volumes);
            }
            Some(("weight", role)) => {
                self.weights.insert(name(key, role)?, decode(key, value)?);
            }
            Some(("limit", role)) => {
                let stored: StoredAmounts = decode(key, value)?;
                self.limits.insert(name(key, role)?, stored.into());
            }
            Some(("guarantee", role)) => {
                let stored: StoredAmounts = decode(key, value)?;
                self.guarantees.insert(name(key, role)?, stored.into());
            }
            Some(("policy", role)) => {
                let policy = policy(key, value)?;
                self.policies.insert(Some(name(key, role)?), policy);
            }
            Some(("torn-down", id)) => {
                let at = Timestamp::from_micros(decode(key, value)?);
                self.torn_down.insert(name(key, id)?, at);
            }
            Some(("operation", name)) => self.operations.push(operation(key, name, value)?),
            None if key == "epoch" => self.epoch = decode(key, value)?,
            None if key == "policy" => {
                self.policies.insert(None, policy(key, value)?);
            }
            None if key == "maintenance" => {
                let stored: StoredSchedule = decode(key, value)?;
                self.schedule = stored.into_schedule(key)?;
            }
            Some(_) | None => {
                return Err(BadRecord::UnknownKey {
                    key: key.to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl Durable for Record {
    fn changes(&self) -> Vec<Change> {
        let (key, value) = match self {
            Self::Agent(agent) => (
                format!("agent/{}", agent.id),
                Some(encode(&StoredAgent::from(agent))),
            ),
            Self::AgentForgotten(id) => (format!("agent/{id}"), None),
            Self::Erasing(id, volumes) => {
                let stored = (!volumes.is_empty()).then(|| StoredVolume::all_of(volumes));
                (format!("erasing/{id}"), stored.as_ref().map(encode))
            }
            Self::Weight(role, weight) => (format!("weight/{role}"), weight.as_ref().map(encode)),
            Self::Limit(role, limit) => (format!("limit/{role}"), amounts(limit.as_ref())),
            Self::Guarantee(role, kept) => (format!("guarantee/{role}"), amounts(kept.as_ref())),
            Self::Policy(role, policy) => {
                let key = role.as_ref().map(|role| format!("policy/{role}"));
                let name = policy.map(|policy| encode(&policy.to_string()));
                (key.unwrap_or_else(|| "policy".to_owned()), name)
            }
            Self::Maintenance(schedule) => {
                let stored = StoredSchedule::from(schedule);
                ("maintenance".to_owned(), Some(encode(&stored)))
            }
            Self::TornDown(id, at) => (format!("torn-down/{id}"), Some(encode(&at.as_micros()))),
            Self::TornDownForgotten(id) => (format!("torn-down/{id}"), None),
            Self::Operation(done) => (
                operation_key(&done.key),
                Some(encode(&StoredOperation::from(&**done))),
            ),
            Self::OperationForgotten(key) => (operation_key(key), None),
            Self::Epoch(epoch) => ("epoch".to_owned(), Some(encode(epoch))),
        };
        vec![Change {
            key: key.into_bytes(),
            value,
        }]
    }
}

fn operation_key((framework, id): &OperationKey) -> String {
    format!("operation/{framework}/{id}")
}

fn operation(key: &str, of: &str, value: &[u8]) -> Result<DoneOperation, BadRecord> {
    let unknown = || BadRecord::UnknownKey {
        key: key.to_owned(),
    };
    let (framework, id) = of.split_once('/').ok_or_else(unknown)?;
    let stored: StoredOperation = decode(key, value)?;
    let read = stored.read((name(key, framework)?, name(key, id)?));
    read.map_err(|why| BadRecord::Impossible {
        key: key.to_owned(),
        why,
    })
}

fn amounts(amounts: Option<&Amounts>) -> Option<Vec<u8>> {
    amounts.map(|amounts| encode(&StoredAmounts::from(amounts)))
}

fn policy(key: &str, value: &[u8]) -> Result<Policy, BadRecord> {
    let stored: String = decode(key, value)?;
    name(key, &stored)
}

fn name<T: std::str::FromStr<Err: std::fmt::Display>>(
    key: &str,
    text: &str,
) -> Result<T, BadRecord> {
    text.parse().map_err(|error: T::Err| BadRecord::Impossible {
        key: key.to_owned(),
        why: error.to_string(),
    })
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value)
        .expect("records are plain structs of texts and numbers");
    bytes
}

fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, BadRecord> {
    let key = || key.to_owned();
    match value.split_first() {
        Some((&VERSION, json)) => {
            serde_json::from_slice(json).map_err(|source| BadRecord::Damaged { key: key(), source })
        }
        other => Err(BadRecord::UnknownVersion {
            key: key(),
            version: other.map(|(version, _)| *version),
        }),
    }
}

#[derive(Serialize, Deserialize)]
struct StoredAgent {
    hostname: String,
    ip: String,
    port: u16,
    resources: StoredAmounts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    made: Vec<StoredPart>,
    admission: StoredAdmission,
    unreachable_since_micros: Option<u64>,
    registered_at_micros: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredAdmission {
    Active,
    Draining {
        since_micros: u64,
        deadline_micros: Option<u64>,
        /// Frameworks are asked to leave by the deadline; else tasks are killed at once.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leave: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_grace_micros: Option<u64>,
        mark_gone: bool,
    },
    DrainedSince {
        since_micros: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_grace_micros: Option<u64>,
    },
    /// The same, as masters wrote it that did not keep since when.
    Drained,
    /// And with the longest grace period that tasks had.
    DrainedWithin {
        max_grace_micros: u64,
    },
    Deactivated,
    Gone {
        at_micros: u64,
    },
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct StoredAmounts {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus_milli: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpus_milli: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    other_milli: BTreeMap<Arc<str>, u64>,
}

impl From<&AgentRecord> for StoredAgent {
    fn from(agent: &AgentRecord) -> Self {
        Self {
            hostname: agent.endpoint.hostname.clone(),
            ip: agent.endpoint.ip.clone(),
            port: agent.endpoint.port,
            resources: StoredAmounts::from(&Amounts::from(&agent.resources)),
            made: StoredPart::all_of(&agent.made),
            admission: agent.admission.into(),
            unreachable_since_micros: agent.unreachable_since.map(Timestamp::as_micros),
            registered_at_micros: agent.registered_at.as_micros(),
        }
    }
}

impl StoredAgent {
    fn into_record(self, id: AgentId) -> Result<AgentRecord, String> {
        Ok(AgentRecord {
            id,
            endpoint: Endpoint {
                hostname: self.hostname,
                ip: self.ip,
                port: self.port,
            },
            resources: self.resources.into_resources(),
            made: StoredPart::read_all(self.made)?,
            admission: self.admission.into(),
            unreachable_since: self.unreachable_since_micros.map(Timestamp::from_micros),
            registered_at: Timestamp::from_micros(self.registered_at_micros),
        })
    }
}

impl From<Admission> for StoredAdmission {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Active => Self::Active,
            Admission::Draining(drain) => Self::Draining {
                since_micros: drain.since.as_micros(),
                deadline_micros: drain.deadline().map(Timestamp::as_micros),
                leave: drain.leave_by().is_some(),
                max_grace_micros: drain.max_grace().map(micros),
                mark_gone: drain.mark_gone,
            },
            Admission::Drained {
                since: Some(since),
                max_grace,
            } => Self::DrainedSince {
                since_micros: since.as_micros(),
                max_grace_micros: max_grace.map(micros),
            },
            Admission::Drained {
                since: None,
                max_grace: None,
            } => Self::Drained,
            Admission::Drained {
                since: None,
                max_grace: Some(most),
            } => Self::DrainedWithin {
                max_grace_micros: micros(most),
            },
            Admission::Deactivated => Self::Deactivated,
            Admission::Gone { at } => Self::Gone {
                at_micros: at.as_micros(),
            },
        }
    }
}

impl From<StoredAdmission> for Admission {
    fn from(stored: StoredAdmission) -> Self {
        match stored {
            StoredAdmission::Active => Self::Active,
            StoredAdmission::Draining {
                since_micros,
                deadline_micros,
                leave,
                max_grace_micros,
                mark_gone,
            } => Self::Draining(Drain {
                since: Timestamp::from_micros(since_micros),
                pace: match deadline_micros.map(Timestamp::from_micros) {
                    Some(by) if leave => Pace::Leave {
                        by,
                        max_grace: max_grace_micros.map(Duration::from_micros),
                    },
                    until => Pace::AtOnce { until },
                },
                mark_gone,
            }),
            StoredAdmission::DrainedSince {
                since_micros,
                max_grace_micros,
            } => Self::Drained {
                since: Some(Timestamp::from_micros(since_micros)),
                max_grace: max_grace_micros.map(Duration::from_micros),
            },
            StoredAdmission::Drained => Self::Drained {
                since: None,
                max_grace: None,
            },
            StoredAdmission::DrainedWithin { max_grace_micros } => Self::Drained {
                since: None,
                max_grace: Some(Duration::from_micros(max_grace_micros)),
            },
            StoredAdmission::Deactivated => Self::Deactivated,
            StoredAdmission::Gone { at_micros } => Self::Gone {
                at: Timestamp::from_micros(at_micros),
            },
        }
    }
}

/// A length of time; one that is longer than the years that microseconds can count is as long as they can.
fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl From<&Amounts> for StoredAmounts {
    fn from(amounts: &Amounts) -> Self {
        Self {
            cpus_milli: amounts.cpus_milli,
            mem_bytes: amounts.mem_milli.map(bytes_of),
            disk_bytes: amounts.disk_milli.map(bytes_of),
            gpus_milli: amounts.gpus_milli,
            other_milli: amounts.other.clone(),
        }
    }
}

impl From<StoredAmounts> for Amounts {
    fn from(stored: StoredAmounts) -> Self {
        Self {
            cpus_milli: stored.cpus_milli,
            mem_milli: stored.mem_bytes.map(milli_nearest),
            disk_milli: stored.disk_bytes.map(milli_nearest),
            gpus_milli: stored.gpus_milli,
            other: stored.other_milli,
        }
    }
}

impl StoredAmounts {
    fn into_resources(self) -> Resources {
        let mut resources = Resources::none();
        resources.cpus_milli = self.cpus_milli.unwrap_or(0);
        resources.mem_milli = milli_nearest(self.mem_bytes.unwrap_or(0));
        resources.disk_milli = milli_nearest(self.disk_bytes.unwrap_or(0));
        resources.gpus_milli = self.gpus_milli.unwrap_or(0);
        for (name, milli) in &self.other_milli {
            resources.set_other(name, *milli);
        }
        resources
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mete_model::Unavailability;

    use super::*;
    use crate::state::schedule::{MachineId, Window};
    use mete_model::{Device, Devices, Ranges, Reservation, ReservationKind, Tag, Volume};

    fn agent() -> AgentRecord {
        let mut resources = Resources::cpus_mem(4_000, 2_048);
        resources.set_other("fpga", 2_000);
        AgentRecord {
            id: AgentId::new("m-S0").expect("good"),
            endpoint: Endpoint {
                hostname: "a".to_owned(),
                ip: "127.0.0.2".to_owned(),
                port: 5051,
            },
            resources,
            made: made(),
            admission: Admission::Gone {
                at: Timestamp::from_millis(7),
            },
            unreachable_since: Some(Timestamp::from_millis(5)),
            registered_at: Timestamp::from_millis(1),
        }
    }

    /// A volume on disk that an agent keeps for a role, and a device and ports that were reserved and refined.
    fn made() -> Resources {
        let role = |text| Role::new(text).expect("good");
        let mut volume = Tag::reserved(role("prod"));
        volume.shared = true;
        volume.volume = Some(Volume {
            id: "v".to_owned(),
            container_path: "data".to_owned(),
            read_only: false,
            principal: Some("ops".to_owned()),
        });
        let mut refined = Tag::reserved(role("prod"));
        refined.reservations.push(Reservation {
            role: role("prod/web"),
            kind: ReservationKind::Dynamic,
            principal: Some("ops".to_owned()),
            labels: vec![("why".to_owned(), None)],
        });
        let mut disk = Resources::none();
        disk.disk_milli = 1_000;
        let device = Device {
            index: 3,
            milli: 500,
        };
        let part = Resources::cpus_mem(1, 2)
            .with_ports(Ranges::interval(5, 6))
            .with_named_devices(Devices::new(vec![device]).expect("sound"));
        Resources::none()
            .with_part(volume, disk)
            .with_part(refined, part)
    }

    /// A volume was shrunk, and disk is reserved no more.
    fn done() -> DoneOperation {
        let mut plain = Resources::cpus_mem(0, 5);
        plain.disk_milli = 7;
        DoneOperation {
            key: (
                FrameworkId::new("f").expect("good"),
                "o".parse().expect("good"),
            ),
            uuid: mete_model::UpdateId([7; 16]),
            agent: agent().id,
            kind: crate::operations::OperationKind::Shrink { by_milli: 3 },
            asked: made(),
            made: made().plus(&plain),
            at: Timestamp::from_millis(11),
        }
    }

    fn stored(records: &[Record]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut store = BTreeMap::new();
        for change in records.iter().flat_map(Durable::changes) {
            match change.value {
                Some(value) => store.insert(change.key, value),
                None => store.remove(&change.key),
            };
        }
        store.into_iter().collect()
    }

    #[test]
    fn a_master_that_lost_its_state_is_not_taken_for_an_old_one() {
        let mut kept = Registry::default();
        let noon = Timestamp::from_millis(1_800_000_000_000);

        kept.begin_epoch(noon);
        kept.begin_epoch(noon);
        let mut lost = Registry::default();
        lost.begin_epoch(noon + std::time::Duration::from_secs(60));

        assert_eq!(kept.epoch, 1_800_000_001);
        assert!(lost.epoch > kept.epoch);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let role = Role::new("prod/web").expect("good");
        let limit = Amounts {
            cpus_milli: Some(0),
            ..Amounts::from(&Resources::cpus_mem(1, 64))
        };
        let framework = FrameworkId::new("f").expect("good");
        let weight = NonZeroU32::new(2_500).expect("not zero");
        let erased = VolumeName::new(role.clone(), "data").expect("good");

        let machine = MachineId::new(Some("a".to_owned()), None).expect("good");
        let window = Window {
            machines: vec![machine.clone()],
            unavailability: Unavailability {
                start: Timestamp::from_millis(9),
                duration: Some(Duration::from_secs(1)),
            },
        };
        let schedule = Schedule::new(vec![window], [machine].into()).expect("good");

        let registry = Registry::read(stored(&[
            Record::Agent(agent()),
            Record::Erasing(agent().id, [erased.clone()].into()),
            Record::Weight(role.clone(), Some(weight)),
            Record::Limit(role.clone(), Some(limit.clone())),
            Record::Guarantee(role.clone(), Some(limit.clone())),
            Record::Policy(Some(role.clone()), Some(Policy::Spread)),
            Record::Policy(None, Some(Policy::BestFit)),
            Record::Maintenance(schedule.clone()),
            Record::TornDown(framework.clone(), Timestamp::from_millis(3)),
            Record::Operation(Arc::new(done())),
            Record::Epoch(7),
        ]));

        let registry = registry.expect("readable");
        assert_eq!(registry.agents, BTreeMap::from([(agent().id, agent())]));
        assert_eq!(
            registry.erasing,
            BTreeMap::from([(agent().id, [erased].into())])
        );
        assert_eq!(registry.weights, BTreeMap::from([(role.clone(), weight)]));
        assert_eq!(
            registry.policies,
            BTreeMap::from([
                (None, Policy::BestFit),
                (Some(role.clone()), Policy::Spread)
            ])
        );
        assert_eq!(registry.schedule, schedule);
        let quotas = BTreeMap::from([(role, limit)]);
        assert_eq!(registry.guarantees, quotas);
        assert_eq!(registry.limits, quotas);
        assert_eq!(
            registry.torn_down,
            BTreeMap::from([(framework, Timestamp::from_millis(3))])
        );
        assert_eq!(registry.operations, [done()]);
        assert_eq!(registry.epoch, 7);
    }

    #[test]
    fn how_an_agent_drains_is_read_back() {
        let drain = |pace| {
            Admission::Draining(Drain {
                since: Timestamp::from_millis(7),
                pace,
                mark_gone: true,
            })
        };
        let drained = |since, max_grace| Admission::Drained { since, max_grace };
        let by = Timestamp::from_millis(9);
        for admission in [
            Admission::Active,
            drain(Pace::AtOnce { until: None }),
            drain(Pace::AtOnce { until: Some(by) }),
            drain(Pace::Leave {
                by,
                max_grace: None,
            }),
            drain(Pace::Leave {
                by,
                max_grace: Some(Duration::from_secs(3)),
            }),
            drained(None, None),
            drained(None, Some(Duration::from_secs(600))),
            drained(Some(by), None),
            drained(Some(by), Some(Duration::from_secs(600))),
            Admission::Deactivated,
        ] {
            let agent = AgentRecord {
                admission,
                ..agent()
            };

            let registry = Registry::read(stored(&[Record::Agent(agent.clone())]));

            let agents = registry.expect("readable").agents;
            assert_eq!(agents.get(&agent.id), Some(&agent));
        }
    }

    /// Such records were written before it was kept since when an agent had drained.
    #[test]
    fn how_an_agent_drained_under_an_older_master_is_read() {
        let minute = Duration::from_secs(60);
        for (written, max_grace) in [
            (r#""drained""#, None),
            (
                r#"{"drained_within":{"max_grace_micros":60000000}}"#,
                Some(minute),
            ),
        ] {
            let record = format!(
                r#"{{"hostname":"a","ip":"10.0.0.1","port":5051,"resources":{{}},"admission":{written},"unreachable_since_micros":null,"registered_at_micros":1}}"#
            );
            let value = [&b"\x01"[..], record.as_bytes()].concat();

            let registry = Registry::read([(b"agent/m-S0".to_vec(), value)]);

            let agents = registry.expect("readable").agents;
            let admission = agents.values().next().map(|agent| agent.admission);
            let since = None;
            assert_eq!(admission, Some(Admission::Drained { since, max_grace }));
        }
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let records = [
            Record::Agent(agent()),
            Record::AgentForgotten(agent().id),
            Record::Erasing(
                agent().id,
                made().volumes().map(|(name, ..)| name).collect(),
            ),
            Record::Erasing(agent().id, BTreeSet::new()),
            Record::Limit(Role::any(), Some(Amounts::default())),
            Record::Limit(Role::any(), None),
            Record::Policy(None, Some(Policy::Spread)),
            Record::Policy(None, None),
            Record::Weight(Role::any(), NonZeroU32::new(7)),
            Record::Weight(Role::any(), None),
            Record::Operation(Arc::new(done())),
            Record::OperationForgotten(done().key),
        ];

        assert!(stored(&records).is_empty());
    }

    #[test]
    fn a_bad_record_is_named() {
        for (key, value) in [
            ("agent/m-S0", &b"\x01{"[..]),
            ("agent/..", b"\x01{}"),
            ("weight/a", b"\x010"),
            ("epoch", b"\x027"),
            ("epoch", b""),
            ("colour/red", b"\x011"),
            ("operation/f", b"\x01{}"),
        ] {
            let read = Registry::read([(key.as_bytes().to_vec(), value.to_vec())]);
            let error = read.expect_err("bad").to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
