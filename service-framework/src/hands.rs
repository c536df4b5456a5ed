//! Carries actions out: calls to the master, questions to instances, events to subscribers. Starts the work and returns.
//!
//! A call that cannot be made because there is no connection needs no word to the core: the link tells it
//! `Disconnected`, and with the next `Subscribed` it asks anew for what matters (launches by reconciliation, kills by
//! repetition, updates come again until acknowledged, wanting offers or not is remembered by the SDK).

use mete_daemon::clock;
use mete_daemon::event_loop::{Handle, Hands};
use mete_framework_sdk::{
    CallError, Client, Filters, Group, OfferId, Operation, OperationId, Order, Task, TaskPort,
};
use mete_model::container::{Login, MountSource};
use mete_model::{AgentId, Reason, Source, TaskId, TaskSpec, TaskState, TaskStatus};
use mete_service_framework_core::spec::size::MAX_SECRETS_BYTES;
use mete_service_framework_core::state::instances::InstanceId;
use mete_service_framework_core::{Action, Input, Kept, Launch, LaunchGroup, Orchestrator};
use std::time::Duration;
use tracing::{debug, warn};

use crate::http::Subscribers;
use crate::log;
use crate::offers::Table;
use crate::probes::Probes;
use crate::reserved::Reserved;
use crate::secrets::{Fetched, Secrets};

/// The hands of the service framework.
pub(crate) struct ServiceHands {
    pub(crate) client: Client,
    pub(crate) table: Table,
    pub(crate) subscribers: Subscribers,
    pub(crate) probes: Probes,
    pub(crate) reserved: Reserved,
    pub(crate) secrets: Secrets,
    pub(crate) handle: Handle<Orchestrator>,
}

impl Hands<Action> for ServiceHands {
    fn act(&mut self, action: Action) {
        let (name, done) = match action {
            Action::Accept {
                offers,
                release,
                reserve,
                launches,
                groups,
                refuse,
            } => {
                let kept = kept(reserve).map(Order::from);
                let first = given_back(release).chain(kept).collect();
                return self.accept(&offers, first, launches, groups, refuse);
            }
            Action::Decline { offers, refuse } => {
                self.table.take(&offers);
                let filters = Filters::refuse_for(refuse);
                ("decline", self.client.decline(&offers, filters))
            }
            Action::AcceptInverse(questions) => (
                "accept_inverse_offers",
                self.client.accept_inverse(&questions),
            ),
            Action::Roles(roles) => ("update_framework", self.client.set_roles(&roles)),
            Action::Demand(shapes) => {
                self.client.demand(shapes);
                return;
            }
            Action::Revive => ("revive", self.client.revive()),
            Action::Suppress => ("suppress", self.client.suppress()),
            Action::Kill { task, agent, grace } => {
                ("kill", self.client.kill(&task, agent.as_ref(), grace))
            }
            Action::Acknowledge { task, agent, uuid } => (
                "acknowledge",
                self.client.acknowledge_update(&agent, &task, uuid),
            ),
            Action::AcknowledgeOperation(done) => (
                "acknowledge_operation_status",
                self.client
                    .acknowledge_operation_update(&done.agent, &done.operation, done.uuid),
            ),
            Action::Reconcile { tasks } => {
                let tasks = tasks.iter().map(|(task, agent)| (task, agent.as_ref()));
                ("reconcile", self.client.reconcile(tasks))
            }
            Action::AskReserved { label, framework } => {
                return self.reserved.ask(label, framework);
            }
            Action::Probe(probe) => return self.probes.ask(probe),
            Action::Publish(event) => {
                log::note(&event);
                return self.subscribers.publish(&event);
            }
        };
        if let Err(reason @ CallError::NotConnected) = done {
            debug!(call = name, %reason, "call not made");
        }
    }
}

impl ServiceHands {
    fn accept(
        &self,
        ids: &[OfferId],
        first: Vec<Order>,
        launches: Vec<Launch>,
        groups: Vec<LaunchGroup>,
        refuse: Duration,
    ) {
        let offers = self.table.take(ids);
        let going = Going::of(&self.handle, &launches, &groups);
        if offers.len() < ids.len() {
            // Withdrawn, or the link broke.
            warn!(
                asked = ids.len(),
                left = offers.len(),
                "offers are gone before they could be used"
            );
            let left = offers.iter().map(|offer| &offer.id);
            let filters = Filters::refuse_for(Duration::ZERO);
            if let Err(reason) = self.client.decline(left, filters) {
                debug!(call = "decline", %reason, "call not made");
            }
            return going.stays(Reason::InvalidOffers, "the offer was withdrawn meanwhile");
        }
        let in_groups = groups.iter().flat_map(|group| &group.tasks);
        let mut all = launches.iter().chain(in_groups);
        if all.any(|launch| !launch.secrets.is_empty()) {
            // Where secrets lie may be slow: everything else goes on. A kill that overtakes the launch is repeated.
            let (secrets, handle) = (self.secrets.clone(), self.handle.clone());
            let client = self.client.clone();
            tokio::spawn(async move {
                let launches = with_secrets(&secrets, &handle, launches).await;
                let mut ready = Vec::new();
                for group in groups {
                    ready.extend(together_with_secrets(&secrets, &handle, group).await);
                }
                let going = Going::of(&handle, &launches, &ready);
                let operations = operations(first, launches, ready);
                going.goes(client.operate(&offers, operations, Filters::refuse_for(refuse)));
            });
            return;
        }
        let operations = operations(first, launches, groups);
        let filters = Filters::refuse_for(refuse);
        going.goes(self.client.operate(&offers, operations, filters));
    }
}

/// Tasks on their way to the master.
struct Going {
    handle: Handle<Orchestrator>,
    tasks: Vec<(TaskId, AgentId)>,
}

impl Going {
    fn of(handle: &Handle<Orchestrator>, launches: &[Launch], groups: &[LaunchGroup]) -> Self {
        let in_groups = groups.iter().flat_map(|group| &group.tasks);
        let all = launches.iter().chain(in_groups).map(|launch| &launch.task);
        Self {
            handle: handle.clone(),
            tasks: all
                .map(|task| (task.id.clone(), task.agent.clone()))
                .collect(),
        }
    }

    fn goes(self, call: Result<(), CallError>) {
        if let Err(why) = call {
            // Nothing has left this process.
            debug!(call = "accept", reason = %why, "call not made");
            self.stays(Reason::MasterDisconnected, &why.to_string());
        }
    }

    /// None of them was launched: said in the master's words, without waiting for it to be asked.
    fn stays(self, reason: Reason, why: &str) {
        let dropped = |(task, agent)| TaskStatus {
            reason: Some(reason),
            message: Some(format!("not launched: {why}")),
            agent: Some(agent),
            ..TaskStatus::new(task, TaskState::Dropped, Source::Master, clock::now())
        };
        let statuses: Vec<TaskStatus> = self.tasks.into_iter().map(dropped).collect();
        let handle = self.handle;
        tokio::spawn(async move {
            for status in statuses {
                if handle.tell(Input::Update(status)).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Volumes go before what they lie on; the last operation has the instance's name, so that the master tells when it is done.
fn given_back(release: Vec<(InstanceId, Kept)>) -> impl Iterator<Item = Order> {
    release.into_iter().flat_map(|(instance, kept)| {
        let volumes = Some(kept.volumes).filter(|volumes| !volumes.is_empty());
        let destroy = volumes.map(|volumes| Operation::Destroy(volumes).into());
        let unreserve = Operation::Unreserve(kept.reserved);
        let unreserve = match OperationId::new(instance.to_string()) {
            Ok(name) => unreserve.named(name),
            Err(_) => unreserve.into(), // A name too long for an id: nobody tells, and in time it counts as gone.
        };
        destroy.into_iter().chain([unreserve])
    })
}

/// And come after it.
fn kept(reserve: Vec<Kept>) -> impl Iterator<Item = Operation> {
    let operations = |kept: Kept| {
        [
            Operation::Reserve(kept.reserved),
            Operation::Create(kept.volumes),
        ]
    };
    reserve.into_iter().flat_map(operations)
}

/// What is done with offers: `first`, then tasks, each for itself, and groups; nothing when there are none.
fn operations(first: Vec<Order>, launches: Vec<Launch>, groups: Vec<LaunchGroup>) -> Vec<Order> {
    let tasks: Vec<Task> = launches.into_iter().map(task).collect();
    let alone = (!tasks.is_empty()).then_some(Operation::Launch(tasks));
    let groups = groups.into_iter().map(|group| {
        let around = Group::of(group.executor).name(group.name);
        let around = around.overhead(group.overhead).network(group.network);
        let tasks = group.tasks.into_iter().map(task);
        Operation::LaunchGroup(Box::new(tasks.fold(around, Group::task)))
    });
    let tasks = alone.into_iter().chain(groups).map(Order::from);
    first.into_iter().chain(tasks).collect()
}

/// Launches with the secrets they ask for. Those that cannot have them have failed.
async fn with_secrets(
    secrets: &Secrets,
    handle: &Handle<Orchestrator>,
    launches: Vec<Launch>,
) -> Vec<Launch> {
    let mut ready = Vec::new();
    for launch in launches {
        match fetched(secrets, launch, &mut { MAX_SECRETS_BYTES }).await {
            Ok(launch) => ready.push(launch),
            Err((launch, why)) => {
                if !tell_failed(handle, &[launch.task], &why).await {
                    return Vec::new();
                }
            }
        }
    }
    ready
}

/// The same of tasks that start together: all of them, or none, and then all have failed.
async fn together_with_secrets(
    secrets: &Secrets,
    handle: &Handle<Orchestrator>,
    group: LaunchGroup,
) -> Option<LaunchGroup> {
    let specs: Vec<TaskSpec> = group.tasks.iter().map(|one| one.task.clone()).collect();
    let mut tasks = Vec::new();
    let mut left = MAX_SECRETS_BYTES;
    for launch in group.tasks {
        match fetched(secrets, launch, &mut left).await {
            Ok(launch) => tasks.push(launch),
            Err((_, why)) => {
                tell_failed(handle, &specs, &why).await;
                return None;
            }
        }
    }
    Some(LaunchGroup { tasks, ..group })
}

/// `left`: what the secrets of its instance may still take, in bytes.
async fn fetched(
    secrets: &Secrets,
    mut launch: Launch,
    left: &mut usize,
) -> Result<Launch, (Box<Launch>, String)> {
    let (secrets, wanted) = (secrets.clone(), std::mem::take(&mut launch.secrets));
    let mut room = *left;
    let fetched = tokio::task::spawn_blocking(move || {
        let fetched = secrets.fetch(&wanted, &mut room);
        (fetched, room)
    });
    let broken = (Err("secrets cannot be read".to_owned()), 0);
    let (fetched, room) = fetched.await.unwrap_or(broken);
    *left = room;
    match fetched {
        Ok(Fetched {
            variables,
            files,
            login,
        }) => {
            launch.task.command.environment.extend(variables);
            if let Some(container) = launch.task.container.as_deref_mut() {
                for mount in &mut container.mounts {
                    if let MountSource::Secret(value) = &mut mount.source {
                        *value = files.get(&mount.target).cloned();
                    }
                }
                if let Some(login) = login {
                    container.login = Login::Own(Some(login));
                }
            }
            Ok(launch)
        }
        Err(why) => Err((Box::new(launch), why)),
    }
}

/// False when the loop has ended: nothing is launched any more.
async fn tell_failed(handle: &Handle<Orchestrator>, tasks: &[TaskSpec], why: &str) -> bool {
    for task in tasks {
        warn!(task = %task.id, %why, "an instance cannot be launched");
        let status = TaskStatus {
            message: Some(why.to_owned()),
            agent: Some(task.agent.clone()),
            ..TaskStatus::new(
                task.id.clone(),
                TaskState::Failed,
                Source::Master,
                clock::now(),
            )
        };
        if handle.tell(Input::Update(status)).await.is_err() {
            return false;
        }
    }
    true
}

/// A task as the SDK launches it.
fn task(launch: Launch) -> Task {
    let Launch {
        task: spec,
        discovery,
        secrets: _,
    } = launch;
    // Each field by name: none is forgotten. The offer says which agent and role, and there is neither an executor nor an original.
    let TaskSpec {
        id,
        name,
        agent: _,
        resources,
        account: _,
        limits,
        command,
        executor: _,
        container,
        health_check,
        check,
        kill_grace_period,
        max_completion_time,
        labels,
        original: _,
    } = spec;
    let mut task = Task::new(id, command)
        .name(name)
        .resources(resources)
        .limits(limits);
    if let Some(container) = container {
        task = task.container(*container);
    }
    if let Some(check) = health_check {
        task = task.health_check(check);
    }
    if let Some(check) = check {
        task = task.check(*check);
    }
    if let Some(grace) = kill_grace_period {
        task = task.kill_grace_period(grace);
    }
    if let Some(most) = max_completion_time {
        task = task.max_completion_time(most);
    }
    for (key, value) in labels {
        task = task.label(key, value.unwrap_or_default());
    }
    task = task.found_as(discovery.name);
    for port in discovery.ports {
        for protocol in port.protocols {
            let told = TaskPort {
                number: port.number,
                name: port.name.clone(),
                protocol: Some(protocol),
                labels: port.labels.clone(),
            };
            task = match port.is_of_host {
                true => task.port(told),
                false => task.inner_port(told),
            };
        }
    }
    task
}
