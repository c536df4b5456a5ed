//! `GET /explain` and `POST /what-if`: what they say, what they refuse, and that they touch nothing.

use mete_framework_sdk::demand::Shape;
use mete_framework_sdk::{Connection, Event, FrameworkSpec, Resources};
use mete_proto::mesos::v1::scheduler::call;
use mete_proto::mete::v1::ExplainRequest;
use mete_proto::mete::v1::operator_client::OperatorClient;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};
use tonic::Code;

use crate::peers::{Agent, Framework, Master, PATIENCE, bare, registration, task};

/// A master with one agent of cpus 4, mem 1024 on machine 127.0.0.2.
async fn one_agent() -> (TempDir, Master, Agent) {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let agent = Agent::registered(&master).await;
    (dir, master, agent)
}

/// The refusal of a question.
async fn refused(master: &Master, query: &str, status: u16) -> String {
    let (got, said) = master
        .send(Method::GET, &format!("/explain?{query}"), Value::Null)
        .await;
    assert_eq!(got, status, "{query}: {said}");
    said["message"].as_str().expect("a message").to_owned()
}

async fn what_if(master: &Master, question: Value) -> Value {
    let (status, said) = master
        .send(Method::POST, "/what-if", question.clone())
        .await;
    assert_eq!(status, 200, "{question}: {said}");
    said
}

fn codes(reasons: &Value) -> Vec<&str> {
    let reasons = reasons.as_array().expect("a list");
    reasons
        .iter()
        .filter_map(|one| one["code"].as_str())
        .collect()
}

/// What the master shows of the cluster.
async fn shown(master: &Master) -> (Value, Value, Value) {
    let mut state = master.state().await;
    if let Some(state) = state.as_object_mut() {
        state.retain(|name, _| !name.contains("time"));
    }
    (
        state,
        master.json("/roles").await,
        master.json("/policy").await,
    )
}

#[tokio::test]
async fn a_shape_fits_or_is_told_how_much_is_missing_where() {
    let (_dir, master, agent) = one_agent().await;

    let fits = master.json("/explain?shape=cpus:4;mem:1024").await;
    assert_eq!(fits["fits_on"], 1, "{fits}");
    assert_eq!(fits["smallest_change"], json!([]));

    let large = master.json("/explain?shape=cpus:6;mem:512").await;
    assert_eq!(large["fits_on"], 0);
    let group = &large["agents"][0];
    assert_eq!(group["reason"]["code"], "TOO_SMALL", "{large}");
    let short = json!([{ "resource": "cpus", "asked": 6.0, "there": 4.0 }]);
    assert_eq!(group["reason"]["short"], short);
    assert_eq!(group["count"], 1);
    assert_eq!(group["examples"][0], agent.id.value.as_str());
    let change = &large["smallest_change"][0];
    assert_eq!(change["code"], "GROW");
    assert_eq!(change["resources"], json!({ "cpus": 2.0 }));

    let elsewhere = master
        .json("/explain?shape=cpus:1;mem:32&constraint=rack:LIKE:a.*&role=web")
        .await;
    assert_eq!(elsewhere["role"], "web");
    let reason = &elsewhere["agents"][0]["reason"];
    assert_eq!(reason["code"], "CONSTRAINT_NOT_MET", "{elsewhere}");
    assert_eq!(reason["constraint"], "rack:LIKE:a.*");
}

#[tokio::test]
async fn frameworks_roles_and_agents_are_explained_by_their_names() {
    let (_dir, master, agent) = one_agent().await;
    let mut framework = Framework::subscribed(&master).await;
    framework.offers().await;
    let id = framework.id.value.clone();

    let told = master.json(&format!("/explain?framework={id}")).await;
    assert_eq!(told["name"], "test");
    assert_eq!(told["roles"][0]["role"], "web");
    assert_eq!(
        told["roles"][0]["on_offer"][0]["agent"],
        agent.id.value.as_str()
    );
    assert!(
        codes(&told["roles"][0]["reasons"]).contains(&"NOTHING_FREE"),
        "{told}"
    );

    let role = master.json("/explain?role=web").await;
    assert_eq!(role["weight"], 1.0);
    assert_eq!(role["frameworks"][0]["framework"], id.as_str());

    let by_id = master
        .json(&format!("/explain?agent={}", agent.id.value))
        .await;
    let by_host = master.json("/explain?agent=127.0.0.2").await;
    assert_eq!(by_id, by_host);
    assert_eq!(by_id["total"]["cpus"], 4.0);
    let on_offer = &by_id["reasons"][0];
    assert_eq!(on_offer["code"], "ON_OFFER", "{by_id}");
    assert_eq!(on_offer["framework"], id.as_str());
}

#[tokio::test]
async fn a_framework_that_suppressed_offers_is_told_to_revive() {
    let (_dir, master, _agent) = one_agent().await;
    let framework = Framework::subscribed(&master).await;
    framework.say(bare(call::Type::Suppress)).await;
    let path = format!("/explain?framework={}", framework.id.value);
    let patience = tokio::time::Instant::now() + PATIENCE;

    loop {
        let told = master.json(&path).await;
        if codes(&told["roles"][0]["reasons"]).contains(&"SUPPRESSED") {
            break;
        }
        assert!(tokio::time::Instant::now() < patience, "{told}");
    }
}

#[tokio::test]
async fn names_nobody_has_are_not_found() {
    let (_dir, master, _agent) = one_agent().await;

    for (query, words) in [
        ("framework=nobody", "framework nobody is not known"),
        ("role=nobody", "role nobody is not known"),
        ("agent=nobody", "agent nobody is not known"),
        ("agent=127.0.0.3", "agent 127.0.0.3 is not known"),
        (
            "framework=nobody&shape=cpus:1",
            "framework nobody is not known",
        ),
    ] {
        assert_eq!(refused(&master, query, 404).await, words);
    }
}

#[tokio::test]
async fn a_question_that_cannot_be_read_is_refused_with_the_part_that_is_wrong() {
    let (_dir, master, _agent) = one_agent().await;
    let long = format!("shape=cpus:1&constraint=rack:LIKE:{}", "(a{9999}){9999}");
    let names_nothing = format!("role={}", "a".repeat(10_000));

    for (query, word) in [
        ("", "is to be named"),
        ("role=a&agent=b", "is to be named"),
        ("constraint=rack:IS:a", "beside shape"),
        ("role=a&constraint=rack:IS:a", "constraint"),
        ("color=red", "color"),
        ("role=a&role=b", "role is given twice"),
        ("role=a%20b", "a b"),
        ("role=a/../b", "a/../b"),
        ("framework=", "framework"),
        ("shape=", "nothing"),
        ("shape=cpus", "cpus"),
        ("shape=cpus:x", "cpus"),
        ("shape=cpus:NaN", "cpus"),
        ("shape=cpus:inf", "cpus"),
        ("shape=cpus:-1", "cpus"),
        ("shape=cpus:1e300", "cpus"),
        ("shape=gpus:1.5", "1500 thousandths of a GPU"),
        ("shape=cpus:1&constraint=rack", "rack"),
        ("shape=cpus:1&constraint=rack:NEAR:a", "NEAR"),
        ("shape=cpus:1&constraint=rack:LIKE:(", "rack:LIKE:("),
        (&long, "rack:LIKE:"),
        (&names_nothing, "role"),
    ] {
        let why = refused(&master, query, 400).await;
        assert!(why.contains(word), "{query:.60}: {why:.200}");
    }
}

#[tokio::test]
async fn grpc_answers_and_refuses_as_http_does() {
    let (_dir, master, _agent) = one_agent().await;
    let mut client = OperatorClient::new(master.channel().await);
    let asked = |shape: &str| ExplainRequest {
        shape: Some(shape.to_owned()),
        constraints: vec!["rack:LIKE:a.*".to_owned()],
        ..ExplainRequest::default()
    };

    let told = client.explain(asked("cpus:9")).await.expect("an answer");
    let told: Value = serde_json::from_str(&told.into_inner().json).expect("JSON");

    let http = master
        .json("/explain?shape=cpus:9&constraint=rack:LIKE:a.*")
        .await;
    assert_eq!(told, http);
    let bad = client.explain(asked("cpus:-9")).await.expect_err("refused");
    assert_eq!(bad.code(), Code::InvalidArgument);
    assert!(bad.message().contains("cpus"), "{bad}");
    let nobody = ExplainRequest {
        role: Some("nobody".to_owned()),
        ..ExplainRequest::default()
    };
    let missing = client.explain(nobody).await.expect_err("refused");
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn a_framework_of_the_sdk_asks_why_its_shape_gets_no_offer() {
    let (_dir, master, agent) = one_agent().await;
    let connection = Connection::to(&master.url).expect("an address");
    let mut framework =
        mete_framework_sdk::Framework::connect(connection, FrameworkSpec::new("waiting"));
    let client = framework.client();
    client.demand([Shape {
        name: Some("train".to_owned()),
        ..Shape::new(Resources::cpus_mem(6_000, 512))
    }]);
    let subscribed = tokio::time::timeout(PATIENCE, framework.next()).await;
    assert!(
        matches!(subscribed, Ok(Some(Event::Subscribed { .. }))),
        "{subscribed:?}"
    );
    tokio::spawn(async move { while framework.next().await.is_some() {} });

    let asking = async {
        loop {
            // The demand follows SUBSCRIBED: the first answers may be from before it was heard.
            let told = client.explain().await.expect("an answer");
            let told: Value = serde_json::from_str(&told).expect("JSON");
            if told["roles"][0]["shapes"][0].is_object() {
                return told;
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, asking).await;
    let told = told.expect("the shape is explained in time");

    assert_eq!(told["name"], "waiting");
    let shape = &told["roles"][0]["shapes"][0];
    assert_eq!(shape["name"], "train");
    assert_eq!(shape["agents"][0]["reason"]["code"], "TOO_SMALL", "{told}");
    assert_eq!(shape["agents"][0]["examples"][0], agent.id.value.as_str());
    assert_eq!(shape["smallest_change"][0]["code"], "GROW");
}

#[tokio::test]
async fn what_if_places_what_fits_and_says_why_the_rest_does_not() {
    let (_dir, master, agent) = one_agent().await;
    let before = shown(&master).await;

    let question = json!({ "add": [{ "count": 6, "resources": "cpus=1,mem=64", "name": "web" }], "policy": "best-fit" });
    let told = what_if(&master, question).await;

    let shape = &told["shapes"][0];
    assert_eq!(
        shape["placed"],
        json!([{ "agent": agent.id.value, "count": 4 }]),
        "{told}"
    );
    assert_eq!(shape["missing"], 2);
    assert_eq!(shape["why_not"]["agents"][0]["reason"]["code"], "TOO_SMALL");
    assert_eq!(told["free"]["before"]["cpus"], 4.0);
    assert_eq!(told["free"]["after"].get("cpus"), None);
    assert_eq!(told["stranded"]["after"]["mem"], 768.0);
    assert_eq!(shown(&master).await, before);
}

#[tokio::test]
async fn tasks_of_an_agent_that_would_drain_are_placed_elsewhere_and_nothing_is_touched() {
    let (_dir, master, mut agent) = one_agent().await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:2;mem:64;ports:[31000-31001]");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;
    framework.offers().await; // what the task left

    let drain = json!({ "drain": [agent.id.value] });
    let alone = what_if(&master, drain).await;
    assert_eq!(alone["shapes"][0]["missing"], 1, "{alone}");
    let reason = &alone["shapes"][0]["why_not"]["agents"][0]["reason"];
    assert_eq!(reason["code"], "AGENT_DRAINING", "{alone}");

    let mut second = registration();
    second.agent_info.hostname = "127.0.0.3".to_owned();
    let second = Agent::registered_as(&master, second).await;
    framework.offers().await;
    let before = shown(&master).await;

    // By its name and by its id it is drained once.
    let drain = json!({ "drain": ["127.0.0.2", agent.id.value, "127.0.0.2"] });
    let told = what_if(&master, drain).await;

    let placed = json!([{ "agent": second.id.value, "count": 1 }]);
    assert_eq!(told["shapes"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told["shapes"][0]["placed"], placed, "{told}");
    assert_eq!(told["shapes"][0]["role"], "web");
    assert_eq!(told["shapes"][0]["missing"], 0);
    assert_eq!(shown(&master).await, before);
}

#[tokio::test]
async fn a_what_if_that_makes_no_sense_is_refused_in_words() {
    let (_dir, master, _agent) = one_agent().await;
    let many = json!({ "add": vec![json!({ "resources": "cpus:1" }); 2_000] });
    let half = json!({ "resources": "cpus:1", "count": 500_001 });

    for (question, status, word) in [
        (json!([]), 400, "object"),
        (json!({ "adds": [] }), 400, "adds"),
        (json!({ "add": [half, half] }), 400, "1000002 tasks"),
        (json!({ "add": {} }), 400, "add"),
        (json!({ "add": [1] }), 400, "resources"),
        (json!({ "add": [{ "resources": "cpus:-1" }] }), 400, "cpus"),
        (json!({ "add": [{ "resources": "" }] }), 400, "nothing"),
        (
            json!({ "add": [{ "resources": "cpus:1", "count": 0 }] }),
            400,
            "count 0",
        ),
        (
            json!({ "add": [{ "resources": "cpus:1", "count": -1 }] }),
            400,
            "count -1",
        ),
        (
            json!({ "add": [{ "resources": "cpus:1", "count": 1e12 }] }),
            400,
            "count",
        ),
        (
            json!({ "add": [{ "resources": "cpus:1", "role": "a b" }] }),
            400,
            "a b",
        ),
        (
            json!({ "add": [{ "resources": "cpus:1", "role": 7 }] }),
            400,
            "role 7",
        ),
        (
            json!({ "add": [{ "resources": "cpus:1", "rolle": "a" }] }),
            400,
            "rolle",
        ),
        (
            json!({ "add": [{ "resources": "cpus:1", "constraints": ["x"] }] }),
            400,
            "x",
        ),
        (many, 400, "add"),
        (json!({ "drain": ["nobody"] }), 404, "nobody"),
        (json!({ "drain": [1] }), 400, "drain"),
        (json!({ "policy": "worst-fit" }), 400, "worst-fit"),
        (json!({ "policy": 1 }), 400, "policy"),
    ] {
        let (got, said) = master
            .send(Method::POST, "/what-if", question.clone())
            .await;
        assert_eq!(got, status, "{question:.80}: {said}");
        let why = said["message"].as_str().expect("a message");
        assert!(why.contains(word), "{question:.80}: {why}");
    }
}
