//! Thousands of agents in this program: a stream each, on a few connections, and executors that take no time.
//!
//! ```text
//! RunTask ─▶ TASK_RUNNING ─▶ acknowledged ─▶ [TASK_FINISHED ─▶ acknowledged ─▶ forgotten]
//! ```
//! Whether a task ends by itself is what [`Life`] says of all of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use mete_daemon::clock;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1::Hello;
use mete_proto::resources_text::{parse_attributes, parse_resources};
use prost::Message as _;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::wire::{self, MasterMessage, encoded};
use crate::world::{PATIENCE, World};

/// Where agents connect.
const PATH: PathAndQuery = PathAndQuery::from_static("/mete.v1.Agent/Connect");

/// Tasks of [`crate::framework`]'s size that fit on one agent.
pub(crate) const ROOM: usize = 10;
/// What may wait to be sent on one stream.
const QUEUE: usize = 256;
/// What a connection takes in ahead: as agents of the real kind have it.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// All agents.
pub(crate) struct Agents {
    fleet: Arc<Fleet>,
    connections: usize,
    streams: JoinSet<Result<()>>,
}

struct Fleet {
    agents: Vec<Mutex<Agent>>,
    /// Tasks end by themselves.
    ends: AtomicBool,
    updates: AtomicU64,
    registered: AtomicUsize,
    all_registered: Notify,
}

/// Ids and descriptions are kept as they came, encoded.
#[derive(Default)]
struct Agent {
    id: Option<Bytes>,
    tasks: BTreeMap<Bytes, Task>,
    /// To the master, while there is a stream.
    outbound: Option<mpsc::Sender<wire::AgentMessage>>,
}

struct Task {
    framework: Bytes,
    info: Bytes,
    id: Bytes,
    agent: Bytes,
    /// Set once its last update is sent.
    is_over: bool,
}

/// What becomes of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// They run until they are told to finish.
    Lasting,
    /// They finish as soon as it is acknowledged that they run.
    Short,
}

impl Agents {
    /// So many, none of them known to a master.
    pub(crate) fn new(count: usize, connections: usize) -> Self {
        let mut agents = Vec::new();
        agents.resize_with(count, Mutex::default);
        let fleet = Fleet {
            agents,
            ends: AtomicBool::new(false),
            updates: AtomicU64::new(0),
            registered: AtomicUsize::new(0),
            all_registered: Notify::new(),
        };
        Self {
            fleet: Arc::new(fleet),
            connections,
            streams: JoinSet::new(),
        }
    }

    /// All come, or come back with their tasks, at once: from the first message until the last is admitted. The connections
    /// are there before.
    pub(crate) async fn arrive(&mut self) -> Result<Duration> {
        self.leave().await;
        let endpoint = Endpoint::from_shared(World::url(""))?
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let mut channels = Vec::new();
        for _ in 0..self.connections {
            channels.push(endpoint.connect().await?);
        }
        let begin = Instant::now();
        for number in 0..self.fleet.agents.len() {
            let channel = channels[number % channels.len()].clone();
            self.streams
                .spawn(talk(Arc::clone(&self.fleet), number, channel));
        }
        let all = self.fleet.agents.len();
        let deadline = begin + PATIENCE;
        while self.fleet.registered.load(Ordering::Acquire) < all {
            tokio::select! {
                () = self.fleet.all_registered.notified() => {}
                ended = self.streams.join_next() => {
                    ended.context("no agents")??.context("a stream of an agent")?;
                    bail!("a stream of an agent has ended");
                }
                () = tokio::time::sleep_until(deadline) => {
                    let registered = self.fleet.registered.load(Ordering::Acquire);
                    bail!("{registered} of {all} agents are registered within {PATIENCE:?}");
                }
            }
        }
        Ok(begin.elapsed())
    }

    /// Breaks every stream.
    pub(crate) async fn leave(&mut self) {
        self.streams.shutdown().await;
        self.fleet.registered.store(0, Ordering::Release);
    }

    /// What becomes of tasks from now on.
    pub(crate) fn live(&self, life: Life) {
        self.fleet
            .ends
            .store(life == Life::Short, Ordering::Release);
    }

    /// Ends one of an agent's tasks that run; its agent's id.
    pub(crate) async fn finish_one(&self, number: usize) -> Result<Bytes> {
        let (id, outbound, update) = {
            let mut agent = self.fleet.agent(number);
            let id = agent.id.clone().context("an agent without id")?;
            let outbound = agent.outbound.clone().context("an agent without stream")?;
            let task = agent.tasks.values_mut().find(|task| !task.is_over);
            let task = task.with_context(|| format!("agent {number} has no task"))?;
            task.is_over = true;
            (
                id,
                outbound,
                self.fleet.update(task, mesos::TaskState::TaskFinished),
            )
        };
        timeout(PATIENCE, outbound.send(update)).await??;
        Ok(id)
    }

    /// How many agents have so many tasks or more.
    pub(crate) fn with_tasks(&self, least: usize) -> usize {
        let numbers = 0..self.fleet.agents.len();
        numbers
            .filter(|number| self.fleet.agent(*number).tasks.len() >= least)
            .count()
    }

    pub(crate) fn count(&self) -> usize {
        self.fleet.agents.len()
    }
}

impl Fleet {
    fn agent(&self, number: usize) -> MutexGuard<'_, Agent> {
        self.agents[number]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, task: &Task, state: mesos::TaskState) -> wire::AgentMessage {
        let number = self.updates.fetch_add(1, Ordering::Relaxed) + 1;
        let uuid = u128::from(number).to_be_bytes();
        let update = wire::StatusUpdate {
            framework_id: task.framework.clone(),
            status: wire::TaskStatus {
                uuid: Some(Bytes::copy_from_slice(&uuid)),
                ..task.status(state)
            },
        };
        wire::AgentMessage {
            update: Some(update),
            ..wire::AgentMessage::default()
        }
    }

    /// What an order comes to: an answer at once, or none. Whatever is not asked here is not answered.
    fn obey(&self, number: usize, order: MasterMessage) -> Result<Option<wire::AgentMessage>> {
        if let Some(order) = order.run_task {
            return Ok(Some(self.run(number, &order)?));
        }
        if let Some(order) = order.acknowledge {
            return Ok(self.acknowledged(number, &order.task_id));
        }
        if let Some(registered) = order.registered {
            self.agent(number).id = Some(registered.agent_id);
            if self.registered.fetch_add(1, Ordering::AcqRel) + 1 == self.agents.len() {
                self.all_registered.notify_one();
            }
        }
        if let Some(refused) = order.refused {
            bail!("refused: {}", refused.reason);
        }
        Ok(order.ping.map(|ping| wire::AgentMessage {
            pong: Some(ping),
            ..wire::AgentMessage::default()
        }))
    }

    fn run(&self, number: usize, order: &wire::RunTask) -> Result<wire::AgentMessage> {
        let named = wire::OfTask::decode(&order.task_info[..])?;
        // What came on the stream is a part of something larger.
        let own = |part: &Bytes| Bytes::copy_from_slice(part);
        let task = Task {
            framework: own(&order.framework_info.id),
            info: own(&order.task_info),
            id: own(&named.task_id),
            agent: own(&named.agent_id),
            is_over: false,
        };
        let update = self.update(&task, mesos::TaskState::TaskRunning);
        self.agent(number).tasks.insert(task.id.clone(), task);
        Ok(update)
    }

    fn acknowledged(&self, number: usize, id: &Bytes) -> Option<wire::AgentMessage> {
        let mut agent = self.agent(number);
        let ends = self.ends.load(Ordering::Acquire);
        match agent.tasks.get_mut(id) {
            Some(task) if task.is_over => {
                agent.tasks.remove(id);
                None
            }
            Some(task) if ends => {
                task.is_over = true;
                Some(self.update(task, mesos::TaskState::TaskFinished))
            }
            Some(_) | None => None,
        }
    }

    fn registration(&self, number: usize) -> Result<wire::AgentMessage> {
        let agent = self.agent(number);
        let resources = parse_resources("cpus:1;mem:1024;disk:10240;ports:[31000-32000]")?;
        let attributes = format!("rack:r{};zone:z{};kind:simulated", number / 40, number % 3);
        let tasks = agent.tasks.values().map(|task| wire::AgentTask {
            framework_id: task.framework.clone(),
            task_info: task.info.clone(),
            latest_status: task.status(mesos::TaskState::TaskRunning),
        });
        let tasks: Vec<_> = tasks.collect();
        let framework = tasks
            .first()
            .map(|task| mesos::FrameworkId::decode(&task.framework_id[..]));
        let framework = framework
            .transpose()?
            .map(|id| crate::framework::info(Some(id)));
        let id = agent.id.as_ref().map(|id| mesos::AgentId::decode(&id[..]));
        let register = wire::Register {
            hello: encoded(&Hello {
                protocol_version: 1,
                ..Hello::default()
            }),
            agent_info: mesos::AgentInfo {
                hostname: format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
                port: Some(5_051),
                resources: mete_proto::convert::resources::to_wire(&resources),
                attributes: mete_proto::convert::attributes::to_wire(&parse_attributes(
                    &attributes,
                )?),
                id: id.transpose()?,
                ..mesos::AgentInfo::default()
            },
            boot_id: format!("boot-{number}"),
            version: "simulated".to_owned(),
            tasks,
            frameworks: framework.into_iter().collect(),
        };
        Ok(wire::AgentMessage {
            register: Some(register),
            ..wire::AgentMessage::default()
        })
    }
}

impl Task {
    /// A report that asks for no acknowledgement.
    fn status(&self, state: mesos::TaskState) -> wire::TaskStatus {
        wire::TaskStatus {
            task_id: self.id.clone(),
            state: state.into(),
            message: None,
            agent_id: self.agent.clone(),
            timestamp: Some(clock::now().as_secs_f64()),
            source: Some(mesos::task_status::Source::Executor.into()),
            uuid: None,
        }
    }
}

/// One agent, until its stream ends.
async fn talk(fleet: Arc<Fleet>, number: usize, channel: Channel) -> Result<()> {
    let (outbound, waiting) = mpsc::channel(QUEUE);
    outbound.send(fleet.registration(number)?).await?;
    fleet.agent(number).outbound = Some(outbound.clone());
    let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    client.ready().await?;
    let codec = ProstCodec::<wire::AgentMessage, MasterMessage>::default();
    let said = Request::new(ReceiverStream::new(waiting));
    let orders = client.streaming(said, PATH, codec).await?;
    let mut orders = orders.into_inner();
    while let Some(order) = orders.message().await? {
        if let Some(answer) = fleet.obey(number, order)? {
            outbound.send(answer).await?;
        }
    }
    bail!("the master has ended the stream")
}
