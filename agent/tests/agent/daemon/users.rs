//! Containers with users of their own: who is who inside and outside. Needs root and busybox, and says so without.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use mete_model::container::{Mount, MountSource, Network};
use mete_model::{CommandSpec, HealthCheck, Probe, TaskState};
use mete_proto::mete::v1::exec_ended::How;

use super::contained::contained;
use super::master::Master;
use super::sessions::{Exec, start};
use super::world::Work;
use crate::containers::possible;
use crate::support::until;

const RANGE: &str = "--user-namespaces=100000:65536";

#[tokio::test]
async fn root_of_a_container_is_nobody_outside() {
    if !possible() {
        return;
    }
    for root in ["--image-root=overlay", "--image-root=copy"] {
        let mut master = Master::start().await;
        let work = Work::new();
        let secrets = work.beside().join("secrets");
        fs::create_dir(&secrets).unwrap();
        fs::write(secrets.join("secret"), "x").unwrap();
        fs::set_permissions(secrets.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(secrets.join("open"), "everybody's\n").unwrap();
        let allowed = format!("--volume-root={}", secrets.display());
        let agent = work.start(master.address, &[RANGE, root, &allowed]);
        let (mut link, register) = master.admit().await;
        let line = "echo $(id -u) $(cat /proc/self/uid_map) $(busybox stat -c %u:%g /bin/busybox /mnt/mesos/sandbox); \
                    cat /secrets/secret 2> /dev/null || echo refused; cat /secrets/open; \
                    echo x > /bin/made && echo x > made && busybox chown 33:33 made && echo kept; \
                    busybox mount -t tmpfs none /mnt 2> /dev/null || echo no mounts; \
                    busybox su web -c 'exec sleep 1000' & echo $! > other; \
                    busybox mkfifo /dev/more && echo done > /dev/stdout; sleep 1000";

        let spec = contained("t", line, |one| {
            one.network = Network::None;
            one.mounts = vec![Mount {
                target: "/secrets".into(),
                source: MountSource::Host(secrets.display().to_string()),
                read_only: false,
            }];
        });
        link.run(&spec).await;
        link.until(TaskState::Running).await;

        let stdout = work.sandbox("t").join("stdout");
        until(|| fs::read_to_string(&stdout).is_ok_and(|text| text.ends_with("done\n"))).await;
        let expected = "0 0 100000 65536 0:0 0:0\nrefused\neverybody's\nkept\nno mounts\ndone\n";
        assert_eq!(fs::read_to_string(&stdout).unwrap(), expected, "{root}");
        let made = fs::metadata(work.sandbox("t").join("made")).unwrap();
        assert_eq!((made.uid(), made.gid()), (100_033, 100_033));
        let image = fs::metadata(work.beside().join("image/bin/busybox")).unwrap();
        assert_eq!(image.uid(), 0, "layers stay as they are");
        assert!(!work.beside().join("image/bin/made").exists());
        // Root of a session is root of the task, for processes of other users too.
        let line = "id -u; cat /proc/self/uid_map /secrets/secret; cat made; \
                    busybox kill -9 $(cat other) && echo killed";
        let port = register.agent_info.port();
        let mut exec = Exec::begin(port, start("t", &["/bin/sh", "-c", line]))
            .await
            .unwrap();
        let how = exec.ended().await;
        let said: Vec<_> = exec.stdout.split_ascii_whitespace().collect();
        let expected = ["0", "0", "100000", "65536", "x", "killed"];
        assert_eq!((said.as_slice(), &how), (&expected[..], &How::ExitCode(0)));
        assert!(exec.stderr.contains("/secrets/secret"), "{}", exec.stderr);
        link.kill("t").await;
        link.until(TaskState::Killed).await;
        drop(link);
        agent.stop().await.unwrap();
        let tasks = work.path.join("tasks");
        until(|| fs::read_dir(&tasks).unwrap().count() == 0).await;
    }
}

#[tokio::test]
async fn checks_run_as_the_task_and_users_beyond_the_range_are_named() {
    if !possible() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &["--user-namespaces=200000:5000"]);
    let (mut link, _) = master.admit().await;
    let mut spec = contained("web", "id -u; sleep 1000", |one| {
        one.user = Some("4444:1".into());
    });
    let check =
        "test $(id -u) = 4444 && busybox grep -q 200000 /proc/self/uid_map && echo x > checked";
    spec.health_check = Some(HealthCheck {
        delay: Duration::ZERO,
        ..HealthCheck::new(Probe::Command(CommandSpec::shell(check)))
    });

    link.run(&spec).await;
    let healthy = link.until_it(|status| status.healthy.is_some()).await;

    assert_eq!(healthy.healthy, Some(true), "{:?}", healthy.message);
    assert_eq!(work.said("web", "stdout").await, "4444\n");
    let checked = fs::metadata(work.sandbox("web").join("checked")).unwrap();
    assert_eq!((checked.uid(), checked.gid()), (204_444, 200_001));
    let beyond = contained("beyond", "true", |one| one.user = Some("5000:1".into()));
    link.run(&beyond).await;
    let failed = link.until(TaskState::Failed).await;
    let message = failed.message.unwrap();
    assert!(
        message.contains("5000 is no user or group of containers here, 0 to 4999"),
        "{message}"
    );
}

#[tokio::test]
async fn root_without_an_image_reads_what_everybody_may_read_of_the_machine() {
    if !possible() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[RANGE]);
    let (mut link, _) = master.admit().await;
    // Nobody but root of the machine and its group `shadow` may read it.
    let line = "id -u; ls /etc/shadow; cat /etc/shadow 2> /dev/null || echo refused; echo x > kept; echo > /dev/stdout";

    link.run(&contained("m", line, |one| {
        one.image = None;
        one.network = Network::None;
    }))
    .await;
    link.until(TaskState::Finished).await;

    let expected = "0\n/etc/shadow\nrefused\n\n";
    assert_eq!(work.said_now("m", "stdout"), expected);
    let kept = fs::metadata(work.sandbox("m").join("kept")).unwrap();
    assert_eq!((kept.uid(), kept.gid()), (100_000, 100_000));
}
