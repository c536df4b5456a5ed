//! What readers see: the state as it is on disk and told to everybody, shared with the master, never in its way.

mod roles; // what each role may have, has, and who holds it

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use mete_model::{
    AgentId, FrameworkId, InverseOffer, OfferId, Resources, Role, TaskKey, Timestamp,
};
use mete_placement::{Amounts, InverseAnswer, Maintenance, Policy};

use crate::cluster::Cluster;
use crate::counters::Counters;
use crate::settings::Settings;
use crate::state::agents::Agent;
use crate::state::executors::{Executor, ExecutorKey};
use crate::state::frameworks::Framework;
use crate::state::offers::OpenOffer;
use crate::state::operations::{DoneOperation, OperationKey};
use crate::state::schedule::{MachineId, Schedule};
use crate::state::tasks::{self, Task};
use mete_model::SharedMap;
pub use roles::RoleView;

/// The cluster at one moment. Making one copies pointers only.
#[derive(Clone, Debug)]
pub struct View {
    /// How the cluster behaves.
    pub settings: Arc<Settings>,
    /// When this master took over.
    pub started: Timestamp,
    /// Agents, gone and unreachable ones too.
    pub agents: SharedMap<AgentId, Arc<Agent>>,
    /// Frameworks, completed ones too.
    pub frameworks: SharedMap<FrameworkId, Arc<Framework>>,
    /// What is on the table.
    pub offers: SharedMap<OfferId, OpenOffer>,
    /// Which frameworks are asked to leave which agents.
    pub inverse_offers: SharedMap<OfferId, InverseOffer>,
    /// Tasks that are not over: until their last update is acknowledged.
    pub tasks: SharedMap<TaskKey, Arc<Task>>,
    /// Executors that look after groups of tasks.
    pub executors: SharedMap<ExecutorKey, Arc<Executor>>,
    /// Operations that are done and not acknowledged.
    pub operations: SharedMap<OperationKey, Arc<DoneOperation>>,
    /// The last tasks that are over, in the order of their ends per framework.
    pub ended_tasks: SharedMap<(FrameworkId, u64), Arc<Task>>,
    /// Weights that were set, in thousandths.
    pub weights: Arc<BTreeMap<Role, NonZeroU32>>,
    /// Limits that were set.
    pub limits: Arc<BTreeMap<Role, Amounts>>,
    /// Guarantees that were set.
    pub guarantees: Arc<BTreeMap<Role, Amounts>>,
    /// Packing policies that were set: by role, and that of the cluster under `None`.
    pub policies: Arc<BTreeMap<Option<Role>, Policy>>,
    /// Which machines are planned to be away, and which are.
    pub schedule: Arc<Schedule>,
    /// Who was asked to leave which agent, and what was said.
    pub maintenance: Arc<Maintenance>,
    /// Filters of declined offers.
    pub filters: usize,
    /// What is free and of no use to an ordinary task.
    pub stranded: Resources,
    /// What has happened how often.
    pub counters: Arc<Counters>,
}

impl View {
    pub(crate) fn of(cluster: &Cluster) -> Self {
        Self {
            settings: Arc::clone(&cluster.settings),
            started: cluster.started,
            agents: cluster.agents.all.clone(),
            frameworks: cluster.frameworks.all.clone(),
            offers: cluster.offers.all.clone(),
            inverse_offers: cluster.inverse_offers.all.clone(),
            tasks: cluster.tasks.all.clone(),
            executors: cluster.executors.all.clone(),
            operations: cluster.operations.all.clone(),
            ended_tasks: cluster.tasks.ended.clone(),
            weights: Arc::clone(&cluster.weights),
            limits: Arc::clone(&cluster.limits),
            guarantees: Arc::clone(&cluster.guarantees),
            policies: Arc::clone(&cluster.policies),
            schedule: Arc::clone(&cluster.schedule),
            maintenance: Arc::clone(&cluster.maintenance),
            filters: cluster.allocator.filters(),
            stranded: cluster.allocator.stranded(),
            counters: Arc::clone(&cluster.counters),
        }
    }

    /// The packing policy of the cluster: what was set, or what the master was started with.
    pub fn policy(&self) -> Policy {
        let set = self.policies.get(&None).copied();
        set.unwrap_or(self.settings.policy)
    }

    /// What frameworks said to leaving a planned machine's agents in time; `None`: asked, and nothing was said yet.
    pub fn answers_of(&self, machine: &MachineId) -> Vec<(&FrameworkId, Option<InverseAnswer>)> {
        let agents = self.agents.values();
        let agents =
            agents.filter(|agent| self.schedule.machine(&agent.info.endpoint) == Some(machine));
        let answers = agents.flat_map(|agent| self.maintenance.answers(&agent.id));
        answers.collect()
    }

    /// The tasks of one framework that are not over.
    pub fn tasks_of<'a>(
        &'a self,
        framework: &'a FrameworkId,
    ) -> impl Iterator<Item = &'a Arc<Task>> {
        tasks::of_framework(&self.tasks, framework, None)
    }

    /// The last tasks of one framework that are over, the oldest first.
    pub fn ended_tasks_of<'a>(
        &'a self,
        framework: &'a FrameworkId,
    ) -> impl Iterator<Item = &'a Arc<Task>> {
        self.ended_tasks
            .after(move |(other, _)| other < framework)
            .take_while(move |((other, _), _)| other == framework)
            .map(|(_, task)| task)
    }
}
