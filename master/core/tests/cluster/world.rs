//! A cluster under test, and short words for what happens to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mete_master_core::{
    Accept, Action, AgentTask, Call, Cluster, Event, Input, LinkId, MessageToAgent, OfferRules,
    Operation, Record, Registration, Registry, Reply, Settings, Subscription, TaskBrief, Update,
};
use mete_model::{
    AgentId, AgentInfo, Attributes, Capability, CommandSpec, Durable, Effects, Endpoint,
    FrameworkId, FrameworkInfo, Machine, Offer, OfferId, Ranges, Reason, Resources, Role, Source,
    TaskId, TaskSpec, TaskState, TaskStatus, Timestamp, UpdateId,
};

pub(crate) type Out = Effects<Cluster>;

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) now: Timestamp,
    links: u64,
    /// All that was ever stored, as a store would hold it.
    pub(crate) stored: std::collections::BTreeMap<Vec<u8>, Vec<u8>>,
}

pub(crate) fn settings() -> Settings {
    Settings::new("m", 1)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(settings(), Registry::default())
    }

    pub(crate) fn with(settings: Settings, registry: Registry) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        Self {
            cluster: Cluster::recover(settings, registry, now),
            now,
            links: 0,
            stored: std::collections::BTreeMap::new(),
        }
    }

    /// The next master, on what this one has stored.
    pub(crate) fn restarted(self, settings: Settings) -> Self {
        let registry = Registry::read(self.stored.clone()).expect("readable");
        let mut next = Self::with(settings, registry);
        next.stored = self.stored;
        next.links = self.links;
        next
    }

    pub(crate) fn step(&mut self, input: Input) -> Out {
        let out = self.cluster.step(self.now, input);
        for change in out.store.iter().flat_map(Record::changes) {
            match change.value {
                Some(value) => self.stored.insert(change.key, value),
                None => self.stored.remove(&change.key),
            };
        }
        out
    }

    /// Time passes; every deadline on the way comes at its moment, and connected agents answer their pings.
    pub(crate) fn pass(&mut self, span: Duration) -> Out {
        self.pass_until(self.now + span, true)
    }

    /// The same, and no agent answers.
    pub(crate) fn pass_in_silence(&mut self, span: Duration) -> Out {
        self.pass_until(self.now + span, false)
    }

    fn pass_until(&mut self, end: Timestamp, answer: bool) -> Out {
        let mut all = Out::none();
        while let Some(next) = self.cluster.next_deadline().filter(|next| *next <= end) {
            assert!(next >= self.now, "deadlines do not lie in the past");
            self.now = next;
            let out = self.step(Input::Deadline);
            if answer {
                self.answer_pings(&out);
            }
            all.store.extend(out.store);
            all.act.extend(out.act);
        }
        self.now = end;
        all
    }

    fn answer_pings(&mut self, out: &Out) {
        let view = self.cluster.view();
        for agent in view.agents.values() {
            let Some(link) = agent.link() else { continue };
            for message in messages(out, link) {
                if let MessageToAgent::Ping { sequence } = message {
                    let agent = agent.id.clone();
                    self.step(Input::Pong {
                        agent,
                        link,
                        sequence,
                    });
                }
            }
        }
    }

    pub(crate) fn link(&mut self) -> LinkId {
        self.links += 1;
        LinkId(self.links)
    }

    pub(crate) fn registration(&mut self, host: &str) -> Registration {
        Registration {
            executors: Vec::new(),
            exited: Vec::new(),
            link: self.link(),
            id: None,
            info: agent_info(host),
            boot_id: None,
            version: "0.1.0".to_owned(),
            obeyed_epoch: 0,
            tasks: Vec::new(),
            frameworks: Vec::new(),
            unacknowledged: Vec::new(),
        }
    }

    /// A new agent with 4 CPUs, 4096 MB and ports 31000 to 31099.
    pub(crate) fn agent(&mut self, host: &str) -> (AgentId, LinkId) {
        self.agent_with(host, whole())
    }

    /// A new agent with these resources.
    pub(crate) fn agent_with(&mut self, host: &str, resources: Resources) -> (AgentId, LinkId) {
        let mut registration = self.registration(host);
        registration.info.resources = resources;
        let link = registration.link;
        let out = self.step(Input::RegisterAgent(Box::new(registration)));
        let Some(Reply::Registered(id)) = out.reply else {
            panic!("not registered: {out:?}");
        };
        (id, link)
    }

    pub(crate) fn returns(&mut self, id: &AgentId, tasks: Vec<AgentTask>) -> (LinkId, Out) {
        let mut registration = self.registration("a");
        registration.id = Some(id.clone());
        let mut frameworks: Vec<FrameworkId> =
            tasks.iter().map(|task| task.framework.clone()).collect();
        frameworks.dedup();
        registration.frameworks = frameworks
            .into_iter()
            .map(|id| FrameworkInfo {
                id: Some(id),
                ..framework_info()
            })
            .collect();
        registration.tasks = tasks;
        let link = registration.link;
        (
            link,
            self.step(Input::RegisterAgent(Box::new(registration))),
        )
    }

    pub(crate) fn subscribe(&mut self, info: FrameworkInfo) -> (LinkId, Out) {
        let link = self.link();
        let subscription = Box::new(subscription(link, info));
        (link, self.step(Input::Subscribe(subscription)))
    }

    /// A new framework that takes everything.
    pub(crate) fn framework(&mut self) -> Client {
        let (link, out) = self.subscribe(framework_info());
        Client::of(link, &out)
    }

    pub(crate) fn call(&mut self, client: &Client, call: Call) -> Out {
        self.step(Input::Call {
            framework: client.id.clone(),
            link: client.link,
            call,
        })
    }

    pub(crate) fn accept(
        &mut self,
        client: &Client,
        offers: &[&Offer],
        tasks: Vec<TaskSpec>,
    ) -> Out {
        self.call(
            client,
            Call::Accept(Accept {
                offers: offers.iter().map(|offer| offer.id.clone()).collect(),
                operations: vec![Operation::Launch(tasks.into_iter().map(Ok).collect())],
                refuse_for: Duration::from_secs(5),
            }),
        )
    }

    pub(crate) fn decline(&mut self, client: &Client, offer: &Offer, refuse_for: Duration) -> Out {
        let offers = vec![offer.id.clone()];
        self.call(client, Call::Decline { offers, refuse_for })
    }

    /// The agent reports a state of a task.
    pub(crate) fn report(
        &mut self,
        (agent, link): (&AgentId, LinkId),
        client: &Client,
        task: &str,
        state: TaskState,
        uuid: u8,
    ) -> Out {
        self.step(Input::Update {
            agent: agent.clone(),
            link,
            update: Box::new(update(&client.id, agent, task, state, uuid)),
        })
    }

    pub(crate) fn acknowledge(
        &mut self,
        client: &Client,
        agent: &AgentId,
        task: &str,
        uuid: u8,
    ) -> Out {
        self.call(
            client,
            Call::Acknowledge {
                agent: agent.clone(),
                task: task_id(task),
                uuid: UpdateId([uuid; 16]),
            },
        )
    }
}

/// A framework as it knows itself.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) id: FrameworkId,
    pub(crate) link: LinkId,
    /// Those of the answer to its subscription.
    pub(crate) offers: Vec<Arc<Offer>>,
}

impl Client {
    pub(crate) fn of(link: LinkId, out: &Out) -> Self {
        let Some(Reply::Subscribed(id)) = &out.reply else {
            panic!("not subscribed: {out:?}");
        };
        Self {
            id: id.clone(),
            link,
            offers: offers(out, link),
        }
    }
}

pub(crate) fn agent_info(host: &str) -> AgentInfo {
    AgentInfo {
        endpoint: Endpoint {
            hostname: host.to_owned(),
            ip: "127.0.0.2".to_owned(),
            port: 5051,
        },
        resources: whole(),
        attributes: Attributes::new(),
        domain: None,
        original: Bytes::new(),
    }
}

pub(crate) fn whole() -> Resources {
    Resources::cpus_mem(4_000, 4_096).with_ports(Ranges::interval(31_000, 31_099))
}

pub(crate) fn framework_info() -> FrameworkInfo {
    FrameworkInfo {
        id: None,
        name: "test".to_owned(),
        user: "root".to_owned(),
        roles: BTreeSet::from([role("web")]),
        capabilities: BTreeSet::from([Capability::PartitionAware, Capability::MultiRole]),
        failover_timeout: Duration::from_secs(3_600),
        principal: None,
        hostname: String::new(),
        webui_url: None,
        original: Bytes::new(),
    }
}

pub(crate) fn subscription(link: LinkId, info: FrameworkInfo) -> Subscription {
    Subscription {
        link,
        info,
        checkpoint: true,
        suppressed: BTreeSet::new(),
        rules: OfferRules::default(),
        may_return: true,
    }
}

pub(crate) fn role(name: &str) -> Role {
    Role::new(name).expect("good")
}

pub(crate) fn task_id(id: &str) -> TaskId {
    TaskId::new(id).expect("good")
}

pub(crate) fn task(id: &str, agent: &AgentId) -> TaskSpec {
    TaskSpec::new(
        task_id(id),
        agent.clone(),
        Resources::cpus_mem(1_000, 512),
        CommandSpec::shell("sleep 1"),
    )
}

pub(crate) fn status(agent: &AgentId, task: &str, state: TaskState, uuid: u8) -> TaskStatus {
    let mut status = TaskStatus::new(task_id(task), state, Source::Executor, Timestamp::EPOCH);
    status.agent = Some(agent.clone());
    status.uuid = Some(UpdateId([uuid; 16]));
    status
}

pub(crate) fn update(
    framework: &FrameworkId,
    agent: &AgentId,
    task: &str,
    state: TaskState,
    uuid: u8,
) -> Update {
    Update {
        framework: framework.clone(),
        status: status(agent, task, state, uuid),
        latest: None,
        original: Bytes::from_static(b"as it came"),
    }
}

pub(crate) fn brought(client: &Client, agent: &AgentId, id: &str, state: TaskState) -> AgentTask {
    AgentTask {
        executor: None,
        framework: client.id.clone(),
        task: id.parse().expect("an id"),
        brief: TaskBrief::of(&task(id, agent)),
        role: Some(role("web")),
        status: status(agent, id, state, 9),
    }
}

/// What was said on a stream to a framework.
pub(crate) fn events(out: &Out, on: LinkId) -> Vec<Event> {
    let event = |action: &Action| match action {
        Action::ToFramework { link, event } if *link == on => Some(event.clone()),
        Action::ToFramework { .. }
        | Action::ToAgent { .. }
        | Action::SayWhenRead { .. }
        | Action::Close { .. } => None,
    };
    out.act.iter().filter_map(event).collect()
}

/// What was said on a stream to an agent.
pub(crate) fn messages(out: &Out, on: LinkId) -> Vec<MessageToAgent> {
    let message = |action: &Action| match action {
        Action::ToAgent { link, message } if *link == on => Some(message.clone()),
        Action::ToFramework { .. }
        | Action::ToAgent { .. }
        | Action::SayWhenRead { .. }
        | Action::Close { .. } => None,
    };
    out.act.iter().filter_map(message).collect()
}

pub(crate) fn closed(out: &Out) -> Vec<LinkId> {
    let link = |action: &Action| match action {
        Action::Close { link } => Some(*link),
        Action::ToFramework { .. } | Action::ToAgent { .. } | Action::SayWhenRead { .. } => None,
    };
    out.act.iter().filter_map(link).collect()
}

pub(crate) fn offers(out: &Out, on: LinkId) -> Vec<Arc<Offer>> {
    let mut all = Vec::new();
    for event in events(out, on) {
        if let Event::Offers { offers, .. } = event {
            all.extend(offers);
        }
    }
    all
}

pub(crate) fn rescinded(out: &Out, on: LinkId) -> Vec<OfferId> {
    let mut all = Vec::new();
    for event in events(out, on) {
        if let Event::Rescind(offer) = event {
            all.push(offer);
        }
    }
    all
}

/// Task, state and reason of each update on a stream.
pub(crate) fn updates(out: &Out, on: LinkId) -> Vec<(String, TaskState, Option<Reason>)> {
    statuses(out, on)
        .into_iter()
        .map(|status| (status.task.to_string(), status.state, status.reason))
        .collect()
}

pub(crate) fn statuses(out: &Out, on: LinkId) -> Vec<TaskStatus> {
    let mut all = Vec::new();
    for event in events(out, on) {
        if let Event::Update { status, .. } = event {
            all.push(TaskStatus::clone(&status));
        }
    }
    all
}

/// The ids of the tasks an agent is told to run.
pub(crate) fn runs(out: &Out, on: LinkId) -> Vec<String> {
    let mut all = Vec::new();
    for message in messages(out, on) {
        if let MessageToAgent::RunTask { task, .. } = message {
            all.push(task.id.to_string());
        }
    }
    all
}

/// The ids of the tasks an agent is told to kill.
pub(crate) fn kills(out: &Out, on: LinkId) -> Vec<String> {
    let mut all = Vec::new();
    for message in messages(out, on) {
        if let MessageToAgent::KillTask { task, .. } = message {
            all.push(task.to_string());
        }
    }
    all
}

pub(crate) const NO_FILTER: Duration = Duration::ZERO;
