//! `/quota`: what roles may have, and what is kept for them. `GET /quota` and `POST /quota` are those of Mesos; a role by
//! itself is ours.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::http_error::HttpError;
use mete_master_core::{Amounts, Input, View};
use mete_model::Role;
use mete_proto::mesos::v1 as wire;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Pages;
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
    let order = Input::SetQuota {
        role: orders::role(&role)?,
        limit: limit.map_err(OrderError::from)?,
        guarantee: guarantee.map_err(OrderError::from)?,
        force: shape.force || forced.force,
    };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

async fn remove(State(pages): State<Pages>, Path(role): Path<String>) -> Result<(), HttpError> {
    let role = orders::role(&role)?;
    set_for(&pages.handle.view(), &role)?;
    let order = Input::SetQuota {
        role,
        limit: None,
        guarantee: None,
        force: false,
    };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}

/// `POST /quota` of Mesos, for roles without quota: limit and guarantee are the same.
#[derive(Deserialize)]
struct MesosShape {
    role: String,
    guarantee: Vec<ScalarShape>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
struct ScalarShape {
    name: String,
    scalar: ValueShape,
}

#[derive(Deserialize)]
struct ValueShape {
    value: f64,
}

async fn set_as_in_mesos(
    State(pages): State<Pages>,
    Body(shape): Body<MesosShape>,
) -> Result<(), HttpError> {
    let role = orders::role(&shape.role)?;
    if set_for(&pages.handle.view(), &role).is_ok() {
        let why = format!("role {role} has a quota already; change it with PUT /quota/{role}");
        return Err(OrderError::Bad(why).into());
    }
    let resources = shape.guarantee.into_iter().map(|one| wire::Resource {
        name: one.name,
        r#type: wire::value::Type::Scalar.into(),
        scalar: Some(wire::value::Scalar {
            value: one.scalar.value,
        }),
        ..wire::Resource::default()
    });
    let resources: Vec<_> = resources.collect();
    let amounts = amounts::within(amounts::from_wire(&resources), "guarantee");
    let amounts = amounts.map_err(OrderError::from)?;
    let order = Input::SetQuota {
        role,
        limit: amounts.clone(),
        guarantee: amounts,
        force: shape.force,
    };
    orders::carry_out(&pages.handle, order).await?;
    Ok(())
}
