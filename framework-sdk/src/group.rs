//! Tasks that start together, built step by step.

use mete_model::container::Network;
use mete_model::executor::INIT_LABEL;
use mete_model::{
    AgentId, BadId, ContainerSpec, ExecutorId, ExecutorKind, ExecutorSpec, MB_MILLI, Resources,
    Role,
};
use mete_proto::convert::resources;
use mete_proto::mesos::v1 as wire;

use crate::launch::Task;

/// Tasks that start together on one agent, or not at all. When one of them fails or is killed, the others are killed; one
/// that ends with success leaves the others alone.
///
/// They share a directory, the sandbox of their executor (a volume of type SANDBOX_PATH PARENT), and, if that is
/// [wished](Self::network), a network.
///
/// ```
/// # use mete_framework_sdk::{Client, Filters, Group, Offer, Task};
/// # fn launch(client: &Client, offer: &Offer) -> Result<(), Box<dyn std::error::Error>> {
/// let group = Group::new("web-1")?
///     .init(Task::shell("web-1-migrate", "./migrate")?.cpus_milli(100).mem_mb(32))
///     .task(Task::shell("web-1-serve", "./serve")?.cpus_milli(500).mem_mb(256))
///     .task(Task::shell("web-1-ship-logs", "./ship-logs")?.cpus_milli(50).mem_mb(32));
/// client.launch_group([offer], group, Filters::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    executor: ExecutorSpec,
    tasks: Vec<Task>,
}

impl Group {
    /// An empty group below an executor of this id. Groups may be added to an executor that runs, described alike.
    ///
    /// # Errors
    /// [`BadId`] when `executor` cannot be an id.
    pub fn new(executor: impl AsRef<str>) -> Result<Self, BadId> {
        ExecutorId::new(executor).map(Self::of)
    }

    /// The same of an id that is one.
    pub fn of(executor: ExecutorId) -> Self {
        // The least that a master asks of an executor.
        let mut least = Resources::cpus_mem(10, 32);
        least.disk_milli = MB_MILLI;
        let executor = ExecutorSpec {
            id: executor,
            kind: ExecutorKind::Default,
            name: String::new(),
            resources: least,
            command: None,
            container: None,
            shutdown_grace_period: None,
            original: [].as_slice().into(),
        };
        Self {
            executor,
            tasks: Vec::new(),
        }
    }

    /// Adds a task.
    #[must_use]
    pub fn task(mut self, task: Task) -> Self {
        self.tasks.push(task);
        self
    }

    /// Adds a task that is to end with success before those added later begin; all others begin after the last of these.
    #[must_use]
    pub fn init(self, task: Task) -> Self {
        self.task(task.label(INIT_LABEL, "true"))
    }

    /// A name for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.executor.name = name.into();
        self
    }

    /// What the executor takes besides its tasks; at least 0.01 CPUs, 32 MB of memory and some disk, which is the default.
    #[must_use]
    pub fn overhead(mut self, resources: Resources) -> Self {
        self.executor.resources = resources;
        self
    }

    /// The tasks see a network of their own, with nothing but a loopback that they share, in place of the machine's.
    #[must_use]
    pub fn own_network(self) -> Self {
        self.network(Network::None)
    }

    /// The tasks share this network. Ports of the host that lead into it are among the [overhead](Self::overhead): those of
    /// a task would be free again while the others still open them.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        let spec = ContainerSpec {
            network,
            ..ContainerSpec::default()
        };
        self.executor.container = (spec != ContainerSpec::default()).then(|| Box::new(spec));
        self
    }

    /// What it takes from the offers: its tasks and the executor.
    pub fn needs(&self) -> Resources {
        let tasks = self.tasks.iter().map(Task::needs);
        tasks.fold(self.executor.resources.clone(), |sum, one| sum.plus(one))
    }

    pub(crate) fn for_offer(
        self,
        agent: &AgentId,
        role: &Role,
    ) -> wire::offer::operation::LaunchGroup {
        let mut executor = wire::ExecutorInfo::from(&self.executor);
        resources::allocate(&mut executor.resources, role);
        let tasks = self.tasks.into_iter();
        wire::offer::operation::LaunchGroup {
            executor,
            task_group: wire::TaskGroupInfo {
                tasks: tasks.map(|task| task.for_offer(agent, role)).collect(),
            },
        }
    }
}
