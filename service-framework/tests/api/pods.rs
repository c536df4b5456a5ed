//! Pods, from POST to DELETE: what is printed back, how they stand, what is refused and in which words.

use std::time::Duration;

use mete_framework_sdk::testkit::Call;
use mete_framework_sdk::{TaskId, TaskState, TaskStatus};
use mete_model::container::{Mount, MountSource, SecretValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Cluster, app};

/// Containers `web`, with an endpoint, and `log`.
fn pod(id: &str) -> Value {
    let exec = json!({ "command": { "shell": "sleep 1000" } });
    let resources = json!({ "cpus": 0.1, "mem": 16 });
    json!({ "id": id, "containers": [
        { "name": "web", "exec": exec, "resources": resources, "endpoints": [{ "name": "http" }] },
        { "name": "log", "exec": exec, "resources": resources },
    ] })
}

async fn stable(cluster: &Cluster, pod: &str, instances: usize) -> Value {
    let path = format!("/v2/pods{pod}::status");
    let is_stable = |told: &Value| {
        let all = told["instances"].as_array().map_or(&[][..], Vec::as_slice);
        told["status"] == "STABLE" && all.len() == instances
    };
    cluster.until(&path, is_stable).await
}

fn task(status: &Value, container: usize) -> TaskId {
    let id = &status["instances"][0]["containers"][container]["containerId"];
    id.as_str().expect("an id").parse().expect("a task's")
}

#[tokio::test]
async fn all_that_is_said_is_printed_back_and_put_again_changes_nothing() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;
    let said = json!({
        "id": "/shop/web", "labels": { "team": "blue" }, "user": "www",
        "environment": { "A": "b", "PASSWORD": { "secret": "pw" } },
        "secrets": { "pw": { "source": "shop/password" } },
        "containers": [{
            "name": "web",
            "exec": { "command": { "argv": ["serve", "-x"] }, "overrideEntrypoint": true },
            "resources": { "cpus": 0.5, "mem": 64, "disk": 8, "gpus": 0 },
            "resourceLimits": { "cpus": 1, "mem": "unlimited" },
            "image": { "kind": "DOCKER", "id": "web:1", "forcePull": true, "labels": { "x": "y" } },
            "endpoints": [
                { "name": "http", "hostPort": 0, "protocol": ["http"], "labels": { "VIP_0": "a:80" } },
                { "name": "any", "hostPort": 31050, "protocol": ["udp", "tcp"] },
            ],
            "environment": { "C": "d" }, "user": "nobody",
            "healthCheck": {
                "http": { "endpoint": "http", "path": "/health", "scheme": "HTTPS" },
                "gracePeriodSeconds": 10, "intervalSeconds": 5, "maxConsecutiveFailures": 2,
                "timeoutSeconds": 3, "delaySeconds": 0,
            },
            "volumeMounts": [
                { "name": "data", "mountPath": "data", "readOnly": true },
                { "name": "host", "mountPath": "/etc/motd" },
            ],
            "artifacts": [{ "uri": "http://127.0.0.1:9/x.tgz", "extract": false, "executable": false,
                "cache": true, "destPath": "x" }],
            "labels": { "tier": "1" },
            "lifecycle": { "killGracePeriodSeconds": 2.5 },
        }, {
            "name": "check",
            "exec": { "command": { "shell": "sleep 1000" } },
            "resources": { "cpus": 0.1, "mem": 32, "disk": 0, "gpus": 0 },
            "healthCheck": {
                "exec": { "command": { "argv": ["test", "-e", "ready"] } },
                "gracePeriodSeconds": 300, "intervalSeconds": 60, "maxConsecutiveFailures": 3,
                "timeoutSeconds": 20, "delaySeconds": 15,
            },
        }],
        "volumes": [{ "name": "data" }, { "name": "host", "host": "/etc/motd" }],
        "networks": [{ "mode": "host" }],
        "scaling": { "kind": "fixed", "instances": 0 },
        "scheduling": {
            "backoff": { "backoff": 0.5, "backoffFactor": 2, "maxLaunchDelay": 60 },
            "upgrade": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 },
            "placement": {
                "constraints": [
                    { "fieldName": "hostname", "operator": "UNIQUE" },
                    { "fieldName": "rack", "operator": "LIKE", "value": "a.*" },
                ],
                "acceptedResourceRoles": ["*"],
            },
            "killSelection": "OLDEST_FIRST",
            "unreachableStrategy": { "inactiveAfterSeconds": 1, "expungeAfterSeconds": 2 },
        },
        "executorResources": { "cpus": 0.2, "mem": 64, "disk": 20 },
        "role": "*",
    });

    let request = service.request(Method::POST, "/v2/pods").json(&said);
    let response = request.send().await.expect("an answer");

    assert_eq!(response.status(), StatusCode::CREATED);
    let headers = response.headers().clone();
    assert_eq!(headers["location"], format!("{}/shop/web", service.url));
    assert!(headers.contains_key("marathon-deployment-id"));
    let told: Value = response.json().await.expect("JSON");
    let mut expected = said.clone();
    expected["version"] = told["version"].clone();
    assert_eq!(told, expected);
    assert_eq!(service.get("/v2/pods/shop/web").await.1, told);
    let is_over = |told: &Value| *told == json!([]);
    cluster.until("/v2/deployments", is_over).await;
    let (status, again) = service.put("/v2/pods/shop/web", &told).await;
    assert_eq!(
        (status, &again),
        (StatusCode::OK, &told),
        "the same version"
    );
}

#[tokio::test]
async fn what_is_not_said_has_marathons_defaults() {
    let cluster = Cluster::start().await;

    let (_, told) = cluster.service.post("/v2/pods", &pod("p")).await;

    let resources = json!({ "cpus": 0.1, "mem": 16, "disk": 0, "gpus": 0 });
    let exec = json!({ "command": { "shell": "sleep 1000" } });
    assert_eq!(
        told,
        json!({
            "id": "/p", "version": told["version"],
            "containers": [
                { "name": "web", "exec": exec, "resources": resources,
                    "endpoints": [{ "name": "http", "hostPort": 0 }] },
                { "name": "log", "exec": exec, "resources": resources },
            ],
            "networks": [{ "mode": "host" }],
            "scaling": { "kind": "fixed", "instances": 1 },
            "scheduling": {
                "backoff": { "backoff": 1, "backoffFactor": 1.15, "maxLaunchDelay": 300 },
                "upgrade": { "minimumHealthCapacity": 1, "maximumOverCapacity": 1 },
                "killSelection": "YOUNGEST_FIRST",
                "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 },
            },
            "executorResources": { "cpus": 0.1, "mem": 32, "disk": 10 },
            "role": "*",
        })
    );
}

#[tokio::test]
async fn what_makes_no_sense_or_is_not_carried_is_told_with_its_place() {
    let cluster = Cluster::start().await;
    let with = |pointer: &str, value: Value| {
        let mut pod = pod("/p");
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = pod.pointer_mut(parent).expect("what it lies in");
        parent[key] = value;
        pod
    };
    let first = |key: &str, value: Value| with(&format!("/containers/0/{key}"), value);
    let endpoint = |more: Value| first("endpoints", json!([more]));
    for (pod, path, words) in [
        (json!({ "containers": [] }), "/id", "error.path.missing"),
        (json!({ "id": "/p" }), "/containers", "error.path.missing"),
        (
            with("/containers", json!([])),
            "/containers",
            "must not be empty",
        ),
        (
            with("/scaling", json!({ "kind": "auto" })),
            "/scaling/kind",
            "Not a fixed scaling policy",
        ),
        (
            with("/scaling", json!({ "instances": -1 })),
            "/scaling/instances",
            "error.min",
        ),
        (
            with("/networks", json!([{ "mode": "container/bridge" }])),
            "/containers(0)/endpoints(0)/containerPort",
            "is required when using container-mode networking",
        ),
        (
            with("/volumes", json!([{ "name": "v" }])),
            "/volumes(0)",
            "volume must be referenced by at least one container",
        ),
        (
            with(
                "/volumes",
                json!([{ "name": "v", "persistent": { "size": 1 } }]),
            ),
            "/volumes(0)",
            "a persistent volume is not carried yet",
        ),
        (
            with("/volumes", json!([{ "name": "v", "secret": "s" }])),
            "/volumes(0)/secret",
            "references an undefined secret 's'",
        ),
        (
            with("/linuxInfo", json!({ "seccomp": { "unconfined": true } })),
            "/linuxInfo",
            "not carried",
        ),
        (
            with("/legacySharedCgroups", json!(true)),
            "/legacySharedCgroups",
            "not carried",
        ),
        (
            with("/executorResources", json!({ "mem": 16 })),
            "/executorResources/mem",
            "error.min",
        ),
        (
            with("/environment", json!({ "1A": "b" })),
            "/environment",
            "must not begin with a number",
        ),
        (
            with("/environment", json!({ "A": { "secret": "s" } })),
            "/environment/A/secret",
            "references an undefined secret 's'",
        ),
        (
            with(
                "/scheduling",
                json!({ "upgrade": { "maximumOverCapacity": 2 } }),
            ),
            "/scheduling/upgrade/maximumOverCapacity",
            "is greater than 1",
        ),
        (
            with(
                "/scheduling",
                json!({ "placement": { "constraints": [{ "fieldName": "x", "operator": "ODD" }] } }),
            ),
            "/scheduling/placement/constraints(0)",
            "Constraint operator must be one of the following",
        ),
        (
            with(
                "/scheduling",
                json!({ "unreachableStrategy": { "inactiveAfterSeconds": 2 } }),
            ),
            "/scheduling/unreachableStrategy/expungeAfterSeconds",
            "greater than or equal to inactiveAfterSeconds",
        ),
        (
            with("/role", json!("other")),
            "/role",
            "got other, expected one of: [*]",
        ),
        (
            first("name", json!("_app")),
            "/containers(0)/name",
            "error.pattern",
        ),
        (
            first("name", json!("log")),
            "/containers",
            "container names are unique",
        ),
        (
            first("resources", Value::Null),
            "/containers(0)/resources",
            "error.path.missing",
        ),
        (
            first("resources", json!({ "cpus": 0 })),
            "/containers(0)/resources/cpus",
            "error.min",
        ),
        (
            first("exec", Value::Null),
            "/containers(0)",
            "must have exec",
        ),
        (
            first(
                "exec",
                json!({ "command": { "shell": "a", "argv": ["b"] } }),
            ),
            "/containers(0)/exec/command",
            "either shell or argv",
        ),
        (
            first("image", json!({ "kind": "APPC", "id": "x" })),
            "/containers(0)/image/kind",
            "error.unknown.enum.literal",
        ),
        (
            first(
                "image",
                json!({ "kind": "DOCKER", "id": "x", "pullConfig": { "secret": "s" } }),
            ),
            "/containers(0)/image/pullConfig/secret",
            "references an undefined secret 's'",
        ),
        (
            first("check", json!({ "tcp": { "endpoint": "none" } })),
            "/containers(0)/check/tcp/endpoint",
            "contained in the container endpoints",
        ),
        (
            first("lifecycle", json!({ "killGracePeriodSeconds": 0 })),
            "/containers(0)/lifecycle/killGracePeriodSeconds",
            "is not greater than 0",
        ),
        (
            first("volumeMounts", json!([{ "name": "v", "mountPath": "/x" }])),
            "/containers(0)/volumeMounts(0)/name",
            "Referenced Volume in VolumeMount should exist",
        ),
        (
            first(
                "volumeMounts",
                json!([{ "name": "v", "mountPath": "../x" }]),
            ),
            "/containers(0)/volumeMounts(0)/mountPath",
            "must be a path",
        ),
        (
            endpoint(json!({ "name": "http", "containerPort": 80 })),
            "/containers(0)/endpoints(0)/containerPort",
            "is not allowed when using host-mode networking",
        ),
        (
            endpoint(json!({ "name": "http", "protocol": ["tcp", "tcp"] })),
            "/containers(0)/endpoints(0)/protocol",
            "Duplicate protocols within the same endpoint are not allowed",
        ),
        (
            endpoint(json!({ "name": "http", "protocol": ["tcp", "S C"] })),
            "/containers(0)/endpoints(0)/protocol(1)",
            "error.pattern",
        ),
        (
            with("/containers/1/endpoints", json!([{ "name": "http" }])),
            "/",
            "Endpoint names are unique",
        ),
        (
            first("healthCheck", json!({ "tcp": { "endpoint": "none" } })),
            "/containers(0)/healthCheck/tcp/endpoint",
            "contained in the container endpoints",
        ),
        (
            first("healthCheck", json!({})),
            "/containers(0)/healthCheck",
            "Only one of http, tcp, or command may be specified",
        ),
        (
            first(
                "healthCheck",
                json!({ "tcp": { "endpoint": "http" }, "timeoutSeconds": 60 }),
            ),
            "/containers(0)/healthCheck/timeoutSeconds",
            "must be less than intervalSeconds",
        ),
    ] {
        let (status, told) = cluster.service.post("/v2/pods", &pod).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{pod}: {told}");
        let details = told["details"].as_array().expect("details");
        let found = details.iter().find(|detail| detail["path"] == path);
        let found = found.unwrap_or_else(|| panic!("nothing at {path}: {told:#}"));
        assert!(found.to_string().contains(words), "{words}: {found}");
    }
    assert_eq!(cluster.service.get("/v2/pods").await.1, json!([]));
}

#[tokio::test]
async fn a_pod_on_the_bridge_shares_its_network_and_says_so() {
    let cluster = Cluster::start().await;
    let mut wish = pod("/shop/p");
    wish["networks"] = json!([{ "mode": "container/bridge" }]);
    wish["containers"][0]["endpoints"] = json!([{ "name": "http", "containerPort": 80 }]);
    cluster.service.post("/v2/pods", &wish).await;

    let status = stable(&cluster, "/shop/p", 1).await;

    let launched = |call: &Call| matches!(call, Call::Accept { groups, .. } if !groups.is_empty());
    let heard = cluster.master.heard(launched).await.expect("a launch");
    let Call::Accept { groups, .. } = heard.call else {
        panic!("{heard:?}")
    };
    let executor = &groups[0].as_ref().expect("a good one").executor;
    let around = executor.container.as_ref().expect("a network");
    let mapped: Vec<_> = around.network.ports().iter().collect();
    let [port] = &*mapped else {
        panic!("{mapped:?}")
    };
    assert_eq!(port.container, 80);
    assert!(executor.resources.flat().ports.contains(port.host.into()));
    let instance = &status["instances"][0];
    assert_eq!(
        instance["containers"][0]["endpoints"],
        json!([{ "name": "http", "allocatedHostPort": port.host }])
    );
    assert_eq!(
        instance["networks"],
        json!([{ "name": "mesos-bridge", "addresses": ["127.0.0.1"] }])
    );
    let (_, shown) = cluster.service.get("/v2/pods/shop/p").await;
    assert_eq!(shown["networks"], wish["networks"]);
    assert_eq!(
        shown["containers"][0]["endpoints"],
        json!([{ "name": "http", "containerPort": 80, "hostPort": 0 }])
    );
}

#[tokio::test]
async fn an_instance_is_one_group_of_tasks_and_is_told_container_by_container() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/pods", &pod("/shop/p")).await;

    let status = stable(&cluster, "/shop/p", 1).await;

    let launched = |call: &Call| matches!(call, Call::Accept { groups, .. } if !groups.is_empty());
    let heard = cluster.master.heard(launched).await.expect("a launch");
    let Call::Accept { tasks, groups, .. } = heard.call else {
        panic!("{heard:?}")
    };
    assert!(tasks.is_empty());
    let group = groups[0].as_ref().expect("a good one");
    let instance = &status["instances"][0];
    let id = instance["id"].as_str().expect("an id");
    let uuid = id.strip_prefix("shop_p.instance-").expect("of the pod");
    assert_eq!(
        group.executor.id.as_str(),
        format!("instance-shop_p.{uuid}")
    );
    let tasks: Vec<String> = group.tasks.iter().map(|one| one.id.to_string()).collect();
    assert_eq!(tasks, [format!("{id}.web.1"), format!("{id}.log.1")]);
    let port = group.tasks[0].resources.ports.iter().next();
    let environment = &group.tasks[1].command.environment;
    assert_eq!(
        environment.get("EP_HOST_HTTP"),
        port.map(|port| port.to_string()).as_ref()
    );
    assert_eq!(
        instance["resources"],
        json!({ "cpus": 0.3, "mem": 64, "disk": 10, "gpus": 0 })
    );
    let web = &instance["containers"][0];
    assert_eq!(web["status"], "TASK_RUNNING");
    assert_eq!(
        web["endpoints"],
        json!([{ "name": "http", "allocatedHostPort": port }])
    );
    assert_eq!(
        instance["networks"],
        json!([{ "addresses": ["127.0.0.1"] }])
    );
    let version = status["spec"]["version"].as_str().expect("a version");
    assert_eq!(
        instance["specReference"],
        format!("/v2/pods/shop/p::versions/{version}")
    );
    let (_, tasks) = cluster.service.get("/v2/tasks").await;
    assert_eq!(tasks["tasks"], json!([]), "tasks are those of apps");
    let (_, group) = cluster.service.get("/v2/groups/shop").await;
    assert_eq!(group["pods"][0]["instances"][0]["id"], id);
    let (_, group) = cluster
        .service
        .get("/v2/groups/shop?embed=group.apps")
        .await;
    assert_eq!(group["pods"], json!([]));
}

#[tokio::test]
async fn a_container_that_fails_ends_its_instance_which_is_replaced_and_remembered() {
    let cluster = Cluster::start().await;
    let mut events = cluster.service.stream("/v2/events", &[]).await;
    let mut wanted = pod("/p");
    wanted["scheduling"] = json!({ "backoff": { "backoff": 0.01 } });
    cluster.service.post("/v2/pods", &wanted).await;
    let created = events
        .until(|event| event.name == "pod_created_event")
        .await;
    assert_eq!(created.data["uri"], "/v2/pods");
    let before = stable(&cluster, "/p", 1).await;
    let (web, log) = (task(&before, 0), task(&before, 1));

    assert!(cluster.master.finish(&log, TaskState::Failed));

    let ended = events.until(|event| {
        event.name == "instance_changed_event" && event.data["condition"] == "Failed"
    });
    assert_eq!(ended.await.data["runSpecId"], "/p");
    let is_new = |told: &Value| {
        let id = &told["instances"][0]["id"];
        told["status"] == "STABLE" && *id != before["instances"][0]["id"]
    };
    let after = cluster.until("/v2/pods/p::status", is_new).await;
    let history = &after["terminationHistory"][0];
    assert_eq!(history["instanceID"], before["instances"][0]["id"]);
    assert_eq!(history["containers"][0]["containerId"], log.to_string());
    assert_eq!(history["containers"][0]["lastKnownState"], "TASK_FAILED");
    let again = after["instances"][0]["containers"][1]["containerId"].as_str();
    let again: TaskId = again.expect("an id").parse().expect("good");
    assert!(cluster.master.finish(&again, TaskState::Failed));
    let twice = |told: &Value| told["terminationHistory"].as_array().map(Vec::len) == Some(2);
    let told = cluster.until("/v2/pods/p::status", twice).await;
    let history = &told["terminationHistory"];
    assert_eq!(
        history[0]["containers"][0]["containerId"],
        again.to_string()
    );
    assert_eq!(history[1]["containers"][0]["containerId"], log.to_string());
    assert!(cluster.tasks().iter().all(|(task, _)| *task != web));
}

#[tokio::test]
async fn a_pod_is_healthy_when_its_containers_are() {
    let cluster = Cluster::start().await;
    let mut wanted = pod("/p");
    wanted["containers"][0]["healthCheck"] = json!({ "http": { "endpoint": "http" } });
    cluster.service.post("/v2/pods", &wanted).await;
    let runs = |told: &Value| told["instances"][0]["containers"][0]["status"] == "TASK_RUNNING";
    let before = cluster.until("/v2/pods/p::status", runs).await;
    let web = task(&before, 0);

    let degraded = |told: &Value| told["instances"][0]["status"] == "DEGRADED";
    let told = cluster.until("/v2/pods/p::status", degraded).await;
    let condition = &told["instances"][0]["containers"][0]["conditions"][0];
    assert_eq!(
        (&condition["value"], &condition["reason"]),
        (&json!("false"), &json!("health-unreported-by-mesos"))
    );
    let passes = |status: &mut TaskStatus| status.healthy = Some(true);
    assert!(cluster.master.report(&web, TaskState::Running, passes));
    let told = stable(&cluster, "/p", 1).await;

    let web = &told["instances"][0]["containers"][0];
    assert_eq!(web["conditions"][0]["value"], "true");
    assert_eq!(web["endpoints"][0]["healthy"], true);
    let is_over = |told: &Value| *told == json!([]);
    cluster.until("/v2/deployments", is_over).await;
}

#[tokio::test]
async fn pods_wait_are_locked_and_are_planned_in_their_own_words() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;
    let mut big = pod("/big");
    big["containers"][0]["resources"]["cpus"] = json!(1_000);
    service.post("/v2/pods", &big).await;

    let (_, plans) = service.get("/v2/deployments").await;
    assert_eq!(
        (&plans[0]["affectedPods"], &plans[0]["affectedApps"]),
        (&json!(["/big"]), &json!([]))
    );
    assert_eq!(
        plans[0]["steps"],
        json!([
            { "actions": [{ "action": "StartPod", "pod": "/big" }] },
            { "actions": [{ "action": "ScalePod", "pod": "/big" }] },
        ])
    );
    let (_, queue) = service.get("/v2/queue").await;
    let entry = &queue["queue"][0];
    assert_eq!(
        (&entry["pod"]["id"], &entry["app"]),
        (&json!("/big"), &Value::Null)
    );
    let (status, told) = service.put("/v2/pods/big", &pod("/big")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(told["deployments"][0]["id"], plans[0]["id"]);
    let (status, _) = service.put("/v2/pods/big?force=true", &pod("/big")).await;
    assert_eq!(status, StatusCode::OK);
    stable(&cluster, "/big", 1).await;
    let (status, _) = service.delete("/v2/queue/big/delay").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn apps_and_pods_do_not_share_ids_and_each_is_found_where_it_belongs() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;
    service.post("/v2/pods", &pod("/p")).await;
    service.post("/v2/apps", &app("/web")).await;

    let (status, told) = service.post("/v2/pods", &pod("/p")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(told["message"], "A pod with id [/p] already exists.");
    for (path, body) in [("/v2/pods", pod("/web")), ("/v2/apps", app("/p"))] {
        let (status, told) = service.post(path, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let words = "Applications and Pods may not share the same id";
        assert_eq!(told["details"][0]["errors"][0], words);
    }
    let (status, told) = service.put("/v2/pods/q", &pod("/p")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let words = "'/q' does not match definition's id ('/p')";
    assert_eq!(told["message"], words);
    for (method, path) in [
        (Method::GET, "/v2/apps/p"),
        (Method::DELETE, "/v2/apps/p"),
        (Method::POST, "/v2/apps/p/restart"),
        (Method::GET, "/v2/apps/p/tasks"),
        (Method::GET, "/v2/pods/web"),
        (Method::DELETE, "/v2/pods/web"),
        (Method::GET, "/v2/pods/web::status"),
    ] {
        let request = service.request(method.clone(), path);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{method} {path}");
    }
    let (_, told) = service.get("/v2/apps").await;
    assert_eq!(told["apps"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn instances_are_killed_and_replaced_and_a_deleted_pod_ends() {
    let cluster = Cluster::start().await;
    let service = &cluster.service;
    let mut wanted = pod("/p");
    wanted["scaling"] = json!({ "kind": "fixed", "instances": 2 });
    service.post("/v2/pods", &wanted).await;
    let status = stable(&cluster, "/p", 2).await;
    let id = |at: usize| status["instances"][at]["id"].clone();

    let (code, killed) = service
        .send(
            Method::DELETE,
            "/v2/pods/p::instances",
            &json!([id(0), id(1)]),
        )
        .await;
    assert_eq!(code, StatusCode::OK);
    let told = |key: &str| -> Vec<&Value> {
        let all = killed.as_array().expect("a list").iter();
        all.map(|one| one.pointer(key).expect("a key")).collect()
    };
    assert_eq!(told("/instanceId"), [&id(0), &id(1)]);
    assert_eq!(told("/state/condition"), ["Running", "Running"]);
    let are_new = |told: &Value| {
        let all = told["instances"].as_array().map_or(&[][..], Vec::as_slice);
        let is_old = |one: &Value| one["id"] == id(0) || one["id"] == id(1);
        told["status"] == "STABLE" && all.len() == 2 && !all.iter().any(is_old)
    };
    cluster.until("/v2/pods/p::status", are_new).await;
    let mut events = service.stream("/v2/events", &[]).await;
    let response = service.request(Method::DELETE, "/v2/pods/p").send().await;
    let response = response.expect("an answer");

    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
    let deployment = header("marathon-deployment-id");
    assert_eq!(header("location"), format!("{}/{deployment}", service.url));
    assert_eq!(response.text().await.expect("a body"), "");
    events
        .until(|event| event.name == "pod_deleted_event")
        .await;
    cluster
        .eventually("no task is left", |cluster| cluster.tasks().is_empty())
        .await;
    let (status, told) = service.get("/v2/pods/p").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(told["message"], "Pod '/p' does not exist");
}

#[tokio::test]
async fn a_new_life_takes_pods_over_and_rolls_them() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/pods", &pod("/p")).await;
    let before = stable(&cluster, "/p", 1).await;

    let cluster = cluster.restart().await;
    let after = stable(&cluster, "/p", 1).await;
    assert_eq!(before["instances"], after["instances"]);
    let mut wanted = pod("/p");
    wanted["environment"] = json!({ "A": "b" });
    let (status, told) = cluster.service.put("/v2/pods/p", &wanted).await;
    assert_eq!(
        (status, &told["environment"]["A"]),
        (StatusCode::OK, &json!("b"))
    );

    let is_new = |told: &Value| {
        let all = told["instances"].as_array().map_or(&[][..], Vec::as_slice);
        all.len() == 1 && told["status"] == "STABLE" && all[0]["id"] != before["instances"][0]["id"]
    };
    cluster.until("/v2/pods/p::status", is_new).await;
    let (_, versions) = cluster.service.get("/v2/pods/p::versions").await;
    assert_eq!(versions.as_array().map(Vec::len), Some(2));
    let former = format!(
        "/v2/pods/p::versions/{}",
        versions[1].as_str().expect("text")
    );
    let (_, former) = cluster.service.get(&former).await;
    assert_eq!(former["environment"], Value::Null);
}

#[tokio::test]
async fn secrets_reach_the_container_that_asks_and_without_one_none_is_launched() {
    let cluster = Cluster::with_secrets(&[]).await;
    let mut wanted = pod("/p");
    wanted["secrets"] = json!({ "pw": { "source": "password" } });
    wanted["containers"][1]["environment"] = json!({ "PASSWORD": { "secret": "pw" } });
    wanted["volumes"] = json!([{ "name": "password", "secret": "pw" }]);
    wanted["containers"][0]["volumeMounts"] =
        json!([{ "name": "password", "mountPath": "/etc/password" }]);
    wanted["scheduling"] = json!({ "backoff": { "backoff": 0.01, "maxLaunchDelay": 0.01 } });

    cluster.service.post("/v2/pods", &wanted).await;
    let has_failed = |told: &Value| told["terminationHistory"] != json!([]);
    let told = cluster.until("/v2/pods/p::status", has_failed).await;
    let words = told["terminationHistory"][0]["message"]
        .as_str()
        .expect("why");
    assert!(
        words.contains("secret 'password' of /etc/password"),
        "{words}"
    );
    assert!(cluster.tasks().is_empty());
    cluster.write_secret("password", b"hunter2\n");
    tokio::time::timeout(Duration::from_secs(20), stable(&cluster, "/p", 1))
        .await
        .expect("it runs");

    let launched = |call: &Call| matches!(call, Call::Accept { groups, .. } if !groups.is_empty());
    let heard = cluster.master.heard(launched).await.expect("a launch");
    let Call::Accept { groups, .. } = heard.call else {
        panic!("{heard:?}")
    };
    let tasks = &groups[0].as_ref().expect("a good one").tasks;
    let password = |at: usize| tasks[at].command.environment.get("PASSWORD").cloned();
    assert_eq!(
        (password(0), password(1)),
        (None, Some("hunter2".to_owned()))
    );
    let files = |at: usize| tasks[at].container.as_ref().map(|one| one.mounts.clone());
    let file = Mount {
        target: "/etc/password".to_owned(),
        source: MountSource::Secret(Some(SecretValue::new(*b"hunter2\n"))),
        read_only: true,
    };
    assert_eq!((files(0), files(1)), (Some(vec![file]), None));
    let (_, told) = cluster.service.get("/v2/pods/p").await;
    assert_eq!(told["volumes"], wanted["volumes"]);
}
