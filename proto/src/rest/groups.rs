//! Groups as `/v2/groups` reads and writes them.

use serde::{Deserialize, Serialize};

use super::apps::{App, AppInfo};
use super::optional_fields;
use super::pods::PodStatus;

optional_fields! {
    /// What a user says of a group: either its parts, or only a version, or only a factor.
    pub struct GroupUpdate {
        /// Relative to the group it is said in.
        id: String,
        /// The apps right below; others go.
        apps: Vec<App>,
        /// The groups right below; others go.
        groups: Vec<GroupUpdate>,
        /// Apps or groups that are started before anything below.
        dependencies: Vec<String>,
        /// So many times the instances of all apps below.
        scale_by: f64,
        /// The version to go back to.
        version: String,
        /// Whether apps below have its role; only of groups right below the root.
        enforce_role: bool,
    }
}

/// A group and what lies in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupInfo {
    /// Its path.
    pub id: String,
    /// The apps right below.
    pub apps: Vec<AppInfo>,
    /// The pods right below.
    pub pods: Vec<PodStatus>,
    /// The groups right below.
    pub groups: Vec<GroupInfo>,
    /// Apps or groups that are started before anything below.
    pub dependencies: Vec<String>,
    /// Whether apps below have its role; left out where they need not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enforce_role: bool,
    /// The moment of the last change to anything.
    pub version: String,
}
