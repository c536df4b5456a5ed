//! Tasks in containers, from launch to acknowledgement.

use std::time::Duration;

use mete_model::container::{ContainerKind, Network, Pull};
use mete_model::{
    CommandSpec, ContainerSpec, FetchUri, HealthCheck, LinuxCapability, Probe, Reason, TaskSpec,
    TaskState,
};

use super::master::{Master, task};
use super::world::{LOGIN, Scene, Work};
use crate::containers::possible;
use crate::support::until;

/// A task in a container of the image `busybox`.
pub(super) fn contained(id: &str, line: &str, change: impl FnOnce(&mut ContainerSpec)) -> TaskSpec {
    let mut spec = task(id, line);
    let mut container = ContainerSpec {
        image: Some("busybox".into()),
        pull: Pull::IfMissing,
        ..ContainerSpec::default()
    };
    change(&mut container);
    spec.container = Some(Box::new(container));
    spec
}

/// Healthy once the task has made `here`, and only where it is asked inside: the machine has a /usr, the images have none.
pub(super) fn asked_inside() -> HealthCheck {
    HealthCheck {
        probe: Probe::Command(CommandSpec::shell("test -f here && test ! -e /usr")),
        delay: Duration::ZERO,
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(20),
        grace_period: Duration::from_secs(60),
        consecutive_failures: 3,
    }
}

#[tokio::test]
async fn a_task_in_a_container_runs_is_healthy_and_survives_its_agent() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let names = scene.register.agent_info.attributes.iter();
    let names: Vec<_> = names
        .filter(|one| one.name == "containerizers")
        .map(|one| one.text.as_ref().map(|text| text.value.as_str()))
        .collect();
    assert_eq!(names, [Some("process,oci")]);
    let line = "echo $HOME $MESOS_SANDBOX; id -u; pwd; echo up > here; sleep 1000";
    let mut spec = contained("web", line, |container| {
        container.user = Some("web".into());
        container.network = Network::None;
    });
    spec.health_check = Some(asked_inside());

    scene.link.run(&spec).await;
    let healthy = scene
        .link
        .until_it(|status| status.healthy == Some(true))
        .await;
    assert_eq!(healthy.state, TaskState::Running);
    let said = scene.work.said("web", "stdout").await;
    assert_eq!(said, "/srv /mnt/mesos/sandbox\n4444\n/mnt/mesos/sandbox\n");
    let mut scene = scene.again(&[]).await;

    assert_eq!(scene.register.tasks.len(), 1);
    scene.link.kill("web").await;
    scene.link.until(TaskState::Killed).await;
    let work = scene.end().await;
    until(|| std::fs::read_dir(work.path.join("tasks")).unwrap().count() == 0).await;
}

#[tokio::test]
async fn everybody_in_an_image_has_a_home() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let homes = [
        ("nobody-named", None, "/root\n"),
        ("named", Some("4444"), "/srv\n"),
        ("unknown", Some("1234"), "/\n"),
    ];

    for (id, user, home) in homes {
        let spec = contained(id, "echo $HOME", |one| one.user = user.map(str::to_owned));
        scene.link.run(&spec).await;
        scene.link.until(TaskState::Finished).await;
        assert_eq!(scene.work.said_now(id, "stdout"), home, "{id}");
    }
    let mut own = contained("own", "echo $HOME", |_| {});
    own.command.environment.insert("HOME".into(), "/own".into());
    scene.link.run(&own).await;
    scene.link.until(TaskState::Finished).await;
    assert_eq!(scene.work.said_now("own", "stdout"), "/own\n");
}

#[tokio::test]
async fn what_a_container_may_not_have_is_named() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&["--allow-capability=NET_ADMIN"]).await;
    let admin = |name: &str| -> LinuxCapability { name.parse().unwrap() };

    let refused = [
        contained("a", "true", |one| one.image = Some("nothing".into())),
        contained("b", "true", |one| {
            one.isolation.add.extend([admin("SYS_ADMIN")])
        }),
        contained("c", "true", |one| one.isolation.seccomp = false),
        contained("d", "true", |one| one.user = Some("nobody".into())),
    ];
    let expected = [
        "no image is called nothing",
        "capability SYS_ADMIN is not allowed by this agent",
        "this agent does not allow tasks without a filter of system calls",
        "user \"nobody\" is not known in the image",
    ];
    for (spec, expected) in refused.iter().zip(expected) {
        scene.link.run(spec).await;
        let failed = scene.link.until(TaskState::Failed).await;
        let message = failed.message.unwrap();
        assert!(message.contains(expected), "{message}");
        assert_eq!(failed.reason, Some(Reason::ContainerLaunchFailed));
    }
    scene
        .link
        .run(&contained("e", "true", |one| {
            one.isolation.add.extend([admin("NET_ADMIN")])
        }))
        .await;
    scene.link.until(TaskState::Finished).await;
}

#[tokio::test]
async fn a_container_without_an_image_sees_the_machines_files_and_not_its_processes() {
    if !possible() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let store = work.path.join("agent.redb");
    let line = format!(
        "test -e {} && echo bad; touch /etc/made 2> /dev/null && echo bad; ls /proc > list; grep -c '^[0-9]' list; echo x > kept; touch /tmp/free && echo free",
        store.display()
    );

    link.run(&contained("m", &line, |one| {
        one.image = None;
        one.isolation.drop.extend(LinuxCapability::USUAL);
    }))
    .await;
    link.until(TaskState::Finished).await;

    assert_eq!(work.said_now("m", "stdout"), "3\nfree\n");
    assert_eq!(work.said_now("m", "kept"), "x\n");
}

#[tokio::test]
async fn an_agent_that_copies_images_runs_containers_as_any_other() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&["--image-root=copy"]).await;
    let attributes = scene.register.agent_info.attributes.iter();
    let mut containerizers = attributes.filter(|one| one.name == "containerizers");
    let names = containerizers.next().unwrap().text.as_ref().unwrap();
    assert_eq!(names.value, "process,oci");

    let line =
        "echo mine > /mine; echo $(id -u) $(busybox grep -c overlay /proc/mounts); sleep 1000";
    let spec = contained("web", line, |one| one.user = None);
    scene.link.run(&spec).await;
    scene.link.until(TaskState::Running).await;
    assert_eq!(scene.work.said("web", "stdout").await, "0 0\n");
    let mut scene = scene.again(&["--image-root=copy"]).await;
    scene.link.kill("web").await;
    scene.link.until(TaskState::Killed).await;

    let work = scene.end().await;
    until(|| std::fs::read_dir(work.path.join("tasks")).unwrap().count() == 0).await;
}

#[tokio::test]
async fn a_login_that_a_task_of_dockers_kind_fetches_is_that_for_its_image() {
    if !possible() {
        return;
    }
    let mut scene = Scene::with(&[]).await;
    let beside = scene.work.beside().join("keys");
    std::fs::create_dir_all(beside.join(".docker")).unwrap();
    std::fs::write(beside.join(".docker/config.json"), LOGIN).unwrap();
    std::fs::write(beside.join(".dockercfg"), r#"{"registry":{"auth":"YTpi"}}"#).unwrap();
    let archive = beside.join("docker.tar.gz");
    let mut tar = std::process::Command::new("tar");
    let tar = tar
        .arg("-C")
        .arg(&beside)
        .arg("-czf")
        .arg(&archive)
        .arg(".docker");
    assert!(tar.status().unwrap().success());
    let fetching = |id: &str, kind, file: &std::path::Path| {
        let mut spec = contained(
            id,
            "find . -name 'config.json' -o -name .dockercfg",
            |one| {
                one.image = Some("private".into());
                one.kind = kind;
            },
        );
        spec.command.uris = vec![FetchUri {
            value: file.display().to_string(),
            extract: true,
            executable: false,
            cache: false,
            output_file: None,
        }];
        spec
    };

    for (id, file, there) in [
        ("newer", archive.clone(), "./.docker/config.json\n"),
        ("older", beside.join(".dockercfg"), "./.dockercfg\n"),
    ] {
        scene
            .link
            .run(&fetching(id, ContainerKind::Docker, &file))
            .await;
        scene.link.until(TaskState::Finished).await;
        assert_eq!(scene.work.said_now(id, "stdout"), there);
    }
    // As Mesos' agents have it: for containers of its own kind nothing that is fetched is looked at.
    scene
        .link
        .run(&fetching("own-kind", ContainerKind::Mesos, &archive))
        .await;
    let failed = scene.link.until(TaskState::Failed).await;
    let words = failed.message.unwrap();
    assert!(words.contains("private wants a login"), "{words}");
}
