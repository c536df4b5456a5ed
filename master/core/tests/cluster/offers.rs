//! Offers: made, withdrawn, declined, timed out.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_master_core::{Call, Event, Input, RoleQuota};
use mete_model::Resources;

use crate::world::{NO_FILTER, World, events, offers, rescinded, role, settings, whole};

#[test]
fn a_framework_is_offered_what_is_free() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");

    let client = world.framework();

    assert_eq!(client.id.as_str(), "m-0000");
    let [offer] = &client.offers[..] else {
        panic!("one offer: {:?}", client.offers);
    };
    assert_eq!(offer.id.as_str(), "m-O0");
    assert_eq!(offer.agent, agent);
    assert_eq!(offer.resources, whole());
    assert_eq!(offer.role, role("web"));
}

#[test]
fn declined_offer_stays_away_for_the_filter_time() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();

    let out = world.decline(&client, &client.offers[0], Duration::from_secs(30));
    assert_eq!(offers(&out, client.link), []);
    let out = world.pass(Duration::from_secs(29));
    assert_eq!(offers(&out, client.link), []);

    let out = world.pass(Duration::from_secs(2));
    assert_eq!(offers(&out, client.link).len(), 1);
}

#[test]
fn declined_without_filter_it_comes_again_at_once() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();

    let out = world.decline(&client, &client.offers[0], NO_FILTER);

    assert_eq!(offers(&out, client.link).len(), 1);
}

#[test]
fn declining_what_is_not_there_does_nothing() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();
    let other = world.framework();

    let out = world.decline(&other, &client.offers[0], NO_FILTER);

    assert_eq!(out.act, []);
}

#[test]
fn revive_forgets_filters_and_suppress_ends_offers() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();
    world.decline(&client, &client.offers[0], Duration::from_secs(3_600));

    let roles = BTreeSet::new();
    let out = world.call(&client, Call::Revive { roles });
    let again = offers(&out, client.link);
    assert_eq!(again.len(), 1);

    let roles = BTreeSet::from([role("web")]);
    world.call(&client, Call::Suppress { roles });
    let out = world.decline(&client, &again[0], NO_FILTER);
    assert_eq!(offers(&out, client.link), []);
}

#[test]
fn a_role_that_is_not_held_drops_the_whole_call() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();

    let roles = BTreeSet::from([role("web"), role("db")]);
    world.call(&client, Call::Suppress { roles });
    let out = world.decline(&client, &client.offers[0], NO_FILTER);

    assert_eq!(offers(&out, client.link).len(), 1);
}

#[test]
fn an_offer_nobody_answers_is_withdrawn_and_goes_to_others() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();
    let other = world.framework();

    let out = world.pass(Duration::from_secs(300));

    assert_eq!(rescinded(&out, client.link), [client.offers[0].id.clone()]);
    assert_eq!(offers(&out, other.link).len(), 1);
}

#[test]
fn without_time_out_an_offer_stays() {
    let mut world = World::with(
        mete_master_core::Settings {
            offer_timeout: None,
            ping_interval: Duration::from_secs(1_000_000),
            ..settings()
        },
        mete_master_core::Registry::default(),
    );
    world.agent("a");
    let client = world.framework();

    let out = world.pass(Duration::from_secs(100_000));

    assert_eq!(events(&out, client.link), []);
}

#[test]
fn an_agent_that_disconnects_takes_its_offers_along() {
    let mut world = World::new();
    let (agent, link) = world.agent("a");
    let client = world.framework();

    let out = world.step(Input::AgentDisconnected { agent, link });

    assert_eq!(
        events(&out, client.link),
        [Event::Rescind(client.offers[0].id.clone())]
    );
}

#[test]
fn offers_of_a_framework_that_goes_go_to_others() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();
    let other = world.framework();

    let out = world.step(Input::FrameworkDisconnected {
        framework: client.id.clone(),
        link: client.link,
    });

    assert_eq!(events(&out, client.link), []);
    assert_eq!(offers(&out, other.link).len(), 1);
}

#[test]
fn a_role_at_its_limit_gets_no_more() {
    let mut world = World::new();
    world.step(
        RoleQuota {
            limit: Some((&Resources::cpus_mem(1_000, 0)).into()),
            guarantee: None,
        }
        .for_role(role("web"), false),
    );
    world.agent("a");

    let client = world.framework();

    let cpus: u64 = client
        .offers
        .iter()
        .map(|offer| offer.resources.cpus_milli)
        .sum();
    assert!(cpus <= 1_000, "{cpus}");
}
