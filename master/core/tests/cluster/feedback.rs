//! Operations with a name: told until their framework knows, over restarts of the master.

use std::sync::Arc;
use std::time::Duration;

use mete_master_core::{
    Accept, Call, Event, Input, Operation, OperationKind, OperationOutcome, Record, Settings,
};
use mete_model::{
    AgentId, Machine as _, Offer, OperationId, Reservation, ReservationKind, Resources, Tag,
    UpdateId,
};

use crate::world::{Client, NO_FILTER, Out, World, events, framework_info, role};

fn id(text: &str) -> OperationId {
    OperationId::new(text).expect("good")
}

/// So many CPUs, reserved by the framework.
fn kept(cpus: u64) -> Resources {
    let reservation = Reservation {
        role: role("web"),
        kind: ReservationKind::Dynamic,
        principal: None,
        labels: Vec::new(),
    };
    let tag = Tag {
        reservations: vec![reservation],
        ..Tag::default()
    };
    Resources::none().with_part(tag, Resources::cpus_mem(cpus * 1_000, 0))
}

/// The framework takes all its offers, to reserve CPUs under these names, one after the other.
fn reserve(world: &mut World, client: &Client, names: &[&str]) -> Out {
    let operations = names.iter().map(|name| Operation::Reshape {
        id: Some(id(name)),
        kind: OperationKind::Reserve,
        resources: kept(1),
        account: None,
    });
    let accept = Accept {
        offers: client.offers.iter().map(|offer| offer.id.clone()).collect(),
        operations: operations.collect(),
        refuse_for: NO_FILTER,
    };
    world.call(client, Call::Accept(accept))
}

/// Of operations that are done: name and what is to be acknowledged; of others the name and why.
fn heard(out: &Out, client: &Client) -> Vec<(OperationId, Result<UpdateId, String>)> {
    let one = |event| {
        let Event::Operation { id, outcome, .. } = event else {
            return None;
        };
        match outcome {
            OperationOutcome::Finished { made, uuid } => {
                assert_eq!(made, kept(1));
                Some((id, Ok(uuid)))
            }
            OperationOutcome::Error(why) => Some((id, Err(why))),
            OperationOutcome::Unknown
            | OperationOutcome::Unreachable
            | OperationOutcome::GoneByOperator
            | OperationOutcome::Recovering => None,
        }
    };
    events(out, client.link)
        .into_iter()
        .filter_map(one)
        .collect()
}

/// An agent, a framework, and an operation `one` of it that is done, with its uuid.
fn done() -> (World, AgentId, Client, UpdateId) {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    let client = world.framework();
    let out = reserve(&mut world, &client, &["one"]);
    let told = heard(&out, &client);
    let [(name, Ok(uuid))] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*name, id("one"));
    let is_stored =
        |record: &Record| matches!(record, Record::Operation(done) if done.uuid == *uuid);
    assert!(out.store.iter().any(is_stored), "{:?}", out.store);
    (world, agent, client.clone(), *uuid)
}

fn acknowledge(world: &mut World, client: &Client, agent: &AgentId, uuid: UpdateId) -> Out {
    world.call(
        client,
        Call::AcknowledgeOperation {
            agent: agent.clone(),
            operation: id("one"),
            uuid,
        },
    )
}

#[test]
fn an_operation_is_told_again_until_it_is_acknowledged() {
    let (mut world, agent, client, uuid) = done();
    let again = [(id("one"), Ok(uuid))];

    assert_eq!(heard(&world.pass(Duration::from_secs(9)), &client), []);
    assert_eq!(heard(&world.pass(Duration::from_secs(1)), &client), again);
    assert_eq!(heard(&world.pass(Duration::from_secs(19)), &client), []);
    assert_eq!(heard(&world.pass(Duration::from_secs(1)), &client), again);
    let other = acknowledge(&mut world, &client, &agent, UpdateId([9; 16]));
    assert_eq!(other.store, [], "of another");
    let out = acknowledge(&mut world, &client, &agent, uuid);

    assert_eq!(
        out.store,
        [Record::OperationForgotten((client.id.clone(), id("one")))]
    );
    assert_eq!(heard(&world.pass(Duration::from_secs(3_600)), &client), []);
}

#[test]
fn it_is_told_to_whoever_subscribes_by_any_master() {
    let (world, agent, client, uuid) = done();
    let mut info = framework_info();
    info.id = Some(client.id.clone());

    let mut world = world.restarted(Settings::new("n", 2));
    let (link, out) = world.subscribe(info);
    let client = Client { link, ..client };

    assert_eq!(heard(&out, &client), [(id("one"), Ok(uuid))]);
    acknowledge(&mut world, &client, &agent, uuid);
    let world = world.restarted(Settings::new("o", 3));
    assert_eq!(world.cluster.view().operations.len(), 0);
}

#[test]
fn an_agent_has_drained_when_its_operations_are_acknowledged() {
    let (mut world, agent, client, uuid) = done();
    let admission = |world: &World| {
        let view = world.cluster.view();
        view.agents.get(&agent).expect("known").admission.as_str()
    };
    world.step(Input::DrainAgent {
        agent: agent.clone(),
        deadline: None,
        max_grace: None,
        mark_gone: false,
    });
    assert_eq!(admission(&world), "draining");

    acknowledge(&mut world, &client, &agent, uuid);

    assert_eq!(admission(&world), "drained");
}

#[test]
fn a_name_is_free_again_when_it_is_acknowledged() {
    let (mut world, agent, mut client, uuid) = done();
    client.offers = open_offers(&world);

    let again = reserve(&mut world, &client, &["one", "two"]);

    let told = heard(&again, &client);
    let why = "operation one was done and is not acknowledged yet".to_owned();
    assert_eq!(told[0], (id("one"), Err(why)));
    assert_eq!(told[1].0, id("two"));
    assert!(told[1].1.as_ref().is_ok_and(|two| *two != uuid));
    acknowledge(&mut world, &client, &agent, uuid);
    client.offers = open_offers(&world);
    let free = reserve(&mut world, &client, &["one"]);
    assert!(heard(&free, &client)[0].1.is_ok());
}

#[test]
fn reconciliation_tells_what_is_known_by_name_or_all_of_it() {
    let (mut world, agent, client, uuid) = done();
    let mut ask = |named| world.call(&client, Call::ReconcileOperations(named));

    let all = ask(Vec::new());
    let some = ask(vec![(id("one"), None), (id("two"), Some(agent))]);

    assert_eq!(heard(&all, &client), [(id("one"), Ok(uuid))]);
    assert_eq!(heard(&some, &client), [(id("one"), Ok(uuid))]);
    let is_unknown = |event: &Event| matches!(event, Event::Operation { id: name, outcome: OperationOutcome::Unknown, .. } if *name == id("two"));
    assert!(events(&some, client.link).iter().any(is_unknown));
}

#[test]
fn operations_of_a_removed_framework_are_forgotten() {
    let (mut world, _, client, _) = done();

    let out = world.call(&client, Call::Teardown);

    let forgotten = Record::OperationForgotten((client.id, id("one")));
    assert!(out.store.contains(&forgotten), "{:?}", out.store);
}

#[test]
fn a_framework_that_never_came_back_loses_its_operations_in_the_end() {
    let (world, ..) = done();
    let mut settings = Settings::new("n", 2);
    settings.forget_after = Duration::from_secs(60);
    let mut world = world.restarted(settings);

    let out = world.pass(Duration::from_secs(59));
    assert_eq!(out.store, []);
    assert_eq!(world.cluster.view().operations.len(), 1);
    world.pass(Duration::from_secs(1));

    assert_eq!(world.cluster.view().operations.len(), 0);
    let is_kept = |key: &Vec<u8>| key.starts_with(b"operation/");
    assert!(!world.stored.keys().any(is_kept));
}

#[test]
fn a_framework_that_acknowledges_nothing_is_told_no_before_it_fills_the_disk() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();
    let names: Vec<_> = (0..1_001).map(|at| format!("o{at}")).collect();
    let one = |at: usize| Operation::Reshape {
        id: Some(id(&names[at])),
        kind: match at % 2 {
            0 => OperationKind::Reserve,
            _ => OperationKind::Unreserve,
        },
        resources: kept(1),
        account: None,
    };
    let accept = Accept {
        offers: client.offers.iter().map(|offer| offer.id.clone()).collect(),
        operations: (0..names.len()).map(one).collect(),
        refuse_for: NO_FILTER,
    };

    let out = world.call(&client, Call::Accept(accept));

    assert_eq!(world.cluster.view().operations.len(), 1_000);
    let is_refused = |event: &Event| matches!(event, Event::Operation { id: name, outcome: OperationOutcome::Error(why), .. } if *name == id("o1000") && why.contains("not acknowledged yet"));
    assert!(events(&out, client.link).iter().any(is_refused));
}

fn open_offers(world: &World) -> Vec<Arc<Offer>> {
    let view = world.cluster.view();
    let open = view.offers.values();
    open.map(|open| Arc::clone(&open.offer)).collect()
}
