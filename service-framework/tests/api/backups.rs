//! All that is known, in one file: taken while it goes on or afterwards, put back, and read by all later programs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mete_daemon::exit::Exit;
use mete_daemon::store::backup::{Header, Reader, Writer};
use mete_framework_sdk::testkit::{Master, Refusal};
use mete_framework_sdk::{TaskState, TaskStatus};
use mete_service_framework::backup::{self, Error, Existing, Incoming};
use mete_service_framework_core::record::FORMAT;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Cluster, Service, app};

/// The backup that a running service framework gives.
async fn fetched(service: &Service, to: &Path) -> backup::Contents {
    let request = service.request(Method::GET, "/v2/backup");
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let mut incoming = Incoming::begin(to).expect("a file");
    while let Some(piece) = answer.chunk().await.expect("all of it") {
        incoming.piece(&piece).expect("written");
    }
    incoming.finish().expect("whole")
}

/// The error with its causes, as people read it.
fn told(error: &Error) -> String {
    mete_daemon::chain(error)
}

#[tokio::test]
async fn what_runs_is_adopted_by_a_restored_framework() {
    let mut cluster = Cluster::start().await;
    let mut wish = app("/web");
    wish["instances"] = json!(2);
    cluster.service.post("/v2/apps", &wish).await;
    cluster.running("/web", 2).await;
    let before = cluster.settled("/web").await;
    let framework = cluster.service.get("/v2/info").await.1["frameworkId"].clone();
    let tasks = cluster.tasks();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let file = elsewhere.path().join("services.backup");

    let contents = fetched(&cluster.service, &file).await;
    assert_eq!(
        contents.framework().map(Value::from),
        Some(framework.clone())
    );
    let mode = fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "apps have passwords in variables");
    // Later than the backup: nobody knows of it afterwards.
    let scaled = json!({ "instances": 3 });
    cluster.service.put("/v2/apps/web", &scaled).await;
    cluster.running("/web", 3).await;
    cluster.service.stop().await;
    let lost = fs::read_dir(cluster.directory.path()).expect("a directory");
    for file in lost {
        fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    let restored = backup::restore(&file, cluster.directory.path(), Existing::Refuse).await;
    assert_eq!(restored.expect("restored"), contents);
    cluster.service = Service::start(&cluster.master, cluster.directory.path(), &[]).await;

    let after = cluster.running("/web", 2).await;
    assert_eq!(after["app"]["version"], before["app"]["version"]);
    let info = cluster.service.get("/v2/info").await.1;
    assert_eq!(info["frameworkId"], framework);
    cluster
        .eventually("the end of the third", |cluster| cluster.tasks().len() == 2)
        .await;
    let runs = |task| cluster.tasks().contains(&(task, TaskState::Running));
    assert!(tasks.into_iter().all(|(task, _)| runs(task)));
    assert_eq!(cluster.kills(), 1, "only what the backup does not know");
}

#[tokio::test]
async fn a_backup_of_a_state_directory_is_that_of_the_daemon_that_had_it() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/web")).await;
    cluster.running("/web", 1).await;
    cluster.settled("/web").await;
    let Cluster {
        service, directory, ..
    } = cluster;
    let (online, offline) = (
        directory.path().join("online"),
        directory.path().join("offline"),
    );
    let running = fetched(&service, &online).await;
    let locked = backup::save(directory.path(), &offline).await;
    let locked = locked.expect_err("the daemon has it");
    assert_eq!(Exit::of(&locked), Exit::Store);
    service.stop().await;

    let ended = backup::save(directory.path(), &offline)
        .await
        .expect("saved");

    assert_eq!(ended.entries, running.entries);
    assert_eq!(ended.framework(), running.framework());
    assert_eq!(entries(&online), entries(&offline));
    let empty = tempfile::tempdir().expect("a directory");
    let nothing = backup::save(empty.path(), &offline).await;
    assert!(told(&nothing.expect_err("nothing there")).starts_with("there is no store"));
    assert_eq!(fs::read_dir(empty.path()).expect("a directory").count(), 0);
}

/// Keys and values of a backup.
fn entries(file: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let file = fs::File::open(file).expect("a file");
    let (mut reader, _) = Reader::begin(file).expect("a backup");
    std::iter::from_fn(|| reader.entry().expect("whole")).collect()
}

/// A backup of these entries.
fn written(path: &Path, of: &str, entries: &[(&str, &str)]) {
    let header = Header {
        of: of.to_owned(),
        program: "x".to_owned(),
        time: "x".to_owned(),
        about: std::collections::BTreeMap::new(),
    };
    let (mut writer, mut file) = Writer::begin(&header);
    let entry = |(key, value): &(&str, &str)| (key.as_bytes().into(), value.as_bytes().into());
    let entries: Vec<_> = entries.iter().map(entry).collect();
    file.extend(writer.entries(&entries).expect("small"));
    file.extend(writer.end());
    fs::write(path, file).expect("written");
}

#[tokio::test]
async fn what_is_no_whole_backup_of_this_is_refused_and_nothing_is_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, state) = (directory.path().join("f"), directory.path().join("state"));
    let refused = async || {
        let refused = backup::restore(&file, &state, Existing::Replace).await;
        assert!(!state.exists());
        told(&refused.expect_err("refused"))
    };
    let good = [("framework", "\x01{\"id\":\"x-1\"}")];

    written(&file, "services", &good);
    let mut bytes = fs::read(&file).expect("read");
    bytes.truncate(bytes.len() - 1);
    fs::write(&file, &bytes).expect("written");
    assert!(refused().await.ends_with("it is cut off after 1 entries"));
    fs::write(&file, "apps:\n").expect("written");
    assert!(refused().await.ends_with("it is no backup of Mete"));
    written(&file, "master", &good);
    assert!(
        refused()
            .await
            .ends_with("is of \"master\", not of \"services\"")
    );
    written(&file, "services", &[("app/web", "\x01nonsense")]);
    assert!(
        refused()
            .await
            .contains("record \"app/web\" cannot be read")
    );
    written(&file, "services", &[("framework", "\x7f{}")]);
    let later = format!(
        "its format is 127, and {FORMAT} is the last that this program reads: a later program wrote it"
    );
    assert!(refused().await.ends_with(&later));
    fs::remove_file(&file).expect("removed");
    assert!(refused().await.contains("cannot be read"));
}

#[tokio::test]
async fn a_store_that_is_there_is_replaced_only_by_name_and_kept_aside() {
    let cluster = Cluster::start().await;
    cluster.service.post("/v2/apps", &app("/old")).await;
    cluster.running("/old", 1).await;
    let state = cluster.directory.path();
    let elsewhere = tempfile::tempdir().expect("a directory");
    let file = elsewhere.path().join("f");
    written(&file, "services", &[("framework", "\x01{\"id\":\"x-1\"}")]);
    let store = state.join("services.redb");

    let refused = backup::restore(&file, state, Existing::Refuse).await;
    let text = told(&refused.expect_err("something is there"));
    assert!(
        text.contains("is not empty: it holds \"services.redb\""),
        "{text}"
    );
    let refused = backup::restore(&file, state, Existing::Replace).await;
    let locked = refused.expect_err("a daemon has it");
    assert_eq!(Exit::of(&locked), Exit::Store);
    let Cluster {
        service, directory, ..
    } = cluster;
    service.stop().await;
    let replaced = backup::restore(&file, state_of(&directory), Existing::Replace).await;
    assert_eq!(replaced.expect("restored").entries, 1);

    let kept = elsewhere.path().join("kept");
    fs::create_dir(&kept).expect("made");
    let aside = state_of(&directory).join("services.redb.replaced");
    fs::rename(aside, kept.join("services.redb")).expect("kept");
    let old = backup::save(&kept, &elsewhere.path().join("old")).await;
    assert!(old.expect("whole").entries > 1);
    // One that is damaged can be replaced too.
    fs::write(&store, "nonsense").expect("written");
    let replaced = backup::restore(&file, state_of(&directory), Existing::Replace).await;
    replaced.expect("restored");
    let names = fs::read_dir(state_of(&directory)).expect("a directory");
    let names: BTreeSet<_> = names.map(|f| f.expect("a file").file_name()).collect();
    assert_eq!(
        names,
        BTreeSet::from(["services.redb".into(), "services.redb.replaced".into()])
    );
}

fn state_of(directory: &tempfile::TempDir) -> &Path {
    directory.path()
}

fn formats() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats")
}

/// What a service framework says of what it knows.
async fn said(service: &Service) -> Value {
    let groups = "/v2/groups?embed=group.groups&embed=group.apps&embed=group.pods";
    let (_, apps) = service.get("/v2/apps?embed=apps.lastTaskFailure").await;
    let failures = apps["apps"].as_array().expect("apps").iter();
    let failures =
        failures.map(|app| (app["id"].as_str().expect("an id"), &app["lastTaskFailure"]));
    let failures: Value = failures.map(|(id, f)| (id.to_owned(), f.clone())).collect();
    let (_, tasks) = service.get("/v2/apps/full/web/tasks").await;
    let tasks = tasks["tasks"].as_array().expect("tasks").iter();
    let tasks: Vec<Value> = tasks
        .map(|task| json!([task["id"], task["host"], task["ports"], task["startedAt"]]))
        .collect();
    let (_, deployments) = service.get("/v2/deployments").await;
    let deployments = deployments.as_array().expect("deployments").iter();
    let deployments: Vec<Value> = deployments
        .map(|one| json!([one["id"], one["version"], one["affectedApps"], one["steps"]]))
        .collect();
    json!({
        "frameworkId": service.get("/v2/info").await.1["frameworkId"],
        "groups": service.get(groups).await.1,
        "groupVersions": service.get("/v2/groups/versions").await.1,
        "appVersions": service.get("/v2/apps/full/web/versions").await.1,
        "deployments": deployments,
        "failures": failures,
        "tasks": tasks,
    })
}

/// Everything that was said before is said still; a later program may say more.
fn assert_holds(before: &Value, now: &Value, path: &str) {
    match before {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_holds(value, &now[name], &format!("{path}/{name}"));
            }
        }
        Value::Array(values) => {
            assert_eq!(
                values.len(),
                now.as_array().map_or(0, Vec::len),
                "{path}: {now}"
            );
            for (at, value) in values.iter().enumerate() {
                assert_holds(value, &now[at], &format!("{path}/{at}"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            assert_eq!(before, now, "{path}");
        }
    }
}

#[tokio::test]
async fn records_of_every_format_are_read_by_this_program() {
    if std::env::var_os("METE_WRITE_FORMAT").is_some() {
        write_format().await;
    }
    for format in 1..=FORMAT {
        let file = formats().join(format!("{format}.backup"));
        let kinds: BTreeSet<String> = entries(&file)
            .into_iter()
            .map(|(key, value)| {
                assert_eq!(value[0], format, "{}", String::from_utf8_lossy(&key));
                let key = String::from_utf8(key).expect("text");
                key.split('/').next().unwrap_or_default().to_owned()
            })
            .collect();
        let all = [
            "app",
            "deployment",
            "failure",
            "former",
            "framework",
            "group",
            "instance",
            "proxy",
            "version",
        ];
        assert_eq!(kinds, all.map(str::to_owned).into(), "format {format}");
        let before = fs::read(formats().join(format!("{format}.json"))).expect("a file");
        let before: Value = serde_json::from_slice(&before).expect("JSON");
        let master = Master::start().await.expect("a port");
        master.refuse(Some(Refusal::Unavailable("not yet".to_owned())));
        let directory = tempfile::tempdir().expect("a directory");
        let restored = backup::restore(&file, directory.path(), Existing::Refuse).await;
        restored.expect("restored");

        // What an older program stored, and then what this one has made of it.
        for _ in 0..2 {
            let service = Service::start(&master, directory.path(), &[]).await;
            assert_holds(&before, &said(&service).await, "");
            service.stop().await;
            let now = directory.path().join("now.backup");
            backup::save(directory.path(), &now).await.expect("saved");
            assert!(entries(&now).iter().all(|(_, value)| value[0] == FORMAT));
        }
    }
}

/// Writes the files of this program's format: all kinds of records, with all that they can hold.
async fn write_format() {
    let mut cluster = Cluster::start().await;
    cluster.service.stop().await;
    let secrets = tempfile::tempdir().expect("a directory");
    fs::write(secrets.path().join("password"), "hunter2").expect("written");
    let secrets = format!("--secrets-dir={}", secrets.path().display());
    let state = cluster.directory.path();
    cluster.service = Service::start(&cluster.master, state, &[&secrets]).await;
    let service = &cluster.service;
    let body = json!({ "id": "/full", "dependencies": [], "groups": [{ "id": "db", "apps": [app("sql")] }],
        "apps": [full_app()], "pods": [full_pod()] });
    let (status, told) = service.post("/v2/groups", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{told}");
    let healthy = async || {
        let settled = |told: &Value| told["app"]["deployments"] == json!([]);
        while !settled(&service.get("/v2/apps/full/web").await.1) {
            for (task, _) in cluster.tasks() {
                let passes = |status: &mut TaskStatus| status.healthy = Some(true);
                cluster.master.report(&task, TaskState::Running, passes);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    healthy().await;
    let (status, told) = service
        .put(
            "/v2/apps/full/web",
            &json!({ "labels": { "second": "version" } }),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{told}");
    healthy().await;
    let mut fails = app("/full/fails");
    fails["env"] = json!({ "A": { "secret": "none" } });
    fails["secrets"] = json!({ "none": { "source": "env:NONE" } });
    fails["backoffSeconds"] = json!(3600);
    fails["maxLaunchDelaySeconds"] = json!(3600);
    service.post("/v2/apps", &fails).await;
    let failed = |told: &Value| told["app"]["lastTaskFailure"].is_object();
    cluster.until("/v2/apps/full/fails", failed).await;
    let mut waits = app("/full/waits");
    waits["cpus"] = json!(1_000);
    service.post("/v2/apps", &waits).await;
    let proxy = json!({ "epoch": service.get("/v2/backends").await.1["epoch"], "version": 1, "draining": [] });
    let (status, told) = service.put("/v2/backends/acks/edge", &proxy).await;
    assert!(status.is_success(), "{told}");
    fs::create_dir_all(formats()).expect("made");
    let file = formats().join(format!("{FORMAT}.backup"));
    fetched(service, &file).await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
    let text = serde_json::to_string_pretty(&said(service).await).expect("JSON");
    fs::write(formats().join(format!("{FORMAT}.json")), text + "\n").expect("written");
}

fn full_app() -> Value {
    json!({
        "id": "web", "cmd": "serve", "cpus": 0.1, "mem": 16, "disk": 1, "instances": 2, "user": "www",
        "resourceLimits": { "cpus": 1, "mem": "unlimited" },
        "env": { "A": "b", "PASSWORD": { "secret": "pw" } },
        "secrets": { "pw": { "source": "password" } },
        "labels": { "HAPROXY_0_MODE": "http" },
        "container": { "type": "MESOS", "docker": { "image": "web:1", "forcePullImage": true },
            "volumes": [{ "containerPath": "/data", "hostPath": "/srv", "mode": "RO" }],
            "portMappings": [{ "containerPort": 80, "hostPort": 0, "servicePort": 10_123, "name": "http",
                "protocol": "tcp", "labels": { "VIP_0": "a:80" } }] },
        "networks": [{ "mode": "container/bridge" }],
        "constraints": [["hostname", "MAX_PER", "2"], ["@zone", "UNLIKE", "z.*"]],
        "acceptedResourceRoles": ["*"],
        "dependencies": ["/full/db"],
        "healthChecks": [{ "protocol": "MESOS_HTTP", "path": "/health", "portIndex": 0, "delaySeconds": 1,
            "gracePeriodSeconds": 5, "intervalSeconds": 2, "timeoutSeconds": 1, "maxConsecutiveFailures": 2 }],
        "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5 },
        "backoffSeconds": 2, "backoffFactor": 1.5, "maxLaunchDelaySeconds": 30,
        "taskKillGracePeriodSeconds": 7, "killSelection": "OLDEST_FIRST",
        "unreachableStrategy": { "inactiveAfterSeconds": 10, "expungeAfterSeconds": 100 },
        "fetch": [{ "uri": "http://127.0.0.1:9/x.tgz", "extract": false, "executable": true, "cache": true,
            "destPath": "x" }],
    })
}

fn full_pod() -> Value {
    json!({
        "id": "pod", "labels": { "team": "blue" }, "user": "www",
        "environment": { "A": "b", "PASSWORD": { "secret": "pw" } },
        "secrets": { "pw": { "source": "full/password" } },
        "containers": [{
            "name": "web", "exec": { "command": { "argv": ["serve", "-x"] }, "overrideEntrypoint": true },
            "resources": { "cpus": 0.1, "mem": 16, "disk": 1, "gpus": 0 },
            "image": { "kind": "DOCKER", "id": "web:1", "forcePull": true },
            "endpoints": [{ "name": "http", "hostPort": 0, "protocol": ["tcp"], "labels": { "VIP_0": "a:80" } }],
            "environment": { "C": "d" }, "user": "nobody",
            "healthCheck": { "http": { "endpoint": "http", "path": "/health", "scheme": "HTTP" },
                "gracePeriodSeconds": 10, "intervalSeconds": 5, "maxConsecutiveFailures": 2, "timeoutSeconds": 3,
                "delaySeconds": 0 },
            "volumeMounts": [{ "name": "data", "mountPath": "data", "readOnly": true }],
            "artifacts": [{ "uri": "http://127.0.0.1:9/x.tgz", "extract": false, "executable": false,
                "cache": true, "destPath": "x" }],
            "labels": { "tier": "1" }, "lifecycle": { "killGracePeriodSeconds": 2.5 },
        }],
        "volumes": [{ "name": "data" }, { "name": "host", "host": "/etc" }],
        "networks": [{ "mode": "host" }],
        "scaling": { "kind": "fixed", "instances": 0 },
        "scheduling": {
            "backoff": { "backoff": 0.5, "backoffFactor": 2, "maxLaunchDelay": 60 },
            "upgrade": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 },
            "placement": { "constraints": [{ "fieldName": "hostname", "operator": "UNIQUE" }] },
            "killSelection": "OLDEST_FIRST",
            "unreachableStrategy": { "inactiveAfterSeconds": 10, "expungeAfterSeconds": 100 },
        },
    })
}
