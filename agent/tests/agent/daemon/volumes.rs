//! Persistent volumes of a whole agent: written by one task, read by the next, erased on order, with kills in between.

use std::fs;
use std::path::PathBuf;

use mete_model::{
    ContainerSpec, Reservation, ReservationKind, Resources, Role, Tag, TaskSpec, TaskState, Volume,
    VolumeName,
};
use mete_proto::mete::v1 as wire;
use wire::agent_message::Message as Said;
use wire::master_message::Message;

use super::master::{Link, Master, task};
use super::world::{Work, json};
use crate::containers::possible;
use crate::support::until;

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
    disk.disk_bytes = 8 << 20;
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
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let mine = volume("prod/db", "var/data", false);

    link.run(&holding("one", "echo kept > var/data/file", &mine))
        .await;
    link.until(TaskState::Finished).await;
    agent.kill().await;
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    link.run(&holding("two", "cat var/data/file", &mine)).await;
    link.until(TaskState::Finished).await;
    link.run(&holding(
        "other",
        "ls var/data",
        &volume("prod", "var/data", false),
    ))
    .await;
    link.until(TaskState::Finished).await;

    assert_eq!(work.said_now("two", "stdout"), "kept\n");
    assert_eq!(work.said_now("other", "stdout"), "", "a volume of its own");
    let file = place(&work, "prod db").join("file");
    assert_eq!(fs::read_to_string(file).unwrap(), "kept\n");
    let port = register.agent_info.port();
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
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let mine = volume("db", "data", false);
    link.run(&holding("t", "echo x > data/file; sleep 1000", &mine))
        .await;
    link.until(TaskState::Running).await;
    let place = place(&work, "db");
    until(|| place.join("file").exists()).await;

    erase(&link, "db").await;
    link.run(&holding("late", "true", &mine)).await;
    let refused = link.until(TaskState::Failed).await;
    agent.kill().await;
    assert!(place.join("file").exists(), "a task holds it");
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    link.kill("t").await;
    link.until(TaskState::Killed).await;
    let answer = erased(&mut link).await;

    assert_eq!(
        refused.message.as_deref(),
        Some("volume db: data was destroyed and is being erased")
    );
    assert_eq!((answer.volume.id.as_str(), answer.failure), ("data", None));
    assert!(!place.exists());
    erase(&link, "db").await;
    assert_eq!(
        erased(&mut link).await.failure,
        None,
        "nothing is left twice"
    );
    link.run(&holding("new", "ls -A data", &mine)).await;
    link.until(TaskState::Finished).await;
    assert_eq!(work.said_now("new", "stdout"), "");
}

#[tokio::test]
async fn a_container_sees_its_volume_where_it_wants_it() {
    if !possible() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
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
        link.run(spec).await;
        link.until(TaskState::Finished).await;
    }

    let said = work.said_now("reads", "stdout");
    assert_eq!(said, "from inside\nread only\n");
}
