//! A task, built step by step: command, resources, ports, health check.

use std::time::Duration;

use mete_model::{
    AgentId, BadId, CommandSpec, ContainerSpec, FetchUri, HealthCheck, Program, Ranges, Resources,
    Role, TaskCheck, TaskId, TaskLimits,
};
use mete_proto::convert::task::{kill_policy, labels_to_wire};
use mete_proto::convert::{duration_info, resources, task_limits, terminal};
use mete_proto::mesos::v1 as wire;

/// A task to launch with an offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    id: TaskId,
    name: String,
    command: CommandSpec,
    container: Option<ContainerSpec>,
    resources: Resources,
    limits: TaskLimits,
    health_check: Option<HealthCheck>,
    check: Option<TaskCheck>,
    kill_grace_period: Option<Duration>,
    max_completion_time: Option<Duration>,
    labels: Vec<(String, Option<String>)>,
    ports: Vec<Told>,
    found_as: Option<String>,
    data: Vec<u8>,
}

/// A port of a task as others find it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPort {
    /// On the agent, or where the task listens in its container.
    pub number: u16,
    /// `http`, `admin` …
    pub name: Option<String>,
    /// `tcp` or `udp`.
    pub protocol: Option<String>,
    /// For tools.
    pub labels: Vec<(String, String)>,
}

/// A port that is told, and whether it is taken from the offer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    port: TaskPort,
    is_taken: bool,
}

impl TaskPort {
    /// This port, unnamed.
    pub const fn number(number: u16) -> Self {
        Self {
            number,
            name: None,
            protocol: None,
            labels: Vec::new(),
        }
    }

    fn interval(&self) -> Ranges {
        Ranges::interval(self.number.into(), self.number.into())
    }
}

impl Task {
    /// Runs `line` with `/bin/sh -c`.
    ///
    /// # Errors
    /// [`BadId`] when `id` cannot be one.
    pub fn shell(id: impl AsRef<str>, line: impl Into<String>) -> Result<Self, BadId> {
        Ok(Self::new(TaskId::new(id)?, CommandSpec::shell(line)))
    }

    /// Runs an executable with its argument vector, `argv[0]` included.
    ///
    /// # Errors
    /// [`BadId`] when `id` cannot be one.
    pub fn exec(
        id: impl AsRef<str>,
        argv: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, BadId> {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        let path = argv.first().cloned().unwrap_or_default();
        let command = CommandSpec {
            program: Program::Exec { path, argv },
            ..CommandSpec::shell("")
        };
        Ok(Self::new(TaskId::new(id)?, command))
    }

    /// Runs `command`.
    pub fn new(id: TaskId, command: CommandSpec) -> Self {
        Self {
            name: id.to_string(),
            id,
            command,
            container: None,
            resources: Resources::none(),
            limits: TaskLimits::default(),
            health_check: None,
            check: None,
            kill_grace_period: None,
            max_completion_time: None,
            labels: Vec::new(),
            ports: Vec::new(),
            found_as: None,
            data: Vec::new(),
        }
    }

    /// Its id.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// Its name for people.
    pub(crate) fn name_for_people(&self) -> &str {
        &self.name
    }

    /// A name for people; the id when none is given.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// All that it takes from the offer, besides the ports told by [`port`](Self::port).
    #[must_use]
    pub fn resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        for Told { port, is_taken } in std::mem::take(&mut self.ports) {
            self = match is_taken {
                true => self.port(port),
                false => self.inner_port(port),
            };
        }
        self
    }

    /// What it takes from the offer, its ports included.
    pub fn needs(&self) -> &Resources {
        &self.resources
    }

    /// CPUs, in thousandths.
    #[must_use]
    pub fn cpus_milli(mut self, milli: u64) -> Self {
        self.resources.cpus_milli = milli;
        self
    }

    /// Memory, in MB of 2^20 bytes.
    #[must_use]
    pub fn mem_mb(mut self, megabytes: u64) -> Self {
        self.resources.mem_milli = megabytes.saturating_mul(mete_model::MB_MILLI);
        self
    }

    /// Disk of its sandbox, in MB of 2^20 bytes.
    #[must_use]
    pub fn disk_mb(mut self, megabytes: u64) -> Self {
        self.resources.disk_milli = megabytes.saturating_mul(mete_model::MB_MILLI);
        self
    }

    /// How much more it may have than it takes from the offer, where nobody else wants it; by default as much CPU time as is
    /// idle, and no more memory.
    #[must_use]
    pub fn limits(mut self, limits: TaskLimits) -> Self {
        self.limits = limits;
        self
    }

    /// A port of the offer, taken and told to those who look for the task. One that is among its resources already, reserved or
    /// not, is only told.
    #[must_use]
    pub fn port(mut self, port: TaskPort) -> Self {
        let interval = port.interval();
        if !self.resources.flat().ports.includes(&interval) {
            self.resources.ports.add(&interval);
        }
        self.ports.push(Told {
            port,
            is_taken: true,
        });
        self
    }

    /// A port on a network of the task's own, which leads in from no port of the agent: it is only told.
    #[must_use]
    pub fn inner_port(mut self, port: TaskPort) -> Self {
        self.ports.push(Told {
            port,
            is_taken: false,
        });
        self
    }

    /// Under which name others find it; without one, and with ports to be told, it is found by its own.
    #[must_use]
    pub fn found_as(mut self, name: impl Into<String>) -> Self {
        self.found_as = Some(name.into());
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.command.environment.insert(name.into(), value.into());
        self
    }

    /// A label for people and tools.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), Some(value.into())));
        self
    }

    /// The user it runs as.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.command.user = Some(user.into());
        self
    }

    /// Something to fetch into its sandbox first.
    #[must_use]
    pub fn fetch(mut self, uri: FetchUri) -> Self {
        self.command.uris.push(uri);
        self
    }

    /// The image it runs from, as `docker pull` names one; its agent pulls it if need be.
    #[must_use]
    pub fn image(mut self, reference: impl Into<String>) -> Self {
        let container = self.container.get_or_insert_default();
        container.image = Some(reference.into());
        self
    }

    /// All that is around it: image, mounts, isolation.
    #[must_use]
    pub fn container(mut self, container: ContainerSpec) -> Self {
        self.container = Some(container);
        self
    }

    /// How its agent tells whether it is healthy.
    #[must_use]
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.health_check = Some(check);
        self
    }

    /// What the agent asks it, so that the answers are told; nothing else follows from them.
    #[must_use]
    pub fn check(mut self, check: TaskCheck) -> Self {
        self.check = Some(check);
        self
    }

    /// From SIGTERM to SIGKILL.
    #[must_use]
    pub fn kill_grace_period(mut self, grace: Duration) -> Self {
        self.kill_grace_period = Some(grace);
        self
    }

    /// How long it may run before its agent ends it; it has failed then.
    #[must_use]
    pub fn max_completion_time(mut self, most: Duration) -> Self {
        self.max_completion_time = Some(most);
        self
    }

    /// Bytes that come along with the task; nobody else looks at them.
    #[must_use]
    pub fn data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// The message, for one agent and in one role.
    pub(crate) fn for_offer(self, agent: &AgentId, role: &Role) -> wire::TaskInfo {
        let mut needs = resources::to_wire(&self.resources);
        resources::allocate(&mut needs, role);
        let is_told = self.found_as.is_some() || !self.ports.is_empty();
        let discovery = is_told.then(|| {
            let name = self.found_as.unwrap_or_else(|| self.name.clone());
            discovery(name, &self.ports)
        });
        let mut info = wire::TaskInfo {
            name: self.name,
            task_id: (&self.id).into(),
            agent_id: agent.into(),
            resources: needs,
            limits: task_limits::to_wire(&self.limits),
            command: Some((&self.command).into()),
            container: self
                .container
                .as_ref()
                .map(|container| Box::new(container.into())),
            health_check: self
                .health_check
                .as_ref()
                .map(|check| Box::new(check.into())),
            check: self.check.as_ref().map(|check| Box::new(check.into())),
            kill_policy: self.kill_grace_period.map(kill_policy),
            max_completion_time: self.max_completion_time.map(duration_info),
            labels: labels_to_wire(&self.labels),
            data: (!self.data.is_empty()).then(|| self.data.into()),
            discovery,
            ..wire::TaskInfo::default()
        };
        terminal::write(&mut info, self.command.terminal);
        info
    }
}

fn discovery(name: String, ports: &[Told]) -> wire::DiscoveryInfo {
    let port = |Told { port, .. }: &Told| {
        let labels = port.labels.iter();
        let labels: Vec<_> = labels
            .map(|(key, value)| (key.clone(), Some(value.clone())))
            .collect();
        wire::Port {
            number: port.number.into(),
            name: port.name.clone(),
            protocol: port.protocol.clone(),
            labels: labels_to_wire(&labels),
            ..wire::Port::default()
        }
    };
    let mut info = wire::DiscoveryInfo {
        name: Some(name),
        ports: Some(wire::Ports {
            ports: ports.iter().map(port).collect(),
        }),
        ..wire::DiscoveryInfo::default()
    };
    info.set_visibility(wire::discovery_info::Visibility::Framework);
    info
}

#[cfg(test)]
mod tests {
    use mete_model::{Limit, TaskSpec, WindowSize};

    use super::*;

    #[test]
    fn a_port_on_a_network_of_its_own_is_told_and_not_taken() {
        let task = Task::shell("t", "true").expect("an id");
        let task = task.found_as("web").inner_port(TaskPort::number(80));
        let task = task.resources(Resources::cpus_mem(100, 32));

        assert_eq!(*task.needs(), Resources::cpus_mem(100, 32));
        let agent = AgentId::new("a").expect("an id");
        let info = task.for_offer(&agent, &Role::new("*").expect("a role"));
        let found = info.discovery.expect("it is told");
        assert_eq!(found.name.as_deref(), Some("web"));
        assert_eq!(found.ports.expect("ports").ports[0].number, 80);
    }

    #[test]
    fn a_port_that_is_reserved_is_told_and_not_taken_twice() {
        let tag = mete_model::Tag::reserved(Role::new("db").expect("a role"));
        let ports = Resources::none().with_ports(Ranges::interval(31_000, 31_000));
        let reserved = Resources::none().with_part(tag, ports);

        let task = Task::shell("t-1", "sleep 1").expect("an id");
        let task = task
            .resources(reserved.clone())
            .port(TaskPort::number(31_000));

        assert_eq!(*task.needs(), reserved);
        assert_eq!(task.ports.len(), 1);
    }

    #[test]
    fn a_terminal_is_asked_for_with_a_container_and_without() {
        let command = CommandSpec {
            terminal: Some(WindowSize::default()),
            ..CommandSpec::shell("sh")
        };
        let task = Task::new(TaskId::new("t-1").expect("an id"), command);
        let agent = AgentId::new("S1").expect("an id");
        for task in [task.clone(), task.image("box:1")] {
            let message = task.for_offer(&agent, &Role::any());
            let read = TaskSpec::try_from(&message).expect("it makes sense");

            assert_eq!(read.command.terminal, Some(WindowSize::default()));
        }
    }

    #[test]
    fn what_is_built_is_what_a_master_reads() {
        let limits = TaskLimits {
            cpus_milli: Some(Limit::Unlimited),
            mem_bytes: Some(Limit::At(128 << 20)),
        };
        let task = Task::shell("t-1", "sleep 1")
            .expect("an id")
            .name("sleeper")
            .port(TaskPort::number(31_000))
            .resources(Resources::cpus_mem(250, 64))
            .disk_mb(8)
            .limits(limits)
            .env("A", "b")
            .image("box:1")
            .label("team", "blue")
            .kill_grace_period(Duration::from_secs(7))
            .max_completion_time(Duration::from_secs(60))
            .data(*b"xyz");
        let agent = AgentId::new("S1").expect("an id");

        let message = task.clone().for_offer(&agent, &Role::any());
        let read = TaskSpec::try_from(&message).expect("it makes sense");

        assert_eq!(read.id, *task.id());
        assert_eq!(read.name, "sleeper");
        assert_eq!(read.agent, agent);
        assert_eq!(read.resources, *task.needs());
        assert_eq!(read.limits, limits);
        assert!(
            read.resources.ports.contains(31_000),
            "told before resources"
        );
        assert_eq!(read.command.environment["A"], "b");
        let image = read.container.and_then(|container| container.image);
        assert_eq!(image.as_deref(), Some("box:1"));
        assert_eq!(read.kill_grace_period, Some(Duration::from_secs(7)));
        assert_eq!(read.max_completion_time, Some(Duration::from_secs(60)));
        assert_eq!(read.labels, [("team".to_owned(), Some("blue".to_owned()))]);
        let role = message.resources[0].allocation_info.as_ref();
        assert_eq!(role.map(|info| info.role()), Some("*"));
    }
}
