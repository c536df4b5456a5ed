//! `/quota`: what roles may have, and what is kept for them. `GET /quota` and `POST /quota` are those of Mesos; a role by
//! itself is ours.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::http_error::HttpError;
use mete_master_core::{Amounts, RoleQuota, View};
use mete_model::Role;
use mete_proto::mesos::v1::quota::QuotaRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Pages;
use super::asked::{Path, Query};
use super::body::Body;
use crate::amounts;
use crate::orders::{self, OrderError};

pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/quota", get(quotas).post(set_as_in_mesos))
        .route("/quota/{*role}", get(quota).put(set).delete(remove))
}

async fn quotas(State(pages): State<Pages>) -> Json<Value> {
    let view = pages.handle.view();
    let roles: BTreeSet<&Role> = view.limits.keys().chain(view.guarantees.keys()).collect();
    let info = |role: &&Role| {
        let guarantee = view.guarantees.get(*role);
        json!({ "role": role.as_str(), "guarantee": guarantee.map(resources).unwrap_or_default() })
    };
    let config = |role: &&Role| {
        let scalars = |amounts: Option<&Amounts>| amounts.map(scalars).unwrap_or_default();
        json!({
            "role": role.as_str(),
            "guarantees": scalars(view.guarantees.get(*role)),
            "limits": scalars(view.limits.get(*role)),
        })
    };
    Json(json!({
        "infos": roles.iter().map(info).collect::<Vec<_>>(),
        "configs": roles.iter().map(config).collect::<Vec<_>>(),
    }))
}

/// As Mesos writes a list of resources.
fn resources(amounts: &Amounts) -> Vec<Value> {
    let scalar = |(name, value): (String, f64)| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } });
    amounts::to_json(amounts).into_iter().map(scalar).collect()
}

/// As Mesos writes a map of scalars.
fn scalars(amounts: &Amounts) -> BTreeMap<String, Value> {
    let scalar = |(name, value)| (name, json!({ "value": value }));
    amounts::to_json(amounts).into_iter().map(scalar).collect()
}

async fn quota(
    State(pages): State<Pages>,
    Path(role): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let role = orders::role(&role)?;
    let view = pages.handle.view();
    let (limit, guarantee) = set_for(&view, &role)?;
    let numbers = |amounts: Option<&Amounts>| amounts.map(amounts::to_json).unwrap_or_default();
    Ok(Json(json!({
        "role": role.as_str(),
        "limit": numbers(limit),
        "guarantee": numbers(guarantee),
    })))
}

/// What is set for a role, when something is.
fn set_for<'a>(
    view: &'a View,
    role: &Role,
) -> Result<(Option<&'a Amounts>, Option<&'a Amounts>), OrderError> {
    match (view.limits.get(role), view.guarantees.get(role)) {
        (None, None) => Err(OrderError::Missing(format!("role {role} has no quota"))),
        set => Ok(set),
    }
}

/// A quota, whole: what is not named has no limit, and none of it is kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaShape {
    #[serde(default)]
    limit: BTreeMap<String, f64>,
    #[serde(default)]
    guarantee: BTreeMap<String, f64>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
struct Force {
    #[serde(default)]
    force: bool,
}

async fn set(
    State(pages): State<Pages>,
    Path(role): Path<String>,
    Query(forced): Query<Force>,
    Body(shape): Body<QuotaShape>,
) -> Result<(), HttpError> {
    let limit = amounts::within(amounts::from_json(&shape.limit), "limit");
    let guarantee = amounts::within(amounts::from_json(&shape.guarantee), "guarantee");
    let quota = RoleQuota {
        limit: limit.map_err(OrderError::from)?,
        guarantee: guarantee.map_err(OrderError::from)?,
    };
    let order = quota.for_role(orders::role(&role)?, shape.force || forced.force);
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

async fn remove(State(pages): State<Pages>, Path(role): Path<String>) -> Result<(), HttpError> {
    let role = orders::role(&role)?;
    let set = set_for(&pages.handle.view(), &role).map(|_| ());
    set.map_err(|none| HttpError::bad_request(none.to_string()))?; // As in Mesos: not 404.
    let order = RoleQuota::default().for_role(role, false);
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

/// `POST /quota` of Mesos: a QuotaRequest.
async fn set_as_in_mesos(State(pages): State<Pages>, body: Bytes) -> Result<(), HttpError> {
    let request: QuotaRequest = mete_proto::json::from_slice(&body)
        .map_err(|error| HttpError::bad_request(format!("the body makes no sense: {error}")))?;
    let order = orders::quota_request(&pages.handle.view(), &request)?;
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}
