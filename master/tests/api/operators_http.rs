//! What operators change over HTTP: weights, quotas, policies, agents; what they see of it.

use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler::event::Type;
use mete_proto::mete::v1::master_message::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::peers::{Agent, Framework, Master, task};

const NOTHING: Value = Value::Null;

async fn refused(master: &Master, method: Method, path: &str, body: Value, status: u16) -> String {
    let (got, said) = master.send(method, path, body.clone()).await;
    assert_eq!(got, status, "{path} {body}: {said}");
    said["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn weights_quotas_and_policies_are_kept_over_a_restart() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let _agent = Agent::registered(&master).await;
    let weights = json!([{ "role": "web", "weight": 2.5 }, { "role": "web/api", "weight": 0.5 }]);
    let quota = json!({ "limit": { "cpus": 2.0, "mem": 512.0 }, "guarantee": { "cpus": 1.0 } });
    let role_policy = json!({ "policy": "spread", "role": "web" });
    for (path, body) in [
        ("/weights", weights.clone()),
        ("/quota/web", quota.clone()),
        ("/policy", json!({ "policy": "first-fit" })),
        ("/master/policy", role_policy),
    ] {
        let answered = master.send(Method::PUT, path, body).await;
        assert_eq!(answered, (200, NOTHING), "{path}");
    }
    master.stop().await;

    let master = Master::start(dir.path()).await;

    assert_eq!(master.json("/weights").await, weights);
    let web = master.json("/quota/web").await;
    assert_eq!(web["limit"], quota["limit"]);
    assert_eq!(web["guarantee"], quota["guarantee"]);
    let all = master.json("/quota").await;
    assert_eq!(all["infos"][0]["role"], "web");
    assert_eq!(all["infos"][0]["guarantee"][0]["scalar"]["value"], 1.0);
    assert_eq!(all["configs"][0]["limits"]["mem"]["value"], 512.0);
    let policy = master.json("/policy").await;
    assert_eq!(policy["policy"], "first-fit");
    assert_eq!(policy["roles"], json!({ "web": "spread" }));
    for (path, body) in [
        ("/weights", json!([{ "role": "web", "weight": 1 }])),
        ("/policy", json!({ "policy": null, "role": "web" })),
    ] {
        assert_eq!(master.send(Method::PUT, path, body).await, (200, NOTHING));
    }
    let removed = master.send(Method::DELETE, "/quota/web", NOTHING).await;
    assert_eq!(removed, (200, NOTHING));
    assert_eq!(master.get("/quota/web").await.status(), 404);
    let (status, again) = master.send(Method::DELETE, "/quota/web", NOTHING).await;
    assert_eq!(
        (status, &again["message"]),
        (400, &json!("role web has no quota"))
    );
    let usual = json!({ "role": "web", "weight": 1.0 });
    assert_eq!(master.json("/weights").await[0], usual, "as it was set");
    assert_eq!(master.json("/policy").await["roles"], json!({}));
}

#[tokio::test]
async fn quotas_that_do_not_fit_are_refused_unless_forced() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:2;mem:64");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;

    let limit = json!({ "limit": { "cpus": 1 } });
    let why = refused(&master, Method::PUT, "/quota/web", limit.clone(), 409).await;
    assert_eq!(
        why,
        "role web consumes cpus 2, its limit would be 1; it can be forced"
    );
    let forced = master
        .send(Method::PUT, "/quota/web?force=true", limit)
        .await;
    assert_eq!(forced, (200, NOTHING));

    let kept = json!({ "guarantee": { "mem": 4096 } });
    let why = refused(&master, Method::PUT, "/quota/prod", kept, 409).await;
    assert_eq!(
        why,
        "with role prod all roles would be guaranteed mem 4096 MB, the cluster has 1024 MB; it can be forced"
    );
    let both = json!({ "limit": { "cpus": 1 }, "guarantee": { "cpus": 2 }, "force": true });
    let why = refused(&master, Method::PUT, "/quota/prod", both, 400).await;
    assert_eq!(why, "role prod would be guaranteed cpus 2 and limited to 1");
    let as_in_mesos = json!({
        "role": "dev",
        "guarantee": [{ "name": "cpus", "type": "SCALAR", "scalar": { "value": 1 } }],
    });
    let set = master.send(Method::POST, "/quota", as_in_mesos).await;
    assert_eq!(set, (200, NOTHING));
    assert_eq!(master.json("/quota/dev").await["limit"]["cpus"], 1.0);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;

    for (path, body) in [
        ("/weights", json!([{ "role": "a b", "weight": 1 }])),
        ("/weights", json!([{ "role": "a", "weight": 0 }])),
        ("/weights", json!([{ "role": "a", "weight": 0.0001 }])),
        ("/weights", json!([{ "role": "a", "weight": -1 }])),
        ("/weights", json!([{ "role": "a", "weight": 1e300 }])),
        ("/weights", json!([{ "role": "a", "weight": "1" }])),
        (
            "/weights",
            json!([{ "role": "a", "weight": 1 }, { "role": "a", "weight": 2 }]),
        ),
        ("/weights", json!({ "role": "a", "weight": 1 })),
        ("/quota/-a", json!({ "limit": { "cpus": 1 } })),
        ("/quota/a/b", json!({ "limit": { "cpus": 1 } })),
        ("/quota/*", json!({ "limit": { "cpus": 1 } })),
        ("/quota/a", json!({ "limit": { "cpus": -1 } })),
        ("/quota/a", json!({ "limit": { "cpus": 0.00001 } })),
        ("/quota/a", json!({ "limit": { "ports": 1 } })),
        ("/quota/a", json!({ "limits": { "cpus": 1 } })),
        ("/policy", json!({})),
        ("/policy", json!({ "policy": "worst-fit" })),
        ("/policy", json!({ "policy": "spread", "role": "a/../b" })),
    ] {
        let why = refused(&master, Method::PUT, path, body, 400).await;
        assert!(!why.is_empty());
    }
    let why = refused(
        &master,
        Method::POST,
        "/agents/nobody/drain",
        json!({}),
        404,
    )
    .await;
    assert_eq!(why, "agent nobody is not known");
    let negative = json!({ "max_grace_period": { "nanoseconds": -1 } });
    refused(&master, Method::POST, "/agents/a/drain", negative, 400).await;
    assert_eq!(master.get("/agents/a/drain").await.status(), 405);
}

#[tokio::test]
async fn weights_that_are_computed_are_rounded_to_thousandths() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;

    let third = json!([{ "role": "a", "weight": 1.0 / 3.0 }]);
    let set = master.send(Method::PUT, "/weights", third).await;

    assert_eq!(set, (200, NOTHING));
    assert_eq!(master.json("/weights").await[0]["weight"], 0.333);
}

#[tokio::test]
async fn paths_queries_and_empty_bodies_that_cannot_be_read_are_refused_as_everything_else() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let client = mete_daemon::http_client::plain().build().expect("a client");
    let limit = json!({ "limit": { "cpus": 1 } });

    for (method, path, body) in [
        (Method::GET, "/quota/%ff", Some(limit.clone())),
        (Method::PUT, "/quota/web?force=1", Some(limit)),
        (Method::PUT, "/quota/web", None),
        (Method::PUT, "/policy", None),
        (Method::POST, "/maintenance/schedule", None),
        (Method::POST, "/what-if", None),
        (
            Method::POST,
            "/machine/down",
            Some(json!([{ "ip": "999.1.1.1" }])),
        ),
    ] {
        let mut request = client.request(method, format!("{}{path}", master.url));
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer");

        assert_eq!(answer.status(), 400, "{path}");
        let said = answer.text().await.expect("a body");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert!(said["message"].is_string(), "{path}: {said}");
    }
}

#[tokio::test]
async fn an_agent_drains_over_http_and_comes_back() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:1;mem:64");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;
    framework.offers().await; // what the task left
    let order = |what: &str| format!("/agents/{}/{what}", agent.id.value);
    let (drain, reactivate) = (order("drain"), order("reactivate"));

    let within = json!({ "max_grace_period": { "nanoseconds": 2_000_000_000 } });
    let drained = master.send(Method::POST, &drain, within).await;

    assert_eq!(drained, (200, NOTHING));
    framework.wait_for(Type::Rescind).await;
    let Message::KillTask(kill) = agent.next().await else {
        panic!("a kill");
    };
    assert_eq!(kill.task_id.value, "one");
    let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
    assert!(grace.is_some_and(|grace| grace.nanoseconds <= 2_000_000_000));
    let told = agent.standing().await;
    let config = told.drain_config.expect("it drains");
    let grace = config.max_grace_period.map(|grace| grace.nanoseconds);
    assert_eq!(
        (grace, config.mark_gone),
        (Some(2_000_000_000), Some(false))
    );
    assert!(told.drain_began.is_some_and(|began| began.nanoseconds > 0));
    let slave = master.state().await["slaves"][0].clone();
    let config =
        json!({ "max_grace_period": { "nanoseconds": 2_000_000_000 }, "mark_gone": false });
    let info = json!({ "state": "DRAINING", "config": config });
    assert_eq!(slave["drain_info"], info);
    let began = slave["estimated_drain_start_time_seconds"].clone();
    assert!(began.as_f64().is_some_and(|began| began > 0.0), "{slave}");
    assert_eq!(slave["deactivated"], true);
    let why = refused(&master, Method::POST, &reactivate, json!({}), 409).await;
    assert!(why.contains("is draining"), "{why}");

    let killed = agent.status("one", mesos::TaskState::TaskKilled, 1);
    agent.report(&framework.id, killed).await;
    let status = framework.update().await;
    assert_eq!(status.reason(), mesos::task_status::Reason::AgentDraining);
    framework.acknowledge(&status).await;
    assert!(matches!(agent.next().await, Message::Acknowledge(_)));
    let told = agent.standing().await;
    assert_eq!((told.drain_config, told.drain_began), (None, None));
    let slaves = master.json("/slaves").await;
    let summary = master.json("/state-summary").await;
    for told in [master.state().await, slaves, summary] {
        let slave = &told["slaves"][0];
        let config =
            json!({ "max_grace_period": { "nanoseconds": 2_000_000_000 }, "mark_gone": false });
        let info = json!({ "state": "DRAINED", "config": config });
        assert_eq!(slave["drain_info"], info, "nothing but what Mesos has");
        assert_eq!(slave["estimated_drain_start_time_seconds"], began);
    }
    let back = master.send(Method::POST, &reactivate, json!({})).await;
    assert_eq!(back, (200, NOTHING));
    framework.offers().await;
}

#[tokio::test]
async fn with_a_deadline_frameworks_are_asked_before_anything_is_killed() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:1;mem:64");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;
    framework.offers().await; // what the task left
    let drain = format!("/agents/{}/drain", agent.id.value);

    let hour = json!({
        "deadline": { "nanoseconds": 3_600_000_000_000_i64 },
        "max_grace_period": { "nanoseconds": 2_000_000_000 },
    });
    let drained = master.send(Method::POST, &drain, hour).await;

    assert_eq!(drained, (200, NOTHING));
    let event = framework.wait_for(Type::InverseOffers).await;
    let asked = event.inverse_offers.expect("set").inverse_offers.remove(0);
    assert_eq!(asked.agent_id.as_ref(), Some(&agent.id));
    assert_eq!(asked.draining, Some(true));
    let slave = master.state().await["slaves"][0].clone();
    let config = &slave["drain_info"]["config"];
    assert_eq!(config["max_grace_period"]["nanoseconds"], 2_000_000_000);
    let since = slave["estimated_drain_start_time_seconds"].as_f64();
    let deadline = slave["drain_deadline_seconds"].as_f64();
    let length = deadline.zip(since).map(|(by, since)| by - since);
    let in_whole_seconds = 3600.0..3601.0;
    assert!(length.is_some_and(|length| in_whole_seconds.contains(&length)));

    // The kill is the first thing the agent hears: until the deadline was moved there was none.
    let now = json!({ "deadline": { "nanoseconds": 0 } });
    master.send(Method::POST, &drain, now).await;
    let Message::KillTask(kill) = agent.next().await else {
        panic!("a kill");
    };
    let grace = kill.kill_policy.and_then(|policy| policy.grace_period);
    assert_eq!(grace.map(|grace| grace.nanoseconds), Some(0));
    let killed = agent.status("one", mesos::TaskState::TaskKilled, 1);
    agent.report(&framework.id, killed).await;
    let status = framework.update().await;
    let words = format!("agent {} is being drained", agent.id.value);
    assert!(status.message().starts_with(&words), "{status:?}");
    framework.acknowledge(&status).await;
    assert!(matches!(agent.next().await, Message::Acknowledge(_)));
    let text = master.get("/metrics").await.text().await.expect("text");
    let line = "mete_master_agents_admitted{admission=\"drained\"} 1";
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn who_sits_on_offers_loses_them_and_is_seen() {
    let dir = tempdir().expect("a directory");
    let master = Master::with(dir.path(), &["--offer-timeout=500ms"]).await;
    let _agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let metrics = master.get("/metrics").await.text().await.expect("text");
    let oldest = format!(
        "mete_master_oldest_offer_seconds{{framework=\"{}\"}}",
        framework.id.value
    );
    assert!(metrics.contains(&oldest), "{oldest} in {metrics}");

    let rescinded = framework.wait_for(Type::Rescind).await;

    let rescinded = rescinded.rescind.expect("which");
    assert_eq!(rescinded.offer_id, offers[0].id);
    let metrics = master.get("/metrics").await.text().await.expect("text");
    for line in [
        "mete_master_offers_timed_out_total 1",
        "mete_master_filters 1",
        "mete_master_outstanding_offers 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn roles_and_metrics_show_what_each_role_may_have_and_has() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:2;mem:64");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;
    framework.offers().await;
    let quota = json!({ "limit": { "cpus": 3 }, "guarantee": { "cpus": 1 } });
    master.send(Method::PUT, "/quota/web", quota).await;
    let weights = json!([{ "role": "web", "weight": 2.5 }]);
    master.send(Method::PUT, "/weights", weights).await;

    let roles = master.json("/roles").await;
    let metrics = master.get("/metrics").await.text().await.expect("text");

    let web = &roles["roles"][0];
    assert_eq!(web["name"], "web");
    assert_eq!(web["weight"], 2.5);
    assert_eq!(web["quota"]["limit"]["cpus"], 3.0);
    assert_eq!(web["quota"]["guarantee"]["cpus"], 1.0);
    assert_eq!(web["quota"]["consumed"]["cpus"], 2.0);
    assert_eq!(web["frameworks"][0], framework.id.value.as_str());
    for line in [
        "mete_master_role_weight{role=\"web\"} 2.5",
        "mete_master_role_limit{role=\"web\",resource=\"cpus\"} 3",
        "mete_master_role_guarantee{role=\"web\",resource=\"cpus\"} 1",
        "mete_master_role_allocated{role=\"web\",resource=\"cpus\"}",
        "mete_master_role_share{role=\"web\"}",
        "mete_master_agents_admitted{admission=\"active\"} 1",
        "mete_master_allocation_run_seconds_count",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_changed() {
    let dir = tempdir().expect("a directory");
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef").expect("written");
    let token_file = format!("--token-file={}", file.display());
    let master = Master::with(dir.path(), &[&token_file]).await;

    for (method, path) in [
        (Method::PUT, "/weights"),
        (Method::PUT, "/quota/web"),
        (Method::PUT, "/policy"),
        (Method::POST, "/agents/a/drain"),
        (Method::POST, "/maintenance/schedule"),
        (Method::POST, "/machine/down"),
        (Method::GET, "/roles"),
    ] {
        let (status, _) = master.send(method, path, json!({})).await;
        assert_eq!(status, 401, "{path}");
    }
}
