//! An app from POST to DELETE.

use mete_framework_sdk::testkit::Call;
use mete_framework_sdk::{Program, TaskState};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Cluster, app};

fn texts(list: &Value) -> Vec<&str> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|text| text.as_str().expect("a text"))
        .collect()
}

#[tokio::test]
async fn a_posted_app_is_answered_as_marathon_does_and_runs() {
    let cluster = Cluster::start().await;

    let request = cluster
        .service
        .request(Method::POST, "/v2/apps")
        .json(&app("web"));
    let response = request.send().await.expect("an answer");

    assert_eq!(response.status(), StatusCode::CREATED);
    let headers = response.headers().clone();
    let header = |name: &str| headers[name].to_str().expect("text").to_owned();
    assert_eq!(header("location"), format!("{}/web", cluster.service.url));
    assert_eq!(header("x-marathon-leader"), cluster.service.url);
    assert_eq!(
        header("cache-control"),
        "no-cache, no-store, must-revalidate"
    );
    assert_eq!(header("x-frame-options"), "DENY");
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(
        body["deployments"],
        json!([{ "id": header("marathon-deployment-id") }])
    );
    let version = body["version"].as_str().expect("a version").to_owned();
    assert_eq!(
        (version.len(), &version[19..20], &version[23..]),
        (24, ".", "Z")
    );
    let mut described = body.clone();
    let object = described.as_object_mut().expect("an object");
    object.remove("deployments");
    object.remove("version");
    assert_eq!(
        described,
        json!({
            "id": "/web", "cmd": "sleep 1000", "cpus": 0.1, "mem": 16, "disk": 0, "gpus": 0, "instances": 1,
            "executor": "", "labels": {}, "role": "*", "requirePorts": false,
            "networks": [{ "mode": "host" }],
            "portDefinitions": [{ "port": 10000, "protocol": "tcp", "name": "default" }],
            "backoffSeconds": 1, "backoffFactor": 1.15, "maxLaunchDelaySeconds": 300,
            "upgradeStrategy": { "maximumOverCapacity": 1, "minimumHealthCapacity": 1 },
            "unreachableStrategy": { "inactiveAfterSeconds": 0, "expungeAfterSeconds": 0 },
            "killSelection": "YOUNGEST_FIRST",
            "tasksStaged": 0, "tasksRunning": 0, "tasksHealthy": 0, "tasksUnhealthy": 0,
        })
    );

    let answer = cluster.running("/web", 1).await;
    let shown = &answer["app"];
    assert_eq!(
        shown["versionInfo"],
        json!({ "lastScalingAt": version, "lastConfigChangeAt": version })
    );
    let task = &shown["tasks"][0];
    assert_eq!(
        (&task["state"], &task["appId"]),
        (&json!("TASK_RUNNING"), &json!("/web"))
    );
    assert_eq!(
        (&task["servicePorts"], &task["localVolumes"]),
        (&json!([10000]), &json!([]))
    );
    assert_eq!(
        (&task["healthCheckResults"], &task["version"]),
        (&json!([]), &json!(version))
    );
    assert!(
        task["ports"][0]
            .as_u64()
            .is_some_and(|port| (31_000..31_100).contains(&port))
    );
    assert!(
        ["127.0.0.2", "127.0.0.3"]
            .map(|host| json!(host))
            .contains(&task["host"])
    );
    let same = cluster.service.get("/v2/apps//web/").await.1;
    assert_eq!(same["app"]["tasks"][0]["id"], task["id"]);
}

#[tokio::test]
async fn limits_above_the_request_are_kept_until_an_update_leaves_them_out() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["resourceLimits"] = json!({ "cpus": 1.5, "mem": "unlimited" });

    cluster.service.post("/v2/apps", &wish).await;
    let shown = cluster.running("/web", 1).await;

    assert_eq!(shown["app"]["resourceLimits"], wish["resourceLimits"]);
    let change = json!({ "resourceLimits": { "mem": 64 } });
    let path = "/v2/apps/web?force=true";
    let (status, _) = cluster.service.send(Method::PATCH, path, &change).await;
    assert_eq!(status, StatusCode::OK);
    let (_, shown) = cluster.service.get("/v2/apps/web").await;
    assert_eq!(shown["app"]["resourceLimits"], json!({ "mem": 64 }));
    let change = json!({ "labels": { "a": "b" } });
    cluster.service.send(Method::PATCH, path, &change).await;
    let (_, shown) = cluster.service.get("/v2/apps/web").await;
    assert_eq!(shown["app"]["resourceLimits"], json!(null));
}

#[tokio::test]
async fn an_app_on_the_bridge_has_mapped_ports_and_says_so() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["container"] = json!({
        "docker": {
            "image": "box", "network": "BRIDGE",
            "portMappings": [{ "containerPort": 80, "name": "http" }, { "containerPort": 53, "hostPort": 0, "servicePort": 10_500, "protocol": "udp", "labels": { "a": "b" } }]
        }
    });
    wish["healthChecks"] = json!([{ "protocol": "GRPC", "path": "web.Shop" }]);

    cluster.service.post("/v2/apps", &wish).await;
    let answer = cluster.running("/web", 1).await;

    let shown = &answer["app"];
    assert_eq!(shown["networks"], json!([{ "mode": "container/bridge" }]));
    assert_eq!(shown["portDefinitions"], json!(null));
    assert_eq!(
        shown["container"]["portMappings"],
        json!([
            { "containerPort": 80, "hostPort": 0, "servicePort": 10_000, "protocol": "tcp", "name": "http" },
            { "containerPort": 53, "hostPort": 0, "servicePort": 10_500, "protocol": "udp", "labels": { "a": "b" } },
        ])
    );
    let ports = &shown["tasks"][0]["ports"];
    assert_eq!(ports.as_array().map(Vec::len), Some(2));
    assert_eq!(shown["tasks"][0]["servicePorts"], json!([10_000, 10_500]));
    // What is printed means the same when it comes back.
    let mut again = shown.clone();
    for key in [
        "tasks",
        "deployments",
        "version",
        "versionInfo",
        "tasksStaged",
    ] {
        again.as_object_mut().expect("an object").remove(key);
    }
    // The deployment waits for health, which nobody reports here.
    let path = "/v2/apps/web?force=true";
    let (status, _) = cluster.service.put(path, &again).await;
    let after = cluster.running("/web", 1).await;
    assert_eq!(status, 200);
    assert_eq!(
        after["app"]["tasks"][0]["id"], shown["tasks"][0]["id"],
        "nothing is replaced"
    );
}

#[tokio::test]
async fn a_task_gets_command_environment_resources_and_check() {
    let cluster = Cluster::start().await;
    let mut wish = app("/shop/web");
    wish["env"] = json!({ "COLOUR": "red" });
    wish["labels"] = json!({ "tier": "front" });
    wish["taskKillGracePeriodSeconds"] = json!(7);
    wish["portDefinitions"] = json!([{ "port": 0, "name": "http" }]);
    wish["healthChecks"] =
        json!([{ "protocol": "MESOS_HTTP", "path": "/ok", "intervalSeconds": 2 }]);

    cluster.service.post("/v2/apps", &wish).await;
    cluster.running("/shop/web", 1).await;

    let accepted = cluster
        .master
        .heard(|call| matches!(call, Call::Accept { tasks, .. } if !tasks.is_empty()));
    let Call::Accept { tasks, .. } = accepted.await.expect("a launch").call else {
        panic!("an accept")
    };
    let task = tasks[0].as_ref().expect("a good task");
    assert_eq!(task.name, "web.shop");
    assert_eq!(
        task.command.program,
        Program::Shell("sleep 1000".to_owned())
    );
    assert_eq!(
        (task.resources.cpus_milli, task.resources.ports.count()),
        (100, 1)
    );
    let port = task.resources.ports.nth(0).expect("a port").to_string();
    let env = |name: &str| task.command.environment.get(name).map(String::as_str);
    assert_eq!(
        (env("COLOUR"), env("PORT0"), env("PORT_HTTP")),
        (Some("red"), Some(&*port), Some(&*port))
    );
    assert_eq!(env("MARATHON_APP_ID"), Some("/shop/web"));
    assert!(task.health_check.is_some());
    assert_eq!(task.kill_grace_period.map(|grace| grace.as_secs()), Some(7));
    assert!(
        task.labels
            .contains(&("tier".to_owned(), Some("front".to_owned())))
    );
}

#[tokio::test]
async fn scaling_touches_no_running_task_and_a_new_config_replaces_all() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;
    let first = cluster.tasks()[0].0.clone();
    cluster.settled("/web").await;

    let (status, result) = cluster
        .service
        .send(Method::PATCH, "/v2/apps/web", &json!({ "instances": 3 }))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        result["deploymentId"].is_string() && result["version"].is_string(),
        "{result}"
    );
    cluster.running("/web", 3).await;
    assert!(cluster.tasks().iter().any(|(task, _)| *task == first));
    cluster.settled("/web").await;

    let (status, _) = cluster
        .service
        .put("/v2/apps/web", &json!({ "cmd": "sleep 2000" }))
        .await;
    assert_eq!(status, StatusCode::OK);
    let answer = cluster.settled("/web").await;
    assert_eq!(
        (&answer["app"]["instances"], &answer["app"]["cmd"]),
        (&json!(3), &json!("sleep 2000"))
    );
    cluster
        .eventually("the end of the old tasks", |cluster| {
            cluster.tasks().len() == 3
        })
        .await;
    assert!(
        cluster
            .tasks()
            .iter()
            .all(|(task, state)| *task != first && *state == TaskState::Running)
    );

    let replaced = cluster
        .service
        .put("/v2/apps/web?partialUpdate=false", &app("/web"))
        .await;
    assert_eq!(replaced.0, StatusCode::OK);
    let answer = cluster.settled("/web").await;
    assert_eq!(
        (&answer["app"]["instances"], &answer["app"]["cmd"]),
        (&json!(1), &json!("sleep 1000"))
    );
    assert_eq!(answer["app"]["portDefinitions"][0]["port"], 10000);
}

#[tokio::test]
async fn versions_are_listed_shown_and_gone_back_to() {
    let cluster = Cluster::start().await;
    let (_, posted) = cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.settled("/web").await;
    cluster
        .service
        .put(
            "/v2/apps/web",
            &json!({ "cmd": "sleep 2", "labels": { "a": "b" } }),
        )
        .await;
    cluster.settled("/web").await;

    let (_, list) = cluster.service.get("/v2/apps/web/versions").await;
    let versions = texts(&list["versions"]);
    assert_eq!(
        (versions.len(), versions[1]),
        (2, posted["version"].as_str().expect("a version"))
    );
    let (status, former) = cluster
        .service
        .get(&format!("/v2/apps/web/versions/{}", versions[1]))
        .await;
    assert_eq!(
        (status, &former["cmd"], &former["id"]),
        (StatusCode::OK, &json!("sleep 1000"), &json!("/web"))
    );

    let back = json!({ "version": versions[1] });
    assert_eq!(
        cluster.service.put("/v2/apps/web", &back).await.0,
        StatusCode::OK
    );
    let answer = cluster.settled("/web").await;
    assert_eq!(
        (&answer["app"]["cmd"], &answer["app"]["labels"]),
        (&json!("sleep 1000"), &json!({}))
    );

    let unknown = cluster
        .service
        .put(
            "/v2/apps/web",
            &json!({ "version": "2020-01-01T00:00:00.000Z" }),
        )
        .await;
    let message = "App '/web' does not exist in version 2020-01-01T00:00:00.000Z";
    assert_eq!(
        unknown,
        (StatusCode::NOT_FOUND, json!({ "message": message }))
    );
    let unknown = cluster
        .service
        .get("/v2/apps/web/versions/2020-01-01T00:00:00.000Z")
        .await;
    assert_eq!(
        unknown,
        (StatusCode::NOT_FOUND, json!({ "message": message }))
    );
    let no_time = cluster.service.get("/v2/apps/web/versions/yesterday").await;
    assert_eq!(no_time.0, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_restart_replaces_every_task() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;
    let first = cluster.tasks()[0].0.clone();
    cluster.settled("/web").await;

    let (status, result) = cluster
        .service
        .post("/v2/apps/web/restart", &json!({}))
        .await;

    assert_eq!(status, StatusCode::OK);
    assert!(result["deploymentId"].is_string());
    cluster.settled("/web").await;
    cluster
        .eventually("the end of the old task", |cluster| {
            cluster.tasks().len() == 1 && cluster.tasks()[0].0 != first
        })
        .await;
}

#[tokio::test]
async fn a_deleted_app_is_gone_when_its_tasks_are() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;

    let (status, result) = cluster.service.delete("/v2/apps/web").await;

    assert_eq!(status, StatusCode::OK);
    assert!(result["deploymentId"].is_string());
    let gone = (
        StatusCode::NOT_FOUND,
        json!({ "message": "App '/web' does not exist" }),
    );
    assert_eq!(cluster.service.get("/v2/apps/web").await, gone);
    cluster
        .eventually("the end of the task", |cluster| cluster.tasks().is_empty())
        .await;
    cluster
        .until("/v2/deployments", |answer| *answer == json!([]))
        .await;
    cluster
        .until("/v2/tasks", |answer| *answer == json!({ "tasks": [] }))
        .await;
    assert_eq!(
        cluster.service.get("/v2/apps").await.1,
        json!({ "apps": [] })
    );
    assert_eq!(cluster.service.delete("/v2/apps/web").await, gone);
}

#[tokio::test]
async fn lists_are_filtered_and_show_what_is_asked_for() {
    let cluster = Cluster::start().await;
    for (id, cmd, tier) in [
        ("/shop/web", "serve", "front"),
        ("/shop/db", "store", "back"),
        ("/ops", "WATCH", "none"),
    ] {
        let wish =
            json!({ "id": id, "cmd": cmd, "cpus": 0.1, "mem": 16, "labels": { "tier": tier } });
        assert_eq!(
            cluster.service.post("/v2/apps", &wish).await.0,
            StatusCode::CREATED
        );
    }

    for (query, expected) in [
        ("", vec!["/ops", "/shop/db", "/shop/web"]),
        ("?id=SHOP", vec!["/shop/db", "/shop/web"]),
        ("?cmd=watch", vec!["/ops"]),
        (
            "?label=tier%20in%20(front,back)",
            vec!["/shop/db", "/shop/web"],
        ),
        ("?label=tier!=none&id=web", vec!["/shop/web"]),
        ("?label=none", vec![]),
    ] {
        let (status, answer) = cluster.service.get(&format!("/v2/apps{query}")).await;
        let ids: Vec<&str> = answer["apps"]
            .as_array()
            .expect("apps")
            .iter()
            .map(|app| app["id"].as_str().expect("id"))
            .collect();
        assert_eq!((status, ids), (StatusCode::OK, expected), "{query}");
    }
    let (_, below) = cluster.service.get("/v2/apps/shop/*").await;
    assert_eq!(below["*"].as_array().map(Vec::len), Some(2));

    let (_, plain) = cluster.service.get("/v2/apps").await;
    assert_eq!(
        (
            &plain["apps"][0]["tasks"],
            plain["apps"][0]["tasksRunning"].is_u64()
        ),
        (&Value::Null, true)
    );
    cluster.running("/ops", 1).await;
    let (_, full) = cluster
        .service
        .get("/v2/apps?embed=apps.tasks&embed=apps.readiness&embed=apps.taskStats")
        .await;
    assert_eq!(full["apps"][0]["tasks"][0]["appId"], "/ops");
    assert_eq!(full["apps"][0]["readinessCheckResults"], json!([]));
    assert_eq!(
        full["apps"][0]["tasksStats"]["totalSummary"]["stats"]["counts"]["running"],
        1
    );
}

#[tokio::test]
async fn tasks_are_listed_and_killed_by_app_host_and_id() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["instances"] = json!(3);
    cluster.service.post("/v2/apps", &wish).await;
    cluster.running("/web", 3).await;
    cluster.settled("/web").await;

    let (_, list) = cluster.service.get("/v2/tasks?status=running").await;
    assert_eq!(list["tasks"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        cluster.service.get("/v2/tasks?status[]=staging").await.1,
        json!({ "tasks": [] })
    );
    let id = list["tasks"][0]["id"].as_str().expect("an id").to_owned();

    let (status, killed) = cluster
        .service
        .delete(&format!("/v2/apps/web/tasks/{id}"))
        .await;
    assert_eq!(
        (status, killed["task"]["id"].as_str()),
        (StatusCode::OK, Some(&*id))
    );
    let is_replaced = |cluster: &Cluster| {
        cluster.tasks().len() == 3 && cluster.tasks().iter().all(|(task, _)| task.as_str() != id)
    };
    cluster.eventually("a replacement", is_replaced).await;
    cluster.running("/web", 3).await;

    let host = cluster.service.get("/v2/apps/web/tasks").await.1["tasks"][0]["host"].clone();
    let (_, on_host) = cluster
        .service
        .delete(&format!(
            "/v2/apps/web/tasks?host={}",
            host.as_str().expect("a host")
        ))
        .await;
    let on_host = on_host["tasks"].as_array().expect("tasks");
    assert!(!on_host.is_empty() && on_host.iter().all(|task| task["host"] == host));
    cluster.running("/web", 3).await;
    cluster
        .eventually("replacements", |cluster| cluster.tasks().len() == 3)
        .await;
    cluster.running("/web", 3).await;

    let (_, list) = cluster.service.get("/v2/tasks").await;
    let id = list["tasks"][0]["id"].clone();
    let (status, result) = cluster
        .service
        .post("/v2/tasks/delete?scale=true", &json!({ "ids": [id] }))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(result["deploymentId"].is_string(), "{result}");
    let answer = cluster.settled("/web").await;
    assert_eq!(answer["app"]["instances"], 2);
    cluster
        .eventually("one task less", |cluster| cluster.tasks().len() == 2)
        .await;
}

#[tokio::test]
async fn many_apps_are_put_and_patched_at_once() {
    let cluster = Cluster::start().await;

    let (status, result) = cluster
        .service
        .put("/v2/apps", &json!([app("/a"), app("/b")]))
        .await;
    assert_eq!(status, StatusCode::OK, "{result}");
    cluster.running("/a", 1).await;
    cluster.running("/b", 1).await;
    cluster.settled("/a").await;
    cluster.settled("/b").await;

    let patch = json!([{ "id": "/a", "instances": 2 }, { "id": "b", "instances": 0 }]);
    assert_eq!(
        cluster
            .service
            .send(Method::PATCH, "/v2/apps", &patch)
            .await
            .0,
        StatusCode::OK
    );
    cluster.running("/a", 2).await;
    cluster.running("/b", 0).await;
    let patch = json!([{ "id": "/c", "instances": 2 }]);
    let unknown = cluster
        .service
        .send(Method::PATCH, "/v2/apps", &patch)
        .await;
    assert_eq!(
        unknown,
        (
            StatusCode::NOT_FOUND,
            json!({ "message": "App '/c' does not exist" })
        )
    );
    let (status, _) = cluster.service.put("/v2/apps/new", &app("/other")).await;
    assert_eq!(status, StatusCode::CREATED);
    cluster.running("/new", 1).await;
}

#[tokio::test]
async fn many_who_change_one_app_all_have_their_turn() {
    let cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["instances"] = json!(0);
    cluster.service.post("/v2/apps", &wish).await;

    let changes = (0..64).map(|number| {
        let service = &cluster.service;
        async move {
            let label = json!({ "labels": { "by": number.to_string() } });
            service
                .send(Method::PATCH, "/v2/apps/web?force=true", &label)
                .await
        }
    });
    let answers = futures::future::join_all(changes).await;

    for (status, body) in answers {
        assert_eq!(status, StatusCode::OK, "{body}");
    }
}

#[tokio::test]
async fn an_app_too_large_waits_and_the_queue_says_why() {
    let cluster = Cluster::start().await;
    let mut wish = app("/huge");
    wish["cpus"] = json!(64);

    assert_eq!(
        cluster.service.post("/v2/apps", &wish).await.0,
        StatusCode::CREATED
    );

    let summary = |answer: &Value| answer["queue"][0]["processedOffersSummary"].clone();
    let answer = cluster
        .until("/v2/queue?embed=lastUnusedOffers", |answer| {
            summary(answer)["unusedOffersCount"].as_u64() > Some(0)
        })
        .await;
    let entry = &answer["queue"][0];
    assert_eq!(
        (&entry["app"]["id"], &entry["count"], &entry["role"]),
        (&json!("/huge"), &json!(1), &Value::Null),
        "the role only where it is not the framework's"
    );
    assert_eq!(
        entry["delay"],
        json!({ "timeLeftSeconds": 0, "overdue": true })
    );
    let rows = summary(&answer)["rejectSummaryLaunchAttempt"].clone();
    let declined: Vec<&Value> = rows
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["declined"] != 0)
        .map(|row| &row["reason"])
        .collect();
    assert_eq!(declined, ["InsufficientCpus"]);
    assert_eq!(rows.as_array().map(Vec::len), Some(10));
    let unused = &entry["lastUnusedOffers"][0];
    assert_eq!(unused["reason"], json!(["InsufficientCpus"]));
    assert!(
        unused["offer"]["resources"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one["name"] == "cpus"))
    );
    let (_, deployments) = cluster.service.get("/v2/deployments").await;
    let deployment = &deployments[0];
    assert_eq!(
        (&deployment["affectedApps"], &deployment["totalSteps"]),
        (&json!(["/huge"]), &json!(2))
    );
    assert_eq!(
        deployment["currentActions"][0]["action"],
        "ScaleApplication"
    );

    assert_eq!(
        cluster.service.delete("/v2/queue/huge/delay").await.0,
        StatusCode::NO_CONTENT
    );
    let none = cluster.service.delete("/v2/queue//none/delay").await;
    assert_eq!(
        none,
        (
            StatusCode::NOT_FOUND,
            json!({ "message": "Application /none not found in tasks queue." })
        )
    );
}

#[tokio::test]
async fn a_running_deployment_locks_its_apps_and_can_be_cancelled() {
    let cluster = Cluster::start().await;
    let mut wish = app("/huge");
    wish["cpus"] = json!(64);
    let (_, posted) = cluster.service.post("/v2/apps", &wish).await;
    let id = posted["deployments"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    let (status, locked) = cluster
        .service
        .put("/v2/apps/huge", &json!({ "cpus": 0.1 }))
        .await;
    assert_eq!(
        (status, &locked["deployments"]),
        (StatusCode::CONFLICT, &json!([{ "id": id }]))
    );
    let message = locked["message"].as_str().expect("a message");
    assert!(message.starts_with(
        "App is locked by one or more deployments. Override with the option '?force=true'."
    ));

    let cancelled = cluster
        .service
        .delete(&format!("/v2/deployments/{id}?force=true"))
        .await;
    assert_eq!(cancelled, (StatusCode::ACCEPTED, Value::Null));
    let (status, _) = cluster
        .service
        .delete(&format!("/v2/deployments/{id}"))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        cluster
            .service
            .put("/v2/apps/huge?force=True", &json!({ "cpus": 0.1 }))
            .await
            .0,
        StatusCode::OK
    );
    cluster.running("/huge", 1).await;
}

#[tokio::test]
async fn it_says_who_it_is() {
    let cluster = Cluster::start().await;
    let info = cluster
        .until("/v2/info", |info| info["frameworkId"].is_string())
        .await;

    assert_eq!(
        (&info["name"], &info["elected"]),
        (&json!("marathon"), &json!(true))
    );
    for config in ["marathon_config", "zookeeper_config", "http_config"] {
        assert!(info[config].is_object(), "{config}");
    }
    let leader = cluster.service.url.trim_start_matches("http://");
    assert_eq!(
        cluster.service.get("/v2/leader").await,
        (StatusCode::OK, json!({ "leader": leader }))
    );
    let ping = cluster
        .service
        .request(Method::GET, "/ping")
        .send()
        .await
        .expect("an answer");
    assert!(
        ping.headers()["content-type"]
            .to_str()
            .expect("text")
            .starts_with("text/plain")
    );
    assert_eq!(ping.text().await.expect("text"), "pong");
    assert_eq!(cluster.service.get("/health").await.0, StatusCode::OK);
    let (_, metrics) = cluster.service.get("/metrics").await;
    let metrics = metrics.as_str().expect("text");
    assert!(
        metrics.contains("\nmete_services_connected 1\n")
            && metrics.contains("mete_services_event_loop_inputs_total"),
        "{metrics}"
    );
    assert_eq!(
        cluster.service.get("/v2/plugins").await.1,
        json!({ "plugins": [] })
    );
}
