//! Agents: they come, break off, are lost, come back, are marked gone.

use std::time::Duration;

use mete_master_core::{
    Admission, Event, Input, LinkId, MessageToAgent, OperatorError, Reach, Record, Reply,
};
use mete_model::{AgentId, Machine, Reason, TaskState};

use crate::world::{
    Client, Out, World, brought, closed, events, kills, messages, offers, statuses, task, update,
    updates,
};

struct Scene {
    world: World,
    agent: AgentId,
    link: LinkId,
    client: Client,
}

/// Task `one` runs.
fn scene() -> Scene {
    let mut world = World::new();
    let (agent, link) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    world.report((&agent, link), &client, "one", TaskState::Running, 1);
    world.acknowledge(&client, &agent, "one", 1);
    Scene {
        world,
        agent,
        link,
        client,
    }
}

impl Scene {
    fn disconnect(&mut self) -> Out {
        let (agent, link) = (self.agent.clone(), self.link);
        self.world.step(Input::AgentDisconnected { agent, link })
    }

    fn reach(&self) -> Reach {
        let view = self.world.cluster.view();
        view.agents.get(&self.agent).expect("known").reach
    }

    fn returns(&mut self, tasks: &[(&str, TaskState)]) -> (LinkId, Out) {
        let tasks = tasks
            .iter()
            .map(|(id, state)| brought(&self.client, &self.agent, id, *state))
            .collect();
        let agent = self.agent.clone();
        let (link, out) = self.world.returns(&agent, tasks);
        self.link = link;
        (link, out)
    }

    fn make_unreachable(&mut self) -> Out {
        self.disconnect();
        self.world.pass(Duration::from_secs(600))
    }
}

#[test]
fn who_begins_where_one_was_that_nobody_hears_of_takes_its_place() {
    let mut scene = scene();
    let other = scene.world.registration("b");
    scene.disconnect();

    scene.world.step(Input::RegisterAgent(Box::new(other)));
    assert!(matches!(scene.reach(), Reach::Disconnected { .. }));
    let same = scene.world.registration("a");
    let out = scene.world.step(Input::RegisterAgent(Box::new(same)));

    assert!(matches!(scene.reach(), Reach::Unreachable { .. }));
    let (task, state) = ("one".to_owned(), TaskState::Unreachable);
    let expected = [(task, state, Some(Reason::AgentRemoved))];
    assert_eq!(updates(&out, scene.client.link), expected);
}

#[test]
fn one_that_is_heard_of_is_left_alone() {
    let mut scene = scene();
    let same = scene.world.registration("a");

    scene.world.step(Input::RegisterAgent(Box::new(same)));

    assert!(matches!(scene.reach(), Reach::Registered { .. }));
}

fn silent(world: &mut World) -> Out {
    world.pass_in_silence(Duration::from_secs(90))
}

#[test]
fn an_agent_is_stored_before_it_is_told() {
    let mut world = World::new();
    let registration = world.registration("a");
    let link = registration.link;

    let out = world.step(Input::RegisterAgent(Box::new(registration)));

    let [Record::Agent(record)] = &out.store[..] else {
        panic!("one record: {out:?}");
    };
    assert_eq!(record.id.as_str(), "m-S0");
    assert_eq!(record.admission, Admission::Active);
    let agent = record.id.clone();
    assert_eq!(messages(&out, link), [MessageToAgent::Registered { agent }]);
}

#[test]
fn an_agent_that_answers_pings_stays() {
    let mut scene = scene();

    for _ in 0..20 {
        let out = scene.world.pass_in_silence(Duration::from_secs(15));
        let pings = messages(&out, scene.link);
        let [MessageToAgent::Ping { sequence }] = pings[..] else {
            panic!("one ping: {pings:?}");
        };
        scene.world.step(Input::Pong {
            agent: scene.agent.clone(),
            link: scene.link,
            sequence,
        });
    }

    assert_eq!(scene.reach(), Reach::Registered { link: scene.link });
}

#[test]
fn a_silent_agent_is_unreachable_on_disk_before_anybody_hears() {
    let mut scene = scene();

    let out = silent(&mut scene.world);

    let [Record::Agent(record)] = &out.store[..] else {
        panic!("one record: {:?}", out.store);
    };
    assert_eq!(record.unreachable_since, Some(scene.world.now));
    let client = scene.client.link;
    let lost = (
        "one".to_owned(),
        TaskState::Unreachable,
        Some(Reason::AgentRemoved),
    );
    assert_eq!(updates(&out, client), [lost]);
    assert_eq!(
        statuses(&out, client)[0].unreachable_time,
        Some(scene.world.now)
    );
    let agent = scene.agent.clone();
    assert!(events(&out, client).contains(&Event::Failure { agent }));
    assert_eq!(closed(&out), [scene.link]);
}

#[test]
fn a_broken_stream_gives_the_agent_as_long_as_a_silent_one() {
    let mut scene = scene();
    scene.disconnect();

    let out = scene.world.pass(Duration::from_secs(74));
    assert_eq!(out.act, []);

    let out = scene.world.pass(Duration::from_secs(1));
    assert_eq!(updates(&out, scene.client.link).len(), 1);
    assert_eq!(
        scene.reach(),
        Reach::Unreachable {
            since: scene.world.now
        }
    );
}

#[test]
fn a_short_absence_changes_nothing() {
    let mut scene = scene();
    scene.disconnect();

    let (link, out) = scene.returns(&[("one", TaskState::Running)]);

    assert_eq!(out.store, []);
    assert_eq!(updates(&out, scene.client.link), []);
    let agent = scene.agent.clone();
    assert_eq!(messages(&out, link), [MessageToAgent::Registered { agent }]);
    scene.world.pass(Duration::from_secs(6));
    let view = scene.world.cluster.view();
    let offered: u64 = view
        .offers
        .values()
        .map(|offer| offer.resources.cpus_milli)
        .sum();
    assert_eq!(offered, 3_000, "the task still holds its CPU");
}

#[test]
fn an_unreachable_agent_that_returns_resumes_its_tasks() {
    let mut scene = scene();
    scene.make_unreachable();

    let (_, out) = scene.returns(&[("one", TaskState::Running)]);

    let resumed = (
        "one".to_owned(),
        TaskState::Running,
        Some(Reason::AgentReregistered),
    );
    assert_eq!(updates(&out, scene.client.link), [resumed]);
    let [Record::Agent(record)] = &out.store[..] else {
        panic!("one record: {:?}", out.store);
    };
    assert_eq!(record.unreachable_since, None);
}

#[test]
fn what_the_agent_does_not_know_is_dropped_and_what_the_master_does_not_know_is_taken_in() {
    let mut scene = scene();
    scene.disconnect();

    let (_, out) = scene.returns(&[("two", TaskState::Running)]);

    let dropped = (
        "one".to_owned(),
        TaskState::Dropped,
        Some(Reason::Reconciliation),
    );
    assert_eq!(updates(&out, scene.client.link), [dropped]);
    let view = scene.world.cluster.view();
    let known: Vec<_> = view
        .tasks
        .values()
        .map(|task| task.key.task.to_string())
        .collect();
    assert_eq!(known, ["two"]);
}

#[test]
fn what_was_not_acknowledged_comes_with_the_agent() {
    let mut scene = scene();
    scene.disconnect();
    let mut registration = scene.world.registration("a");
    registration.id = Some(scene.agent.clone());
    registration.tasks = vec![brought(
        &scene.client,
        &scene.agent,
        "one",
        TaskState::Failed,
    )];
    registration.unacknowledged = vec![
        update(&scene.client.id, &scene.agent, "one", TaskState::Running, 5),
        update(&scene.client.id, &scene.agent, "one", TaskState::Failed, 6),
    ];

    let out = scene
        .world
        .step(Input::RegisterAgent(Box::new(registration)));

    assert_eq!(
        updates(&out, scene.client.link),
        [("one".to_owned(), TaskState::Running, None)],
        "one at a time"
    );
    let view = scene.world.cluster.view();
    let free: u64 = view
        .offers
        .values()
        .map(|offer| offer.resources.cpus_milli)
        .sum();
    assert_eq!(free, 4_000, "its resources are free by now");
}

#[test]
fn a_new_stream_of_the_same_agent_replaces_the_old_one() {
    let mut scene = scene();
    let old = scene.link;

    let (link, out) = scene.returns(&[("one", TaskState::Running)]);
    assert_eq!(closed(&out), [old]);

    let agent = scene.agent.clone();
    scene
        .world
        .step(Input::AgentDisconnected { agent, link: old });
    assert_eq!(scene.reach(), Reach::Registered { link });
}

#[test]
fn a_second_agent_of_the_same_id_is_refused_while_the_first_is_there() {
    let mut scene = scene();
    let mut registration = scene.world.registration("b");
    registration.id = Some(scene.agent.clone());
    let link = registration.link;

    let out = scene
        .world
        .step(Input::RegisterAgent(Box::new(registration)));

    let [MessageToAgent::Refused { reason, permanent }] = &messages(&out, link)[..] else {
        panic!("refused: {out:?}");
    };
    assert!(
        reason.contains("two agents use one work directory"),
        "{reason}"
    );
    assert!(!permanent);
    assert_eq!(closed(&out), [link]);
    assert_eq!(scene.reach(), Reach::Registered { link: scene.link });
}

#[test]
fn an_agent_that_obeyed_a_later_master_is_refused() {
    let mut world = World::new();
    let mut registration = world.registration("a");
    registration.obeyed_epoch = 2;

    let out = world.step(Input::RegisterAgent(Box::new(registration)));

    assert!(matches!(out.reply, Some(Reply::Refused(_))));
}

#[test]
fn an_agent_marked_gone_never_comes_back() {
    let mut scene = scene();
    let gone = Input::MarkAgentGone {
        agent: scene.agent.clone(),
    };

    let out = scene.world.step(gone);
    assert_eq!(out.reply, Some(Reply::Done));
    assert_eq!(out.store.len(), 1);
    let client = scene.client.link;
    let end = (
        "one".to_owned(),
        TaskState::GoneByOperator,
        Some(Reason::AgentRemovedByOperator),
    );
    assert_eq!(updates(&out, client), [end]);
    assert!(matches!(
        &messages(&out, scene.link)[..],
        [MessageToAgent::Shutdown { .. }]
    ));

    let (link, out) = scene.returns(&[("one", TaskState::Running)]);
    assert!(messages(&out, link).iter().any(|message| matches!(
        message,
        MessageToAgent::Refused {
            permanent: true,
            ..
        }
    )));
    assert_eq!(out.store, []);
}

#[test]
fn marking_an_unknown_agent_gone_says_so() {
    let mut world = World::new();
    let agent = AgentId::new("m-S5").expect("good");

    let out = world.step(Input::MarkAgentGone {
        agent: agent.clone(),
    });

    let error = OperatorError::UnknownAgent(agent);
    assert_eq!(out.reply, Some(Reply::Failed(error)));
}

#[test]
fn a_framework_that_was_removed_meanwhile_is_ended_on_return() {
    let mut scene = scene();
    scene.make_unreachable();
    let client = scene.client.clone();
    scene.world.call(&client, mete_master_core::Call::Teardown);

    let (link, out) = scene.returns(&[("one", TaskState::Running)]);
    assert_eq!(kills(&out, link), ["one"]);

    let agent = scene.agent.clone();
    let out = scene
        .world
        .report((&agent, link), &client, "one", TaskState::Killed, 4);
    let said = messages(&out, link);
    assert!(matches!(
        &said[..],
        [
            MessageToAgent::Acknowledge { .. },
            MessageToAgent::ShutdownFramework { .. }
        ]
    ));
}

#[test]
fn an_agent_is_forgotten_after_two_weeks() {
    let mut scene = scene();
    scene.make_unreachable();

    let out = scene.world.pass(Duration::from_secs(14 * 24 * 3_600));

    let id = scene.agent.clone();
    assert_eq!(out.store, [Record::AgentForgotten(id)]);
    assert!(scene.world.stored.is_empty());
}

#[test]
fn a_task_cannot_live_on_two_agents() {
    let mut scene = scene();
    let (other, _) = scene.world.agent("b");
    let mut registration = scene.world.registration("b");
    registration.id = Some(other.clone());
    registration.tasks = vec![brought(&scene.client, &other, "one", TaskState::Running)];
    let link = registration.link;

    let out = scene
        .world
        .step(Input::RegisterAgent(Box::new(registration)));

    assert_eq!(kills(&out, link), ["one"]);
    let view = scene.world.cluster.view();
    let homes: Vec<_> = view.tasks.values().map(|task| task.agent.clone()).collect();
    assert_eq!(homes, [scene.agent]);
}

#[test]
fn offers_on_an_agent_come_again_with_it() {
    let mut scene = scene();
    scene.make_unreachable();

    let (_, out) = scene.returns(&[]);

    let free: u64 = offers(&out, scene.client.link)
        .iter()
        .map(|offer| offer.resources.cpus_milli)
        .sum();
    assert_eq!(free, 4_000);
}
