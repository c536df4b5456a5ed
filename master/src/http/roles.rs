//! `/roles`, `/weights` in the shapes of Mesos, and `/policy`, which Mesos does not have.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::aside;
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http;
use mete_master_core::{Input, RoleView};
use mete_model::FrameworkId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Pages;
use super::body::Body;
use super::state::shapes::ResourcesShape;
use crate::amounts;
use crate::orders::{self, OrderError};

pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/roles", mesos_http::read(roles))
        .route("/weights", get(weights).put(set_weights))
        .route("/policy", get(policy).put(set_policy))
}

/// Sums over all tasks: made aside.
async fn roles(State(pages): State<Pages>) -> Result<Json<Value>, HttpError> {
    let view = pages.handle.view();
    let roles = aside::run(move || view.roles().iter().map(shape).collect::<Vec<_>>()).await?;
    Ok(Json(json!({ "roles": roles })))
}

/// What is set and reserved stands as in Mesos; `share`, `policy` and `used` are ours.
fn shape(role: &RoleView) -> Value {
    let limit = role
        .limit
        .as_ref()
        .map(amounts::to_json)
        .unwrap_or_default();
    let guarantee = role
        .guarantee
        .as_ref()
        .map(amounts::to_json)
        .unwrap_or_default();
    let allocated = ResourcesShape::of(&role.used.plus(&role.offered));
    json!({
        "name": role.role.as_str(),
        "weight": f64::from(role.weight_milli.get()) / 1e3,
        "quota": {
            "role": role.role.as_str(),
            "guarantee": guarantee,
            "limit": limit,
            "consumed": ResourcesShape::of(&role.consumed),
        },
        "resources": &allocated,
        "allocated": &allocated,
        "offered": ResourcesShape::of(&role.offered),
        "used": ResourcesShape::of(&role.used),
        "reserved": ResourcesShape::of(&role.reserved),
        "frameworks": role.frameworks.iter().map(FrameworkId::as_str).collect::<Vec<_>>(),
        "share": role.share,
        "policy": role.policy.map(|policy| policy.to_string()),
    })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WeightShape {
    role: String,
    weight: f64,
}

async fn weights(State(pages): State<Pages>) -> Json<Vec<WeightShape>> {
    let view = pages.handle.view();
    let weights = view.weights.iter().map(|(role, milli)| WeightShape {
        role: role.to_string(),
        weight: f64::from(milli.get()) / 1e3,
    });
    Json(weights.collect())
}

/// All or none.
async fn set_weights(
    State(pages): State<Pages>,
    Body(shapes): Body<Vec<WeightShape>>,
) -> Result<(), HttpError> {
    let mut weights = BTreeMap::new();
    for WeightShape { role, weight } in shapes {
        let weight = orders::weight(weight)?;
        let before = weights.insert(orders::role(&role)?, weight);
        if before.is_some() {
            return Err(OrderError::Bad(format!("role {role} stands twice in the list")).into());
        }
    }
    orders::carry_out(&pages.handle, Input::SetWeights(weights)).await?;
    Ok(())
}

async fn policy(State(pages): State<Pages>) -> Json<Value> {
    let view = pages.handle.view();
    let roles: BTreeMap<_, _> = view
        .policies
        .iter()
        .filter_map(|(role, policy)| Some((role.as_ref()?.as_str(), policy.to_string())))
        .collect();
    Json(json!({
        "policy": view.policy().to_string(),
        "default": view.settings.policy.to_string(),
        "roles": roles,
    }))
}

/// A policy for a role or, without one, for the cluster; `null` goes back to what holds without.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyShape {
    #[serde(deserialize_with = "Option::deserialize")] // it must be there, also when it is null
    policy: Option<String>,
    role: Option<String>,
}

async fn set_policy(
    State(pages): State<Pages>,
    Body(PolicyShape { policy, role }): Body<PolicyShape>,
) -> Result<(), HttpError> {
    let order = Input::SetPolicy {
        role: role.as_deref().map(orders::role).transpose()?,
        policy: policy.as_deref().map(orders::policy).transpose()?,
    };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}
