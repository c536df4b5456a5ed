//! A master that says what the test wants, on a real port.

use std::net::SocketAddr;
use std::pin::Pin;

use mete_daemon::server;
use mete_model::{
    Capability, CommandSpec, FrameworkInfo, Resources, Role, TaskId, TaskSpec, TaskState,
    TaskStatus,
};
use mete_proto::convert::status::{from_executor, of_update};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as wire;
use mete_proto::mete::v1::agent_server::{Agent, AgentServer};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use wire::agent_message::Message as Said;
use wire::master_message::Message;

use crate::support::soon;

pub(super) const FRAMEWORK: &str = "f-0001";
pub(super) const AGENT: &str = "m-S1";

/// The report in what an agent says of a task.
pub(super) fn status_of(update: &wire::StatusUpdate) -> mesos::TaskStatus {
    of_update(update).unwrap()
}

/// What an agent brings of a task.
pub(super) fn info_of(task: &wire::AgentTask) -> mesos::TaskInfo {
    mesos::TaskInfo::decode(&task.task_info[..]).unwrap()
}

/// A master; every agent that connects arrives at the test.
pub(super) struct Master {
    pub(super) address: SocketAddr,
    arrivals: mpsc::UnboundedReceiver<Link>,
    end: CancellationToken,
}

/// One agent on the line.
pub(super) struct Link {
    inbound: Streaming<wire::AgentMessage>,
    outbound: mpsc::Sender<Result<wire::MasterMessage, Status>>,
    pub(super) authorization: Option<String>,
}

struct Service(mpsc::UnboundedSender<Link>);

#[tonic::async_trait]
impl Agent for Service {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<wire::MasterMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let shown = request.metadata().get("authorization");
        let authorization = shown.map(|shown| shown.to_str().unwrap().to_owned());
        let (outbound, waiting) = mpsc::channel(100);
        let link = Link {
            inbound: request.into_inner(),
            outbound,
            authorization,
        };
        self.0
            .send(link)
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(waiting))))
    }
}

impl Master {
    pub(super) async fn start() -> Self {
        let listener = server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrivals) = mpsc::unbounded_channel();
        let end = CancellationToken::new();
        let routes = Routes::new(AgentServer::new(Service(sender)));
        tokio::spawn(server::serve(listener, routes, None, end.clone()));
        Self {
            address,
            arrivals,
            end,
        }
    }

    /// The next agent that connects.
    pub(super) async fn arrival(&mut self) -> Link {
        soon(self.arrivals.recv()).await.expect("the server runs")
    }

    /// The next agent, admitted; and how it introduced itself.
    pub(super) async fn admit(&mut self) -> (Link, wire::Register) {
        let mut link = self.arrival().await;
        let register = link.introduction().await;
        link.admit(1, 15.0).await;
        (link, register)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Link {
    pub(super) async fn say(&self, message: Message) {
        let message = wire::MasterMessage {
            message: Some(message),
        };
        self.outbound
            .send(Ok(message))
            .await
            .expect("the agent listens");
    }

    pub(super) async fn next(&mut self) -> Option<Said> {
        let message = soon(self.inbound.next()).await?;
        message.ok()?.message
    }

    pub(super) async fn introduction(&mut self) -> wire::Register {
        match self.next().await {
            Some(Said::Register(register)) => *register,
            other => panic!("a registration comes first, not {other:?}"),
        }
    }

    pub(super) async fn admit(&self, epoch: u64, ping_interval_seconds: f64) {
        let registered = wire::Registered {
            hello: wire::Hello {
                protocol_version: mete_proto::PROTOCOL_VERSION,
                capabilities: vec![],
                master_epoch: Some(epoch),
            },
            agent_id: mesos::AgentId {
                value: AGENT.into(),
            },
            ping_interval_seconds,
            max_missed_pings: 5,
        };
        self.say(Message::Registered(registered)).await;
    }

    pub(super) async fn run(&self, spec: &TaskSpec) {
        self.run_info(spec.into()).await;
    }

    pub(super) async fn run_info(&self, task_info: mesos::TaskInfo) {
        let run = wire::RunTask {
            framework_info: (&framework()).into(),
            task_info,
        };
        self.say(Message::RunTask(Box::new(run))).await;
    }

    pub(super) async fn kill(&self, task: &str) {
        let kill = wire::KillTask {
            framework_id: framework_id(),
            task_id: mesos::TaskId { value: task.into() },
            kill_policy: None,
        };
        self.say(Message::KillTask(kill)).await;
    }

    pub(super) async fn acknowledge(&self, status: &TaskStatus) {
        let acknowledge = wire::AcknowledgeUpdate {
            framework_id: framework_id(),
            task_id: (&status.task).into(),
            uuid: status.uuid.expect("every report has one").0.to_vec().into(),
        };
        self.say(Message::Acknowledge(acknowledge)).await;
    }

    /// The next report, not acknowledged, with the message it came as.
    pub(super) async fn report(&mut self) -> TaskStatus {
        loop {
            match self.next().await {
                Some(Said::Update(update)) => return from_executor(&status_of(&update)).unwrap(),
                Some(Said::Pong(_)) => {}
                other => panic!("a report is awaited, not {other:?}"),
            }
        }
    }

    /// Acknowledges reports until one says this state.
    pub(super) async fn until(&mut self, state: TaskState) -> TaskStatus {
        self.until_it(|status| status.state == state).await
    }

    /// Acknowledges reports until one is as wanted; one that ends the task is the last.
    pub(super) async fn until_it(&mut self, wanted: impl Fn(&TaskStatus) -> bool) -> TaskStatus {
        loop {
            let status = self.report().await;
            self.acknowledge(&status).await;
            if wanted(&status) {
                return status;
            }
            assert!(!status.state.is_terminal(), "ended otherwise: {status:?}");
        }
    }
}

fn framework_id() -> mesos::FrameworkId {
    mesos::FrameworkId {
        value: FRAMEWORK.into(),
    }
}

pub(super) fn framework() -> FrameworkInfo {
    FrameworkInfo {
        id: Some(FRAMEWORK.parse().unwrap()),
        name: "test".into(),
        user: String::new(),
        roles: [Role::any()].into(),
        capabilities: [
            Capability::MultiRole,
            Capability::PartitionAware,
            Capability::TaskKillingState,
        ]
        .into(),
        failover_timeout: std::time::Duration::from_secs(60),
        principal: None,
        hostname: "here".into(),
        webui_url: None,
        original: [].as_slice().into(),
    }
}

/// A task that runs a line of shell.
pub(super) fn task(id: &str, line: &str) -> TaskSpec {
    TaskSpec {
        name: format!("{id}.name"),
        ..TaskSpec::new(
            TaskId::new(id).unwrap(),
            AGENT.parse().unwrap(),
            Resources::cpus_mem(100, 64),
            CommandSpec::shell(line),
        )
    }
}
