//! A report about a task: its instance's state moves, then the report is acknowledged.

use std::sync::Arc;

use mete_model::machine::Effects;
use mete_model::{Reason, Source, TaskId, TaskState, TaskStatus, Timestamp};

use crate::effects::Action;
use crate::events::{Happening, StatusUpdate};
use crate::orchestrator::{Orchestrator, kill, publish};
use crate::record::Record;
use crate::spec::app::AppId;
use crate::state::apps::LastFailure;
use crate::state::instances::{Instance, InstanceId, InstanceState, KILL_RETRY};
use crate::state::master::{MAX_STRAYS, Stray};

impl Orchestrator {
    pub(crate) fn update(&mut self, now: Timestamp, status: TaskStatus, out: &mut Effects<Self>) {
        let of_ours = InstanceId::of_task(status.task.as_str());
        match of_ours.filter(|(id, container)| self.has_task(id, *container, &status.task)) {
            Some((id, None)) => self.known_task(now, &id, &status, out),
            Some((id, Some(name))) => self.container_reported(now, &id, name, &status, out),
            None => self.unknown_task(now, &status, out),
        }
        // Last, so that it goes out after what the report led to is stored.
        if let (Some(uuid), Some(agent)) = (status.uuid, status.agent) {
            out.act.push(Action::Acknowledge {
                task: status.task,
                agent,
                uuid,
            });
        }
    }

    fn has_task(&self, id: &InstanceId, container: Option<&str>, task: &TaskId) -> bool {
        let instance = self.apps.instance(id);
        instance.is_some_and(|instance| match container {
            // Of those it had before nothing is to be heard any more.
            None => {
                let is_now = !instance.is_reserved() && instance.task() == *task;
                is_now && !instance.version.spec.is_pod()
            }
            Some(name) => instance.containers.iter().any(|one| one.name == name),
        })
    }

    fn known_task(
        &mut self,
        now: Timestamp,
        id: &InstanceId,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        let Some(instance) = self.apps.instance(id).cloned() else {
            return;
        };
        if is_news(&instance, status) {
            publish(now, out, status_event(&instance, status));
        }
        if status.source != Source::Master {
            self.confirm(now, id, out);
        }
        self.stands(now, &instance, status, out);
    }

    /// An instance stands where its task does, or its tasks together.
    pub(super) fn stands(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        match status.state {
            TaskState::Staging => self.on_its_way(now, instance, InstanceState::Staging, out),
            TaskState::Starting => self.on_its_way(now, instance, InstanceState::Starting, out),
            TaskState::Running => self.running(now, instance, status, out),
            TaskState::Killing => self.being_killed(now, instance, out),
            TaskState::Unreachable => self.unreachable(now, instance, status, out),
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => self.ended(now, instance, status, out),
        }
    }

    /// Its agent has it, and does what comes before it runs.
    fn on_its_way(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        stands: InstanceState,
        out: &mut Effects<Self>,
    ) {
        match instance.state {
            InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Unreachable { .. } => {
                if instance.state != stands {
                    self.edit_instance(now, &instance.id, out, |instance| instance.state = stands);
                }
            }
            // Old news, or a kill is under way already.
            InstanceState::Waiting
            | InstanceState::Starting
            | InstanceState::Running { .. }
            | InstanceState::Draining { .. }
            | InstanceState::Killing { .. }
            | InstanceState::Reserved { .. } => {}
        }
    }

    fn running(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        match instance.state {
            InstanceState::Waiting
            | InstanceState::Killing { .. }
            | InstanceState::Reserved { .. } => {}
            InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. }
            | InstanceState::Unreachable { .. }
            | InstanceState::Draining { .. } => self.heard_running(now, instance, status, out),
        }
    }

    /// The agent ends a task by itself: its check has failed too often, or somebody else asked. It gets no more traffic;
    /// it is replaced when it has ended.
    fn being_killed(&mut self, now: Timestamp, instance: &Instance, out: &mut Effects<Self>) {
        match instance.state {
            InstanceState::Running { .. } if !instance.is_ending => {
                self.edit_instance(now, &instance.id, out, |instance| {
                    instance.is_ending = true;
                    instance.state = InstanceState::Running {
                        healthy: Some(false),
                    };
                });
            }
            InstanceState::Draining { reason, .. } => {
                let state = InstanceState::Killing {
                    again: now + KILL_RETRY,
                    reason,
                };
                self.edit_instance(now, &instance.id, out, |instance| instance.state = state);
            }
            InstanceState::Waiting
            | InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. }
            | InstanceState::Unreachable { .. }
            | InstanceState::Killing { .. }
            | InstanceState::Reserved { .. } => {}
        }
    }

    fn unreachable(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        if instance.is_condemned() {
            // Nobody wants it back; if it comes back, it is not known any more and is killed then. Of one that holds a
            // volume the next task is wanted: its kill is repeated until it is heard of.
            if instance.holding.is_none() || instance.goes_for_good() {
                self.give_up(now, &instance.id, "Unreachable", out);
            }
            return;
        }
        if matches!(instance.state, InstanceState::Unreachable { .. }) {
            return;
        }
        let since = status.unreachable_time.unwrap_or(now).min(now);
        let state = InstanceState::Unreachable {
            since,
            inactive: false,
        };
        self.edit_instance(now, &instance.id, out, |instance| instance.state = state);
        self.unreachable_due(now, &instance.id, out);
    }

    fn ended(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        if !instance.is_condemned() {
            self.tell_unhealthy_kill(now, instance, status, out);
            self.note_failure(now, instance, status, out);
        }
        self.task_ended(now, instance, status, condition(status.state), out);
    }

    fn note_failure(
        &mut self,
        now: Timestamp,
        instance: &Instance,
        status: &TaskStatus,
        out: &mut Effects<Self>,
    ) {
        let app = instance.app().clone();
        let target = self.apps.get(&app).and_then(|app| app.target.as_ref());
        let is_wanted = target.is_some_and(|target| target.version.same_config(&instance.version));
        if is_wanted && is_failure_of_app(status) {
            let spec = &instance.version.spec;
            self.queue.failed(
                now,
                &app,
                instance.version.last_config_change_at,
                spec.backoff,
            );
        }
        let is_shown = match status.state {
            TaskState::Failed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator => true,
            TaskState::Killed => status.healthy == Some(false),
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Finished
            | TaskState::Unreachable
            | TaskState::Unknown => false,
        };
        if is_shown {
            let failure = LastFailure {
                task: status.task.clone(),
                state: status.state,
                message: status.message.clone().unwrap_or_default(),
                host: instance
                    .place
                    .as_ref()
                    .map(|place| place.host.clone())
                    .unwrap_or_default(),
                agent: status.agent.clone(),
                version: instance.version.version,
                timestamp: now,
                started_at: instance.started_at.or(instance.staged_at),
            };
            self.keep_failure(&app, failure, out);
        }
    }

    /// How an app failed last, until it fails again.
    pub(super) fn keep_failure(
        &mut self,
        app: &AppId,
        failure: LastFailure,
        out: &mut Effects<Self>,
    ) {
        let failure = Arc::new(failure);
        self.apps.edit(app, |app| app.note_failure(failure));
        if let Some(known) = self.apps.get(app) {
            let all = known.failures().cloned().collect();
            out.store.push(Record::Failures(app.clone(), all));
        }
    }

    /// Whose last task it is that has none now and keeps what it holds.
    fn whose_last(&self, task: &TaskId) -> Option<InstanceId> {
        let (id, _) = InstanceId::of_task(task.as_str())?;
        let (last, _) = self.apps.instance(&id)?.last_task_at()?;
        (last == *task).then_some(id)
    }

    /// A task nobody knows: killed when it runs, until it does not.
    fn unknown_task(&mut self, now: Timestamp, status: &TaskStatus, out: &mut Effects<Self>) {
        let strays = &mut self.master.strays;
        match status.state {
            TaskState::Staging | TaskState::Starting | TaskState::Running | TaskState::Killing => {
                if !strays.contains_key(&status.task) && strays.len() < MAX_STRAYS {
                    let stray = Stray {
                        agent: status.agent.clone(),
                        again: now + KILL_RETRY,
                    };
                    strays.insert(status.task.clone(), stray);
                    out.act
                        .push(kill(status.task.clone(), status.agent.clone(), None));
                }
            }
            TaskState::Unreachable | TaskState::Unknown => {
                strays.remove(&status.task);
            }
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator => {
                strays.remove(&status.task);
                if let Some(keeper) = self.whose_last(&status.task) {
                    // That it has ended is known. With its agent goes what the instance kept there: another takes its place.
                    if status.state == TaskState::GoneByOperator {
                        self.end_instance(now, &keeper, condition(status.state), out);
                    }
                } else if let Some(instance) = InstanceId::parse(status.task.as_str()) {
                    let (app, condition) = (instance.app(), condition(status.state));
                    publish(
                        now,
                        out,
                        Happening::UnknownInstanceTerminated {
                            instance,
                            app,
                            condition,
                        },
                    );
                }
            }
        }
    }
}

/// Whether a report tells what subscribers have not heard yet.
fn is_news(instance: &Instance, status: &TaskStatus) -> bool {
    match (&instance.state, status.state) {
        (InstanceState::Staging | InstanceState::Starting, TaskState::Staging) => false,
        (InstanceState::Running { healthy }, TaskState::Running) => {
            status.healthy.is_some() && *healthy != status.healthy
        }
        (InstanceState::Draining { .. }, TaskState::Running) => status.healthy == Some(false),
        (InstanceState::Unreachable { .. }, TaskState::Unreachable) => false,
        (
            InstanceState::Killing { .. },
            TaskState::Running | TaskState::Staging | TaskState::Starting,
        ) => false,
        _ => true,
    }
}

/// Whether what a task ended of is to delay the next launch of its app. What went wrong on the way to the agent is no
/// fault of the app.
fn is_failure_of_app(status: &TaskStatus) -> bool {
    let is_on_the_way = matches!(
        status.reason,
        Some(Reason::InvalidOffers | Reason::MasterDisconnected)
    );
    match status.state {
        TaskState::Failed
        | TaskState::Finished
        | TaskState::Error
        | TaskState::Lost
        | TaskState::Dropped
        | TaskState::Gone => !is_on_the_way,
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Killed
        | TaskState::Unreachable
        | TaskState::GoneByOperator
        | TaskState::Unknown => false,
    }
}

/// The state of a task that has ended, as conditions of instances are called.
const fn condition(state: TaskState) -> &'static str {
    match state {
        TaskState::Staging => "Staging",
        TaskState::Starting => "Starting",
        TaskState::Running => "Running",
        TaskState::Killing => "Killing",
        TaskState::Finished => "Finished",
        TaskState::Failed => "Failed",
        TaskState::Killed => "Killed",
        TaskState::Error => "Error",
        TaskState::Dropped => "Dropped",
        TaskState::Unreachable => "Unreachable",
        TaskState::Lost | TaskState::Gone | TaskState::GoneByOperator => "Gone",
        TaskState::Unknown => "Unknown",
    }
}

pub(super) fn status_event(instance: &Instance, status: &TaskStatus) -> Happening {
    let place = instance.place.as_ref();
    let ports = place
        .map(|place| place.ports.as_slice())
        .unwrap_or_default();
    let ports = match InstanceId::of_task(status.task.as_str()) {
        Some((_, Some(container))) => {
            let spec = &instance.version.spec;
            let all = spec.instance_ports(ports);
            let own = spec.of_container(container, &all).iter();
            own.filter_map(|port| port.host).collect()
        }
        Some((_, None)) | None => ports.to_vec(),
    };
    Happening::StatusUpdate(Box::new(StatusUpdate {
        agent: status
            .agent
            .clone()
            .or_else(|| place.map(|place| place.agent.clone())),
        task: status.task.clone(),
        state: status.state,
        message: status.message.clone().unwrap_or_default(),
        app: instance.app().clone(),
        host: place.map(|place| place.host.clone()).unwrap_or_default(),
        ip_addresses: place
            .map(|place| place.ip_addresses.clone())
            .unwrap_or_default(),
        ports,
        version: instance.version.version,
    }))
}
