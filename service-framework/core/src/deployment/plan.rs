//! The planner: what is wanted and what is present make steps. Pure.

use crate::spec::app::AppId;

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
