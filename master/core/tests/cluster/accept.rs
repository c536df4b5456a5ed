//! ACCEPT: offers become launches, or every task is told why not.

use std::time::Duration;

use mete_master_core::{Accept, BadTask, Call, Operation, Reply};
use mete_model::{
    AgentId, CommandSpec, Limit, Offer, OfferId, Ranges, Reason, Resources, Role, TaskSpec,
    TaskState,
};

use crate::world::{
    Client, NO_FILTER, Out, World, events, offers, runs, statuses, task, task_id, updates,
};

struct Scene {
    world: World,
    agent: AgentId,
    link: mete_master_core::LinkId,
    client: Client,
}

fn scene() -> Scene {
    let mut world = World::new();
    let (agent, link) = world.agent("a");
    let client = world.framework();
    Scene {
        world,
        agent,
        link,
        client,
    }
}

impl Scene {
    fn offer(&self) -> Offer {
        Offer::clone(&self.client.offers[0])
    }

    fn accept(&mut self, tasks: Vec<TaskSpec>) -> Out {
        let offer = self.offer();
        let client = self.client.clone();
        self.world.accept(&client, &[&offer], tasks)
    }

    /// Launches one task and says why it was refused.
    fn refusal(&mut self, task: TaskSpec) -> String {
        let out = self.accept(vec![task]);
        assert_eq!(runs(&out, self.link), [""; 0]);
        let [status] = &statuses(&out, self.client.link)[..] else {
            panic!("one answer: {out:?}");
        };
        assert_eq!(status.state, TaskState::Error);
        assert_eq!(status.reason, Some(Reason::TaskInvalid));
        assert_eq!(status.uuid, None);
        status.message.clone().expect("a reason in words")
    }
}

#[test]
fn tasks_reach_the_agent_and_the_rest_comes_back() {
    let mut scene = scene();
    let tasks = vec![task("one", &scene.agent), task("two", &scene.agent)];

    let out = scene.accept(tasks);

    assert_eq!(runs(&out, scene.link), ["one", "two"]);
    assert_eq!(updates(&out, scene.client.link), []);
    assert_eq!(out.store, [], "tasks are not stored");
    let out = scene.world.pass(Duration::from_secs(6));
    let rest = offers(&out, scene.client.link);
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].resources.cpus_milli, 2_000);
    assert_eq!(
        rest[0].resources.mem_milli,
        Resources::cpus_mem(0, 3_072).mem_milli
    );
}

#[test]
fn an_accept_without_operations_is_a_decline() {
    let mut scene = scene();

    let out = scene.accept(Vec::new());

    assert_eq!(out.act, []);
    let out = scene.world.pass(Duration::from_secs(6));
    assert_eq!(offers(&out, scene.client.link).len(), 1);
}

#[test]
fn an_offer_is_used_once() {
    let mut scene = scene();
    let (agent, offer, client) = (scene.agent.clone(), scene.offer(), scene.client.clone());
    scene.accept(vec![task("one", &agent)]);

    let out = scene
        .world
        .accept(&client, &[&offer], vec![task("two", &agent)]);

    let dropped = (
        "two".to_owned(),
        TaskState::Dropped,
        Some(Reason::InvalidOffers),
    );
    assert_eq!(updates(&out, client.link), [dropped]);
    assert_eq!(runs(&out, scene.link), [""; 0]);
}

#[test]
fn the_same_accept_again_says_nothing_of_a_task_that_runs() {
    let mut scene = scene();
    let agent = scene.agent.clone();
    scene.accept(vec![task("one", &agent)]);

    let out = scene.accept(vec![task("one", &agent)]);

    assert_eq!(updates(&out, scene.client.link), []);
    assert_eq!(runs(&out, scene.link), [""; 0]);
}

#[test]
fn another_frameworks_offer_is_no_good_and_stays_with_it() {
    let mut scene = scene();
    let (agent, offer, owner) = (scene.agent.clone(), scene.offer(), scene.client.clone());
    let thief = scene.world.framework();

    let out = scene
        .world
        .accept(&thief, &[&offer], vec![task("one", &agent)]);

    let dropped = (
        "one".to_owned(),
        TaskState::Dropped,
        Some(Reason::InvalidOffers),
    );
    assert_eq!(updates(&out, thief.link), [dropped]);
    assert_eq!(events(&out, owner.link), []);
    let out = scene
        .world
        .accept(&owner, &[&offer], vec![task("one", &agent)]);
    assert_eq!(runs(&out, scene.link), ["one"]);
}

#[test]
fn one_bad_offer_returns_the_good_ones() {
    let mut scene = scene();
    let (agent, offer, client) = (scene.agent.clone(), scene.offer(), scene.client.clone());
    let unknown = OfferId::new("m-O99").expect("good");

    let out = scene.world.call(
        &client,
        Call::Accept(Accept {
            offers: vec![offer.id.clone(), unknown],
            operations: vec![Operation::Launch(vec![
                Ok(task("one", &agent)),
                Err(BadTask {
                    task: task_id("two").into(),
                    why: "nonsense".to_owned(),
                }),
            ])],
            refuse_for: Duration::from_secs(3_600),
        }),
    );

    let states: Vec<_> = updates(&out, client.link)
        .into_iter()
        .map(|update| update.1)
        .collect();
    assert_eq!(states, [TaskState::Dropped, TaskState::Dropped]);
    assert_eq!(
        offers(&out, client.link).len(),
        1,
        "returned without filter"
    );
}

#[test]
fn an_offer_named_twice_is_refused() {
    let mut scene = scene();
    let (agent, offer, client) = (scene.agent.clone(), scene.offer(), scene.client.clone());

    let out = scene
        .world
        .accept(&client, &[&offer, &offer], vec![task("one", &agent)]);

    let [status] = &statuses(&out, client.link)[..] else {
        panic!("one answer: {out:?}");
    };
    assert!(
        status
            .message
            .as_ref()
            .is_some_and(|why| why.contains("named twice"))
    );
}

#[test]
fn offers_of_two_agents_do_not_mix() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    world.agent("b");
    let client = world.framework();
    let (one, two) = (client.offers[0].clone(), client.offers[1].clone());

    let out = world.accept(&client, &[&one, &two], vec![task("one", &agent)]);

    let [status] = &statuses(&out, client.link)[..] else {
        panic!("one answer: {out:?}");
    };
    assert!(
        status
            .message
            .as_ref()
            .is_some_and(|why| why.contains("one agent"))
    );
    assert_eq!(offers(&out, client.link).len(), 2);
}

#[test]
fn each_rule_says_what_is_wrong() {
    let agent = scene().agent;
    let base = || task("one", &agent);
    let beyond = TaskSpec {
        resources: Resources::cpus_mem(5_000, 512).with_ports(Ranges::interval(80, 80)),
        ..base()
    };
    let nothing = TaskSpec {
        resources: Resources::none(),
        ..base()
    };
    let mut tight = base();
    tight.limits.mem_bytes = Some(Limit::At(256 << 20));
    let mut slow = base();
    slow.limits.cpus_milli = Some(Limit::At(500));
    let mut part_of_gpu = base();
    part_of_gpu.resources.gpus_milli = 500;
    let no_command = TaskSpec {
        command: CommandSpec::shell(" "),
        ..base()
    };
    let other_role = TaskSpec {
        account: Role::new("nobody").ok(),
        ..base()
    };
    let elsewhere = task("one", &AgentId::new("m-S7").expect("good"));

    for (task, words) in [
        (beyond, "cpus 5 asked, 4 there, ports [80-80] not there"),
        (nothing, "no resources"),
        (tight, "a limit of 256 mem, below the 512 it asks for"),
        (slow, "a limit of 0.5 cpus, below the 1 it asks for"),
        (part_of_gpu, "without the capability GPU_FRACTIONS"),
        (no_command, "no command"),
        (elsewhere, "names agent m-S7"),
        (other_role, "handed out to nobody, the offers are in"),
    ] {
        let why = scene().refusal(task);
        assert!(why.contains(words), "{why:?} should say {words:?}");
    }
}

#[test]
fn a_task_may_say_on_whose_account_its_resources_are() {
    let mut scene = scene();
    let role = scene.offer().role;
    let own = TaskSpec {
        account: Some(role),
        ..task("one", &scene.agent)
    };

    scene.accept(vec![own]);

    let view = mete_model::Machine::view(&scene.world.cluster);
    let states: Vec<_> = view.tasks.values().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Staging]);
}

#[test]
fn a_task_id_in_use_is_refused_and_the_running_task_untouched() {
    let mut scene = scene();
    let agent = scene.agent.clone();
    scene.accept(vec![task("one", &agent)]);
    let out = scene.world.pass(Duration::from_secs(6));
    let rest = offers(&out, scene.client.link);
    let client = scene.client.clone();

    let out = scene
        .world
        .accept(&client, &[&rest[0]], vec![task("one", &agent)]);

    let error = (
        "one".to_owned(),
        TaskState::Error,
        Some(Reason::TaskInvalid),
    );
    assert_eq!(updates(&out, client.link), [error]);
    let view = mete_model::Machine::view(&scene.world.cluster);
    let states: Vec<_> = view.tasks.values().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::Staging]);
}

#[test]
fn tasks_together_cannot_take_more_than_the_offer() {
    let mut scene = scene();
    let agent = scene.agent.clone();
    let big = |id: &str| TaskSpec {
        resources: Resources::cpus_mem(3_000, 64),
        ..task(id, &agent)
    };

    let out = scene.accept(vec![big("one"), big("two")]);

    assert_eq!(runs(&out, scene.link), ["one"]);
    let error = (
        "two".to_owned(),
        TaskState::Error,
        Some(Reason::TaskInvalid),
    );
    assert_eq!(updates(&out, scene.client.link), [error]);
}

#[test]
fn a_task_without_sense_and_operations_not_carried_are_answered_by_name() {
    let mut scene = scene();
    let (offer, client) = (scene.offer(), scene.client.clone());

    let out = scene.world.call(
        &client,
        Call::Accept(Accept {
            offers: vec![offer.id],
            operations: vec![
                Operation::NotCarried {
                    name: "CREATE_DISK".to_owned(),
                },
                Operation::Launch(vec![Err(BadTask {
                    task: task_id("two").into(),
                    why: "resources[0].scalar: NaN is not possible".to_owned(),
                })]),
            ],
            refuse_for: NO_FILTER,
        }),
    );

    let words: Vec<_> = statuses(&out, client.link)
        .into_iter()
        .map(|status| (status.state, status.message.expect("a reason")))
        .collect();
    assert_eq!(
        words,
        [(
            TaskState::Error,
            "resources[0].scalar: NaN is not possible".to_owned()
        )]
    );
    assert_eq!(offers(&out, client.link).len(), 1);
}

#[test]
fn a_framework_of_the_old_kind_hears_lost() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    let mut info = crate::world::framework_info();
    info.capabilities.clear();
    let (link, out) = world.subscribe(info);
    let client = Client::of(link, &out);
    let offer = client.offers[0].clone();
    world.decline(&client, &offer, Duration::from_secs(60));

    let out = world.accept(&client, &[&offer], vec![task("one", &agent)]);

    let lost = (
        "one".to_owned(),
        TaskState::Lost,
        Some(Reason::InvalidOffers),
    );
    assert_eq!(updates(&out, link), [lost]);
}

#[test]
fn a_call_that_is_refused_is_answered_and_the_stream_stays() {
    let mut scene = scene();
    let client = scene.client.clone();

    let why = "unknown call 77".to_owned();
    let out = scene
        .world
        .call(&client, Call::Refused { why: why.clone() });

    assert_eq!(out.reply, Some(Reply::Refused(why)));
    assert_eq!(events(&out, client.link), []);
    assert_eq!(crate::world::closed(&out), []);
}
