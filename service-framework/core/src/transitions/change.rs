//! A user wants something else: apps and groups created, changed, removed, restarted, scaled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use crate::effects::{Missing, Reply};
use crate::events::Happening;
use crate::input::{Change, Origin, Wanted};
use crate::orchestrator::{Orchestrator, publish};
use crate::spec::app::{AppId, AppSpec};
use crate::spec::group::Difference;
use crate::spec::history::AppVersion;
use crate::validate::Violation;

/// How a change was asked for.
pub(super) struct Asked {
    /// The version it makes.
    pub(super) version: Timestamp,
    /// Whether deployments that stand in its way are cancelled.
    pub(super) force: bool,
    /// Who asked for which app, when subscribers are to hear.
    pub(super) origin: Option<(Origin, AppId)>,
    /// The group that what changes lies in, as subscribers hear it; `None`: the root.
    pub(super) group: Option<AppId>,
}

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
            Wanted::RemovePod(pod) => Some(pod.clone()),
            Wanted::Remove(_)
            | Wanted::Restart(_)
            | Wanted::CreateGroup(_)
            | Wanted::PutGroup(_)
            | Wanted::RevertGroup(..)
            | Wanted::ScaleGroup(..)
            | Wanted::RemoveGroup(_)
            | Wanted::Scale { .. } => None,
        };
        let asked = Asked {
            version,
            force: change.force,
            origin: change.origin.zip(asked),
            group: group_of(&change.what),
        };
        let group = asked.group.clone();
        let reply = match self.wish(version, change.what) {
            Ok(wish) => self.deploy(now, asked, wish, out),
            Err(reply) => reply,
        };
        if let Some(reason) = reason_of(&reply) {
            let failed = Happening::GroupChangeFailed {
                group,
                version,
                reason: reason.to_owned(),
            };
            publish(now, out, failed);
        }
        reply
    }

    /// What a change would do.
    pub(crate) fn dry_run(&mut self, now: Timestamp, what: Wanted) -> Reply {
        let version = self.stamp(now);
        let wish = self.wish(version, what);
        let steps = wish
            .and_then(|wish| self.complete(wish))
            .and_then(|wish| self.steps(&wish));
        steps.map_or_else(|reply| reply, Reply::Planned)
    }

    /// What the change comes down to: the apps whose version is another from now on. The answer when it makes no sense.
    fn wish(&self, version: Timestamp, what: Wanted) -> Result<Difference, Reply> {
        match what {
            Wanted::Create(spec) => {
                let present = self.apps.wanted(&spec.id).map(|app| app.spec.is_pod());
                match (present, spec.is_pod()) {
                    (Some(false), false) => return Err(Reply::AlreadyExists(spec.id)),
                    (Some(true), true) => return Err(Reply::PodExists(spec.id)),
                    // One in place of the other is no good either, which is seen with all that is not.
                    (Some(_), _) | (None, _) => {}
                }
                self.wish_for(version, vec![(String::new(), *spec)])
            }
            Wanted::Put {
                apps,
                create,
                merged_with,
            } => {
                self.check_merge(&apps, create, &merged_with)?;
                let is_list = apps.len() > 1;
                let place = |at: usize| match is_list {
                    true => format!("/apps({at})"),
                    false => String::new(),
                };
                let apps = apps.into_iter().enumerate();
                self.wish_for(version, apps.map(|(at, app)| (place(at), app)).collect())
            }
            Wanted::Remove(app) => {
                self.wanted(&app)?;
                Ok(without(app))
            }
            Wanted::RemovePod(pod) => match self.apps.wanted(&pod) {
                Some(version) if version.spec.is_pod() => Ok(without(pod)),
                Some(_) | None => Err(Reply::NotFound(Missing::Pod(pod))),
            },
            Wanted::Restart(app) => {
                let restarted = self.wanted(&app)?.restarted(version);
                Ok(Difference {
                    apps: BTreeMap::from([(app, Some(Arc::new(restarted)))]),
                    ..Difference::default()
                })
            }
            Wanted::CreateGroup(spec) => self.new_group(version, *spec),
            Wanted::PutGroup(spec) => self.group(version, *spec),
            Wanted::RevertGroup(id, former) => self.group_as_it_was(version, id, former),
            Wanted::ScaleGroup(id, factor) => self.scaled_group(version, id, factor),
            Wanted::RemoveGroup(id) => self.no_group(id.as_ref()),
            Wanted::Scale { app, instances } => {
                let mut spec = (*self.wanted(&app)?.spec).clone();
                spec.instances = instances;
                self.wish_for(version, vec![(String::new(), spec)])
            }
        }
    }

    /// An app; no pod.
    fn wanted(&self, app: &AppId) -> Result<&Arc<AppVersion>, Reply> {
        let version = self.apps.wanted(app);
        version
            .filter(|version| !version.spec.is_pod())
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
}

fn without(app: AppId) -> Difference {
    Difference {
        apps: BTreeMap::from([(app, None)]),
        ..Difference::default()
    }
}

/// The group that what changes lies in, as subscribers hear it.
fn group_of(what: &Wanted) -> Option<AppId> {
    match what {
        Wanted::Create(spec) => spec.id.parent(),
        Wanted::Put { apps, .. } => match &**apps {
            [one] => one.id.parent(),
            _ => None,
        },
        Wanted::Remove(app)
        | Wanted::RemovePod(app)
        | Wanted::Restart(app)
        | Wanted::Scale { app, .. } => app.parent(),
        Wanted::CreateGroup(spec) | Wanted::PutGroup(spec) => spec.id.as_ref()?.parent(),
        Wanted::RevertGroup(id, _) | Wanted::ScaleGroup(id, _) | Wanted::RemoveGroup(id) => {
            id.as_ref()?.parent()
        }
    }
}

/// Why a change was turned down, for subscribers; `None` when it was not, or when it named what is not there.
fn reason_of(reply: &Reply) -> Option<&'static str> {
    match reply {
        Reply::Conflict { .. } => Some("locked by one or more deployments"),
        Reply::Invalid(_) => Some("it makes no sense"),
        Reply::TooManyDeployments { .. } => Some("too many deployments run"),
        Reply::NoServicePort { .. } => Some("no service port is left"),
        Reply::Changed { .. }
        | Reply::Planned(_)
        | Reply::Killed(_)
        | Reply::Cancelled
        | Reply::Done
        | Reply::NotFound(_)
        | Reply::AlreadyExists(_)
        | Reply::PodExists(_)
        | Reply::GroupExists(_)
        | Reply::AppInPlaceOfGroup(_)
        | Reply::Stale(_)
        | Reply::BadProxy(_) => None,
    }
}
