//! Every endpoint and every parameter that Marathon has, in a line each: what a good request is answered with, and which
//! key is in the answer. Lines run from top to bottom on one cluster; `{task}` and `{version}` stand for what there is of
//! `/walk` once it is at rest.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Cluster, app};

const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;
const HEAD: Method = Method::HEAD;

/// Method, path with query, body, status, and a pointer to what must be in the answer (empty: nothing need).
type Line = (Method, &'static str, Value, u16, &'static str);

/// What there is of `/walk` now.
async fn fill(cluster: &Cluster, path: &str) -> String {
    if !path.contains('{') {
        return path.to_owned();
    }
    let is_calm = |answer: &Value| {
        let app = &answer["app"];
        let tasks = app["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        let all_run = tasks.iter().all(|task| task["state"] == "TASK_RUNNING");
        app["deployments"] == json!([]) && app["instances"] == tasks.len() && all_run
    };
    let walk = cluster.until("/v2/apps/walk", is_calm).await;
    let text = |pointer: &str| {
        let found = walk.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or("none").to_owned()
    };
    path.replace("{task}", &text("/app/tasks/0/id"))
        .replace("{version}", &text("/app/version"))
}

async fn walk(cluster: &Cluster, lines: Vec<Line>) {
    for (method, path, body, status, pointer) in lines {
        let filled = fill(cluster, path).await;
        let request = cluster.service.request(method.clone(), &filled);
        let request = match body.is_null() {
            true => request,
            false => request.json(&body),
        };
        let response = request.send().await.expect("an answer");
        let found = response.status();
        let text = response.text().await.expect("a body");
        assert_eq!(found.as_u16(), status, "{method} {filled} {body}: {text}");
        if pointer.is_empty() {
            continue;
        }
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        assert!(
            answer.pointer(pointer).is_some(),
            "{method} {filled}: no {pointer} in {answer:#}"
        );
    }
}

fn sized(id: &str, instances: u32) -> Value {
    let mut app = app(id);
    app["instances"] = json!(instances);
    app
}

#[tokio::test]
async fn every_endpoint_of_apps_and_tasks_with_every_parameter() {
    let cluster = Cluster::start().await;
    let none = || Value::Null;
    let list = |id: &str| json!([app(id)]);
    let lines: Vec<Line> = vec![
        (
            POST,
            "/v2/apps?force=false",
            sized("/walk", 2),
            201,
            "/deployments/0/id",
        ),
        (GET, "/v2/apps", none(), 200, "/apps/0/id"),
        (GET, "/v2/apps?cmd=SLEEP&id=wal", none(), 200, "/apps/0"),
        (GET, "/v2/apps?label=none", none(), 200, "/apps"),
        (
            GET,
            "/v2/apps?embed=apps.tasks",
            none(),
            200,
            "/apps/0/tasks",
        ),
        (
            GET,
            "/v2/apps?embed=apps.count",
            none(),
            200,
            "/apps/0/tasksRunning",
        ),
        (
            GET,
            "/v2/apps?embed=apps.counts",
            none(),
            200,
            "/apps/0/tasksStaged",
        ),
        (
            GET,
            "/v2/apps?embed=apps.deployments",
            none(),
            200,
            "/apps/0/deployments",
        ),
        (
            GET,
            "/v2/apps?embed=apps.readiness",
            none(),
            200,
            "/apps/0/readinessCheckResults",
        ),
        (
            GET,
            "/v2/apps?embed=apps.lastTaskFailure",
            none(),
            200,
            "/apps/0",
        ),
        (
            GET,
            "/v2/apps?embed=apps.failures",
            none(),
            200,
            "/apps/0/tasks",
        ),
        (
            GET,
            "/v2/apps?embed=apps.taskStats",
            none(),
            200,
            "/apps/0/tasksStats",
        ),
        (
            PUT,
            "/v2/apps?force=true&partialUpdate=true",
            list("/b"),
            200,
            "/deploymentId",
        ),
        (
            PATCH,
            "/v2/apps?force=true",
            list("/b"),
            200,
            "/deploymentId",
        ),
        (
            GET,
            "/v2/apps/walk?embed=app.taskStats",
            none(),
            200,
            "/app/tasksStats",
        ),
        (
            GET,
            "/v2/apps/walk/versions/{version}",
            none(),
            200,
            "/versionInfo/lastScalingAt",
        ),
        (
            PUT,
            "/v2/apps/walk?force=true&partialUpdate=false",
            sized("/walk", 2),
            200,
            "/version",
        ),
        (
            PUT,
            "/v2/apps/new?force=false",
            app("/new"),
            201,
            "/deploymentId",
        ),
        (
            PATCH,
            "/v2/apps/walk?force=true",
            json!({ "instances": 3 }),
            200,
            "/deploymentId",
        ),
        (
            PATCH,
            "/v2/apps/none",
            json!({ "instances": 3 }),
            404,
            "/message",
        ),
        (GET, "/v2/apps/walk/versions", none(), 200, "/versions/0"),
        (
            POST,
            "/v2/apps/walk/restart?force=true",
            none(),
            200,
            "/deploymentId",
        ),
        (
            GET,
            "/v2/apps/walk/tasks?containerNetworks=x",
            none(),
            200,
            "/tasks",
        ),
        (
            GET,
            "/v2/tasks?status=running&containerNetworks=x",
            none(),
            200,
            "/tasks",
        ),
        (
            GET,
            "/v2/tasks?status[]=running&status[]=staging",
            none(),
            200,
            "/tasks",
        ),
        (
            DELETE,
            "/v2/apps/walk/tasks/{task}?scale=false&wipe=false&force=false",
            none(),
            200,
            "/task/id",
        ),
        (
            DELETE,
            "/v2/apps/walk/tasks/{task}?scale=true&force=true",
            none(),
            200,
            "/deploymentId",
        ),
        (
            DELETE,
            "/v2/apps/walk/tasks/{task}?wipe=true",
            none(),
            200,
            "/task/id",
        ),
        (
            DELETE,
            "/v2/apps/walk/tasks?host=nowhere&scale=false&wipe=false&force=false",
            none(),
            200,
            "/tasks",
        ),
        (
            DELETE,
            "/v2/apps/walk/tasks?scale=true&force=true",
            none(),
            200,
            "/deploymentId",
        ),
        (
            POST,
            "/v2/tasks/delete?scale=false&wipe=false&force=false",
            json!({ "ids": [] }),
            200,
            "/tasks",
        ),
        (
            POST,
            "/v2/tasks/delete?scale=true&force=true",
            json!({ "ids": [] }),
            200,
            "/deploymentId",
        ),
        (
            DELETE,
            "/v2/apps/walk?force=false&at={version}",
            none(),
            200,
            "/deploymentId",
        ),
        (DELETE, "/v2/apps/walk", none(), 404, "/message"),
    ];

    walk(&cluster, lines).await;
}

#[tokio::test]
async fn every_endpoint_of_groups_with_every_parameter() {
    let cluster = Cluster::start().await;
    let none = || Value::Null;
    let group = |id: &str| json!({ "id": id, "apps": [app("web")] });
    let embeds = "embed=group.groups&embed=group.apps&embed=group.pods&embed=group.apps.tasks\
        &embed=group.apps.count&embed=group.apps.deployments&embed=group.apps.lastTaskFailure\
        &embed=group.apps.failures&embed=group.apps.taskStats";
    let deep: &'static str = Box::leak(format!("/v2/groups/g?{embeds}").into_boxed_str());
    let lines: Vec<Line> = vec![
        (GET, "/v2/groups", none(), 200, "/groups"),
        (
            POST,
            "/v2/groups?force=true",
            group("/g"),
            201,
            "/deploymentId",
        ),
        (
            POST,
            "/v2/groups/g?force=true",
            group("inner"),
            201,
            "/deploymentId",
        ),
        (
            GET,
            "/v2/groups?embed=group.groups",
            none(),
            200,
            "/groups/0/id",
        ),
        (GET, deep, none(), 200, "/apps/0/tasksStats"),
        (GET, deep, none(), 200, "/apps/0/tasks"),
        (
            PUT,
            "/v2/groups?dryRun=true",
            group("/h"),
            200,
            "/steps/0/actions/0/action",
        ),
        (
            PUT,
            "/v2/groups?force=true",
            json!({ "id": "/h" }),
            200,
            "/deploymentId",
        ),
        (
            PUT,
            "/v2/groups/g?dryRun=true&force=true",
            json!({ "scaleBy": 2 }),
            200,
            "/steps/0",
        ),
        (
            PUT,
            "/v2/groups/g?force=true",
            json!({ "scaleBy": 2 }),
            200,
            "/version",
        ),
        (GET, "/v2/groups/versions", none(), 200, "/0"),
        (GET, "/v2/groups/g/versions", none(), 200, "/0"),
        (
            GET,
            "/v2/groups/g/apps?embed=group.apps.counts",
            none(),
            200,
            "/0/tasksStaged",
        ),
        (
            PATCH,
            "/v2/groups/g?force=true",
            json!({ "enforceRole": false }),
            200,
            "",
        ),
        (
            PATCH,
            "/v2/groups",
            json!({ "enforceRole": false }),
            422,
            "/message",
        ),
        (
            DELETE,
            "/v2/groups/g?force=true",
            none(),
            200,
            "/deploymentId",
        ),
        (
            DELETE,
            "/v2/groups?force=true",
            none(),
            200,
            "/deploymentId",
        ),
    ];

    walk(&cluster, lines).await;
}

#[tokio::test]
async fn every_other_endpoint_with_every_parameter() {
    let cluster = Cluster::start().await;
    let none = || Value::Null;
    let mut waits = app("/waits");
    waits["cpus"] = json!(1_000);
    let (status, posted) = cluster.service.post("/v2/apps", &waits).await;
    assert_eq!(status, StatusCode::CREATED);
    let deployment = posted["deployments"][0]["id"].as_str().expect("an id");
    let path = |query: &str| -> &'static str {
        Box::leak(format!("/v2/deployments/{deployment}{query}").into_boxed_str())
    };
    let lines: Vec<Line> = vec![
        (
            GET,
            "/v2/deployments",
            none(),
            200,
            "/0/currentActions/0/readinessCheckResults",
        ),
        (GET, "/v2/queue", none(), 200, "/queue/0/delay/overdue"),
        (
            GET,
            "/v2/queue?embed=lastUnusedOffers",
            none(),
            200,
            "/queue/0/lastUnusedOffers",
        ),
        (DELETE, "/v2/queue/waits/delay", none(), 204, ""),
        (DELETE, "/v2/queue/none/delay", none(), 404, "/message"),
        (DELETE, path("?force=true"), none(), 202, ""),
        (DELETE, path("?force=false"), none(), 404, "/message"),
        (GET, "/v2/info", none(), 200, "/zookeeper_config"),
        (GET, "/v2/leader", none(), 200, "/leader"),
        (GET, "/v2/plugins", none(), 200, "/plugins"),
        (GET, "/v2/plugins/x/y", none(), 404, "/message"),
        (PUT, "/v2/plugins/x/y", json!({}), 404, "/message"),
        (POST, "/v2/plugins/x/y", json!({}), 404, "/message"),
        (DELETE, "/v2/plugins/x/y", none(), 404, "/message"),
        (GET, "/v2/events?event_type=x", none(), 405, ""),
        (GET, "/ping", none(), 200, ""),
        (GET, "/metrics", none(), 200, ""),
        (GET, "/logging", none(), 200, ""),
        // Nothing takes over: docs/api/v2.md says so.
        (
            DELETE,
            "/v2/leader?backup=file:///x&restore=file:///y",
            none(),
            405,
            "/message",
        ),
        // Gone from Marathon too; 404 is what its clients look for.
        (GET, "/v2/eventSubscriptions", none(), 404, "/message"),
        (GET, "/v2/schemas/app", none(), 404, "/message"),
        (GET, "/v2/artifacts/x", none(), 404, "/message"),
    ];

    walk(&cluster, lines).await;
}

#[tokio::test]
async fn every_endpoint_of_pods_with_every_parameter() {
    let cluster = Cluster::start().await;
    let none = || Value::Null;
    let pod = |command: &str| {
        let exec = json!({ "command": { "shell": command } });
        let resources = json!({ "cpus": 0.1, "mem": 16 });
        json!({ "id": "/p", "containers": [{ "name": "c", "exec": exec, "resources": resources }] })
    };
    let service = &cluster.service;
    let lines: Vec<Line> = vec![
        (HEAD, "/v2/pods", none(), 200, ""),
        (GET, "/v2/pods", none(), 200, ""),
        (POST, "/v2/pods?force=false", pod("a"), 201, "/scheduling"),
        (POST, "/v2/pods?force=true", pod("a"), 409, "/message"),
        (PUT, "/v2/pods/p?force=true", pod("b"), 200, "/version"),
        (GET, "/v2/pods", none(), 200, "/0/id"),
        (GET, "/v2/pods/p", none(), 200, "/executorResources"),
        (GET, "/v2/pods/none", none(), 404, "/message"),
        (GET, "/v2/pods::status", none(), 200, "/0/spec/id"),
        (GET, "/v2/pods/::status", none(), 200, "/0/spec/id"),
        (GET, "/v2/pods/p::status", none(), 200, "/statusSince"),
        (GET, "/v2/pods/p::versions", none(), 200, "/1"),
        (GET, "/v2/pods/none::versions", none(), 404, "/message"),
        (GET, "/v2/pods/p::versions/v", none(), 422, "/message"),
        (GET, "/v2/pods/p::other", none(), 404, "/message"),
        (PUT, "/v2/pods/p::status", pod("b"), 405, "/message"),
        (
            DELETE,
            "/v2/pods/p::instances?wipe=true",
            json!([]),
            200,
            "",
        ),
        (
            DELETE,
            "/v2/pods/p::instances?wipe=true",
            json!(["i"]),
            422,
            "/details/0/errors/0",
        ),
        (
            DELETE,
            "/v2/pods/p::instances/i?wipe=true",
            none(),
            422,
            "/details/0/errors/0",
        ),
    ];
    walk(&cluster, lines).await;

    let is_calm = |told: &Value| told["status"] == "STABLE";
    let status = cluster.until("/v2/pods/p::status", is_calm).await;
    let version = status["spec"]["version"].as_str().expect("a version");
    let instance = status["instances"][0]["id"].as_str().expect("an id");
    let path = |path: String| -> &'static str { Box::leak(path.into_boxed_str()) };
    let lines: Vec<Line> = vec![
        (
            GET,
            path(format!("/v2/pods/p::versions/{version}")),
            none(),
            200,
            "/containers/0/name",
        ),
        (
            GET,
            "/v2/pods/p::versions/2026-01-01T00:00:00.000Z",
            none(),
            404,
            "/message",
        ),
        (
            DELETE,
            path(format!("/v2/pods/p::instances/{instance}?wipe=false")),
            none(),
            200,
            "/agentInfo/host",
        ),
        (
            DELETE,
            path(format!("/v2/pods/p::instances/{instance}x")),
            none(),
            422,
            "/message",
        ),
        (
            DELETE,
            "/v2/pods/p::instances/p.instance-945e4e36-9e4f-49f7-96d0-477add9385ea",
            none(),
            404,
            "/message",
        ),
        (DELETE, "/v2/pods/p?force=true", none(), 202, ""),
        (DELETE, "/v2/pods/p", none(), 404, "/message"),
        (DELETE, "/v2/pods/none?force=false", none(), 404, "/message"),
    ];
    walk(&cluster, lines).await;
    assert_eq!(service.get("/v2/pods").await.1, json!([]));
}
