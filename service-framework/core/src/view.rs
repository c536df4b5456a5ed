//! What readers may look at. Shares everything with the state; publishing costs what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::{FrameworkId, TaskId};

use crate::backends::Backends;
use crate::spec::app::AppId;
use crate::spec::history::AppVersion;
use crate::state::apps::App;
use crate::state::deployments::{Deployment, DeploymentId};
use crate::state::groups::{Groups, Trees};
use crate::state::instances::{Instance, InstanceId};
use crate::state::launch_queue::Queued;
use crate::state::proxies::Proxy;

/// The state as readers may see it.
#[derive(Clone, Debug)]
pub struct View {
    /// Every app and pod, also those wanted no more whose instances have not ended.
    pub apps: Arc<BTreeMap<AppId, Arc<App>>>,
    /// Every group, and their former versions.
    pub groups: Groups,
    /// Deployments that run, oldest first.
    pub deployments: Arc<BTreeMap<DeploymentId, Arc<Deployment>>>,
    /// Apps that wait for offers.
    pub queue: Arc<BTreeMap<AppId, Queued>>,
    /// The healthy-task list.
    pub backends: Backends,
    /// Proxies that follow it and live, by name.
    pub proxies: Arc<BTreeMap<String, Proxy>>,
    /// Our id; `None` before the first subscription.
    pub framework: Option<FrameworkId>,
    /// The address of the master, for people.
    pub master: Option<String>,
    /// Whether the master hears us.
    pub connected: bool,
}

impl View {
    /// The apps that are wanted, each in its version; no pods.
    pub fn wanted(&self) -> impl Iterator<Item = (&Arc<App>, &Arc<AppVersion>)> {
        self.versions()
            .filter(|(_, version)| !version.spec.is_pod())
    }

    /// The pods that are wanted, each in its version.
    pub fn pods(&self) -> impl Iterator<Item = (&Arc<App>, &Arc<AppVersion>)> {
        self.versions().filter(|(_, version)| version.spec.is_pod())
    }

    fn versions(&self) -> impl Iterator<Item = (&Arc<App>, &Arc<AppVersion>)> {
        let apps = self.apps.values();
        apps.filter_map(|app| Some((app, app.wanted.as_ref()?)))
    }

    /// What was wanted in each version that is kept, newest first.
    pub fn trees(&self) -> Trees<'_> {
        let wanted = |app: &Arc<App>| Some((app.id.clone(), Arc::clone(app.wanted.as_ref()?)));
        let present: BTreeMap<AppId, Arc<AppVersion>> =
            self.apps.values().filter_map(wanted).collect();
        self.groups.trees(present)
    }

    /// An app that is wanted; no pod.
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        let is_app = |app: &AppVersion| !app.spec.is_pod();
        let app = self.apps.get(id)?;
        app.wanted.as_deref().is_some_and(is_app).then_some(app)
    }

    /// A pod that is wanted, and its version.
    pub fn pod(&self, id: &AppId) -> Option<(&Arc<App>, &Arc<AppVersion>)> {
        let app = self.apps.get(id)?;
        let version = app.wanted.as_ref()?;
        version.spec.is_pod().then_some((app, version))
    }

    /// An instance, also of an app wanted no more.
    pub fn instance(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.apps.get(&id.app())?.instances.get(id)
    }

    /// The instance of a task.
    pub fn task(&self, id: &TaskId) -> Option<&Arc<Instance>> {
        self.instance(&InstanceId::parse(id.as_str())?)
    }

    /// The deployments that change an app.
    pub fn deployments_of<'a>(
        &'a self,
        app: &'a AppId,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> {
        self.deployments
            .values()
            .filter(move |deployment| deployment.affected.contains_key(app))
    }
}
