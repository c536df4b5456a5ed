//! Groups: what is said of them beside the apps below, and what was there before each change.
//!
//! A group is there because somebody made it, or because an app was made below it; it stays when the app goes. All
//! groups are of one version: the moment of the last change to any of them, or to any app.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::spec::app::{AppId, AppSpec};
use crate::spec::history::AppVersion;

/// One group. Which apps and groups lie in it their ids say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Apps or groups that are started before anything below this one.
    pub dependencies: BTreeSet<AppId>,
    /// Whether apps and pods in it take resources in the role of its name; only of groups right below the root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enforce_role: bool,
}

/// What a user says of a group: each part that is there takes the place of what was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupSpec {
    /// Which; `None`: the root.
    pub id: Option<AppId>,
    /// The apps right below, each with its place in what was said; others go.
    pub apps: Option<Vec<(String, AppSpec)>>,
    /// The groups right below; others go, with all that is in them.
    pub groups: Option<Vec<GroupSpec>>,
    /// What it waits for. The root waits for nothing.
    pub dependencies: Option<BTreeSet<AppId>>,
    /// Whether it enforces its role.
    pub enforce_role: Option<bool>,
}

/// Some apps and groups, each as it is to be or as it was; `None`: not there. A wish is one, and so is what a change took
/// the place of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// The apps that are different, by version.
    pub apps: BTreeMap<AppId, Option<Arc<AppVersion>>>,
    /// The groups that are different.
    pub groups: BTreeMap<AppId, Option<Arc<Group>>>,
}

impl Difference {
    /// Whether it makes none.
    pub fn is_empty(&self) -> bool {
        self.apps.is_empty() && self.groups.is_empty()
    }
}
