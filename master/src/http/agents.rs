//! `POST /agents/{id}/drain`, `/deactivate`, `/reactivate`, `/gone`: what Mesos has as calls of its operator API.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use mete_daemon::http_error::HttpError;
use mete_master_core::Input;
use mete_model::AgentId;
use serde::Deserialize;

use super::Pages;
use super::asked::Path;
use super::body::BodyIfAny;
use super::maintenance::Nanoseconds;
use crate::orders::{self, OrderError};

pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/agents/{id}/drain", post(drain))
        .route("/agents/{id}/deactivate", post(deactivate))
        .route("/agents/{id}/reactivate", post(reactivate))
        .route("/agents/{id}/gone", post(gone))
}

/// The fields of Mesos' DRAIN_AGENT, and a deadline for frameworks to move what they have there.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DrainShape {
    deadline: Option<Nanoseconds>,
    max_grace_period: Option<Nanoseconds>,
    mark_gone: bool,
}

async fn drain(
    State(pages): State<Pages>,
    Path(id): Path<String>,
    BodyIfAny(shape): BodyIfAny<DrainShape>,
) -> Result<(), HttpError> {
    let deadline = shape.deadline.map(Nanoseconds::duration);
    let max_grace = shape.max_grace_period.map(Nanoseconds::duration);
    let order = Input::DrainAgent {
        agent: agent(&id)?,
        deadline: deadline.transpose()?,
        max_grace: max_grace.transpose()?,
        mark_gone: shape.mark_gone,
    };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

async fn deactivate(State(pages): State<Pages>, Path(id): Path<String>) -> Result<(), HttpError> {
    let order = Input::DeactivateAgent { agent: agent(&id)? };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

async fn reactivate(State(pages): State<Pages>, Path(id): Path<String>) -> Result<(), HttpError> {
    let order = Input::ReactivateAgent { agent: agent(&id)? };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

async fn gone(State(pages): State<Pages>, Path(id): Path<String>) -> Result<(), HttpError> {
    let order = Input::MarkAgentGone { agent: agent(&id)? };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

fn agent(id: &str) -> Result<AgentId, OrderError> {
    AgentId::new(id).map_err(|bad| OrderError::Bad(bad.to_string()))
}
