//! Executors of frameworks' own: accounted once until they are over, told and heard, brought back by agents.

use std::sync::Arc;

use mete_master_core::{
    Accept, Action, Call, Event, ExecutorNews, FromExecutor, Input, LinkId, MessageToAgent,
    Operation,
};
use mete_model::{
    AgentId, CommandSpec, ExecutorId, ExecutorKind, ExecutorSpec, FrameworkId, FrameworkInfo,
    Machine, Resources, TaskSpec, TaskState,
};

use crate::world::{
    Client, NO_FILTER, Out, World, events, framework_info, messages, statuses, task,
};

fn executor(original: u8) -> ExecutorSpec {
    ExecutorSpec {
        id: ExecutorId::new("own").expect("good"),
        kind: ExecutorKind::Custom,
        name: String::new(),
        resources: Resources::cpus_mem(100, 32),
        command: Some(CommandSpec::shell("./executor")),
        container: None,
        shutdown_grace_period: None,
        original: vec![original].into(),
    }
}

/// One agent with 4 CPUs and 1024 MB, offered to one framework.
struct Scene {
    world: World,
    agent: AgentId,
    link: LinkId,
    client: Client,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new();
        let (agent, link) = world.agent_with("a", Resources::cpus_mem(4_000, 1_024));
        let (client_link, out) = world.subscribe(framework_info());
        let client = Client::of(client_link, &out);
        Self {
            world,
            agent,
            link,
            client,
        }
    }

    fn launch(&mut self, id: &str, executor: ExecutorSpec) -> Out {
        let spec = TaskSpec {
            resources: Resources::cpus_mem(1_000, 32),
            command: CommandSpec::shell(""),
            executor: Some(Arc::new(executor)),
            ..task(id, &self.agent)
        };
        let view = self.world.cluster.view();
        let accept = Accept {
            offers: view.offers.values().map(|offer| offer.id.clone()).collect(),
            operations: vec![Operation::Launch(vec![Ok(spec)])],
            refuse_for: NO_FILTER,
        };
        self.world.call(&self.client.clone(), Call::Accept(accept))
    }

    fn offered(&self) -> Resources {
        let view = self.world.cluster.view();
        let offers = view.offers.values();
        offers.fold(Resources::none(), |sum, offer| sum.plus(&offer.resources))
    }

    fn report(&mut self, id: &str, state: TaskState, number: u8) {
        let (agent, link, client) = (self.agent.clone(), self.link, self.client.clone());
        self.world
            .report((&agent, link), &client, id, state, number);
    }

    fn news(&mut self, news: FromExecutor) -> Out {
        let news = ExecutorNews {
            agent: self.agent.clone(),
            link: self.link,
            framework: self.client.id.clone(),
            executor: executor(1).id,
            news,
        };
        self.world.step(Input::OfExecutor(Box::new(news)))
    }
}

#[test]
fn an_executor_takes_its_resources_once_and_until_it_is_over() {
    let mut scene = Scene::new();

    let out = scene.launch("a", executor(1));
    scene.launch("b", executor(1));

    let told = messages(&out, scene.link);
    assert!(matches!(&told[..], [MessageToAgent::RunTask { task, .. }] if task.executor.is_some()));
    assert_eq!(scene.offered(), Resources::cpus_mem(1_900, 928));
    scene.report("a", TaskState::Finished, 1);
    scene.report("b", TaskState::Finished, 2);
    assert_eq!(scene.offered(), Resources::cpus_mem(3_900, 992));
    let over = scene.news(FromExecutor::Exited { status: 256 });
    assert_eq!(scene.offered(), Resources::cpus_mem(4_000, 1_024));
    let failure = Event::ExecutorFailure {
        agent: scene.agent.clone(),
        executor: executor(1).id,
        status: 256,
    };
    assert!(events(&over, scene.client.link).contains(&failure));
}

#[test]
fn offers_name_the_executors_that_their_framework_has_there() {
    let mut scene = Scene::new();

    let out = scene.launch("a", executor(1));

    let mut named = None;
    for event in events(&out, scene.client.link) {
        if let Event::Offers { executors, .. } = event {
            named = Some(executors);
        }
    }
    let expected = [(scene.agent.clone(), vec![executor(1).id])];
    assert_eq!(named, Some(expected.into()));
}

#[test]
fn the_same_executor_described_otherwise_is_refused() {
    let mut scene = Scene::new();
    scene.launch("a", executor(1));

    let out = scene.launch("b", executor(2));

    let status = &statuses(&out, scene.client.link)[0];
    assert_eq!(status.state, TaskState::Error);
    let why = "executor own runs on this agent with another description";
    assert_eq!(status.message.as_deref(), Some(why));
}

#[test]
fn messages_and_orders_go_down_and_messages_up() {
    let mut scene = Scene::new();
    scene.launch("a", executor(1));
    let (agent, own) = (scene.agent.clone(), executor(1).id);

    let shutdown = Call::ShutdownExecutor {
        agent: agent.clone(),
        executor: own.clone(),
    };
    let down = scene.world.call(&scene.client.clone(), shutdown);
    let data: bytes::Bytes = vec![7].into();
    let up = scene.news(FromExecutor::Message(data.clone()));

    let framework = scene.client.id.clone();
    let wanted = MessageToAgent::ShutdownExecutor {
        framework,
        executor: own.clone(),
    };
    assert_eq!(messages(&down, scene.link), [wanted]);
    let executor = own;
    let wanted = Event::Message {
        agent,
        executor,
        data,
    };
    assert!(events(&up, scene.client.link).contains(&wanted));
}

#[test]
fn an_agent_brings_executors_without_tasks_and_those_of_removed_frameworks_are_ended() {
    let mut scene = Scene::new();
    scene.launch("a", executor(1));
    scene.report("a", TaskState::Finished, 1);
    let (id, own) = (scene.client.id.clone(), executor(1));
    let come_back = |scene: &mut Scene| {
        let mut registration = scene.world.registration("a");
        registration.info.resources = Resources::cpus_mem(4_000, 1_024);
        registration.id = Some(scene.agent.clone());
        registration.executors = vec![(id.clone(), Arc::new(own.clone()))];
        scene.link = registration.link;
        scene
            .world
            .step(Input::RegisterAgent(Box::new(registration)))
    };

    come_back(&mut scene);

    assert_eq!(scene.world.cluster.view().executors.len(), 1);
    assert_eq!(scene.offered(), Resources::cpus_mem(3_900, 992));
    let torn_down = scene.world.call(&scene.client.clone(), Call::Teardown);
    let ends = |out: &Out, link| {
        let all = messages(out, link);
        all.iter()
            .any(|message| matches!(message, MessageToAgent::ShutdownExecutor { .. }))
    };
    assert!(ends(&torn_down, scene.link));
    let again = come_back(&mut scene);
    assert!(ends(&again, scene.link));
    assert!(
        !again
            .act
            .iter()
            .any(|action| matches!(action, Action::Close { link } if *link == scene.link))
    );
}

#[test]
fn the_end_of_an_executor_that_nobody_heard_of_is_told_when_its_agent_is_back() {
    for (says, status) in [(true, 9), (false, -1)] {
        let mut scene = Scene::new();
        scene.launch("a", executor(1));
        let (agent, framework) = (scene.agent.clone(), scene.client.id.clone());
        scene.world.step(Input::AgentDisconnected {
            agent: agent.clone(),
            link: scene.link,
        });
        let mut registration = scene.world.registration("a");
        registration.info.resources = Resources::cpus_mem(4_000, 1_024);
        registration.id = Some(agent.clone());
        if says {
            registration.exited = vec![(framework, executor(1).id, status)];
        }

        let out = scene
            .world
            .step(Input::RegisterAgent(Box::new(registration)));

        let failure = Event::ExecutorFailure {
            agent,
            executor: executor(1).id,
            status,
        };
        let told = events(&out, scene.client.link);
        assert_eq!(told.iter().filter(|event| **event == failure).count(), 1);
        assert_eq!(scene.world.cluster.view().executors.len(), 0);
    }
}

#[test]
fn the_end_of_an_executor_is_told_to_a_framework_that_was_away_when_it_is_back_and_once() {
    let mut scene = Scene::new();
    scene.launch("a", executor(1));
    let (id, link) = (scene.client.id.clone(), scene.client.link);
    let again = FrameworkInfo {
        id: Some(id.clone()),
        ..framework_info()
    };
    let framework = id.clone();
    scene
        .world
        .step(Input::FrameworkDisconnected { framework, link });
    scene.news(FromExecutor::Exited { status: 256 });

    let (link, out) = scene.world.subscribe(again.clone());

    let failure = Event::ExecutorFailure {
        agent: scene.agent.clone(),
        executor: executor(1).id,
        status: 256,
    };
    let told = |out: &Out, link| {
        let all = events(out, link);
        all.iter().filter(|event| **event == failure).count()
    };
    assert_eq!(told(&out, link), 1);
    let (link, out) = scene.world.subscribe(again);
    assert_eq!(told(&out, link), 0);
}

#[test]
fn a_master_that_is_new_tells_ends_that_an_agent_brings_to_a_framework_that_comes_later() {
    let mut world = World::new();
    let id = FrameworkId::new("before-0001").expect("good");
    let mut registration = world.registration("a");
    registration.exited = vec![(id.clone(), executor(1).id, 9)];
    world.step(Input::RegisterAgent(Box::new(registration)));

    let (link, out) = world.subscribe(FrameworkInfo {
        id: Some(id),
        ..framework_info()
    });

    let told = events(&out, link);
    assert!(
        told.iter()
            .any(|event| matches!(event, Event::ExecutorFailure { status: 9, .. })),
        "{told:?}"
    );
}
