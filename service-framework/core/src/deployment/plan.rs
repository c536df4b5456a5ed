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

/// One thing done to one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// To which app.
    pub app: AppId,
    /// What.
    pub kind: ActionKind,
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

impl ActionKind {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "StopApplication",
            Self::Start => "StartApplication",
            Self::Scale { .. } => "ScaleApplication",
            Self::Restart => "RestartApplication",
        }
    }
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
    for id in present.keys().filter(|id| !wanted.contains_key(*id)) {
        stop.push(Action {
            app: id.clone(),
            kind: ActionKind::Stop,
        });
    }
    for (id, app) in wanted {
        let before = present.get(id);
        if before.is_none() {
            start.push(Action {
                app: id.clone(),
                kind: ActionKind::Start,
            });
        }
        if let Some(kind) = change(before, app) {
            by_level.entry(levels[id]).or_default().push(Action {
                app: id.clone(),
                kind,
            });
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
