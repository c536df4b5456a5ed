//! A plan begins, goes on, ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mete_model::Timestamp;
use mete_model::machine::Effects;

use super::change::Asked;
use crate::deployment::plan::{self, Action, ActionKind, Step};
use crate::deployment::progress;
use crate::effects::Reply;
use crate::events::{Happening, PodChange};
use crate::input::Origin;
use crate::orchestrator::{Orchestrator, publish};
use crate::record::Record;
use crate::spec::app::AppId;
use crate::spec::group::Difference;
use crate::spec::history::AppVersion;
use crate::state::apps::{App, MAX_VERSIONS, Target};
use crate::state::deployments::{Deployment, DeploymentId, MAX_DEPLOYMENTS};
use crate::validate::Violation;

impl Orchestrator {
    /// Plans the way to a wish, stores both, and begins.
    pub(super) fn deploy(
        &mut self,
        now: Timestamp,
        asked: Asked,
        wish: Difference,
        out: &mut Effects<Self>,
    ) -> Reply {
        let Asked {
            version,
            force,
            origin,
            group,
        } = asked;
        let planned = self.complete(wish).and_then(|wish| {
            let steps = self.steps(&wish)?;
            Ok((wish, steps))
        });
        let (wish, steps) = match planned {
            Ok(planned) => planned,
            Err(reply) => return reply,
        };
        let conflicts = self
            .deployments
            .meeting(&wish.apps.keys().cloned().collect());
        if !conflicts.is_empty() && !force {
            return Reply::Conflict {
                deployments: conflicts,
            };
        }
        if self.deployments.count() - conflicts.len() >= MAX_DEPLOYMENTS && !steps.is_empty() {
            return Reply::TooManyDeployments {
                limit: MAX_DEPLOYMENTS,
            };
        }
        for id in &conflicts {
            self.cancel(now, id, out);
        }
        let is_new =
            |(app, after): (&AppId, &Option<_>)| after.is_some() && self.apps.wanted(app).is_none();
        let created = wish.apps.iter().any(is_new);
        let affected = self.take_wish(version, wish, out);
        if let Some((origin, app)) = origin {
            publish(now, out, self.asked_for(origin, app, created));
        }
        let id = DeploymentId::new(self.random.uuid());
        let deployment = Deployment {
            id: id.clone(),
            version,
            steps: steps.into(),
            current: 0,
            affected,
        };
        self.begin(now, group, deployment, out);
        Reply::Changed {
            version,
            deployment: id,
            created,
        }
    }

    /// What subscribers hear of a change to one app or pod, which was made; only pods are heard of when they go.
    fn asked_for(&self, origin: Origin, id: AppId, created: bool) -> Happening {
        let change = match self.apps.wanted(&id) {
            Some(app) if !app.spec.is_pod() => {
                let app = Arc::clone(app);
                return Happening::ApiPost { origin, app };
            }
            Some(_) if created => PodChange::Created,
            Some(_) => PodChange::Updated,
            None => PodChange::Deleted,
        };
        Happening::PodChanged {
            origin,
            pod: id,
            change,
        }
    }

    pub(super) fn steps(&self, wish: &Difference) -> Result<Vec<Step>, Reply> {
        if wish.is_empty() {
            return Ok(Vec::new());
        }
        let present = self.tree();
        let mut after = present.clone();
        after.lay(wish);
        plan::plan(&present.apps, &after.apps, &after.groups).map_err(|disorder| {
            let violation = Violation::new("/", disorder.to_string());
            Reply::Invalid(vec![violation])
        })
    }

    /// Makes a wish what is wanted; the version of each app that was wanted before.
    fn take_wish(
        &mut self,
        version: Timestamp,
        wish: Difference,
        out: &mut Effects<Self>,
    ) -> BTreeMap<AppId, Option<Timestamp>> {
        let mut affected = BTreeMap::new();
        let mut former = Difference::default();
        for (id, after) in wish.groups {
            let before = match after {
                Some(group) => {
                    out.store
                        .push(Record::Group(id.clone(), Arc::clone(&group)));
                    let before = self.groups.get(&id).cloned();
                    self.groups.put(id.clone(), group);
                    before
                }
                None => {
                    out.store.push(Record::GroupRemoved(id.clone()));
                    self.groups.take(&id)
                }
            };
            former.groups.insert(id, before);
        }
        for (id, after) in wish.apps {
            let before = self.apps.wanted(&id).cloned();
            affected.insert(id.clone(), before.as_ref().map(|before| before.version));
            former.apps.insert(id.clone(), before);
            if let Some(version) = &after {
                out.store.push(Record::Version(Arc::clone(version)));
                self.roles.take(&self.role_of(&version.spec));
            }
            self.apps.edit(&id, |app| {
                if let Some(version) = &after {
                    app.versions.insert(version.version, Arc::clone(version));
                }
                app.wanted = after;
            });
            self.store_app(&id, out);
            self.unlisted.insert(id);
        }
        if !former.is_empty() {
            let former = Arc::new(former);
            out.store.push(Record::Former(version, Arc::clone(&former)));
            let forgotten = self.groups.remember(version, former);
            out.store
                .extend(forgotten.into_iter().map(Record::FormerRemoved));
        }
        affected
    }

    fn begin(
        &mut self,
        now: Timestamp,
        group: Option<AppId>,
        deployment: Deployment,
        out: &mut Effects<Self>,
    ) {
        publish(
            now,
            out,
            Happening::GroupChangeSuccess {
                group,
                version: deployment.version,
            },
        );
        if deployment.steps.is_empty() {
            publish(now, out, Happening::DeploymentSuccess(Arc::new(deployment)));
            return;
        }
        self.touched.extend(deployment.affected.keys().cloned());
        let deployment = self.deployments.put(deployment);
        out.store.push(Record::Deployment(Arc::clone(&deployment)));
        // At once: what a cancelled deployment has left is not to be put in order first.
        self.advance(now, &deployment.id, out);
    }

    /// Moves a deployment on as far as it goes without waiting for anything.
    pub(super) fn advance(&mut self, now: Timestamp, id: &DeploymentId, out: &mut Effects<Self>) {
        let Some(deployment) = self.deployments.get(id) else {
            return;
        };
        if let Some(step) = deployment.current_step() {
            let is_done = |action: &Action| {
                progress::is_done(action.kind, self.apps.get(&action.app).map(|app| &**app))
            };
            if !step.actions.iter().all(is_done) {
                return;
            }
            publish(
                now,
                out,
                Happening::DeploymentStepSuccess(Arc::clone(deployment)),
            );
        }
        if deployment.current == deployment.steps.len() {
            self.finish(now, id, out);
            return;
        }
        let next = Deployment {
            current: deployment.current + 1,
            ..(**deployment).clone()
        };
        let next = self.deployments.put(next); // not stored: after a restart a plan begins anew, see `progress`
        publish(now, out, Happening::DeploymentInfo(Arc::clone(&next)));
        for action in next
            .current_step()
            .map(|step| &*step.actions)
            .unwrap_or_default()
        {
            self.act(now, action, out);
        }
        // Settled once more even where the step changed nothing, so that the one after it gets its turn.
        self.touched.extend(next.affected.keys().cloned());
    }

    /// Begins an action: from now on something else is kept of its app.
    fn act(&mut self, now: Timestamp, action: &Action, out: &mut Effects<Self>) {
        let id = &action.app;
        let Some(app) = self.apps.get(id) else { return };
        let (before, wanted) = (app.target.clone(), app.wanted.clone());
        let target = match (action.kind, wanted) {
            (ActionKind::Stop, _) | (_, None) => None,
            // There already after a restart in the middle of the plan: it goes on from where it was.
            (ActionKind::Start, Some(_)) if before.is_some() => before.clone(),
            (ActionKind::Start, Some(version)) => Some(Target {
                version,
                instances: 0,
                replaces: true,
            }),
            (ActionKind::Scale { to }, Some(version)) => {
                let replaces = before
                    .as_ref()
                    .is_none_or(|before| before.replaces || !before.version.same_config(&version));
                Some(Target {
                    version,
                    instances: to,
                    replaces,
                })
            }
            (ActionKind::Restart, Some(version)) => Some(Target {
                instances: version.spec.instances,
                version,
                replaces: true,
            }),
        };
        if target == before {
            return;
        }
        let (old, new) = (
            before.map(|target| target.version),
            target.as_ref().map(|target| Arc::clone(&target.version)),
        );
        self.tell_checks(now, id, old.as_deref(), new.as_deref(), out);
        self.apps.edit(id, |app| app.target = target);
        self.store_app(id, out);
        self.touched.insert(id.clone());
    }

    /// Tells subscribers which check begins and which ends with a version.
    fn tell_checks(
        &self,
        now: Timestamp,
        app: &AppId,
        old: Option<&AppVersion>,
        new: Option<&AppVersion>,
        out: &mut Effects<Self>,
    ) {
        let checks = |version: Option<&AppVersion>| {
            version
                .map(|version| version.spec.health_checks.clone())
                .unwrap_or_default()
        };
        if old.zip(new).is_some_and(|(old, new)| old.same_config(new)) {
            return;
        }
        if !checks(old).is_empty() {
            publish(now, out, Happening::RemoveHealthCheck { app: app.clone() });
        }
        for check in checks(new) {
            let version = new.map(|version| version.version).unwrap_or_default();
            publish(
                now,
                out,
                Happening::AddHealthCheck {
                    app: app.clone(),
                    version,
                    check,
                },
            );
        }
    }

    fn finish(&mut self, now: Timestamp, id: &DeploymentId, out: &mut Effects<Self>) {
        let Some(deployment) = self.deployments.take(id) else {
            return;
        };
        out.store.push(Record::DeploymentRemoved(id.clone()));
        for action in deployment.steps.iter().flat_map(|step| &step.actions) {
            if action.kind == ActionKind::Stop {
                publish(
                    now,
                    out,
                    Happening::AppTerminated {
                        app: action.app.clone(),
                    },
                );
            }
        }
        self.touched.extend(deployment.affected.keys().cloned());
        publish(now, out, Happening::DeploymentSuccess(deployment));
    }

    /// Stores what is wanted and kept of an app, and forgets versions that are too many.
    pub(super) fn store_app(&mut self, id: &AppId, out: &mut Effects<Self>) {
        let Some(app) = self.apps.get(id) else { return };
        out.store.push(Record::App(Arc::clone(app)));
        if app.versions.len() <= MAX_VERSIONS {
            return;
        }
        let used = self.versions_used(app);
        let surplus = app.versions.len() - MAX_VERSIONS;
        let old: Vec<Timestamp> = app
            .versions
            .keys()
            .take(surplus)
            .filter(|version| !used.contains(version))
            .copied()
            .collect();
        self.apps.edit(id, |app| {
            app.versions.retain(|version, _| !old.contains(version))
        });
        out.store.extend(
            old.into_iter()
                .map(|version| Record::VersionRemoved(id.clone(), version)),
        );
    }

    fn versions_used(&self, app: &App) -> BTreeSet<Timestamp> {
        let before = self
            .deployments
            .iter()
            .filter_map(|deployment| *deployment.affected.get(&app.id)?);
        let instances = app
            .instances
            .values()
            .map(|instance| instance.version.version);
        let target = app.target.iter().map(|target| target.version.version);
        let wanted = app.wanted.iter().map(|wanted| wanted.version);
        before
            .chain(instances)
            .chain(target)
            .chain(wanted)
            .collect()
    }
}
