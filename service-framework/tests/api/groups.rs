//! Groups, as Marathon's clients ask for them.

use mete_proto::rest::apps::AppList;
use mete_proto::rest::groups::GroupInfo;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Cluster, app};

fn ids(list: &Value) -> Vec<&str> {
    let all = list.as_array().expect("a list").iter();
    all.map(|entry| entry["id"].as_str().expect("an id"))
        .collect()
}

/// A shop: a database, and a service that waits for it.
fn shop() -> Value {
    json!({
        "id": "/shop",
        "groups": [
            { "id": "db", "apps": [app("sql")] },
            { "id": "service", "dependencies": ["../db"], "apps": [app("web"), app("/shop/service/api")] },
        ],
    })
}

#[tokio::test]
async fn a_posted_group_runs_in_order_and_is_shown_as_a_tree() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;

    let request = service.request(Method::POST, "/v2/groups").json(&shop());
    let response = request.send().await.expect("an answer");

    assert_eq!(response.status(), StatusCode::CREATED);
    let headers = response.headers().clone();
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    assert_eq!(header("location"), format!("{}/shop", service.url));
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["deploymentId"], header("marathon-deployment-id"));
    let version = body["version"].clone();
    cluster.settled("/shop/service/web").await;

    let (status, root) = service.get("/v2/groups").await;
    assert_eq!((status, &root["id"]), (StatusCode::OK, &json!("/")));
    assert_eq!(
        (&root["apps"], &root["pods"], &root["dependencies"]),
        (&json!([]), &json!([]), &json!([]))
    );
    assert_eq!(root["version"], version);
    let shop = &root["groups"][0];
    assert_eq!(shop["id"], "/shop");
    assert_eq!(ids(&shop["groups"]), ["/shop/db", "/shop/service"]);
    let inner = &shop["groups"][1];
    assert_eq!(inner["dependencies"], json!(["/shop/db"]));
    assert_eq!(
        ids(&inner["apps"]),
        ["/shop/service/api", "/shop/service/web"]
    );
    assert_eq!(inner["apps"][0]["cmd"], "sleep 1000");
    assert_eq!(inner["apps"][0]["tasks"], Value::Null);

    let (_, inner) = service
        .get("/v2/groups//shop/service/?embed=group.apps&embed=group.apps.tasks&embed=group.apps.counts")
        .await;
    assert_eq!(inner["id"], "/shop/service");
    assert_eq!(inner["apps"][0]["tasks"][0]["state"], "TASK_RUNNING");
    assert_eq!(inner["apps"][0]["tasksRunning"], 1);
    let (_, bare) = service.get("/v2/groups/shop?embed=group.groups").await;
    assert_eq!(bare["groups"][0]["apps"], json!([]));
    let (_, apps) = service.get("/v2/groups/shop/apps").await;
    assert_eq!(ids(&apps).len(), 3);
    // The same apps are found where apps are.
    let (_, apps) = service.get("/v2/apps/shop/*").await;
    assert_eq!(ids(&apps["*"]).len(), 3);
}

#[tokio::test]
async fn a_group_is_planned_changed_scaled_gone_back_to_and_removed() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;

    let (status, planned) = service.put("/v2/groups/shop?dryRun=true", &shop()).await;
    assert_eq!(status, StatusCode::OK);
    let last = planned["steps"].as_array().expect("steps").last();
    assert_eq!(
        last,
        Some(&json!({ "actions": [
            { "action": "ScaleApplication", "app": "/shop/service/api" },
            { "action": "ScaleApplication", "app": "/shop/service/web" },
        ] }))
    );
    assert_eq!(
        service.get("/v2/groups/shop").await.0,
        StatusCode::NOT_FOUND
    );

    let (status, made) = service.put("/v2/groups/shop", &shop()).await;
    assert_eq!(status, StatusCode::OK);
    cluster.settled("/shop/service/web").await;
    // PUT of a part: a relative id, and only the apps of that group are replaced.
    let part = json!({ "id": "service", "apps": [app("web")] });
    let (status, _) = service.put("/v2/groups/shop", &part).await;
    assert_eq!(status, StatusCode::OK);
    let gone = |answer: &Value| answer["groups"][1]["apps"].as_array().map(Vec::len) == Some(1);
    cluster.until("/v2/groups/shop", gone).await;
    cluster
        .until("/v2/deployments", |all| *all == json!([]))
        .await;

    let (status, _) = service
        .put("/v2/groups/shop", &json!({ "scaleBy": 2 }))
        .await;
    assert_eq!(status, StatusCode::OK);
    cluster.running("/shop/db/sql", 2).await;
    cluster.running("/shop/service/web", 2).await;
    cluster
        .until("/v2/deployments", |all| *all == json!([]))
        .await;

    let (_, versions) = service.get("/v2/groups/shop/versions").await;
    let versions = versions.as_array().expect("a list").clone();
    assert_eq!(
        (versions.len(), versions.last()),
        (3, Some(&made["version"]))
    );
    let first = made["version"].as_str().expect("text");
    let (_, was) = service
        .get(&format!("/v2/groups/shop/versions/{first}"))
        .await;
    assert_eq!(ids(&was["groups"][1]["apps"]).len(), 2);
    assert_eq!(was["groups"][1]["apps"][0]["instances"], 1);
    let (status, _) = service
        .put("/v2/groups/shop", &json!({ "version": first }))
        .await;
    assert_eq!(status, StatusCode::OK);
    cluster.running("/shop/service/api", 1).await;
    cluster
        .until("/v2/deployments", |all| *all == json!([]))
        .await;

    let (status, body) = service.delete("/v2/groups/shop").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body["deploymentId"].is_string());
    cluster
        .eventually("every task ends", |cluster| cluster.tasks().is_empty())
        .await;
    assert_eq!(
        service.get("/v2/groups/shop").await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(service.delete("/v2/groups").await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_done_to_groups_is_told_as_marathon_does() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;
    service.post("/v2/apps", &app("/shop/web")).await;
    let message = |body: &Value| body["message"].as_str().unwrap_or_default().to_owned();

    for (method, path, body, status, told) in [
        (
            Method::POST,
            "/v2/groups",
            json!({ "id": "shop" }),
            409,
            "Group /shop is already created. Use PUT to change this group.",
        ),
        (
            Method::POST,
            "/v2/groups",
            json!({ "apps": [] }),
            409,
            "Group / is already created. Use PUT to change this group.",
        ),
        (
            Method::POST,
            "/v2/groups/shop",
            json!({ "id": "web" }),
            409,
            "An app with the path /shop/web already exists.",
        ),
        (
            Method::POST,
            "/v2/apps",
            app("/shop"),
            422,
            "Object is not valid",
        ),
        (
            Method::GET,
            "/v2/groups/none",
            Value::Null,
            404,
            "Group '/none' does not exist",
        ),
        (
            Method::DELETE,
            "/v2/groups/none",
            Value::Null,
            404,
            "Group '/none' does not exist",
        ),
        (
            Method::GET,
            "/v2/groups/none/versions",
            Value::Null,
            404,
            "Group '/none' does not exist",
        ),
        (
            Method::GET,
            "/v2/groups/shop/versions/yesterday",
            Value::Null,
            422,
            "Invalid timestamp provided 'yesterday'. Expecting ISO-8601 datetime string.",
        ),
        (
            Method::GET,
            "/v2/groups/shop/versions/2001-01-01T00:00:00.000Z",
            Value::Null,
            404,
            "Group '/shop' does not exist",
        ),
        (
            Method::PUT,
            "/v2/groups/shop",
            json!({ "version": "2001-01-01T00:00:00.000Z" }),
            422,
            "Group /shop not available in version 2001-01-01T00:00:00.000Z",
        ),
        (
            Method::PUT,
            "/v2/groups/shop",
            json!({ "scaleBy": -1 }),
            422,
            "Invalid JSON",
        ),
        (
            Method::PUT,
            "/v2/groups/shop",
            json!({ "scaleBy": 2, "apps": [] }),
            422,
            "Object is not valid",
        ),
        (
            Method::PUT,
            "/v2/groups/shop/x",
            json!({ "enforceRole": true }),
            422,
            "Object is not valid",
        ),
        (
            Method::PUT,
            "/v2/groups/a_b",
            json!({}),
            422,
            "Object is not valid",
        ),
        (
            Method::PUT,
            "/v2/groups",
            json!({ "id": "/x", "dependencies": ["/y"], "groups": [{ "id": "/z" }] }),
            422,
            "Object is not valid",
        ),
        (
            Method::PATCH,
            "/v2/groups/shop/x",
            json!({ "enforceRole": false }),
            422,
            "Path needs to be top-level",
        ),
        (
            Method::PATCH,
            "/v2/groups/none",
            json!({ "enforceRole": false }),
            404,
            "Group '/none' does not exist",
        ),
        (
            Method::PATCH,
            "/v2/groups/shop",
            json!({ "enforceRole": false }),
            200,
            "",
        ),
    ] {
        let (found, answer) = service.send(method.clone(), path, &body).await;
        assert_eq!(
            (found.as_u16(), &*message(&answer)),
            (status, told),
            "{method} {path} {body}"
        );
    }

    let (_, answer) = service
        .put(
            "/v2/groups/g",
            &json!({ "apps": [{ "id": "ok", "cmd": "true" }, { "id": "a", "cpus": "x" }] }),
        )
        .await;
    assert_eq!(answer["details"][0]["path"], "/apps(1)/cpus");
    let inner = json!({ "apps": [{ "id": "a", "executorResources": { "cpus": 1 }, "cmd": "true" }], "groups": [{}, { "id": "/else/where" }] });
    let (_, answer) = service.put("/v2/groups/g", &inner).await;
    assert_eq!(
        answer["details"],
        json!([{ "path": "/groups(0)/id", "errors": ["error.path.missing"] }])
    );
    let inner = json!({ "apps": [{ "id": "a", "executorResources": { "cpus": 1 }, "cmd": "true" }], "groups": [{ "id": "/else/where" }] });
    let (_, answer) = service.put("/v2/groups/g", &inner).await;
    assert_eq!(
        answer["details"],
        json!([
            { "path": "/apps(0)/executorResources", "errors": ["an executor of its own is not carried yet"] },
            { "path": "/groups(0)/id", "errors": ["Identifier is not child of /g. Hint: use relative paths."] },
        ])
    );
    let circle = json!({ "id": "/g", "groups": [
        { "id": "a", "dependencies": ["/g/b"], "apps": [app("x")] },
        { "id": "b", "dependencies": ["/g/a"], "apps": [app("y")] },
    ] });
    let (status, answer) = service.put("/v2/groups/g", &circle).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = answer["details"][0]["errors"][0].as_str().expect("text");
    assert!(
        told.starts_with("Dependency graph has cyclic dependencies"),
        "{told}"
    );
    assert_eq!(service.get("/v2/groups/g").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn groups_outlive_a_restart_and_a_lock_names_the_deployment() {
    let cluster = Cluster::start().await;
    let mut slow = app("web");
    slow["constraints"] = json!([["hostname", "LIKE", "nowhere"]]);
    let (_, made) = cluster
        .service
        .put("/v2/groups/shop", &json!({ "apps": [slow] }))
        .await;

    let (status, answer) = cluster
        .service
        .put("/v2/groups/shop", &json!({ "apps": [app("web")] }))
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(
        answer["deployments"],
        json!([{ "id": made["deploymentId"] }])
    );

    let cluster = cluster.restart().await;
    let (_, group) = cluster.service.get("/v2/groups/shop").await;
    assert_eq!(
        (&group["version"], ids(&group["apps"])),
        (&made["version"], vec!["/shop/web"])
    );
    let (status, _) = cluster
        .service
        .put(
            "/v2/groups/shop?force=true",
            &json!({ "apps": [app("web")] }),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    cluster.running("/shop/web", 1).await;
}

#[tokio::test]
async fn what_is_in_a_group_that_enforces_its_role_takes_resources_in_it() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;
    let enforced = json!({ "id": "/dev", "enforceRole": true });
    service.post("/v2/groups", &enforced).await;

    let (status, told) = service.post("/v2/apps", &app("/dev/web")).await;

    assert_eq!(status, StatusCode::CREATED, "{told}");
    assert_eq!(told["role"], "dev");
    let shown = cluster.running("/dev/web", 1).await;
    assert_eq!(shown["app"]["tasks"][0]["role"], "dev");
    let (_, shown) = service.get("/v2/groups/dev").await;
    assert_eq!(shown["enforceRole"], true);
    let mut other = app("/dev/other");
    other["role"] = json!("*");
    let (status, answer) = service.post("/v2/apps", &other).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let details = json!([{ "path": "/role", "errors": ["got *, expected one of: [dev]"] }]);
    assert_eq!(answer["details"], details);

    let free = json!({ "enforceRole": false });
    let (status, _) = service.send(Method::PATCH, "/v2/groups/dev", &free).await;

    assert_eq!(status, StatusCode::OK);
    let (_, shown) = service.get("/v2/groups/dev").await;
    assert_eq!(shown["enforceRole"], Value::Null);
    let (status, told) = service.post("/v2/apps", &other).await;
    assert_eq!((status, &told["role"]), (StatusCode::CREATED, &json!("*")));
    // It is subscribed in both roles from the start of its next life on.
    let cluster = cluster.restart().await;
    cluster.running("/dev/web", 1).await;
}

#[tokio::test]
async fn large_answers_are_what_they_would_be_in_one_and_have_no_length() {
    let cluster = Cluster::start().await;
    let filler = "x".repeat(20_000);
    let apps: Vec<Value> = (0..20)
        .map(|at| json!({ "id": format!("a{at}"), "cmd": "true", "instances": 0, "labels": { "filler": filler } }))
        .collect();
    let group = json!({ "id": "/shop", "apps": apps[..10], "groups": [{
        "id": "db", "dependencies": ["../a0"], "apps": apps[10..],
    }] });
    cluster.service.post("/v2/groups", &group).await;

    let (answer, text) = cluster.service.raw("/v2/groups").await;
    assert_eq!(answer.get("content-length"), None);
    let told: GroupInfo = serde_json::from_str(&text).expect("a group");
    assert_eq!(told.groups[0].groups[0].apps.len(), 10);
    assert_eq!(serde_json::to_string(&told).expect("JSON"), text);

    let (answer, text) = cluster.service.raw("/v2/apps?embed=apps.tasks").await;
    assert_eq!(answer.get("content-length"), None);
    let told: AppList = serde_json::from_str(&text).expect("apps");
    assert_eq!(told.apps.len(), 20);
    assert_eq!(serde_json::to_string(&told).expect("JSON"), text);

    // What is one piece says how long it is, as it did.
    let (answer, text) = cluster.service.raw("/v2/apps?id=none").await;
    assert_eq!(
        (answer["content-length"].as_bytes(), &*text),
        (&b"11"[..], "{\"apps\":[]}")
    );
}
