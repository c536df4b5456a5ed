//! Frameworks: they subscribe, fail over, go away, are torn down.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_master_core::{
    Action, Call, Event, Input, Life, LinkId, MessageToAgent, OfferConstraints, OfferRules,
    OperatorError, Record, Reply, Shape, Subscription,
};
use mete_model::{AgentId, FrameworkId, FrameworkInfo, Machine, TaskState};
use mete_placement::constraints::Field;
use mete_placement::offer_constraints::{AttributeConstraint, Predicate};

use crate::world::{
    Client, Out, World, closed, events, framework_info, kills, messages, offers, rescinded, role,
    subscription, task,
};

struct Scene {
    world: World,
    agent: AgentId,
    link: LinkId,
    client: Client,
}

/// Task `one` runs for a framework.
fn scene_of(info: FrameworkInfo) -> Scene {
    let mut world = World::new();
    let (agent, link) = world.agent("a");
    let (on, out) = world.subscribe(info);
    let client = Client::of(on, &out);
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    world.report((&agent, link), &client, "one", TaskState::Running, 1);
    Scene {
        world,
        agent,
        link,
        client,
    }
}

fn scene() -> Scene {
    scene_of(framework_info())
}

impl Scene {
    fn disconnect(&mut self) -> Out {
        self.world.step(Input::FrameworkDisconnected {
            framework: self.client.id.clone(),
            link: self.client.link,
        })
    }

    fn again(&self) -> FrameworkInfo {
        FrameworkInfo {
            id: Some(self.client.id.clone()),
            ..framework_info()
        }
    }

    fn life(&self) -> Life {
        let view = self.world.cluster.view();
        view.frameworks.get(&self.client.id).expect("known").life
    }
}

fn error_of(out: &Out, on: LinkId) -> String {
    let [Event::Error(why)] = &events(out, on)[..] else {
        panic!("one error: {out:?}");
    };
    why.clone()
}

fn refusal_of(out: &Out) -> &str {
    let Some(Reply::Refused(why)) = &out.reply else {
        panic!("one refusal: {out:?}");
    };
    why
}

#[test]
fn a_fail_over_ends_the_old_stream_and_takes_its_offers() {
    let mut scene = scene();
    scene.world.pass(Duration::from_secs(6));
    let again = scene.again();

    let (link, out) = scene.world.subscribe(again);

    assert_eq!(error_of(&out, scene.client.link), "Framework failed over");
    assert_eq!(closed(&out), [scene.client.link]);
    assert_eq!(rescinded(&out, scene.client.link), [], "they vanish");
    assert_eq!(offers(&out, link).len(), 1);
    let stale = scene.client.clone();
    let out = scene.world.call(&stale, Call::Teardown);
    assert_eq!(out.act, [], "the old one is not heard any more");
}

#[test]
fn an_id_that_nobody_knows_is_taken() {
    let mut world = World::new();
    let id = FrameworkId::new("old-0007").expect("good");

    let (link, out) = world.subscribe(FrameworkInfo {
        id: Some(id.clone()),
        ..framework_info()
    });

    assert_eq!(events(&out, link), [Event::Subscribed { framework: id }]);
}

#[test]
fn a_framework_that_returns_in_time_finds_its_tasks() {
    let mut scene = scene();
    scene.disconnect();
    scene.world.pass(Duration::from_secs(3_599));
    let again = scene.again();

    let (link, _) = scene.world.subscribe(again);

    assert_eq!(scene.life(), Life::Active { link });
    let view = scene.world.cluster.view();
    assert_eq!(view.tasks_of(&scene.client.id).count(), 1);
}

#[test]
fn one_that_does_not_is_removed_and_its_tasks_end() {
    let mut scene = scene();
    scene
        .world
        .acknowledge(&scene.client.clone(), &scene.agent.clone(), "one", 1);
    scene.disconnect();

    let out = scene.world.pass(Duration::from_secs(3_600));

    assert_eq!(
        kills(&out, scene.link).first().map(String::as_str),
        Some("one")
    );
    assert!(matches!(scene.life(), Life::Completed { .. }));
    assert!(
        !out.store
            .iter()
            .any(|record| matches!(record, Record::TornDown(..))),
        "it was not torn down"
    );
}

#[test]
fn without_failover_timeout_it_is_removed_at_once() {
    let mut scene = scene_of(FrameworkInfo {
        failover_timeout: Duration::ZERO,
        ..framework_info()
    });

    let out = scene.disconnect();

    assert_eq!(kills(&out, scene.link), ["one"]);
    let again = scene.again();
    let (link, _) = scene.world.subscribe(again);
    assert_eq!(
        scene.life(),
        Life::Active { link },
        "not torn down: its id is good"
    );
}

#[test]
fn one_that_speaks_as_in_mesos_is_not_let_in_again_once_it_was_removed() {
    let mut scene = scene();
    scene.disconnect();
    scene.world.pass(Duration::from_secs(3_600));
    let (again, link) = (scene.again(), scene.world.link());
    let mut subscription = subscription(link, again);
    subscription.may_return = false;

    let out = scene.world.step(Input::Subscribe(Box::new(subscription)));

    assert!(error_of(&out, link).contains("Framework has been removed"));
    assert!(matches!(scene.life(), Life::Completed { .. }));
}

#[test]
fn agents_hear_what_a_framework_says_of_itself_now() {
    let mut scene = scene();
    let mut info = scene.again();
    info.failover_timeout = Duration::from_secs(7);
    let client = scene.client.clone();
    let update = |info: &FrameworkInfo| Call::UpdateFramework {
        info: Box::new(info.clone()),
        suppressed: BTreeSet::new(),
        rules: OfferRules::default(),
    };
    let told = |out: &Out, link| {
        let is_told = |message: &MessageToAgent| matches!(message, MessageToAgent::UpdateFramework { framework } if **framework == info);
        messages(out, link)
            .iter()
            .filter(|message| is_told(message))
            .count()
    };

    let out = scene.world.call(&client, update(&info));
    assert_eq!(told(&out, scene.link), 1);
    let out = scene.world.call(&client, update(&info));
    assert_eq!(told(&out, scene.link), 0, "nothing is new");

    // An agent that was away heard of the framework as it was before.
    let mut registration = scene.world.registration("a");
    registration.id = Some(scene.agent.clone());
    registration.frameworks = vec![scene.again()];
    let link = registration.link;
    let out = scene
        .world
        .step(Input::RegisterAgent(Box::new(registration)));
    assert_eq!(told(&out, link), 1);
}

#[test]
fn what_a_framework_has_not_acknowledged_is_asked_for_when_it_is_back() {
    let mut scene = scene();
    scene.disconnect();
    let again = scene.again();

    let (_, out) = scene.world.subscribe(again);

    let framework = scene.client.id.clone();
    let asked = MessageToAgent::ResendUpdates { framework };
    assert_eq!(messages(&out, scene.link), [asked]);
}

#[test]
fn a_torn_down_framework_is_stored_ended_and_never_let_in_again() {
    let mut scene = scene();
    let client = scene.client.clone();

    let out = scene.world.call(&client, Call::Teardown);
    let now = scene.world.now;
    assert_eq!(out.store, [Record::TornDown(client.id.clone(), now)]);
    assert_eq!(kills(&out, scene.link), ["one"]);
    assert_eq!(out.act.last(), Some(&Action::Close { link: client.link }));

    let again = scene.again();
    let (link, out) = scene.world.subscribe(again);
    assert!(error_of(&out, link).contains("Framework has been removed"));
    assert_eq!(closed(&out), [link]);
}

#[test]
fn what_a_removed_framework_used_is_free_when_its_tasks_have_ended() {
    let mut scene = scene();
    let client = scene.client.clone();
    scene.world.call(&client, Call::Teardown);
    let other = scene.world.framework();
    let free = |offers: &[std::sync::Arc<mete_model::Offer>]| -> u64 {
        offers.iter().map(|offer| offer.resources.cpus_milli).sum()
    };
    assert_eq!(free(&other.offers), 3_000);

    let agent = scene.agent.clone();
    let link = scene.link;
    let out = scene
        .world
        .report((&agent, link), &client, "one", TaskState::Killed, 2);

    assert_eq!(free(&offers(&out, other.link)), 1_000);
    assert!(matches!(
        messages(&out, link)[..],
        [
            MessageToAgent::Acknowledge { .. },
            MessageToAgent::ShutdownFramework { .. }
        ]
    ));
}

#[test]
fn an_agent_that_forgot_the_tasks_of_a_removed_framework_is_not_believed_for_ever() {
    let mut scene = scene();
    let client = scene.client.clone();
    scene.world.call(&client, Call::Teardown);

    scene.world.pass(Duration::from_secs(200));

    let view = scene.world.cluster.view();
    assert_eq!(view.tasks.len(), 0);
}

#[test]
fn an_operator_ends_a_framework() {
    let mut scene = scene();
    let framework = scene.client.id.clone();

    let out = scene.world.step(Input::TearDown { framework });
    assert_eq!(out.reply, Some(Reply::Done));
    assert!(error_of(&out, scene.client.link).contains("torn down by an operator"));
    assert_eq!(closed(&out), [scene.client.link]);

    let framework = FrameworkId::new("x").expect("good");
    let out = scene.world.step(Input::TearDown {
        framework: framework.clone(),
    });
    let error = OperatorError::UnknownFramework(framework);
    assert_eq!(out.reply, Some(Reply::Failed(error)));
}

#[test]
fn what_makes_no_sense_is_not_let_in() {
    let mut scene = scene();
    let principal = FrameworkInfo {
        principal: Some("mallory".to_owned()),
        ..scene.again()
    };
    let (link, out) = scene.world.subscribe(principal);
    assert!(error_of(&out, link).contains("principal"));

    let link = scene.world.link();
    let out = scene
        .world
        .step(Input::Subscribe(Box::new(mete_master_core::Subscription {
            link,
            info: framework_info(),
            checkpoint: false,
            suppressed: BTreeSet::from([role("db")]),
            rules: OfferRules::default(),
            may_return: true,
        })));
    assert!(error_of(&out, link).contains("suppressed role db"));
}

#[test]
fn user_and_checkpoint_stay_what_they_were() {
    let mut scene = scene();
    let mut again = scene.again();
    again.user = "nobody".to_owned();
    again.name = "new name".to_owned();

    scene.world.subscribe(again);

    let view = scene.world.cluster.view();
    let known = view.frameworks.get(&scene.client.id).expect("known");
    assert_eq!(known.info.user, "root");
    assert_eq!(known.info.name, "new name");
}

#[test]
fn a_suppressed_role_gets_nothing_until_revived() {
    let mut world = World::new();
    world.agent("a");
    let link = world.link();
    let out = world.step(Input::Subscribe(Box::new(mete_master_core::Subscription {
        link,
        info: framework_info(),
        checkpoint: false,
        suppressed: BTreeSet::from([role("web")]),
        rules: OfferRules::default(),
        may_return: true,
    })));
    let client = Client::of(link, &out);
    assert_eq!(client.offers, []);

    let roles = BTreeSet::new();
    let out = world.call(&client, Call::Revive { roles });

    assert_eq!(offers(&out, link).len(), 1);
}

#[test]
fn a_framework_that_leaves_a_role_loses_the_offers_in_it() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();
    let info = FrameworkInfo {
        roles: BTreeSet::from([role("db")]),
        ..framework_info()
    };

    let out = world.call(
        &client,
        Call::UpdateFramework {
            info: Box::new(info),
            suppressed: BTreeSet::new(),
            rules: OfferRules::default(),
        },
    );

    assert_eq!(rescinded(&out, client.link), [client.offers[0].id.clone()]);
    assert_eq!(offers(&out, client.link)[0].role, role("db"));
}

fn waiting() -> Shape {
    Shape::new(mete_model::Resources::cpus_mem(1, 1))
}

#[test]
fn too_much_demand_is_refused_in_words() {
    let mut world = World::new();
    let client = world.framework();

    let out = world.call(&client, Call::Demand(vec![waiting(); 1_001]));

    assert!(refusal_of(&out).contains("1001 shapes"));
}

#[test]
fn demand_in_a_role_that_is_not_held_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let client = world.framework();
    world.call(&client, Call::Demand(vec![waiting()]));
    let elsewhere = Shape {
        role: Some(role("db")),
        ..waiting()
    };

    let out = world.call(&client, Call::Demand(vec![waiting(), elsewhere]));

    assert!(refusal_of(&out).contains("DEMAND names role db"));
    let view = world.cluster.view();
    let known = view.frameworks.get(&client.id).expect("known");
    assert_eq!(*known.demand, [waiting()]);
}

#[test]
fn what_waits_in_a_role_that_is_left_waits_no_more() {
    let mut world = World::new();
    let client = world.framework();
    let of_role = |name| Shape {
        role: Some(role(name)),
        ..waiting()
    };
    let roles = |names: [&str; 2]| Call::UpdateFramework {
        info: Box::new(FrameworkInfo {
            roles: names.into_iter().map(role).collect(),
            ..framework_info()
        }),
        suppressed: BTreeSet::new(),
        rules: OfferRules::default(),
    };
    world.call(&client, roles(["db", "web"]));
    world.call(
        &client,
        Call::Demand(vec![of_role("db"), waiting(), of_role("web")]),
    );

    world.call(&client, roles(["db", "dev"]));

    let view = world.cluster.view();
    let known = view.frameworks.get(&client.id).expect("known");
    assert_eq!(*known.demand, [of_role("db"), waiting()]);
}

#[test]
fn a_framework_that_comes_back_states_its_demand_anew() {
    let mut world = World::new();
    let client = world.framework();
    world.call(&client, Call::Demand(vec![waiting()]));

    world.subscribe(FrameworkInfo {
        id: Some(client.id.clone()),
        ..framework_info()
    });

    let view = world.cluster.view();
    assert!(
        view.frameworks
            .get(&client.id)
            .expect("known")
            .demand
            .is_empty()
    );
}

#[test]
fn rules_for_roles_that_are_not_held_keep_a_framework_out() {
    let mut world = World::new();
    let exists = AttributeConstraint {
        field: Field::from_name("rack"),
        predicate: Predicate::Exists,
    };
    let constraints = OfferConstraints::new(vec![vec![exists]]).expect("good");
    let constrained = OfferRules {
        constraints: [(role("db"), constraints)].into(),
        ..OfferRules::default()
    };
    let filtered = OfferRules {
        min_allocatable: [(role("db"), Vec::new())].into(),
        ..OfferRules::default()
    };
    for (rules, field) in [
        (constrained, "offer_constraints"),
        (filtered, "offer_filters"),
    ] {
        let link = world.link();
        let out = world.step(Input::Subscribe(Box::new(Subscription {
            link,
            info: framework_info(),
            checkpoint: true,
            suppressed: BTreeSet::new(),
            rules,
            may_return: true,
        })));

        let why = error_of(&out, link);
        assert!(why.contains(field) && why.contains("role db"), "{why}");
    }
}
