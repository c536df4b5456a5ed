//! The planner: what is wanted and what was wanted before make steps. Pure.
//!
//! First what is removed stops, then what is new starts (without instances yet), then each level of dependencies is
//! scaled or restarted, those that others wait for first. Empty steps are left out; nothing changed, no steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::spec::app::{AppId, AppSpec};
use crate::spec::dependencies::{self, Disorder};
use crate::spec::group::Group;
use crate::spec::history::AppVersion;

/// Actions that run together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// At least one.
    pub actions: Vec<Action>,
}

/// One thing done to one app or pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// To which.
    pub app: AppId,
    /// Whether it is a pod.
    pub is_pod: bool,
    /// What.
    pub kind: ActionKind,
}

impl Action {
    /// The name in the API.
    pub const fn name(&self) -> &'static str {
        match (self.kind, self.is_pod) {
            (ActionKind::Stop, false) => "StopApplication",
            (ActionKind::Stop, true) => "StopPod",
            (ActionKind::Start, false) => "StartApplication",
            (ActionKind::Start, true) => "StartPod",
            (ActionKind::Scale { .. }, false) => "ScaleApplication",
            (ActionKind::Scale { .. }, true) => "ScalePod",
            (ActionKind::Restart, false) => "RestartApplication",
            (ActionKind::Restart, true) => "RestartPod",
        }
    }
}

/// What is done to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// Every instance goes, then the app.
    Stop,
    /// The app is there from now on, without instances.
    Start,
    /// So many instances are kept.
    Scale {
        /// How many.
        to: u32,
    },
    /// Every instance is replaced by one of the new version.
    Restart,
}

/// Apps by id, each in one version.
pub type Apps = BTreeMap<AppId, Arc<AppVersion>>;

/// Groups by id.
pub type Groups = BTreeMap<AppId, Arc<Group>>;

/// The steps from `present` to `wanted`, whose apps lie in `groups`.
///
/// # Errors
/// [`Disorder`] when wanted apps wait for each other.
pub fn plan(present: &Apps, wanted: &Apps, groups: &Groups) -> Result<Vec<Step>, Disorder> {
    let specs: BTreeMap<AppId, &AppSpec> = wanted
        .iter()
        .map(|(id, app)| (id.clone(), &*app.spec))
        .collect();
    let levels = dependencies::levels(&specs, groups)?;
    let (mut stop, mut start) = (Vec::new(), Vec::new());
    let mut by_level: BTreeMap<usize, Vec<Action>> = BTreeMap::new();
    let action = |id: &AppId, app: &AppVersion, kind| Action {
        app: id.clone(),
        is_pod: app.spec.is_pod(),
        kind,
    };
    for (id, app) in present.iter().filter(|(id, _)| !wanted.contains_key(*id)) {
        stop.push(action(id, app, ActionKind::Stop));
    }
    for (id, app) in wanted {
        let before = present.get(id);
        if before.is_none() {
            start.push(action(id, app, ActionKind::Start));
        }
        if let Some(kind) = change(before, app) {
            let level = by_level.entry(levels[id]).or_default();
            level.push(action(id, app, kind));
        }
    }
    let steps = [stop, start].into_iter().chain(by_level.into_values());
    Ok(steps
        .filter(|actions| !actions.is_empty())
        .map(|actions| Step { actions })
        .collect())
}

/// What is done to one app that is wanted; `None` when it is as wanted already.
fn change(before: Option<&Arc<AppVersion>>, app: &AppVersion) -> Option<ActionKind> {
    let to = app.spec.instances;
    match before {
        Some(before) if before.same_config(app) => {
            (before.spec.instances != to).then_some(ActionKind::Scale { to })
        }
        Some(_) if to > 0 => Some(ActionKind::Restart),
        Some(_) | None => Some(ActionKind::Scale { to }),
    }
}
