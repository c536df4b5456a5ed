//! Running plans, and which of them locks which app.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use mete_model::Timestamp;

use crate::deployment::plan::Step;
use crate::spec::app::AppId;

/// Deployments that may run at once (Marathon's `max_running_deployments`).
pub const MAX_DEPLOYMENTS: usize = 100;

/// Names a deployment: a UUID as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId(Arc<str>);

impl DeploymentId {
    /// From sixteen bytes that were never used before.
    pub fn new(uuid: [u8; 16]) -> Self {
        Self(Arc::from(mete_model::UpdateId(uuid).to_string()))
    }

    /// Takes a text that came in; whether it names anything is seen when it is looked up.
    pub fn from_text(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deployment {}", self.0)
    }
}

/// One plan being carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Its name.
    pub id: DeploymentId,
    /// When it was made; the version of the apps it changes.
    pub version: Timestamp,
    /// What is done, one step after the other.
    pub steps: Arc<[Step]>,
    /// Steps that were begun: 0 before the first; the current one is `steps[current - 1]`.
    pub current: usize,
    /// Each app it changes, with the version wanted before; `None`: the app is new.
    pub affected: BTreeMap<AppId, Option<Timestamp>>,
}

impl Deployment {
    /// The step under way.
    pub fn current_step(&self) -> Option<&Step> {
        self.current
            .checked_sub(1)
            .and_then(|at| self.steps.get(at))
    }

    /// The pods it changes.
    pub fn pods(&self) -> BTreeSet<&AppId> {
        let actions = self.steps.iter().flat_map(|step| &step.actions);
        let of_pods = actions.filter(|action| action.is_pod);
        of_pods.map(|action| &action.app).collect()
    }

    /// Whether it changes one of `apps`.
    pub fn meets(&self, apps: &BTreeSet<AppId>) -> bool {
        self.affected.keys().any(|app| apps.contains(app))
    }
}

/// The deployments that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deployments(Arc<BTreeMap<DeploymentId, Arc<Deployment>>>);

impl Deployments {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<DeploymentId, Arc<Deployment>>> {
        Arc::clone(&self.0)
    }

    pub(crate) fn get(&self, id: &DeploymentId) -> Option<&Arc<Deployment>> {
        self.0.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.0.values()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn put(&mut self, deployment: Deployment) -> Arc<Deployment> {
        let deployment = Arc::new(deployment);
        Arc::make_mut(&mut self.0).insert(deployment.id.clone(), Arc::clone(&deployment));
        deployment
    }

    pub(crate) fn take(&mut self, id: &DeploymentId) -> Option<Arc<Deployment>> {
        if !self.0.contains_key(id) {
            return None;
        }
        Arc::make_mut(&mut self.0).remove(id)
    }

    /// Those that change one of `apps`, oldest first.
    pub(crate) fn meeting(&self, apps: &BTreeSet<AppId>) -> Vec<DeploymentId> {
        let mut met: Vec<_> = self
            .iter()
            .filter(|deployment| deployment.meets(apps))
            .collect();
        met.sort_by_key(|deployment| deployment.version);
        met.into_iter()
            .map(|deployment| deployment.id.clone())
            .collect()
    }

    pub(crate) fn lock(&self, app: &AppId) -> bool {
        self.iter()
            .any(|deployment| deployment.affected.contains_key(app))
    }
}
