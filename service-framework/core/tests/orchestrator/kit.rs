//! A world around an orchestrator: a store that keeps what is stored, a master that offers what its agents have, tasks
//! that do as the test says, proxies that acknowledge when the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::machine::{Durable, Effects, Machine};
use mete_model::{
    AgentId, Attributes, Endpoint, FrameworkId, InverseOffer, Offer, OfferId, Ranges, Reason,
    Resources, Role, Source, Tag, TaskId, TaskSpec, TaskState, TaskStatus, Timestamp,
    Unavailability, UpdateId,
};
use mete_placement::Shape;
use mete_service_framework_core::backends::BackendState;
use mete_service_framework_core::events::Happening;
use mete_service_framework_core::probe::{Answer, Probe};
use mete_service_framework_core::record::Record;
use mete_service_framework_core::spec::app::{AppId, AppSpec, HealthCheckSpec, HealthProtocol};
use mete_service_framework_core::state::apps::App;
use mete_service_framework_core::state::instances::{Instance, InstanceId, InstanceState};
use mete_service_framework_core::{
    Action, Change, Input, Kept, Launch, LaunchGroup, Life, Orchestrator, ProxyAck, Reply,
    Settings, View, Wanted,
};

/// Where every test begins.
pub(crate) const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A task as its agent has it.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) agent: AgentId,
    pub(crate) spec: TaskSpec,
    pub(crate) state: TaskState,
}

/// The world.
pub(crate) struct World {
    pub(crate) core: Orchestrator,
    pub(crate) now: Timestamp,
    settings: Settings,
    lives: u8,
    store: BTreeMap<Vec<u8>, Vec<u8>>,
    agents: BTreeMap<AgentId, Resources>,
    /// Tasks that the agents have.
    pub(crate) tasks: BTreeMap<TaskId, Running>,
    /// What is taken beside the tasks of a group, as long as one of them is there.
    overheads: Vec<(AgentId, Vec<TaskId>, Resources)>,
    /// Tasks that run on agents nobody hears of.
    pub(crate) away: BTreeMap<TaskId, Running>,
    /// Kills that were sent and not carried out.
    pub(crate) kills: Vec<TaskId>,
    /// Questions to instances that were not answered.
    pub(crate) probes: Vec<Probe>,
    /// Questions to leave an agent that were answered with yes.
    pub(crate) accepted: Vec<OfferId>,
    /// What subscribers heard.
    pub(crate) events: Vec<Happening>,
    pub(crate) wants_offers: bool,
    /// The roles that were taken since the last SUBSCRIBE.
    pub(crate) roles: Vec<Role>,
    /// What the master was told that waits.
    pub(crate) demand: Vec<Shape>,
    offers: u32,
    /// Where each offer is.
    offered: BTreeMap<OfferId, AgentId>,
    updates: u64,
    /// States each task has had on the healthy-task list.
    pub(crate) listed: BTreeMap<TaskId, Vec<BackendState>>,
}

impl World {
    /// A master and agents of 4 CPUs, 4 GiB of memory, 1 GiB of disk and a hundred ports each.
    pub(crate) fn new(agents: u8) -> Self {
        let mut world = Self::alone(Settings::default());
        for number in 1..=agents {
            world.add_agent(number);
        }
        world.subscribe();
        world
    }

    /// Nothing but an orchestrator.
    pub(crate) fn alone(settings: Settings) -> Self {
        let core = Orchestrator::recover(settings.clone(), &life(0), NOON, Vec::new())
            .expect("nothing to read");
        Self {
            core,
            now: NOON,
            settings,
            lives: 0,
            store: BTreeMap::new(),
            agents: BTreeMap::new(),
            tasks: BTreeMap::new(),
            overheads: Vec::new(),
            away: BTreeMap::new(),
            kills: Vec::new(),
            probes: Vec::new(),
            accepted: Vec::new(),
            events: Vec::new(),
            wants_offers: false,
            roles: Vec::new(),
            demand: Vec::new(),
            offers: 0,
            offered: BTreeMap::new(),
            updates: 0,
            listed: BTreeMap::new(),
        }
    }

    pub(crate) fn add_agent(&mut self, number: u8) {
        let ports = Ranges::interval(31_000, 31_099);
        let mut resources = Resources::cpus_mem(4_000, 4_096).with_ports(ports);
        resources.disk_milli = 1_024_000;
        self.agents.insert(agent(number), resources);
    }

    pub(crate) fn remove_agent(&mut self, number: u8) {
        self.agents.remove(&agent(number));
    }

    pub(crate) fn step(&mut self, input: Input) -> Effects<Orchestrator> {
        let effects = self.core.step(self.now, input);
        for record in &effects.store {
            self.save(record);
        }
        for action in &effects.act {
            self.carry_out(action.clone());
        }
        for service in self.core.view().backends.services() {
            for backend in &service.backends {
                let states = self.listed.entry(backend.task.clone()).or_default();
                if states.last() != Some(&backend.state) {
                    states.push(backend.state);
                }
            }
        }
        effects
    }

    fn save(&mut self, record: &Record) {
        for change in record.changes() {
            match change.value {
                Some(value) => self.store.insert(change.key, value),
                None => self.store.remove(&change.key),
            };
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Accept {
                offers,
                release,
                reserve,
                launches,
                groups,
                ..
            } => {
                let agent = self.offered[&offers[0]].clone();
                release
                    .iter()
                    .for_each(|(_, kept)| self.give_back(&agent, kept));
                reserve.iter().for_each(|kept| self.keep(&agent, kept));
                for LaunchGroup {
                    tasks, overhead, ..
                } in &groups
                {
                    let ids = tasks.iter().map(|launch| launch.task.id.clone());
                    let agent = tasks[0].task.agent.clone();
                    self.overheads
                        .push((agent, ids.collect(), overhead.clone()));
                }
                let in_groups = groups.into_iter().flat_map(|group| group.tasks);
                for Launch { task, .. } in launches.into_iter().chain(in_groups) {
                    let running = Running {
                        agent: task.agent.clone(),
                        state: TaskState::Staging,
                        spec: task.clone(),
                    };
                    assert!(
                        self.tasks.insert(task.id.clone(), running).is_none(),
                        "{} was used before",
                        task.id
                    );
                }
            }
            Action::Kill { task, .. } => self.kills.push(task),
            Action::Roles(roles) => self.roles = roles,
            Action::Demand(shapes) => self.demand = shapes,
            Action::Revive => self.wants_offers = true,
            Action::Suppress => self.wants_offers = false,
            Action::Probe(probe) => self.probes.push(probe),
            Action::Publish(event) => self.events.push(event.what),
            Action::AcceptInverse(questions) => self.accepted.extend(questions),
            Action::Decline { .. }
            | Action::Acknowledge { .. }
            | Action::AskReserved { .. }
            | Action::AcknowledgeOperation(_)
            | Action::Reconcile { .. } => {}
        }
    }

    fn keep(&mut self, agent: &AgentId, kept: &Kept) {
        let total = self.agents.get_mut(agent).expect("it was offered");
        let plain = kept.reserved.as_the_agent_has_it();
        let reserved = total.reshaped(&plain, &kept.reserved);
        let made = reserved.and_then(|all| all.reshaped(&below(&kept.volumes), &kept.volumes));
        *total = made.expect("it is there");
    }

    /// What no task may hold at that moment.
    fn give_back(&mut self, agent: &AgentId, kept: &Kept) {
        let mut held = Resources::none();
        let all = self.tasks.values().chain(self.away.values());
        for task in all.filter(|task| task.agent == *agent) {
            held.add(&task.spec.resources);
        }
        let total = self.agents.get_mut(agent).expect("it was offered");
        let destroyed = total.reshaped(&kept.volumes, &below(&kept.volumes));
        let plain = kept.reserved.as_the_agent_has_it();
        let made = destroyed.and_then(|all| all.reshaped(&kept.reserved, &plain));
        *total = made.expect("it is there");
        assert!(total.contains(&held), "something was taken from a task");
    }

    /// What an agent has, with what is kept on it.
    pub(crate) fn total(&self, number: u8) -> &Resources {
        &self.agents[&agent(number)]
    }

    pub(crate) fn view(&self) -> View {
        self.core.view()
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self
            .core
            .next_deadline()
            .filter(|deadline| *deadline <= until)
        {
            self.now = self.now.max(deadline);
            self.step(Input::Deadline);
            let next = self.core.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a deadline that came stays at {next:?}"
            );
        }
        self.now = until;
    }

    pub(crate) fn pass_s(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    // ---- users

    pub(crate) fn create(&mut self, spec: AppSpec) -> Reply {
        self.ask(Wanted::Create(Box::new(spec)), false)
    }

    pub(crate) fn put(&mut self, spec: AppSpec) -> Reply {
        self.ask(
            Wanted::Put {
                apps: vec![spec],
                create: true,
                merged_with: BTreeMap::new(),
            },
            false,
        )
    }

    pub(crate) fn scale(&mut self, app: &str, instances: u32) -> Reply {
        self.ask(
            Wanted::Scale {
                app: id(app),
                instances,
            },
            false,
        )
    }

    pub(crate) fn ask(&mut self, what: Wanted, force: bool) -> Reply {
        let effects = self.step(Input::Change(Change {
            what,
            force,
            origin: None,
        }));
        effects.reply.expect("a change is answered")
    }

    // ---- the master

    pub(crate) fn subscribe(&mut self) -> Effects<Orchestrator> {
        self.wants_offers = true;
        self.demand.clear(); // The master knows nothing of before.
        let framework = FrameworkId::new("f-0001").expect("good");
        self.step(Input::Subscribed {
            framework,
            master: "127.0.0.1:5050".to_owned(),
            region: None,
        })
    }

    /// An agent drains: it is offered no more, and we are asked to leave it.
    pub(crate) fn drain(&mut self, number: u8) -> OfferId {
        self.remove_agent(number);
        self.ask_to_leave(number)
    }

    /// The master asks; again, when it has asked before.
    pub(crate) fn ask_to_leave(&mut self, number: u8) -> OfferId {
        self.offers += 1;
        let question = question(self.offers, number);
        let id = question.id.clone();
        self.step(Input::InverseOffers(vec![question]));
        id
    }

    /// What every agent has free, in the role of the framework.
    pub(crate) fn free(&mut self) -> Vec<Offer> {
        self.free_in(&self.settings.role.clone())
    }

    /// The same in another of its roles.
    pub(crate) fn free_in(&mut self, role: &str) -> Vec<Offer> {
        let mut offers = Vec::new();
        for (agent, total) in &self.agents {
            let mut free = total.clone();
            for task in self
                .tasks
                .values()
                .chain(self.away.values())
                .filter(|task| task.agent == *agent)
            {
                free = free
                    .minus(&task.spec.resources)
                    .expect("nothing is given away twice");
            }
            for (_, tasks, overhead) in self.overheads.iter().filter(|(on, ..)| on == agent) {
                let there = |task: &TaskId| self.tasks.contains_key(task);
                if tasks.iter().any(there) {
                    free = free.minus(overhead).expect("nothing is given away twice");
                }
            }
            self.offers += 1;
            offers.push(offer(self.offers, agent.clone(), role, free));
        }
        self.remember(&offers);
        offers
    }

    fn remember(&mut self, offers: &[Offer]) {
        let places = offers.iter();
        self.offered
            .extend(places.map(|offer| (offer.id.clone(), offer.agent.clone())));
    }

    /// Offers everything that is free, when it is wanted.
    pub(crate) fn offer(&mut self) -> Effects<Orchestrator> {
        if !self.wants_offers {
            return Effects::none();
        }
        let offers = self.free();
        self.step(Input::Offers(offers))
    }

    /// Offers what is demanded and no more, when it is wanted: one offer for each, on the first agent that has room.
    pub(crate) fn offer_as_demanded(&mut self) -> Effects<Orchestrator> {
        if !self.wants_offers {
            return Effects::none();
        }
        let mut free = self.free();
        let mut offers = Vec::new();
        for shape in &self.demand {
            let mut per_agent: BTreeMap<AgentId, u32> = BTreeMap::new();
            for _ in 0..shape.count {
                let has_room = |offer: &&mut Offer| {
                    let on_it = per_agent.get(&offer.agent).copied().unwrap_or(0);
                    shape.max_per_agent.is_none_or(|most| on_it < most)
                        && shape.permits((&**offer).into()).is_ok()
                        && offer.resources.contains(&shape.resources)
                };
                let mut fits: Vec<&mut Offer> = free.iter_mut().filter(has_room).collect();
                fits.sort_by_key(|offer| !shape.prefers((&**offer).into()));
                let Some(agent) = fits.into_iter().next() else {
                    break;
                };
                let mut part = shape.resources.clone();
                for at in 0..u64::from(shape.any_ports) {
                    let port = agent.resources.ports.nth(at).expect("a hundred ports");
                    part.ports.add(&Ranges::interval(port, port));
                }
                agent.resources = agent.resources.minus(&part).expect("it has room");
                *per_agent.entry(agent.agent.clone()).or_default() += 1;
                self.offers += 1;
                let role = &self.settings.role;
                offers.push(offer(self.offers, agent.agent.clone(), role, part));
            }
        }
        self.remember(&offers);
        self.step(Input::Offers(offers))
    }

    /// Offers everything that is free, and hears nothing of what is done with it; the tasks that are not launched so.
    pub(crate) fn lose_accepts(&mut self) -> Vec<TaskId> {
        if !self.wants_offers {
            return Vec::new();
        }
        let offers = self.free();
        let effects = self.core.step(self.now, Input::Offers(offers));
        effects.store.iter().for_each(|record| self.save(record));
        let mut lost = Vec::new();
        for action in effects.act {
            if let Action::Accept {
                launches, groups, ..
            } = action
            {
                let in_groups = groups.into_iter().flat_map(|group| group.tasks);
                let all = launches.into_iter().chain(in_groups);
                lost.extend(all.map(|launch| launch.task.id));
            } else {
                self.carry_out(action);
            }
        }
        lost
    }

    /// The master says what became of a task that it never launched.
    pub(crate) fn not_launched(&mut self, task: &TaskId, state: TaskState, reason: Option<Reason>) {
        let mut status = TaskStatus::new(task.clone(), state, Source::Master, self.now);
        status.reason = reason;
        self.step(Input::Update(status));
    }

    /// The agent of a task is not heard of.
    pub(crate) fn lose(&mut self, task: &TaskId) {
        if let Some(running) = self.tasks.remove(task) {
            self.away.insert(task.clone(), running);
            self.report(task, TaskState::Unreachable, None);
        }
    }

    /// It is back.
    pub(crate) fn find(&mut self, task: &TaskId) {
        if let Some(running) = self.away.remove(task) {
            self.tasks.insert(task.clone(), running);
            self.report(task, TaskState::Running, None);
        }
    }

    /// An agent is there again, with all that was kept on it.
    pub(crate) fn put_back(&mut self, number: u8, total: Resources) {
        self.agents.insert(agent(number), total);
    }

    /// A report of a task; it ends there when the report says so.
    pub(crate) fn report(
        &mut self,
        task: &TaskId,
        state: TaskState,
        healthy: Option<bool>,
    ) -> Effects<Orchestrator> {
        self.updates += 1;
        let mut status = TaskStatus::new(task.clone(), state, Source::Executor, self.now);
        status.agent = self.tasks.get(task).map(|task| task.agent.clone());
        status.uuid = Some(UpdateId(u128::from(self.updates).to_be_bytes()));
        status.healthy = healthy;
        if let Some(running) = self.tasks.get_mut(task) {
            running.state = state;
        }
        if state.is_terminal() {
            self.tasks.remove(task);
            self.kills.retain(|killed| killed != task);
            if state != TaskState::Finished {
                self.end_others(task);
            }
        }
        self.step(Input::Update(status))
    }

    /// The agent ends the others of a group.
    fn end_others(&mut self, task: &TaskId) {
        for other in self.together(task) {
            if self.tasks.contains_key(&other) && !self.kills.contains(&other) {
                self.kills.push(other);
            }
        }
    }

    /// A task and those of its group, whether they are there or not.
    pub(crate) fn together(&self, task: &TaskId) -> Vec<TaskId> {
        let mut groups = self.overheads.iter().map(|(_, tasks, _)| tasks);
        let group = groups.find(|tasks| tasks.contains(task)).cloned();
        group.unwrap_or_else(|| vec![task.clone()])
    }

    /// What was launched runs, and passes its check when it has one.
    pub(crate) fn run_all(&mut self) {
        let staging: Vec<TaskId> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.state == TaskState::Staging)
            .map(|(id, _)| id.clone())
            .collect();
        for task in staging {
            self.report(&task, TaskState::Running, None);
            if self.tasks[&task].spec.health_check.is_some() {
                self.report(&task, TaskState::Running, Some(true));
            }
        }
    }

    /// Every question so far has this answer.
    pub(crate) fn answer_all(&mut self, answer: &Answer) {
        for probe in std::mem::take(&mut self.probes) {
            self.answer(&probe, answer.clone());
        }
    }

    pub(crate) fn answer(&mut self, probe: &Probe, answer: Answer) -> Effects<Orchestrator> {
        self.step(Input::Probed {
            instance: probe.instance.clone(),
            check: probe.check,
            answer,
        })
    }

    /// What was to be killed ends.
    pub(crate) fn end_killed(&mut self) {
        for task in std::mem::take(&mut self.kills) {
            if self.tasks.contains_key(&task) {
                self.report(&task, TaskState::Killed, None);
            }
        }
    }

    /// Offers, launches, runs, drains, kills, until nothing more happens.
    pub(crate) fn calm(&mut self) {
        let mut quiet_rounds = 0;
        for _ in 0..200 {
            let before = (
                self.task_ids(),
                self.kills.len(),
                self.view().backends.version(),
            );
            self.offer();
            self.run_all();
            self.acknowledge_all();
            self.end_killed();
            self.pass(Duration::from_secs(1));
            self.answer_all(&Answer::Status(200));
            let after = (
                self.task_ids(),
                self.kills.len(),
                self.view().backends.version(),
            );
            quiet_rounds = if before == after { quiet_rounds + 1 } else { 0 };
            if quiet_rounds == 3 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    // ---- proxies

    pub(crate) fn acknowledge(&mut self, proxy: &str, sessions: &[(&TaskId, u64)]) -> Reply {
        let backends = self.view().backends;
        let ack = ProxyAck {
            proxy: proxy.to_owned(),
            epoch: backends.epoch().to_owned(),
            version: backends.version(),
            draining: sessions
                .iter()
                .map(|(task, left)| ((*task).clone(), *left))
                .collect(),
        };
        self.step(Input::ProxyAck(ack))
            .reply
            .expect("an acknowledgement is answered")
    }

    /// The proxy `p` has everything in effect and no sessions.
    pub(crate) fn acknowledge_all(&mut self) {
        self.acknowledge("p", &[]);
    }

    // ---- restarts

    /// The service framework dies and comes back with what it stored.
    pub(crate) fn restart(&mut self) {
        self.lives += 1;
        self.probes.clear(); // nobody waits for these answers any more
        let entries = self.store.clone().into_iter().collect();
        let life = life(self.lives);
        self.core = Orchestrator::recover(self.settings.clone(), &life, self.now, entries)
            .expect("what was stored is read");
    }

    /// It comes back with what was stored at some other time.
    pub(crate) fn restore(&mut self, store: BTreeMap<Vec<u8>, Vec<u8>>) {
        self.store = store;
        self.restart();
        self.subscribe();
    }

    pub(crate) fn stored_keys(&self) -> Vec<String> {
        self.store
            .keys()
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect()
    }

    pub(crate) fn store(&self) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.store
    }

    // ---- looking

    pub(crate) fn app(&self, app: &str) -> std::sync::Arc<App> {
        self.view()
            .apps
            .get(&id(app))
            .cloned()
            .expect("the app is there")
    }

    pub(crate) fn instances(&self, app: &str) -> Vec<std::sync::Arc<Instance>> {
        self.view()
            .apps
            .get(&id(app))
            .map(|app| app.instances.values().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn states(&self, app: &str) -> Vec<InstanceState> {
        self.instances(app)
            .iter()
            .map(|instance| instance.state.clone())
            .collect()
    }

    /// The instances of an app on the list, and whether they take sessions.
    pub(crate) fn backends(&self, app: &str) -> BTreeMap<TaskId, BackendState> {
        let backends = self.view().backends;
        let services = backends
            .services()
            .filter(|service| service.key.app == id(app));
        services
            .flat_map(|service| &service.backends)
            .map(|backend| (backend.task.clone(), backend.state))
            .collect()
    }

    pub(crate) fn task_ids(&self) -> Vec<TaskId> {
        self.tasks.keys().cloned().collect()
    }

    /// The types of the events since the last call.
    pub(crate) fn heard(&mut self) -> Vec<&'static str> {
        self.events
            .drain(..)
            .map(|event| event.type_name())
            .collect()
    }

    pub(crate) fn hosts(&self, app: &str) -> BTreeSet<String> {
        self.instances(app)
            .iter()
            .filter_map(|instance| Some(instance.place.as_ref()?.host.clone()))
            .collect()
    }
}

fn life(number: u8) -> Life {
    Life {
        seed: [number + 1; 32],
        epoch: format!("epoch-{number}"),
    }
}

pub(crate) fn agent(number: u8) -> AgentId {
    AgentId::new(format!("m-S{number}")).expect("good")
}

/// The question whether we leave an agent that drains.
pub(crate) fn question(number: u32, from: u8) -> InverseOffer {
    InverseOffer {
        id: OfferId::new(format!("m-O{number}")).expect("good"),
        framework: FrameworkId::new("f-0001").expect("good"),
        agent: agent(from),
        unavailability: Unavailability {
            start: NOON + Duration::from_secs(3_600),
            duration: None,
        },
        is_draining: true,
    }
}

/// The disk that volumes lie on, reserved as they are.
fn below(volumes: &Resources) -> Resources {
    let mut disk = Resources::none();
    for (tag, part) in volumes.parts() {
        let tag = Tag {
            volume: None,
            ..Tag::clone(tag)
        };
        disk.add_part(tag, part.clone());
    }
    disk
}

fn offer(number: u32, agent: AgentId, role: &str, resources: Resources) -> Offer {
    let host = agent.as_str().replace("m-S", "127.0.0.");
    Offer {
        id: OfferId::new(format!("m-O{number}")).expect("good"),
        framework: FrameworkId::new("f-0001").expect("good"),
        endpoint: Endpoint {
            hostname: host.clone(),
            ip: host,
            port: 5051,
        },
        agent,
        role: Role::new(role).expect("good"),
        resources,
        attributes: Attributes::new(),
        domain: None,
        unavailability: None,
    }
}

pub(crate) fn id(text: &str) -> AppId {
    AppId::new(text).expect("a good id")
}

/// An app with a command, a tenth of a CPU and one port.
pub(crate) fn app(text: &str, instances: u32) -> AppSpec {
    let mut spec = AppSpec::new(id(text));
    spec.cmd = Some("serve".to_owned());
    spec.cpus_milli = 100;
    spec.instances = instances;
    spec
}

/// The same with an HTTP check.
pub(crate) fn checked(text: &str, instances: u32) -> AppSpec {
    let mut spec = app(text, instances);
    spec.health_checks = vec![HealthCheckSpec::new(HealthProtocol::MesosHttp)];
    spec
}

/// The same with two checks that the framework runs.
pub(crate) fn checked_twice(text: &str, instances: u32) -> AppSpec {
    let mut spec = app(text, instances);
    let check = |protocol| HealthCheckSpec {
        interval: Duration::from_secs(10),
        grace_period: Duration::from_secs(30),
        ..HealthCheckSpec::new(protocol)
    };
    spec.health_checks = vec![check(HealthProtocol::Http), check(HealthProtocol::Tcp)];
    spec
}

/// An app whose instances run and are healthy, while the proxy `p` follows.
pub(crate) fn serving(spec: AppSpec) -> World {
    let mut world = World::new(3);
    world.acknowledge_all();
    world.create(spec);
    world.calm();
    world.heard();
    world
}

pub(crate) fn instance_of(task: &TaskId) -> InstanceId {
    InstanceId::parse(task.as_str()).expect("a task of ours")
}
