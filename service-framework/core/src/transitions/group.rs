//! What is wanted of a group comes down to apps and groups that are put and others that go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::Timestamp;

use super::wish::asked_ports;
use crate::effects::{Missing, Reply};
use crate::orchestrator::Orchestrator;
use crate::spec::app::{AppId, AppSpec};
use crate::spec::dependencies::within;
use crate::spec::group::{Difference, Group, GroupSpec};
use crate::spec::history::AppVersion;
use crate::state::groups::Tree;

/// The most instances an app may have, as the API counts.
const MAX_INSTANCES: f64 = 2_147_483_647.0;

/// What a wish for a group comes down to.
#[derive(Default)]
struct Laid {
    /// Apps as they are wanted, each with its place in what was said.
    put: Vec<(String, AppSpec)>,
    /// Apps that go.
    gone: BTreeSet<AppId>,
    /// Groups that are put, and that go.
    groups: BTreeMap<AppId, Option<Arc<Group>>>,
}

/// What lies right below each group, pods aside; `None`: the root.
struct Present {
    tree: Tree,
    apps: BTreeMap<Option<AppId>, Vec<AppId>>,
    groups: BTreeMap<Option<AppId>, Vec<AppId>>,
}

impl Orchestrator {
    pub(super) fn new_group(
        &self,
        version: Timestamp,
        spec: GroupSpec,
    ) -> Result<Difference, Reply> {
        let id = spec.id.as_ref();
        if id.is_none_or(|id| self.groups.get(id).is_some()) {
            return Err(Reply::GroupExists(spec.id));
        }
        if let Some(id) = id.filter(|id| self.apps.wanted(id).is_some()) {
            return Err(Reply::AppInPlaceOfGroup(id.clone()));
        }
        self.group(version, spec)
    }

    pub(super) fn group(&self, version: Timestamp, spec: GroupSpec) -> Result<Difference, Reply> {
        let mut laid = Laid::default();
        self.lie_of_groups().lay(spec, &mut laid);
        self.wish_for_group(version, laid)
    }

    pub(super) fn group_as_it_was(
        &self,
        version: Timestamp,
        id: Option<AppId>,
        former: Timestamp,
    ) -> Result<Difference, Reply> {
        let present = self.tree();
        let was = self.groups.trees(present.apps.clone());
        let was = was
            .into_iter()
            .find_map(|(version, tree)| (version == former).then_some(tree))
            .filter(|tree| tree.has(id.as_ref()));
        let Some(was) = was else {
            return Err(Reply::NotFound(Missing::GroupVersion(id, former)));
        };
        let is_in = |path: &AppId| path.is_in(id.as_ref());
        let owners = owners_of_ports(&present.apps);
        let mut laid = Laid::default();
        for (id, app) in was.apps.iter().filter(|(id, _)| is_in(id)) {
            let mut spec = (*app.spec).clone();
            self.give_up_ports(&mut spec, &owners, &was.apps);
            laid.put.push((format!("/apps({id})"), spec));
        }
        let gone = present.apps.into_keys();
        laid.gone = gone
            .filter(|id| is_in(id) && !was.apps.contains_key(id))
            .collect();
        let gone = present.groups.into_keys().filter(|id| is_in(id));
        laid.groups = gone.map(|id| (id, None)).collect();
        let put = was.groups.into_iter().filter(|(id, _)| is_in(id));
        laid.groups.extend(put.map(|(id, group)| (id, Some(group))));
        self.wish_for_group(version, laid)
    }

    /// A service port that was given to an app once may be another's by now: it is given anew. Those who had it together then
    /// have it together again.
    fn give_up_ports(
        &self,
        spec: &mut AppSpec,
        owners: &BTreeMap<u16, Vec<AppId>>,
        was: &BTreeMap<AppId, Arc<AppVersion>>,
    ) {
        let given = self.settings.first_service_port..=self.settings.last_service_port;
        let had = |app: &AppId, port: u16| {
            let app = was.get(app);
            app.is_some_and(|app| asked_ports(&app.spec).any(|one| one == port))
        };
        let is_lost = |port: u16| {
            let owners = owners.get(&port).map_or(&[][..], Vec::as_slice);
            !owners.contains(&spec.id) && owners.iter().any(|owner| !had(owner, port))
        };
        let numbers = spec.ports().map(|definition| definition.port);
        let kept: Vec<u16> = numbers
            .map(|port| match given.contains(&port) && is_lost(port) {
                true => 0,
                false => port,
            })
            .collect();
        spec.set_service_ports(kept.into_iter());
    }

    pub(super) fn scaled_group(
        &self,
        version: Timestamp,
        id: Option<AppId>,
        factor: f64,
    ) -> Result<Difference, Reply> {
        let mut laid = Laid::default();
        let apps = self.tree().apps;
        let below = apps.into_iter().filter(|(app, _)| app.is_in(id.as_ref()));
        for (id, app) in below.filter(|(_, app)| !app.spec.is_pod()) {
            let mut spec = (*app.spec).clone();
            let scaled = (f64::from(spec.instances) * factor).ceil();
            spec.instances = scaled.min(MAX_INSTANCES) as u32;
            laid.put.push((format!("/apps({id})"), spec));
        }
        if let Some(id) = id.filter(|id| self.groups.get(id).is_none()) {
            laid.groups.insert(id, Some(Arc::default()));
        }
        self.wish_for_group(version, laid)
    }

    pub(super) fn no_group(&self, id: Option<&AppId>) -> Result<Difference, Reply> {
        if let Some(id) = id.filter(|id| self.groups.get(id).is_none()) {
            return Err(Reply::NotFound(Missing::Group(id.clone())));
        }
        let is_in = |path: &AppId| path.is_in(id);
        let Tree { apps, groups } = self.tree();
        let (apps, groups) = (apps.into_keys(), groups.into_keys());
        Ok(Difference {
            apps: apps.filter(is_in).map(|id| (id, None)).collect(),
            groups: groups.filter(is_in).map(|id| (id, None)).collect(),
        })
    }

    /// What is wanted now.
    pub(super) fn tree(&self) -> Tree {
        let wanted = |app: &Arc<crate::state::apps::App>| {
            let version: &Arc<AppVersion> = app.wanted.as_ref()?;
            Some((app.id.clone(), Arc::clone(version)))
        };
        Tree {
            apps: self.apps.iter().filter_map(wanted).collect(),
            groups: self.groups.all().clone(),
        }
    }

    fn lie_of_groups(&self) -> Present {
        let tree = self.tree();
        let by_group = |ids: &mut dyn Iterator<Item = &AppId>| {
            let mut below: BTreeMap<Option<AppId>, Vec<AppId>> = BTreeMap::new();
            for id in ids {
                below.entry(id.parent()).or_default().push(id.clone());
            }
            below
        };
        // Pods are changed by themselves only; they go with the group they are in.
        let apps = tree.apps.iter().filter(|(_, app)| !app.spec.is_pod());
        Present {
            apps: by_group(&mut apps.map(|(id, _)| id)),
            groups: by_group(&mut tree.groups.keys()),
            tree,
        }
    }

    fn wish_for_group(&self, version: Timestamp, laid: Laid) -> Result<Difference, Reply> {
        let mut wish = self.wish_in(version, laid.put, &laid.groups)?;
        wish.apps.extend(laid.gone.into_iter().map(|id| (id, None)));
        wish.groups.extend(laid.groups);
        Ok(wish)
    }
}

/// Who wants which service port.
fn owners_of_ports(apps: &BTreeMap<AppId, Arc<AppVersion>>) -> BTreeMap<u16, Vec<AppId>> {
    let mut owners: BTreeMap<u16, Vec<AppId>> = BTreeMap::new();
    for (id, app) in apps {
        for port in asked_ports(&app.spec) {
            owners.entry(port).or_default().push(id.clone());
        }
    }
    owners
}

impl Present {
    fn lay(&self, said: GroupSpec, laid: &mut Laid) {
        if let Some(id) = &said.id {
            let before = self.tree.groups.get(id);
            let before = before.map(|group| Group::clone(group)).unwrap_or_default();
            let group = Group {
                dependencies: said.dependencies.unwrap_or(before.dependencies),
                enforce_role: said.enforce_role.unwrap_or(before.enforce_role),
            };
            laid.groups.insert(id.clone(), Some(Arc::new(group)));
        }
        if let Some(apps) = said.apps {
            let named: BTreeSet<&AppId> = apps.iter().map(|(_, spec)| &spec.id).collect();
            let present = self.apps.get(&said.id).into_iter().flatten();
            laid.gone
                .extend(present.filter(|id| !named.contains(id)).cloned());
            laid.put.extend(apps);
        }
        let Some(groups) = said.groups else { return };
        let named: BTreeSet<Option<&AppId>> =
            groups.iter().map(|group| group.id.as_ref()).collect();
        let present = self.groups.get(&said.id).into_iter().flatten();
        for id in present.filter(|id| !named.contains(&Some(*id))) {
            laid.gone.extend(within(&self.tree.apps, id).cloned());
            let below = within(&self.tree.groups, id);
            laid.groups.extend(below.map(|id| (id.clone(), None)));
        }
        for group in groups {
            self.lay(group, laid);
        }
    }
}
