//! Updates up, acknowledgements down, kills, reconciliation.

use std::sync::Arc;
use std::time::Duration;

use mete_master_core::{Action, Call, Event, Input, LinkId, MessageToAgent};
use mete_model::{AgentId, Machine, Reason, TaskState, UpdateId};

use crate::world::{
    Client, World, brought, events, kills, messages, offers, status, statuses, task, task_id,
    update, updates,
};

struct Scene {
    world: World,
    agent: AgentId,
    link: LinkId,
    client: Client,
}

/// Task `one` is launched, nothing heard of it yet.
fn scene() -> Scene {
    let mut world = World::new();
    let (agent, link) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    Scene {
        world,
        agent,
        link,
        client,
    }
}

impl Scene {
    fn report(&mut self, state: TaskState, uuid: u8) -> crate::world::Out {
        let client = self.client.clone();
        self.world.report(
            (&self.agent.clone(), self.link),
            &client,
            "one",
            state,
            uuid,
        )
    }

    fn states(&self) -> Vec<TaskState> {
        let view = self.world.cluster.view();
        view.tasks.values().map(|task| task.state).collect()
    }

    fn reconcile(&mut self, named: &[(&str, Option<&AgentId>)]) -> crate::world::Out {
        let named = named
            .iter()
            .map(|(task, agent)| (task_id(task), agent.cloned()))
            .collect();
        let client = self.client.clone();
        self.world.call(&client, Call::Reconcile(named))
    }
}

#[test]
fn an_update_goes_up_as_it_came_and_its_acknowledgement_down() {
    let mut scene = scene();
    let (agent, client) = (scene.agent.clone(), scene.client.clone());

    let out = scene.report(TaskState::Running, 1);
    assert_eq!(
        events(&out, client.link),
        [Event::Update {
            status: Arc::new(status(&agent, "one", TaskState::Running, 1)),
            original: Some(bytes::Bytes::from_static(b"as it came")),
        }]
    );

    let out = scene.world.acknowledge(&client, &agent, "one", 1);
    assert_eq!(
        messages(&out, scene.link),
        [MessageToAgent::Acknowledge {
            framework: client.id,
            task: task_id("one"),
            uuid: UpdateId([1; 16]),
        }]
    );
}

#[test]
fn resources_are_free_at_the_end_and_the_record_goes_with_the_acknowledgement() {
    let mut scene = scene();
    let (agent, client) = (scene.agent.clone(), scene.client.clone());
    scene.report(TaskState::Running, 1);
    scene.world.pass(Duration::from_secs(6));

    let out = scene.report(TaskState::Finished, 2);
    let free: u64 = offers(&out, client.link)
        .iter()
        .map(|offer| offer.resources.cpus_milli)
        .sum();
    assert_eq!(free, 1_000);
    assert_eq!(scene.states(), [TaskState::Finished]);

    scene.world.acknowledge(&client, &agent, "one", 7);
    assert_eq!(scene.states(), [TaskState::Finished], "another update");
    scene.world.acknowledge(&client, &agent, "one", 2);
    assert_eq!(scene.states(), []);
    let view = scene.world.cluster.view();
    assert_eq!(view.ended_tasks_of(&client.id).count(), 1);
}

#[test]
fn an_end_that_is_ahead_of_its_update_frees_at_once() {
    let mut scene = scene();
    let (agent, link, client) = (scene.agent.clone(), scene.link, scene.client.clone());
    let mut news = update(&client.id, &agent, "one", TaskState::Running, 1);
    news.latest = Some(TaskState::Finished);

    let out = scene.world.step(Input::Update {
        agent: agent.clone(),
        link,
        update: Box::new(news),
    });

    assert_eq!(updates(&out, client.link)[0].1, TaskState::Running);
    assert_eq!(offers(&out, client.link).len(), 1);
    scene.world.acknowledge(&client, &agent, "one", 1);
    assert_eq!(
        scene.states(),
        [TaskState::Finished],
        "its own update is to come"
    );
}

#[test]
fn a_repeated_update_is_passed_on_and_changes_nothing() {
    let mut scene = scene();
    scene.report(TaskState::Finished, 2);

    let out = scene.report(TaskState::Running, 1);

    assert_eq!(updates(&out, scene.client.link).len(), 1);
    assert_eq!(scene.states(), [TaskState::Finished]);
}

#[test]
fn what_an_old_stream_says_is_not_heard() {
    let mut scene = scene();
    let agent = scene.agent.clone();
    let one = crate::world::brought(&scene.client, &agent, "one", TaskState::Running);
    scene.world.returns(&agent, vec![one]);

    let out = scene.report(TaskState::Failed, 3);

    assert_eq!(out.act, []);
    assert_eq!(scene.states(), [TaskState::Running]);
}

#[test]
fn updates_while_the_framework_is_away_are_left_to_the_agent() {
    let mut scene = scene();
    let (framework, link) = (scene.client.id.clone(), scene.client.link);
    scene
        .world
        .step(Input::FrameworkDisconnected { framework, link });

    let out = scene.report(TaskState::Finished, 1);

    assert_eq!(out.act, [], "no event, no acknowledgement");
}

#[test]
fn an_acknowledgement_for_an_agent_that_is_away_keeps_the_record() {
    let mut scene = scene();
    let (agent, link, client) = (scene.agent.clone(), scene.link, scene.client.clone());
    scene.report(TaskState::Finished, 1);
    scene.world.step(Input::AgentDisconnected {
        agent: agent.clone(),
        link,
    });

    scene.world.acknowledge(&client, &agent, "one", 1);

    assert_eq!(scene.states(), [TaskState::Finished]);
}

#[test]
fn a_kill_is_repeated_until_the_task_has_ended() {
    let mut scene = scene();
    let client = scene.client.clone();
    let kill = Call::Kill {
        task: task_id("one"),
        agent: None,
        grace_period: Some(Duration::from_secs(2)),
    };

    let out = scene.world.call(&client, kill);
    assert_eq!(kills(&out, scene.link), ["one"]);
    let out = scene.world.pass(Duration::from_secs(14));
    assert_eq!(kills(&out, scene.link), [""; 0]);
    let out = scene.world.pass(Duration::from_secs(17));
    assert_eq!(kills(&out, scene.link), ["one", "one"]);

    scene.report(TaskState::Killed, 1);
    let out = scene.world.pass(Duration::from_secs(60));
    assert_eq!(kills(&out, scene.link), [""; 0]);
}

#[test]
fn a_kill_while_the_agent_is_away_is_remembered() {
    let mut scene = scene();
    let (agent, link, client) = (scene.agent.clone(), scene.link, scene.client.clone());
    scene.world.step(Input::AgentDisconnected {
        agent: agent.clone(),
        link,
    });
    let kill = Call::Kill {
        task: task_id("one"),
        agent: None,
        grace_period: None,
    };
    scene.world.call(&client, kill);

    let one = crate::world::brought(&client, &agent, "one", TaskState::Running);
    let (link, out) = scene.world.returns(&agent, vec![one]);

    assert_eq!(kills(&out, link), ["one"]);
}

#[test]
fn a_kill_of_what_is_not_known_is_answered() {
    let mut scene = scene();
    let client = scene.client.clone();
    let kill = |agent: Option<AgentId>| Call::Kill {
        task: task_id("none"),
        agent,
        grace_period: None,
    };

    let out = scene.world.call(&client, kill(None));
    assert_eq!(updates(&out, client.link)[0].1, TaskState::Unknown);
    let agent = scene.agent.clone();
    let out = scene.world.call(&client, kill(Some(agent)));
    assert_eq!(updates(&out, client.link)[0].1, TaskState::Gone);
}

#[test]
fn reconciliation_tells_the_latest_state_and_asks_for_no_acknowledgement() {
    let mut scene = scene();
    scene.report(TaskState::Running, 1);
    let agent = scene.agent.clone();
    let nowhere = AgentId::new("m-S77").expect("good");

    let out = scene.reconcile(&[]);
    let [one] = &statuses(&out, scene.client.link)[..] else {
        panic!("one: {out:?}");
    };
    assert_eq!(one.state, TaskState::Running);
    assert_eq!(one.reason, Some(Reason::Reconciliation));
    assert_eq!(one.uuid, None);
    assert_eq!(one.agent, Some(agent.clone()));

    let out = scene.reconcile(&[
        ("one", Some(&agent)),
        ("two", Some(&agent)),
        ("three", Some(&nowhere)),
        ("four", None),
    ]);
    let states: Vec<_> = updates(&out, scene.client.link)
        .into_iter()
        .map(|update| update.1)
        .collect();
    assert_eq!(
        states,
        [
            TaskState::Running,
            TaskState::Gone,
            TaskState::Unknown,
            TaskState::Unknown
        ]
    );
}

#[test]
fn a_long_reconciliation_is_told_in_pieces_each_when_the_one_before_was_read() {
    let mut scene = scene();
    let link = scene.client.link;
    let names: Vec<String> = (0..10_000).map(|at| format!("t{at}")).collect();
    let named: Vec<(&str, Option<&AgentId>)> =
        names.iter().map(|name| (name.as_str(), None)).collect();

    let mut told = Vec::new();
    let mut out = scene.reconcile(&named);
    // What is asked meanwhile waits for its turn.
    assert_eq!(updates(&scene.reconcile(&[("one", None)]), link), []);
    loop {
        let piece = updates(&out, link);
        assert!(piece.len() < 5_000, "{} at once", piece.len());
        told.extend(piece.into_iter().map(|update| update.0));
        if !out.act.contains(&Action::SayWhenRead { link }) {
            break;
        }
        out = scene.world.step(Input::StreamRead {
            framework: scene.client.id.clone(),
            link,
        });
    }

    let all: Vec<String> = names.into_iter().chain(["one".to_owned()]).collect();
    assert_eq!(told, all);
}

#[test]
fn all_tasks_are_told_in_pieces_each_once() {
    let mut world = World::new();
    let client = world.framework();
    let (agent, _) = world.agent("a");
    let expected: Vec<String> = (0..6_000).map(|at| format!("t{at:04}")).collect();
    let tasks = expected
        .iter()
        .map(|id| brought(&client, &agent, id, TaskState::Running));
    world.returns(&agent, tasks.collect());
    let link = client.link;

    let mut out = world.call(&client, Call::Reconcile(Vec::new()));
    let mut told: Vec<String> = updates(&out, link).into_iter().map(|one| one.0).collect();
    assert!(told.len() < expected.len(), "all at once");
    while out.act.contains(&Action::SayWhenRead { link }) {
        out = world.step(Input::StreamRead {
            framework: client.id.clone(),
            link,
        });
        told.extend(updates(&out, link).into_iter().map(|one| one.0));
    }

    assert_eq!(told, expected);
}

#[test]
fn a_reconciliation_that_is_refused_leaves_room_for_the_next() {
    let mut scene = scene();
    let link = scene.client.link;
    let names = vec![("one", None); 1_000_001];

    let refused = scene.reconcile(&names);
    assert_eq!(updates(&refused, link), []);

    assert_eq!(updates(&scene.reconcile(&[("one", None)]), link).len(), 1);
}
