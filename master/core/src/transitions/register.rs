//! An agent comes, or comes back with its tasks. What it says of them is authoritative: one that the master knew and the
//! agent does not is dropped, one that the master did not know is taken in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use mete_model::{
    AgentId, Endpoint, FrameworkId, FrameworkInfo, Reason, Resources, Role, TaskKey, TaskState,
    TaskStatus, Timestamp,
};
use mete_placement::AgentFacts;
use tracing::{debug, info, warn};

use crate::cluster::{Cluster, Out};
use crate::effects::{Action, MessageToAgent, Reply};
use crate::input::{AgentTask, LinkId, Registration, Update};
use crate::registry::Record;
use crate::state::agents::{Admission, Agent, Pings, Reach};
use crate::state::deadlines::Due;
use crate::state::frameworks::{Framework, Life, OfferRules};
use crate::state::schedule::MachineId;
use crate::state::tasks::{self, Task};
use crate::transitions::loss::{DOWN, GONE};
use crate::transitions::reshape::make_again;

/// Why an agent is not let in. It gets the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum RegisterError {
    #[error("agent {agent}: {GONE}")]
    Gone { agent: AgentId },
    #[error("machine {machine}: {DOWN}")]
    MachineDown { machine: MachineId },
    #[error("agent {agent} at {other} is connected; do two agents use one work directory?")]
    TwoOfOneId { agent: AgentId, other: Endpoint },
    #[error(
        "the agent has obeyed epoch {obeyed}; this master is of epoch {own} and has been replaced"
    )]
    OldMaster { obeyed: u64, own: u64 },
    #[error(
        "agent {agent} comes back with less than what is reserved on it, or made volumes, is made of: {missing}; start it with what it had before, or mark it gone"
    )]
    Shrunk { agent: AgentId, missing: String },
}

impl Cluster {
    pub(crate) fn register_agent(
        &mut self,
        now: Timestamp,
        registration: Registration,
        out: &mut Out,
    ) {
        let resources = match self.may_register(&registration) {
            Ok(resources) => resources,
            Err(error) => return self.refuse_agent(registration.link, &error, out),
        };
        let id = match &registration.id {
            Some(id) => id.clone(),
            None => {
                self.succeed(now, &registration.info.endpoint, out);
                self.agents.new_id(&self.settings.incarnation)
            }
        };
        let executors_before = self.executors.custom_on(&id);
        self.leave_old_link(now, &id, out);
        let mut registration = registration;
        registration.info.resources = resources;
        let brought = std::mem::take(&mut registration.tasks);
        let executors = std::mem::take(&mut registration.executors);
        let exited = std::mem::take(&mut registration.exited);
        let frameworks = std::mem::take(&mut registration.frameworks);
        let unacknowledged = std::mem::take(&mut registration.unacknowledged);
        let outdated = self.outdated(&frameworks);
        self.drop_missing(now, &id, &brought, out);
        let before = self.agents.get(&id);
        let was_unreachable =
            before.is_some_and(|agent| matches!(agent.reach, Reach::Unreachable { .. }));
        self.admit(now, &id, registration, out);
        self.take_in_frameworks(now, frameworks, &brought);
        let message = MessageToAgent::Registered { agent: id.clone() };
        self.tell_agent(&id, message, out);
        for framework in outdated {
            self.tell_agent(&id, MessageToAgent::UpdateFramework { framework }, out);
        }
        let newcomer = Newcomer {
            agent: &id,
            was_unreachable,
            drains: self
                .agents
                .get(&id)
                .is_some_and(|agent| agent.drain().is_some()),
        };
        self.take_in_tasks(now, &newcomer, brought, out);
        self.take_in_executors(&id, executors, out);
        self.tell_missed_exits(&id, executors_before, exited, out);
        self.take_first_updates(&id, unacknowledged, out);
        self.erase_again(&id, out);
        self.settle_drain(now, &id, out);
        self.no_longer_awaited(&id);
        out.reply = Some(Reply::Registered(id));
    }

    /// The agent's resources, with what the master has made of them.
    fn may_register(&self, registration: &Registration) -> Result<Resources, RegisterError> {
        if registration.obeyed_epoch > self.settings.epoch {
            return Err(RegisterError::OldMaster {
                obeyed: registration.obeyed_epoch,
                own: self.settings.epoch,
            });
        }
        let known = registration.id.as_ref().and_then(|id| self.agents.get(id));
        if let Some(agent) = known.filter(|agent| agent.is_gone()) {
            let agent = agent.id.clone();
            return Err(RegisterError::Gone { agent });
        }
        if let Some(machine) = self.schedule.down_machine(&registration.info.endpoint) {
            let machine = machine.clone();
            return Err(RegisterError::MachineDown { machine });
        }
        let has = registration.info.resources.as_the_agent_has_it();
        let Some(agent) = known else {
            return Ok(has.with_devices());
        };
        if agent.link().is_some() && agent.info.endpoint != registration.info.endpoint {
            return Err(RegisterError::TwoOfOneId {
                agent: agent.id.clone(),
                other: agent.info.endpoint.clone(),
            });
        }
        let made = agent.info.resources.made_at_run_time();
        make_again(has, &made).map_err(|missing| RegisterError::Shrunk {
            agent: agent.id.clone(),
            missing,
        })
    }

    /// One that nobody hears of will not come back when a new one begins where it was (as in Mesos): its work directory was
    /// lost, and its tasks with it.
    fn succeed(&mut self, now: Timestamp, place: &Endpoint, out: &mut Out) {
        let all_are_heard_of = self.agents.all.len() == self.agents.pings.len();
        if all_are_heard_of {
            return;
        }
        let was_there = |agent: &&Arc<Agent>| match agent.reach {
            Reach::Recovered { .. } | Reach::Disconnected { .. } => agent.info.endpoint == *place,
            Reach::Registered { .. } | Reach::Unreachable { .. } => false,
        };
        let before = self.agents.all.values().filter(was_there);
        let before: Vec<AgentId> = before.map(|agent| agent.id.clone()).collect();
        for id in before {
            self.mark_unreachable(now, &id, "another agent has begun at its address", out);
        }
    }

    fn refuse_agent(&mut self, link: LinkId, error: &RegisterError, out: &mut Out) {
        warn!(%error, "agent not let in");
        self.count().agents_refused += 1;
        let reason = error.to_string();
        let (permanent, ends) = match error {
            RegisterError::Gone { .. } => (true, true),
            RegisterError::MachineDown { .. } => (false, true),
            // Its tasks run on: it comes back with what it had.
            RegisterError::Shrunk { .. } => (true, false),
            RegisterError::TwoOfOneId { .. } | RegisterError::OldMaster { .. } => (false, false),
        };
        out.reply = Some(Reply::Refused(reason.clone()));
        if ends {
            // Its tasks were reported gone: they must not run on.
            let reason = reason.clone();
            let message = MessageToAgent::Shutdown { reason };
            out.act.push(Action::ToAgent { link, message });
        }
        let message = MessageToAgent::Refused { reason, permanent };
        out.act.push(Action::ToAgent { link, message });
        out.act.push(Action::Close { link });
    }

    /// The stream that the agent had is closed, what was on offer on it withdrawn: the whole agent is looked at anew.
    fn leave_old_link(&mut self, now: Timestamp, id: &AgentId, out: &mut Out) {
        if let Some(link) = self.agents.get(id).and_then(|agent| agent.link()) {
            out.act.push(Action::Close { link });
        }
        self.rescind_of_agent(now, id, out);
        self.deadlines.clear(&Due::Return(id.clone()));
        self.deadlines.clear(&Due::Forget(id.clone()));
        self.allocator.remove_agent(id);
        self.executors.forget_agent(id);
    }

    /// The agent is in: known, on disk if something of that is new, pinged, its resources free to be offered.
    fn admit(&mut self, now: Timestamp, id: &AgentId, registration: Registration, out: &mut Out) {
        let known = self.agents.get(id).cloned();
        let agent = Agent {
            id: id.clone(),
            info: registration.info,
            version: registration.version,
            boot_id: registration.boot_id,
            reach: Reach::Registered {
                link: registration.link,
            },
            admission: known
                .as_ref()
                .map_or(Admission::Active, |known| known.admission),
            registered_at: known.as_ref().map_or(now, |known| known.registered_at),
            reregistered_at: known.as_ref().map(|_| now),
        };
        match &known {
            Some(_) => self.count().agent_returns += 1,
            None => self.count().agent_registrations += 1,
        }
        info!(agent = %id, endpoint = %agent.info.endpoint, returned = known.is_some(), resources = %agent.info.resources, "agent registered");
        let record = agent.record();
        if known.map(|known| known.record()).as_ref() != Some(&record) {
            out.store.push(Record::Agent(record));
        }
        let (resources, attributes) = (agent.info.resources.clone(), agent.info.attributes.clone());
        let facts = AgentFacts {
            total: resources,
            attributes,
            hostname: agent.info.endpoint.hostname.clone(),
            domain: agent.info.domain.clone(),
        };
        self.allocator.add_agent(id.clone(), facts);
        if agent.drain().is_some() || !agent.info.resources.made_at_run_time().is_empty() {
            self.agents.restated.insert(id.clone());
        }
        self.agents.all.insert(id.clone(), Arc::new(agent));
        self.tell_allocator(id);
        self.plan_agent(now, id, out);
        self.agents.pings.insert(id.clone(), Pings::default());
        let first = now + self.settings.ping_interval;
        self.deadlines.set(Due::Ping(id.clone()), first);
    }

    /// What frameworks say of themselves now that said other things when an agent heard of them.
    fn outdated(&self, brought: &[FrameworkInfo]) -> Vec<Arc<FrameworkInfo>> {
        let now = brought.iter().filter_map(|info| {
            let known = self.frameworks.get(info.id.as_ref()?)?;
            let differs = *known.info != *info && !known.is_nameless() && !known.is_completed();
            differs.then(|| Arc::clone(&known.info))
        });
        now.collect()
    }

    /// Frameworks that this master has not heard of yet, so that their tasks have an owner.
    fn take_in_frameworks(
        &mut self,
        now: Timestamp,
        frameworks: Vec<FrameworkInfo>,
        brought: &[AgentTask],
    ) {
        let mut infos = BTreeMap::new();
        for info in frameworks {
            if let Some(id) = info.id.clone() {
                infos.insert(id, info);
            }
        }
        for task in brought {
            // An agent says who its tasks belong to; one that does not is served as far as that goes.
            infos
                .entry(task.framework.clone())
                .or_insert_with(|| nameless(&task.framework, task.role.clone()));
        }
        for (id, info) in infos {
            if self.frameworks.get(&id).is_none() {
                self.take_in_framework(now, id, info);
            }
        }
    }

    fn take_in_framework(&mut self, now: Timestamp, id: FrameworkId, info: FrameworkInfo) {
        let grace = self.settings.recovered_framework_grace;
        let until = now + info.failover_timeout.max(grace);
        let torn_down = self.torn_down.get(&id).copied();
        info!(framework = %id, name = info.name, torn_down = torn_down.is_some(), "framework known from its tasks");
        let life = match torn_down {
            Some(at) => Life::Completed { at },
            None => {
                self.deadlines.set(Due::Failover(id.clone()), until);
                Life::Disconnected {
                    until,
                    recovered: true,
                }
            }
        };
        let framework = Framework {
            id: id.clone(),
            info: Arc::new(info),
            checkpoint: true, // Its tasks have outlived a master.
            life,
            suppressed: BTreeSet::new(),
            rules: OfferRules::default(),
            demand: [].into(),
            registered_at: now,
            reregistered_at: None,
        };
        self.frameworks.all.insert(id, Arc::new(framework));
    }

    /// Takes in what the agent brings, each task once.
    fn take_in_tasks(
        &mut self,
        now: Timestamp,
        newcomer: &Newcomer<'_>,
        brought: Vec<AgentTask>,
        out: &mut Out,
    ) {
        let mut seen = BTreeSet::new();
        for task in brought {
            let known = self.frameworks.get(&task.framework);
            let framework = known.map_or(&task.framework, |known| &known.id);
            let key = tasks::key(framework, &task.task);
            if seen.insert(key.clone()) {
                self.take_in_task(now, newcomer, &key, task, out);
            }
        }
    }

    /// Takes in one task. One whose framework was removed is to end.
    fn take_in_task(
        &mut self,
        now: Timestamp,
        newcomer: &Newcomer<'_>,
        key: &TaskKey,
        brought: AgentTask,
        out: &mut Out,
    ) {
        let (agent, known) = (newcomer.agent, self.tasks.get(key));
        let is_known = known.is_some();
        if let Some(other) = known.filter(|task| task.agent != *agent) {
            warn!(task = %key, %agent, other = %other.agent, "task runs on two agents; the newcomer is killed");
            return self.kill_twin(agent, key, out);
        }
        let is_over = brought.status.state.is_terminal();
        if is_over && !is_known && self.tasks.was_ended_by_master(agent, key) {
            return; // An end that was told stays told.
        }
        let executor = brought.executor.clone();
        let resumed = if is_known {
            self.settle_state(key, brought.status)
        } else {
            self.take_in_unknown(agent, key, brought);
            // A master that was restarted since does not know of which tasks it was told that they cannot be reached.
            newcomer.was_unreachable && !is_over
        };
        let Some(task) = self.tasks.get(key).map(Arc::clone) else {
            return;
        };
        if task.holds_resources() {
            let (role, resources) = (&task.role, &task.spec.resources);
            self.allocator.claim(agent, &key.framework, role, resources);
            if let Some(executor) = &executor {
                self.claim_executor(agent, key, role, executor);
            }
        }
        if resumed {
            let mut status = task.status_by_master(now);
            status.reason = Some(Reason::AgentReregistered);
            status.message = Some(format!("agent {agent} is back"));
            self.answer(&key.framework, status, out);
        }
        let framework = self.frameworks.get(&key.framework);
        if framework.is_some_and(|framework| framework.is_completed()) {
            self.orphan(now, key, out);
        } else if task.is_to_end() {
            self.tell_kill(now, key, out);
        } else if newcomer.drains {
            self.kill_to_drain(now, key, out);
        }
    }

    /// A task of which this master has not heard.
    fn take_in_unknown(&mut self, agent: &AgentId, key: &TaskKey, brought: AgentTask) {
        let AgentTask {
            mut brief,
            role,
            status,
            executor,
            ..
        } = brought;
        let role = match role {
            Some(role) => self.role_as_known(&key.framework, role),
            None => self.only_role(&key.framework),
        };
        if let Some(agent) = self.agents.get(agent) {
            brief.resources = brief.resources.with_volumes_as_in(&agent.info.resources);
        }
        let executor = executor.as_deref();
        let mut task = Task::new(key.clone(), agent.clone(), role, executor, brief);
        task.state = status.state;
        task.note(status);
        // Of these there may be a hundred thousand in a second.
        debug!(task = %key, %agent, state = %task.state, "task taken in");
        self.tasks.insert(task);
    }

    /// Puts a task where its agent says it is; true when it was unreachable and lives.
    fn settle_state(&mut self, key: &TaskKey, status: TaskStatus) -> bool {
        let Some(task) = self.tasks.get_mut(key) else {
            return false;
        };
        let was = task.state;
        if was.is_terminal() {
            return false; // An end that was told stays told; its update is not acknowledged yet.
        }
        task.state = status.state;
        let status = task.note(status);
        if status.state.is_terminal() {
            self.count().task_ended(status.state, &status);
            return false;
        }
        was == TaskState::Unreachable
    }

    /// One text for a role that the framework names, too.
    fn role_as_known(&self, framework: &FrameworkId, role: Role) -> Role {
        let framework = self.frameworks.get(framework);
        let known = framework.and_then(|framework| framework.info.roles.get(&role));
        known.cloned().unwrap_or(role)
    }

    /// The role of a task that does not say it.
    pub(super) fn only_role(&self, framework: &FrameworkId) -> Role {
        let framework = self.frameworks.get(framework);
        framework
            .and_then(|framework| framework.info.roles.first().cloned())
            .unwrap_or_default()
    }

    fn kill_twin(&self, agent: &AgentId, key: &TaskKey, out: &mut Out) {
        let message = MessageToAgent::KillTask {
            framework: key.framework.clone(),
            task: key.task.clone(),
            grace_period: None,
        };
        self.tell_agent(agent, message, out);
    }

    /// Ends the tasks that the agent does not know: they never reached it, or are over and acknowledged. This comes before
    /// the agent's resources are free again, so that nothing is released twice.
    fn drop_missing(
        &mut self,
        now: Timestamp,
        agent: &AgentId,
        brought: &[AgentTask],
        out: &mut Out,
    ) {
        if self.tasks.is_none_on(agent) {
            return;
        }
        let there: BTreeSet<TaskKey> = brought
            .iter()
            .map(|task| tasks::key(&task.framework, &task.task))
            .collect();
        for key in self.tasks.of_agent(agent) {
            if there.contains(&key) {
                continue;
            }
            let framework = self.frameworks.get(&key.framework);
            if framework.is_none_or(|framework| framework.is_completed()) {
                self.end_orphan(now, &key, out);
            } else {
                let end = (TaskState::Dropped, Reason::Reconciliation);
                self.end_task(now, &key, end, "the agent does not know the task", out);
            }
        }
    }

    /// Of each task the first update that nobody has acknowledged; the agent sends the next when it is.
    fn take_first_updates(&mut self, agent: &AgentId, updates: Vec<Update>, out: &mut Out) {
        let mut seen = BTreeSet::new();
        for update in updates {
            if seen.insert(tasks::key(&update.framework, &update.status.task)) {
                self.count().updates_received += 1;
                self.take_update(agent, update, out);
            }
        }
    }
}

/// An agent that has just been let in, with what it brings.
struct Newcomer<'a> {
    agent: &'a AgentId,
    /// Its frameworks may have been told that it could not be reached.
    was_unreachable: bool,
    /// Its tasks are to end.
    drains: bool,
}

/// A framework of which nothing is known but that it has tasks.
fn nameless(id: &FrameworkId, role: Option<Role>) -> FrameworkInfo {
    FrameworkInfo {
        id: Some(id.clone()),
        name: String::new(),
        user: String::new(),
        roles: BTreeSet::from([role.unwrap_or_default()]),
        capabilities: BTreeSet::new(),
        failover_timeout: std::time::Duration::ZERO,
        principal: None,
        hostname: String::new(),
        webui_url: None,
        original: Bytes::new(),
    }
}
