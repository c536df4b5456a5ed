//! Secrets reach an instance and nothing else; GPUs reach those who ask for them.

use mete_framework_sdk::{Ranges, Resources};
use mete_model::container::{Login, Mount, MountSource, SecretValue};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Cluster, app};
use mete_framework_sdk::testkit::Call;

fn environment(call: &Call) -> Option<std::collections::BTreeMap<String, String>> {
    let Call::Accept { tasks, .. } = call else {
        return None;
    };
    let task = tasks.first()?.as_ref().ok()?;
    Some(task.command.environment.clone())
}

#[tokio::test]
async fn a_secret_is_in_the_task_and_nowhere_else() {
    let cluster = Cluster::with_secrets(&[("db/password", b"hunter2\n".as_slice())]).await;
    let mut wanted = app("/db/web");
    wanted["env"] = json!({ "PASSWORD": { "secret": "pw" }, "PLAIN": "text" });
    wanted["secrets"] = json!({ "pw": { "source": "db/password" } });

    let (status, told) = cluster.service.post("/v2/apps", &wanted).await;

    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(
        (&told["env"], &told["secrets"]),
        (&wanted["env"], &wanted["secrets"])
    );
    let shown = cluster.running("/db/web", 1).await;
    assert_eq!(shown["app"]["env"], wanted["env"]);
    assert!(!shown.to_string().contains("hunter2"));
    let accept = |call: &Call| environment(call).is_some();
    let heard = cluster.master.heard(accept).await.expect("a launch");
    let environment = environment(&heard.call).expect("a task");
    assert_eq!(environment["PASSWORD"], "hunter2");
    assert_eq!(environment["PLAIN"], "text");
}

#[tokio::test]
async fn a_secret_in_a_file_is_in_the_message_to_the_agent_and_nowhere_else() {
    let cluster = Cluster::with_secrets(&[("db/key", b"hunter2\n\xff".as_slice())]).await;
    let mut wanted = app("/db/web");
    let volume = json!({ "containerPath": "/etc/key", "secret": "key" });
    wanted["container"] = json!({ "type": "MESOS", "volumes": [volume] });
    let (status, answer) = cluster.service.post("/v2/apps", &wanted).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        answer["details"],
        json!([{
            "path": "/container/volumes(0)/secret",
            "errors": ["references an undefined secret 'key'"]
        }])
    );
    // The rule over secrets by path is one, wherever they are to be seen.
    wanted["secrets"] = json!({ "key": { "source": "bank/key" } });
    let (_, answer) = cluster.service.post("/v2/apps", &wanted).await;
    assert_eq!(answer["details"][0]["path"], "/secrets/key/source");
    wanted["secrets"] = json!({ "key": { "source": "db/key" } });

    let (status, told) = cluster.service.post("/v2/apps", &wanted).await;

    assert_eq!(status, StatusCode::CREATED, "{told}");
    assert_eq!(told["container"]["volumes"], json!([volume]));
    let shown = cluster.running("/db/web", 1).await;
    assert!(!shown.to_string().contains("hunter2"));
    let accept = |call: &Call| environment(call).is_some();
    let heard = cluster.master.heard(accept).await.expect("a launch");
    let Call::Accept { tasks, .. } = &heard.call else {
        panic!("{heard:?}")
    };
    let task = tasks[0].as_ref().expect("a good one");
    let file = Mount {
        target: "/etc/key".to_owned(),
        source: MountSource::Secret(Some(SecretValue::new(*b"hunter2\n\xff"))),
        read_only: true,
    };
    assert_eq!(task.container.as_ref().expect("one").mounts, [file]);
    // Whoever has the message as it came has it without the secret.
    let original = String::from_utf8_lossy(&task.original).into_owned();
    assert!(original.contains("/etc/key") && !original.contains("hunter2"));
    assert!(!format!("{heard:?}").contains("hunter2"));
}

#[tokio::test]
async fn an_instance_without_its_secret_fails_and_says_which() {
    let cluster = Cluster::start().await;
    let mut wanted = app("web");
    wanted["env"] = json!({ "PASSWORD": { "secret": "pw" } });
    let (status, answer) = cluster.service.post("/v2/apps", &wanted).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        answer["details"],
        json!([{ "path": "/env/PASSWORD/secret", "errors": ["references an undefined secret 'pw'"] }])
    );
    wanted["secrets"] = json!({ "pw": { "source": "env:NOT_THERE" } });

    cluster.service.post("/v2/apps", &wanted).await;

    let failed = |answer: &Value| answer["app"]["lastTaskFailure"]["message"].is_string();
    let answer = cluster.until("/v2/apps/web", failed).await;
    assert_eq!(
        answer["app"]["lastTaskFailure"]["message"],
        "secret 'env:NOT_THERE' of PASSWORD: there is none"
    );
    assert!(cluster.tasks().is_empty());
    cluster.service.delete("/v2/apps/web").await;
    // What was not used of the offers is there for others.
    cluster.service.post("/v2/apps", &app("other")).await;
    cluster.running("/other", 1).await;
}

#[tokio::test]
async fn gpus_are_had_where_there_are_some() {
    let cluster = Cluster::start().await;
    let mut wanted = app("cuda");
    wanted["gpus"] = json!(2);
    cluster.service.post("/v2/apps", &wanted).await;
    let waits = |answer: &Value| answer["queue"][0]["app"]["id"] == "/cuda";
    cluster.until("/v2/queue", waits).await;
    assert!(cluster.tasks().is_empty());

    let mut big = Resources::cpus_mem(4_000, 4_096).with_ports(Ranges::interval(31_000, 31_099));
    big.gpus_milli = 4_000;
    let big = mete_framework_sdk::testkit::Agent::from(big.with_devices());
    cluster.master.add_agent(big.on_host("127.0.0.9"));

    let answer = cluster.running("/cuda", 1).await;
    assert_eq!(answer["app"]["tasks"][0]["host"], "127.0.0.9");
    assert_eq!(answer["app"]["gpus"], 2);
    let docker = json!({ "id": "d", "gpus": 1, "container": { "type": "DOCKER", "docker": { "image": "x" } } });
    let (status, answer) = cluster.service.post("/v2/apps", &docker).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer["details"][0]["path"], "/gpus");
}

#[tokio::test]
async fn a_secret_is_named_only_by_those_of_its_group() {
    let cluster = Cluster::start().await;
    let named = |source: &str, id: &str| {
        let mut wanted = app(id);
        wanted["instances"] = json!(0);
        wanted["secrets"] = json!({ "pw": { "source": source } });
        wanted
    };

    let (status, answer) = cluster
        .service
        .post("/v2/apps", &named("bank/password", "/shop/web"))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        answer["details"],
        json!([{ "path": "/secrets/pw/source", "errors": ["is for apps and pods of /bank only"] }])
    );
    let pod = json!({ "id": "/shop/pod", "secrets": { "pw": { "source": "bank/password" } }, "containers": [
        { "name": "a", "exec": { "command": { "shell": "true" } }, "resources": { "cpus": 0.1, "mem": 16 } }] });
    let (status, answer) = cluster.service.post("/v2/pods", &pod).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer["details"][0]["path"], "/secrets/pw/source");
    let group = json!({ "id": "/shop", "apps": [named("bank/password", "web")] });
    let (status, _) = cluster.service.post("/v2/groups", &group).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

    for (source, id) in [("shop/password", "/shop/web"), ("password", "/shop/other")] {
        let (status, told) = cluster.service.post("/v2/apps", &named(source, id)).await;
        assert_eq!(status, StatusCode::CREATED, "{told}");
    }
}

#[tokio::test]
async fn a_login_for_an_image_is_in_the_message_to_the_agent_and_nowhere_else() {
    let login = br#"{"auths":{"registry:5000":{"auth":"aHVudGVyMg=="}}}"#;
    let cluster = Cluster::with_secrets(&[("db/config.json", login.as_slice())]).await;
    let mut wanted = app("/db/web");
    let docker = json!({ "image": "registry:5000/x", "pullConfig": { "secret": "pull" } });
    wanted["container"] = json!({ "type": "MESOS", "docker": docker });
    wanted["secrets"] = json!({ "other": { "source": "db/config.json" } });
    let (_, answer) = cluster.service.post("/v2/apps", &wanted).await;
    let fault = &answer["details"][0];
    assert_eq!(fault["path"], "/container/docker/pullConfig/secret");
    assert_eq!(fault["errors"][0], "references an undefined secret 'pull'");
    wanted["secrets"] = json!({ "pull": { "source": "db/config.json" } });
    wanted["container"]["type"] = json!("DOCKER");
    let (_, answer) = cluster.service.post("/v2/apps", &wanted).await;
    let fault = &answer["details"][0];
    assert_eq!(fault["errors"][0], "is for containers of type MESOS");
    wanted["container"]["type"] = json!("MESOS");

    let (status, told) = cluster.service.post("/v2/apps", &wanted).await;

    assert_eq!(status, StatusCode::CREATED, "{told}");
    let shown = &told["container"]["docker"]["pullConfig"];
    assert_eq!(*shown, docker["pullConfig"]);
    let accept = |call: &Call| environment(call).is_some();
    let heard = cluster.master.heard(accept).await.expect("a launch");
    let Call::Accept { tasks, .. } = &heard.call else {
        panic!("{heard:?}")
    };
    let task = tasks[0].as_ref().expect("a good one");
    let container = task.container.as_ref().expect("one");
    let own = Login::Own(Some(SecretValue::new(*login)));
    assert!(container.login == own, "the login is told");
    assert!(!format!("{heard:?}").contains("aHVudGVyMg"));
}
