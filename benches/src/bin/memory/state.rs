//! What the master keeps of agents and tasks: the state that decides, and the view that readers have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use mete_benches::cluster::NOON;
use mete_master_core::{
    Accept, Action, Call, Cluster, Event, Input, LinkId, OfferRules, Operation, Registration,
    Registry, Reply, Settings, Subscription, Update,
};
use mete_model::{
    AgentId, AgentInfo, Attributes, Capability, CommandSpec, Effects, Endpoint, FrameworkId,
    FrameworkInfo, Machine as _, Offer, Ranges, Resources, Role, Source, TaskId, TaskSpec,
    TaskState, TaskStatus, UpdateId,
};

use crate::HEAP;

/// Tasks on each agent.
const TASKS: usize = 10;
/// Of an encoded TaskInfo.
const INFO_BYTES: usize = 300;
const FRAMEWORK: LinkId = LinkId(0);

/// Live bytes.
pub(crate) struct State {
    /// Of an agent without tasks.
    pub(crate) per_agent: usize,
    /// Of a task that runs and has told so, with its TaskInfo.
    pub(crate) per_task: usize,
}

/// A master that stores nothing and talks to nobody.
struct Master {
    cluster: Cluster,
    agents: Vec<AgentId>,
}

/// Agents come, a framework takes what it is offered, and all its tasks run and are acknowledged.
pub(crate) fn state(agents: usize) -> Result<State> {
    let mut master = Master {
        cluster: Cluster::recover(Settings::new("m", 1), Registry::default(), NOON),
        agents: Vec::new(),
    };
    let before = HEAP.current_usage();
    for number in 0..agents {
        master.agent(number)?;
    }
    let per_agent = HEAP.current_usage().saturating_sub(before) / agents;
    let (framework, offers) = master.framework()?;
    ensure!(
        offers.len() == agents,
        "{} agents are offered",
        offers.len()
    );
    for offer in &offers {
        master.decline(&framework, offer);
    }
    drop(offers);
    let before = HEAP.current_usage();
    // Offers that are not on the table any more take nothing.
    let offers = master.revive(&framework);
    for (number, offer) in offers.into_iter().enumerate() {
        master.launch(&framework, number, &offer)?;
    }
    let view = master.cluster.view();
    let running = view
        .tasks
        .values()
        .filter(|task| task.state == TaskState::Running);
    let tasks = running.count();
    ensure!(tasks == agents * TASKS, "{tasks} tasks run");
    let per_task = HEAP.current_usage().saturating_sub(before) / tasks;
    Ok(State {
        per_agent,
        per_task,
    })
}

impl Master {
    fn step(&mut self, input: Input) -> Effects<Cluster> {
        self.cluster.step(NOON, input)
    }

    fn agent(&mut self, number: usize) -> Result<()> {
        let total = Resources::cpus_mem(1_000, 1_024).with_ports(Ranges::interval(31_000, 32_000));
        let registration = Registration {
            link: LinkId(1 + number as u64),
            id: None,
            info: AgentInfo {
                endpoint: Endpoint {
                    hostname: format!("agent-{number}.example"),
                    ip: format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255),
                    port: 5_051,
                },
                resources: total,
                attributes: Attributes::new(),
                domain: None,
                original: Bytes::new(),
            },
            boot_id: Some(format!("boot-{number}")),
            version: "0.1.0".to_owned(),
            obeyed_epoch: 0,
            tasks: Vec::new(),
            executors: Vec::new(),
            exited: Vec::new(),
            frameworks: Vec::new(),
            unacknowledged: Vec::new(),
        };
        let out = self.step(Input::RegisterAgent(Box::new(registration)));
        let Some(Reply::Registered(id)) = out.reply else {
            anyhow::bail!("agent {number} was not let in: {:?}", out.reply);
        };
        self.agents.push(id);
        Ok(())
    }

    fn framework(&mut self) -> Result<(FrameworkId, Vec<Arc<Offer>>)> {
        let subscription = Subscription {
            link: FRAMEWORK,
            info: FrameworkInfo {
                id: None,
                name: "load".to_owned(),
                user: "root".to_owned(),
                roles: BTreeSet::from([Role::new("load")?]),
                capabilities: BTreeSet::from([Capability::PartitionAware, Capability::MultiRole]),
                failover_timeout: Duration::from_secs(3_600),
                principal: None,
                hostname: String::new(),
                webui_url: None,
                original: Bytes::new(),
            },
            checkpoint: true,
            suppressed: BTreeSet::new(),
            rules: OfferRules::default(),
            may_return: true,
        };
        let out = self.step(Input::Subscribe(Box::new(subscription)));
        let offers = offers(&out);
        match out.reply {
            Some(Reply::Subscribed(id)) => Ok((id, offers)),
            other => anyhow::bail!("the framework was not let in: {other:?}"),
        }
    }

    fn call(&mut self, framework: &FrameworkId, call: Call) -> Effects<Cluster> {
        self.step(Input::Call {
            framework: framework.clone(),
            link: FRAMEWORK,
            call,
        })
    }

    fn decline(&mut self, framework: &FrameworkId, offer: &Offer) {
        let call = Call::Decline {
            offers: vec![offer.id.clone()],
            refuse_for: Duration::from_secs(3_600),
        };
        self.call(framework, call);
    }

    fn revive(&mut self, framework: &FrameworkId) -> Vec<Arc<Offer>> {
        let roles = BTreeSet::new();
        offers(&self.call(framework, Call::Revive { roles }))
    }

    /// Fills an agent, which tells that all of it runs.
    fn launch(&mut self, framework: &FrameworkId, number: usize, offer: &Offer) -> Result<()> {
        let tasks: Result<Vec<TaskSpec>> = (0..TASKS)
            .map(|task| spec(number * TASKS + task, &offer.agent))
            .collect();
        let tasks = tasks?;
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
        let accept = Accept {
            offers: vec![offer.id.clone()],
            operations: vec![Operation::Launch(tasks.into_iter().map(Ok).collect())],
            refuse_for: Duration::from_secs(3_600),
        };
        self.call(framework, Call::Accept(accept));
        let place = self.agents.iter().position(|id| *id == offer.agent);
        let place = place.context("an offer of an agent that nobody knows")?;
        let agent = self.agents[place].clone();
        for (of_agent, id) in ids.into_iter().enumerate() {
            let uuid = UpdateId(((number * TASKS + of_agent) as u128).to_be_bytes());
            let update = Input::Update {
                agent: agent.clone(),
                link: LinkId(1 + place as u64),
                update: Box::new(running(framework, &id, &agent, uuid)?),
            };
            self.step(update);
            let acknowledge = Call::Acknowledge {
                agent: agent.clone(),
                task: id,
                uuid,
            };
            self.call(framework, acknowledge);
        }
        Ok(())
    }
}

fn spec(number: usize, agent: &AgentId) -> Result<TaskSpec> {
    let label = |key: &str, value: String| (key.to_owned(), Some(value));
    // Each comes off the network in words of its own.
    let agent = AgentId::new(agent.as_str())?;
    let (resources, command) = (
        Resources::cpus_mem(100, 32),
        CommandSpec::shell("exec sleep 1000"),
    );
    let id = TaskId::new(format!("load-0.{number}"))?;
    Ok(TaskSpec {
        name: "load".to_owned(),
        labels: vec![
            label("team", format!("t{}", number % 50)),
            label("app", format!("/load/app-{}", number % 1_000)),
            label("version", "2026-11-29T12:00:00.000Z".to_owned()),
        ],
        original: Bytes::from(vec![b'.'; INFO_BYTES]),
        ..TaskSpec::new(id, agent, resources, command)
    })
}

fn running(
    framework: &FrameworkId,
    task: &TaskId,
    agent: &AgentId,
    uuid: UpdateId,
) -> Result<Update> {
    let task = TaskId::new(task.as_str())?;
    let mut status = TaskStatus::new(task, TaskState::Running, Source::Executor, NOON);
    status.agent = Some(AgentId::new(agent.as_str())?);
    status.uuid = Some(uuid);
    Ok(Update {
        framework: FrameworkId::new(framework.as_str())?,
        status,
        latest: None,
        original: Bytes::new(),
    })
}

fn offers(out: &Effects<Cluster>) -> Vec<Arc<Offer>> {
    let mut all = Vec::new();
    for action in &out.act {
        if let Action::ToFramework {
            event: Event::Offers { offers, .. },
            ..
        } = action
        {
            all.extend(offers.iter().cloned());
        }
    }
    all
}
