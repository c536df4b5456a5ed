//! What survives a restart, and how it lies on disk.
//!
//! | key | value |
//! |---|---|
//! | `app/shop/web` | which version is wanted, what is kept |
//! | `deployment/<uuid>` | a running plan |
//! | `former/<ms>` | what a change took the place of |
//! | `failure/shop/web` | the last instance that failed |
//! | `framework` | our id |
//! | `group/shop` | what is said of a group |
//! | `instance/<id>` | an instance that was launched |
//! | `proxy/<id>` | a proxy that follows the healthy-task list |
//! | `release/<instance id>` | what an instance held that is no more, until it is given back |
//! | `version/shop/web@<ms>` | what was wanted of an app from that moment on |
//!
//! A value is one byte, [`FORMAT`], and JSON. Moments are microseconds since 1970, versions name themselves in
//! milliseconds, as in the API.

mod disk; // the JSON of each value
mod migrate; // records of older formats → records of this one
mod read; // entries of the store → what was stored

use std::sync::Arc;

use mete_model::FrameworkId;
use mete_model::Timestamp;
use mete_model::machine::{Change, Durable};

use crate::spec::app::AppId;
use crate::spec::group::{Difference, Group};
use crate::spec::history::AppVersion;
use crate::state::apps::{App, LastFailure};
use crate::state::deployments::{Deployment, DeploymentId};
use crate::state::instances::{Instance, InstanceId};
use crate::state::releases::Release;

pub use migrate::{Migrated, migrate};
pub use read::BadRecord;
pub(crate) use read::{Stored, read};

/// The version of the format. A program that would read a record otherwise than the one before raises it, adds a step to
/// `migrate.rs` and a file to the tests' `formats`; so does one that stores what the one before would drop without a word.
pub const FORMAT: u8 = 1;

/// A change that must outlive a restart.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// The id the master gave us.
    Framework(FrameworkId),
    /// The master does not take that id any more.
    FrameworkRemoved,
    /// What is wanted and kept of an app; its versions are records of their own.
    App(Arc<App>),
    /// An app is gone, with its last failure.
    AppRemoved(AppId),
    /// A version of an app.
    Version(Arc<AppVersion>),
    /// A version nobody needs any more.
    VersionRemoved(AppId, Timestamp),
    /// What is said of a group.
    Group(AppId, Arc<Group>),
    /// A group is gone.
    GroupRemoved(AppId),
    /// What the change of this version took the place of.
    Former(Timestamp, Arc<Difference>),
    /// A change too long ago to go back to.
    FormerRemoved(Timestamp),
    /// The last instance of an app that failed.
    Failures(AppId, Vec<Arc<LastFailure>>),
    /// An instance that was launched.
    Instance(Arc<Instance>),
    /// An instance has ended.
    InstanceRemoved(InstanceId),
    /// A plan that runs.
    Deployment(Arc<Deployment>),
    /// A plan that is over.
    DeploymentRemoved(DeploymentId),
    /// A proxy follows the healthy-task list.
    Proxy(String),
    /// A proxy is not waited for any more.
    ProxyRemoved(String),
    /// What an instance held is to be given back.
    Release(InstanceId, Box<Release>),
    /// It was given back.
    ReleaseRemoved(InstanceId),
}

impl Durable for Record {
    fn changes(&self) -> Vec<Change> {
        match self {
            Self::Framework(id) => vec![put("framework".to_owned(), &disk::Framework::from(id))],
            Self::FrameworkRemoved => vec![remove("framework".to_owned())],
            Self::App(app) => vec![put(format!("app{}", app.id), &disk::App::from(&**app))],
            Self::AppRemoved(id) => {
                vec![remove(format!("app{id}")), remove(format!("failure{id}"))]
            }
            Self::Version(version) => {
                vec![put(
                    version_key(&version.spec.id, version.version),
                    &disk::Version::from(&**version),
                )]
            }
            Self::VersionRemoved(app, version) => vec![remove(version_key(app, *version))],
            Self::Group(id, group) => vec![put(format!("group{id}"), &**group)],
            Self::GroupRemoved(id) => vec![remove(format!("group{id}"))],
            Self::Former(version, former) => {
                vec![put(former_key(*version), &disk::Former::from(&**former))]
            }
            Self::FormerRemoved(version) => vec![remove(former_key(*version))],
            Self::Failures(app, failures) => vec![put(
                format!("failure{app}"),
                &disk::Failures::from(&failures[..]),
            )],
            Self::Instance(instance) => {
                vec![put(
                    format!("instance/{}", instance.id),
                    &disk::Instance::from(&**instance),
                )]
            }
            Self::InstanceRemoved(id) => vec![remove(format!("instance/{id}"))],
            Self::Deployment(deployment) => {
                vec![put(
                    format!("deployment/{}", deployment.id),
                    &disk::Deployment::from(&**deployment),
                )]
            }
            Self::DeploymentRemoved(id) => vec![remove(format!("deployment/{id}"))],
            Self::Proxy(id) => vec![put(format!("proxy/{id}"), &disk::Proxy {})],
            Self::ProxyRemoved(id) => vec![remove(format!("proxy/{id}"))],
            Self::Release(id, release) => {
                vec![put(
                    format!("release/{id}"),
                    &disk::Release::from(&**release),
                )]
            }
            Self::ReleaseRemoved(id) => vec![remove(format!("release/{id}"))],
        }
    }
}

/// `@` is in no app id, and fourteen digits hold every millisecond until the year 5138.
fn version_key(app: &AppId, version: Timestamp) -> String {
    format!("version{app}@{:014}", version.as_millis())
}

fn former_key(version: Timestamp) -> String {
    format!("former/{:014}", version.as_millis())
}

fn put<V: serde::Serialize>(key: String, value: &V) -> Change {
    let mut bytes = vec![FORMAT];
    serde_json::to_writer(&mut bytes, value)
        .expect("plain structs with text keys, written to memory");
    Change {
        key: key.into_bytes(),
        value: Some(bytes),
    }
}

fn remove(key: String) -> Change {
    Change {
        key: key.into_bytes(),
        value: None,
    }
}
