//! Maintenance over HTTP, and what a framework built on the SDK hears of it.

use std::time::Duration;

use mete_framework_sdk::{
    Connection, Event, Filters, Framework, FrameworkSpec, InverseOffer, Offer,
};
use mete_proto::mete::v1::agent_message;
use mete_proto::mete::v1::master_message::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::peers::{Agent, Master, PATIENCE, registration};
use crate::v1;

const START: i64 = 4_000_000_000_000_000_000;

fn machines() -> Value {
    json!([{ "hostname": "127.0.0.2" }])
}

fn schedule() -> Value {
    json!({ "windows": [{
        "machine_ids": machines(),
        "unavailability": {
            "start": { "nanoseconds": START },
            "duration": { "nanoseconds": 3_600_000_000_000_i64 },
        },
    }] })
}

async fn next(framework: &mut Framework) -> Event {
    let next = tokio::time::timeout(PATIENCE, framework.next()).await;
    next.expect("in time").expect("no end")
}

async fn offers(framework: &mut Framework) -> Vec<Offer> {
    loop {
        if let Event::Offers(offers) = next(framework).await {
            return offers;
        }
    }
}

async fn asked(framework: &mut Framework) -> InverseOffer {
    loop {
        if let Event::InverseOffers(offers) = next(framework).await {
            return offers[0].clone();
        }
    }
}

/// Looks until the only framework is said to have answered so.
async fn until_said(master: &Master, word: &str) {
    let looking = async {
        loop {
            let status = master.json("/maintenance/status").await;
            if status["draining_machines"][0]["statuses"][0]["status"] == word {
                return;
            }
        }
    };
    let said = tokio::time::timeout(PATIENCE, looking).await;
    said.unwrap_or_else(|_| panic!("{word} is said in time"));
}

/// A framework of the SDK that has been offered the only agent, before its machine was planned to be away.
async fn framework(master: &Master) -> Framework {
    let connection = Connection::to(&master.url).expect("an address");
    let mut framework = Framework::connect(connection, FrameworkSpec::new("test"));
    assert_eq!(offers(&mut framework).await[0].unavailability, None);
    let set = master
        .send(Method::POST, "/maintenance/schedule", schedule())
        .await;
    assert_eq!(set, (200, Value::Null));
    framework
}

#[tokio::test]
async fn a_planned_machine_is_announced_and_asked_for() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let agent = Agent::registered(&master).await;
    let mut framework = framework(&master).await;
    let client = framework.client();

    let planned = offers(&mut framework).await[0].unavailability;
    let first = asked(&mut framework).await;

    assert_eq!(Some(first.unavailability), planned);
    assert_eq!(first.agent.as_str(), agent.id.value);
    let told = v1::ask(&master, &json!({ "type": "GET_FRAMEWORKS" })).await;
    let question = &told["get_frameworks"]["frameworks"][0]["inverse_offers"][0];
    assert_eq!(question["id"]["value"], first.id.as_str());
    until_said(&master, "UNKNOWN").await;
    let again = Filters::refuse_for(Duration::from_millis(100));
    client
        .decline_inverse([&first.id], again)
        .expect("connected");
    let second = asked(&mut framework).await;
    until_said(&master, "DECLINE").await;
    client.accept_inverse([&second.id]).expect("connected");
    until_said(&master, "ACCEPT").await;
}

#[tokio::test]
async fn a_machine_that_goes_down_takes_its_agent_with_it() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = framework(&master).await;
    asked(&mut framework).await;

    let down = master.send(Method::POST, "/machine/down", machines()).await;

    assert_eq!(down, (200, Value::Null));
    let shutdown = agent.next().await;
    assert!(matches!(shutdown, Message::Shutdown(_)), "{shutdown:?}");
    loop {
        if let Event::RescindInverse(_) = next(&mut framework).await {
            break;
        }
    }
}

#[tokio::test]
async fn the_schedule_and_what_is_down_survive_a_restart() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let early = master.send(Method::POST, "/machine/down", machines()).await;
    assert_eq!(early.0, 400, "{}", early.1);
    master
        .send(Method::PUT, "/maintenance/schedule", schedule())
        .await;
    master.send(Method::POST, "/machine/down", machines()).await;
    master.stop().await;

    let master = Master::start(dir.path()).await;

    assert_eq!(master.json("/maintenance/schedule").await, schedule());
    let status = master.json("/maintenance/status").await;
    assert_eq!(status["down_machines"], machines());
    assert_eq!(status["draining_machines"], json!([]));
    let mut agent = Agent::open(&master).await;
    agent
        .say(agent_message::Message::Register(Box::new(registration())))
        .await;
    assert!(matches!(agent.next().await, Message::Shutdown(_)));
    let Message::Refused(refused) = agent.next().await else {
        panic!("refused");
    };
    assert!(!refused.permanent(), "{refused:?}");
    let up = master.send(Method::POST, "/machine/up", machines()).await;
    assert_eq!(up, (200, Value::Null));
    Agent::registered(&master).await;
    let schedule = master.json("/maintenance/schedule").await;
    assert_eq!(schedule, json!({ "windows": [] }));
}

#[tokio::test]
async fn a_schedule_that_makes_no_sense_is_refused() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let window = |machines: Value, start: i64| json!({ "machine_ids": machines, "unavailability": { "start": { "nanoseconds": start } } });

    for windows in [
        json!([window(json!([]), 1)]),
        json!([window(machines(), -1)]),
        json!([window(machines(), 1), window(machines(), 2)]),
        json!([window(json!([{}]), 1)]),
        json!([{ "machine_ids": machines() }]),
    ] {
        let body = json!({ "windows": windows });
        let (status, said) = master
            .send(Method::POST, "/maintenance/schedule", body)
            .await;
        assert_eq!(status, 400, "{windows}: {said}");
        assert!(said["message"].is_string(), "{said}");
    }
}
