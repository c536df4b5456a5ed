//! Versions of an app: what was wanted, and since when.
//!
//! A version is named by the moment it was made, to the millisecond, and no two are made at one moment. Versions that
//! differ only in the number of instances are of one *config*: their instances are as good as each other.

use std::sync::Arc;

use mete_model::Timestamp;

use crate::spec::app::AppSpec;

/// What was wanted of an app from one moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct AppVersion {
    /// Names the version; whole milliseconds.
    pub version: Timestamp,
    /// The version in which the number of instances last changed.
    pub last_scaling_at: Timestamp,
    /// The version in which anything else last changed: names the config.
    pub last_config_change_at: Timestamp,
    /// What was wanted.
    pub spec: Arc<AppSpec>,
}

impl AppVersion {
    /// The first version of an app.
    pub const fn first(version: Timestamp, spec: Arc<AppSpec>) -> Self {
        Self {
            version,
            last_scaling_at: version,
            last_config_change_at: version,
            spec,
        }
    }

    /// What follows this version when `spec` is wanted; `None` when it is wanted already.
    pub fn next(&self, version: Timestamp, spec: Arc<AppSpec>) -> Option<Self> {
        if *spec == *self.spec {
            return None;
        }
        let is_config_change = spec.is_config_change(&self.spec);
        Some(Self {
            version,
            last_scaling_at: version,
            last_config_change_at: if is_config_change {
                version
            } else {
                self.last_config_change_at
            },
            spec,
        })
    }

    /// The same again as a new config, so that every instance is replaced.
    pub fn restarted(&self, version: Timestamp) -> Self {
        Self {
            version,
            last_config_change_at: version,
            ..self.clone()
        }
    }

    /// Whether instances of the two are as good as each other.
    pub fn same_config(&self, other: &Self) -> bool {
        self.last_config_change_at == other.last_config_change_at
    }
}
