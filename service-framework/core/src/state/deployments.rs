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

    /// Whether it changes one of `apps`.
    pub fn meets(&self, apps: &BTreeSet<AppId>) -> bool {
        self.affected.keys().any(|app| apps.contains(app))
    }
}
