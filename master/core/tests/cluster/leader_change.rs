//! A new master on what the old one stored: the rules of return.

use std::num::NonZeroU32;
use std::time::Duration;

use mete_master_core::{Call, Event, Input, Life, LinkId, Reach, Record, RoleQuota, Settings};
use mete_model::{AgentId, FrameworkInfo, Machine, Reason, Resources, TaskState};

use crate::world::{
    Client, Out, World, brought, events, framework_info, kills, offers, role, settings, task,
    task_id, updates,
};

struct Scene {
    world: World,
    agent: AgentId,
    client: Client,
}

fn next() -> Settings {
    Settings {
        epoch: 2,
        incarnation: "n".to_owned(),
        ..settings()
    }
}

/// Task `one` ran; the master has just been replaced, nobody is back.
fn scene() -> Scene {
    let mut world = World::new();
    let (agent, link) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    world.report((&agent, link), &client, "one", TaskState::Running, 1);
    Scene {
        world: world.restarted(next()),
        agent,
        client,
    }
}

impl Scene {
    fn back(&mut self) -> Client {
        let (link, out) = self.world.subscribe(FrameworkInfo {
            id: Some(self.client.id.clone()),
            ..framework_info()
        });
        Client::of(link, &out)
    }

    fn reconcile(&mut self, client: &Client, agent: Option<AgentId>) -> Out {
        let named = vec![(task_id("one"), agent)];
        self.world.call(client, Call::Reconcile(named))
    }

    fn agent_back(&mut self) -> (LinkId, Out) {
        let one = brought(&self.client, &self.agent, "one", TaskState::Running);
        let agent = self.agent.clone();
        self.world.returns(&agent, vec![one])
    }
}

#[test]
fn nothing_is_called_gone_before_its_agent_had_time_to_return() {
    let mut scene = scene();
    let client = scene.back();
    let agent = scene.agent.clone();

    for _ in 0..5 {
        for named in [None, Some(agent.clone())] {
            let out = scene.reconcile(&client, named);
            assert_eq!(out.act, []);
        }
        scene.world.pass(Duration::from_secs(119));
    }

    scene.agent_back();
    let out = scene.reconcile(&client, Some(agent));
    assert_eq!(updates(&out, client.link)[0].1, TaskState::Running);
}

#[test]
fn after_the_window_the_agent_is_unreachable() {
    let mut scene = scene();
    let client = scene.back();
    let agent = scene.agent.clone();

    let out = scene.world.pass(Duration::from_secs(600));
    assert!(matches!(out.store[..], [Record::Agent(_)]));
    assert_eq!(
        events(&out, client.link),
        [Event::Failure {
            agent: agent.clone()
        }]
    );

    let out = scene.reconcile(&client, Some(agent));
    assert_eq!(updates(&out, client.link)[0].1, TaskState::Unreachable);
    let out = scene.reconcile(&client, None);
    assert_eq!(updates(&out, client.link)[0].1, TaskState::Unknown);
}

#[test]
fn nothing_is_called_unknown_on_agents_of_a_state_that_was_lost() {
    let mut world = World::new();
    let client = world.framework();
    let on = |agent: &str| {
        let agent = AgentId::new(agent).expect("good");
        Call::Reconcile(vec![(task_id("one"), Some(agent))])
    };

    let out = world.call(&client, on("lost-S1"));
    assert_eq!(out.act, []);
    let out = world.call(&client, on("nobody"));
    assert_eq!(updates(&out, client.link)[0].1, TaskState::Unknown);

    world.pass(Duration::from_secs(600));
    let out = world.call(&client, on("lost-S1"));
    assert_eq!(updates(&out, client.link)[0].1, TaskState::Unknown);
}

#[test]
fn a_master_that_knows_its_agents_knows_which_are_none() {
    let mut scene = scene();
    let client = scene.back();
    let stranger = AgentId::new("other-S1").expect("good");

    let out = scene.reconcile(&client, Some(stranger));

    assert_eq!(updates(&out, client.link)[0].1, TaskState::Unknown);
}

#[test]
fn tasks_and_frameworks_come_back_with_the_agent() {
    let mut scene = scene();

    let (_, out) = scene.agent_back();

    assert_eq!(out.store, [], "nothing of the agent has changed");
    let view = scene.world.cluster.view();
    let framework = view.frameworks.get(&scene.client.id).expect("recreated");
    let until = scene.world.now + Duration::from_secs(3_600);
    assert_eq!(
        framework.life,
        Life::Disconnected {
            until,
            recovered: true
        }
    );
    assert_eq!(
        view.tasks.values().next().expect("one").state,
        TaskState::Running
    );
}

#[test]
fn a_recovered_framework_that_does_not_come_is_removed_after_its_timeout() {
    let mut scene = scene();
    let (link, _) = scene.agent_back();

    let out = scene.world.pass(Duration::from_secs(3_600));

    assert_eq!(kills(&out, link), ["one"]);
}

#[test]
fn the_task_still_holds_what_it_uses() {
    let mut scene = scene();
    scene.agent_back();

    let client = scene.back();

    let free: u64 = client
        .offers
        .iter()
        .map(|offer| offer.resources.cpus_milli)
        .sum();
    assert_eq!(free, 3_000);
}

#[test]
fn new_ids_carry_the_new_incarnation() {
    let mut scene = scene();

    let (agent, _) = scene.world.agent("b");
    let client = scene.world.framework();

    assert_eq!(agent.as_str(), "n-S0");
    assert_eq!(client.id.as_str(), "n-0000");
    assert_eq!(client.offers[0].id.as_str(), "n-O0");
}

#[test]
fn tasks_of_an_agent_that_was_unreachable_to_the_master_before_are_told_when_it_is_back() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    world.pass_in_silence(Duration::from_secs(100));
    let mut world = world.restarted(settings());
    let mut info = framework_info();
    info.id = Some(client.id.clone());
    let (link, _) = world.subscribe(info);

    let running = brought(&client, &agent, "one", TaskState::Running);
    let (_, out) = world.returns(&agent, vec![running]);

    let back = (
        "one".to_owned(),
        TaskState::Running,
        Some(Reason::AgentReregistered),
    );
    assert_eq!(updates(&out, link), [back]);
}

#[test]
fn gone_unreachable_and_torn_down_survive() {
    let mut world = World::new();
    let (gone, _) = world.agent("a");
    let (lost, link) = world.agent("b");
    let client = world.framework();
    world.call(&client, Call::Teardown);
    world.step(Input::MarkAgentGone {
        agent: gone.clone(),
    });
    world.step(Input::AgentDisconnected {
        agent: lost.clone(),
        link,
    });
    world.pass(Duration::from_secs(600));

    let mut world = world.restarted(next());

    let view = world.cluster.view();
    assert!(view.agents.get(&gone).expect("known").is_gone());
    assert!(matches!(
        view.agents.get(&lost).expect("known").reach,
        Reach::Unreachable { .. }
    ));
    let (link, out) = world.subscribe(FrameworkInfo {
        id: Some(client.id),
        ..framework_info()
    });
    let [Event::Error(why)] = &events(&out, link)[..] else {
        panic!("refused: {out:?}");
    };
    assert!(why.contains("Framework has been removed"));
}

#[test]
fn weights_and_limits_survive_and_headroom_is_held_for_agents_on_their_way() {
    let mut world = World::new();
    world.agent("a");
    world.step(
        RoleQuota {
            limit: Some((&Resources::cpus_mem(5_000, 0)).into()),
            guarantee: None,
        }
        .for_role(role("web"), false),
    );
    world.step(Input::SetWeights(
        [(role("web"), NonZeroU32::new(2_000).expect("not zero"))].into(),
    ));
    let mut world = world.restarted(next());
    world.agent("b");

    let client = world.framework();
    let free = |offers: &[std::sync::Arc<mete_model::Offer>]| -> u64 {
        offers.iter().map(|offer| offer.resources.cpus_milli).sum()
    };
    assert!(
        free(&client.offers) <= 1_000,
        "4 of 5 CPUs may be in use on the first agent"
    );
    let out = world.pass(Duration::from_secs(600));
    assert!(
        free(&client.offers) + free(&offers(&out, client.link)) > 1_000,
        "nobody waits for it any more"
    );
    let view = world.cluster.view();
    assert_eq!(view.limits.len(), 1);
    assert_eq!(view.weights.len(), 1);
}

#[test]
fn an_agent_of_another_life_is_admitted_with_its_id() {
    let mut world = World::new();
    let agent = AgentId::new("older-S3").expect("good");

    let (_, out) = world.returns(&agent, Vec::new());

    assert!(matches!(&out.store[..], [Record::Agent(record)] if record.id == agent));
}
