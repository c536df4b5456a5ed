//! Every bad input has its answer, none of them a 5xx, and nothing of what was there is lost.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Cluster, Service, app};

/// Sends a text as JSON.
async fn send(cluster: &Cluster, method: Method, path: &str, text: String) -> (StatusCode, Value) {
    let request = cluster
        .service
        .request(method, path)
        .header("Content-Type", "application/json")
        .body(text);
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

fn invalid(path: &str, error: &str) -> Value {
    json!({ "message": "Object is not valid", "details": [{ "path": path, "errors": [error] }] })
}

#[tokio::test]
async fn text_that_is_no_json_is_a_bad_request() {
    let cluster = Cluster::start().await;
    let nested = "[".repeat(100_000);

    for (method, path) in [
        (Method::POST, "/v2/apps"),
        (Method::PUT, "/v2/apps/web"),
        (Method::PUT, "/v2/apps"),
        (Method::POST, "/v2/tasks/delete"),
    ] {
        for text in [
            "",
            "{",
            "{\"id\":",
            "no",
            "{\"id\":\"a\"}}",
            "{\"id\":\"a\",\"id\":\"b\"}",
            &nested,
        ] {
            let (status, body) = send(&cluster, method.clone(), path, text.to_owned()).await;
            assert_eq!(
                (status, &body["message"]),
                (StatusCode::BAD_REQUEST, &json!("Invalid JSON")),
                "{path} {text:.10}"
            );
            assert!(body["details"].is_string(), "{body}");
        }
    }
}

#[tokio::test]
async fn a_wrong_type_is_named_with_its_place() {
    let cluster = Cluster::start().await;

    for (text, path, error) in [
        (r#"{"id":5}"#, "/id", "error.expected.jsstring"),
        (
            r#"{"id":"/a","cmd":["a"]}"#,
            "/cmd",
            "error.expected.jsstring",
        ),
        (
            r#"{"id":"/a","instances":"3"}"#,
            "/instances",
            "error.expected.jsnumber",
        ),
        (
            r#"{"id":"/a","healthChecks":{}}"#,
            "/healthChecks",
            "error.expected.jsarray",
        ),
        (
            r#"{"id":"/a","portDefinitions":[{"port":"x"}]}"#,
            "/portDefinitions(0)/port",
            "error.expected.jsnumber",
        ),
        (r#"{"cmd":"a"}"#, "/id", "error.path.missing"),
        (r#"[]"#, "/", "error.expected.jsobject"),
    ] {
        let answer = send(&cluster, Method::POST, "/v2/apps", text.to_owned()).await;
        let expected =
            json!({ "message": "Invalid JSON", "details": [{ "path": path, "errors": [error] }] });
        assert_eq!(
            answer,
            (StatusCode::UNPROCESSABLE_ENTITY, expected),
            "{text}"
        );
    }
    let answer = send(&cluster, Method::PUT, "/v2/apps", "{}".to_owned()).await;
    assert_eq!(
        answer.1["details"],
        json!([{ "path": "/", "errors": ["error.expected.jsarray"] }])
    );
}

#[tokio::test]
async fn what_makes_no_sense_or_is_not_carried_yet_is_refused_by_name() {
    let cluster = Cluster::start().await;

    for (key, value, path) in [
        ("id", json!("/Web"), "/id"),
        ("id", json!("/a/restart"), "/id"),
        ("cpus", json!(0), "/cpus"),
        ("cpus", json!(-1), "/cpus"),
        ("mem", json!(-0.5), "/mem"),
        ("mem", json!(1e300), "/mem"),
        ("instances", json!(-1), "/instances"),
        ("instances", json!(3_000_000_000_u64), "/instances"),
        ("gpus", json!(-1), "/gpus"),
        ("cmd", json!(""), "/cmd"),
        ("args", json!(["a"]), "/"),
        ("backoffFactor", json!(0.5), "/backoffFactor"),
        ("backoffSeconds", json!(-1), "/backoffSeconds"),
        ("killSelection", json!("ANY"), "/killSelection"),
        (
            "unreachableStrategy",
            json!("enabled"),
            "/unreachableStrategy",
        ),
        (
            "upgradeStrategy",
            json!({ "minimumHealthCapacity": 2, "maximumOverCapacity": 1 }),
            "/upgradeStrategy/minimumHealthCapacity",
        ),
        (
            "portDefinitions",
            json!([{ "port": 70000 }]),
            "/portDefinitions(0)/port",
        ),
        (
            "portDefinitions",
            json!([{ "protocol": "sctp" }]),
            "/portDefinitions(0)/protocol",
        ),
        (
            "portDefinitions",
            json!([{ "name": "A b" }]),
            "/portDefinitions(0)/name",
        ),
        ("constraints", json!([["hostname"]]), "/constraints(0)"),
        ("dependencies", json!([".."]), "/dependencies(0)"),
        ("env", json!({ "A": { "secret": "s" } }), "/env/A/secret"),
        ("fetch", json!([{}]), "/fetch(0)/uri"),
        ("acceptedResourceRoles", json!([]), "/acceptedResourceRoles"),
        (
            "networks",
            json!([{ "mode": "host" }, { "mode": "container", "name": "x" }]),
            "/networks",
        ),
        ("networks", json!([{ "mode": "container" }]), "/networks"),
        (
            "networks",
            json!([{ "mode": "tunnel" }]),
            "/networks(0)/mode",
        ),
        (
            "container",
            json!({ "docker": { "image": "x", "parameters": [{ "key": "a", "value": "b" }] } }),
            "/container/docker/parameters",
        ),
        (
            "container",
            json!({ "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "type": "mount", "size": 1 } }] }),
            "/container/volumes(0)/persistent/type",
        ),
        (
            "container",
            json!({ "type": "MESOS", "volumes": [{ "containerPath": "a/b", "mode": "RW", "persistent": { "size": 1 } }] }),
            "/container/volumes(0)/containerPath",
        ),
        (
            "container",
            json!({ "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RO", "persistent": { "size": 1 } }] }),
            "/container/volumes(0)/mode",
        ),
        (
            "container",
            json!({ "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": {} }] }),
            "/container/volumes(0)/persistent/size",
        ),
        // Nothing can be reserved for everybody.
        (
            "container",
            json!({ "type": "MESOS", "volumes": [{ "containerPath": "data", "mode": "RW", "persistent": { "size": 1 } }] }),
            "/role",
        ),
        (
            "container",
            json!({ "docker": { "image": "x", "network": "NONE" } }),
            "/container/docker/network",
        ),
        (
            "container",
            json!({ "docker": { "image": "x", "network": "BRIDGE", "portMappings": [{ "containerPort": 80, "protocol": "sctp" }] } }),
            "/container/portMappings(0)/protocol",
        ),
        ("secrets", json!({ "s": {} }), "/secrets/s/source"),
        (
            "secrets",
            json!({ "s": { "source": "" } }),
            "/secrets/s/source",
        ),
        (
            "residency",
            json!({ "taskLostBehavior": "WAIT_FOREVER" }),
            "/",
        ),
        (
            "residency",
            json!({ "taskLostBehavior": "GIVE_UP" }),
            "/residency/taskLostBehavior",
        ),
        ("check", json!({ "exec": {}, "tcp": {} }), "/check"),
        ("check", json!({ "exec": {} }), "/check/exec/command"),
        (
            "check",
            json!({ "http": { "scheme": "HTTPS" } }),
            "/check/http/scheme",
        ),
        ("check", json!({ "tcp": { "portIndex": 7 } }), "/check"),
        ("ipAddress", json!({ "groups": ["x"] }), "/networks"),
        (
            "resourceLimits",
            json!({ "cpus": "much" }),
            "/resourceLimits/cpus",
        ),
        (
            "resourceLimits",
            json!({ "disk": 1 }),
            "/resourceLimits/disk",
        ),
        ("resourceLimits", json!({ "mem": 1 }), "/resourceLimits/mem"),
        (
            "executorResources",
            json!({ "cpus": 1 }),
            "/executorResources",
        ),
        ("executor", json!("/bin/x"), "/executor"),
        (
            "healthChecks",
            json!([{ "protocol": "HTTP" }, { "protocol": "COMMAND", "command": { "value": "true" } }, { "protocol": "MESOS_TCP" }]),
            "/",
        ),
        (
            "readinessChecks",
            json!([{ "portName": "default" }, { "portName": "default" }]),
            "/readinessChecks",
        ),
        (
            "readinessChecks",
            json!([{}]),
            "/readinessChecks(0)/portName",
        ),
        (
            "readinessChecks",
            json!([{ "portName": "default", "timeoutSeconds": 30 }]),
            "/readinessChecks(0)/timeoutSeconds",
        ),
        (
            "readinessChecks",
            json!([{ "portName": "default", "protocol": "TCP" }]),
            "/readinessChecks(0)/protocol",
        ),
        (
            "readinessChecks",
            json!([{ "portName": "default", "httpStatusCodesForReady": [200, 1000] }]),
            "/readinessChecks(0)/httpStatusCodesForReady(1)",
        ),
        (
            "readinessChecks",
            json!([{ "portName": "default", "httpStatusCodesForReady": [] }]),
            "/readinessChecks(0)/httpStatusCodesForReady",
        ),
        (
            "healthChecks",
            json!([{ "protocol": "SMTP" }]),
            "/healthChecks(0)/protocol",
        ),
        (
            "healthChecks",
            json!([{ "protocol": "COMMAND" }]),
            "/healthChecks(0)/command",
        ),
        (
            "healthChecks",
            json!([{ "ipProtocol": "IPv6" }]),
            "/healthChecks(0)/ipProtocol",
        ),
        (
            "healthChecks",
            json!([{ "intervalSeconds": -1 }]),
            "/healthChecks(0)/intervalSeconds",
        ),
    ] {
        let mut wish = app("/web");
        wish[key] = value.clone();
        let (status, body) = cluster.service.post("/v2/apps", &wish).await;
        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{key}={value}: {body}"
        );
        let places: Vec<&Value> = body["details"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| &one["path"])
            .collect();
        assert!(places.contains(&&json!(path)), "{key}={value}: {body}");
    }
    assert_eq!(
        cluster.service.get("/v2/apps").await.1,
        json!({ "apps": [] })
    );
}

#[tokio::test]
async fn inputs_of_the_old_form_and_empty_ones_are_taken() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    for (key, value) in [
        ("ports", json!([0, 12345])),
        (
            "uris",
            json!(["http://example.com/a", "http://example.com/b"]),
        ),
        ("container", Value::Null),
        ("secrets", json!({})),
        ("readinessChecks", json!([])),
        ("constraints", json!([])),
        ("dependencies", Value::Null),
        ("storeUrls", json!([])),
        ("tasksRunning", json!(7)),
        ("versionInfo", Value::Null),
        ("networks", json!([{ "mode": "host" }])),
        ("gpus", json!(0.0)),
    ] {
        wish[key] = value;
    }

    let (status, body) = cluster.service.post("/v2/apps", &wish).await;

    assert_eq!(status, StatusCode::CREATED, "{body}");
    let ports = json!([{ "port": 10000, "protocol": "tcp" }, { "port": 12345, "protocol": "tcp" }]);
    assert_eq!(body["portDefinitions"], ports);
    let extract: Vec<&Value> = body["fetch"]
        .as_array()
        .expect("fetch")
        .iter()
        .map(|one| &one["extract"])
        .collect();
    assert_eq!(extract, [&json!(false), &json!(false)]);
    assert_eq!(
        (body.get("ports"), body.get("uris"), body.get("container")),
        (None, None, None)
    );
}

#[tokio::test]
async fn a_container_is_taken_and_printed_with_its_defaults() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["cmd"] = Value::Null;
    wish["args"] = json!(["-x"]);
    wish["tty"] = json!(true);
    let volume = json!({ "containerPath": "/data", "hostPath": "/srv", "mode": "RO" });
    wish["container"] =
        json!({ "docker": { "image": "busybox", "privileged": true }, "volumes": [volume] });

    let (status, body) = cluster.service.post("/v2/apps", &wish).await;

    assert_eq!(status, StatusCode::CREATED, "{body}");
    let docker = json!({ "image": "busybox", "forcePullImage": false, "parameters": [], "privileged": true });
    let expected = json!({ "type": "DOCKER", "docker": docker, "volumes": [volume] });
    assert_eq!(body["container"], expected);
    assert_eq!(body["tty"], true);
}

#[tokio::test]
async fn a_checksum_that_agents_cannot_check_is_refused_with_its_place() {
    let cluster = Cluster::start().await;
    let good = format!("https://example.com/a.tgz#sha256={}", "0".repeat(64));
    for (uri, what) in [
        (
            "https://example.com/a#md5=0",
            Some("md5 is not checked here; say sha256 or sha512"),
        ),
        (
            "/srv/a#sha256=12",
            Some("sha256=\"12\" is not 64 hexadecimal digits"),
        ),
        (good.as_str(), None),
    ] {
        let mut wish = app("/web");
        wish["fetch"] = json!([{ "uri": uri }]);

        let (status, body) = cluster.service.put("/v2/apps/web?force=true", &wish).await;

        match what {
            Some(what) => {
                let expected = invalid("/fetch(0)/uri", what);
                assert_eq!((status, body), (StatusCode::UNPROCESSABLE_ENTITY, expected));
            }
            None => assert!(status.is_success(), "{body}"),
        }
    }
}

#[tokio::test]
async fn what_is_fetched_is_kept_as_it_was_said() {
    let cluster = Cluster::start().await;
    let sum = "ab".repeat(64);
    let fetch = json!([
        { "uri": format!("https://example.com/a.tar.zst#sha512={sum}"), "extract": true, "executable": false,
          "cache": true, "destPath": "conf/a.tar.zst" },
        { "uri": "http://example.com/b.zip", "extract": false, "executable": true, "cache": false },
    ]);
    let mut wish = app("/web");
    wish["fetch"] = fetch.clone();
    let mut old = app("/old");
    let uris = [
        format!("http://example.com/a.tgz#sha512={sum}"),
        "http://example.com/a.gz".into(),
    ];
    old["uris"] = json!(uris);

    let (_, body) = cluster.service.post("/v2/apps", &wish).await;
    let (_, old) = cluster.service.post("/v2/apps", &old).await;

    assert_eq!(body["fetch"], fetch);
    let extract = [&old["fetch"][0]["extract"], &old["fetch"][1]["extract"]];
    assert_eq!(extract, [&json!(true), &json!(false)], "as Marathon has it");
}

#[tokio::test]
async fn an_id_in_use_is_a_conflict_without_deployments() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;

    let again = cluster.service.post("/v2/apps", &app("web")).await;

    let expected = json!({ "message": "An app with id [/web] already exists." });
    assert_eq!(again, (StatusCode::CONFLICT, expected));
    let twice = cluster
        .service
        .put("/v2/apps", &json!([app("/a"), app("a/")]))
        .await;
    let expected = invalid("/(1)/id", "/a occurs more than once in the list");
    assert_eq!(twice, (StatusCode::UNPROCESSABLE_ENTITY, expected));
    let version = json!({ "version": "2026-01-01T00:00:00.000Z", "cmd": "x" });
    let expected = invalid(
        "/",
        "The 'version' field may only be combined with the 'id' field.",
    );
    let both = cluster.service.put("/v2/apps/web", &version).await;
    assert_eq!(both, (StatusCode::UNPROCESSABLE_ENTITY, expected));
    // What was read before, put back.
    let (_, shown) = cluster.service.get("/v2/apps/web").await;
    let back = "/v2/apps/web?partialUpdate=false&force=true";
    let whole = cluster.service.put(back, &shown["app"]).await;
    assert_eq!(whole.0, StatusCode::OK, "{}", whole.1);
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    let task = "web.instance-00000000-0000-4000-8000-000000000000._app.1";

    for (method, path, message) in [
        (Method::GET, "/v2/apps/none", "App '/none' does not exist"),
        (Method::GET, "/v2/apps/No_No", "App '/No_No' does not exist"),
        (
            Method::GET,
            "/v2/apps/none/versions",
            "App '/none' does not exist",
        ),
        (
            Method::GET,
            "/v2/apps/none/tasks",
            "App '/none' does not exist",
        ),
        (
            Method::DELETE,
            "/v2/apps/a/b/none",
            "App '/a/b/none' does not exist",
        ),
        (
            Method::DELETE,
            "/v2/apps/none/tasks",
            "App '/none' does not exist",
        ),
        (
            Method::POST,
            "/v2/apps/none/restart",
            "App '/none' does not exist",
        ),
        (
            Method::DELETE,
            &format!("/v2/apps/web/tasks/{task}"),
            &format!("Task '{task}' does not exist"),
        ),
        (
            Method::DELETE,
            "/v2/apps/web/tasks/x",
            "Task 'x' does not exist",
        ),
        (
            Method::DELETE,
            "/v2/deployments/none",
            "DeploymentPlan none does not exist",
        ),
        (Method::GET, "/v2/eventSubscriptions", "URI not found"),
        (Method::GET, "/v2/schemas/app", "URI not found"),
        (Method::GET, "/nothing", "URI not found"),
    ] {
        let response = cluster
            .service
            .request(method, path)
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(
            response.headers().contains_key("x-marathon-leader"),
            "{path}"
        );
        assert_eq!(
            response.json::<Value>().await.expect("JSON"),
            json!({ "message": message }),
            "{path}"
        );
    }
    let (status, body) = cluster
        .service
        .send(Method::PATCH, "/v2/apps/none", &json!({}))
        .await;
    assert_eq!(
        (status, &body["message"]),
        (StatusCode::NOT_FOUND, &json!("App '/none' does not exist"))
    );
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let cluster = Cluster::start().await;

    for path in [
        "/v2/apps/",
        "/v2/deployments/",
        "/v2/queue/",
        "/v2/info/",
        "/v2/leader/",
        "/v2/plugins/",
        "/v2/tasks/",
        "/v2/backends/",
    ] {
        assert_eq!(cluster.service.get(path).await.0, StatusCode::OK, "{path}");
    }
    let ids_of_old = json!({ "ids": [
        "shop_web.5ad2f7d4-3f0f-11e9-8a4f-70b3d5800001",
        "shop_web.marathon-5ad2f7d4-3f0f-11e9-8a4f-70b3d5800001",
        "web_0-1400000000000",
    ] });
    let answer = cluster.service.post("/v2/tasks/delete/", &ids_of_old).await;
    assert_eq!(answer, (StatusCode::OK, json!({ "tasks": [] })));
}

#[tokio::test]
async fn wrong_methods_types_and_queries_have_their_statuses() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    let send = |method: Method, path: &str| cluster.service.request(method, path);
    let form = send(Method::POST, "/v2/apps")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("a=b");

    for (request, status) in [
        (send(Method::DELETE, "/v2/apps"), 405),
        (send(Method::POST, "/v2/apps/web"), 405),
        (send(Method::POST, "/v2/info"), 405),
        (send(Method::GET, "/v2/events"), 405),
        (
            send(Method::GET, "/v2/tasks").header("Accept", "text/plain"),
            406,
        ),
        (form, 415),
        (
            send(Method::GET, "/v2/apps?label=a==").header("Accept", "text/html, */*;q=0.1"),
            422,
        ),
        (send(Method::DELETE, "/v2/apps/web?force=maybe"), 400),
        (send(Method::GET, "/v2/tasks?status=lost"), 400),
        (
            send(Method::DELETE, "/v2/apps/web/tasks?scale=true&wipe=true"),
            400,
        ),
        (
            send(Method::POST, "/v2/tasks/delete").json(&json!({ "ids": ["x"] })),
            400,
        ),
        (send(Method::POST, "/v2/tasks/delete").json(&json!({})), 422),
        (
            send(Method::POST, "/v2/pods").json(&json!({ "id": "/p" })),
            422,
        ),
        (
            send(Method::PATCH, "/v2/groups").json(&json!({ "enforceRole": true })),
            422,
        ),
        (
            send(Method::POST, "/logging").json(&json!({ "logger": "ROOT", "level": "loud" })),
            422,
        ),
        (send(Method::POST, "/logging").json(&json!({})), 422),
        (send(Method::GET, "/v2/groups/g"), 404),
        (send(Method::PUT, "/v2/groups/g").json(&json!([])), 422),
        (
            send(Method::PUT, "/v2/backends/acks/p").json(&json!({ "epoch": "e" })),
            422,
        ),
    ] {
        let response = request.send().await.expect("an answer");
        let (path, found) = (response.url().path().to_owned(), response.status().as_u16());
        assert_eq!(
            found,
            status,
            "{path}: {}",
            response.text().await.expect("text")
        );
    }
    let skipped = json!({ "ids": ["web.instance-00000000-0000-4000-8000-000000000000._app.1"] });
    let answer = cluster.service.post("/v2/tasks/delete", &skipped).await;
    assert_eq!(answer, (StatusCode::OK, json!({ "tasks": [] })));
}

#[tokio::test]
async fn a_body_too_large_is_refused_cleanly() {
    let cluster = Cluster::start().await;
    let text = format!(r#"{{"id":"/big","cmd":"{}"}}"#, "x".repeat(10_000_000));

    let (status, body) = send(&cluster, Method::POST, "/v2/apps", text.clone()).await;
    assert_eq!(
        (status, &body["message"]),
        (
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!("the body is larger than 8388608 bytes")
        )
    );

    let chunks = text
        .into_bytes()
        .chunks(65_536)
        .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
        .collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let request = cluster
        .service
        .request(Method::POST, "/v2/apps")
        .header("Content-Type", "application/json")
        .body(body);
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        cluster.service.post("/v2/apps", &app("/web")).await.0,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn with_a_token_nobody_else_is_let_in() {
    let cluster = Cluster::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "a-token-long-enough").expect("written");
    let argument = format!("--token-file={}", file.display());
    let service = Service::start(
        &cluster.master,
        &directory.path().join("state"),
        &[&argument],
    )
    .await;

    assert_eq!(service.get("/v2/apps").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        service.get("/v2/backends?watch=true").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(service.get("/health").await.0, StatusCode::OK);
    let request = service
        .request(Method::GET, "/v2/apps")
        .bearer_auth("a-token-long-enough");
    assert_eq!(
        request.send().await.expect("an answer").status(),
        StatusCode::OK
    );
}
