//! A framework that takes every offer and launches small tasks, over gRPC or over Mesos' HTTP API.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::offer::operation;
use mete_proto::mesos::v1::scheduler::call;
use tokio::time::timeout;

use crate::link::Link;
use crate::tasks::{self, Tasks};
use crate::wire::{self, Call, Event, Offer, encoded};
use crate::world::PATIENCE;

/// Tasks in one ACCEPT at most.
const AT_ONCE: u64 = 4;
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
    /// The same, as calls have it.
    named_by: Bytes,
    tasks: Tasks,
    named: u64,
    /// Tasks that are not over, at most.
    most: u64,
    alive: u64,
    held: BTreeMap<Bytes, Vec<Offer>>,
    /// Agents of which offers are held, in the order in which their first came.
    queue: VecDeque<Bytes>,
    pub(crate) counts: Counts,
}

impl Framework {
    /// Subscribes; with an id when it was here before. Has at most so many tasks at a time.
    pub(crate) async fn subscribe(
        mut link: Link,
        id: Option<mesos::FrameworkId>,
        most: u64,
    ) -> Result<Self> {
        let incarnation = u32::from(id.is_some());
        let subscribe = Call {
            framework_id: id.as_ref().map(encoded),
            subscribe: Some(wire::Subscribe {
                framework_info: info(id),
            }),
            ..bare(call::Type::Subscribe)
        };
        link.open(subscribe).await?;
        let first = timeout(PATIENCE, link.event()).await??;
        let subscribed = first.subscribed.context("SUBSCRIBED comes first")?;
        Ok(Self {
            link,
            named_by: encoded(&subscribed.framework_id),
            id: subscribed.framework_id,
            tasks: Tasks::new(),
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

    /// Hears one event and does what it asks for: offers are taken, updates acknowledged. The agents of offers that came.
    pub(crate) async fn next(&mut self) -> Result<Vec<Bytes>> {
        let event = timeout(PATIENCE, self.link.event()).await;
        let event = event.with_context(|| format!("no event within {PATIENCE:?}"))??;
        let offers = event.offers.iter().flat_map(|all| &all.offers);
        let agents = offers.map(|offer| offer.agent_id.clone()).collect();
        self.hear(event).await?;
        Ok(agents)
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

    async fn hear(&mut self, event: Event) -> Result<()> {
        if let Some(update) = event.update {
            self.acknowledge(update.status).await?;
        } else if let Some(all) = event.offers {
            all.offers.into_iter().for_each(|offer| self.hold(offer));
        } else if let Some(error) = event.error {
            bail!("ERROR: {}", error.message);
        } else if let Some(failure) = event.failure {
            bail!("FAILURE: {failure:?}");
        }
        self.use_held().await
    }

    fn hold(&mut self, offer: Offer) {
        let of_agent = self.held.entry(offer.agent_id.clone()).or_default();
        if of_agent.is_empty() {
            self.queue.push_back(offer.agent_id.clone());
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
    async fn take(&mut self, offers: &[Offer]) -> Result<()> {
        let Some(first) = offers.first() else {
            return Ok(());
        };
        let resources = offers.iter().flat_map(|offer| &offer.resources);
        let cpus = resources.filter(|one| one.name == "cpus");
        let cpus: f64 = cpus.filter_map(|one| one.scalar).map(|one| one.value).sum();
        let fit = (cpus * 1_000.0).round() as u64 / tasks::MILLICPUS;
        let count = fit.min(AT_ONCE).min(self.most - self.alive);
        let offer_ids = offers.iter().map(|offer| offer.id.clone()).collect();
        let mut answer = self.call(call::Type::Accept);
        if count == 0 {
            // Comes again when more is free than now.
            answer.kind = call::Type::Decline.into();
            answer.decline = Some(wire::Decline {
                offer_ids,
                filters: filters(3_600.0),
            });
        } else {
            let task_infos = (0..count).map(|_| self.task(&first.agent_id)).collect();
            self.counts.accepts += 1;
            self.counts.launched += count;
            self.alive += count;
            answer.accept = Some(wire::Accept {
                offer_ids,
                operation: wire::Operation {
                    kind: operation::Type::Launch.into(),
                    launch: wire::Launch { task_infos },
                },
                filters: filters(0.0),
            });
        }
        self.link.call(answer).await
    }

    async fn acknowledge(&mut self, status: wire::TaskStatus) -> Result<()> {
        let state = status.state();
        if state == mesos::TaskState::TaskRunning {
            self.counts.running += 1;
        } else if state == mesos::TaskState::TaskFinished {
            self.counts.finished += 1;
            self.alive = self.alive.saturating_sub(1);
        } else {
            bail!("{:?}: {state:?} {:?}", status.task_id, status.message);
        }
        let Some(uuid) = status.uuid else {
            return Ok(());
        };
        let mut answer = self.call(call::Type::Acknowledge);
        answer.acknowledge = Some(wire::Acknowledge {
            agent_id: status.agent_id,
            task_id: status.task_id,
            uuid,
        });
        self.link.call(answer).await
    }

    fn task(&mut self, agent: &Bytes) -> wire::TaskInfo {
        self.named += 1;
        let value = format!("load-{}.{}", self.incarnation, self.named);
        self.tasks.task(self.named, mesos::TaskId { value }, agent)
    }

    /// One of this framework, with nothing in it yet.
    fn call(&self, kind: call::Type) -> Call {
        Call {
            framework_id: Some(self.named_by.clone()),
            ..bare(kind)
        }
    }
}

const fn filters(refuse_seconds: f64) -> mesos::Filters {
    mesos::Filters {
        refuse_seconds: Some(refuse_seconds),
    }
}

fn bare(kind: call::Type) -> Call {
    Call {
        kind: kind.into(),
        ..Call::default()
    }
}
