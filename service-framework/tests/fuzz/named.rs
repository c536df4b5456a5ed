//! Bad bodies that have names.

use std::collections::BTreeMap;

use mete_framework_sdk::testkit::Master;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answer;
use crate::endpoints::{self, Body};
use crate::harness::{Cluster, Service, app};

/// One without agents: nothing is launched.
async fn alone() -> (Master, TempDir, Service) {
    let master = Master::start().await.expect("a port");
    let directory = tempfile::tempdir().expect("a directory");
    let service = Service::start(&master, directory.path(), &[]).await;
    (master, directory, service)
}

async fn send(
    service: &Service,
    method: &Method,
    path: &str,
    body: impl Into<reqwest::Body>,
) -> (StatusCode, Value) {
    let request = service.request(method.clone(), path);
    let request = request.header("Content-Type", "application/json");
    let answer = answer::of(request.body(body)).await;
    answer.unwrap_or_else(|wrong| panic!("{method} {path}: {wrong}"))
}

/// What is said at one place.
fn at(body: &Value, path: &str) -> String {
    let details = body["details"].as_array().cloned().unwrap_or_default();
    let detail = details.iter().find(|detail| detail["path"] == path);
    let detail = detail.unwrap_or_else(|| panic!("nothing at {path} in {body:.1000}"));
    detail["errors"][0].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_no_parser_should_follow_is_a_bad_request_everywhere() {
    let (_master, _directory, service) = alone().await;
    let deep_lists = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_objects = "{\"id\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let in_a_label = format!(r#"{{"id":"/a","labels":{{"a":{deep_lists}}}}}"#);
    let texts: [&[u8]; 8] = [
        deep_lists.as_bytes(),
        deep_objects.as_bytes(),
        in_a_label.as_bytes(),
        br#"{"id":"/a","cmd":"x","instances":1e400}"#,
        br#"{"id":"/a","cmd":"x","cpus":NaN}"#,
        b"{\"id\":\"/a\",\"cmd\":\"\xff\xfe\"}",
        br#"{"id":"/a","cmd":"\ud800"}"#,
        br#"{"id":"/a","cmd":"x"#,
    ];

    for endpoint in endpoints::all() {
        if endpoint.body == Body::None {
            continue;
        }
        let path = endpoint.path.replace("{id}", "/a");
        for text in texts {
            let (status, body) = send(&service, &endpoint.method, &path, text.to_vec()).await;
            let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
            assert_eq!(
                (status, &body["message"]),
                (StatusCode::BAD_REQUEST, &json!("Invalid JSON")),
                "{} {path} {shown}",
                endpoint.method
            );
        }
    }
}

#[tokio::test]
async fn a_key_that_is_there_twice_is_a_bad_request() {
    let (_master, _directory, service) = alone().await;

    for text in [
        r#"{"id":"/a","id":"/b","cmd":"true"}"#,
        r#"{"id":"/a","cmd":"true","labels":{"x":"1","x":"1"}}"#,
    ] {
        let (status, body) = send(&service, &Method::POST, "/v2/apps", text).await;

        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}: {body}");
        let told = body.to_string();
        assert!(told.contains("duplicate key"), "{text}: {told}");
    }
}

#[tokio::test]
async fn numbers_beyond_all_measure_are_told_with_their_place() {
    let (_master, _directory, service) = alone().await;

    for (key, number) in [
        ("instances", "99999999999999999999999999"),
        ("instances", "2147483648"),
        ("instances", "-1"),
        ("instances", "1e19"),
        ("gpus", "18446744073709551616"),
        ("cpus", "1e300"),
        ("mem", "1e18"),
        ("disk", "-1e-300"),
        ("backoffSeconds", "9223372036854775807"),
        ("backoffFactor", "-1e308"),
        ("maxLaunchDelaySeconds", "1e18"),
        ("taskKillGracePeriodSeconds", "-9223372036854775808"),
    ] {
        let text = format!(r#"{{"id":"/a","cmd":"x","{key}":{number}}}"#);
        let (status, body) = send(&service, &Method::POST, "/v2/apps", text).await;
        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{key} {number} {body}"
        );
        assert!(!at(&body, &format!("/{key}")).is_empty());
    }
    for port in ["65536", "-1", "1e19"] {
        let text = format!(r#"{{"id":"/a","cmd":"x","portDefinitions":[{{"port":{port}}}]}}"#);
        let (status, body) = send(&service, &Method::POST, "/v2/apps", text).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{port} {body}");
        assert!(!at(&body, "/portDefinitions(0)/port").is_empty());
    }
    // As many as can be said: none of them costs anything before it can be launched.
    let text = r#"{"id":"/a","cmd":"x","instances":2147483647,"cpus":1e9,"backoffFactor":1e308}"#;
    let (status, body) = send(&service, &Method::POST, "/v2/apps", text).await;
    assert_eq!(
        (status, &body["instances"]),
        (StatusCode::CREATED, &json!(2_147_483_647))
    );
}

#[tokio::test]
async fn ids_are_paths_of_dots_dashes_digits_and_small_letters_and_nothing_else() {
    let (_master, _directory, service) = alone().await;

    let nested = "/n".repeat(32);
    for (id, becomes) in [
        ("a", "/a"),
        ("/b.c/d-e", "/b.c/d-e"),
        ("f/g/", "/f/g"),
        ("/1.2.3", "/1.2.3"),
        (nested.as_str(), nested.as_str()),
    ] {
        let (status, body) = service.post("/v2/apps", &app(id)).await;
        assert_eq!(
            (status, &body["id"]),
            (StatusCode::CREATED, &json!(becomes)),
            "{id}"
        );
    }
    let (long, deep) = (format!("/{}", "a".repeat(190)), "/a".repeat(33));
    for id in [
        "",
        "/",
        "//",
        ".",
        "..",
        "/..",
        "/../etc",
        "/a/../b",
        "/a//b",
        "a..b",
        ".a",
        "a.",
        "/-a",
        "/a-",
        "/A",
        "/a b",
        "/a\nb",
        "/a\u{0}b",
        "/ünï",
        "/a/\u{202e}b",
        "/a%2fb",
        "/a/restart",
        "/versions",
        "/*",
        long.as_str(),
        deep.as_str(),
    ] {
        let (status, body) = service.post("/v2/apps", &app(id)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{id:?} {body}");
        assert!(!at(&body, "/id").is_empty());
    }
    // What is taken can be read by parsers that follow no more than 128 levels, as this one.
    assert_eq!(service.get("/v2/groups").await.1["id"], "/");
    for path in ["a%2F..%2Fb", "%00", "A", "a%20b", "%FF", "%E2%80%AE"] {
        let text = json!({ "cmd": "x" }).to_string();
        for method in [Method::PUT, Method::PATCH, Method::DELETE, Method::GET] {
            let path = format!("/v2/apps/x/{path}");
            let (status, body) = send(&service, &method, &path, text.clone()).await;
            assert!(status.is_client_error(), "{method} {path} {status} {body}");
        }
    }
}

#[tokio::test]
async fn variables_and_labels_beyond_their_bounds_are_refused_and_the_most_come_back() {
    let (master, directory, service) = alone().await;
    let with_env = |id: &str, count: usize| {
        let env: BTreeMap<String, String> = (0..count)
            .map(|at| (format!("NAME_{at}"), format!("value {at}")))
            .collect();
        let mut app = app(id);
        app["env"] = json!(env);
        app
    };
    let with_label = |id: &str, bytes: usize| {
        let mut app = app(id);
        app["labels"] = json!({ "text": "x".repeat(bytes) });
        app
    };

    for (app, field) in [
        (with_env("/many", 10_000), "/env"),
        (with_label("/long", 1_000_000), "/labels"),
    ] {
        let (status, body) = service.post("/v2/apps", &app).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body:.300}");
        let path = body["details"][0]["path"].as_str().unwrap_or_default();
        assert!(path.starts_with(field), "{body:.300}");
    }
    let (most, longest) = (with_env("/most", 4_096), with_label("/longest", 65_536));
    let answers = [
        service.post("/v2/apps", &most).await.0,
        service.post("/v2/apps", &longest).await.0,
    ];
    assert_eq!(answers, [StatusCode::CREATED; 2]);
    service.stop().await;
    let again = Service::start(&master, directory.path(), &[]).await;
    let told = again.get("/v2/apps/most").await.1;
    assert_eq!(told["app"]["env"], most["env"]);
    let told = again.get("/v2/apps/longest").await.1;
    assert_eq!(told["app"]["labels"], longest["labels"]);
}

#[tokio::test]
async fn an_app_too_large_to_be_sent_is_refused_and_the_largest_runs_many_times() {
    let cluster = Cluster::start().await;
    let sized = |id: &str, bytes: usize| {
        let mut app = app(id);
        app["cmd"] = json!("x".repeat(bytes));
        app["cpus"] = json!(0.01);
        app["mem"] = json!(1);
        app["portDefinitions"] = json!([]);
        app["healthChecks"] = json!([{ "protocol": "COMMAND", "command": { "value": "true" } }]);
        app["instances"] = json!(30);
        app
    };

    let (status, body) = cluster
        .service
        .post("/v2/apps", &sized("/huge", 2_000_000))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body:.300}");
    assert!(at(&body, "/").contains("1048576"), "{body:.300}");
    let (status, _) = cluster
        .service
        .post("/v2/apps", &sized("/large", 1_000_000))
        .await;

    assert_eq!(status, StatusCode::CREATED);
    cluster.running("/large", 30).await;
}

#[tokio::test]
async fn apps_and_groups_that_wait_for_each_other_are_refused_by_name() {
    let (_master, _directory, service) = alone().await;
    let waiting = |id: &str, on: &str| {
        let mut app = app(id);
        app["dependencies"] = json!([on]);
        app
    };
    for wish in [
        json!([
            waiting("/a", "/b"),
            waiting("/b", "/c"),
            waiting("/c", "/a")
        ]),
        json!([waiting("/a", "/a")]),
        json!([waiting("/g/a", "/h"), waiting("/h/b", "/g")]),
    ] {
        let (status, body) = service.put("/v2/apps", &wish).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(body.to_string().contains("cyclic"), "{body}");
    }
    let (status, _) = service.post("/v2/apps", &waiting("/a", "/b")).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, body) = service.post("/v2/apps", &waiting("/b", "/a")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
}

#[tokio::test]
async fn ten_thousand_apps_of_which_each_waits_for_the_next_are_refused_at_once() {
    let (_master, _directory, service) = alone().await;
    let chain = |count: usize| -> Value {
        let link = |at: usize| {
            let (id, next) = (format!("/c{at}"), format!("/c{}", at + 1));
            json!({ "id": id, "cmd": "x", "instances": 0, "dependencies": [next], "portDefinitions": [] })
        };
        (0..count).map(link).collect()
    };

    let (status, body) = service.put("/v2/apps", &chain(10_000)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body:.300}");
    assert!(at(&body, "/").contains("more than 100 apps"), "{body:.300}");
    let (status, body) = service.put("/v2/apps", &chain(100)).await;
    assert_eq!(status, StatusCode::OK, "{body:.300}");
}

#[tokio::test]
async fn the_bodies_that_are_bent_are_good() {
    for endpoint in endpoints::all() {
        let (_master, _directory, service) = alone().await;
        // Of an epoch, of apps and of pods that nobody knows.
        let unknown = [Body::Acknowledgement, Body::Instances, Body::None];
        if unknown.contains(&endpoint.body) {
            continue;
        }
        let is_patch = endpoint.method == Method::PATCH;
        if is_patch && endpoint.body == Body::Group {
            continue; // a group has nothing that a PATCH could change
        }
        if is_patch {
            let both = json!([app("/a"), app("/g/a")]);
            assert_eq!(service.put("/v2/apps", &both).await.0, StatusCode::OK);
        }
        let path = endpoint.path.replace("{id}", "/a");
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}force=true");
        let body = endpoint.body.good("/a").to_string();
        let (status, body) = send(&service, &endpoint.method, &path, body).await;
        assert!(status.is_success(), "{} {path} {body}", endpoint.method);
    }
}
