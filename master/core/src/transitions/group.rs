//! LAUNCH_GROUP: all tasks of a group start, or none does; what their executor takes is accounted once.

use std::sync::Arc;

use mete_model::{
    Capability, ExecutorId, ExecutorKind, ExecutorSpec, Reason, Resources, Role, TaskGroup, TaskId,
    TaskKey, TaskSpec, TaskState, Timestamp,
};
use tracing::debug;

use crate::cluster::{Cluster, Out};
use crate::effects::{MessageToAgent, Refusal};
use crate::input::BadGroup;
use crate::state::executors::ExecutorKey;
use crate::state::tasks::{self, Task, TaskBrief};
use crate::transitions::accept::{Bench, as_asked};
use crate::validate::group::{self, GroupCandidate};

impl Cluster {
    pub(super) fn launch_group(
        &mut self,
        now: Timestamp,
        bench: &mut Bench,
        mut asked: TaskGroup,
        out: &mut Out,
    ) {
        let key = executor_key(bench, &asked.executor.id);
        let mut views = Vec::with_capacity(asked.tasks.len());
        for spec in &mut asked.tasks {
            let made = spec.resources.with_volumes_as_in(&bench.pool);
            views.push(std::mem::replace(&mut spec.resources, made));
        }
        let running = self.executors.get(&key);
        let in_use = |task: &TaskId| {
            self.tasks
                .get(&tasks::key(&bench.framework, task))
                .is_some()
        };
        let candidate = GroupCandidate {
            group: &asked,
            offered_by: &bench.agent,
            offered_in: &bench.role,
            left: &bench.pool,
            takes_parts_of_gpus: bench.info.can(Capability::GpuFractions),
            id_in_use: &in_use,
            running: running.map(|running| &*running.spec),
        };
        if let Err(error) = group::check(&candidate) {
            let tasks = asked.tasks.into_iter().map(|spec| spec.id.into()).collect();
            let why = error.to_string();
            return self.group_error(now, bench, BadGroup { tasks, why }, out);
        }
        if running.is_none() {
            self.take_from(bench, &mut asked.executor.resources);
        }
        for spec in &mut asked.tasks {
            self.take_from(bench, &mut spec.resources);
        }
        self.start_group(bench, &key, asked, &views, out);
    }

    /// Takes resources out of what the offers hold; they stay with the framework in the allocator.
    pub(super) fn take_from(&mut self, bench: &mut Bench, resources: &mut Resources) {
        if let Some(pinned) = bench.pool.pin(resources) {
            *resources = pinned;
        }
        bench.pool = bench.pool.minus_at_most(resources);
        self.allocator
            .launched(&bench.agent, &bench.framework, &bench.role, resources);
    }

    fn start_group(
        &mut self,
        bench: &mut Bench,
        key: &ExecutorKey,
        asked: TaskGroup,
        views: &[Resources],
        out: &mut Out,
    ) {
        let executor = match self.executors.get(key) {
            Some(running) => Arc::clone(&running.spec),
            None => Arc::new(asked.executor),
        };
        let mut specs: Vec<Arc<TaskSpec>> = Vec::with_capacity(asked.tasks.len());
        for (mut spec, view) in asked.tasks.into_iter().zip(views) {
            if executor.kind == ExecutorKind::Custom {
                spec.executor = Some(Arc::clone(&executor));
            }
            let task = tasks::key(&bench.framework, &spec.id);
            debug!(%task, agent = %bench.agent, executor = %key.executor, resources = %spec.resources, "task of a group launched");
            self.count().tasks_launched += 1;
            bench.count_launch();
            self.executors
                .join(key.clone(), &executor, &bench.role, spec.id.clone());
            let (agent, role) = (bench.agent.clone(), bench.role.clone());
            let brief = TaskBrief::of(&spec);
            self.tasks
                .insert(Task::new(task, agent, role, Some(&executor), brief));
            specs.push(as_asked(spec, view));
        }
        let message = MessageToAgent::RunGroup {
            framework: Arc::clone(&bench.info),
            role: bench.role.clone(),
            executor,
            tasks: specs,
        };
        self.tell_agent(&bench.agent, message, out);
    }

    /// Each task of a group that is not started is answered. One that is not over and has the name of one of them is not
    /// it: an answer would be taken for news of it.
    pub(super) fn group_error(
        &mut self,
        now: Timestamp,
        bench: &Bench,
        bad: BadGroup,
        out: &mut Out,
    ) {
        for task in bad.tasks {
            let refusal = Refusal {
                state: TaskState::Error,
                reason: Reason::TaskGroupInvalid,
                why: bad.why.clone(),
                agent: Some(bench.agent.clone()),
            };
            self.refuse_task(now, &bench.framework, task, refusal, out);
        }
    }

    /// A task holds nothing any more: with the last one its executor gives back what it took.
    pub(super) fn leave_executor(&mut self, task: &Task) {
        let Some(executor) = task.executor.clone() else {
            return;
        };
        let key = ExecutorKey {
            agent: task.agent.clone(),
            framework: task.key.framework.clone(),
            executor,
        };
        if let Some(over) = self.executors.leave(&key, &task.key.task) {
            let resources = &over.spec.resources;
            self.allocator
                .release(&key.agent, &key.framework, &over.role, resources);
        }
    }

    /// A task that its agent brings holds resources: so does its executor.
    pub(super) fn claim_executor(
        &mut self,
        agent: &mete_model::AgentId,
        task: &TaskKey,
        role: &Role,
        executor: &Arc<ExecutorSpec>,
    ) {
        let key = ExecutorKey {
            agent: agent.clone(),
            framework: task.framework.clone(),
            executor: executor.id.clone(),
        };
        if self.executors.join(key, executor, role, task.task.clone()) {
            self.allocator
                .claim(agent, &task.framework, role, &executor.resources);
        }
    }
}

pub(super) fn executor_key(bench: &Bench, executor: &ExecutorId) -> ExecutorKey {
    ExecutorKey {
        agent: bench.agent.clone(),
        framework: bench.framework.clone(),
        executor: executor.clone(),
    }
}
