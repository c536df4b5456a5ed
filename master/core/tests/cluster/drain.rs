//! Agents that are drained, deactivated, reactivated.

use std::time::Duration;

use mete_master_core::{
    Admission, Call, Event, Input, LinkId, MessageToAgent, OperatorError, Reply,
};
use mete_model::{
    AgentId, Capability, InverseOffer, Machine, Reason, TaskId, TaskState, Timestamp,
    Unavailability,
};

use crate::world::{
    Client, Out, World, brought, events, framework_info, kills, messages, offers, rescinded,
    settings, task, updates,
};

struct Scene {
    world: World,
    agent: AgentId,
    agent_link: LinkId,
    client: Client,
}

/// Task `one` runs on the only agent; the rest of the agent is on offer.
fn scene() -> Scene {
    let mut world = World::new();
    let (agent, agent_link) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    world.report((&agent, agent_link), &client, "one", TaskState::Running, 1);
    world.acknowledge(&client, &agent, "one", 1);
    world.pass(Duration::from_secs(6));
    Scene {
        world,
        agent,
        agent_link,
        client,
    }
}

impl Scene {
    fn drain(&mut self, max_grace: Option<Duration>, mark_gone: bool) -> Out {
        self.world.step(Input::DrainAgent {
            agent: self.agent.clone(),
            deadline: None,
            max_grace,
            mark_gone,
        })
    }

    fn drain_by(&mut self, deadline: Duration, max_grace: Option<Duration>) -> Out {
        self.world.step(Input::DrainAgent {
            agent: self.agent.clone(),
            deadline: Some(deadline),
            max_grace,
            mark_gone: false,
        })
    }

    fn ends(&mut self, state: TaskState, uuid: u8) -> Out {
        let on = (&self.agent, self.agent_link);
        self.world.report(on, &self.client, "one", state, uuid)
    }

    fn acknowledge(&mut self, uuid: u8) -> Out {
        self.world
            .acknowledge(&self.client, &self.agent, "one", uuid)
    }

    fn admission(&self) -> Admission {
        let view = self.world.cluster.view();
        view.agents.get(&self.agent).expect("known").admission
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn drained(began: Timestamp, max_grace: Option<Duration>) -> Admission {
    Admission::Drained {
        since: Some(began),
        max_grace,
    }
}

fn inverse(out: &Out, on: LinkId) -> Vec<InverseOffer> {
    let mut all = Vec::new();
    for event in events(out, on) {
        if let Event::InverseOffers(offers) = event {
            all.extend(offers);
        }
    }
    all
}

fn graces(out: &Out, on: LinkId) -> Vec<Option<Duration>> {
    let mut all = Vec::new();
    for message in messages(out, on) {
        if let MessageToAgent::KillTask { grace_period, .. } = message {
            all.push(grace_period);
        }
    }
    all
}

#[test]
fn a_draining_agent_loses_its_offers_and_its_tasks_and_has_drained() {
    let mut scene = scene();
    let began = scene.world.now;

    let out = scene.drain(None, false);

    assert_eq!(out.reply, Some(Reply::Done));
    let told = |out: &Out| {
        let all = messages(out, scene.agent_link).into_iter();
        let drain = all.filter_map(|message| {
            let MessageToAgent::Standing { drain, .. } = message else {
                return None;
            };
            Some(drain.map(|drain| drain.since))
        });
        drain.collect::<Vec<_>>()
    };
    assert_eq!(told(&out), [Some(began)]);
    assert_eq!(out.store.len(), 1);
    assert_eq!(rescinded(&out, scene.client.link).len(), 1);
    assert_eq!(kills(&out, scene.agent_link), ["one"]);
    let out = scene.ends(TaskState::Killed, 2);
    let killed = (
        "one".to_owned(),
        TaskState::Killed,
        Some(Reason::AgentDraining),
    );
    assert_eq!(updates(&out, scene.client.link), [killed]);
    assert!(offers(&out, scene.client.link).is_empty());
    assert!(matches!(scene.admission(), Admission::Draining(_)));
    let out = scene.acknowledge(2);
    assert_eq!(scene.admission(), drained(began, None));
    assert_eq!(out.store.len(), 1);
    let out = scene.world.pass(Duration::from_secs(600));
    assert!(offers(&out, scene.client.link).is_empty());
}

#[test]
fn an_agent_without_tasks_has_drained_at_once() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");

    world.step(Input::DrainAgent {
        agent: agent.clone(),
        deadline: None,
        max_grace: Some(MINUTE),
        mark_gone: false,
    });

    let view = world.cluster.view();
    let admission = view.agents.get(&agent).map(|agent| agent.admission);
    let drained = drained(world.now, Some(MINUTE));
    assert_eq!(admission, Some(drained), "it shows how it was ordered");
}

#[test]
fn no_task_is_given_longer_than_the_deadline() {
    let mut scene = scene();

    let own = scene.drain(Some(Duration::from_secs(60)), false);
    let less = scene.drain(Some(Duration::from_secs(2)), false);
    let over = scene.world.pass(Duration::from_secs(20));

    assert_eq!(graces(&own, scene.agent_link), [None], "3 s are enough");
    assert_eq!(
        graces(&less, scene.agent_link),
        [Some(Duration::from_secs(2))]
    );
    assert_eq!(graces(&over, scene.agent_link), [Some(Duration::ZERO)]);
}

#[test]
fn with_mark_gone_the_last_task_takes_the_agent_with_it() {
    let mut scene = scene();
    scene.drain(None, true);

    let out = scene.ends(TaskState::Killed, 2);
    let gone = (
        "one".to_owned(),
        TaskState::GoneByOperator,
        Some(Reason::AgentDraining),
    );
    assert_eq!(updates(&out, scene.client.link), [gone]);
    let out = scene.acknowledge(2);

    assert!(matches!(scene.admission(), Admission::Gone { .. }));
    assert!(
        messages(&out, scene.agent_link)
            .iter()
            .any(|message| matches!(message, MessageToAgent::Shutdown { .. }))
    );
}

#[test]
fn who_cannot_tell_gone_from_killed_is_told_killed() {
    let mut world = World::new();
    let (agent, agent_link) = world.agent("a");
    let mut info = framework_info();
    info.capabilities.remove(&Capability::PartitionAware);
    let (link, out) = world.subscribe(info);
    let client = Client::of(link, &out);
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    let mut scene = Scene {
        world,
        agent,
        agent_link,
        client,
    };
    scene.drain(None, true);

    let out = scene.ends(TaskState::Killed, 2);

    let killed = (
        "one".to_owned(),
        TaskState::Killed,
        Some(Reason::AgentDraining),
    );
    assert_eq!(updates(&out, scene.client.link), [killed]);
}

#[test]
fn a_drain_goes_on_after_a_restart_of_the_master() {
    let mut scene = scene();
    let began = scene.world.now;
    scene.drain(Some(Duration::from_secs(60)), false);
    let Scene {
        world,
        agent,
        client,
        ..
    } = scene;
    let mut world = world.restarted(settings());

    let running = brought(&client, &agent, "one", TaskState::Running);
    let (agent_link, out) = world.returns(&agent, vec![running]);

    assert_eq!(kills(&out, agent_link), ["one"]);
    let (link, out) = {
        let mut info = framework_info();
        info.id = Some(client.id.clone());
        world.subscribe(info)
    };
    let client = Client::of(link, &out);
    assert!(client.offers.is_empty());
    world.report((&agent, agent_link), &client, "one", TaskState::Killed, 3);
    world.acknowledge(&client, &agent, "one", 3);
    let admission = |world: &World| {
        let view = world.cluster.view();
        view.agents.get(&agent).map(|agent| agent.admission)
    };
    let drained = Some(drained(began, Some(MINUTE)));
    assert_eq!(admission(&world), drained);
    let mut world = world.restarted(settings());
    assert_eq!(admission(&world), drained);
    let (_, out) = world.returns(&agent, Vec::new());
    assert!(out.store.is_empty(), "nothing is new");
}

#[test]
fn a_drain_is_not_called_off_but_what_has_drained_comes_back() {
    let mut scene = scene();
    scene.drain(None, false);
    let agent = scene.agent.clone();

    let out = scene.world.step(Input::ReactivateAgent {
        agent: agent.clone(),
    });
    let error = OperatorError::AgentDraining(agent.clone());
    assert_eq!(out.reply, Some(Reply::Failed(error)));
    scene.ends(TaskState::Killed, 2);
    scene.acknowledge(2);
    let out = scene.world.step(Input::ReactivateAgent { agent });

    assert_eq!(out.reply, Some(Reply::Done));
    assert_eq!(scene.admission(), Admission::Active);
    assert_eq!(offers(&out, scene.client.link).len(), 1);
}

#[test]
fn a_deactivated_agent_keeps_its_tasks_and_gets_no_new_ones() {
    let mut scene = scene();
    let agent = scene.agent.clone();

    let out = scene.world.step(Input::DeactivateAgent {
        agent: agent.clone(),
    });

    assert_eq!(rescinded(&out, scene.client.link).len(), 1);
    assert!(kills(&out, scene.agent_link).is_empty());
    assert_eq!(scene.admission(), Admission::Deactivated);
    let Scene { world, client, .. } = scene;
    let mut world = world.restarted(settings());
    let running = brought(&client, &agent, "one", TaskState::Running);
    let (agent_link, out) = world.returns(&agent, vec![running]);
    assert!(kills(&out, agent_link).is_empty());
    let again = world.framework();
    assert!(again.offers.is_empty());
    let out = world.step(Input::ReactivateAgent { agent });
    assert_eq!(offers(&out, again.link).len(), 1);
}

#[test]
fn what_ended_before_the_drain_keeps_its_reason() {
    let mut scene = scene();
    scene.ends(TaskState::Killed, 2);
    scene.drain(None, false);

    let again = scene.ends(TaskState::Killed, 2);

    let killed = ("one".to_owned(), TaskState::Killed, None);
    assert_eq!(updates(&again, scene.client.link), [killed]);
}

#[test]
fn an_agent_that_is_not_known_or_gone_is_not_drained() {
    let mut scene = scene();
    let agent = scene.agent.clone();
    scene.world.step(Input::MarkAgentGone {
        agent: agent.clone(),
    });
    let nobody = AgentId::new("nobody").expect("good");

    let gone = scene.drain(None, false);
    scene.agent = nobody.clone();
    let unknown = scene.drain(None, false);

    assert_eq!(
        gone.reply,
        Some(Reply::Failed(OperatorError::AgentGone(agent)))
    );
    assert_eq!(
        unknown.reply,
        Some(Reply::Failed(OperatorError::UnknownAgent(nobody)))
    );
}

#[test]
fn with_a_deadline_frameworks_are_asked_to_leave_and_nothing_is_killed() {
    let mut scene = scene();
    let by = scene.world.now + MINUTE;

    let out = scene.drain_by(MINUTE, None);

    assert_eq!(out.reply, Some(Reply::Done));
    assert_eq!(out.store.len(), 1);
    assert_eq!(rescinded(&out, scene.client.link).len(), 1);
    let asked = inverse(&out, scene.client.link);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].agent, scene.agent);
    assert!(asked[0].is_draining);
    let away = Unavailability {
        start: by,
        duration: None,
    };
    assert_eq!(asked[0].unavailability, away);
    let out = scene.world.pass(MINUTE - Duration::from_secs(4));
    assert!(kills(&out, scene.agent_link).is_empty());
    assert!(offers(&out, scene.client.link).is_empty());
}

#[test]
fn what_is_left_is_killed_so_early_that_it_is_over_by_the_deadline() {
    let mut spec = task("slow", &AgentId::new("x").expect("good"));
    spec.kill_grace_period = Some(Duration::from_secs(20));
    for (max_grace, seconds, grace) in [
        (None, 40, Duration::from_secs(20)),
        (Some(10), 50, Duration::from_secs(10)),
        (Some(30), 40, Duration::from_secs(20)),
    ] {
        let mut world = World::new();
        let (agent, agent_link) = world.agent("a");
        let client = world.framework();
        let offer = client.offers[0].clone();
        spec.agent = agent.clone();
        world.accept(&client, &[&offer], vec![spec.clone()]);
        world.report((&agent, agent_link), &client, "slow", TaskState::Running, 1);
        world.step(Input::DrainAgent {
            agent: agent.clone(),
            deadline: Some(MINUTE),
            max_grace: max_grace.map(Duration::from_secs),
            mark_gone: false,
        });

        let before = world.pass(Duration::from_secs(seconds - 1));
        let then = world.pass(Duration::from_secs(1));
        let after = world.pass(MINUTE);

        assert!(kills(&before, agent_link).is_empty());
        assert_eq!(graces(&then, agent_link), [Some(grace)]);
        assert_eq!(
            graces(&after, agent_link).last(),
            Some(&Some(Duration::ZERO)),
            "past the deadline there is no grace"
        );
    }
}

/// Reason and words of each update.
fn why(out: &Out, on: LinkId) -> Vec<(Option<Reason>, Option<String>)> {
    let mut all = Vec::new();
    for event in events(out, on) {
        if let Event::Update { status, .. } = event {
            all.push((status.reason, status.message.clone()));
        }
    }
    all
}

#[test]
fn what_the_drain_kills_says_so_and_what_a_framework_ends_itself_does_not() {
    let mut killed = scene();
    killed.drain_by(MINUTE, None);
    killed.world.pass(MINUTE);
    let mut moved = scene();
    moved.drain_by(MINUTE, None);
    let kill = Call::Kill {
        task: TaskId::new("one").expect("good"),
        agent: None,
        grace_period: None,
    };
    let out = moved.world.call(&moved.client, kill.clone());
    assert_eq!(kills(&out, moved.agent_link), ["one"]);

    let mut before = scene();
    before.world.call(&before.client, kill);
    before.drain(None, true);

    let by_drain = killed.ends(TaskState::Killed, 2);
    let by_framework = moved.ends(TaskState::Killed, 2);

    let words = format!("agent {} is being drained", killed.agent);
    assert_eq!(
        why(&by_drain, killed.client.link),
        [(Some(Reason::AgentDraining), Some(words))]
    );
    assert_eq!(why(&by_framework, moved.client.link), [(None, None)]);
    let by_framework = before.ends(TaskState::Killed, 2);
    let killed = ("one".to_owned(), TaskState::Killed, None);
    assert_eq!(updates(&by_framework, before.client.link), [killed]);
    moved.acknowledge(2);
    let has_drained = matches!(moved.admission(), Admission::Drained { .. });
    assert!(has_drained, "{:?}", moved.admission());
}

#[test]
fn an_agent_that_was_left_in_time_has_drained_and_nobody_is_asked_any_more() {
    let mut scene = scene();
    let began = scene.world.now;
    let out = scene.drain_by(MINUTE, None);
    let asked = inverse(&out, scene.client.link);
    scene.ends(TaskState::Finished, 2);

    let out = scene.acknowledge(2);

    assert_eq!(scene.admission(), drained(began, None));
    let withdrawn = events(&out, scene.client.link);
    assert!(
        matches!(&withdrawn[..], [Event::RescindInverse(offer)] if *offer == asked[0].id),
        "{withdrawn:?}"
    );
    let out = scene.world.pass(MINUTE);
    assert!(kills(&out, scene.agent_link).is_empty());
}

#[test]
fn a_deadline_is_kept_over_a_restart_of_the_master() {
    let mut scene = scene();
    scene.drain_by(MINUTE, None);
    let Scene {
        world,
        agent,
        client,
        ..
    } = scene;
    let mut world = world.restarted(settings());

    let running = brought(&client, &agent, "one", TaskState::Running);
    let (agent_link, out) = world.returns(&agent, vec![running]);
    assert!(kills(&out, agent_link).is_empty());
    let mut info = framework_info();
    info.id = Some(client.id.clone());
    let (link, out) = world.subscribe(info);
    let asked = inverse(&out, link);
    let out = world.pass(2 * MINUTE);

    assert!(asked[0].is_draining);
    assert_eq!(kills(&out, agent_link)[0], "one");
}

#[test]
fn another_drain_sets_another_deadline() {
    let mut scene = scene();
    scene.drain_by(10 * MINUTE, None);

    let out = scene.drain_by(MINUTE, None);
    let asked = inverse(&out, scene.client.link);
    let by = scene.world.now + MINUTE;
    let early = scene.world.pass(MINUTE - Duration::from_secs(4));
    let late = scene.world.pass(Duration::from_secs(1));

    assert_eq!(asked[0].unavailability.start, by);
    assert!(kills(&early, scene.agent_link).is_empty());
    assert_eq!(kills(&late, scene.agent_link), ["one"]);
}

#[test]
fn an_agent_that_is_away_at_the_deadline_is_told_when_it_is_back() {
    let mut scene = scene();
    scene.drain_by(MINUTE, None);
    scene.world.step(Input::AgentDisconnected {
        agent: scene.agent.clone(),
        link: scene.agent_link,
    });
    scene.world.pass(2 * MINUTE);
    let running = brought(&scene.client, &scene.agent, "one", TaskState::Running);

    let (link, out) = scene.world.returns(&scene.agent.clone(), vec![running]);

    assert_eq!(graces(&out, link), [Some(Duration::ZERO)]);
}
