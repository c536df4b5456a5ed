//! What operators order with forms, as scripts written for Mesos do: `/teardown`, `/reserve`, `/unreserve`,
//! `/create-volumes`, `/destroy-volumes`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use mete_daemon::auth::Principal;
use mete_daemon::http_error::HttpError;
use mete_master_core::{AgentOperation, Input, OperationKind};
use mete_model::{AgentId, FrameworkId};
use mete_proto::convert::{Within as _, resources};
use mete_proto::json;
use mete_proto::mesos::v1 as wire;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Pages;
use crate::orders::{self, OrderError};

pub(super) fn routes() -> Router<Pages> {
    Router::new()
        .route("/teardown", post(teardown))
        .route(
            "/reserve",
            reshapes::<ResourcesForm>(OperationKind::Reserve),
        )
        .route(
            "/unreserve",
            reshapes::<ResourcesForm>(OperationKind::Unreserve),
        )
        .route(
            "/create-volumes",
            reshapes::<VolumesForm>(OperationKind::Create),
        )
        .route(
            "/destroy-volumes",
            reshapes::<VolumesForm>(OperationKind::Destroy),
        )
}

/// The fields of a form, whatever its Content-Type says (as in Mesos).
///
/// # Errors
/// A field is missing. One that stands twice counts as it stands last.
fn fields<T: DeserializeOwned>(form: &[u8]) -> Result<T, HttpError> {
    let fields = form_urlencoded::parse(form).into_owned();
    let fields = fields.map(|(name, value)| (name, Value::String(value)));
    serde_json::from_value(Value::Object(fields.collect()))
        .map_err(|bad| HttpError::bad_request(format!("the form makes no sense: {bad}")))
}

#[derive(Deserialize)]
struct TeardownForm {
    #[serde(rename = "frameworkId")]
    framework_id: String,
}

async fn teardown(State(pages): State<Pages>, form: Bytes) -> Result<(), HttpError> {
    let id = fields::<TeardownForm>(&form)?.framework_id;
    let framework = FrameworkId::new(&id).map_err(|bad| OrderError::Bad(bad.to_string()))?;
    let torn_down = orders::carry_out(&pages.handle, Input::TearDown { framework }).await;
    torn_down.map_err(OrderError::answer_of_mesos)?;
    Ok(())
}

/// A form about resources of an agent: which agent, and a list in JSON.
trait AboutAgent: DeserializeOwned + Send + 'static {
    fn parts(self) -> (String, String);
}

#[derive(Deserialize)]
struct ResourcesForm {
    #[serde(rename = "slaveId")]
    slave_id: String,
    resources: String,
}

impl AboutAgent for ResourcesForm {
    fn parts(self) -> (String, String) {
        (self.slave_id, self.resources)
    }
}

#[derive(Deserialize)]
struct VolumesForm {
    #[serde(rename = "slaveId")]
    slave_id: String,
    volumes: String,
}

impl AboutAgent for VolumesForm {
    fn parts(self) -> (String, String) {
        (self.slave_id, self.volumes)
    }
}

/// Who calls, where anybody is asked.
type Caller = Option<axum::Extension<Principal>>;

/// What carries out one kind of operation, as a form says it.
fn reshapes<T: AboutAgent>(kind: OperationKind) -> MethodRouter<Pages> {
    let take = move |State(pages): State<Pages>, caller: Caller, form: Bytes| async move {
        let caller = caller.as_deref();
        let (agent, list) = fields::<T>(&form)?.parts();
        reshape(&pages, kind, caller, &agent, &list).await
    };
    post(take)
}

async fn reshape(
    pages: &Pages,
    kind: OperationKind,
    caller: Option<&Principal>,
    agent: &str,
    list: &str,
) -> Result<StatusCode, HttpError> {
    let named = read(list)?;
    if matches!(kind, OperationKind::Reserve | OperationKind::Create) {
        orders::in_own_name(&named, caller)?;
    }
    let order = Input::ReshapeAgent(Box::new(AgentOperation {
        agent: AgentId::new(agent).map_err(|bad| OrderError::Bad(bad.to_string()))?,
        kind,
        resources: resources::from_wire(&named)
            .within("resources")
            .map_err(OrderError::from)?,
    }));
    let reshaped = orders::carry_out(&pages.handle, order).await;
    reshaped.map_err(OrderError::answer_of_mesos)?;
    Ok(StatusCode::ACCEPTED)
}

/// The JSON of a list of resources.
fn read(list: &str) -> Result<Vec<wire::Resource>, OrderError> {
    let bad = |why: String| OrderError::Bad(format!("the list of resources makes no sense: {why}"));
    let list: Vec<Value> = serde_json::from_str(list).map_err(|error| bad(error.to_string()))?;
    let one = |value: Value| {
        json::from_slice(value.to_string().as_bytes()).map_err(|error| bad(error.to_string()))
    };
    list.into_iter().map(one).collect()
}
