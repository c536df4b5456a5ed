//! Who may what: each caller sees and changes what lies below its paths, and nothing else is there for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mete_daemon::auth::SecretDigest;
use mete_framework_sdk::testkit::Master;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Service, agent, app};

const TOKEN: &str = "token-of-the-admins";
const SHOP: &str = "secret-of-the-shop-0";
const EDGE: &str = "secret-of-the-edge-0";

struct World {
    service: Service,
    _master: Master,
    _directory: TempDir,
}

/// A file of which only its owner knows.
fn kept(directory: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, text).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
    path
}

/// With `/shop/web` and `/bank/vault`, and those who may: the shop its apps, the edge see everything.
async fn world() -> World {
    let master = Master::start().await.expect("a port");
    master.add_agent(agent("127.0.0.2"));
    let directory = tempfile::tempdir().expect("a directory");
    let principal = |name: &str, secret: &str, right: &str| {
        let digest = SecretDigest::of(secret);
        format!(
            "[[principal]]\nname = \"{name}\"\nsecret-sha256 = \"{digest}\"\nrights = [{right}]\n"
        )
    };
    let shop = principal("shop", SHOP, "{ path = \"/shop\", right = \"change\" }");
    let edge = principal("edge", EDGE, "{ path = \"/\", right = \"view\" }");
    let access = kept(&directory, "access.toml", &(shop + &edge));
    let token = kept(&directory, "token", TOKEN);
    let master_token = kept(&directory, "master-token", TOKEN);
    let arguments = [
        format!("--access-file={}", access.display()),
        format!("--token-file={}", token.display()),
        format!("--master-token-file={}", master_token.display()),
        format!(
            "--audit-log={}",
            directory.path().join("audit.log").display()
        ),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let service = Service::start(&master, directory.path(), &arguments).await;
    let world = World {
        service,
        _master: master,
        _directory: directory,
    };
    for id in ["/shop/web", "/bank/vault"] {
        let made = world.ask(TOKEN, Method::POST, "/v2/apps", &app(id)).await;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
        world.running(id).await;
    }
    world
}

impl World {
    async fn ask(
        &self,
        secret: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (StatusCode, Value) {
        let mut request = self.service.request(method, path).bearer_auth(secret);
        if !body.is_null() {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    async fn get(&self, secret: &str, path: &str) -> (StatusCode, Value) {
        self.ask(secret, Method::GET, path, &Value::Null).await
    }

    async fn until(&self, secret: &str, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let waited = tokio::time::timeout(crate::harness::PATIENCE, async {
            loop {
                let told = self.get(secret, path).await.1;
                if is_so(&told) {
                    return told;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        });
        waited.await.expect("it comes")
    }

    async fn running(&self, id: &str) -> Value {
        let waited = tokio::time::timeout(crate::harness::PATIENCE, async {
            loop {
                let told = self.get(TOKEN, &format!("/v2/apps{id}")).await.1;
                if told["app"]["tasksRunning"] == 1 && told["app"]["deployments"] == json!([]) {
                    return told;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        });
        waited.await.expect("it runs")
    }
}

#[tokio::test]
async fn who_says_nothing_or_something_else_is_asked_who_it_is() {
    let world = world().await;

    let refused = world.service.request(Method::GET, "/v2/apps").send().await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Basic realm=\"mete\", Bearer"
    );
    let (status, body) = world.get("another-secret-of-some", "/v2/apps").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(body["message"].is_string(), "{body}");
    let basic = world.service.request(Method::GET, "/v2/apps/shop/web");
    let basic = basic.basic_auth("shop", Some(SHOP)).send().await;
    assert_eq!(basic.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn what_one_may_not_see_is_not_there() {
    let world = world().await;

    for (path, at, shown) in [
        ("/v2/apps", "/apps", 1),
        ("/v2/apps/*", "/*", 1),
        ("/v2/groups/apps", "", 1),
        ("/v2/groups", "/groups", 1),
        ("/v2/tasks", "/tasks", 1),
        ("/v2/apps/*/tasks", "/tasks", 1),
        ("/v2/backends", "/services", 1),
        ("/v2/deployments", "", 0),
        ("/v2/queue", "/queue", 0),
    ] {
        let (status, body) = world.get(SHOP, path).await;
        let list = body.pointer(at).and_then(Value::as_array);
        assert_eq!(
            (status, list.map(Vec::len)),
            (StatusCode::OK, Some(shown)),
            "{path} {body}"
        );
        assert!(!body.to_string().contains("vault"), "{path} {body}");
    }
    for path in [
        "/v2/apps/bank/vault",
        "/v2/apps/bank/vault/tasks",
        "/v2/apps/bank/vault/versions",
        "/v2/groups/bank",
        "/v2/groups/bank/versions",
    ] {
        let (status, body) = world.get(SHOP, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path} {body}");
        assert_eq!(world.get(EDGE, path).await.0, StatusCode::OK, "{path}");
    }
    assert_eq!(world.get(SHOP, "/metrics").await.0, StatusCode::FORBIDDEN);
    assert_eq!(world.get(EDGE, "/metrics").await.0, StatusCode::OK);
    assert_eq!(world.get(EDGE, "/logging").await.0, StatusCode::FORBIDDEN);
    assert_eq!(world.get(TOKEN, "/logging").await.0, StatusCode::OK);
    assert_eq!(world.get(SHOP, "/v2/info").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_one_may_not_change_stays_as_it_is() {
    let world = world().await;
    let vault = world.running("/bank/vault").await;
    let task = vault["app"]["tasks"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let forbidden = json!({ "message": "Not Authorized to perform this action!" });
    let (ack, tasks) = (
        json!({ "epoch": "x", "version": 0, "draining": [] }),
        json!({ "ids": [task] }),
    );
    let both = json!([app("/shop/web"), app("/bank/vault")]);
    let group = json!({ "id": "bank", "apps": [] });

    for (secret, method, path, body, status) in [
        (SHOP, Method::POST, "/v2/apps", app("/bank/new"), 403),
        (
            SHOP,
            Method::PUT,
            "/v2/apps/bank/vault",
            app("/bank/vault"),
            403,
        ),
        (SHOP, Method::PUT, "/v2/apps", both.clone(), 403),
        (SHOP, Method::PATCH, "/v2/apps", both.clone(), 403),
        (
            SHOP,
            Method::PATCH,
            "/v2/apps/bank/vault",
            json!({ "instances": 0 }),
            404,
        ),
        (
            SHOP,
            Method::DELETE,
            "/v2/apps/bank/vault",
            Value::Null,
            404,
        ),
        (
            SHOP,
            Method::DELETE,
            "/v2/apps/%62ank/vault",
            Value::Null,
            404,
        ),
        (
            SHOP,
            Method::DELETE,
            "/v2/apps/bank%2Fvault",
            Value::Null,
            404,
        ),
        (
            SHOP,
            Method::POST,
            "/v2/apps/bank/vault/restart",
            Value::Null,
            404,
        ),
        (
            SHOP,
            Method::DELETE,
            "/v2/apps/bank/vault/tasks",
            Value::Null,
            404,
        ),
        (SHOP, Method::POST, "/v2/groups", group.clone(), 403),
        (SHOP, Method::PUT, "/v2/groups", group.clone(), 403),
        (
            SHOP,
            Method::PUT,
            "/v2/groups/bank",
            json!({ "apps": [] }),
            403,
        ),
        (
            SHOP,
            Method::PUT,
            "/v2/groups/shop",
            json!({ "id": "/bank", "apps": [] }),
            403,
        ),
        (SHOP, Method::DELETE, "/v2/groups", Value::Null, 403),
        (SHOP, Method::DELETE, "/v2/groups/bank", Value::Null, 403),
        (
            SHOP,
            Method::PUT,
            "/v2/backends/acks/edge",
            ack.clone(),
            403,
        ),
        (
            SHOP,
            Method::POST,
            "/logging",
            json!({ "logger": "mete", "level": "debug" }),
            403,
        ),
        (
            EDGE,
            Method::PATCH,
            "/v2/apps/bank/vault",
            json!({ "instances": 0 }),
            403,
        ),
        (
            EDGE,
            Method::DELETE,
            "/v2/apps/shop/web/tasks",
            Value::Null,
            403,
        ),
        (EDGE, Method::POST, "/v2/tasks/delete", tasks.clone(), 403),
        (EDGE, Method::PUT, "/v2/backends/acks/edge", ack, 204),
    ] {
        let told = world.ask(secret, method.clone(), path, &body).await;
        assert_eq!(told.0.as_u16(), status, "{method} {path} {}", told.1);
        if status == 403 {
            assert_eq!(told.1, forbidden, "{method} {path}");
        }
    }
    // Those that are not seen are passed over as those that are not there.
    let killed = world
        .ask(SHOP, Method::POST, "/v2/tasks/delete", &tasks)
        .await;
    assert_eq!(killed, (StatusCode::OK, json!({ "tasks": [] })));
    let left = world.running("/bank/vault").await;
    assert_eq!(left["app"]["tasks"][0]["id"], task.as_str());
    assert_eq!(left["app"]["version"], vault["app"]["version"]);

    let own = json!({ "id": "shop", "apps": [app("web"), app("db")] });
    for (method, path, body) in [
        (
            Method::PATCH,
            "/v2/apps/shop/web",
            json!({ "labels": { "a": "b" } }),
        ),
        (
            Method::PUT,
            "/v2/groups/shop?force=true",
            json!({ "apps": own["apps"] }),
        ),
        (Method::DELETE, "/v2/apps/shop/db", Value::Null),
    ] {
        let told = world.ask(SHOP, method.clone(), path, &body).await;
        assert_eq!(told.0, StatusCode::OK, "{method} {path} {}", told.1);
    }
}

#[tokio::test]
async fn changes_and_refusals_are_written_down_and_questions_are_not() {
    let world = world().await;
    world.get(SHOP, "/v2/apps").await;
    let wish = json!({ "cmd": "echo a-text-of-the-body", "labels": { "a": "b" } });
    let patched = world
        .ask(SHOP, Method::PATCH, "/v2/apps/shop/web?force=true", &wish)
        .await;
    world
        .ask(SHOP, Method::PUT, "/v2/apps", &json!([app("/bank/vault")]))
        .await;
    world.get(SHOP, "/v2/apps").await;
    world.get(SHOP, "/v2/backup").await;
    world.get("secret-of-a-stranger", "/v2/apps/bank?x=y").await;
    let unknown = world.service.request(Method::DELETE, "/v2/apps/shop/web");
    assert_eq!(unknown.send().await.expect("an answer").status(), 401);
    // Each look is written down, too, above what is looked for.
    let of = |told: &Value| {
        let lines = told["lines"].as_array().expect("lines").clone();
        let at = lines.iter().position(|line| line["method"] == "DELETE")?;
        Some(lines[at..at + 2].to_vec())
    };
    let told = world
        .until(TOKEN, "/v2/audit", |told| of(told).is_some())
        .await;
    assert_eq!(told["more"], false);
    let one = world.get(TOKEN, "/v2/audit?limit=1").await.1;
    assert_eq!(one["more"], true);
    assert_eq!(one["lines"].as_array().map(Vec::len), Some(1));
    let listed = |line: &Value| json!([line["principal"], line["path"], line["status"]]);
    let lines = of(&told).expect("there");
    assert_eq!(
        lines.iter().map(listed).collect::<Vec<_>>(),
        [
            json!(["", "/v2/apps/shop/web", 401]),
            json!(["", "/v2/apps/bank", 401])
        ]
    );
    assert_eq!(world.get(SHOP, "/v2/audit").await.0, StatusCode::FORBIDDEN);
    for bad in ["limit=0", "limit=1001", "offset=-1", "limit=x"] {
        let (status, _) = world.get(TOKEN, &format!("/v2/audit?{bad}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}");
    }
    world.service.stop().await;

    let text = fs::read_to_string(world._directory.path().join("audit.log")).expect("a log");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let told: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!([
                line["principal"],
                line["method"],
                line["path"],
                line["ids"],
                line["status"]
            ])
        })
        .collect();
    let (told, questions) = told.split_at(7);
    assert_eq!(
        told,
        [
            json!(["token", "POST", "/v2/apps", ["/shop/web"], 201]),
            json!(["token", "POST", "/v2/apps", ["/bank/vault"], 201]),
            json!(["shop", "PATCH", "/v2/apps/shop/web", null, 200]),
            json!(["shop", "PUT", "/v2/apps", null, 403]),
            json!(["shop", "GET", "/v2/backup", null, 403]),
            json!(["", "GET", "/v2/apps/bank", null, 401]),
            json!(["", "DELETE", "/v2/apps/shop/web", null, 401]),
        ]
    );
    let asked = |told: &Value| told[1] == "GET" && told[2] == "/v2/audit";
    assert!(questions.iter().all(asked), "{questions:?}");
    assert_eq!(lines[2]["deployment"], patched.1["deploymentId"]);
    assert!(
        lines[2]["address"]
            .as_str()
            .is_some_and(|from| from.starts_with("127.0.0.1:"))
    );
    for secret in [TOKEN, SHOP, EDGE, "a-text-of-the-body"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_stream_tells_only_of_what_one_may_see() {
    let world = world().await;
    let bearer = format!("Bearer {SHOP}");
    let headers = [("Authorization", bearer.as_str())];
    let mut events = world.service.stream("/v2/events", &headers).await;
    let mut backends = world
        .service
        .stream("/v2/backends?watch=true", &headers)
        .await;

    world
        .ask(TOKEN, Method::DELETE, "/v2/apps/bank/vault", &Value::Null)
        .await;
    world
        .ask(TOKEN, Method::DELETE, "/v2/apps/shop/web", &Value::Null)
        .await;

    let mut is_over = false;
    while !is_over {
        let event = events.next().await;
        assert!(!event.data.to_string().contains("vault"), "{event:?}");
        assert!(!event.name.starts_with("event_stream"), "{event:?}");
        is_over = event.name == "app_terminated_event";
    }
    let mut is_over = false;
    while !is_over {
        let event = backends.next().await;
        assert!(!event.data.to_string().contains("vault"), "{event:?}");
        is_over = event.data["removed"][0]["appId"] == "/shop/web";
    }
}
