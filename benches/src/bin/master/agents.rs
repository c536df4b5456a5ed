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
use mete_proto::mete::v1::agent_client::AgentClient;
use mete_proto::mete::v1::{self as wire, agent_message, master_message};
use mete_proto::resources_text::{parse_attributes, parse_resources};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::world::{PATIENCE, World};

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

#[derive(Default)]
struct Agent {
    id: Option<mesos::AgentId>,
    tasks: BTreeMap<String, Task>,
    /// To the master, while there is a stream.
    outbound: Option<mpsc::Sender<wire::AgentMessage>>,
}

struct Task {
    framework: mesos::FrameworkId,
    info: mesos::TaskInfo,
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
    pub(crate) async fn finish_one(&self, number: usize) -> Result<mesos::AgentId> {
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
        let status = mesos::TaskStatus {
            task_id: task.info.task_id.clone(),
            state: state.into(),
            timestamp: Some(clock::now().as_secs_f64()),
            source: Some(mesos::task_status::Source::Executor.into()),
            agent_id: Some(task.info.agent_id.clone()),
            uuid: Some(Bytes::copy_from_slice(&uuid)),
            ..mesos::TaskStatus::default()
        };
        let update = wire::StatusUpdate {
            framework_id: task.framework.clone(),
            status,
            latest_state: None,
        };
        wire::AgentMessage {
            message: Some(agent_message::Message::Update(update)),
        }
    }

    /// What an order comes to: an answer at once, or none.
    fn obey(
        &self,
        number: usize,
        order: master_message::Message,
    ) -> Result<Option<wire::AgentMessage>> {
        use master_message::Message;
        let mut agent = self.agent(number);
        Ok(match order {
            Message::Registered(registered) => {
                agent.id = Some(registered.agent_id);
                drop(agent);
                if self.registered.fetch_add(1, Ordering::AcqRel) + 1 == self.agents.len() {
                    self.all_registered.notify_one();
                }
                None
            }
            Message::Refused(refused) => bail!("refused: {}", refused.reason),
            Message::RunTask(order) => {
                let task = Task {
                    framework: order.framework_info.id.context("a framework without id")?,
                    info: order.task_info,
                    is_over: false,
                };
                let update = self.update(&task, mesos::TaskState::TaskRunning);
                agent.tasks.insert(task.info.task_id.value.clone(), task);
                Some(update)
            }
            Message::Acknowledge(order) => {
                let name = order.task_id.value;
                let ends = self.ends.load(Ordering::Acquire);
                match agent.tasks.get_mut(&name) {
                    Some(task) if task.is_over => {
                        agent.tasks.remove(&name);
                        None
                    }
                    Some(task) if ends => {
                        task.is_over = true;
                        Some(self.update(task, mesos::TaskState::TaskFinished))
                    }
                    Some(_) | None => None,
                }
            }
            Message::Ping(ping) => Some(wire::AgentMessage {
                message: Some(agent_message::Message::Pong(wire::Pong {
                    sequence: ping.sequence,
                })),
            }),
            // All that was said is acknowledged soon, and nobody asks what a framework is, or what is reserved.
            Message::ResendUpdates(_) | Message::UpdateFramework(_) | Message::Standing(_) => None,
            Message::KillTask(_)
            | Message::ShutdownFramework(_)
            | Message::Shutdown(_)
            | Message::EraseVolumes(_)
            | Message::RunGroup(_)
            | Message::ExecutorMessage(_)
            | Message::ShutdownExecutor(_) => bail!("an order that nobody here has given"),
        })
    }

    fn registration(&self, number: usize) -> Result<wire::AgentMessage> {
        let agent = self.agent(number);
        let resources = parse_resources("cpus:1;mem:1024;disk:10240;ports:[31000-32000]")?;
        let attributes = format!("rack:r{};zone:z{};kind:simulated", number / 40, number % 3);
        let tasks = agent.tasks.values().map(|task| wire::AgentTask {
            framework_id: task.framework.clone(),
            task_info: task.info.clone(),
            latest_status: mesos::TaskStatus {
                task_id: task.info.task_id.clone(),
                state: mesos::TaskState::TaskRunning.into(),
                source: Some(mesos::task_status::Source::Executor.into()),
                timestamp: Some(clock::now().as_secs_f64()),
                ..mesos::TaskStatus::default()
            },
            executor_info: None,
        });
        let tasks: Vec<_> = tasks.collect();
        let framework = tasks
            .first()
            .map(|task| crate::framework::info(Some(task.framework_id.clone())));
        let register = wire::Register {
            hello: wire::Hello {
                protocol_version: 1,
                ..wire::Hello::default()
            },
            agent_info: mesos::AgentInfo {
                hostname: format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
                port: Some(5_051),
                resources: mete_proto::convert::resources::to_wire(&resources),
                attributes: mete_proto::convert::attributes::to_wire(&parse_attributes(
                    &attributes,
                )?),
                id: agent.id.clone(),
                ..mesos::AgentInfo::default()
            },
            boot_id: Some(format!("boot-{number}")),
            version: Some("simulated".to_owned()),
            tasks,
            frameworks: framework.into_iter().collect(),
            ..wire::Register::default()
        };
        Ok(wire::AgentMessage {
            message: Some(agent_message::Message::Register(Box::new(register))),
        })
    }
}

/// One agent, until its stream ends.
async fn talk(fleet: Arc<Fleet>, number: usize, channel: Channel) -> Result<()> {
    let (outbound, waiting) = mpsc::channel(QUEUE);
    outbound.send(fleet.registration(number)?).await?;
    fleet.agent(number).outbound = Some(outbound.clone());
    let mut client = AgentClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut orders = client
        .connect(ReceiverStream::new(waiting))
        .await?
        .into_inner();
    while let Some(order) = orders.message().await? {
        let Some(order) = order.message else { continue };
        if let Some(answer) = fleet.obey(number, order)? {
            outbound.send(answer).await?;
        }
    }
    bail!("the master has ended the stream")
}
