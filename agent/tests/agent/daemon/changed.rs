//! An agent that comes back with another configuration: the same id, the same tasks, or no start at all.

use mete_agent::RunError;
use mete_daemon::exit::Exit;
use mete_model::{Ranges, Resources, TaskSpec, TaskState, TaskStatus};
use mete_proto::mesos::v1::AgentInfo;

use super::faults::quiet;
use super::master::{AGENT, Master, task};
use super::networks::{EVERY_PORT, assert_served, serve, with_bridge};
use super::world::Work;

/// A task of one CPU, 64 MB and port 31005 that says its pid and sleeps.
fn with_port(id: &str) -> TaskSpec {
    let mut spec = task(id, "echo $$; exec sleep 1000");
    spec.resources = Resources::cpus_mem(1_000, 64).with_ports(Ranges::interval(31_005, 31_005));
    spec
}

fn resources(text: &str) -> String {
    format!("--resources={text};mem:256;disk:100")
}

/// What it has, by the name of the resource.
fn scalar(info: &AgentInfo, name: &str) -> f64 {
    let one = info.resources.iter().find(|one| one.name == name);
    one.and_then(|one| one.scalar.as_ref()).unwrap().value
}

#[tokio::test]
async fn an_agent_that_has_grown_keeps_its_id_and_its_tasks() {
    let mut master = Master::start().await;
    let work = Work::new();
    let before = resources("cpus:1;ports:[31000-31009]");
    let agent = work.start(master.address, &[&before, "--attributes=rack:r1"]);
    let (mut link, _) = master.admit().await;
    link.run(&with_port("t")).await;
    link.until(TaskState::Running).await;
    let pid = work.said("t", "stdout").await;
    agent.kill().await;

    let after = resources("cpus:3;ports:[31005-31099]");
    let more = [
        &after,
        "--attributes=rack:r2",
        "--hostname=elsewhere",
        "--domain=north/n1",
    ];
    let agent = work.start(master.address, &more);
    let (mut link, register) = master.admit().await;

    let info = &register.agent_info;
    assert_eq!(info.id.as_ref().unwrap().value, AGENT);
    assert_eq!(
        (scalar(info, "cpus"), info.hostname.as_str()),
        (3.0, "elsewhere")
    );
    let racks = info.attributes.iter().filter(|one| one.name == "rack");
    let racks: Vec<_> = racks.map(|one| one.text.clone().unwrap().value).collect();
    assert_eq!(racks, ["r2"]);
    assert!(info.domain.is_some());
    let status = TaskStatus::try_from(&register.tasks[0].latest_status).unwrap();
    assert_eq!(status.state, TaskState::Running);
    assert_eq!(work.said("t", "stdout").await, pid, "the same process");
    let mut second = task("second", "exec sleep 1000");
    second.resources = Resources::cpus_mem(2_000, 64);
    link.run(&second).await;
    link.until_it(|status| status.task.as_str() == "second" && status.state == TaskState::Running)
        .await;
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_without_room_for_its_tasks_does_not_start_and_they_run_on() {
    let mut master = Master::start().await;
    let work = Work::new();
    let before = resources("cpus:1;ports:[31000-31009]");
    let agent = work.start(master.address, &[&before]);
    let (mut link, register) = master.admit().await;
    link.run(&with_port("t")).await;
    link.until(TaskState::Running).await;
    quiet(register.agent_info.port()).await;
    let pid = work.said("t", "stdout").await;
    agent.kill().await;
    let groups = || {
        let groups = format!("/proc/{}/cgroup", pid.trim());
        std::fs::read_to_string(groups).expect("it runs")
    };
    let in_groups = groups();

    for (less, words) in [
        ("cpus:0.5;ports:[31000-31009]", "cpus 1 asked, 0.5 there"),
        ("cpus:4;ports:[31006-31999]", "31005"),
    ] {
        let ended = work.start(master.address, &[&resources(less)]).ended();
        let refused = ended.await.unwrap_err();

        let said = mete_daemon::chain(&refused);
        assert!(matches!(refused, RunError::Config(_)), "{said}");
        assert_eq!(Exit::of(&refused), Exit::Usage);
        assert!(said.contains("resources") && said.contains(words), "{said}");
        assert_eq!(groups(), in_groups, "nothing was done to it");
    }

    let agent = work.start(master.address, &[&before]);
    let (mut link, register) = master.admit().await;
    assert_eq!(register.agent_info.id.unwrap().value, AGENT);
    let status = TaskStatus::try_from(&register.tasks[0].latest_status).unwrap();
    assert_eq!(status.state, TaskState::Running);
    assert_eq!(register.unacknowledged, []);
    assert_eq!(groups(), in_groups);
    link.kill("t").await;
    link.until(TaskState::Killed).await;
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_whose_directory_was_moved_does_not_start_while_tasks_have_their_files_in_the_old_place()
 {
    let mut master = Master::start().await;
    let mut work = Work::new();
    let agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    link.run(&task("t", "echo $$; exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    let pid = work.said("t", "stdout").await;
    agent.kill().await;
    let place = work.path.clone();
    let moved = work.beside().join("moved");
    std::fs::rename(&place, &moved).unwrap();

    work.path = moved.clone();
    let refused = work.start(master.address, &[]).ended().await.unwrap_err();
    std::fs::rename(&moved, &place).unwrap();
    work.path = place.clone();
    let agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;

    let said = mete_daemon::chain(&refused);
    assert_eq!(Exit::of(&refused), Exit::Usage, "{said}");
    let place = place.display().to_string();
    assert!(said.contains("work-dir") && said.contains(&place), "{said}");
    let status = TaskStatus::try_from(&register.tasks[0].latest_status).unwrap();
    assert_eq!(status.state, TaskState::Running);
    assert_eq!(work.said("t", "stdout").await, pid, "the same process");
    link.kill("t").await;
    link.until(TaskState::Killed).await;
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn an_agent_with_another_name_finds_what_it_has_made_on_the_machine() {
    let Some(mut scene) = with_bridge(&[EVERY_PORT]).await else {
        return;
    };
    let one = serve(&mut scene.link, "one").await;

    let mut scene = scene.again(&[EVERY_PORT, "--name=renamed"]).await;
    let other = serve(&mut scene.link, "other").await;

    assert_served([one, other]).await;
    for task in ["one", "other"] {
        scene.link.kill(task).await;
        scene.link.until(TaskState::Killed).await;
    }
    let work = scene.end().await;
    assert_eq!(work.networks().traces(), [""; 0]);
}
