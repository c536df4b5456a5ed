//! Persistent volumes of a whole agent: written by one task, read by the next, erased on order, with kills in between.

use std::fs;
use std::path::PathBuf;

use mete_model::container::{ContainerKind, Mount, MountSource, Network};
use mete_model::{
    ContainerSpec, Reservation, ReservationKind, Resources, Role, Tag, TaskSpec, TaskState, Volume,
    VolumeName,
};
use mete_proto::mete::v1 as wire;
use wire::agent_message::Message as Said;
use wire::master_message::Message;

use super::engine::with_engine;
use super::groups;
use super::master::{Link, task};
use super::world::{Scene, Work, json};
use crate::containers::possible;
use crate::dockerd::IMAGE;
use crate::support::{soon, until};

/// Disk of a role, with a volume on it.
pub(super) fn volume(role: &str, path: &str, read_only: bool) -> Resources {
    let tag = Tag {
        reservations: vec![Reservation {
            role: Role::new(role).unwrap(),
            kind: ReservationKind::Dynamic,
            principal: None,
            labels: Vec::new(),
        }],
        volume: Some(Volume {
            id: "data".into(),
            container_path: path.into(),
            read_only,
            principal: None,
        }),
        ..Tag::default()
    };
    let mut disk = Resources::none();
    disk.disk_milli = 8_000;
    Resources::none().with_part(tag, disk)
}

fn holding(id: &str, line: &str, volume: &Resources) -> TaskSpec {
    let mut spec = task(id, line);
    spec.resources.add(volume);
    spec
}

fn place(work: &Work, role: &str) -> PathBuf {
    let work = work.path.canonicalize().unwrap();
    work.join("volumes/roles").join(role).join("data")
}

async fn erase(link: &Link, role: &str) {
    let name = VolumeName::new(Role::new(role).unwrap(), "data").unwrap();
    let volumes = vec![(&name).into()];
    link.say(Message::EraseVolumes(wire::EraseVolumes { volumes }))
        .await;
}

async fn erased(link: &mut Link) -> wire::VolumeErased {
    loop {
        match link.next().await {
            Some(Said::VolumeErased(erased)) => return erased,
            Some(Said::Pong(_)) => {}
            other => panic!("an answer is awaited, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_a_task_leaves_on_a_volume_the_next_one_finds_even_after_a_crash() {
    let mut scene = Scene::with(&[]).await;
    let mine = volume("prod/db", "var/data", false);

    scene
        .link
        .run(&holding("one", "echo kept > var/data/file", &mine))
        .await;
    scene.link.until(TaskState::Finished).await;
    let mut scene = scene.again(&[]).await;
    scene
        .link
        .run(&holding("two", "cat var/data/file", &mine))
        .await;
    scene.link.until(TaskState::Finished).await;
    scene
        .link
        .run(&holding(
            "other",
            "ls var/data",
            &volume("prod", "var/data", false),
        ))
        .await;
    scene.link.until(TaskState::Finished).await;

    assert_eq!(scene.work.said_now("two", "stdout"), "kept\n");
    assert_eq!(
        scene.work.said_now("other", "stdout"),
        "",
        "a volume of its own"
    );
    let file = place(&scene.work, "prod db").join("file");
    assert_eq!(fs::read_to_string(file).unwrap(), "kept\n");
    let port = scene.port;
    let (_, shown) = json(port, "/v1/volumes", &[]).await;
    let shown = &shown["volumes"][1];
    assert_eq!(
        (&shown["role"], &shown["id"]),
        (&"prod/db".into(), &"data".into())
    );
    assert_eq!(shown["size_bytes"], 8 << 20);
    assert!(shown["used_bytes"].as_u64() > Some(0), "{shown}");
    let (_, state) = json(port, "/state", &[]).await;
    assert_eq!(state["volumes"][1]["state"], "kept");
}

#[tokio::test]
async fn a_destroyed_volume_is_gone_when_the_agent_says_so_whoever_was_killed() {
    let mut scene = Scene::with(&[]).await;
    let mine = volume("db", "data", false);
    scene
        .link
        .run(&holding("t", "echo x > data/file; sleep 1000", &mine))
        .await;
    scene.link.until(TaskState::Running).await;
    let place = place(&scene.work, "db");
    until(|| place.join("file").exists()).await;

    erase(&scene.link, "db").await;
    scene.link.run(&holding("late", "true", &mine)).await;
    let refused = scene.link.until(TaskState::Failed).await;
    assert!(place.join("file").exists(), "a task holds it");
    let mut scene = scene.again(&[]).await;
    scene.link.kill("t").await;
    scene.link.until(TaskState::Killed).await;
    let answer = erased(&mut scene.link).await;

    assert_eq!(
        refused.message.as_deref(),
        Some("volume db: data was destroyed and is being erased")
    );
    assert_eq!((answer.volume.id.as_str(), answer.failure), ("data", None));
    assert!(!place.exists());
    erase(&scene.link, "db").await;
    assert_eq!(
        erased(&mut scene.link).await.failure,
        None,
        "nothing is left twice"
    );
    scene.link.run(&holding("new", "ls -A data", &mine)).await;
    scene.link.until(TaskState::Finished).await;
    assert_eq!(scene.work.said_now("new", "stdout"), "");
}

#[tokio::test]
async fn a_container_sees_its_volume_where_it_wants_it() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let inside = |id: &str, line: &str, volume: &Resources, image: Option<&str>| {
        let mut spec = holding(id, line, volume);
        spec.container = Some(Box::new(ContainerSpec {
            image: image.map(str::to_owned),
            hostname: Some("inside".into()),
            network: mete_model::container::Network::None,
            ..ContainerSpec::default()
        }));
        spec
    };

    let writes = inside(
        "writes",
        "id -u; echo from inside > /srv/data/file",
        &volume("db", "/srv/data", false),
        Some("busybox"),
    );
    let reads = inside(
        "reads",
        "cat data/file; echo x > data/file || echo read only",
        &volume("db", "data", true),
        None,
    );
    for spec in [&writes, &reads] {
        scene.link.run(spec).await;
        scene.link.until(TaskState::Finished).await;
    }

    let said = scene.work.said_now("reads", "stdout");
    assert_eq!(said, "from inside\nread only\n");
}

/// A task whose container sees these paths of its sandbox besides.
fn seeing(id: &str, line: &str, volume: &Resources, paths: &[(&str, MountSource)]) -> TaskSpec {
    let mut spec = holding(id, line, volume);
    let mounts = paths.iter().map(|(target, source)| Mount {
        target: (*target).into(),
        source: source.clone(),
        read_only: false,
    });
    spec.container = Some(Box::new(ContainerSpec {
        image: Some("busybox".into()),
        mounts: mounts.collect(),
        ..ContainerSpec::default()
    }));
    spec
}

#[tokio::test]
async fn a_path_of_the_sandbox_that_leads_to_a_volume_means_the_volume() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let mine = volume("db", "pgdata", false);
    let sandbox = |path: &str| MountSource::Sandbox(path.into());
    let paths = [
        ("/var/lib/pg", sandbox("./pgdata/")),
        ("/below", sandbox("pgdata/sub/dir")),
        ("/all", sandbox(".")),
    ];
    let line = "cat /var/lib/pg/log; echo y >> /var/lib/pg/log; echo b > /below/b; cat pgdata/log /all/pgdata/sub/dir/b";

    scene.link.run(&seeing("one", line, &mine, &paths)).await;
    scene.link.until(TaskState::Finished).await;
    let mut scene = scene.again(&[]).await;
    scene.link.run(&seeing("two", line, &mine, &paths)).await;
    scene.link.until(TaskState::Finished).await;
    let mut bare = seeing(
        "bare",
        "cat other/log",
        &mine,
        &[("other", sandbox("pgdata"))],
    );
    bare.container.as_mut().unwrap().image = None;
    scene.link.run(&bare).await;
    scene.link.until(TaskState::Finished).await;
    let reads = volume("db", "pgdata", true);
    let line = "echo z > /var/lib/pg/log || echo read only";
    scene
        .link
        .run(&seeing("reads", line, &reads, &paths[..1]))
        .await;
    scene.link.until(TaskState::Finished).await;

    assert_eq!(scene.work.said_now("one", "stdout"), "y\nb\n");
    assert_eq!(scene.work.said_now("two", "stdout"), "y\ny\ny\nb\n");
    assert_eq!(scene.work.said_now("bare", "stdout"), "y\ny\n");
    assert_eq!(scene.work.said_now("reads", "stdout"), "read only\n");
    let log = place(&scene.work, "db").join("log");
    assert_eq!(fs::read_to_string(log).unwrap(), "y\ny\n");
}

#[tokio::test]
async fn an_engine_too_mounts_the_volume_that_a_path_of_the_sandbox_leads_to() {
    let Some((_engine, mut scene)) = with_engine(&[]).await else {
        return;
    };
    let mine = volume("db", "pgdata", false);
    let paths = [
        ("/var/lib/pg", MountSource::Sandbox("pgdata".into())),
        ("/all", MountSource::Sandbox(".".into())),
    ];
    let line =
        "cat /var/lib/pg/log; echo y >> /var/lib/pg/log; cat /all/pgdata/log; hostname > /all/name";

    for id in ["one", "two"] {
        let mut spec = seeing(id, line, &mine, &paths);
        let container = spec.container.as_mut().unwrap();
        container.kind = ContainerKind::Docker;
        container.image = Some(IMAGE.into());
        container.hostname = Some("engine".into());
        scene.link.run(&spec).await;
        scene.link.until(TaskState::Finished).await;
    }

    assert_eq!(scene.work.said_now("two", "stdout"), "y\ny\ny\n");
    assert_eq!(scene.work.said_now("two", "name"), "engine\n");
    let log = place(&scene.work, "db").join("log");
    assert_eq!(fs::read_to_string(log).unwrap(), "y\ny\n");
    scene.end().await;
}

#[tokio::test]
async fn tasks_of_a_group_find_the_volume_of_their_executor_below_its_sandbox() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let mut pod = groups::executor(Network::Host);
    pod.resources.add(&volume("db", "data", false));
    let parent = [("/srv", MountSource::Parent("data".into()))];
    let none = Resources::none();

    for (writer, reader) in [("w1", "r1"), ("w2", "r2")] {
        let writes = seeing(writer, "echo y >> /srv/log", &none, &parent);
        let reads = seeing(reader, "cat /srv/log; sleep 1000", &none, &parent);
        let begun = [(writer, TaskState::Finished), (reader, TaskState::Running)];
        groups::run(&scene.link, &pod, &[groups::init(writes), reads]).await;
        groups::heard(&mut scene.link, &begun).await;
        let other = holding("other", "true", &volume("db", "data", false));
        scene.link.run(&other).await;
        let refused = scene.link.until(TaskState::Failed).await;
        let said = refused.message.unwrap();
        assert_eq!(said, "volume db: data is held by executor pod");
        scene.link.kill(reader).await;
        groups::heard(&mut scene.link, &[(reader, TaskState::Killed)]).await;
    }

    let log = place(&scene.work, "db").join("log");
    assert_eq!(fs::read_to_string(log).unwrap(), "y\ny\n");
}

#[tokio::test]
async fn mounts_further_in_are_not_hidden_and_dockers_kind_has_its_directories_made() {
    if !possible() {
        return;
    }
    let work = Work::new();
    let root = work.beside().join("allowed");
    fs::create_dir(&root).unwrap();
    let option = format!("--volume-root={}", root.display());
    let mut scene = Scene::in_work(work, &[&option]).await;
    let host = |path: &str| MountSource::Host(root.join(path).display().to_string());
    let paths = [
        ("/data/sub/db", MountSource::Sandbox("db".into())),
        ("/data/sub", host("new/sub")),
        ("/data", host("new/outer")),
    ];
    let line = "echo d > /data/sub/db/f; echo s > /data/sub/f; echo o > /data/f";
    let mut spec = seeing("docker", line, &Resources::none(), &paths);
    scene.link.run(&spec).await;
    let failed = scene.link.until(TaskState::Failed).await;
    let message = failed.message.unwrap();
    assert!(message.contains("No such file"), "{message}");

    spec.container.as_mut().unwrap().kind = ContainerKind::Docker;
    spec.id = "again".parse().unwrap();
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Finished).await;

    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert_eq!(text("new/sub/f"), "s\n");
    assert_eq!(text("new/outer/f"), "o\n");
    assert_eq!(scene.work.said_now("again", "db/f"), "d\n");
}

#[tokio::test]
async fn a_volume_by_name_is_there_for_whoever_names_it_in_a_container_or_on_an_engine() {
    let Some((_engine, mut scene)) = with_engine(&[]).await else {
        return;
    };
    let named = [("/data", MountSource::Named("my-data".into()))];
    let line = "echo $MESOS_TASK_ID >> /data/log; cat /data/log";

    let mut own = seeing("own", line, &Resources::none(), &named);
    own.command.user = Some("4444".into());
    scene.link.run(&own).await;
    scene.link.until(TaskState::Finished).await;
    let mut on_engine = seeing("engine", line, &Resources::none(), &named);
    let container = on_engine.container.as_mut().unwrap();
    container.kind = ContainerKind::Docker;
    container.image = Some(IMAGE.into());
    scene.link.run(&on_engine).await;
    scene.link.until(TaskState::Finished).await;

    assert_eq!(scene.work.said_now("own", "stdout"), "own\n");
    assert_eq!(scene.work.said_now("engine", "stdout"), "own\nengine\n");
    scene.end().await;
}

/// Removes a volume that is kept by name: the status, and why not.
async fn remove_named(port: i32, name: &str) -> (u16, String) {
    let client = mete_daemon::http_client::plain().build().unwrap();
    let url = format!("http://127.0.0.1:{port}/v1/volumes?name={name}");
    let answer = soon(client.delete(url).send()).await.unwrap();
    (answer.status().as_u16(), soon(answer.text()).await.unwrap())
}

#[tokio::test]
async fn a_volume_by_name_is_told_and_removed_when_no_task_names_it() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let port = scene.port;
    let named = [("/data", MountSource::Named("my-data".into()))];
    let line = "echo kept > /data/log; exec sleep 1000";
    scene
        .link
        .run(&seeing("holder", line, &Resources::none(), &named))
        .await;
    scene.link.until(TaskState::Running).await;

    let (status, why) = remove_named(port, "my-data").await;
    assert_eq!(status, 409, "{why}");
    let (_, told) = json(port, "/v1/volumes", &[]).await;
    let told = &told["named"][0];
    assert_eq!(told["name"], "my-data");
    assert_eq!(told["tasks"], serde_json::json!(["holder"]));
    let place = std::path::PathBuf::from(told["path"].as_str().unwrap());
    until(|| place.join("log").exists()).await;
    scene.link.kill("holder").await;
    scene.link.until(TaskState::Killed).await;
    let (status, why) = remove_named(port, "my-data").await;

    assert_eq!(status, 200, "{why}");
    assert!(!place.exists());
    assert_eq!(remove_named(port, "my-data").await.0, 404);
    let (_, told) = json(port, "/v1/volumes", &[]).await;
    assert_eq!(told["named"], serde_json::json!([]));
}

#[tokio::test]
async fn a_path_of_a_group_that_leads_to_another_task_is_refused() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let pod = groups::executor(Network::Host);
    for path in ["tasks/holder/data", "./containers"] {
        let mounts = [("/srv", MountSource::Parent(path.into()))];
        let peeks = seeing("peeks", "true", &Resources::none(), &mounts);

        groups::run(&scene.link, &pod, &[peeks]).await;

        let failed = scene.link.until(TaskState::Failed).await;
        let said = failed.message.unwrap();
        assert!(said.contains("is another task's"), "{said}");
    }
}
