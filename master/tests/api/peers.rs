//! A master under test, and the other ends of its streams.

use std::path::Path;
use std::time::Duration;

use mete_daemon::{config, http_client};
use mete_master::{Options, RunError};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler::{Call, Event, call, event};
use mete_proto::mete::v1::agent_client::AgentClient;
pub(crate) use mete_proto::mete::v1::master_message::Message;
use mete_proto::mete::v1::scheduler_client::SchedulerClient;
use mete_proto::mete::v1::{self as mete, agent_message, master_message};
use mete_proto::resources_text::parse_resources;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// Nothing here takes longer, unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A running master; ends with the test.
pub(crate) struct Master {
    pub(crate) url: String,
    shutdown: CancellationToken,
    running: Option<JoinHandle<Result<(), RunError>>>,
}

pub(crate) fn options(state_dir: &Path, more: &[&str]) -> Options {
    let state_dir = format!("--state-dir={}", state_dir.display());
    let arguments = more.iter().map(|one| (*one).to_owned());
    config::load("master", arguments.chain([state_dir]), [("", "")]).expect("good options")
}

impl Master {
    pub(crate) async fn start(state_dir: &Path) -> Self {
        Self::with(state_dir, &[]).await
    }

    pub(crate) async fn with(state_dir: &Path, more: &[&str]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = CancellationToken::new();
        let running = mete_master::run_on(listener, options(state_dir, more), shutdown.clone());
        Self {
            url,
            shutdown,
            running: Some(tokio::spawn(running)),
        }
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        let running = self.running.take().expect("stopped once");
        let ended = tokio::time::timeout(PATIENCE, running)
            .await
            .expect("in time");
        ended.expect("no panic").expect("a clean end");
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.url.clone()).expect("an address");
        endpoint.connect().await.expect("a connection")
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        let url = format!("{}{path}", self.url);
        let client = http_client::plain().build().expect("a client");
        client.get(url).send().await.expect("an answer")
    }

    /// Sends JSON; the status and what was answered, `Null` when that was nothing.
    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: serde_json::Value,
    ) -> (u16, serde_json::Value) {
        let client = http_client::plain().build().expect("a client");
        let request = client.request(method, format!("{}{path}", self.url));
        let answer = request.json(&body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// What a path answers, as JSON.
    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        self.get(path).await.json().await.expect("JSON")
    }

    pub(crate) async fn state(&self) -> serde_json::Value {
        self.get("/state").await.json().await.expect("JSON")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// One end of a stream of calls and events.
pub(crate) struct Framework {
    pub(crate) id: mesos::FrameworkId,
    calls: mpsc::Sender<Call>,
    events: Streaming<Event>,
}

pub(crate) fn framework_info() -> mesos::FrameworkInfo {
    let capability =
        |can: mesos::framework_info::capability::Type| mesos::framework_info::Capability {
            r#type: Some(can.into()),
        };
    mesos::FrameworkInfo {
        user: "root".to_owned(),
        name: "test".to_owned(),
        roles: vec!["web".to_owned()],
        failover_timeout: Some(3_600.0),
        capabilities: vec![
            capability(mesos::framework_info::capability::Type::PartitionAware),
            capability(mesos::framework_info::capability::Type::MultiRole),
        ],
        ..mesos::FrameworkInfo::default()
    }
}

pub(crate) fn bare(kind: call::Type) -> Call {
    Call {
        r#type: Some(kind.into()),
        ..Call::default()
    }
}

impl Framework {
    /// A stream on which nothing was said yet.
    pub(crate) async fn open(master: &Master) -> Self {
        let (calls, queue) = mpsc::channel(64);
        let mut client = SchedulerClient::new(master.channel().await);
        let answer = client.connect(ReceiverStream::new(queue)).await;
        Self {
            id: mesos::FrameworkId::default(),
            calls,
            events: answer.expect("a stream").into_inner(),
        }
    }

    pub(crate) async fn subscribed(master: &Master) -> Self {
        Self::subscribed_as(master, framework_info()).await
    }

    pub(crate) async fn subscribed_as(master: &Master, info: mesos::FrameworkInfo) -> Self {
        let mut framework = Self::open(master).await;
        framework.subscribe(info).await;
        let subscribed = framework.next().await.subscribed.expect("SUBSCRIBED first");
        framework.id = subscribed.framework_id;
        framework
    }

    pub(crate) async fn subscribe(&mut self, info: mesos::FrameworkInfo) {
        let subscribe = call::Subscribe {
            framework_info: info,
            ..call::Subscribe::default()
        };
        let call = Call {
            subscribe: Some(Box::new(subscribe)),
            ..bare(call::Type::Subscribe)
        };
        self.say(call).await;
    }

    pub(crate) async fn say(&self, call: Call) {
        self.calls.send(call).await.expect("the stream is open");
    }

    /// The next message, the end of the stream, or its status.
    pub(crate) async fn message(&mut self) -> Result<Option<Event>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.events.message());
        message.await.expect("something happens in time")
    }

    /// The next event that is no heartbeat.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let event = self.message().await.expect("no error").expect("no end");
            if event.r#type() != event::Type::Heartbeat {
                return event;
            }
        }
    }

    /// The next event of one kind; others are passed over.
    pub(crate) async fn wait_for(&mut self, kind: event::Type) -> Event {
        loop {
            let event = self.next().await;
            if event.r#type() == kind {
                return event;
            }
        }
    }

    pub(crate) async fn offers(&mut self) -> Vec<mesos::Offer> {
        self.wait_for(event::Type::Offers)
            .await
            .offers
            .expect("offers")
            .offers
    }

    pub(crate) async fn update(&mut self) -> mesos::TaskStatus {
        self.wait_for(event::Type::Update)
            .await
            .update
            .expect("an update")
            .status
    }

    /// The text of the next ERROR.
    pub(crate) async fn error(&mut self) -> String {
        self.wait_for(event::Type::Error)
            .await
            .error
            .expect("an error")
            .message
    }

    pub(crate) async fn accept(&self, offers: &[&mesos::Offer], tasks: Vec<mesos::TaskInfo>) {
        let operation = mesos::offer::Operation {
            r#type: Some(mesos::offer::operation::Type::Launch.into()),
            launch: Some(mesos::offer::operation::Launch { task_infos: tasks }),
            ..mesos::offer::Operation::default()
        };
        self.operate(offers, vec![operation]).await;
    }

    pub(crate) async fn operate(
        &self,
        offers: &[&mesos::Offer],
        operations: Vec<mesos::offer::Operation>,
    ) {
        let accept = call::Accept {
            offer_ids: offers.iter().map(|offer| offer.id.clone()).collect(),
            operations,
            filters: Some(mesos::Filters {
                refuse_seconds: Some(0.0),
            }),
        };
        let call = Call {
            accept: Some(accept),
            ..bare(call::Type::Accept)
        };
        self.say(call).await;
    }

    pub(crate) async fn acknowledge(&self, status: &mesos::TaskStatus) {
        let acknowledge = call::Acknowledge {
            agent_id: status.agent_id.clone().expect("an agent"),
            task_id: status.task_id.clone(),
            uuid: status.uuid.clone().expect("asks for it"),
        };
        let call = Call {
            acknowledge: Some(acknowledge),
            ..bare(call::Type::Acknowledge)
        };
        self.say(call).await;
    }

    pub(crate) async fn reconcile(&self, tasks: &[&str]) {
        let tasks = tasks.iter().map(|task| call::reconcile::Task {
            task_id: task_id(task),
            agent_id: None,
        });
        let call = Call {
            reconcile: Some(call::Reconcile {
                tasks: tasks.collect(),
            }),
            ..bare(call::Type::Reconcile)
        };
        self.say(call).await;
    }
}

/// One end of an agent's stream.
pub(crate) struct Agent {
    pub(crate) id: mesos::AgentId,
    said: mpsc::Sender<mete::AgentMessage>,
    heard: Streaming<mete::MasterMessage>,
}

pub(crate) fn registration() -> mete::Register {
    let resources = parse_resources("cpus:4;mem:1024;disk:1024;ports:[31000-31009]");
    let info = mesos::AgentInfo {
        hostname: "127.0.0.2".to_owned(),
        ip: Some("127.0.0.2".to_owned()),
        port: Some(5051),
        resources: mete_proto::convert::resources::to_wire(&resources.expect("good")),
        ..mesos::AgentInfo::default()
    };
    mete::Register {
        hello: mete::Hello {
            protocol_version: 1,
            ..mete::Hello::default()
        },
        agent_info: info,
        ..mete::Register::default()
    }
}

impl Agent {
    pub(crate) async fn open(master: &Master) -> Self {
        let (said, queue) = mpsc::channel(64);
        let mut client = AgentClient::new(master.channel().await);
        let answer = client.connect(ReceiverStream::new(queue)).await;
        Self {
            id: mesos::AgentId::default(),
            said,
            heard: answer.expect("a stream").into_inner(),
        }
    }

    pub(crate) async fn registered(master: &Master) -> Self {
        Self::registered_as(master, registration()).await
    }

    pub(crate) async fn registered_as(master: &Master, register: mete::Register) -> Self {
        let mut agent = Self::open(master).await;
        agent
            .say(agent_message::Message::Register(Box::new(register)))
            .await;
        let master_message::Message::Registered(registered) = agent.next().await else {
            panic!("registered first");
        };
        agent.id = registered.agent_id;
        agent
    }

    pub(crate) async fn say(&self, message: agent_message::Message) {
        let message = Some(message);
        let said = self.said.send(mete::AgentMessage { message }).await;
        said.expect("the stream is open");
    }

    /// The same, also when the stream may have ended.
    pub(crate) async fn try_say(&self, message: agent_message::Message) {
        let message = Some(message);
        drop(self.said.send(mete::AgentMessage { message }).await);
    }

    /// The next message, whenever it comes, pings too; `None` when the stream has ended.
    pub(crate) async fn order(&mut self) -> Option<master_message::Message> {
        self.heard.message().await.ok()??.message
    }

    pub(crate) async fn message(&mut self) -> Result<Option<mete::MasterMessage>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.heard.message());
        message.await.expect("something happens in time")
    }

    /// The next order: pings are answered, and how the agent stands is passed over.
    pub(crate) async fn next(&mut self) -> master_message::Message {
        loop {
            let message = self.said().await;
            if !matches!(message, master_message::Message::Standing(_)) {
                return message;
            }
        }
    }

    /// How it stands, as the master says it next; what else it says until then is passed over.
    pub(crate) async fn standing(&mut self) -> mete::Standing {
        loop {
            if let master_message::Message::Standing(standing) = self.said().await {
                return standing;
            }
        }
    }

    /// The next message that is no ping; pings are answered.
    async fn said(&mut self) -> master_message::Message {
        loop {
            let message = self.message().await.expect("no error").expect("no end");
            let message = message.message.expect("content");
            let master_message::Message::Ping(mete::Ping { sequence }) = message else {
                return message;
            };
            let pong = mete::Pong { sequence };
            self.say(agent_message::Message::Pong(pong)).await;
        }
    }

    pub(crate) async fn run_task(&mut self) -> mete::RunTask {
        let next = self.next().await;
        let master_message::Message::RunTask(run) = next else {
            panic!("a task to run: {next:?}");
        };
        *run
    }

    /// Reports a state of a task, with an id for the update.
    pub(crate) async fn report(&self, framework: &mesos::FrameworkId, status: mesos::TaskStatus) {
        let update = mete::StatusUpdate {
            framework_id: framework.clone(),
            status: status.encode_to_vec().into(),
            latest_state: None,
        };
        self.say(agent_message::Message::Update(update)).await;
    }

    pub(crate) fn status(
        &self,
        task: &str,
        state: mesos::TaskState,
        uuid: u8,
    ) -> mesos::TaskStatus {
        mesos::TaskStatus {
            task_id: task_id(task),
            state: state.into(),
            source: Some(mesos::task_status::Source::Executor.into()),
            agent_id: Some(self.id.clone()),
            timestamp: Some(1.0),
            uuid: Some(vec![uuid; 16].into()),
            data: Some(b"what nobody decides on".to_vec().into()),
            ..mesos::TaskStatus::default()
        }
    }
}

pub(crate) fn task_id(id: &str) -> mesos::TaskId {
    mesos::TaskId {
        value: id.to_owned(),
    }
}

pub(crate) fn task(id: &str, offer: &mesos::Offer, resources: &str) -> mesos::TaskInfo {
    let resources = parse_resources(resources).expect("good");
    mesos::TaskInfo {
        name: id.to_owned(),
        task_id: task_id(id),
        agent_id: offer.agent_id.clone(),
        resources: mete_proto::convert::resources::to_wire(&resources),
        command: Some(mesos::CommandInfo {
            value: Some("sleep 60".to_owned()),
            ..mesos::CommandInfo::default()
        }),
        data: Some(b"what nobody decides on".to_vec().into()),
        ..mesos::TaskInfo::default()
    }
}
