//! Groups of tasks and persistent volumes through all levels: a framework of the SDK, the master, an agent that is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_framework_sdk::{
    Capability, Connection, Event, Filters, Framework, FrameworkSpec, Group, Offer, Operation,
    Resources, Role, Task, TaskState, TaskStatus,
};
use mete_model::container::Network;
use mete_model::{ContainerSpec, MB_MILLI, Reservation, ReservationKind, Tag, UpdateId, Volume};
use tokio::time::timeout;

use crate::harness::{Cluster, PATIENCE, eventually, mete};

/// A framework of one role, and what it hears.
struct Client {
    framework: Framework,
    calls: mete_framework_sdk::Client,
    /// Reports that [`Client::hear`] gave back: they come again when a master is killed before it has passed on that they
    /// were heard.
    known: BTreeSet<UpdateId>,
}

impl Client {
    fn connect(cluster: &Cluster, name: &str, role: &str) -> Self {
        let connection = Connection::to(&cluster.url("master")).expect("an address");
        let spec = FrameworkSpec::new(name)
            .role(Role::new(role).expect("a role"))
            .capability(Capability::ReservationRefinement)
            .failover_timeout(Duration::from_secs(60));
        let framework = Framework::connect(connection, spec);
        let calls = framework.client();
        Self {
            framework,
            calls,
            known: BTreeSet::new(),
        }
    }

    async fn next(&mut self) -> Event {
        let event = timeout(PATIENCE, self.framework.next()).await;
        event
            .expect("it comes in time")
            .expect("the stream goes on")
    }

    /// The next offer as wanted; others are declined for a moment.
    async fn offer(&mut self, wanted: impl Fn(&Offer) -> bool) -> Offer {
        loop {
            if let Event::Offers(offers) = self.next().await {
                let mut found = None;
                for offer in offers {
                    if found.is_none() && wanted(&offer) {
                        found = Some(offer);
                    } else {
                        let soon = Filters::refuse_for(Duration::from_millis(200));
                        // An answer that does not arrive is given again.
                        let _ = self.calls.decline([&offer.id], soon);
                    }
                }
                if let Some(offer) = found {
                    return offer;
                }
            }
        }
    }

    fn is_known(&self, status: &TaskStatus) -> bool {
        let uuid = status.uuid.as_ref();
        uuid.is_some_and(|uuid| self.known.contains(uuid))
    }

    /// The reports of each of these tasks, once all have been heard.
    async fn hear(&mut self, wanted: &[(&str, TaskState)]) -> Vec<TaskStatus> {
        let mut missing = wanted.to_vec();
        let mut heard = Vec::new();
        while !missing.is_empty() {
            match self.next().await {
                Event::Update(status) if self.is_known(&status) => {}
                Event::Update(status) => {
                    let before = missing.len();
                    missing.retain(|(task, state)| {
                        status.task.as_str() != *task || status.state != *state
                    });
                    if missing.len() < before {
                        self.known.extend(status.uuid);
                        heard.push(status);
                    } else {
                        assert!(!status.state.is_terminal(), "{status:?}, not {missing:?}");
                    }
                }
                Event::Offers(offers) => {
                    let ids = offers.iter().map(|offer| &offer.id);
                    let soon = Filters::refuse_for(Duration::from_millis(200));
                    let _ = self.calls.decline(ids, soon);
                }
                Event::Error(text) => panic!("{text}"),
                Event::Subscribed { .. }
                | Event::Rescind(_)
                | Event::InverseOffers(_)
                | Event::RescindInverse(_)
                | Event::Failure { .. }
                | Event::Disconnected { .. }
                | _ => {}
            }
        }
        heard
    }
}

fn task(id: &str, line: impl Into<String>) -> Task {
    let task = Task::shell(id, line).expect("an id");
    task.cpus_milli(50).mem_mb(32)
}

/// What `mete task logs` tells of a task.
fn logs(cluster: &Cluster, task: &str) -> String {
    let mut command = mete(&["task", "logs", task]);
    let output = command.env("METE_MASTER", cluster.url("master")).output();
    String::from_utf8(output.expect("mete runs").stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_begins_in_order_and_ends_together_over_a_killed_agent() {
    let cluster = Cluster::start(&["--agents", "1"]).await;
    let log = cluster.dir.path().join("log");
    let write = |word: &str| format!("echo {word} >> {}", log.display());
    let mut client = Client::connect(&cluster, "groups", "*");
    let offer = client.offer(|_| true).await;

    let group = Group::new("pod")
        .expect("an id")
        .init(task("prepare", write("prepare")))
        .task(task(
            "serve",
            format!("{}; echo to serve; exec sleep 1000", write("serve")),
        ))
        .task(task("help", format!("{}; exec sleep 1000", write("help"))));
    client
        .calls
        .launch_group([&offer], group, Filters::default())
        .expect("connected");
    client
        .hear(&[
            ("prepare", TaskState::Finished),
            ("serve", TaskState::Running),
            ("help", TaskState::Running),
        ])
        .await;
    let words = std::fs::read_to_string(&log).expect("written");
    assert!(words.starts_with("prepare\n"), "{words}");
    assert_eq!(logs(&cluster, "serve"), "out | to serve\n");
    cluster.kill("agent-1").await;
    eventually("the agent is back with the group", async || {
        let url = format!("{}/state", cluster.url("agent-1"));
        let (_, state) = cluster.call("GET", &url, None).await;
        let executor = &state["frameworks"][0]["executors"][0];
        (executor["id"] == "pod" && state["registered"] == true).then_some(())
    })
    .await;
    client
        .calls
        .kill(&"serve".parse().expect("an id"), None, None)
        .expect("connected");
    let ended = client
        .hear(&[("serve", TaskState::Killed), ("help", TaskState::Killed)])
        .await;

    let words = ended[1].message.clone().unwrap_or_default();
    assert!(
        words.starts_with("task serve of its group was killed"),
        "{words}"
    );
    let (_, state) = cluster
        .call("GET", &format!("{}/state", cluster.url("master")), None)
        .await;
    let used = &state["slaves"][0]["used_resources"]["cpus"];
    assert_eq!(used, 0.0, "the executor holds nothing any more");
    client.calls.teardown().expect("connected");
}

fn reserved() -> Tag {
    Tag {
        reservations: vec![Reservation {
            role: Role::new("db").expect("a role"),
            kind: ReservationKind::Dynamic,
            principal: None,
            labels: Vec::new(),
        }],
        ..Tag::default()
    }
}

/// 16 MB of disk, reserved, with a volume on it or without.
fn disk(with_volume: bool) -> Resources {
    disk_with(with_volume.then(|| volume("data", false)))
}

fn volume(container_path: &str, read_only: bool) -> Volume {
    Volume {
        id: "data".to_owned(),
        container_path: container_path.to_owned(),
        read_only,
        principal: None,
    }
}

fn disk_with(volume: Option<Volume>) -> Resources {
    let mut tag = reserved();
    tag.volume = volume;
    let mut disk = Resources::none();
    disk.disk_milli = 16 * MB_MILLI;
    Resources::none().with_part(tag, disk)
}

fn on_volume(id: &str, line: &str, volume: Volume) -> Task {
    let needs = Resources::cpus_mem(50, 32).plus(&disk_with(Some(volume)));
    Task::shell(id, line).expect("an id").resources(needs)
}

fn holds_volume(offer: &Offer) -> bool {
    offer.resources.volumes().next().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_goes_from_task_to_task_of_its_role_until_it_is_destroyed() {
    let cluster = Cluster::start(&["--agents", "1"]).await;
    let mut client = Client::connect(&cluster, "db", "db");
    let filters = Filters::refuse_for(Duration::ZERO);
    let offer = client.offer(|_| true).await;

    let writes = on_volume("writes", "echo kept > data/file", volume("data", false));
    let first = [
        Operation::Reserve(disk(false)),
        Operation::Create(disk(true)),
        Operation::Launch(vec![writes]),
    ];
    client
        .calls
        .operate([&offer], first, filters)
        .expect("connected");
    client.hear(&[("writes", TaskState::Finished)]).await;
    cluster.kill("agent-1").await;
    cluster.kill("master").await;
    // Offers of the old one are worth nothing.
    while !matches!(client.next().await, Event::Subscribed { .. }) {}
    let offer = client.offer(holds_volume).await;
    // It says itself where it finds the volume, and that it only reads; walls that hold it to that are for root to build.
    let line = "test \"$(cat elsewhere/file)\" = kept";
    let seen = volume("elsewhere", true);
    let reads = match rustix::process::geteuid().is_root() {
        false => on_volume("reads", line, seen),
        true => on_volume("reads", &format!("{line} && ! touch elsewhere/file"), seen).container(
            ContainerSpec {
                network: Network::None,
                ..ContainerSpec::default()
            },
        ),
    };
    client
        .calls
        .accept([&offer], [reads], filters)
        .expect("connected");
    client.hear(&[("reads", TaskState::Finished)]).await;
    let offer = client.offer(holds_volume).await;
    let last = [
        Operation::Destroy(disk(true)),
        Operation::Unreserve(disk(false)),
    ];
    client
        .calls
        .operate([&offer], last, filters)
        .expect("connected");

    eventually("nothing of the volume is left", async || {
        let url = format!("{}/v1/volumes", cluster.url("agent-1"));
        let (_, answer) = cluster.call("GET", &url, None).await;
        let none = answer["volumes"].as_array()?.is_empty();
        none.then_some(())
    })
    .await;
    let found = std::process::Command::new("find")
        .arg(cluster.dir.path())
        .args(["-path", "*/volumes/roles/db/data"])
        .output()
        .expect("find runs");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
    client.calls.teardown().expect("connected");
}
