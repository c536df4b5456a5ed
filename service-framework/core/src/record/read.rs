//! Entries of the store → what was stored.
//!
//! Records of one step may have been stored in several batches, and the last of them not at all; what refers to a
//! version that is not there is therefore an error only where nothing can be done without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::{AgentId, FrameworkId, Timestamp};
use serde::de::DeserializeOwned;

use super::{FORMAT, disk};
use crate::spec::app::AppId;
use crate::spec::group::{Difference, Group};
use crate::spec::history::AppVersion;
use crate::state::apps::{App, Target};
use crate::state::deployments::{Deployment, DeploymentId};
use crate::state::holdings::Holding;
use crate::state::instances::{Instance, InstanceId};

/// An entry of the store that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {key:?} cannot be read: {why}")]
pub struct BadRecord {
    /// Its key, as far as it is text.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl BadRecord {
    pub(super) fn of(key: &[u8], why: String) -> Self {
        let key = String::from_utf8_lossy(key).into_owned();
        Self { key, why }
    }
}

/// Everything a store holds.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) framework: Option<FrameworkId>,
    /// Without their instances.
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) groups: BTreeMap<AppId, Arc<Group>>,
    pub(crate) former: BTreeMap<Timestamp, Difference>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) proxies: Vec<String>,
    /// Whose, where, what, and whether it was given back already.
    pub(crate) releases: Vec<(InstanceId, AgentId, Holding, bool)>,
    /// Ids that instances share: each record brings its own.
    agents: BTreeSet<AgentId>,
}

impl Stored {
    fn share_agent(&mut self, instance: &mut Instance) {
        let Some(place) = &mut instance.place else {
            return;
        };
        if let Some(known) = self.agents.get(&place.agent) {
            place.agent = known.clone();
        } else {
            self.agents.insert(place.agent.clone());
        }
    }
}

/// Reads every entry, of this program's format.
pub(crate) fn read(entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Stored, BadRecord> {
    let mut stored = Stored::default();
    // Versions first, whatever the order of the entries: apps and instances refer to them.
    let (versions, others): (Vec<_>, Vec<_>) = entries
        .into_iter()
        .partition(|(key, _)| key.starts_with(b"version/"));
    for (key, value) in versions {
        read_version(&mut stored, &value).map_err(|why| BadRecord::of(&key, why))?;
    }
    for (key, value) in others {
        read_other(&mut stored, &key, &value).map_err(|why| BadRecord::of(&key, why))?;
    }
    Ok(stored)
}

fn read_version(stored: &mut Stored, value: &[u8]) -> Result<(), String> {
    let version = json::<disk::Version>(value)?.back();
    let id = version.spec.id.clone();
    let app = stored
        .apps
        .entry(id)
        .or_insert_with_key(|id| App::new(id.clone()));
    app.versions.insert(version.version, Arc::new(version));
    Ok(())
}

fn read_other(stored: &mut Stored, key: &[u8], value: &[u8]) -> Result<(), String> {
    let key = std::str::from_utf8(key).map_err(|_| "its key is no text".to_owned())?;
    let (kind, rest) = key.split_at(key.find('/').unwrap_or(key.len()));
    let name = rest.strip_prefix('/').unwrap_or_default();
    match kind {
        "framework" => {
            let id = json::<disk::Framework>(value)?.id;
            stored.framework = Some(FrameworkId::new(id).map_err(|bad| bad.to_string())?);
        }
        "app" => read_app(stored, rest, json(value)?)?,
        "group" => {
            let id = AppId::stored_group(rest).map_err(|bad| bad.to_string())?;
            stored.groups.insert(id, Arc::new(json(value)?));
        }
        "former" => {
            let version = name
                .parse()
                .map_err(|_| "its key is no version".to_owned())?;
            let former = json::<disk::Former>(value)?.back();
            let former = former.map_err(|bad| bad.to_string())?;
            let version = Timestamp::from_millis(version);
            stored.former.insert(version, former);
        }
        "failure" => {
            let (last, earlier) = json::<disk::Failures>(value)?.back()?;
            if let Some(app) = stored.apps.get_mut(rest) {
                app.last_failure = Some(last);
                app.earlier_failures = earlier;
            }
        }
        "instance" => {
            let id =
                InstanceId::parse(name).ok_or_else(|| "its key names no instance".to_owned())?;
            let instance = json::<disk::Instance>(value)?;
            let version = version_of(stored, id.app().as_str(), instance.version_ms)?;
            let mut instance = instance.back(id, version)?;
            stored.share_agent(&mut instance);
            stored.instances.push(instance);
        }
        "deployment" => {
            stored
                .deployments
                .push(json::<disk::Deployment>(value)?.back(DeploymentId::from_text(name)));
        }
        "proxy" => {
            let disk::Proxy {} = json(value)?;
            stored.proxies.push(name.to_owned());
        }
        "release" => {
            let id =
                InstanceId::parse(name).ok_or_else(|| "its key names no instance".to_owned())?;
            let (agent, holding, is_given) = json::<disk::Release>(value)?.back()?;
            stored.releases.push((id, agent, holding, is_given));
        }
        _ => return Err("no such kind of record".to_owned()),
    }
    Ok(())
}

fn read_app(stored: &mut Stored, id: &str, app: disk::App) -> Result<(), String> {
    let wanted = app
        .wanted_ms
        .map(|version| version_of(stored, id, version))
        .transpose()?;
    let target = match app.target {
        Some(target) => Some(Target {
            version: version_of(stored, id, target.version_ms)?,
            instances: target.instances,
            replaces: target.replaces,
        }),
        None => None,
    };
    let id = AppId::new(id).map_err(|bad| bad.to_string())?;
    let app = stored
        .apps
        .entry(id)
        .or_insert_with_key(|id| App::new(id.clone()));
    app.wanted = wanted;
    app.target = target;
    Ok(())
}

fn version_of(stored: &Stored, app: &str, version_ms: u64) -> Result<Arc<AppVersion>, String> {
    let version = stored
        .apps
        .get(app)
        .and_then(|app| app.versions.get(&Timestamp::from_millis(version_ms)));
    version
        .cloned()
        .ok_or_else(|| format!("it needs version {version_ms} of {app}, which is not there"))
}

fn json<V: DeserializeOwned>(value: &[u8]) -> Result<V, String> {
    match value.split_first() {
        Some((&FORMAT, text)) => serde_json::from_slice(text).map_err(|error| error.to_string()),
        Some((format, _)) => Err(format!(
            "its format is {format}, this program reads {FORMAT}"
        )),
        None => Err("it is empty".to_owned()),
    }
}
