//! `mete.v1.Tasks`: commands inside running tasks, their terminals, and what tasks print. Who may call is decided before: by the token,
//! as everywhere.

mod attach; // at the terminal of a task
mod printed; // what tasks print, and how far it is told

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, future, stream};
use mete_agent_core::task_dir::End;
use mete_agent_core::task_dir::session::Request as Wanted;
use mete_daemon::auth::Principal;
use mete_model::WindowSize;
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::exec_ended::How;
use mete_proto::mete::v1::exec_request::Message as Asked;
use mete_proto::mete::v1::exec_response::Message as Answer;
use mete_proto::mete::v1::tasks_server::{Tasks, TasksServer};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status, Streaming};

use crate::named::NameError;
use crate::sessions::{Heard, Said, SessionError};
use crate::task_desk::{DeskError, TaskDesk};

/// How long a caller may take to say what it wants.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message: command and environment of a start, or a part of standard input.
const MAX_MESSAGE_BYTES: usize = 256 << 10;
/// The largest number of a signal that Linux has.
const MAX_SIGNAL: i32 = 64;

/// The service, ready to be served.
pub(crate) fn service(desk: Arc<TaskDesk>) -> TasksServer<Service> {
    TasksServer::new(Service(desk))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .accept_compressed(CompressionEncoding::Gzip)
}

/// `mete.v1.Tasks`.
pub(crate) struct Service(Arc<TaskDesk>);

/// What is answered, as long as somebody reads it.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Tasks for Service {
    type ExecStream = Answers<wire::ExecResponse>;
    type AttachStream = Answers<wire::ExecResponse>;
    type FollowStream = Answers<wire::FollowResponse>;

    async fn exec(
        &self,
        request: Request<Streaming<wire::ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let principal = request.extensions().get::<Principal>().cloned();
        let mut asked = request.into_inner();
        let Some(Asked::Start(start)) = greeting(&mut asked).await? else {
            return Err(unwelcome("start"));
        };
        let wanted = wanted(&start)?;
        let (task, framework) = (start.task_id.as_str(), start.framework_id.as_deref());
        let begun = self
            .0
            .exec(task, framework, &wanted, principal.as_ref())
            .await;
        let session = match begun {
            Ok(session) => session,
            Err(DeskError::Session(SessionError::NotStarted { reason, errno })) => {
                let how = How::NotStarted(wire::NotStarted { reason, errno });
                let ended = answer(Answer::Ended(wire::ExecEnded { how: Some(how) }));
                return Ok(Response::new(Box::pin(stream::iter([Ok(ended)]))));
            }
            Err(error) => return Err(refusal(&error)),
        };
        let (tell, fault) = oneshot::channel();
        let heard = self.0.converse(session, until_fault(asked, said, tell));
        let started = stream::iter([answer(Answer::Started(wire::ExecStarted {}))]);
        let answers = Box::pin(started.chain(heard.map(exec_answer)));
        Ok(Response::new(Box::pin(or_fault(answers, fault))))
    }

    async fn attach(
        &self,
        request: Request<Streaming<wire::ExecRequest>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let principal = request.extensions().get::<Principal>().cloned();
        let mut asked = request.into_inner();
        let Some(Asked::Attach(start)) = greeting(&mut asked).await? else {
            return Err(unwelcome("attach"));
        };
        let begun = attach::begin(&self.0, &start, principal.as_ref()).await;
        let begun = begun.map_err(|error| refusal(&error))?;
        let (tell, fault) = oneshot::channel();
        let answers = begun.answers(until_fault(asked, typed, tell));
        Ok(Response::new(Box::pin(or_fault(answers, fault))))
    }

    async fn follow(
        &self,
        request: Request<wire::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let asked = request.into_inner();
        let answers = printed::answers(&self.0, &asked).await;
        let answers = answers.map_err(|error| refusal(&error))?;
        Ok(Response::new(Box::pin(answers.map(Ok))))
    }
}

/// The first message.
async fn greeting(asked: &mut Streaming<wire::ExecRequest>) -> Result<Option<Asked>, Status> {
    let first = timeout(GREETING_TIMEOUT, asked.message()).await;
    let first = first.map_err(|_| {
        Status::deadline_exceeded(format!(
            "nothing was asked for within {} s",
            GREETING_TIMEOUT.as_secs()
        ))
    })?;
    Ok(first?.and_then(|first| first.message))
}

fn unwelcome(wanted: &str) -> Status {
    Status::invalid_argument(format!("the first message must be `{wanted}`"))
}

fn wanted(start: &wire::ExecStart) -> Result<Wanted, Status> {
    let size = |asked| terminal("terminal", asked).map(|said| said.or_usual().into());
    Ok(Wanted {
        command: start.command.clone(),
        environment: start.environment.clone(),
        terminal: start.terminal.as_ref().map(size).transpose()?,
        user: None,
    })
}

fn terminal(field: &str, size: &wire::TerminalSize) -> Result<WindowSize, Status> {
    let side = |count: u32| u16::try_from(count).ok();
    match (side(size.rows), side(size.columns)) {
        (Some(rows), Some(columns)) => Ok(WindowSize { rows, columns }),
        (None, _) | (_, None) => Err(Status::invalid_argument(format!(
            "{field}: {} rows of {} columns; both must be at most 65535",
            size.rows, size.columns
        ))),
    }
}

/// What a later message says.
fn said(message: wire::ExecRequest) -> Result<Said, Status> {
    let why = match message.message {
        Some(Asked::Stdin(bytes)) => return Ok(Said::Stdin(bytes)),
        Some(Asked::StdinEnd(_)) => return Ok(Said::StdinEnd),
        Some(Asked::Resize(asked)) => {
            return terminal("resize", &asked).map(|size| Said::Resize(size.into()));
        }
        Some(Asked::Signal(number @ 1..=MAX_SIGNAL)) => return Ok(Said::Signal(number)),
        Some(Asked::Signal(number)) => format!("signal: {number}; must be 1 to {MAX_SIGNAL}"),
        Some(Asked::Start(_)) => "start: the command runs already".to_owned(),
        Some(Asked::Attach(_)) => "attach: is the first message, or none".to_owned(),
        None => "a message after `start` says nothing that is known here".to_owned(),
    };
    Err(Status::invalid_argument(why))
}

/// What a later message says at the terminal of a task.
fn typed(message: wire::ExecRequest) -> Result<Said, Status> {
    match said(message)? {
        Said::Signal(number) => Err(Status::invalid_argument(format!(
            "signal: {number}; at the terminal of a task keys are signals"
        ))),
        word @ (Said::Stdin(_) | Said::StdinEnd | Said::Resize(_)) => Ok(word),
    }
}

/// What a caller says, up to what makes no sense: to the command that would look like the end of its standard input.
fn until_fault(
    asked: Streaming<wire::ExecRequest>,
    read: fn(wire::ExecRequest) -> Result<Said, Status>,
    tell: oneshot::Sender<Status>,
) -> impl Stream<Item = Said> {
    let mut tell = Some(tell);
    let told = asked.map(move |message| {
        let fault = match message.and_then(read) {
            Ok(said) => return Some(said),
            Err(fault) => fault,
        };
        // Who is gone hears nothing of it.
        let _ = tell.take().map(|tell| tell.send(fault));
        None
    });
    told.take_while(|said| future::ready(said.is_some()))
        .filter_map(future::ready)
}

/// The answers; a fault of the caller's is the last of them, and the session ends with it.
fn or_fault(
    answers: impl Stream<Item = wire::ExecResponse> + Unpin,
    fault: oneshot::Receiver<Status>,
) -> impl Stream<Item = Result<wire::ExecResponse, Status>> {
    stream::unfold(Some((answers, fault.fuse())), |going| async {
        let (mut answers, mut fault) = going?;
        tokio::select! {
            biased;
            Ok(fault) = &mut fault => Some((Err(fault), None)),
            answer = answers.next() => match answer {
                Some(answer) => Some((Ok(answer), Some((answers, fault)))),
                // It may be what has ended them.
                None => Some((Err(fault.now_or_never()?.ok()?), None)),
            },
        }
    })
}

const fn answer(message: Answer) -> wire::ExecResponse {
    wire::ExecResponse {
        message: Some(message),
    }
}

fn exec_answer(heard: Heard) -> wire::ExecResponse {
    answer(match heard {
        Heard::Stdout(bytes) => Answer::Stdout(bytes),
        Heard::Stderr(bytes) => Answer::Stderr(bytes),
        Heard::Ended(end) => Answer::Ended(wire::ExecEnded {
            how: Some(how(end)),
        }),
    })
}

fn how(end: End) -> How {
    match end {
        End::Exited { code } => How::ExitCode(code),
        End::Signaled { signal } => How::Signal(signal),
        End::NotStarted { reason, errno, .. } => {
            How::NotStarted(wire::NotStarted { reason, errno })
        }
    }
}

fn refusal(error: &DeskError) -> Status {
    let words = error.to_string();
    match error {
        DeskError::Name(NameError::Unknown(_)) => Status::not_found(words),
        DeskError::Name(NameError::NotRunning(_)) => Status::failed_precondition(words),
        DeskError::Name(NameError::Several { .. })
        | DeskError::BadRequest(_)
        | DeskError::NoTerminal(_)
        | DeskError::Session(SessionError::TooLarge(_)) => Status::invalid_argument(words),
        DeskError::TooManyFollowers | DeskError::Session(SessionError::TooMany) => {
            Status::resource_exhausted(words)
        }
        DeskError::Session(
            SessionError::NotStarted { .. }
            | SessionError::Spawn(_)
            | SessionError::Terminal(_)
            | SessionError::Engine(_)
            | SessionError::Lost
            | SessionError::Slow,
        )
        | DeskError::Signal(_) => Status::internal(words),
    }
}
