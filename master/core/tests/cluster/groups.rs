//! LAUNCH_GROUP: all or nothing, the executor accounted once, brought back by agents.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_master_core::{
    Accept, BadGroup, Call, Input, LinkId, MessageToAgent, Operation, TaskName,
};
use mete_model::executor::INIT_LABEL;
use mete_model::{
    AgentId, ExecutorId, ExecutorKind, ExecutorSpec, MB_MILLI, Machine, Reason, Resources,
    TaskGroup, TaskSpec, TaskState,
};

use crate::world::{Client, NO_FILTER, Out, World, brought, messages, offers, statuses, task};

fn disk(megabytes: u64) -> Resources {
    let mut all = Resources::none();
    all.disk_milli = megabytes * MB_MILLI;
    all
}

fn executor(kind: ExecutorKind, resources: Resources) -> ExecutorSpec {
    ExecutorSpec {
        id: ExecutorId::new("pod").expect("good"),
        kind,
        name: String::new(),
        resources,
        command: None,
        container: None,
        shutdown_grace_period: None,
        original: vec![7].into(),
    }
}

fn usual() -> ExecutorSpec {
    executor(
        ExecutorKind::Default,
        Resources::cpus_mem(100, 32).plus(&disk(10)),
    )
}

/// One agent with 4 CPUs, 1024 MB and 100 MB of disk, offered to one framework.
struct Scene {
    world: World,
    agent: AgentId,
    link: LinkId,
    client: Client,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new();
        let (agent, link) = world.agent_with("a", all());
        let (client_link, out) = world.subscribe(crate::world::framework_info());
        let client = Client::of(client_link, &out);
        Self {
            world,
            agent,
            link,
            client,
        }
    }

    fn task(&self, id: &str, milli: u64) -> TaskSpec {
        TaskSpec {
            resources: Resources::cpus_mem(milli, 32),
            ..task(id, &self.agent)
        }
    }

    fn operate(&mut self, operation: Operation) -> Out {
        let offers = self.client.offers.iter().map(|offer| offer.id.clone());
        let accept = Accept {
            offers: offers.collect(),
            operations: vec![operation],
            refuse_for: NO_FILTER,
        };
        let out = self.world.call(&self.client.clone(), Call::Accept(accept));
        self.client.offers = offers_of(&out, &self.client);
        out
    }

    fn launch(&mut self, executor: ExecutorSpec, tasks: Vec<TaskSpec>) -> Out {
        let group = TaskGroup { executor, tasks };
        self.operate(Operation::LaunchGroup(Ok(Box::new(group))))
    }

    /// A report of a task; all that is on offer then.
    fn report(&mut self, id: &str, state: TaskState, number: u8) -> Resources {
        let (agent, link, client) = (self.agent.clone(), self.link, self.client.clone());
        self.world
            .report((&agent, link), &client, id, state, number);
        let view = self.world.cluster.view();
        let offers = view.offers.values();
        offers.fold(Resources::none(), |sum, offer| sum.plus(&offer.resources))
    }
}

fn all() -> Resources {
    Resources::cpus_mem(4_000, 1_024).plus(&disk(100))
}

fn offers_of(out: &Out, client: &Client) -> Vec<Arc<mete_model::Offer>> {
    offers(out, client.link)
}

/// The groups that an agent is told to run: executor and tasks.
fn started(out: &Out, link: LinkId) -> Vec<(String, Vec<String>)> {
    let run = |message| {
        let MessageToAgent::RunGroup {
            executor, tasks, ..
        } = message
        else {
            return None;
        };
        let tasks = tasks.iter().map(|task| task.id.to_string()).collect();
        Some((executor.id.to_string(), tasks))
    };
    messages(out, link).into_iter().filter_map(run).collect()
}

#[test]
fn a_group_takes_what_its_tasks_and_its_executor_ask_for() {
    let mut scene = Scene::new();
    let tasks = vec![scene.task("a", 1_000), scene.task("b", 500)];

    let out = scene.launch(usual(), tasks);

    let names = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(started(&out, scene.link), [("pod".to_owned(), names)]);
    let rest = Resources::cpus_mem(2_400, 928).plus(&disk(90));
    assert_eq!(scene.client.offers[0].resources, rest);
    let view = scene.world.cluster.view();
    assert_eq!(view.executors.len(), 1);
}

#[test]
fn an_executor_is_accounted_once_and_until_its_last_task_has_ended() {
    let mut scene = Scene::new();
    let first = vec![scene.task("a", 1_000)];
    let second = vec![scene.task("b", 1_000)];
    scene.launch(usual(), first);
    scene.launch(usual(), second);
    let both = scene.client.offers[0].resources.clone();

    let one = scene.report("a", TaskState::Finished, 1);
    let none = scene.report("b", TaskState::Failed, 2);

    assert_eq!(both, Resources::cpus_mem(1_900, 928).plus(&disk(90)));
    assert_eq!(one, Resources::cpus_mem(2_900, 960).plus(&disk(90)));
    assert_eq!(none, all());
    assert!(scene.world.cluster.view().executors.is_empty());
}

/// Groups that make no sense, and why.
fn refusals(scene: &Scene) -> Vec<(ExecutorSpec, Vec<TaskSpec>, &'static str)> {
    let labelled = |id: &str, value: Option<&str>| {
        let mut spec = scene.task(id, 100);
        spec.labels
            .push((INIT_LABEL.into(), value.map(str::to_owned)));
        spec
    };
    let nothing = TaskSpec {
        resources: Resources::none(),
        ..scene.task("b", 100)
    };
    let a = scene.task("a", 100);
    let small = executor(ExecutorKind::Default, Resources::cpus_mem(100, 32));
    vec![
        (
            usual(),
            vec![a.clone(), nothing],
            "its task is refused: task b asks for no resources",
        ),
        (
            usual(),
            vec![a.clone(), scene.task("b", 3_850)],
            "the group asks for more than the offers hold: cpus 4.05 asked, 4 there",
        ),
        (
            usual(),
            vec![a.clone(), a.clone()],
            "task id a is in the group twice",
        ),
        (
            usual(),
            vec![a.clone(), labelled("b", Some("maybe"))],
            "task b has label mete.init with value \"maybe\"; it is true, false, or none, which means true",
        ),
        (
            usual(),
            vec![labelled("a", None), labelled("b", Some("true"))],
            "all tasks of the group are to end before the others begin, and there are no others",
        ),
        (
            small,
            vec![a],
            "executor pod asks for cpus:0.1; mem:32; it needs at least cpus:0.01, mem:32 and some disk",
        ),
        (usual(), vec![], ""),
    ]
}

#[test]
fn an_executor_of_the_frameworks_own_takes_its_resources_once_and_stays_when_its_group_has_ended() {
    let mut scene = Scene::new();
    let own = executor(ExecutorKind::Custom, usual().resources);
    let a = TaskSpec {
        executor: Some(Arc::new(own.clone())),
        ..scene.task("a", 100)
    };
    let b = TaskSpec {
        id: "b".parse().expect("good"),
        ..a.clone()
    };

    let out = scene.launch(own, vec![a, b]);
    let rest = scene.client.offers[0].resources.clone();
    scene.report("a", TaskState::Finished, 1);
    let free = scene.report("b", TaskState::Failed, 2);

    assert_eq!(started(&out, scene.link).len(), 1);
    assert_eq!(rest, Resources::cpus_mem(3_700, 928).plus(&disk(90)));
    assert_eq!(free, Resources::cpus_mem(3_900, 992).plus(&disk(90)));
    let executors = scene.world.cluster.view().executors;
    assert_eq!(executors.len(), 1);
    assert!(executors.values().all(|one| one.tasks.is_empty()));
}

#[test]
fn one_task_that_makes_no_sense_and_none_is_started() {
    let mut scene = Scene::new();

    for (executor, tasks, why) in refusals(&scene) {
        let ids: BTreeSet<_> = tasks.iter().map(|spec| spec.id.clone()).collect();
        let out = scene.launch(executor, tasks);

        let told = statuses(&out, scene.client.link);
        for status in &told {
            let is = (status.state, status.reason, status.message.as_deref());
            let error = (TaskState::Error, Some(Reason::TaskGroupInvalid), Some(why));
            assert_eq!(is, error);
        }
        let answered: BTreeSet<_> = told.into_iter().map(|status| status.task).collect();
        assert_eq!(answered, ids);
        assert_eq!(started(&out, scene.link), []);
        let offered = &scene.client.offers[0].resources;
        assert_eq!(*offered, all(), "all is offered again");
    }
    assert!(scene.world.cluster.view().tasks.is_empty());
}

#[test]
fn a_group_that_could_not_be_read_is_answered_task_by_task() {
    let mut scene = Scene::new();

    let out = scene.operate(Operation::LaunchGroup(Err(BadGroup {
        tasks: vec![TaskName::of("a"), TaskName::of("b")],
        why: "executor.type: it is missing".to_owned(),
    })));

    let told = statuses(&out, scene.client.link);
    let told: Vec<_> = told
        .iter()
        .map(|status| {
            (
                status.task.as_str(),
                status.state,
                status.message.as_deref(),
            )
        })
        .collect();
    let why = Some("executor.type: it is missing");
    assert_eq!(
        told,
        [("a", TaskState::Error, why), ("b", TaskState::Error, why)]
    );
}

#[test]
fn an_executor_of_another_description_is_refused_while_one_runs() {
    let mut scene = Scene::new();
    let first = vec![scene.task("a", 100)];
    let second = vec![scene.task("b", 100)];
    scene.launch(usual(), first);
    let mut other = usual();
    other.original = vec![8].into();

    let out = scene.launch(other, second);

    let words = statuses(&out, scene.client.link).remove(0).message;
    assert_eq!(
        words.as_deref(),
        Some("executor pod runs on this agent with another description")
    );
}

#[test]
fn an_agent_that_comes_back_brings_executors_with_their_tasks() {
    let mut scene = Scene::new();
    let tasks = vec![scene.task("a", 1_000), scene.task("b", 500)];
    scene.launch(usual(), tasks);
    let client = scene.client.clone();
    let bring = |scene: &Scene, id: &str, milli| {
        let mut task = brought(&client, &scene.agent, id, TaskState::Running);
        task.brief.resources = Resources::cpus_mem(milli, 32);
        task.executor = Some(Arc::new(usual()));
        task
    };
    let mut registration = scene.world.registration("a");
    registration.info.resources = all();
    registration.id = Some(scene.agent.clone());
    registration.tasks = vec![bring(&scene, "a", 1_000), bring(&scene, "b", 500)];
    scene.link = registration.link;

    let out = scene
        .world
        .step(Input::RegisterAgent(Box::new(registration)));

    let rest = Resources::cpus_mem(2_400, 928).plus(&disk(90));
    let offered = offers_of(&out, &client);
    assert_eq!(offered[0].resources, rest);
    scene.report("a", TaskState::Finished, 1);
    assert_eq!(scene.report("b", TaskState::Finished, 2), all());
}
