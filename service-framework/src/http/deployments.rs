//! `/v2/deployments`: plans that run, how far they are, and the end of one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use mete_proto::rest::deployments::{
    Action, CurrentAction, Deployment as Told, Nothing, Plan, Step,
};
use mete_service_framework_core::deployment::plan as core;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::deployments::{Deployment, DeploymentId};
use mete_service_framework_core::{Input, Reply, View};

use super::access::May;
use super::change::result;
use super::failure::Failure;
use super::params::{InPath, Params};
use super::{Api, at, convert};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(at("/v2/deployments", get(list)))
        .merge(at("/v2/deployments/{id}", delete(cancel)))
}

async fn list(State(api): State<Api>, may: May) -> Json<Vec<Told>> {
    let view = api.handle.view();
    Json(
        view.deployments
            .values()
            .filter(|deployment| may.sees_deployment(deployment))
            .map(|deployment| told(&view, deployment))
            .collect(),
    )
}

/// With force it just stops; otherwise a new deployment undoes it.
async fn cancel(
    State(api): State<Api>,
    may: May,
    InPath(id): InPath,
    params: Params,
) -> Result<Response, Failure> {
    let id = DeploymentId::from_text(&id);
    match api.handle.view().deployments.get(&id) {
        Some(deployment) => may.change_deployment(deployment)?,
        // Perhaps the view is older than it.
        None => may
            .make(None)
            .map_err(|_| Failure::no_such_deployment(&id))?,
    }
    let input = Input::CancelDeployment {
        id,
        force: params.switch("force", false)?,
    };
    let reply = api.handle.ask(input).await?;
    if reply == Reply::Cancelled {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    Ok(result(reply)?.into_response())
}

fn told(view: &View, deployment: &Deployment) -> Told {
    let Plan {
        id, version, steps, ..
    } = plan(deployment);
    let current = deployment.current_step().map(step).unwrap_or_default();
    let results = |app: Option<&String>| {
        let app = app.and_then(|app| view.apps.get(app.as_str()));
        app.map(|app| convert::readiness_results(app))
            .unwrap_or_default()
    };
    let current = current.actions.into_iter().map(|action| CurrentAction {
        readiness_check_results: results(action.app.as_ref()),
        action,
    });
    let pods = deployment.pods();
    let apps = deployment.affected.keys();
    let apps = apps.filter(|app| !pods.contains(app));
    Told {
        id,
        version,
        affected_apps: apps.map(ToString::to_string).collect(),
        affected_pods: pods.iter().map(ToString::to_string).collect(),
        total_steps: steps.len(),
        steps,
        current_actions: current.collect(),
        current_step: deployment.current,
    }
}

/// What a deployment does, without how far it is.
pub(super) fn plan(deployment: &Deployment) -> Plan {
    Plan {
        id: deployment.id.to_string(),
        version: time::text(deployment.version),
        original: Nothing {},
        target: Nothing {},
        steps: deployment.steps.iter().map(step).collect(),
    }
}

/// One step of it.
pub(super) fn step(step: &core::Step) -> Step {
    let action = |action: &core::Action| {
        let id = action.app.to_string();
        let (app, pod) = match action.is_pod {
            true => (None, Some(id)),
            false => (Some(id), None),
        };
        Action {
            action: action.name().to_owned(),
            app,
            pod,
        }
    };
    Step {
        actions: step.actions.iter().map(action).collect(),
    }
}
