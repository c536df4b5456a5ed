//! The whole state, and `step`.
//!
//! Every input changes what it is about and marks the apps it touched; then `settle` asks of each touched app what is
//! the next thing to do, moves deployments on, and brings queue and healthy-task list up to date. So no transition has
//! to think of all that may follow from it.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::machine::{Effects, Machine, Timestamp};
use mete_model::{AgentId, FrameworkId, Role, TaskId};
use mete_placement::Policy;

use crate::backends::{self, Backends};
use crate::effects::{Action, Reply};
use crate::events::{Event, Happening};
use crate::input::Input;
use crate::random::Random;
use crate::record::{BadRecord, Record};
use crate::spec::app::{AppId, AppSpec};
use crate::state::apps::Apps;
use crate::state::demand::Demand;
use crate::state::deployments::Deployments;
use crate::state::groups::Groups;
use crate::state::instances::{Instance, InstanceId, InstanceState};
use crate::state::launch_queue::LaunchQueue;
use crate::state::leaving::Leaving;
use crate::state::master::Master;
use crate::state::probes::Probes;
use crate::state::proxies::Proxies;
use crate::state::releases::Releases;
use crate::state::roles::Roles;
use crate::transitions::Killing;
use crate::view::View;

/// What the operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The role of apps that have no other.
    pub role: String,
    /// The first service port that may be given (10000).
    pub first_service_port: u16,
    /// The last one, included (20000).
    pub last_service_port: u16,
    /// An instance that drains is killed after this time at the latest (10 s).
    pub drain_deadline: Duration,
    /// Offers of no use are not wanted again for so long (120 s).
    pub decline: Duration,
    /// Which of several offers an instance takes (spread: the instances of an app should not go down together).
    pub policy: Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            role: "*".to_owned(),
            first_service_port: 10_000,
            last_service_port: 20_000,
            drain_deadline: Duration::from_secs(10),
            decline: Duration::from_secs(120),
            policy: Policy::Spread,
        }
    }
}

/// What is new at each start: randomness and the name of this life. Given by the shell, since cores have neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Thirty-two random bytes: ids and choices of ports come from them.
    pub seed: [u8; 32],
    /// The epoch of the healthy-task list: a new UUID.
    pub epoch: String,
}

/// The part of the service framework that decides.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    pub(crate) settings: Settings,
    pub(crate) random: Random,
    pub(crate) apps: Apps,
    pub(crate) groups: Groups,
    pub(crate) deployments: Deployments,
    pub(crate) queue: LaunchQueue,
    pub(crate) demand: Demand,
    pub(crate) backends: Backends,
    pub(crate) probes: Probes,
    pub(crate) proxies: Proxies,
    pub(crate) leaving: Leaving,
    pub(crate) releases: Releases,
    pub(crate) roles: Roles,
    pub(crate) master: Master,
    /// The version given out last.
    pub(crate) last_version: Timestamp,
    /// Apps something happened to, not settled yet.
    pub(crate) touched: BTreeSet<AppId>,
    /// Apps whose part of the healthy-task list is not up to date.
    pub(crate) unlisted: BTreeSet<AppId>,
    /// Whether what was under way before a restart has been taken up again.
    pub(crate) is_resumed: bool,
}

impl Orchestrator {
    /// Rebuilds the state from what the store holds; with nothing in it, everything begins. The healthy-task list
    /// holds what was healthy before the restart from the start.
    ///
    /// # Errors
    /// [`BadRecord`] names the entry that cannot be read.
    pub fn recover(
        settings: Settings,
        life: &Life,
        now: Timestamp,
        entries: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, BadRecord> {
        let mut orchestrator = Self {
            settings,
            random: Random::new(life.seed),
            apps: Apps::default(),
            groups: Groups::default(),
            deployments: Deployments::default(),
            queue: LaunchQueue::default(),
            demand: Demand::default(),
            backends: Backends::new(&life.epoch),
            probes: Probes::default(),
            proxies: Proxies::default(),
            leaving: Leaving::default(),
            releases: Releases::default(),
            roles: Roles::default(),
            master: Master::default(),
            last_version: Timestamp::EPOCH,
            touched: BTreeSet::new(),
            unlisted: BTreeSet::new(),
            is_resumed: false,
        };
        orchestrator.take_back(now, crate::record::read(entries)?);
        Ok(orchestrator)
    }

    /// Our id from before the restart, to subscribe with.
    pub const fn framework(&self) -> Option<&FrameworkId> {
        self.master.framework.as_ref()
    }

    /// The roles to subscribe in.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.all()
    }

    /// The role in which an app takes resources.
    pub(crate) fn role_of(&self, spec: &AppSpec) -> Role {
        let role = spec.role.as_deref().unwrap_or(&self.settings.role);
        Role::new(role).unwrap_or_default() // checked with the settings, and with the app
    }

    /// What the operator has set.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A version that was never given out: now, to the millisecond, or as soon after as is free.
    pub(crate) fn stamp(&mut self, now: Timestamp) -> Timestamp {
        let earliest = self.last_version + Duration::from_millis(1);
        self.last_version = Timestamp::from_millis(now.as_millis()).max(earliest);
        self.last_version
    }

    /// Changes an instance: stores it, tells subscribers when its condition changed, marks its app.
    pub(crate) fn edit_instance(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        out: &mut Effects<Self>,
        change: impl FnOnce(&mut Instance),
    ) {
        let Some(before) = self.apps.instance(id) else {
            return;
        };
        let (state, condition) = (before.state.clone(), before.condition());
        let listed = backends::backend_state(before);
        let mut instance = (**before).clone();
        change(&mut instance);
        if std::mem::discriminant(&state) != std::mem::discriminant(&instance.state) {
            instance.since = now;
        }
        let instance = self.apps.put(instance);
        self.probes.follow(&instance, |_| now);
        if instance.is_placed() {
            out.store.push(Record::Instance(instance.clone()));
        }
        if instance.condition() != condition {
            publish(now, out, changed(&instance, instance.condition()));
        }
        if backends::backend_state(&instance) != listed {
            self.unlisted.insert(instance.app().clone());
        }
        self.touched.insert(instance.app().clone());
    }

    /// Forgets an instance: it has ended, or never began.
    pub(crate) fn end_instance(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        condition: &'static str,
        out: &mut Effects<Self>,
    ) {
        let Some(instance) = self.apps.take(id) else {
            return;
        };
        self.probes.forget(id);
        if let Some(place) = instance.place.as_ref().filter(|_| instance.is_leaving) {
            self.leaving.ended(&place.agent, id);
        }
        if instance.is_placed() {
            out.store.push(Record::InstanceRemoved(id.clone()));
            publish(now, out, changed(&instance, condition));
            // What it stood in the way of may fit now, also on offers that were declined.
            self.master.wants_revive = true;
        }
        if backends::backend_state(&instance).is_some() {
            self.unlisted.insert(instance.app().clone());
        }
        self.touched.insert(instance.app().clone());
    }

    /// Sends a kill of each of its tasks that has not ended, or sends it again.
    pub(crate) fn send_kill(&self, instance: &Instance, out: &mut Effects<Self>) {
        let agent = instance.place.as_ref().map(|place| place.agent.clone());
        let tasks = instance.tasks().into_iter();
        out.act
            .extend(tasks.map(|(task, grace)| kill(task, agent.clone(), grace)));
    }

    /// What one input brings with it, and the answer to whoever waits for one.
    fn hear(&mut self, now: Timestamp, input: Input, out: &mut Effects<Self>) -> Option<Reply> {
        match input {
            Input::Change(change) => return Some(self.change(now, change, out)),
            Input::DryRun(wanted) => return Some(self.dry_run(now, wanted)),
            Input::KillInstances {
                instances,
                scale,
                force,
                wipe,
            } => {
                let how = Killing { scale, force, wipe };
                return Some(self.kill_instances(now, &instances, how, out));
            }
            Input::CancelDeployment { id, force } => {
                return Some(self.cancel_deployment(now, &id, force, out));
            }
            Input::ResetDelay { app } => return Some(self.reset_delay(&app)),
            Input::ProxyAck(ack) => return Some(self.proxy_ack(now, ack, out)),
            Input::Subscribed {
                framework,
                master,
                region,
            } => {
                self.master.region = region;
                self.subscribed(now, framework, master, out);
            }
            Input::Disconnected => self.disconnected(now, out),
            Input::Removed => return Some(self.removed(now, out)),
            Input::Offers(offers) => self.offers(now, offers, out),
            Input::InverseOffers(questions) => self.asked_to_leave(now, questions, out),
            Input::RescindInverse(question) => {
                // Why is not said; whether the agent drains on is seen by its offers, or by another question.
                self.leaving.withdraw(&question);
            }
            Input::Update(status) => self.update(now, status, out),
            Input::Operated(done) => self.operated(done, out),
            Input::Reserved(all) => self.found_reserved(now, all, out),
            Input::Probed {
                instance,
                check,
                answer,
            } => self.probed(now, &instance, check, answer, out),
            Input::AgentLost(agent) => self.agent_lost(&agent, out),
            Input::Deadline => self.deadline(now, out),
            // Offers are used or declined in the step they come in, so there is none to take back; what was launched
            // with it too late comes back as a report.
            Input::Rescind(_) | Input::Failure(_) => {}
        }
        None
    }
}

impl Machine for Orchestrator {
    type Input = Input;
    type Record = Record;
    type Action = Action;
    type Reply = Reply;
    type View = View;

    fn step(&mut self, now: Timestamp, input: Input) -> Effects<Self> {
        let mut out = Effects::none();
        self.resume(now, &mut out);
        self.forget_silent_proxies(now, &mut out);
        out.reply = self.hear(now, input, &mut out);
        self.settle(now, &mut out);
        out
    }

    fn deadline_input() -> Input {
        Input::Deadline
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        if !self.is_resumed {
            return Some(Timestamp::EPOCH);
        }
        let proxies = self.proxies.next_deadline();
        let deadlines = [
            self.apps.next_deadline(),
            self.queue.next_deadline(),
            self.probes.next_deadline(),
            proxies,
            self.master.next_deadline(),
            self.releases.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    fn view(&self) -> View {
        View {
            apps: self.apps.shared(),
            groups: self.groups.clone(),
            deployments: self.deployments.shared(),
            queue: self.queue.shared(),
            backends: self.backends.clone(),
            proxies: self.proxies.shared(),
            framework: self.master.framework.clone(),
            master: self.master.address.clone(),
            connected: self.master.is_connected,
        }
    }
}

/// Tells subscribers.
pub(crate) fn publish(now: Timestamp, out: &mut Effects<Orchestrator>, what: Happening) {
    out.act.push(Action::Publish(Event { at: now, what }));
}

pub(crate) const fn kill(task: TaskId, agent: Option<AgentId>, grace: Option<Duration>) -> Action {
    Action::Kill { task, agent, grace }
}

pub(crate) fn changed(instance: &Instance, condition: &'static str) -> Happening {
    Happening::InstanceChanged {
        instance: instance.id.clone(),
        condition,
        app: instance.app().clone(),
        version: instance.version.version,
        agent: instance.place.as_ref().map(|place| place.agent.clone()),
        host: instance.place.as_ref().map(|place| place.host.clone()),
    }
}

/// Whether an instance takes part in the healthy-task list as a target of new sessions.
pub(crate) fn takes_sessions(instance: &Instance) -> bool {
    matches!(instance.state, InstanceState::Running { .. })
        && instance.is_ready()
        && instance
            .version
            .spec
            .ports()
            .any(|definition| definition.port != 0)
}
