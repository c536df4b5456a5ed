//! An agent whose store is a map and whose master is the test.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_agent_core::task_dir::{End, Exit};
use mete_agent_core::{
    Action, Findings, Found, Input, LaunchOutcome, Node, Order, Outgoing, Registration, Report,
    Settings,
};
use mete_model::container::{Network, PortMapping, Transport};
use mete_model::{
    AgentId, Capability, CommandSpec, ContainerId, ContainerSpec, Durable, Effects, FrameworkId,
    FrameworkInfo, HealthCheck, Machine, Probe, Resources, Role, TaskId, TaskKey, TaskSpec,
    TaskState, Timestamp, UpdateId,
};

pub(crate) const NOON: Timestamp = Timestamp::from_millis(1_700_000_000_000);
pub(crate) const MEGABYTE: u64 = 1 << 20;

pub(crate) fn at(seconds: f64) -> Timestamp {
    NOON + Duration::from_secs_f64(seconds)
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub(crate) fn agent() -> AgentId {
    AgentId::new("m-S1").expect("good")
}

pub(crate) fn key(task: &str) -> TaskKey {
    TaskKey {
        framework: FrameworkId::new("f-0001").expect("good"),
        task: TaskId::new(task).expect("good"),
    }
}

pub(crate) fn framework() -> FrameworkInfo {
    FrameworkInfo {
        id: Some(key("x").framework),
        name: "services".into(),
        user: String::new(),
        roles: [Role::any()].into(),
        capabilities: [Capability::PartitionAware, Capability::TaskKillingState].into(),
        failover_timeout: seconds(60),
        principal: None,
        hostname: "here".into(),
        webui_url: None,
        original: vec![1, 2, 255].into(),
    }
}

pub(crate) fn spec(task: &str) -> TaskSpec {
    TaskSpec {
        name: format!("{task}.name"),
        kill_grace_period: Some(seconds(5)),
        labels: vec![("a".into(), None)],
        original: vec![0, 159, 146].into(),
        ..TaskSpec::new(
            TaskId::new(task).expect("good"),
            agent(),
            Resources::cpus_mem(500, 64),
            CommandSpec::shell("sleep 1000"),
        )
    }
}

pub(crate) fn checked(task: &str) -> TaskSpec {
    let mut check = HealthCheck::new(Probe::Tcp { port: 31_000 });
    check.delay = seconds(1);
    check.interval = seconds(2);
    check.grace_period = seconds(10);
    TaskSpec {
        health_check: Some(check),
        check: None,
        ..spec(task)
    }
}

pub(crate) fn exit(code: i32) -> Exit {
    Exit::new(End::Exited { code }, NOON.as_micros())
}

pub(crate) fn signaled(signal: i32) -> Exit {
    Exit::new(End::Signaled { signal }, NOON.as_micros())
}

/// An agent, what it has stored, and the effects of the last step.
pub(crate) struct World {
    pub(crate) node: Node,
    pub(crate) disk: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) link: u64,
    pub(crate) last: Effects<Node>,
}

fn settings() -> Settings {
    Settings {
        ip: "127.0.0.2".into(),
        kill_grace: seconds(3),
        gc_delay: seconds(1_000),
        executor_reregistration_timeout: seconds(15),
        disk_reserve_bytes: 10 * MEGABYTE,
        seed: [7, 11],
    }
}

impl World {
    /// An agent that has just been started for the first time.
    pub(crate) fn new() -> Self {
        let node = Node::recover(settings(), []).expect("an empty store");
        Self {
            node,
            disk: BTreeMap::new(),
            link: 0,
            last: Effects::none(),
        }
    }

    /// An agent that is registered.
    pub(crate) fn registered() -> Self {
        let mut world = Self::new();
        world.recover("boot-1", []);
        world.admit(NOON, 1);
        world
    }

    /// An agent with one running task whose reports so far are acknowledged.
    pub(crate) fn running(spec: TaskSpec) -> Self {
        let mut world = Self::registered();
        let key = key(spec.id.as_str());
        world.run(NOON, spec);
        world.launched(NOON, &key, LaunchOutcome::Started);
        world.acknowledge_all(NOON, &key);
        world
    }

    pub(crate) fn step(&mut self, now: Timestamp, input: Input) -> Vec<Action> {
        self.last = self.node.step(now, input);
        for change in self.last.store.iter().flat_map(Durable::changes) {
            match change.value {
                Some(value) => drop(self.disk.insert(change.key, value)),
                None => drop(self.disk.remove(&change.key)),
            }
        }
        self.last.act.clone()
    }

    /// The agent is killed and started again.
    pub(crate) fn crash(&mut self) {
        let entries = self.disk.clone();
        self.node = Node::recover(
            Settings {
                seed: [13, self.link],
                ..settings()
            },
            entries,
        )
        .expect("its own records");
        self.link = 0;
    }

    pub(crate) fn recover<const N: usize>(
        &mut self,
        boot: &str,
        found: [(TaskKey, Found); N],
    ) -> Vec<Action> {
        let findings = Findings {
            boot_id: boot.into(),
            found: found.into(),
            executors: [].into(),
        };
        let actions = self.step(NOON, Input::Recovered(findings));
        self.link = opened(&actions).expect("it looks for its master");
        actions
    }

    /// The stream opens and the master admits the agent.
    pub(crate) fn admit(&mut self, now: Timestamp, epoch: u64) -> (Registration, Vec<Action>) {
        let link = self.link;
        let hello = self.step(now, Input::Connected { link });
        let registration = hello
            .iter()
            .find_map(|action| match said(action)? {
                Outgoing::Register(registration) => Some(registration.clone()),
                Outgoing::Update(_)
                | Outgoing::ExecutorMessage { .. }
                | Outgoing::ExecutorExited { .. }
                | Outgoing::VolumeErased { .. } => None,
            })
            .expect("it registers first");
        let admitted = Order::Registered {
            epoch,
            agent: agent(),
        };
        let actions = self.order(now, admitted);
        (registration, actions)
    }

    /// The link breaks, and the agent comes back when it wants to; the moment of that.
    pub(crate) fn reconnect(&mut self, now: Timestamp) -> Timestamp {
        let link = self.link;
        self.step(
            now,
            Input::Disconnected {
                link,
                reason: "reset".into(),
            },
        );
        for _ in 0..100 {
            let then = self.node.next_deadline().expect("it comes back");
            if let Some(link) = opened(&self.step(then, Input::Deadline)) {
                self.link = link;
                return then;
            }
        }
        panic!("it does not come back within a hundred deadlines");
    }

    pub(crate) fn order(&mut self, now: Timestamp, order: Order) -> Vec<Action> {
        let link = self.link;
        self.step(now, Input::FromMaster { link, order })
    }

    pub(crate) fn run(&mut self, now: Timestamp, spec: TaskSpec) -> Vec<Action> {
        let order = Order::Run {
            framework: framework(),
            task: Box::new(spec),
        };
        self.order(now, order)
    }

    pub(crate) fn kill(&mut self, now: Timestamp, key: &TaskKey) -> Vec<Action> {
        let order = Order::Kill {
            key: key.clone(),
            grace: None,
        };
        self.order(now, order)
    }

    pub(crate) fn container(&self, key: &TaskKey) -> ContainerId {
        self.node.view().tasks[key].container.clone()
    }

    pub(crate) fn launched(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        outcome: LaunchOutcome,
    ) -> Vec<Action> {
        let input = Input::Launched {
            container: self.container(key),
            key: key.clone(),
            outcome,
        };
        self.step(now, input)
    }

    pub(crate) fn exited(&mut self, now: Timestamp, key: &TaskKey, exit: Exit) -> Vec<Action> {
        let input = Input::Exited {
            container: self.container(key),
            key: key.clone(),
            exit: Some(exit),
        };
        self.step(now, input)
    }

    pub(crate) fn probed(&mut self, now: Timestamp, key: &TaskKey, passed: bool) -> Vec<Action> {
        let input = Input::Probed {
            container: self.container(key),
            key: key.clone(),
            result: if passed {
                Ok(())
            } else {
                Err("connection refused".into())
            },
        };
        self.step(now, input)
    }

    pub(crate) fn acknowledge(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        update: UpdateId,
    ) -> Vec<Action> {
        let order = Order::Acknowledge {
            key: key.clone(),
            update,
        };
        self.order(now, order)
    }

    /// Acknowledges what comes until nothing comes any more; the states, in order.
    pub(crate) fn acknowledge_all(&mut self, now: Timestamp, key: &TaskKey) -> Vec<TaskState> {
        let mut seen = Vec::new();
        self.reconnect(now);
        let (registration, _) = self.admit(now, 1);
        for report in registration.unacknowledged {
            seen.push(report.status.state);
            self.acknowledge(now, key, report.status.uuid.expect("every report has one"));
        }
        seen
    }

    /// The state of a task, as the agent knows it.
    pub(crate) fn state(&self, key: &TaskKey) -> Option<TaskState> {
        let view = self.node.view();
        view.tasks.get(key).map(|task| task.latest.state)
    }
}

pub(crate) fn opened(actions: &[Action]) -> Option<u64> {
    actions.iter().find_map(|action| {
        if let Action::Connect { link } = action {
            Some(*link)
        } else {
            None
        }
    })
}

/// What an action says to the master.
fn said(action: &Action) -> Option<&Outgoing> {
    if let Action::Send { message, .. } = action {
        Some(message)
    } else {
        None
    }
}

/// The reports among some actions.
pub(crate) fn reports(actions: &[Action]) -> Vec<Report> {
    let sent = actions.iter().filter_map(|action| match said(action)? {
        Outgoing::Update(report) => Some(report.clone()),
        Outgoing::Register(_)
        | Outgoing::ExecutorMessage { .. }
        | Outgoing::ExecutorExited { .. }
        | Outgoing::VolumeErased { .. } => None,
    });
    sent.collect()
}

/// The one report among some actions.
pub(crate) fn report(actions: &[Action]) -> Report {
    let mut all = reports(actions);
    assert_eq!(all.len(), 1, "one report in {actions:?}");
    all.remove(0)
}

/// A container on the bridge whose port 8080 is reached at a port of the host.
pub(crate) fn reached_at(host: u16) -> ContainerSpec {
    let port = PortMapping {
        host,
        container: 8_080,
        transport: Transport::Tcp,
    };
    ContainerSpec {
        network: Network::Bridge { ports: vec![port] },
        ..ContainerSpec::default()
    }
}
