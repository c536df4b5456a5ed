//! `POST /api/v1`: commands inside tasks as Mesos' agents have them, in JSON. A session is a nested container: its id names
//! that of the task as its parent, and is the caller's choice.
//!
//! ```text
//! LAUNCH_NESTED_CONTAINER_SESSION ─▶ the answer is its output, record by record; its end ends the session
//! ATTACH_CONTAINER_INPUT ─▶ the request is its input, record by record
//! LAUNCH_NESTED_CONTAINER ─▶ it runs, and what it says is lost
//! WAIT_…, KILL_…, REMOVE_NESTED_CONTAINER     ATTACH_CONTAINER_OUTPUT of a task: what it prints from now on
//! ```
//! Questions ([`questions`]) come here too, in JSON or protobuf: a web page in somebody's browser cannot send either here
//! without being asked first.

mod records; // RecordIO: length, line feed, bytes
mod sessions; // sessions by the id that callers gave them
mod wire; // the messages

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, body};
use futures::{Stream, StreamExt, stream};
use mete_agent_core::task_dir::End;
use mete_daemon::auth::Principal;
use mete_daemon::http_error::HttpError;
use mete_daemon::{mesos_http, telemetry};
use mete_proto::convert::duration_of;
use mete_proto::media::Media;
use mete_proto::mesos::v1::agent;
use serde_json::{Value, json};
use tokio_stream::wrappers::IntervalStream;

use super::{About, questions, refused};
use crate::named::NameError;
use crate::output::{Piece, Wanted};
use crate::sessions::{Heard, SessionError};
use crate::task_desk::{DeskError, TaskDesk};
use records::Records;
pub(crate) use sessions::ByName;
use sessions::Entry;
use wire::{Call, Input, Kind};

/// The largest call, and the largest record of an input.
const MAX_CALL_BYTES: usize = 256 << 10;

/// Between two signs of life in an output that is silent (Mesos: 30 s).
const HEARTBEAT: Duration = Duration::from_secs(30);

/// What comes in pieces of a kind that another header names.
const RECORDS: &str = "application/recordio";
const MESSAGE_CONTENT_TYPE: &str = "message-content-type";

/// What calls are answered with.
pub(crate) struct Nested {
    pub(crate) about: Arc<About>,
    pub(crate) desk: Arc<TaskDesk>,
    pub(crate) sessions: ByName,
}

pub(crate) async fn call(
    State(nested): State<Arc<Nested>>,
    request: HttpRequest,
) -> Result<Response, HttpError> {
    let (parts, body) = request.into_parts();
    let named = kind(&parts.headers, CONTENT_TYPE.as_str());
    if named.as_deref() == Some(RECORDS) {
        let records = kind(&parts.headers, MESSAGE_CONTENT_TYPE);
        if records.as_deref() == Some(Media::Json.name()) {
            return nested.input(body).await;
        }
        let words = "records are taken with Message-Content-Type: application/json";
        return Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
    }
    let media = Media::of_content(named.as_deref()).map_err(refused)?;
    let body = whole(body).await?;
    let asked: agent::Call = media.decode(&body).map_err(refused)?;
    if let Some(answer) = questions::answer(&nested.about, &asked).await? {
        return told(&parts.headers, &answer);
    }
    if let Some(set) = &asked.set_logging_level {
        return set_level(set);
    }
    if let Some(prune) = &asked.prune_images {
        let images = prune.excluded_images.iter();
        let docker = images.filter_map(|image| image.docker.as_ref());
        let kept: Vec<&str> = docker.map(|image| image.name.as_str()).collect();
        return super::images::prune(&nested.about, &kept).await;
    }
    // What is to be done is read from JSON.
    let body = match media {
        Media::Json => body,
        Media::Protobuf => mete_proto::json::to_vec(&asked).into(),
    };
    let call: Call = serde_json::from_slice(&body)
        .map_err(|error| HttpError::bad_request(format!("the call cannot be read: {error}")))?;
    let principal = parts.extensions.get::<Principal>();
    nested.carry_out(call, principal).await
}

/// The body of a call.
async fn whole(body: Body) -> Result<Bytes, HttpError> {
    let bytes = body::to_bytes(body, MAX_CALL_BYTES).await;
    bytes.map_err(|_| {
        let words = format!("the call is larger than {MAX_CALL_BYTES} bytes, or has broken off");
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, words)
    })
}

/// An answer in the form that the caller understands.
fn told(headers: &HeaderMap, answer: &agent::Response) -> Result<Response, HttpError> {
    let media = Media::accepted(mesos_http::text(headers, &ACCEPT)).map_err(refused)?;
    Ok(([(CONTENT_TYPE, media.name())], media.encode(answer)).into_response())
}

fn set_level(set: &agent::call::SetLoggingLevel) -> Result<Response, HttpError> {
    let span = duration_of("set_logging_level.duration", set.duration);
    let span = span.map_err(|bad| HttpError::bad_request(bad.to_string()))?;
    telemetry::set_verbosity(set.level, span)
        .map_err(|bad| HttpError::bad_request(bad.to_string()))?;
    Ok(StatusCode::OK.into_response())
}

impl Nested {
    /// What is to be done, not only told.
    async fn carry_out(
        &self,
        call: Call,
        principal: Option<&Principal>,
    ) -> Result<Response, HttpError> {
        match call.kind {
            Kind::LaunchNestedContainerSession => {
                let launch = call.launch_nested_container_session;
                let launch = launch.ok_or_else(|| missing("launch_nested_container_session"))?;
                self.launch(&launch, principal).await
            }
            Kind::LaunchNestedContainer | Kind::LaunchContainer => {
                let launch = call.launch_nested_container.or(call.launch_container);
                let launch = launch.ok_or_else(|| missing("launch_container"))?;
                self.launch_alone(&launch, principal).await
            }
            Kind::RemoveNestedContainer | Kind::RemoveContainer => {
                let remove = call.remove_nested_container.or(call.remove_container);
                let remove = remove.ok_or_else(|| missing("remove_container"))?;
                self.remove(&remove.container_id)
            }
            Kind::AttachContainerOutput => {
                let attach = call.attach_container_output;
                let attach = attach.ok_or_else(|| missing("attach_container_output"))?;
                self.output(&attach.container_id)
            }
            Kind::WaitNestedContainer | Kind::WaitContainer => {
                let (wait, answer) = match call.kind == Kind::WaitContainer {
                    true => (call.wait_container, "WAIT_CONTAINER"),
                    false => (call.wait_nested_container, "WAIT_NESTED_CONTAINER"),
                };
                let wait = wait.ok_or_else(|| missing(&answer.to_lowercase()))?;
                let end = self.sessions.ended(&wait.container_id.name()).await;
                let end = end.ok_or_else(|| unknown(&wait.container_id.name()))?;
                let status = json!({ "exit_status": wait_status(&end) });
                let mut object = json!({ "type": answer });
                object[answer.to_lowercase()] = status;
                Ok(Json(object).into_response())
            }
            Kind::KillNestedContainer | Kind::KillContainer => {
                let kill = call.kill_nested_container.or(call.kill_container);
                let kill = kill.ok_or_else(|| missing("kill_nested_container"))?;
                let signal = kill.signal.unwrap_or(wire::KILL);
                match self
                    .sessions
                    .signal(&kill.container_id.name(), signal)
                    .await
                {
                    true => Ok(StatusCode::OK.into_response()),
                    false => Err(unknown(&kill.container_id.name())),
                }
            }
            Kind::AttachContainerInput => Err(HttpError::bad_request(
                "ATTACH_CONTAINER_INPUT is a stream of records: application/recordio",
            )),
        }
    }

    /// Runs a command whose output is the answer; with the answer it ends.
    async fn launch(
        &self,
        launch: &wire::Launch,
        principal: Option<&Principal>,
    ) -> Result<Response, HttpError> {
        let (entry, heard) = self.begin(launch, principal).await?;
        Ok(answer(heard.filter_map(move |heard| {
            let record = match heard {
                Heard::Stdout(bytes) => Some(wire::data("STDOUT", &bytes)),
                Heard::Stderr(bytes) => Some(wire::data("STDERR", &bytes)),
                Heard::Ended(end) => {
                    entry.end(end);
                    None
                }
            };
            std::future::ready(record)
        })))
    }

    /// Runs a command to which nobody listens.
    async fn launch_alone(
        &self,
        launch: &wire::Launch,
        principal: Option<&Principal>,
    ) -> Result<Response, HttpError> {
        if self.sessions.is_running(&launch.container_id.name()) {
            return Ok(StatusCode::ACCEPTED.into_response()); // As Mesos says that it has been launched before.
        }
        let (entry, heard) = self.begin(launch, principal).await?;
        tokio::spawn(async move {
            let mut heard = std::pin::pin!(heard);
            while let Some(heard) = heard.next().await {
                match heard {
                    Heard::Stdout(_) | Heard::Stderr(_) => {}
                    Heard::Ended(end) => entry.end(end),
                }
            }
        });
        Ok(StatusCode::OK.into_response())
    }

    /// Starts a command inside a task, under the name that the caller chose.
    async fn begin(
        &self,
        launch: &wire::Launch,
        principal: Option<&Principal>,
    ) -> Result<(Entry, impl Stream<Item = Heard> + Send + use<>), HttpError> {
        let (name, task) = (launch.container_id.name(), launch.container_id.task());
        let task = task.ok_or_else(|| {
            let words = "container_id.parent must be the container of a task or of an executor";
            HttpError::bad_request(words)
        })?;
        let wanted = launch.request().map_err(HttpError::bad_request)?;
        let entry = self.sessions.enter(&name).ok_or_else(|| {
            HttpError::new(
                StatusCode::CONFLICT,
                format!("container {name} is there already"),
            )
        })?;
        let session = self.desk.exec_in(&task, &wanted, principal).await;
        let session = session.map_err(|error| refusal(&error))?;
        let heard = self.desk.converse(session, entry.said());
        Ok((entry, heard))
    }

    /// Forgets a command that has ended.
    fn remove(&self, container: &wire::ContainerId) -> Result<Response, HttpError> {
        let name = container.name();
        if self.sessions.forget(&name) {
            return Ok(StatusCode::OK.into_response());
        }
        Err(HttpError::conflict(format!("container {name} still runs")))
    }

    fn output(&self, container: &wire::ContainerId) -> Result<Response, HttpError> {
        let wanted = Wanted {
            stdout: true,
            stderr: true,
            tail_bytes: Some(0),
            once: false,
        };
        let pieces = self.desk.follow_in(&container.value, wanted);
        let pieces = pieces.map_err(|error| refusal(&error))?;
        Ok(answer(pieces.filter_map(|piece| {
            std::future::ready(match piece {
                Piece::Stdout(bytes) => Some(wire::data("STDOUT", &bytes)),
                Piece::Stderr(bytes) => Some(wire::data("STDERR", &bytes)),
                Piece::Gap { .. } => None,
            })
        })))
    }

    /// Input for a session: its name first, then what is typed.
    async fn input(&self, body: Body) -> Result<Response, HttpError> {
        let mut records = Records::new(body.into_data_stream(), MAX_CALL_BYTES);
        let mut said = None;
        while let Some(record) = records.next().await.map_err(HttpError::bad_request)? {
            let input: Input = serde_json::from_slice(&record).map_err(|error| {
                HttpError::bad_request(format!("a record cannot be read: {error}"))
            })?;
            let Some(said) = &said else {
                let name = input.container().ok_or_else(|| {
                    HttpError::bad_request("the first record must be CONTAINER_ID")
                })?;
                said = Some(self.sessions.input(&name).ok_or_else(|| unknown(&name))?);
                continue;
            };
            if let Some(word) = input.said().map_err(HttpError::bad_request)?
                && said.send(word).await.is_err()
            {
                // It has ended; what is typed now is for nobody.
                return Ok(StatusCode::OK.into_response());
            }
        }
        Ok(StatusCode::OK.into_response())
    }
}

/// Records as they come, with a sign of life now and then.
fn answer(records: impl Stream<Item = Value> + Send + 'static) -> Response {
    let begin = tokio::time::Instant::now() + HEARTBEAT;
    let beats = IntervalStream::new(tokio::time::interval_at(begin, HEARTBEAT));
    let beats = beats.map(|_| Some(wire::heartbeat(HEARTBEAT)));
    let records = records.map(Some).chain(stream::iter([None]));
    // The end of the records is the end of the signs of life.
    let both = stream::select(records, beats).take_while(|record| {
        let goes_on = record.is_some();
        std::future::ready(goes_on)
    });
    let bytes = both.filter_map(|record| {
        std::future::ready(record.map(|record| Ok::<Bytes, Infallible>(records::encode(&record))))
    });
    let headers = [
        (CONTENT_TYPE.as_str(), RECORDS),
        (MESSAGE_CONTENT_TYPE, Media::Json.name()),
    ];
    (headers, Body::from_stream(bytes)).into_response()
}

/// The media type that a header names, in any case and with any parameters.
fn kind(headers: &HeaderMap, name: &str) -> Option<String> {
    let said = headers.get(name)?.to_str().ok()?;
    Some(said.split(';').next()?.trim().to_ascii_lowercase())
}

/// As `wait` tells it: the code above the signal.
fn wait_status(end: &End) -> i32 {
    /// What shells answer for a command that cannot be executed.
    const NOT_EXECUTABLE: i32 = 126;
    match end {
        End::Exited { code } => code << 8,
        End::Signaled { signal } => *signal,
        End::NotStarted { .. } => NOT_EXECUTABLE << 8,
    }
}

fn missing(field: &str) -> HttpError {
    HttpError::bad_request(format!("the call lacks {field}"))
}

fn unknown(container: &str) -> HttpError {
    let shown: String = container.chars().take(200).collect();
    HttpError::not_found(format!("there is no session {shown}"))
}

fn refusal(error: &DeskError) -> HttpError {
    let words = error.to_string();
    let status = match error {
        DeskError::Name(NameError::Unknown(_)) => StatusCode::NOT_FOUND,
        DeskError::Name(NameError::NotRunning(_)) => StatusCode::CONFLICT,
        DeskError::Name(NameError::Several { .. })
        | DeskError::BadRequest(_)
        | DeskError::Session(SessionError::TooLarge(_) | SessionError::NotStarted { .. }) => {
            StatusCode::BAD_REQUEST
        }
        DeskError::TooManyFollowers | DeskError::Session(SessionError::TooMany) => {
            StatusCode::TOO_MANY_REQUESTS
        }
        DeskError::Session(SessionError::Spawn(_) | SessionError::Lost | SessionError::Slow) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    HttpError::new(status, words)
}
