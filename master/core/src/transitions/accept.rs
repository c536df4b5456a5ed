//! ACCEPT and DECLINE: offers become launches, and what is left goes back.

use std::sync::Arc;
use std::time::Duration;

use mete_model::{
    AgentId, Capability, ExecutorSpec, FrameworkId, FrameworkInfo, OfferId, Reason, Resources,
    Role, TaskSpec, TaskState, Timestamp,
};
use tracing::{debug, info};

use crate::cluster::{Cluster, Out};
use crate::effects::{Event, MessageToAgent, OperationOutcome, Refusal};
use crate::input::{Accept, Operation, TaskName};
use crate::state::executors::ExecutorKey;
use crate::state::offers::Units;
use crate::state::tasks::{self, Task, TaskBrief};
use crate::transitions::group::executor_key;
use crate::validate::{self, Candidate, OffersError};

/// What an ACCEPT works on: one framework, one agent, one role, and a pool that shrinks.
pub(super) struct Bench {
    pub(super) framework: FrameworkId,
    pub(super) info: Arc<FrameworkInfo>,
    pub(super) agent: AgentId,
    pub(super) role: Role,
    pub(super) pool: Resources,
    /// What the offers were made for, and how many tasks were launched with them.
    units: Units,
    launched: u32,
}

impl Bench {
    /// One more task was launched.
    pub(super) const fn count_launch(&mut self) {
        self.launched = self.launched.saturating_add(1);
    }
}

impl Cluster {
    pub(crate) fn accept(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        accept: Accept,
        out: &mut Out,
    ) {
        let offers = match validate::offers(&self.offers, framework, &accept.offers) {
            Ok(offers) => offers,
            Err(error) => return self.refuse_accept(now, framework, &accept, &error, out),
        };
        let Some(known) = self.frameworks.get(framework) else {
            return;
        };
        let mut bench = Bench {
            framework: known.id.clone(),
            info: Arc::clone(&known.info),
            agent: offers[0].agent.clone(),
            role: offers[0].role.clone(),
            pool: Resources::none(),
            units: Units::new(),
            launched: 0,
        };
        for offer in &offers {
            if let Some((_, units)) = self.use_offer(&offer.id) {
                bench.units.extend(units);
            }
            bench.pool.add(&offer.resources);
        }
        self.count().offers_accepted += offers.len() as u64;
        for operation in accept.operations {
            self.operate(now, &mut bench, operation, out);
        }
        if !bench.pool.is_empty() {
            let Bench {
                framework,
                agent,
                role,
                pool,
                ..
            } = &bench;
            self.allocator
                .give_back(now, agent, framework, role, pool, accept.refuse_for);
        }
        self.answered(
            &bench.agent,
            framework,
            &bench.role,
            &bench.units,
            bench.launched,
        );
    }

    /// Every live offer that was named goes back without filter, every task is answered.
    fn refuse_accept(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        accept: &Accept,
        error: &OffersError,
        out: &mut Out,
    ) {
        info!(%framework, %error, "ACCEPT refused");
        self.count().accepts_refused += 1;
        self.return_offers(now, framework, &accept.offers, Duration::ZERO);
        for task in accept.tasks() {
            // A task of this id that is not over is not this one: an answer would be taken for news of it.
            if let TaskName::Good(task) = &task
                && self.tasks.get(&tasks::key(framework, task)).is_some()
            {
                continue;
            }
            let refusal = Refusal {
                state: TaskState::Dropped,
                reason: Reason::InvalidOffers,
                why: error.to_string(),
                agent: None,
            };
            self.refuse_task(now, framework, task, refusal, out);
        }
        for id in accept.named_operations() {
            let event = Event::Operation {
                id,
                agent: None,
                outcome: OperationOutcome::Error(error.to_string()),
            };
            self.tell_framework(framework, event, out);
        }
    }

    /// Takes back the offers that are on the table for this framework; how many are.
    pub(crate) fn return_offers(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        ids: &[OfferId],
        refuse_for: Duration,
    ) -> usize {
        let mut returned = Vec::with_capacity(ids.len());
        for id in ids {
            let offer = self.offers.get(id);
            if offer.is_some_and(|offer| offer.framework == *framework) {
                returned.extend(self.take_offer(id));
            }
        }
        self.hand_back_all(now, &returned, refuse_for);
        returned.len()
    }

    fn operate(&mut self, now: Timestamp, bench: &mut Bench, operation: Operation, out: &mut Out) {
        match operation {
            Operation::Launch(tasks) => {
                for task in tasks {
                    match task {
                        Ok(spec) => self.launch(now, bench, spec, out),
                        Err(bad) => self.task_error(now, bench, bad.task, bad.why, out),
                    }
                }
            }
            Operation::Reshape {
                id,
                kind,
                resources,
                account,
            } => self.reshape(now, bench, id, (kind, &resources), account.as_ref(), out),
            Operation::LaunchGroup(Ok(group)) => self.launch_group(now, bench, *group, out),
            Operation::LaunchGroup(Err(bad)) => self.group_error(now, bench, bad, out),
            Operation::NotCarried { name } => {
                info!(framework = %bench.framework, operation = name, "operation dropped");
                self.count().operations_dropped += 1;
            }
        }
    }

    /// Starts one task, or answers why not. What it takes stays with the framework in the allocator. From here on its GPUs
    /// are named devices.
    fn launch(&mut self, now: Timestamp, bench: &mut Bench, mut spec: TaskSpec, out: &mut Out) {
        let key = tasks::key(&bench.framework, &spec.id);
        // A task says itself where it finds a volume, and whether it writes; what it holds is the volume as it was made.
        let asked = spec.resources.clone();
        spec.resources = asked.with_volumes_as_in(&bench.pool);
        let executor = spec.executor.as_ref();
        let executor = executor.map(|named| executor_key(bench, &named.id));
        let running = executor.as_ref().and_then(|key| self.executors.get(key));
        let running = running.map(|running| Arc::clone(&running.spec));
        let candidate = Candidate {
            task: &spec,
            offered_by: &bench.agent,
            offered_in: &bench.role,
            left: &bench.pool,
            takes_parts_of_gpus: bench.info.can(Capability::GpuFractions),
            id_in_use: self.tasks.get(&key).is_some(),
            running: running.as_deref(),
        };
        if let Err(error) = validate::task(&candidate) {
            return self.task_error(now, bench, spec.id.into(), error.to_string(), out);
        }
        if let Some(executor) = executor {
            self.join_executor(bench, executor, &mut spec, running);
        }
        self.take_from(bench, &mut spec.resources);
        debug!(task = %key, agent = %bench.agent, resources = %spec.resources, "task launched");
        self.count().tasks_launched += 1;
        bench.count_launch();
        let (executor, brief) = (spec.executor.as_deref(), TaskBrief::of(&spec));
        let (agent, role) = (bench.agent.clone(), bench.role.clone());
        self.tasks
            .insert(Task::new(key, agent, role, executor, brief));
        let message = MessageToAgent::RunTask {
            framework: Arc::clone(&bench.info),
            role: bench.role.clone(),
            task: as_asked(spec, &asked),
        };
        self.tell_agent(&bench.agent, message, out);
    }

    /// Puts a task below the executor of its framework's own, which takes its resources when it is new.
    fn join_executor(
        &mut self,
        bench: &mut Bench,
        key: ExecutorKey,
        task: &mut TaskSpec,
        running: Option<Arc<ExecutorSpec>>,
    ) {
        if running.is_none()
            && let Some(executor) = &mut task.executor
        {
            self.take_from(bench, &mut Arc::make_mut(executor).resources);
        }
        task.executor = running.or_else(|| task.executor.take());
        if let Some(executor) = &task.executor {
            self.executors
                .join(key, executor, &bench.role, task.id.clone());
        }
    }

    fn task_error(
        &mut self,
        now: Timestamp,
        bench: &Bench,
        task: TaskName,
        why: String,
        out: &mut Out,
    ) {
        let refusal = Refusal {
            state: TaskState::Error,
            reason: Reason::TaskInvalid,
            why,
            agent: Some(bench.agent.clone()),
        };
        self.refuse_task(now, &bench.framework, task, refusal, out);
    }

    pub(crate) fn decline(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        offers: &[OfferId],
        refuse_for: Duration,
    ) {
        let declined = self.return_offers(now, framework, offers, refuse_for);
        self.count().offers_declined += declined as u64;
    }
}

/// A task as its agent is to run it: with its volumes where it asked for them.
pub(super) fn as_asked(mut spec: TaskSpec, asked: &Resources) -> Arc<TaskSpec> {
    spec.resources = spec.resources.with_volumes_as_in(asked);
    Arc::new(spec)
}
