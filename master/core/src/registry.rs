//! What survives a restart: agents admitted, unreachable, gone; weights and limits; frameworks torn down; the epoch.
//!
//! One key per thing, so that each change is one small write:
//!
//! ```text
//! agent/<agent id>          admission, endpoint, resources, since when unreachable
//! weight/<role>             thousandths
//! limit/<role>              scalars
//! torn-down/<framework id>  when
//! epoch                     of the last master that started
//! ```
//! A value is one byte, the version of its format, and JSON. Only this file reads and writes them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use mete_model::{AgentId, Change, Durable, Endpoint, FrameworkId, Resources, Role, Timestamp};
use mete_placement::Amounts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::agents::Admission;

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
    /// The weight of a role, in thousandths.
    Weight(Role, NonZeroU32),
    /// The limit of a role; `None`: it has none.
    Limit(Role, Option<Amounts>),
    /// A framework was torn down: its id is refused from now on.
    TornDown(FrameworkId, Timestamp),
    /// A torn-down framework is forgotten.
    TornDownForgotten(FrameworkId),
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
    /// Weights that were set, in thousandths.
    pub weights: BTreeMap<Role, NonZeroU32>,
    /// Limits that were set.
    pub limits: BTreeMap<Role, Amounts>,
    /// Frameworks torn down, and when.
    pub torn_down: BTreeMap<FrameworkId, Timestamp>,
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
                self.agents.insert(id.clone(), stored.into_record(id));
            }
            Some(("weight", role)) => {
                self.weights.insert(name(key, role)?, decode(key, value)?);
            }
            Some(("limit", role)) => {
                let stored: StoredAmounts = decode(key, value)?;
                self.limits.insert(name(key, role)?, stored.into());
            }
            Some(("torn-down", id)) => {
                let at = Timestamp::from_micros(decode(key, value)?);
                self.torn_down.insert(name(key, id)?, at);
            }
            Some(_) | None if key == "epoch" => self.epoch = decode(key, value)?,
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
            Self::Weight(role, weight) => (format!("weight/{role}"), Some(encode(weight))),
            Self::Limit(role, limit) => (
                format!("limit/{role}"),
                limit
                    .as_ref()
                    .map(|limit| encode(&StoredAmounts::from(limit))),
            ),
            Self::TornDown(id, at) => (format!("torn-down/{id}"), Some(encode(&at.as_micros()))),
            Self::TornDownForgotten(id) => (format!("torn-down/{id}"), None),
            Self::Epoch(epoch) => ("epoch".to_owned(), Some(encode(epoch))),
        };
        vec![Change {
            key: key.into_bytes(),
            value,
        }]
    }
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
    admission: StoredAdmission,
    unreachable_since_micros: Option<u64>,
    registered_at_micros: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredAdmission {
    Active,
    Draining,
    Deactivated,
    Gone { at_micros: u64 },
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
            admission: match agent.admission {
                Admission::Active => StoredAdmission::Active,
                Admission::Draining => StoredAdmission::Draining,
                Admission::Deactivated => StoredAdmission::Deactivated,
                Admission::Gone { at } => StoredAdmission::Gone {
                    at_micros: at.as_micros(),
                },
            },
            unreachable_since_micros: agent.unreachable_since.map(Timestamp::as_micros),
            registered_at_micros: agent.registered_at.as_micros(),
        }
    }
}

impl StoredAgent {
    fn into_record(self, id: AgentId) -> AgentRecord {
        AgentRecord {
            id,
            endpoint: Endpoint {
                hostname: self.hostname,
                ip: self.ip,
                port: self.port,
            },
            resources: self.resources.into_resources(),
            admission: match self.admission {
                StoredAdmission::Active => Admission::Active,
                StoredAdmission::Draining => Admission::Draining,
                StoredAdmission::Deactivated => Admission::Deactivated,
                StoredAdmission::Gone { at_micros } => Admission::Gone {
                    at: Timestamp::from_micros(at_micros),
                },
            },
            unreachable_since: self.unreachable_since_micros.map(Timestamp::from_micros),
            registered_at: Timestamp::from_micros(self.registered_at_micros),
        }
    }
}

impl From<&Amounts> for StoredAmounts {
    fn from(amounts: &Amounts) -> Self {
        Self {
            cpus_milli: amounts.cpus_milli,
            mem_bytes: amounts.mem_bytes,
            disk_bytes: amounts.disk_bytes,
            gpus_milli: amounts.gpus_milli,
            other_milli: amounts.other.clone(),
        }
    }
}

impl From<StoredAmounts> for Amounts {
    fn from(stored: StoredAmounts) -> Self {
        Self {
            cpus_milli: stored.cpus_milli,
            mem_bytes: stored.mem_bytes,
            disk_bytes: stored.disk_bytes,
            gpus_milli: stored.gpus_milli,
            other: stored.other_milli,
        }
    }
}

impl StoredAmounts {
    fn into_resources(self) -> Resources {
        let mut resources = Resources::none();
        resources.cpus_milli = self.cpus_milli.unwrap_or(0);
        resources.mem_bytes = self.mem_bytes.unwrap_or(0);
        resources.disk_bytes = self.disk_bytes.unwrap_or(0);
        resources.gpus_milli = self.gpus_milli.unwrap_or(0);
        for (name, milli) in &self.other_milli {
            resources.set_other(name, *milli);
        }
        resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            admission: Admission::Gone {
                at: Timestamp::from_millis(7),
            },
            unreachable_since: Some(Timestamp::from_millis(5)),
            registered_at: Timestamp::from_millis(1),
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

        let registry = Registry::read(stored(&[
            Record::Agent(agent()),
            Record::Weight(role.clone(), weight),
            Record::Limit(role.clone(), Some(limit.clone())),
            Record::TornDown(framework.clone(), Timestamp::from_millis(3)),
            Record::Epoch(7),
        ]));

        let registry = registry.expect("readable");
        assert_eq!(registry.agents, BTreeMap::from([(agent().id, agent())]));
        assert_eq!(registry.weights, BTreeMap::from([(role.clone(), weight)]));
        assert_eq!(registry.limits, BTreeMap::from([(role, limit)]));
        assert_eq!(
            registry.torn_down,
            BTreeMap::from([(framework, Timestamp::from_millis(3))])
        );
        assert_eq!(registry.epoch, 7);
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let records = [
            Record::Agent(agent()),
            Record::AgentForgotten(agent().id),
            Record::Limit(Role::any(), Some(Amounts::default())),
            Record::Limit(Role::any(), None),
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
        ] {
            let read = Registry::read([(key.as_bytes().to_vec(), value.to_vec())]);
            let error = read.expect_err("bad").to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
