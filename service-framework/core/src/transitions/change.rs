//! A user wants something else: apps created, changed, removed, restarted, scaled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use crate::effects::{Missing, Reply};
use crate::input::{Change, Wanted};
use crate::orchestrator::Orchestrator;
use crate::spec::app::{AppId, AppSpec};
use crate::spec::history::AppVersion;
use crate::spec::ports;
use crate::validate::{self, Violation};

/// What is wanted from now on of the apps that change; `None`: nothing.
pub(super) type Wish = BTreeMap<AppId, Option<Arc<AppVersion>>>;

impl Orchestrator {
    pub(crate) fn change(
        &mut self,
        now: Timestamp,
        change: Change,
        out: &mut Effects<Self>,
    ) -> Reply {
        let version = self.stamp(now);
        let asked = match &change.what {
            Wanted::Create(spec) => Some(spec.id.clone()),
            Wanted::Put { apps, .. } => apps.first().map(|spec| spec.id.clone()),
            Wanted::Remove(_) | Wanted::Restart(_) | Wanted::Scale { .. } => None,
        };
        let origin = change.origin.zip(asked);
        match self.wish(version, change.what) {
            Ok(wish) => self.deploy(now, version, wish, change.force, origin, out),
            Err(reply) => reply,
        }
    }

    /// What the change comes down to: the apps whose version is another from now on. The answer when it makes no sense.
    fn wish(&self, version: Timestamp, what: Wanted) -> Result<Wish, Reply> {
        match what {
            Wanted::Create(spec) => {
                if self.apps.wanted(&spec.id).is_some() {
                    return Err(Reply::AlreadyExists(spec.id));
                }
                self.wish_for(version, vec![*spec])
            }
            Wanted::Put {
                apps,
                create,
                merged_with,
            } => {
                self.check_merge(&apps, create, &merged_with)?;
                self.wish_for(version, apps)
            }
            Wanted::Remove(app) => {
                self.wanted(&app)?;
                Ok(Wish::from([(app, None)]))
            }
            Wanted::Restart(app) => {
                let restarted = self.wanted(&app)?.restarted(version);
                Ok(Wish::from([(app, Some(Arc::new(restarted)))]))
            }
            Wanted::Scale { app, instances } => {
                let mut spec = (*self.wanted(&app)?.spec).clone();
                spec.instances = instances;
                self.wish_for(version, vec![spec])
            }
        }
    }

    fn wanted(&self, app: &AppId) -> Result<&Arc<AppVersion>, Reply> {
        self.apps
            .wanted(app)
            .ok_or_else(|| Reply::NotFound(Missing::App(app.clone())))
    }

    fn check_merge(
        &self,
        apps: &[AppSpec],
        create: bool,
        merged_with: &BTreeMap<AppId, Timestamp>,
    ) -> Result<(), Reply> {
        let mut seen = BTreeSet::new();
        for spec in apps {
            let present = self.apps.wanted(&spec.id);
            if present.is_none() && !create {
                return Err(Reply::NotFound(Missing::App(spec.id.clone())));
            }
            if merged_with
                .get(&spec.id)
                .is_some_and(|version| present.map(|app| app.version) != Some(*version))
            {
                return Err(Reply::Stale(spec.id.clone()));
            }
            if !seen.insert(&spec.id) {
                return Err(Reply::Invalid(vec![Violation::new(
                    "/",
                    format!("app {} is given twice", spec.id),
                )]));
            }
        }
        Ok(())
    }

    /// Validates, gives service ports, and compares with what is wanted already.
    fn wish_for(&self, version: Timestamp, specs: Vec<AppSpec>) -> Result<Wish, Reply> {
        let is_list = specs.len() > 1;
        let mut violations = Vec::new();
        for (at, spec) in specs.iter().enumerate() {
            let prefix = if is_list {
                format!("/apps({at})")
            } else {
                String::new()
            };
            violations.extend(
                validate::app(spec, &self.settings.role)
                    .into_iter()
                    .map(|found| Violation {
                        path: if found.path == "/" && is_list {
                            prefix.clone()
                        } else {
                            format!("{prefix}{}", found.path)
                        },
                        ..found
                    }),
            );
        }
        let changing: BTreeSet<AppId> = specs.iter().map(|spec| spec.id.clone()).collect();
        let mut taken = self.service_ports(&changing);
        for spec in &specs {
            claim(spec, &mut taken, &mut violations);
        }
        if !violations.is_empty() {
            return Err(Reply::Invalid(violations));
        }
        let mut wish = Wish::new();
        for mut spec in specs {
            let before = self.apps.wanted(&spec.id);
            self.give_ports(&mut spec, before, &mut taken)?;
            let spec = Arc::new(spec);
            let next = match before {
                Some(before) => before.next(version, Arc::clone(&spec)),
                None => Some(AppVersion::first(version, Arc::clone(&spec))),
            };
            if let Some(next) = next {
                wish.insert(spec.id.clone(), Some(Arc::new(next)));
            }
        }
        Ok(wish)
    }

    fn give_ports(
        &self,
        spec: &mut AppSpec,
        before: Option<&Arc<AppVersion>>,
        taken: &mut BTreeMap<u16, AppId>,
    ) -> Result<(), Reply> {
        let (first, last) = (
            self.settings.first_service_port,
            self.settings.last_service_port,
        );
        let others = taken
            .iter()
            .filter(|(_, app)| **app != spec.id)
            .map(|(port, _)| *port)
            .collect();
        let old = before
            .map(|before| &*before.spec.port_definitions)
            .unwrap_or_default();
        ports::assign(&mut spec.port_definitions, old, &others, first..=last)
            .map_err(|ports::UsedUp| Reply::NoServicePort { first, last })?;
        taken.extend(
            spec.port_definitions
                .iter()
                .map(|definition| (definition.port, spec.id.clone())),
        );
        Ok(())
    }

    /// Service ports in use and by whom: those wanted, and those that instances of other versions still serve. Of the
    /// apps that are `changing` only those that they serve under another id's nose, that is none.
    fn service_ports(&self, changing: &BTreeSet<AppId>) -> BTreeMap<u16, AppId> {
        let mut ports = BTreeMap::new();
        let mut note = |app: &AppId, spec: &AppSpec| {
            for definition in spec
                .port_definitions
                .iter()
                .filter(|definition| definition.port != 0)
            {
                ports.insert(definition.port, app.clone());
            }
        };
        for app in self.apps.iter() {
            for version in app.wanted.iter().filter(|_| !changing.contains(&app.id)) {
                note(&app.id, &version.spec);
            }
            for instance in app.instances.values() {
                note(&app.id, &instance.version.spec);
            }
        }
        ports
    }
}

/// Notes the service ports an app asks for by number; each belongs to one app only.
fn claim(spec: &AppSpec, taken: &mut BTreeMap<u16, AppId>, violations: &mut Vec<Violation>) {
    for (at, definition) in spec
        .port_definitions
        .iter()
        .enumerate()
        .filter(|(_, definition)| definition.port != 0)
    {
        match taken.get(&definition.port) {
            Some(other) if *other != spec.id => {
                let text = format!(
                    "service port {} is already used by app {other}",
                    definition.port
                );
                violations.push(Violation::new(format!("/portDefinitions({at})/port"), text));
            }
            Some(_) | None => {
                taken.insert(definition.port, spec.id.clone());
            }
        }
    }
}
