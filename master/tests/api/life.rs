//! Agents and masters that go and come.

use mete_daemon::exit::Exit;
use mete_master::RunError;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mesos::v1::scheduler::event;
use mete_proto::mete::v1 as mete;
use mete_proto::mete::v1::master_message::Message;
use prost::Message as _;
use tempfile::tempdir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::peers::{Agent, Framework, Master, framework_info, options, registration, task};

/// The agent's part of a running task, as it would bring it back.
pub(crate) fn brought(
    framework: &mesos::FrameworkId,
    run: &mete::RunTask,
    agent: &Agent,
) -> mete::AgentTask {
    mete::AgentTask {
        executor_info: None,
        framework_id: framework.clone(),
        task_info: run.task_info.encode_to_vec().into(),
        latest_status: agent.status(
            &run.task_info.task_id.value,
            mesos::TaskState::TaskRunning,
            1,
        ),
    }
}

#[tokio::test]
async fn after_a_restart_agents_and_frameworks_find_each_other_again() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:1;mem:64");
    framework.accept(&[&offers[0]], vec![spec]).await;
    let run = agent.run_task().await;
    master.stop().await;

    let master = Master::start(dir.path()).await;
    let mut register = registration();
    register.agent_info.id = Some(agent.id.clone());
    register.hello.master_epoch = Some(1);
    register.tasks = vec![brought(&framework.id, &run, &agent)];
    register.frameworks = vec![run.framework_info.clone()];
    let back = Agent::registered_as(&master, register).await;
    assert_eq!(back.id, agent.id);
    let state = master.state().await;
    assert_eq!(state["frameworks"][0]["recovered"], true);
    assert_eq!(state["frameworks"][0]["tasks"][0]["state"], "TASK_RUNNING");

    let mut info = framework_info();
    info.id = Some(framework.id.clone());
    let mut again = Framework::subscribed_as(&master, info).await;
    again.reconcile(&["one"]).await;
    assert_eq!(again.update().await.state(), mesos::TaskState::TaskRunning);
    let free: f64 = again_free(&master).await;
    assert!((free - 3.0).abs() < 1e-9, "{free}");
}

async fn again_free(master: &Master) -> f64 {
    let state = master.state().await;
    let slave = &state["slaves"][0];
    slave["resources"]["cpus"].as_f64().expect("a number")
        - slave["used_resources"]["cpus"].as_f64().expect("a number")
}

#[tokio::test]
async fn a_master_of_an_older_epoch_than_the_agent_obeyed_refuses_it() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::open(&master).await;
    let mut register = registration();
    register.hello.master_epoch = Some(u64::MAX);

    agent
        .say(mete::agent_message::Message::Register(Box::new(register)))
        .await;

    let Message::Refused(refused) = agent.next().await else {
        panic!("refused");
    };
    let epoch = format!("epoch {}", u64::MAX);
    assert!(refused.reason.contains(&epoch), "{}", refused.reason);
    assert!(!refused.permanent());
    assert!(matches!(agent.message().await, Ok(None)));
}

#[tokio::test]
async fn a_silent_agent_is_unreachable_and_its_tasks_with_it() {
    let dir = tempdir().expect("a directory");
    let quick = ["--agent-ping-timeout=200ms", "--max-agent-ping-timeouts=2"];
    let master = Master::with(dir.path(), &quick).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:1;mem:64");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;

    // From now on the agent answers no ping.
    let status = framework.update().await;
    assert_eq!(status.state(), mesos::TaskState::TaskUnreachable);
    let failure = framework.wait_for(event::Type::Failure).await.failure;
    assert_eq!(
        failure.and_then(|failure| failure.agent_id),
        Some(agent.id.clone())
    );
    while let Ok(Some(_)) = agent.message().await {}

    let mut register = registration();
    register.agent_info.id = Some(agent.id.clone());
    let back = Agent::registered_as(&master, register).await;
    assert_eq!(back.id, agent.id);
    let status = framework.update().await;
    assert_eq!(
        status.state(),
        mesos::TaskState::TaskDropped,
        "it came without the task"
    );
}

#[tokio::test]
async fn an_agent_that_breaks_off_takes_its_offers_along() {
    let dir = tempdir().expect("a directory");
    let quick = ["--agent-reregister-timeout=300ms"];
    let master = Master::with(dir.path(), &quick).await;
    let agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;

    drop(agent);

    let rescinded = framework.wait_for(event::Type::Rescind).await.rescind;
    assert_eq!(
        rescinded.map(|one| one.offer_id),
        Some(offers[0].id.clone())
    );
    framework.wait_for(event::Type::Failure).await;
    assert_eq!(master.state().await["unreachable_slaves"], 1);
}

#[tokio::test]
async fn a_second_agent_of_one_id_is_refused() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let first = Agent::registered(&master).await;
    let mut register = registration();
    register.agent_info.id = Some(first.id.clone());
    register.agent_info.port = Some(5052);

    let mut second = Agent::open(&master).await;
    second
        .say(mete::agent_message::Message::Register(Box::new(register)))
        .await;

    let Message::Refused(refused) = second.next().await else {
        panic!("refused");
    };
    assert!(
        refused.reason.contains("one work directory"),
        "{}",
        refused.reason
    );
}

#[tokio::test]
async fn two_masters_do_not_share_a_state_file() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    assert_eq!(master.get("/health").await.status(), 200);
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");

    let options = options(dir.path(), &[]);
    let second = mete_master::run_on(listener, options, CancellationToken::new()).await;

    let Err(error @ RunError::TwoMasters { .. }) = second else {
        panic!("refused: {second:?}");
    };
    assert_eq!(Exit::of(&error), Exit::Store);
    assert!(
        error.to_string().contains("another master works with"),
        "{error}"
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_named() {
    let dir = tempdir().expect("a directory");
    std::fs::write(dir.path().join("master.redb"), b"not a store").expect("written");
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");

    let options = options(dir.path(), &[]);
    let ended = mete_master::run_on(listener, options, CancellationToken::new()).await;

    let error = ended.expect_err("refused");
    assert_eq!(Exit::of(&error), Exit::Store);
}

/// A small file system in memory; gone with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` when this process may not mount.
    fn mount() -> Option<Self> {
        let dir = tempdir().expect("a directory");
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(dir.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(dir))
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.path().join("ballast")).expect("a file");
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = std::process::Command::new("umount");
        unmount.arg("-l").arg(self.0.path());
        drop(unmount.output());
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_master_with_that_reason() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("not tested: this process may not mount file systems");
        return;
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let options = options(disk.0.path(), &[]);
    let running = tokio::spawn(mete_master::run_on(
        listener,
        options,
        CancellationToken::new(),
    ));
    let channel = tonic::transport::Endpoint::from_shared(url).expect("an address");
    let channel = channel.connect().await.expect("a connection");
    let mut client = mete::operator_client::OperatorClient::new(channel);
    let answered = client.get_weights(mete::GetWeightsRequest {}).await;
    answered.expect("the store is open");
    disk.fill();

    // Free pages of the store take some records still.
    for number in 0..20_000 {
        let weight = mete::SetWeightRequest {
            role: format!("{number}-{}", "x".repeat(200)),
            weight: 2.0,
        };
        if client.set_weight(weight).await.is_err() {
            break;
        }
    }

    let ended = tokio::time::timeout(crate::peers::PATIENCE, running).await;
    let error = ended
        .expect("in time")
        .expect("no panic")
        .expect_err("ended");
    let RunError::Loop(cause) = &error else {
        panic!("the loop ended: {error:?}");
    };
    let cause = std::error::Error::source(cause).map(ToString::to_string);
    assert!(
        cause.is_some_and(|cause| cause.contains("no space left")),
        "{error:?}"
    );
    assert_eq!(Exit::of(&error), Exit::Failed);
}
