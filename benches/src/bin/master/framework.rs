//! A framework that takes every offer and launches small tasks, over gRPC or over Mesos' HTTP API.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::offer::operation;
use mete_proto::mesos::v1::scheduler::{Call, Event, call};
use tokio::time::timeout;

use crate::link::Link;
use crate::world::PATIENCE;

/// Tasks in one ACCEPT at most.
const AT_ONCE: u64 = 4;
/// CPUs of a task, in thousandths.
const TASK_MILLICPUS: u64 = 100;
/// What the encoded definition of a task has at least, with its labels.
const TASK_BYTES: usize = 300;

/// The framework, as it is introduced; with an id when it was here before.
pub(crate) fn info(id: Option<mesos::FrameworkId>) -> mesos::FrameworkInfo {
    use mesos::framework_info::capability::Type;
    let capability = |can: Type| mesos::framework_info::Capability {
        r#type: Some(can.into()),
    };
    mesos::FrameworkInfo {
        id,
        user: "root".to_owned(),
        name: "load".to_owned(),
        roles: vec!["load".to_owned()],
        failover_timeout: Some(3_600.0),
        capabilities: vec![
            capability(Type::PartitionAware),
            capability(Type::MultiRole),
        ],
        ..mesos::FrameworkInfo::default()
    }
}

/// What has been done and heard since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepts: u64,
    pub(crate) launched: u64,
    pub(crate) running: u64,
    pub(crate) finished: u64,
}

/// A framework. Offers that it has no tasks for yet it holds: master and framework see nothing else of them.
pub(crate) struct Framework {
    link: Link,
    id: mesos::FrameworkId,
    /// So that a framework that is back names its tasks anew.
    incarnation: u32,
    named: u64,
    /// Tasks that are not over, at most.
    most: u64,
    alive: u64,
    held: BTreeMap<String, Vec<mesos::Offer>>,
    /// Agents of which offers are held, in the order in which their first came.
    queue: VecDeque<String>,
    pub(crate) counts: Counts,
}

impl Framework {
    /// Subscribes; with an id when it was here before. Has at most so many tasks at a time.
    pub(crate) async fn subscribe(
        mut link: Link,
        id: Option<mesos::FrameworkId>,
        most: u64,
    ) -> Result<Self> {
        let mut subscribe = bare(call::Type::Subscribe);
        let incarnation = u32::from(id.is_some());
        subscribe.framework_id.clone_from(&id);
        subscribe.subscribe = Some(Box::new(call::Subscribe {
            framework_info: info(id),
            ..call::Subscribe::default()
        }));
        link.open(subscribe).await?;
        let first = timeout(PATIENCE, link.event()).await??;
        let subscribed = first.subscribed.context("SUBSCRIBED comes first")?;
        Ok(Self {
            link,
            id: subscribed.framework_id,
            incarnation,
            named: 0,
            most,
            alive: 0,
            held: BTreeMap::new(),
            queue: VecDeque::new(),
            counts: Counts::default(),
        })
    }

    pub(crate) fn id(&self) -> mesos::FrameworkId {
        self.id.clone()
    }

    /// Hears one event and does what it asks for: offers are taken, updates acknowledged. What came, when it was offers.
    pub(crate) async fn next(&mut self) -> Result<Vec<mesos::Offer>> {
        let event = timeout(PATIENCE, self.link.event()).await;
        let event = event.with_context(|| format!("no event within {PATIENCE:?}"))??;
        self.hear(event).await
    }

    /// As [`next`](Self::next), for so long.
    pub(crate) async fn run_for(&mut self, span: Duration) -> Result<()> {
        let over = tokio::time::sleep(span);
        tokio::pin!(over);
        loop {
            let event = tokio::select! {
                () = &mut over => return Ok(()),
                event = self.link.event() => event?,
            };
            self.hear(event).await?;
        }
    }

    async fn hear(&mut self, event: Event) -> Result<Vec<mesos::Offer>> {
        if let Some(offers) = event.offers {
            for offer in &offers.offers {
                self.hold(offer.clone());
            }
            self.use_held().await?;
            return Ok(offers.offers);
        }
        if let Some(update) = event.update {
            self.acknowledge(update.status).await?;
            self.use_held().await?;
        } else if let Some(error) = event.error {
            bail!("ERROR: {}", error.message);
        } else if let Some(failure) = event.failure {
            bail!("FAILURE: {failure:?}");
        }
        Ok(Vec::new())
    }

    fn hold(&mut self, offer: mesos::Offer) {
        let agent = offer.agent_id.value.clone();
        let of_agent = self.held.entry(agent.clone()).or_default();
        if of_agent.is_empty() {
            self.queue.push_back(agent);
        }
        of_agent.push(offer);
    }

    /// Launches on what is held, agent by agent.
    async fn use_held(&mut self) -> Result<()> {
        while self.alive.saturating_add(AT_ONCE) <= self.most {
            let Some(agent) = self.queue.pop_front() else {
                break;
            };
            let offers = self.held.remove(&agent).unwrap_or_default();
            self.take(&offers).await?;
        }
        Ok(())
    }

    /// Answers offers of one agent.
    async fn take(&mut self, offers: &[mesos::Offer]) -> Result<()> {
        let Some(first) = offers.first() else {
            return Ok(());
        };
        let resources = offers.iter().flat_map(|offer| &offer.resources);
        let cpus = resources.filter(|one| one.name == "cpus");
        let cpus: f64 = cpus.filter_map(|one| one.scalar).map(|one| one.value).sum();
        let fit = (cpus * 1_000.0).round() as u64 / TASK_MILLICPUS;
        let count = fit.min(AT_ONCE).min(self.most - self.alive);
        let offer_ids = offers.iter().map(|offer| offer.id.clone()).collect();
        let mut answer = bare(call::Type::Accept);
        answer.framework_id = Some(self.id.clone());
        if count == 0 {
            // Comes again when more is free than now.
            answer.r#type = Some(call::Type::Decline.into());
            answer.decline = Some(call::Decline {
                offer_ids,
                filters: filters(3_600.0),
            });
        } else {
            let tasks = (0..count).map(|_| self.task(&first.agent_id)).collect();
            self.counts.accepts += 1;
            self.counts.launched += count;
            self.alive += count;
            answer.accept = Some(call::Accept {
                offer_ids,
                operations: vec![mesos::offer::Operation {
                    r#type: Some(operation::Type::Launch.into()),
                    launch: Some(operation::Launch { task_infos: tasks }),
                    ..mesos::offer::Operation::default()
                }],
                filters: filters(0.0),
            });
        }
        self.link.call(answer).await
    }

    async fn acknowledge(&mut self, status: mesos::TaskStatus) -> Result<()> {
        let state = status.state();
        if state == mesos::TaskState::TaskRunning {
            self.counts.running += 1;
        } else if state == mesos::TaskState::TaskFinished {
            self.counts.finished += 1;
            self.alive = self.alive.saturating_sub(1);
        } else {
            bail!("{}: {state:?} {:?}", status.task_id.value, status.message);
        }
        let Some(uuid) = status.uuid else {
            return Ok(());
        };
        let mut answer = bare(call::Type::Acknowledge);
        answer.framework_id = Some(self.id.clone());
        answer.acknowledge = Some(call::Acknowledge {
            agent_id: status.agent_id.context("an update without agent")?,
            task_id: status.task_id,
            uuid,
        });
        self.link.call(answer).await
    }

    fn task(&mut self, agent: &mesos::AgentId) -> mesos::TaskInfo {
        self.named += 1;
        let scalar = |name: &str, value: f64| mesos::Resource {
            name: name.to_owned(),
            r#type: mesos::value::Type::Scalar.into(),
            scalar: Some(mesos::value::Scalar { value }),
            ..mesos::Resource::default()
        };
        let label = |key: &str, value: String| mesos::Label {
            key: key.to_owned(),
            value: Some(value),
        };
        let number = self.named;
        let mut task = mesos::TaskInfo {
            name: "load".to_owned(),
            task_id: mesos::TaskId {
                value: format!("load-{}.{number}", self.incarnation),
            },
            agent_id: agent.clone(),
            resources: vec![
                scalar("cpus", TASK_MILLICPUS as f64 / 1e3),
                scalar("mem", 32.0),
            ],
            command: Some(mesos::CommandInfo {
                value: Some("exec sleep 1000".to_owned()),
                ..mesos::CommandInfo::default()
            }),
            labels: Some(mesos::Labels {
                labels: vec![
                    label("team", format!("t{}", number % 50)),
                    label("app", format!("/load/app-{}", number % 1_000)),
                    label("version", "2026-11-29T12:00:00.000Z".to_owned()),
                ],
            }),
            ..mesos::TaskInfo::default()
        };
        let missing = TASK_BYTES.saturating_sub(prost::Message::encoded_len(&task) + 3);
        task.data = Some(vec![b'.'; missing].into());
        task
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what calls take")]
const fn filters(refuse_seconds: f64) -> Option<mesos::Filters> {
    Some(mesos::Filters {
        refuse_seconds: Some(refuse_seconds),
    })
}

fn bare(kind: call::Type) -> Call {
    Call {
        r#type: Some(kind.into()),
        ..Call::default()
    }
}
