//! The healthy-task list: for each service port the instances that serve it, and what changed since when. Pure.
//!
//! An instance is `up` from the moment it is ready to the moment it is not, and `draining` between the decision to
//! kill it and the kill. The version grows by one with each change; the epoch is new at each start.

mod services; // apps and instances → services

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mete_model::{TaskId, Timestamp};

use crate::spec::app::{AppId, Protocol};

pub(crate) use services::{backend_state, services_of};

/// Services that vanished are remembered so many changes long; who asks for more gets everything.
pub const MAX_REMOVED: usize = 256;

/// The version a list begins with.
pub const FIRST_VERSION: u64 = 1;

/// Names a service. The service port alone is not enough while an app moves to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Whose service.
    pub app: AppId,
    /// Which of its ports, counted from 0.
    pub port_index: u32,
    /// Where proxies listen for it.
    pub service_port: u16,
}

/// One port of one app, and who serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub key: ServiceKey,
    /// Since when its app has had the service port, as far as its versions are known. Of several that have one port, it
    /// belongs to the first.
    pub since: Timestamp,
    /// Whether its app wants it no more: only instances of former versions serve it. It stands back, then, when none of
    /// them is up.
    pub is_left: bool,
    /// The protocol of the port.
    pub protocol: Protocol,
    /// Whether proxies speak HTTP on it.
    pub mode: Mode,
    /// The app's labels that begin with `HAPROXY_`.
    pub labels: BTreeMap<String, String>,
    /// Who serves it, by task.
    pub backends: Vec<Backend>,
}

/// How a proxy treats a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As HTTP.
    Http,
    /// As bytes.
    Tcp,
}

impl Mode {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// One instance as proxies see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Which task.
    pub task: TaskId,
    /// On which host.
    pub host: String,
    /// On which port.
    pub port: u16,
    /// Whether it takes new sessions.
    pub state: BackendState,
}

/// Whether an instance takes new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendState {
    /// It does.
    Up,
    /// It finishes those it has.
    Draining,
}

impl BackendState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
        }
    }
}

/// The list, and enough of its past to tell what changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Backends {
    epoch: Arc<str>,
    version: u64,
    /// Each service with the version in which it last changed.
    services: Arc<BTreeMap<ServiceKey, (u64, Arc<Service>)>>,
    /// Services that vanished, with the version in which they did; oldest first.
    removed: Arc<VecDeque<(u64, ServiceKey)>>,
    /// Changes since versions before this one are not known any more.
    floor: u64,
}

/// What a follower of the list has to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Nothing: it has the newest version.
    None,
    /// Some services changed.
    Change {
        /// The version that this leads to.
        version: u64,
        /// Services that are new or changed, whole.
        changed: Vec<Arc<Service>>,
        /// Services that vanished.
        removed: Vec<ServiceKey>,
    },
    /// Its version is too old or of another epoch: everything anew.
    Snapshot {
        /// The version of it.
        version: u64,
        /// All services.
        services: Vec<Arc<Service>>,
    },
}

impl Backends {
    /// An empty list of a new epoch.
    pub fn new(epoch: &str) -> Self {
        Self {
            epoch: Arc::from(epoch),
            version: FIRST_VERSION,
            services: Arc::default(),
            removed: Arc::default(),
            floor: FIRST_VERSION,
        }
    }

    /// The epoch: new at each start.
    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The version: one more with each change.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// All services, by key.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values().map(|(_, service)| service)
    }

    /// What a follower has to hear that has seen `version` of `epoch`.
    pub fn changes_since(&self, epoch: &str, version: u64) -> Changes {
        if *epoch != *self.epoch || version < self.floor || version > self.version {
            return Changes::Snapshot {
                version: self.version,
                services: self.services().cloned().collect(),
            };
        }
        if version == self.version {
            return Changes::None;
        }
        let newer = |(changed_in, service): &(u64, Arc<Service>)| {
            (*changed_in > version).then(|| Arc::clone(service))
        };
        let gone = |(removed_in, key): &(u64, ServiceKey)| {
            (*removed_in > version && !self.services.contains_key(key)).then(|| key.clone())
        };
        Changes::Change {
            version: self.version,
            changed: self.services.values().filter_map(newer).collect(),
            removed: self
                .removed
                .iter()
                .filter_map(gone)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        }
    }

    /// Puts the services of some apps in the place of what they were; says whether anything changed.
    ///
    /// `is_first`: the list is being rebuilt after a start, and nobody has seen a version of it.
    pub(crate) fn replace(
        &mut self,
        apps: &BTreeSet<AppId>,
        services: BTreeMap<ServiceKey, Service>,
        is_first: bool,
    ) -> bool {
        let next = if is_first {
            self.version
        } else {
            self.version + 1
        };
        let gone: Vec<ServiceKey> = apps
            .iter()
            .flat_map(|app| self.keys_of(app))
            .filter(|key| !services.contains_key(key))
            .collect();
        // Old versions are forgotten, and with them since when: whoever is in the list has not just come.
        let kept = |(key, mut service): (ServiceKey, Service)| {
            let before = self.services.get(&key).map(|(_, before)| before.since);
            service.since = before.map_or(service.since, |before| before.min(service.since));
            (key, service)
        };
        let is_new = |(key, service): &(ServiceKey, Service)| {
            self.services
                .get(key)
                .is_none_or(|(_, old)| **old != *service)
        };
        let changed: Vec<_> = services.into_iter().map(kept).filter(is_new).collect();
        if gone.is_empty() && changed.is_empty() {
            return false;
        }
        self.version = next;
        let all = Arc::make_mut(&mut self.services);
        for (key, service) in changed {
            all.insert(key, (next, Arc::new(service)));
        }
        let removed = Arc::make_mut(&mut self.removed);
        for key in gone {
            all.remove(&key);
            removed.push_back((next, key));
        }
        while removed.len() > MAX_REMOVED {
            if let Some((forgotten, _)) = removed.pop_front() {
                self.floor = forgotten;
            }
        }
        true
    }

    fn keys_of(&self, app: &AppId) -> Vec<ServiceKey> {
        let first = ServiceKey {
            app: app.clone(),
            port_index: 0,
            service_port: 0,
        };
        self.services
            .range(first..)
            .take_while(|(key, _)| key.app == *app)
            .map(|(key, _)| key.clone())
            .collect()
    }
}
