//! What a call leads to: tasks launched or refused, killed, told of. States and reasons are those of the real master.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_model::{
    AgentId, Capability, FrameworkId, FrameworkInfo, Offer, OfferId, Reason, Resources, Role,
    Source, TaskGroup, TaskId, TaskKey, TaskSpec, TaskState, TaskStatus, Timestamp, UpdateId,
};

use mete_placement::FrameworkFacts;
use mete_placement::demand::Shape;

use super::calls::{BadGroup, BadTask, Call};
use super::messages;
use super::offers::BadOffers;
use super::state::{Order, State};
use super::tasks::Task;

type Launch = Result<TaskSpec, BadTask>;
type LaunchGroup = Result<TaskGroup, BadGroup>;

impl State {
    /// What a subscribed framework says.
    pub(super) fn answer(&mut self, now: Timestamp, framework: &FrameworkId, call: Call) {
        match call {
            Call::Accept {
                offers,
                tasks,
                groups,
                refuse_for,
            } => self.accept(now, framework, &offers, (tasks, groups), refuse_for),
            Call::Decline { offers, refuse_for } => {
                for offer in offers {
                    self.offers.hand_back(now, framework, &offer, refuse_for);
                }
            }
            Call::Revive { roles } => {
                let roles = Some(&roles).filter(|roles| !roles.is_empty());
                self.offers.allocator.revive(framework, roles);
            }
            Call::Suppress { roles } => {
                let roles = Some(&roles).filter(|roles| !roles.is_empty());
                self.offers.allocator.suppress(framework, roles);
            }
            Call::Kill { task, agent, .. } => self.kill(now, framework, &task, agent),
            Call::Acknowledge { task, uuid, .. } => self.acknowledge(framework, task, uuid),
            Call::Reconcile { tasks } => self.reconcile(now, framework, tasks),
            Call::Demand(shapes) => self.demand(framework, shapes),
            Call::Update {
                info,
                suppressed,
                facts,
            } => self.update(framework, *info, &suppressed, *facts),
            Call::Teardown => self.tear_down(now, framework),
            Call::Subscribe { .. } => self.say(
                framework,
                messages::error("SUBSCRIBE is the first call only"),
            ),
            Call::Other(name) => {
                let why = format!("{name} is not carried by the test kit");
                self.say(framework, messages::error(&why));
            }
        }
    }

    fn demand(&mut self, framework: &FrameworkId, shapes: Vec<Shape>) {
        let known = self.frameworks.get(framework);
        let Some(known) = known else { return };
        let mut roles = shapes.iter().filter_map(|shape| shape.role.as_ref());
        if let Some(role) = roles.find(|role| !known.info.roles.contains(*role)) {
            let why =
                format!("DEMAND names role {role}, which is not one of the framework's roles");
            return self.say(framework, messages::error(&why));
        }
        self.offers.allocator.set_demand(framework, shapes);
    }

    /// Roles come; offers in those that go are not taken back, as the real master does.
    fn update(
        &mut self,
        framework: &FrameworkId,
        info: FrameworkInfo,
        suppressed: &BTreeSet<Role>,
        facts: FrameworkFacts,
    ) {
        if let Some(known) = self.frameworks.get_mut(framework) {
            known.info.roles = info.roles;
        }
        let allocator = &mut self.offers.allocator;
        allocator.update_framework(framework, facts);
        if suppressed.is_empty() {
            allocator.revive(framework, None);
        } else {
            allocator.suppress(framework, Some(suppressed));
        }
    }

    fn accept(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        named: &[OfferId],
        (launches, groups): (Vec<Launch>, Vec<LaunchGroup>),
        refuse_for: Duration,
    ) {
        let offers = match self.offers.usable(framework, named) {
            Ok(offers) => offers,
            Err(error) => {
                let tasks = ids(launches, groups);
                return self.refuse_accept(now, framework, named, tasks, &error);
            }
        };
        let (mut pool, mut units) = (Resources::none(), Vec::new());
        for offer in &offers {
            if let Some((_, theirs)) = self.offers.take(&offer.id) {
                units.extend(theirs);
            }
            pool.add(&offer.resources);
        }
        let mut launched = 0;
        for launch in launches {
            launched += u32::from(self.launch(now, framework, &offers[0], &mut pool, launch));
        }
        for group in groups {
            launched += self.launch_group(now, framework, &offers[0], &mut pool, group);
        }
        self.offers.give_back(now, &offers[0], &pool, refuse_for);
        self.offers.answered(&offers[0], &units, launched);
    }

    /// Every live offer that was named goes back, every task is answered, but for those that run already.
    fn refuse_accept(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        named: &[OfferId],
        tasks: Vec<TaskId>,
        error: &BadOffers,
    ) {
        for offer in named {
            self.offers.hand_back(now, framework, offer, Duration::ZERO);
        }
        for task in tasks {
            if self.tasks.contains_key(&key(framework, &task)) {
                continue;
            }
            let mut status = TaskStatus::new(task, TaskState::Dropped, Source::Master, now);
            status.reason = Some(Reason::InvalidOffers);
            status.message = Some(error.to_string());
            self.tell_by_master(framework, status);
        }
    }

    /// Whether it was launched.
    fn launch(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        offer: &Offer,
        pool: &mut Resources,
        launch: Launch,
    ) -> bool {
        let checked = launch.and_then(|spec| {
            let in_use = self.tasks.contains_key(&key(framework, &spec.id));
            fault(&spec, offer, pool, in_use)
                .map_or(Ok(spec.clone()), |why| Err(BadTask { task: spec.id, why }))
        });
        let spec = match checked {
            Ok(spec) => spec,
            Err(bad) => {
                let mut status = TaskStatus::new(bad.task, TaskState::Error, Source::Master, now);
                status.reason = Some(Reason::TaskInvalid);
                status.message = Some(bad.why);
                status.agent = Some(offer.agent.clone());
                self.tell_by_master(framework, status);
                return false;
            }
        };
        *pool = pool.minus_at_most(&spec.resources);
        self.offers
            .allocator
            .launched(&offer.agent, framework, &offer.role, &spec.resources);
        let key = key(framework, &spec.id);
        self.tasks
            .insert(key.clone(), Task::new(spec, offer.role.clone()));
        self.orders.push_back(Order::Start(key));
        true
    }

    fn kill(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        id: &TaskId,
        agent: Option<AgentId>,
    ) {
        let key = key(framework, id);
        let Some(task) = self.tasks.get(&key) else {
            return self.reconcile_one(now, framework, id, agent.as_ref());
        };
        if agent.is_some_and(|agent| agent != task.spec.agent) {
            return;
        }
        if task.told.is_terminal() || task.unreachable_since.is_some() {
            return self.reconcile_one(now, framework, id, None);
        }
        self.orders.push_back(Order::Kill(key));
    }

    fn acknowledge(&mut self, framework: &FrameworkId, task: TaskId, uuid: UpdateId) {
        let key = key(framework, &task);
        if let Some(task) = self.tasks.get_mut(&key) {
            task.acknowledge(uuid);
            if task.is_over() {
                self.tasks.remove(&key);
            }
        }
    }

    fn reconcile(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        named: Vec<(TaskId, Option<AgentId>)>,
    ) {
        if !named.is_empty() {
            for (task, agent) in named {
                self.reconcile_one(now, framework, &task, agent.as_ref());
            }
            return;
        }
        let theirs = self.tasks.keys().filter(|key| key.framework == *framework);
        for task in theirs.map(|key| key.task.clone()).collect::<Vec<_>>() {
            self.reconcile_one(now, framework, &task, None);
        }
    }

    fn reconcile_one(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        id: &TaskId,
        agent: Option<&AgentId>,
    ) {
        let known = self.tasks.get(&key(framework, id));
        let mut status = known.map_or_else(
            || {
                let is_here = agent.is_some_and(|agent| self.agents.contains_key(agent));
                let state = if is_here {
                    TaskState::Gone
                } else {
                    TaskState::Unknown
                };
                TaskStatus {
                    agent: agent.cloned(),
                    ..TaskStatus::new(id.clone(), state, Source::Master, now)
                }
            },
            |task| task.as_known(now),
        );
        status.reason = Some(Reason::Reconciliation);
        self.tell_by_master(framework, status);
    }

    /// Withdraws an offer and says so; false when it is not on the table.
    pub(super) fn rescind(&mut self, now: Timestamp, id: &OfferId, away_for: Duration) -> bool {
        let Some((offer, units)) = self.offers.take(id) else {
            return false;
        };
        self.offers
            .give_back(now, &offer, &offer.resources, away_for);
        self.offers.answered(&offer, &units, 0);
        self.say(&offer.framework, messages::rescind(id));
        true
    }

    /// News by the master itself: said once. Frameworks of the old kind know LOST for all kinds of loss.
    pub(super) fn tell_by_master(&mut self, framework: &FrameworkId, mut status: TaskStatus) {
        if !self.can(framework, Capability::PartitionAware) && is_a_loss(status.state) {
            status.state = TaskState::Lost;
        }
        self.tell(framework, &status);
    }

    pub(super) fn can(&self, framework: &FrameworkId, capability: Capability) -> bool {
        self.frameworks
            .get(framework)
            .is_some_and(|known| known.info.can(capability))
    }
}

/// Every task that was to be launched.
fn ids(launches: Vec<Launch>, groups: Vec<LaunchGroup>) -> Vec<TaskId> {
    let alone = launches.into_iter().map(|launch| match launch {
        Ok(spec) => spec.id,
        Err(bad) => bad.task,
    });
    let together = groups.into_iter().flat_map(|group| match group {
        Ok(group) => group.tasks.into_iter().map(|spec| spec.id).collect(),
        Err(bad) => bad.tasks,
    });
    alone.chain(together).collect()
}

/// Why a task cannot be launched on what is left of an offer.
pub(super) fn fault(
    spec: &TaskSpec,
    offer: &Offer,
    pool: &Resources,
    in_use: bool,
) -> Option<String> {
    let id = &spec.id;
    if in_use {
        return Some(format!("task id {id} is in use by a task that is not over"));
    }
    if spec.agent != offer.agent {
        let (named, offered) = (&spec.agent, &offer.agent);
        return Some(format!(
            "task {id} names agent {named}, the offers are of {offered}"
        ));
    }
    if spec.resources.is_empty() {
        return Some(format!("task {id} asks for no resources"));
    }
    let shortages = pool.shortages(&spec.resources).join(", ");
    (!shortages.is_empty())
        .then(|| format!("task {id} asks for more than the offers hold: {shortages}"))
}

const fn is_a_loss(state: TaskState) -> bool {
    match state {
        TaskState::Dropped
        | TaskState::Unreachable
        | TaskState::Gone
        | TaskState::GoneByOperator
        | TaskState::Unknown => true,
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Finished
        | TaskState::Failed
        | TaskState::Killed
        | TaskState::Error
        | TaskState::Lost => false,
    }
}

pub(super) fn key(framework: &FrameworkId, task: &TaskId) -> TaskKey {
    TaskKey {
        framework: framework.clone(),
        task: task.clone(),
    }
}
