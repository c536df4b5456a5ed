//! Apps with persistent volumes, as they are said and printed. What becomes of them needs a master that carries reservations:
//! see the tests of the core and of whole clusters.

use mete_framework_sdk::testkit::Master;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Cluster, Service, agent, app};

/// A service framework in a role of its own.
async fn cluster() -> Cluster {
    let master = Master::start().await.expect("a port");
    master.add_agent(agent("127.0.0.2"));
    let directory = tempfile::tempdir().expect("a directory");
    let service = Service::start(&master, directory.path(), &["--role=dev"]).await;
    Cluster {
        master,
        service,
        directory,
    }
}

/// Without instances: it is about what is said.
fn resident() -> Value {
    let mut wanted = app("db");
    wanted["instances"] = json!(0);
    wanted["container"] = json!({ "type": "MESOS", "volumes": [
        { "containerPath": "data", "mode": "RW", "persistent": { "size": 100 } },
    ] });
    wanted
}

#[tokio::test]
async fn volumes_bring_their_defaults_and_are_printed_as_marathon_prints_them() {
    let cluster = cluster().await;

    let (status, told) = cluster.service.post("/v2/apps", &resident()).await;

    assert_eq!(status, StatusCode::CREATED, "{told}");
    let volumes = json!([{ "containerPath": "data", "mode": "RW", "persistent": { "type": "root", "size": 100 } }]);
    assert_eq!(told["container"]["volumes"], volumes);
    let residency =
        json!({ "relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER" });
    assert_eq!(told["residency"], residency);
    assert_eq!(told["unreachableStrategy"], "disabled");
    let upgrade = json!({ "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 });
    assert_eq!(told["upgradeStrategy"], upgrade);
    assert_eq!(told["role"], "dev");

    // What was printed may be said again, and only what is said changes.
    let (_, mut shown) = cluster.service.get("/v2/apps/db").await;
    shown["app"]["version"].take();
    let again = cluster.service.put("/v2/apps/db", &shown["app"]).await;
    assert_eq!(again.0, StatusCode::OK, "{}", again.1);
    let upgrade = json!({ "minimumHealthCapacity": 1, "maximumOverCapacity": 0 });
    let change = json!({ "upgradeStrategy": upgrade, "cmd": "serve" });
    let changed = cluster.service.put("/v2/apps/db", &change).await;
    assert_eq!(changed.0, StatusCode::OK, "{}", changed.1);
    let (_, shown) = cluster.service.get("/v2/apps/db").await;
    assert_eq!(shown["app"]["upgradeStrategy"]["minimumHealthCapacity"], 1);
    assert_eq!(shown["app"]["upgradeStrategy"]["maximumOverCapacity"], 0);
    assert_eq!(shown["app"]["residency"], residency);
}

#[tokio::test]
async fn what_instances_hold_may_not_change() {
    let cluster = cluster().await;
    cluster.service.post("/v2/apps", &resident()).await;
    let text = "Resident Tasks may not change resource requirements!";
    let larger = json!({ "type": "MESOS", "volumes": [
        { "containerPath": "data", "mode": "RW", "persistent": { "size": 200 } },
    ] });

    for (change, path, error) in [
        (json!({ "cpus": 2 }), "/cpus", text),
        (json!({ "mem": 1 }), "/mem", text),
        (json!({ "portDefinitions": [] }), "/", text),
        (
            json!({ "container": larger }),
            "/",
            "Persistent volumes can not be changed!",
        ),
        (
            json!({ "unreachableStrategy": { "inactiveAfterSeconds": 1, "expungeAfterSeconds": 2 } }),
            "/unreachableStrategy",
            "unreachableStrategy must be disabled for resident tasks",
        ),
        (
            json!({ "acceptedResourceRoles": ["*", "dev"] }),
            "/acceptedResourceRoles",
            "Resident apps may not define acceptedResourceRoles other than \"*\" (unreserved resources)",
        ),
    ] {
        let (status, answer) = cluster.service.put("/v2/apps/db", &change).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{change}");
        let details = json!([{ "path": path, "errors": [error] }]);
        assert_eq!(answer["details"], details, "{change}");
    }
}
