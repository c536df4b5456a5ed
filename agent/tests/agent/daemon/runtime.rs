//! An agent whose containers crun builds, from launch to the last trace. Needs root, busybox and crun, and says so without.

use std::net::SocketAddr;
use std::path::Path;

use mete_agent::RunError;
use mete_model::container::{Network, Transport};
use mete_model::{LinuxCapability, TaskState};
use mete_proto::mete::v1::exec_ended::How;

use super::contained::{asked_inside, contained};
use super::master::Master;
use super::networks::{EVERY_PORT, SERVE, bridged, bridges, free_port, page};
use super::sessions::{Exec, start};
use super::world::Work;
use crate::containers::possible;
use crate::support::{soon, until};

const CRUN: &str = "/usr/bin/crun";
const BY_CRUN: &str = "--oci-runtime=/usr/bin/crun";

pub(super) fn installed() -> bool {
    let there = Path::new(CRUN).exists();
    if !there {
        eprintln!("skipped: needs {CRUN} (scripts/install-deps test)");
    }
    there && possible()
}

#[tokio::test]
async fn a_task_that_crun_has_built_is_checked_entered_and_taken_over() {
    if !installed() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = work.start(master.address, &[BY_CRUN]);
    let (mut link, register) = master.admit().await;
    let attributes = register.agent_info.attributes.iter();
    let mut names = attributes.filter(|one| one.name == "oci_runtime");
    assert_eq!(names.next().unwrap().text.as_ref().unwrap().value, "crun");
    let mut spec = contained("web", "echo up > here; sleep 1000", |container| {
        container.user = Some("web".into());
        container.network = Network::None;
        container.hostname = Some("inside".into());
    });
    spec.health_check = Some(asked_inside());
    link.run(&spec).await;
    link.until_it(|status| status.healthy == Some(true)).await;
    let look = "id -u; pwd; hostname; echo /proc/[0-9]*; busybox grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status";
    let look = ["busybox", "sh", "-c", look];

    let mut seen = Vec::new();
    let mut agent = agent;
    let mut port = register.agent_info.port();
    for life in 0..2 {
        let mut exec = Exec::begin(port, start("web", &look)).await.unwrap();
        assert_eq!(exec.ended().await, How::ExitCode(0), "{}", exec.stderr);
        seen.push(exec.stdout);
        if life == 0 {
            agent.kill().await;
            agent = work.start(master.address, &[BY_CRUN]);
            let (next, register) = master.admit().await;
            (link, port) = (next, register.agent_info.port());
            assert_eq!(register.tasks.len(), 1);
        }
    }
    link.kill("web").await;
    link.until(TaskState::Killed).await;
    drop(link);
    agent.stop().await.unwrap();

    for said in seen {
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(
            lines[..3],
            ["4444", "/mnt/mesos/sandbox", "inside"],
            "{said}"
        );
        assert!(lines[3].starts_with("/proc/1 "), "{said}");
        let powers = ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"];
        assert_eq!(lines[4..], powers, "{said}");
    }
    until(|| std::fs::read_dir(work.path.join("tasks")).unwrap().count() == 0).await;
}

#[tokio::test]
async fn crun_joins_a_task_to_the_bridge_of_its_agent() {
    let work = Work::new();
    if !installed() || !bridges(&work) {
        return;
    }
    let mut master = Master::start().await;
    let agent = work.start(master.address, &[EVERY_PORT, BY_CRUN]);
    let (mut link, _) = master.admit().await;
    let port = free_port();
    let mut spec = bridged("web", SERVE, &[(port, Transport::Tcp)]);
    spec.command.environment.insert("NAME".into(), "web".into());

    link.run(&spec).await;
    link.until(TaskState::Running).await;
    let outside = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(soon(page(outside)).await.ends_with("this is web\n"));

    link.kill("web").await;
    link.until(TaskState::Killed).await;
    drop(link);
    agent.stop().await.unwrap();
    assert_eq!(work.networks().traces(), [""; 0]);
}

#[tokio::test]
async fn the_machines_files_stay_as_they_are_when_crun_shows_them() {
    if !installed() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[BY_CRUN]);
    let (mut link, _) = master.admit().await;
    let made = format!("/etc/made-{}", std::process::id());
    let store = work.path.join("agent.redb");
    let line = format!(
        "test -e {} && echo bad; touch {made} 2> /dev/null && echo bad; touch /tmp/free && echo free; echo x > kept; \
         test -e /proc/1 && echo own",
        store.display()
    );

    link.run(&contained("m", &line, |one| {
        one.image = None;
        one.isolation.drop.extend(LinuxCapability::USUAL);
    }))
    .await;
    link.until(TaskState::Finished).await;

    let was_made = std::fs::remove_file(&made).is_ok();
    assert!(!was_made, "on the disk of this machine");
    assert_eq!(work.said_now("m", "stdout"), "free\nown\n");
    assert_eq!(work.said_now("m", "kept"), "x\n");
}

#[tokio::test]
async fn an_agent_whose_runtime_is_not_there_does_not_start() {
    let master = Master::start().await;
    let work = Work::new();

    let agent = work.start(master.address, &["--oci-runtime=/no/such/crun"]);
    let refused = agent.ended().await.expect_err("it cannot start");

    assert!(matches!(refused, RunError::OciRuntime(_)));
    let text = mete_daemon::chain(&refused);
    assert!(
        text.starts_with("OCI runtime /no/such/crun cannot be executed: "),
        "{text}"
    );
}
