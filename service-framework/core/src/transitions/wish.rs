//! What a change comes down to: apps and groups that are another from now on. Validated, with service ports given, and
//! with the groups that they lie in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::Timestamp;

use crate::effects::Reply;
use crate::orchestrator::Orchestrator;
use crate::spec::app::{AppId, AppSpec, PortDefinition};
use crate::spec::dependencies::within;
use crate::spec::group::{Difference, Group};
use crate::spec::history::AppVersion;
use crate::spec::ports;
use crate::validate::{self, Roles, Violation};

/// Groups that are another with a wish; `None`: gone.
type Groups = BTreeMap<AppId, Option<Arc<Group>>>;

impl Orchestrator {
    /// Validates, gives service ports, and compares with what is wanted already. Each app comes with its place in what was
    /// said: empty when it is all of it.
    pub(super) fn wish_for(
        &self,
        version: Timestamp,
        specs: Vec<(String, AppSpec)>,
    ) -> Result<Difference, Reply> {
        self.wish_in(version, specs, &BTreeMap::new())
    }

    /// The same of apps whose groups change with them.
    pub(super) fn wish_in(
        &self,
        version: Timestamp,
        mut specs: Vec<(String, AppSpec)>,
        groups: &Groups,
    ) -> Result<Difference, Reply> {
        let mut violations = Vec::new();
        let mut seen = BTreeSet::new();
        for (place, spec) in &mut specs {
            let roles = self.give_role(spec, groups);
            let found = validate::app(spec, &roles).into_iter();
            violations.extend(found.map(|found| found.below(place)));
            let is_other = |before: &Arc<AppVersion>| before.spec.is_pod() != spec.is_pod();
            if self.apps.wanted(&spec.id).is_some_and(is_other) {
                let text = "Applications and Pods may not share the same id";
                violations.push(Violation::new("/", text).below(place));
            }
            if let Some(before) = self.apps.wanted(&spec.id) {
                let found = validate::update(&before.spec, spec).into_iter();
                violations.extend(found.map(|found| found.below(place)));
            }
            if !seen.insert(spec.id.clone()) {
                let message = format!("app {} is given twice", spec.id);
                violations.push(Violation::new("/id", message).below(place));
            }
        }
        if !violations.is_empty() {
            return Err(Reply::Invalid(violations));
        }
        let mut taken = self.service_ports();
        for (_, spec) in &specs {
            taken.extend(asked_ports(spec));
        }
        let mut wish = Difference::default();
        for (_, mut spec) in specs {
            let before = self.apps.wanted(&spec.id);
            self.give_ports(&mut spec, before, &mut taken)?;
            let spec = Arc::new(spec);
            let next = match before {
                Some(before) => before.next(version, Arc::clone(&spec)),
                None => Some(AppVersion::first(version, Arc::clone(&spec))),
            };
            if let Some(next) = next {
                wish.apps.insert(spec.id.clone(), Some(Arc::new(next)));
            }
        }
        Ok(wish)
    }

    /// Gives an app its role: what it had, or as its group says; and says which it may have.
    fn give_role(&self, spec: &mut AppSpec, groups: &Groups) -> Roles {
        let own = &self.settings.role;
        let before = self.apps.wanted(&spec.id).map(|before| &before.spec.role);
        let group = spec.id.group_role().map(str::to_owned);
        let is_enforced = spec.id.top_group().is_some_and(|top| {
            let wished = groups.get(&top).map(Option::as_ref);
            let group = wished.unwrap_or_else(|| self.groups.get(&top));
            group.is_some_and(|group| group.enforce_role)
        });
        if spec.role.is_none() {
            let of_group = || group.clone().filter(|_| is_enforced);
            spec.role = before.cloned().unwrap_or_else(of_group);
        }
        spec.role.take_if(|role| role == own);
        let kept = before.map(|role| role.as_ref().unwrap_or(own).clone());
        let free = Some(own.clone()).filter(|_| !is_enforced);
        Roles {
            own: own.clone(),
            allowed: group.into_iter().chain(free).chain(kept).collect(),
        }
    }

    /// Whether the group at the top that an app is in enforces its role.
    pub(super) fn is_role_enforced(&self, app: &AppId) -> bool {
        let group = app.top_group().and_then(|top| self.groups.get(&top));
        group.is_some_and(|group| group.enforce_role)
    }

    /// Adds the groups that apps and groups of a wish lie in, and leaves out what is so already.
    ///
    /// # Errors
    /// An app and a group may not have one id; but an app takes the place of a group that holds nothing.
    pub(super) fn complete(&self, mut wish: Difference) -> Result<Difference, Reply> {
        let is_put = |app: &AppId| {
            let wished = wish.apps.get(app).map(Option::is_some);
            wished.unwrap_or_else(|| self.apps.wanted(app).is_some())
        };
        let holds_apps = |group: &AppId| {
            let mut below = self.apps.iter().map(|app| &app.id).chain(wish.apps.keys());
            below.any(|app| app != group && app.is_within(group) && is_put(app))
        };
        let put = |(id, after): (&AppId, bool)| after.then(|| id.clone());
        let apps = wish.apps.iter().map(|(id, app)| (id, app.is_some()));
        let apps: Vec<AppId> = apps.filter_map(put).collect();
        let groups = wish.groups.iter().map(|(id, group)| (id, group.is_some()));
        let mut named: BTreeSet<AppId> = groups.filter_map(put).collect();
        let mut clash = BTreeSet::new();
        let (mut made, mut gone) = (Vec::new(), Vec::new());
        for app in &apps {
            let is_group = named.contains(app) || self.groups.get(app).is_some() && holds_apps(app);
            if is_group && wish.groups.get(app) != Some(&None) {
                clash.insert(app.clone());
            }
            gone.extend(within(self.groups.all(), app).cloned());
        }
        named.extend(apps);
        for group in named.iter().flat_map(AppId::ancestors) {
            if is_put(&group) {
                clash.insert(group.clone());
            }
            let is_wished = matches!(wish.groups.get(&group), Some(Some(_)));
            let is_there = self.groups.get(&group).is_some();
            if !is_wished && (!is_there || wish.groups.contains_key(&group)) {
                made.push(group);
            }
        }
        let put = wish.groups.iter().filter(|(_, after)| after.is_some());
        clash.extend(put.map(|(group, _)| group).filter(|id| is_put(id)).cloned());
        if let Some(id) = clash.first() {
            let wished = wish.apps.get(id).and_then(Option::as_ref);
            let app = wished.or_else(|| self.apps.wanted(id));
            let text = match app.is_some_and(|app| app.spec.is_pod()) {
                true => "Groups and Pods may not have the same identifier.",
                false => "Groups and Applications may not have the same identifier.",
            };
            return Err(Reply::Invalid(vec![Violation::new("/", text)]));
        }
        wish.groups.extend(gone.into_iter().map(|id| (id, None)));
        let made = made.into_iter().map(|id| (id, Some(Arc::default())));
        wish.groups.extend(made);
        wish.groups
            .retain(|id, after| self.groups.get(id) != after.as_ref());
        Ok(wish)
    }

    fn give_ports(
        &self,
        spec: &mut AppSpec,
        before: Option<&Arc<AppVersion>>,
        taken: &mut BTreeSet<u16>,
    ) -> Result<(), Reply> {
        let (first, last) = (
            self.settings.first_service_port,
            self.settings.last_service_port,
        );
        if !spec.is_proxied() {
            return Ok(());
        }
        let is_taken = |port| taken.contains(&port);
        let old = before.iter().flat_map(|before| before.spec.ports());
        let old: Vec<PortDefinition> = old.cloned().collect();
        let mut definitions: Vec<PortDefinition> = spec.ports().cloned().collect();
        ports::assign(&mut definitions, &old, is_taken, first..=last)
            .map_err(|ports::UsedUp| Reply::NoServicePort { first, last })?;
        let numbers = definitions.iter().map(|definition| definition.port);
        taken.extend(numbers.clone());
        spec.set_service_ports(numbers);
        Ok(())
    }

    /// Service ports in use: those wanted, those that instances of other versions still serve, and those that deployments
    /// may go back to.
    fn service_ports(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        for app in self.apps.iter() {
            ports.extend(
                app.wanted
                    .iter()
                    .flat_map(|wanted| asked_ports(&wanted.spec)),
            );
            // Nearly all instances are of the version that is wanted.
            let wanted = app.wanted.as_ref().map(|wanted| wanted.version);
            let instances = app.instances.values();
            let others = instances.filter(|instance| Some(instance.version.version) != wanted);
            ports.extend(others.flat_map(|instance| asked_ports(&instance.version.spec)));
        }
        let changing = self.deployments.iter().flat_map(|one| &one.affected);
        let former = changing.filter_map(|(app, before)| {
            let versions = &self.apps.get(app)?.versions;
            versions.get(before.as_ref()?)
        });
        ports.extend(former.flat_map(|version| asked_ports(&version.spec)));
        ports
    }
}

/// The service ports that an app asks for by number; several apps may ask for one, as in Marathon.
pub(super) fn asked_ports(spec: &AppSpec) -> impl Iterator<Item = u16> {
    let numbers = spec.ports().map(|definition| definition.port);
    numbers.filter(|port| *port != 0)
}
