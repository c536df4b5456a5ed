//! What a test can make the master in memory do.

use std::time::Duration;

use mete_framework_sdk::testkit::{Agent, Call, Master, Options};
use mete_framework_sdk::{
    Capability, Client, Event, Filters, Framework, FrameworkId, FrameworkSpec, Offer, Reason,
    Resources, Role, Task, TaskId, TaskState, TaskStatus,
};

use crate::{next, until_subscribed, until_update};

/// A framework with one task, `t-1`, that runs.
async fn running(master: &Master) -> (Framework, Client, FrameworkId) {
    let (mut framework, id) = until_subscribed(master, FrameworkSpec::new("tested")).await;
    let client = framework.client();
    let offers = offers(&mut framework).await;
    let accepted = client.accept(&offers, [task("t-1")], Filters::default());
    accepted.expect("connected");
    until_update(&mut framework, TaskState::Running).await;
    (framework, client, id)
}

async fn offers(framework: &mut Framework) -> Vec<Offer> {
    loop {
        if let Event::Offers(offers) = next(framework).await {
            return offers;
        }
    }
}

fn task(id: &str) -> Task {
    let task = Task::shell(id, "true").expect("an id");
    task.cpus_milli(500).mem_mb(64)
}

#[tokio::test]
async fn a_withdrawn_offer_cannot_be_used() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 128));
    let (mut framework, _) = until_subscribed(&master, FrameworkSpec::new("tested")).await;
    let offers = offers(&mut framework).await;

    let an_hour = Duration::from_secs(3_600);
    assert!(master.rescind(&offers[0].id, an_hour));
    assert_eq!(
        next(&mut framework).await,
        Event::Rescind(offers[0].id.clone())
    );
    let client = framework.client();
    client
        .accept(&offers, [task("t-1")], Filters::default())
        .expect("connected");
    let status = until_update(&mut framework, TaskState::Dropped).await;

    assert_eq!(status.reason, Some(Reason::InvalidOffers));
    assert!(!master.rescind(&offers[0].id, an_hour), "it is gone");
    assert_eq!(master.offers(), []);
}

#[tokio::test]
async fn tasks_of_a_lost_agent_are_unreachable_until_it_returns() {
    let master = Master::start().await.expect("a free port");
    let agent = master.add_agent(Resources::cpus_mem(1_000, 128));
    let (mut framework, _, _) = running(&master).await;

    master.lose_agent(&agent);
    let lost = until_update(&mut framework, TaskState::Unreachable).await;
    let failure = next(&mut framework).await;
    master.return_agent(&agent);
    let back = until_update(&mut framework, TaskState::Running).await;
    assert!(master.finish(&lost.task, TaskState::Finished));
    until_update(&mut framework, TaskState::Finished).await;

    assert!(
        lost.unreachable_time.is_some() && lost.uuid.is_none(),
        "{lost:?}"
    );
    assert!(matches!(failure, Event::Failure { agent: Some(id), .. } if id == agent));
    assert_eq!(back.reason, Some(Reason::AgentReregistered));
}

#[tokio::test]
async fn an_uncooperative_agent_does_what_the_test_says() {
    let options = Options {
        cooperative: false,
        ..Options::default()
    };
    let master = Master::start_with(options).await.expect("a free port");
    let agent = Agent::from(Resources::cpus_mem(1_000, 128));
    master.add_agent(agent.on_host("stubborn").attribute("rack", "r1"));
    let spec = FrameworkSpec::new("tested").capability(Capability::TaskKillingState);
    let (mut framework, _) = until_subscribed(&master, spec).await;
    let client = framework.client();
    let offers = offers(&mut framework).await;
    let task = task("t-1");
    let id = task.id().clone();

    client
        .accept(&offers, [task], Filters::default())
        .expect("connected");
    let accepted = |call: &Call| matches!(call, Call::Accept { .. });
    let heard = master.heard(accepted).await.expect("it comes");
    let staging = master.tasks();
    master.report(&id, TaskState::Running, |status| {
        status.healthy = Some(false)
    });
    let sick = until_update(&mut framework, TaskState::Running).await;

    assert_eq!(offers[0].endpoint.hostname, "stubborn");
    assert_eq!(
        offers[0]
            .attributes
            .get("rack")
            .map(ToString::to_string)
            .as_deref(),
        Some("r1")
    );
    assert_eq!(staging[0].1, TaskState::Staging);
    assert_eq!(sick.healthy, Some(false));
    let Call::Accept {
        tasks, refuse_for, ..
    } = heard.call
    else {
        panic!("asked for ACCEPT");
    };
    assert_eq!(refuse_for, Duration::from_secs(5));
    assert_eq!(tasks[0].as_ref().expect("it makes sense").id, id);
}

#[tokio::test]
async fn killed_tasks_say_so_first_to_those_who_want_to_hear_it() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 128));
    let spec = FrameworkSpec::new("tested").capability(Capability::TaskKillingState);
    let (mut framework, _) = until_subscribed(&master, spec).await;
    let client = framework.client();
    let offers = offers(&mut framework).await;
    let task = task("t-1");
    let id = task.id().clone();
    client
        .accept(&offers, [task], Filters::default())
        .expect("connected");
    until_update(&mut framework, TaskState::Running).await;

    let agent = &offers[0].agent;
    client
        .kill(&id, Some(agent), Some(Duration::from_secs(9)))
        .expect("connected");

    until_update(&mut framework, TaskState::Killing).await;
    until_update(&mut framework, TaskState::Killed).await;
    let grace =
        |call: &Call| matches!(call, Call::Kill { grace: Some(grace), .. } if grace.as_secs() == 9);
    assert!(master.heard(grace).await.is_some());
}

#[tokio::test]
async fn events_are_sent_as_the_test_says() {
    let master = Master::start().await.expect("a free port");
    let agent = master.add_agent(Resources::cpus_mem(1_000, 128));
    let spec = FrameworkSpec::new("tested").suppressed();
    let (mut framework, id) = until_subscribed(&master, spec).await;
    let mut status = TaskStatus::new(
        TaskId::new("t-1").expect("an id"),
        TaskState::Failed,
        mete_framework_sdk::Source::Executor,
        mete_framework_sdk::Timestamp::from_millis(5),
    );
    status.message = Some("out of luck".to_owned());

    master.send_update(&id, &status);
    master.send_error(&id, "no such thing");
    master.send_failure(&id, &agent);

    assert_eq!(next(&mut framework).await, Event::Update(status));
    assert_eq!(
        next(&mut framework).await,
        Event::Error("no such thing".to_owned())
    );
    assert!(matches!(next(&mut framework).await, Event::Failure { .. }));
}

#[tokio::test]
async fn two_frameworks_of_equal_weight_share_the_agents() {
    let master = Master::start().await.expect("a free port");
    let role = |name| Role::new(name).expect("a role");
    let (mut red, _) = until_subscribed(&master, FrameworkSpec::new("red").role(role("red"))).await;
    let (mut blue, _) =
        until_subscribed(&master, FrameworkSpec::new("blue").role(role("blue"))).await;

    for _ in 0..2 {
        master.add_agent(Resources::cpus_mem(1_000, 128));
    }

    assert_eq!(offers(&mut red).await.len(), 1);
    assert_eq!(offers(&mut blue).await.len(), 1);
}
