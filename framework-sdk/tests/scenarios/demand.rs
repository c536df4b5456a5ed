//! What waits, told to the master: once a turn, once each, again on a new connection.

use std::time::Duration;

use mete_framework_sdk::demand::Shape;
use mete_framework_sdk::matching::{self, WaitingTask};
use mete_framework_sdk::testkit::{Call, Master};
use mete_framework_sdk::{Event, Filters, Framework, Resources, Task, TaskId};
use tokio::time::timeout;

use crate::{PATIENCE, next, patient, until_disconnected, until_subscribed};

fn shape(count: u32) -> Shape {
    Shape {
        count,
        ..Shape::new(Resources::cpus_mem(500, 64))
    }
}

fn waiting(count: u32) -> Vec<WaitingTask> {
    let task = |number| {
        let task = Task::shell(format!("t-{number}"), "true").expect("an id");
        WaitingTask::new(task.name("t").cpus_milli(500).mem_mb(64))
    };
    (1..=count).map(task).collect()
}

/// Takes a turn in which nothing happens, and waits until the master has heard all that was said before.
async fn turn(framework: &mut Framework, master: &Master) {
    assert!(
        timeout(Duration::from_millis(1), framework.next())
            .await
            .is_err()
    );
    let barrier = TaskId::new("barrier").expect("an id");
    let client = framework.client();
    client.reconcile([(&barrier, None)]).expect("connected");
    assert!(matches!(next(framework).await, Event::Update(_)));
    assert!(!master.calls().is_empty());
}

/// Takes turns until the master has heard all that was said before.
async fn until_barrier(framework: &mut Framework) {
    let barrier = TaskId::new("barrier").expect("an id");
    // The turn in which it is said has ended with the first question for an event.
    assert!(matches!(next(framework).await, Event::Update(_)));
    let client = framework.client();
    client.reconcile([(&barrier, None)]).expect("connected");
    while !matches!(next(framework).await, Event::Update(status) if status.task == barrier) {}
}

/// The counts of all shapes in all demands that the master has heard.
fn told(master: &Master) -> Vec<Vec<u32>> {
    let counts = |shapes: &[Shape]| shapes.iter().map(|shape| shape.count).collect();
    let calls = master.calls();
    let demands = calls.iter().filter_map(|received| match &received.call {
        Call::Demand(shapes) => Some(counts(shapes)),
        _ => None,
    });
    demands.collect()
}

#[tokio::test]
async fn of_several_statements_in_one_turn_the_last_is_told_and_the_same_never_twice() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();

    client.demand([]);
    turn(&mut framework, &master).await;
    client.demand([shape(1)]);
    client.demand([shape(2), shape(7)]);
    client.demand([shape(3)]);
    turn(&mut framework, &master).await;
    client.demand([shape(4)]);
    client.demand([shape(3)]);
    turn(&mut framework, &master).await;
    client.demand([]);
    turn(&mut framework, &master).await;

    assert_eq!(told(&master), [vec![3], vec![]]);
}

#[tokio::test]
async fn a_statement_from_elsewhere_ends_the_turn_of_a_framework_that_waits() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();
    let listens = tokio::spawn(async move { framework.next().await });
    tokio::task::yield_now().await;

    client.demand([shape(5)]);

    let demanded = |call: &Call| matches!(call, Call::Demand(shapes) if *shapes == [shape(5)]);
    assert!(master.heard(demanded).await.is_some());
    listens.abort();
}

#[tokio::test]
async fn what_is_demanded_is_told_before_offers_are_asked_for() {
    let master = Master::start().await.expect("a free port");
    let (framework, _) = until_subscribed(&master, patient().suppressed()).await;
    let client = framework.client();

    client.demand([shape(5)]);
    client.revive().expect("connected");

    let revived = |call: &Call| matches!(call, Call::Revive { .. });
    assert!(master.heard(revived).await.is_some());
    assert_eq!(told(&master), [vec![5]]);
}

#[tokio::test]
async fn a_plan_that_is_carried_out_leaves_the_rest_demanded() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();
    let tasks = waiting(3);
    client.demand_for(&tasks);
    turn(&mut framework, &master).await;
    master.add_agent(Resources::cpus_mem(1_000, 512));

    let Event::Offers(offers) = next(&mut framework).await else {
        panic!("offers are the first to come");
    };
    let left = matching::plan(tasks, &offers).carry_out(&client, Filters::default());

    assert_eq!(left.len(), 1);
    let one = |call: &Call| matches!(call, Call::Demand(shapes) if shapes[0].count == 1);
    let heard = async {
        tokio::select! {
            heard = master.heard(one) => heard,
            () = async { while framework.next().await.is_some() {} } => None,
        }
    };
    assert!(timeout(PATIENCE, heard).await.expect("in time").is_some());
    assert_eq!(told(&master), [vec![3], vec![1]]);
}

#[tokio::test]
async fn what_is_stated_after_a_launch_is_told_though_it_is_as_before() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();
    client.demand([shape(1)]);
    turn(&mut framework, &master).await;
    master.add_agent(Resources::cpus_mem(500, 64));
    let Event::Offers(offers) = next(&mut framework).await else {
        panic!("offers are the first to come");
    };
    let task = waiting(1).remove(0).task().clone();

    let launched = client.accept(&offers, [task], Filters::default());
    launched.expect("connected");
    client.demand([]);
    client.demand([shape(1)]);
    until_barrier(&mut framework).await;
    client.demand([shape(1)]);
    until_barrier(&mut framework).await;

    assert_eq!(told(&master), [vec![1], vec![1]]);
}

#[tokio::test]
async fn a_framework_that_never_states_a_demand_sends_none() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 512));
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();

    let Event::Offers(offers) = next(&mut framework).await else {
        panic!("offers are the first to come");
    };
    let left = matching::plan(waiting(3), &offers).carry_out(&client, Filters::default());
    framework.close().await;

    assert_eq!(left.len(), 1);
    assert_eq!(told(&master), Vec::<Vec<u32>>::new());
}

#[tokio::test]
async fn a_new_connection_is_told_again() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    framework.client().demand([shape(2)]);
    turn(&mut framework, &master).await;

    master.cut();
    until_disconnected(&mut framework).await;
    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { .. }
    ));
    turn(&mut framework, &master).await;

    assert_eq!(told(&master), [vec![2], vec![2]]);
}
