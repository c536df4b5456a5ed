//! Where agents connect: one stream each way for as long as the agent is there.
//!
//! ```text
//! (open) ─▶ register in time ─▶ registered | refused ─▶ updates, pongs ─▶ broken, closed, garbage
//! ```

use mete_master_core::{FromExecutor, Input, LinkId, Reply};
use mete_model::{AgentId, VolumeName};
use mete_proto::connect::Connect;
use mete_proto::mete::v1::agent_message::Message;
use mete_proto::mete::v1::{AgentMessage, agent_server};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};
use tracing::{debug, warn};

use crate::grpc::framework::leaving;
use crate::grpc::{Desk, messages};
use crate::links::Outbound;

/// `mete.v1.Agent`.
#[derive(Clone, Debug)]
pub(crate) struct Agents(pub(crate) Desk);

impl Connect for Agents {
    const SERVICE: &'static str = agent_server::SERVICE_NAME;
    type Said = AgentMessage;
    type Outbound = Outbound;

    fn connect(&self, request: Request<Streaming<AgentMessage>>) -> Outbound {
        let opened = self.0.links.open();
        let stream = Stream {
            desk: self.0.clone(),
            link: opened.link,
            over: opened.over,
        };
        tokio::spawn(stream.run(request.into_inner()));
        opened.outbound
    }
}

/// One stream, from the side of its reader.
struct Stream {
    desk: Desk,
    link: LinkId,
    over: CancellationToken,
}

impl Stream {
    async fn run(self, mut messages: Streaming<AgentMessage>) {
        match self.talk(&mut messages).await {
            Ok(()) => self.desk.links.close(self.link),
            Err(status) => {
                debug!(link = self.link.0, %status, "stream of an agent ended");
                self.desk.links.end(self.link, status);
            }
        }
    }

    async fn talk(&self, messages: &mut Streaming<AgentMessage>) -> Result<(), Status> {
        let Some(agent) = self.register(messages).await? else {
            return Ok(());
        };
        let ended = self.follow(&agent, messages).await;
        let link = self.link;
        let broken = Input::AgentDisconnected { agent, link };
        self.desk.handle.tell(broken).await.map_err(leaving)?;
        ended
    }

    /// The first message; `None` when it was answered with why not.
    async fn register(
        &self,
        messages: &mut Streaming<AgentMessage>,
    ) -> Result<Option<AgentId>, Status> {
        let first = tokio::select! {
            first = timeout(self.desk.greeting_timeout, messages.message()) => first,
            () = self.over.cancelled() => return Ok(None),
        };
        let first = first.map_err(|_| {
            let seconds = self.desk.greeting_timeout.as_secs_f64();
            Status::deadline_exceeded(format!("no registration came within {seconds} s"))
        })??;
        let register = match first.map(|first| first.message) {
            None => return Ok(None),
            Some(Some(Message::Register(register))) => register,
            Some(
                Some(
                    Message::Update(_)
                    | Message::Pong(_)
                    | Message::VolumeErased(_)
                    | Message::ExecutorMessage(_)
                    | Message::ExecutorExited(_),
                )
                | None,
            ) => {
                let why = "the first message must be a registration";
                return Err(Status::failed_precondition(why));
            }
        };
        let registration = match messages::registration(&register, self.link) {
            Ok(registration) => registration,
            Err(bad) => {
                warn!(error = %bad, "registration makes no sense");
                let message = messages::refused(format!("the registration makes no sense: {bad}"));
                self.desk.links.send(self.link, message);
                return Ok(None);
            }
        };
        // Thousands may wait for their turn at the same time: what came goes before.
        drop(register);
        let input = Input::RegisterAgent(Box::new(registration));
        match self.desk.handle.ask(input).await.map_err(leaving)? {
            Reply::Registered(agent) => Ok(Some(agent)),
            Reply::Refused(_)
            | Reply::Subscribed(_)
            | Reply::Done
            | Reply::Failed(_)
            | Reply::Snapshot(_) => Ok(None),
        }
    }

    async fn follow(
        &self,
        agent: &AgentId,
        messages: &mut Streaming<AgentMessage>,
    ) -> Result<(), Status> {
        loop {
            let message = tokio::select! {
                message = messages.message() => message?,
                () = self.over.cancelled() => return Ok(()),
            };
            let Some(message) = message else {
                return Ok(());
            };
            if let Some(input) = self.input(agent, message) {
                self.desk.handle.tell(input).await.map_err(leaving)?;
            }
        }
    }

    /// What an agent says of an executor of a framework's own.
    fn of_executor(&self, agent: AgentId, message: Message) -> Option<Input> {
        let (named, news) = match &message {
            Message::ExecutorMessage(said) => (
                (&said.framework_id, &said.executor_id),
                FromExecutor::Message(said.data.clone()),
            ),
            Message::ExecutorExited(exited) => {
                let status = exited.status;
                let news = FromExecutor::Exited { status };
                ((&exited.framework_id, &exited.executor_id), news)
            }
            Message::Register(_)
            | Message::Update(_)
            | Message::Pong(_)
            | Message::VolumeErased(_) => return None,
        };
        let input = messages::executor_news(agent.clone(), self.link, named, news);
        input
            .inspect_err(
                |bad| warn!(%agent, error = %bad, "what makes no sense of an executor is ignored"),
            )
            .ok()
    }

    fn input(&self, agent: &AgentId, message: AgentMessage) -> Option<Input> {
        let (agent, link) = (agent.clone(), self.link);
        match message.message {
            Some(Message::Pong(pong)) => Some(Input::Pong {
                agent,
                link,
                sequence: pong.sequence,
            }),
            Some(Message::Update(update)) => match messages::update(&update) {
                Ok(update) => Some(Input::Update {
                    agent,
                    link,
                    update: Box::new(update),
                }),
                Err(bad) => {
                    warn!(%agent, error = %bad, "update that makes no sense is ignored");
                    None
                }
            },
            Some(Message::VolumeErased(erased)) => match VolumeName::try_from(&erased.volume) {
                Ok(volume) => Some(Input::VolumeErased {
                    agent,
                    link,
                    volume,
                    failure: erased.failure,
                }),
                Err(bad) => {
                    warn!(%agent, error = %bad, "answer for a volume that makes no sense is ignored");
                    None
                }
            },
            Some(message @ (Message::ExecutorMessage(_) | Message::ExecutorExited(_))) => {
                self.of_executor(agent, message)
            }
            Some(Message::Register(_)) => {
                warn!(%agent, "second registration on one stream is ignored");
                None
            }
            None => {
                debug!(%agent, "message of a later protocol is ignored");
                None
            }
        }
    }
}
