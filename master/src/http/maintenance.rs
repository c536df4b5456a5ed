//! `/maintenance/schedule`, `/maintenance/status`, `/machine/down`, `/machine/up`, in the shapes of Mesos.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use mete_daemon::http_error::HttpError;
use mete_daemon::mesos_http;
use mete_master_core::{Input, InverseAnswer, MachineId, Window};
use mete_model::{Timestamp, Unavailability};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Pages;
use super::body::Body;
use crate::orders::{self, OrderError};

pub(super) fn routes() -> Router<Pages> {
    let schedule = get(schedule).post(set_schedule).put(set_schedule);
    Router::new()
        .route("/maintenance/schedule", schedule)
        .route("/maintenance/status", mesos_http::read(status))
        .route("/machine/down", post(down))
        .route("/machine/up", post(up))
}

/// A span, or a moment since 1970.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Nanoseconds {
    nanoseconds: i64,
}

impl Nanoseconds {
    pub(super) fn duration(self) -> Result<Duration, OrderError> {
        let span = u64::try_from(self.nanoseconds).map(Duration::from_nanos);
        span.map_err(|_| {
            OrderError::Bad(format!(
                "{} nanoseconds are less than none",
                self.nanoseconds
            ))
        })
    }

    pub(super) fn of(span: Duration) -> Self {
        let nanoseconds = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        Self { nanoseconds }
    }

    fn since_1970(moment: Timestamp) -> Self {
        Self::of(moment.since(Timestamp::EPOCH))
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ScheduleShape {
    windows: Vec<WindowShape>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowShape {
    machine_ids: Vec<MachineShape>,
    unavailability: UnavailabilityShape,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MachineShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnavailabilityShape {
    start: Nanoseconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<Nanoseconds>,
}

impl From<&MachineId> for MachineShape {
    fn from(machine: &MachineId) -> Self {
        Self {
            hostname: machine.hostname().map(str::to_owned),
            ip: machine.ip().map(str::to_owned),
        }
    }
}

impl From<&Window> for WindowShape {
    fn from(window: &Window) -> Self {
        Self {
            machine_ids: window.machines.iter().map(MachineShape::from).collect(),
            unavailability: UnavailabilityShape {
                start: Nanoseconds::since_1970(window.unavailability.start),
                duration: window.unavailability.duration.map(Nanoseconds::of),
            },
        }
    }
}

impl TryFrom<WindowShape> for Window {
    type Error = OrderError;
    fn try_from(shape: WindowShape) -> Result<Self, OrderError> {
        let machines = shape.machine_ids.into_iter().map(machine);
        let duration = shape.unavailability.duration.map(Nanoseconds::duration);
        Ok(Self {
            machines: machines.collect::<Result<_, _>>()?,
            unavailability: Unavailability {
                start: Timestamp::EPOCH + shape.unavailability.start.duration()?,
                duration: duration.transpose()?,
            },
        })
    }
}

fn machine(shape: MachineShape) -> Result<MachineId, OrderError> {
    orders::machine(shape.hostname, shape.ip)
}

async fn schedule(State(pages): State<Pages>) -> Json<ScheduleShape> {
    let view = pages.handle.view();
    let windows = view.schedule.windows().iter();
    Json(ScheduleShape {
        windows: windows.map(WindowShape::from).collect(),
    })
}

async fn set_schedule(
    State(pages): State<Pages>,
    Body(shape): Body<ScheduleShape>,
) -> Result<(), HttpError> {
    let windows = shape.windows.into_iter().map(Window::try_from);
    let windows: Result<_, OrderError> = windows.collect();
    orders::carry_out(&pages.handle, Input::SetSchedule(windows?)).await?;
    Ok(())
}

async fn status(State(pages): State<Pages>) -> Json<Value> {
    let view = pages.handle.view();
    let draining = view.schedule.draining().map(|machine| {
        let answers = view.answers_of(machine).into_iter();
        let statuses = answers.map(|(framework, answer)| said(framework.as_str(), answer));
        json!({ "id": MachineShape::from(machine), "statuses": statuses.collect::<Vec<_>>() })
    });
    let down = view.schedule.down().iter().map(MachineShape::from);
    Json(json!({
        "draining_machines": draining.collect::<Vec<_>>(),
        "down_machines": down.collect::<Vec<_>>(),
    }))
}

/// What a framework says; `UNKNOWN` before it has answered.
fn said(framework: &str, answer: Option<InverseAnswer>) -> Value {
    let mut status = json!({ "framework_id": { "value": framework }, "status": "UNKNOWN" });
    if let Some(answer) = answer {
        let word = if answer.accepted { "ACCEPT" } else { "DECLINE" };
        status["status"] = json!(word);
        status["timestamp"] = json!(Nanoseconds::since_1970(answer.at));
    }
    status
}

async fn down(
    State(pages): State<Pages>,
    Body(shapes): Body<Vec<MachineShape>>,
) -> Result<(), HttpError> {
    let machines = machines(shapes)?;
    orders::carry_out(&pages.handle, Input::MachinesDown(machines)).await?;
    Ok(())
}

async fn up(
    State(pages): State<Pages>,
    Body(shapes): Body<Vec<MachineShape>>,
) -> Result<(), HttpError> {
    let machines = machines(shapes)?;
    orders::carry_out(&pages.handle, Input::MachinesUp(machines)).await?;
    Ok(())
}

fn machines(shapes: Vec<MachineShape>) -> Result<BTreeSet<MachineId>, OrderError> {
    if shapes.is_empty() {
        return Err(OrderError::Bad("no machine is named".to_owned()));
    }
    shapes.into_iter().map(machine).collect()
}
