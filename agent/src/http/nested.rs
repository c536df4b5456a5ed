//! `POST /api/v1`: commands inside tasks as Mesos' agents have them, in JSON and protobuf. A session is a nested container: its id names
//! that of the task as its parent, and is the caller's choice.
//!
//! ```text
//! LAUNCH_NESTED_CONTAINER_SESSION ─▶ the answer is its output, record by record; its end ends the session
//! ATTACH_CONTAINER_INPUT ─▶ the request is its input, record by record; also that of a task that has a terminal
//! LAUNCH_NESTED_CONTAINER ─▶ it runs, and what it says is lost
//! the same below a nested one ─▶ in the same task, no longer than that one
//! WAIT_…, KILL_…, REMOVE_NESTED_CONTAINER     ATTACH_CONTAINER_OUTPUT of a task: what it prints from now on
//! ```
//! Questions ([`questions`]) come here too, in JSON or protobuf: a web page in somebody's browser cannot send either here
//! without being asked first.

mod answers; // one message, or records
mod body; // what a call comes as
mod records; // RecordIO: length, line feed, bytes
mod sessions; // sessions by the id that callers gave them
mod wire; // the messages

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use mete_agent_core::View;
use mete_agent_core::task_dir::End;
use mete_daemon::auth::Principal;
use mete_daemon::http_error::HttpError;
use mete_daemon::telemetry;
use mete_proto::convert::duration_of;
use mete_proto::media::Media;
use mete_proto::mesos::v1::agent::call::Type;
use mete_proto::mesos::v1::agent::process_io::data::Type as OutputOf;
use mete_proto::mesos::v1::agent::response::get_containers::Container;
use mete_proto::mesos::v1::agent::{self, response};
use mete_proto::mesos::v1::{ContainerId, ContainerStatus};
use tokio::sync::mpsc;

use super::refusal::Refusal;
use super::{About, questions, refused};
use crate::named::NameError;
use crate::output::{Piece, Wanted};
use crate::sessions::{Heard, Said, SessionError};
use crate::task_desk::{DeskError, TaskDesk};
use answers::{Form, answer, told};
use body::{
    MAX_CALL_BYTES, MESSAGE_CONTENT_TYPE, PATIENCE, RECORDS, kind, of_records, whole, within,
};
use records::Records;
pub(crate) use sessions::ByName;
use sessions::Entry;
use wire::{Launch, Named};

/// What calls are answered with.
pub(crate) struct Nested {
    pub(crate) about: Arc<About>,
    pub(crate) desk: Arc<TaskDesk>,
    pub(crate) sessions: ByName,
}

pub(super) async fn call(
    State(nested): State<Arc<Nested>>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    if request.method() != Method::POST {
        let why = "calls are made with POST".to_owned();
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, why));
    }
    Ok(take(&nested, request).await?)
}

/// One call, whatever it is.
async fn take(nested: &Nested, request: HttpRequest) -> Result<Response, HttpError> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let named = kind(headers, CONTENT_TYPE.as_str());
    if named.as_deref() == Some(RECORDS) {
        let records = kind(headers, MESSAGE_CONTENT_TYPE);
        let media = Media::of_content(records.as_deref());
        let principal = parts.extensions.get::<Principal>();
        return nested
            .input(media.map_err(of_records)?, principal, body)
            .await;
    }
    let media = Media::of_content(named.as_deref()).map_err(refused)?;
    let body = whole(body, PATIENCE).await?;
    let asked: agent::Call = media.decode(&body).map_err(refused)?;
    // As for all readers of protobuf, a number that nobody knows is as if nothing was said.
    let kind = asked.r#type.and_then(|number| Type::try_from(number).ok());
    if kind.is_none() {
        return Err(HttpError::bad_request("the call has no type"));
    }
    if let Some(mut answer) = questions::answer(&nested.about, &asked).await? {
        let wanted = asked.get_containers.unwrap_or_default();
        if let Some(containers) = &mut answer.get_containers
            && wanted.show_nested()
        {
            nested.add_nested(&mut containers.containers);
        }
        return told(headers, &answer);
    }
    if asked.r#type() == Type::SetLoggingLevel {
        let set = asked.set_logging_level.as_ref();
        return set_level(part(set, "set_logging_level")?);
    }
    if asked.r#type() == Type::PruneImages {
        let prune = part(asked.prune_images.as_ref(), "prune_images")?;
        let images = prune.excluded_images.iter();
        let docker = images.filter_map(|image| image.docker.as_ref());
        let kept: Vec<&str> = docker.map(|image| image.name.as_str()).collect();
        return super::images::prune(&nested.about, &kept).await;
    }
    nested.carry_out(&asked, &parts).await
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
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "questions have been answered, and the rest is not carried"
    )]
    async fn carry_out(&self, call: &agent::Call, parts: &Parts) -> Result<Response, HttpError> {
        let principal = parts.extensions.get::<Principal>();
        match call.r#type() {
            Type::LaunchNestedContainerSession => {
                let field = "launch_nested_container_session";
                let launch = part(call.launch_nested_container_session.as_ref(), field)?;
                let form = Form::of(&parts.headers)?;
                self.launch(&launch.into(), form, principal).await
            }
            Type::LaunchNestedContainer => {
                let launch = call.launch_nested_container.as_ref();
                let launch = part(launch, "launch_nested_container")?;
                self.launch_alone(&launch.into(), principal).await
            }
            Type::LaunchContainer => {
                let launch = part(call.launch_container.as_ref(), "launch_container")?;
                self.launch_alone(&launch.into(), principal).await
            }
            Type::RemoveNestedContainer => {
                let remove = call.remove_nested_container.as_ref();
                self.remove(&part(remove, "remove_nested_container")?.container_id)
            }
            Type::RemoveContainer => {
                let remove = call.remove_container.as_ref();
                self.remove(&part(remove, "remove_container")?.container_id)
            }
            Type::AttachContainerOutput => {
                let attach = call.attach_container_output.as_ref();
                let attach = part(attach, "attach_container_output")?;
                self.output(&attach.container_id, Form::of(&parts.headers)?)
                    .await
            }
            Type::WaitNestedContainer | Type::WaitContainer => {
                told(&parts.headers, &self.wait(call).await?)
            }
            Type::KillNestedContainer => {
                let kill = call.kill_nested_container.as_ref();
                let kill = part(kill, "kill_nested_container")?;
                self.kill(&kill.container_id, kill.signal, principal).await
            }
            Type::KillContainer => {
                let kill = part(call.kill_container.as_ref(), "kill_container")?;
                self.kill(&kill.container_id, kill.signal, principal).await
            }
            Type::AttachContainerInput => Err(HttpError::bad_request(
                "ATTACH_CONTAINER_INPUT is a stream of records: application/recordio",
            )),
            other => {
                let name = match other {
                    Type::Unknown => call.r#type.unwrap_or_default().to_string(),
                    known => known.as_str_name().to_owned(),
                };
                let words = format!("call {name} is not known here");
                Err(HttpError::new(StatusCode::NOT_IMPLEMENTED, words))
            }
        }
    }

    /// Runs a command whose output is the answer; with the answer it ends.
    async fn launch(
        &self,
        launch: &Launch<'_>,
        form: Form,
        principal: Option<&Principal>,
    ) -> Result<Response, HttpError> {
        let (entry, heard) = self.begin(launch, principal).await?;
        Ok(answer(
            form,
            heard.filter_map(move |heard| {
                let record = match heard {
                    Heard::Stdout(bytes) => Some(wire::data(OutputOf::Stdout, bytes)),
                    Heard::Stderr(bytes) => Some(wire::data(OutputOf::Stderr, bytes)),
                    Heard::Ended(end) => {
                        entry.end(end);
                        None
                    }
                };
                std::future::ready(record)
            }),
        ))
    }

    /// Runs a command to which nobody listens.
    async fn launch_alone(
        &self,
        launch: &Launch<'_>,
        principal: Option<&Principal>,
    ) -> Result<Response, HttpError> {
        if self.sessions.is_running(&self.named(launch.id)?.name) {
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

    /// How a command has ended, once it has.
    async fn wait(&self, call: &agent::Call) -> Result<agent::Response, HttpError> {
        let exit = async |id: &ContainerId| {
            let Named { name, parent } = self.named(id)?;
            let end = match parent {
                None => {
                    let end = self.desk.end_in(&name).await;
                    end.map_err(|error| refusal(&error))?
                }
                Some(_) => {
                    let end = self.sessions.ended(&name).await;
                    Some(end.ok_or_else(|| unknown(&name))?)
                }
            };
            Ok::<_, HttpError>(end.as_ref().map(wait_status))
        };
        let mut answer = agent::Response::default();
        if call.r#type() == Type::WaitContainer {
            let wait = part(call.wait_container.as_ref(), "wait_container")?;
            answer.r#type = Some(response::Type::WaitContainer.into());
            answer.wait_container = Some(response::WaitContainer {
                exit_status: exit(&wait.container_id).await?,
                ..response::WaitContainer::default()
            });
        } else {
            let wait = call.wait_nested_container.as_ref();
            let wait = part(wait, "wait_nested_container")?;
            answer.r#type = Some(response::Type::WaitNestedContainer.into());
            answer.wait_nested_container = Some(response::WaitNestedContainer {
                exit_status: exit(&wait.container_id).await?,
                ..response::WaitNestedContainer::default()
            });
        }
        Ok(answer)
    }

    async fn kill(
        &self,
        id: &ContainerId,
        signal: Option<i32>,
        principal: Option<&Principal>,
    ) -> Result<Response, HttpError> {
        let Named { name, parent } = self.named(id)?;
        let signal = signal.unwrap_or(wire::KILL);
        if parent.is_none() {
            let sent = self.desk.signal_in(&name, signal, principal).await;
            sent.map_err(|error| refusal(&error))?;
        } else if !self.sessions.signal(&name, signal).await {
            return Err(unknown(&name));
        }
        Ok(StatusCode::OK.into_response())
    }

    fn named(&self, id: &ContainerId) -> Result<Named, HttpError> {
        let view = self.about.handle.view();
        Named::of(&wire::below(id, &executors(&view))).map_err(HttpError::bad_request)
    }

    /// Lists what runs in containers, too.
    fn add_nested(&self, containers: &mut Vec<Container>) {
        let view = self.about.handle.view();
        let executors = executors(&view);
        let named = |(at, one): (usize, &Container)| {
            let named = Named::of(&wire::below(&one.container_id, &executors));
            Some((named.ok()?.name, at))
        };
        let mut places: BTreeMap<String, usize> =
            containers.iter().enumerate().filter_map(named).collect();
        for name in self.sessions.running() {
            let Some((parent, value)) = name.rsplit_once('.') else {
                continue;
            };
            let around = places.get(parent).and_then(|at| containers.get(*at));
            let Some(around) = around else { continue };
            let id = ContainerId {
                value: value.to_owned(),
                parent: Some(Box::new(around.container_id.clone())),
            };
            // Names of those below it come later.
            places.insert(name.clone(), containers.len());
            containers.push(Container {
                framework_id: around.framework_id.clone(),
                executor_id: around.executor_id.clone(),
                executor_name: around.executor_name.clone(),
                container_status: Some(ContainerStatus {
                    container_id: Some(id.clone()),
                    ..ContainerStatus::default()
                }),
                container_id: id,
                resource_statistics: None, // It uses what its task has.
            });
        }
    }

    /// Starts a command inside a task, under the name that the caller chose. One that is nested below another is in the same
    /// task, and ends with that one.
    async fn begin(
        &self,
        launch: &Launch<'_>,
        principal: Option<&Principal>,
    ) -> Result<(Entry, impl Stream<Item = Heard> + Send + use<>), HttpError> {
        let Named { name, parent } = self.named(launch.id)?;
        let parent = parent.ok_or_else(|| {
            let words =
                "container_id.parent must be the container of a task, of an executor, or nested";
            HttpError::bad_request(words)
        })?;
        let (task, is_nested) = match parent.split_once('.') {
            Some((task, _)) => (task, true),
            None => (&*parent, false),
        };
        if is_nested && !self.sessions.is_running(&parent) {
            return Err(unknown(&parent));
        }
        let wanted = launch.request().map_err(HttpError::bad_request)?;
        let entry = self.sessions.enter(&name).ok_or_else(|| {
            HttpError::new(
                StatusCode::CONFLICT,
                format!("container {name} is there already"),
            )
        })?;
        let session = self
            .desk
            .exec_in(task, wanted, launch.user(), principal)
            .await;
        let session = session.map_err(|error| refusal(&error))?;
        let heard = self.desk.converse(session, entry.said());
        if is_nested {
            let sessions = self.sessions.clone();
            tokio::spawn(async move { sessions.end_with(&parent, &name).await });
        }
        Ok((entry, heard))
    }

    /// Forgets a command that has ended.
    fn remove(&self, container: &ContainerId) -> Result<Response, HttpError> {
        let name = self.named(container)?.name;
        if self.sessions.forget(&name) {
            return Ok(StatusCode::OK.into_response());
        }
        Err(HttpError::conflict(format!("container {name} still runs")))
    }

    async fn output(&self, container: &ContainerId, form: Form) -> Result<Response, HttpError> {
        let name = self.named(container)?.name;
        let pieces = self.desk.follow_in(&name, Wanted::NEWS).await;
        let pieces = pieces.map_err(|error| refusal(&error))?;
        Ok(answer(
            form,
            pieces.filter_map(|piece| {
                std::future::ready(match piece {
                    Piece::Stdout(bytes) => Some(wire::data(OutputOf::Stdout, bytes)),
                    Piece::Stderr(bytes) => Some(wire::data(OutputOf::Stderr, bytes)),
                    Piece::Gap { .. } => None,
                })
            }),
        ))
    }

    /// Where input of a session goes, or that of a task that has a terminal.
    async fn input_of(
        &self,
        id: &ContainerId,
        principal: Option<&Principal>,
    ) -> Result<mpsc::Sender<Said>, HttpError> {
        let Named { name, parent } = self.named(id)?;
        match parent {
            Some(_) => self.sessions.input(&name).ok_or_else(|| unknown(&name)),
            None => {
                let said = self.desk.type_in(&name, principal).await;
                said.map_err(|error| refusal(&error))
            }
        }
    }

    /// Input for a session, or for a task: its name first, then what is typed.
    async fn input(
        &self,
        media: Media,
        principal: Option<&Principal>,
        body: Body,
    ) -> Result<Response, HttpError> {
        let mut records = Records::new(body.into_data_stream(), MAX_CALL_BYTES);
        let mut said = None;
        loop {
            // Whose input it is has to be said; after that it may be silent for as long as nobody types.
            let next = match &said {
                None => within(PATIENCE, records.next()).await?,
                Some(_) => records.next().await,
            };
            let Some(record) = next.map_err(HttpError::bad_request)? else {
                return Ok(StatusCode::OK.into_response());
            };
            let call: agent::Call = media.decode(&record).map_err(|error| {
                HttpError::bad_request(format!("a record cannot be read: {error}"))
            })?;
            let input = part(
                call.attach_container_input.as_ref(),
                "attach_container_input",
            )?;
            let Some(said) = &said else {
                let id = input.container_id.as_ref().ok_or_else(|| {
                    HttpError::bad_request("the first record must be CONTAINER_ID")
                })?;
                said = Some(self.input_of(id, principal).await?);
                continue;
            };
            if let Some(word) = wire::said(input).map_err(HttpError::bad_request)?
                && said.send(word).await.is_err()
            {
                // It has ended; what is typed now is for nobody.
                return Ok(StatusCode::OK.into_response());
            }
        }
    }
}

/// The containers around those of tasks of groups, past ones too.
fn executors(view: &View) -> BTreeSet<&str> {
    let living = view.executors.values().map(|one| one.container.as_str());
    let past = view.past.executors().map(|one| one.container.as_str());
    living.chain(past).collect()
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

fn part<'a, T>(part: Option<&'a T>, field: &str) -> Result<&'a T, HttpError> {
    part.ok_or_else(|| HttpError::bad_request(format!("the call lacks {field}")))
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
        | DeskError::NoTerminal(_)
        | DeskError::Session(SessionError::TooLarge(_) | SessionError::NotStarted { .. }) => {
            StatusCode::BAD_REQUEST
        }
        DeskError::TooManyFollowers | DeskError::Session(SessionError::TooMany) => {
            StatusCode::TOO_MANY_REQUESTS
        }
        DeskError::Session(
            SessionError::Spawn(_)
            | SessionError::Terminal(_)
            | SessionError::Engine(_)
            | SessionError::Lost
            | SessionError::Slow,
        )
        | DeskError::Signal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    HttpError::new(status, words)
}
