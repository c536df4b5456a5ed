//! Deployments as `/v2/deployments` prints them, and the answer to every change.

use serde::{Deserialize, Serialize};

use super::readiness::TaskReadinessCheckResult;

/// The answer to a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentResult {
    /// The version of what changed.
    pub version: String,
    /// The deployment that carries it out.
    pub deployment_id: String,
}

/// A deployment and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// The version of the apps it changes.
    pub version: String,
    /// The apps it changes.
    pub affected_apps: Vec<String>,
    /// The pods it changes.
    #[serde(default)]
    pub affected_pods: Vec<String>,
    /// What is done, one step after the other.
    pub steps: Vec<Step>,
    /// What is being done.
    pub current_actions: Vec<CurrentAction>,
    /// Counted from 1; 0: not begun.
    pub current_step: usize,
    /// How many there are.
    pub total_steps: usize,
}

/// The answer to a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSteps {
    /// What would be done, one step after the other.
    pub steps: Vec<Step>,
}

/// Actions that run together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// At least one.
    pub actions: Vec<Action>,
}

/// One thing done to one app or pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `StartApplication`, `ScaleApplication`, `RestartApplication` or `StopApplication`; `StartPod` and so on.
    pub action: String,
    /// To which app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// To which pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// One thing being done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    /// What and to which app.
    #[serde(flatten)]
    pub action: Action,
    /// What instances of the app say of their readiness.
    #[serde(default)]
    pub readiness_check_results: Vec<TaskReadinessCheckResult>,
}

/// A plan as events tell it: what, not how far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id.
    pub id: String,
    /// The version of the apps it changes.
    pub version: String,
    /// The groups before; empty, for clients that look for the key.
    #[serde(default)]
    pub original: Nothing,
    /// The groups after; empty, too.
    #[serde(default)]
    pub target: Nothing,
    /// What is done.
    pub steps: Vec<Step>,
}

/// An object that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}
