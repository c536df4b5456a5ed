//! Tasks that are launched together, or not at all. What their executor takes is held as long as one of them lives; one that
//! fails or is killed takes the others of its group along.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{
    AgentId, ExecutorId, FrameworkId, Offer, Reason, Resources, Role, Source, TaskGroup, TaskId,
    TaskKey, TaskState, TaskStatus, Timestamp,
};

use super::answers::{fault, key};
use super::calls::BadGroup;
use super::state::{Order, State};
use super::tasks::Task;

/// Names an executor.
type Name = (AgentId, FrameworkId, ExecutorId);

/// Executors that hold resources, and which tasks belong together.
#[derive(Debug, Default)]
pub(super) struct Groups {
    executors: BTreeMap<Name, Executor>,
    /// Of each task, the others of its group and its executor.
    members: BTreeMap<TaskKey, (Name, Vec<TaskId>)>,
}

#[derive(Debug)]
struct Executor {
    resources: Resources,
    role: Role,
    tasks: BTreeSet<TaskId>,
}

impl Groups {
    /// A task is over as far as its master knows: what its executor held, when it was the last one.
    pub(super) fn leave(&mut self, task: &TaskKey) -> Option<(AgentId, Role, Resources)> {
        let (name, _) = self.members.remove(task)?;
        let executor = self.executors.get_mut(&name)?;
        executor.tasks.remove(&task.task);
        if !executor.tasks.is_empty() {
            return None;
        }
        let over = self.executors.remove(&name)?;
        Some((name.0, over.role, over.resources))
    }

    /// The others of a task's group.
    pub(super) fn others(&self, task: &TaskKey) -> Vec<TaskKey> {
        let member = self.members.get(task);
        let group = member.map_or(&[][..], |(_, group)| group);
        let others = group.iter().filter(|other| **other != task.task);
        others.map(|other| key(&task.framework, other)).collect()
    }
}

impl State {
    /// How many tasks were launched.
    pub(super) fn launch_group(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        offer: &Offer,
        pool: &mut Resources,
        asked: Result<TaskGroup, BadGroup>,
    ) -> u32 {
        let checked =
            asked.and_then(
                |group| match self.group_fault(framework, offer, pool, &group) {
                    None => Ok(group),
                    Some(why) => Err(BadGroup {
                        tasks: group.tasks.into_iter().map(|spec| spec.id).collect(),
                        why,
                    }),
                },
            );
        let TaskGroup { executor, tasks } = match checked {
            Ok(group) => group,
            Err(bad) => {
                self.refuse_group(now, framework, offer, bad);
                return 0;
            }
        };
        let name = (offer.agent.clone(), framework.clone(), executor.id);
        if !self.groups.executors.contains_key(&name) {
            self.take(framework, offer, pool, &executor.resources);
            let executor = Executor {
                resources: executor.resources,
                role: offer.role.clone(),
                tasks: BTreeSet::new(),
            };
            self.groups.executors.insert(name.clone(), executor);
        }
        let ids: Vec<TaskId> = tasks.iter().map(|spec| spec.id.clone()).collect();
        for spec in tasks {
            self.take(framework, offer, pool, &spec.resources);
            if let Some(executor) = self.groups.executors.get_mut(&name) {
                executor.tasks.insert(spec.id.clone());
            }
            let key = key(framework, &spec.id);
            let member = (name.clone(), ids.clone());
            self.groups.members.insert(key.clone(), member);
            self.tasks
                .insert(key.clone(), Task::new(spec, offer.role.clone()));
            self.orders.push_back(Order::Start(key));
        }
        u32::try_from(ids.len()).unwrap_or(u32::MAX)
    }

    fn take(
        &mut self,
        framework: &FrameworkId,
        offer: &Offer,
        pool: &mut Resources,
        resources: &Resources,
    ) {
        *pool = pool.minus_at_most(resources);
        self.offers
            .allocator
            .launched(&offer.agent, framework, &offer.role, resources);
    }

    /// Why a group cannot be launched on what is left of an offer.
    fn group_fault(
        &self,
        framework: &FrameworkId,
        offer: &Offer,
        pool: &Resources,
        group: &TaskGroup,
    ) -> Option<String> {
        if group.tasks.is_empty() {
            return Some("the group has no tasks".to_owned());
        }
        let name = (
            offer.agent.clone(),
            framework.clone(),
            group.executor.id.clone(),
        );
        let mut needs = match self.groups.executors.contains_key(&name) {
            true => Resources::none(),
            false => group.executor.resources.clone(),
        };
        let mut ids = BTreeSet::new();
        for spec in &group.tasks {
            let in_use = self.tasks.contains_key(&key(framework, &spec.id));
            let twice = !ids.insert(&spec.id);
            if let Some(why) = fault(spec, offer, pool, in_use || twice) {
                return Some(format!("its task is refused: {why}"));
            }
            needs.add(&spec.resources);
        }
        let shortages = pool.shortages(&needs).join(", ");
        (!shortages.is_empty())
            .then(|| format!("the group asks for more than the offers hold: {shortages}"))
    }

    fn refuse_group(
        &mut self,
        now: Timestamp,
        framework: &FrameworkId,
        offer: &Offer,
        bad: BadGroup,
    ) {
        for task in bad.tasks {
            let mut status = TaskStatus::new(task, TaskState::Error, Source::Master, now);
            status.reason = Some(Reason::TaskGroupInvalid);
            status.message = Some(bad.why.clone());
            status.agent = Some(offer.agent.clone());
            self.tell_by_master(framework, status);
        }
    }
}
