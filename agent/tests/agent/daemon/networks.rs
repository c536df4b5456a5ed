//! Containers on the bridge of an agent: reached, checked, found again, and nothing left of them.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mete_agent_core::task_dir::{PidFile, TaskDir, TaskFile};
use mete_model::container::{Network, PortMapping, Transport};
use mete_model::{ContainerId, HealthCheck, Probe, TaskSpec, TaskState, TaskStatus};
use mete_proto::mesos::v1 as mesos;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::contained::contained;
use super::master::Link;
use super::world::{Scene, Work};
use crate::containers::possible;
use crate::support::{soon, until};

/// Whether bridges can be made here; says why not.
pub(super) fn bridges(work: &Work) -> bool {
    fs::create_dir_all(&work.path).unwrap();
    let networks = work.networks();
    if let Err(why) = networks.bridge() {
        eprintln!("skipped: no bridge: {why} (scripts/install-deps test)");
    }
    possible() && networks.bridge().is_ok()
}

/// An agent where bridges can be made, with these options; `None` where they cannot.
pub(super) async fn with_bridge(options: &[&str]) -> Option<Scene> {
    let work = Work::new();
    match bridges(&work) {
        true => Some(Scene::in_work(work, options).await),
        false => None,
    }
}

/// A port of the host that nobody uses.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A task in a container on the bridge, with ports of the host that lead to port 8080 in it.
pub(super) fn bridged(id: &str, line: &str, ports: &[(u16, Transport)]) -> TaskSpec {
    let mut spec = contained(id, line, |container| {
        let mapping = |(host, transport): &(u16, Transport)| PortMapping {
            host: *host,
            container: 8080,
            transport: *transport,
        };
        container.network = Network::Bridge {
            ports: ports.iter().map(mapping).collect(),
        };
    });
    spec.resources.ports = ports.iter().map(|(host, _)| u64::from(*host)).collect();
    spec
}

fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        delay: Duration::ZERO,
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(20),
        grace_period: Duration::from_secs(60),
        consecutive_failures: 3,
    }
}

/// What a server answers to a GET, or why it does not.
async fn get(address: SocketAddr) -> std::io::Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /page HTTP/1.0\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    };
    soon(asked).await
}

/// The same until there is an answer.
pub(super) async fn page(address: SocketAddr) -> String {
    loop {
        match get(address).await {
            Ok(text) if text.contains("200 OK") => return text,
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// An agent that comes back must have what its tasks hold.
pub(super) const EVERY_PORT: &str = "--resources=ports:[1024-65535]";

pub(super) const SERVE: &str = "echo this is $NAME > page; \
    busybox httpd -p 8080 -h . ; busybox httpd -p 127.0.0.1:9000 -h . ; \
    echo $MESOS_CONTAINER_IP > address; cat /etc/hosts > hosts; hostname >> hosts; echo up; exec sleep 1000";

/// Starts a task that serves on the bridge, and waits until it runs; the port of the machine that leads to it.
pub(super) async fn serve(link: &mut Link, id: &str) -> u16 {
    let port = free_port();
    link.run(&bridged(id, SERVE, &[(port, Transport::Tcp)]))
        .await;
    link.until_it(|status| status.task.as_str() == id && status.state == TaskState::Running)
        .await;
    port
}

/// What serves so is reached by its port.
pub(super) async fn assert_served(ports: [u16; 2]) {
    for port in ports {
        let outside = SocketAddr::from(([127, 0, 0, 1], port));
        assert!(soon(page(outside)).await.contains("this is"));
    }
}

#[tokio::test]
async fn a_task_on_the_bridge_is_reached_by_its_port_checked_inside_and_found_again() {
    let Some(mut scene) = with_bridge(&[EVERY_PORT]).await else {
        return;
    };
    let mut attributes = scene.register.agent_info.attributes.iter();
    let networks = attributes.find(|one| one.name == "networks").unwrap();
    assert_eq!(networks.text.as_ref().unwrap().value, "host,none,bridge");
    assert_eq!(
        scene.work.networks().traces(),
        [""; 0],
        "nobody needs a bridge yet"
    );
    let port = free_port();
    let mut spec = bridged("web", SERVE, &[(port, Transport::Tcp)]);
    spec.command.environment.insert("NAME".into(), "web".into());
    // It hears on the loopback of the container only.
    spec.health_check = Some(check(Probe::Http {
        port: 9000,
        path: "/page".into(),
        statuses: vec![],
        secure: false,
    }));

    scene.link.run(&spec).await;
    let healthy = scene
        .link
        .until_it(|status| status.healthy == Some(true))
        .await;
    let address = healthy.ip_addresses.first().unwrap().clone();
    assert!(address.starts_with("172.31."), "{address}");
    assert_eq!(
        scene.work.said("web", "address").await,
        format!("{address}\n")
    );
    let hosts = scene.work.said("web", "hosts").await;
    let hostname = hosts.lines().last().unwrap();
    let expected =
        format!("127.0.0.1 localhost\n::1 localhost\n{address} {hostname}\n{hostname}\n");
    assert_eq!(hosts, expected);
    let outside = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(soon(page(outside)).await.ends_with("this is web\n"));

    neighbour_reaches(&scene.work, &mut scene.link, &address, port).await;
    let killed = scene.killed().await;
    let without_an_agent = soon(page(outside)).await;
    assert!(without_an_agent.ends_with("this is web\n"));

    let mut scene = killed.again(&[EVERY_PORT]).await;
    assert_eq!(scene.register.tasks.len(), 2);
    assert!(
        soon(page(outside)).await.ends_with("this is web\n"),
        "with the next agent"
    );
    scene.link.kill("neighbour").await;
    scene.link.until(TaskState::Killed).await;
    assert!(
        soon(page(outside)).await.ends_with("this is web\n"),
        "the other one stays"
    );
    scene.link.kill("web").await;
    let ended = scene.link.until(TaskState::Killed).await;
    assert_eq!(ended.ip_addresses, [address]);
    let work = scene.end().await;
    assert_eq!(work.networks().traces(), [""; 0]);
    assert!(get(outside).await.is_err());
}

/// A neighbour reaches a task by its address, and by its port of the host; it goes on running.
async fn neighbour_reaches(work: &Work, link: &mut Link, address: &str, port: u16) {
    let gateway = format!("{}.1", address.rsplit_once('.').unwrap().0);
    let get = |place: String| format!("busybox wget -q -O - http://{place}/page");
    let (own, mapped) = (
        get(format!("{address}:8080")),
        get(format!("{gateway}:{port}")),
    );
    let line = format!("{own} && {mapped} && echo done; sleep 1000");

    link.run(&bridged("neighbour", &line, &[])).await;
    link.until(TaskState::Running).await;

    until(|| work.said_now("neighbour", "stdout").ends_with("done\n")).await;
    let said = work.said_now("neighbour", "stdout");
    assert_eq!(said, "this is web\nthis is web\ndone\n");
}

/// Port 8080 in the network of a container: a socket is of the network in which it was opened.
fn listen_inside(work: &Work, container: &ContainerId) -> UdpSocket {
    let dir = TaskDir::new(work.path.join("tasks").join(container.as_str()));
    let file = PidFile::decode(&fs::read(dir.pid()).unwrap()).unwrap();
    let pid = file.runner.unwrap().task.pid;
    let opening = std::thread::spawn(move || {
        let namespace = fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        let network = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), network).unwrap();
        std::net::UdpSocket::bind("0.0.0.0:8080").unwrap()
    });
    let socket = opening.join().unwrap();
    socket.set_nonblocking(true).unwrap();
    UdpSocket::from_std(socket).unwrap()
}

/// The link address by which the machine reaches an address on the bridge.
pub(super) async fn neighbour(address: &str) -> String {
    let inside: SocketAddr = format!("{address}:8080").parse().unwrap();
    soon(page(inside)).await;
    let shown = std::process::Command::new("ip")
        .args(["-o", "neigh", "show", address])
        .output();
    let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
    let mut words = shown
        .split_ascii_whitespace()
        .skip_while(|word| *word != "lladdr");
    words.nth(1).unwrap_or_default().to_owned()
}

/// The link address that is made of an address.
pub(super) fn made_of(address: &str) -> String {
    let address: std::net::Ipv4Addr = address.parse().unwrap();
    let bytes = address.octets().map(|byte| format!("{byte:02x}"));
    format!("02:42:{}", bytes.join(":"))
}

#[tokio::test]
async fn link_addresses_follow_from_addresses_and_just_freed_ones_come_last_after_a_restart() {
    let Some(mut scene) = with_bridge(&[EVERY_PORT]).await else {
        return;
    };
    let run = async |link: &mut Link, id: &str| {
        link.run(&bridged(id, SERVE, &[])).await;
        let running = link.until(TaskState::Running).await;
        let address = running.ip_addresses.first().unwrap().clone();
        assert_eq!(neighbour(&address).await, made_of(&address));
        address
    };
    let freed = run(&mut scene.link, "freed").await;
    let other = run(&mut scene.link, "other").await;
    let traces = scene.work.networks().traces();
    let bridge = traces.iter().find(|name| name.starts_with("mete-"));
    let own = fs::read_to_string(format!("/sys/class/net/{}/address", bridge.unwrap())).unwrap();
    let (range, _) = freed.rsplit_once('.').unwrap();
    assert_eq!(own.trim(), made_of(&format!("{range}.1")));
    scene.link.kill("freed").await;
    scene.link.until(TaskState::Killed).await;

    let mut scene = scene.again(&[EVERY_PORT]).await;
    let next = run(&mut scene.link, "next").await;

    assert!(next != freed && next != other, "{next} after {freed}");
}

/// Echoes what comes to port 8080 of a container, a word before it.
fn echo(work: &Work, container: &ContainerId, word: &'static str) {
    let listening = listen_inside(work, container);
    tokio::spawn(async move {
        let mut heard = [0; 16];
        while let Ok((count, from)) = listening.recv_from(&mut heard).await {
            let answer = [word.as_bytes(), &heard[..count]].concat();
            let _ = listening.send_to(&answer, from).await;
        }
    });
}

/// The answer to a datagram; one may be lost.
async fn answered(socket: &UdpSocket) -> Vec<u8> {
    let mut answer = [0; 32];
    loop {
        let _ = socket.send(b"hello").await;
        let heard = tokio::time::timeout(Duration::from_millis(100), socket.recv(&mut answer));
        if let Ok(Ok(count)) = heard.await {
            return answer.get(..count).unwrap_or_default().to_vec();
        }
    }
}

#[tokio::test]
async fn datagrams_reach_the_task_that_has_the_port_now_also_of_who_has_sent_before() {
    let Some(mut scene) = with_bridge(&[EVERY_PORT]).await else {
        return;
    };
    let port = free_port();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(("127.0.0.1", port)).await.unwrap();

    // Flows are forgotten with the bridge, too: somebody keeps that.
    serve(&mut scene.link, "keeps").await;

    for (id, word) in [("one", "one: "), ("two", "two: ")] {
        let spec = bridged(id, "exec sleep 1000", &[(port, Transport::Udp)]);
        scene.link.run(&spec).await;
        let running = scene.link.until(TaskState::Running).await;
        echo(&scene.work, running.container.as_ref().unwrap(), word);
        let answer = soon(answered(&socket)).await;
        assert_eq!(String::from_utf8(answer).unwrap(), format!("{word}hello"));
        scene.link.kill(id).await;
        scene.link.until(TaskState::Killed).await;
        until(|| scene.work.networks().traces().len() == 4).await;
        // Whoever keeps sending does not wait for the next one.
        let _ = socket.send(b"nobody").await;
    }
    scene.link.kill("keeps").await;
    scene.link.until(TaskState::Killed).await;
    let work = scene.end().await;
    assert_eq!(work.networks().traces(), [""; 0]);
}

#[tokio::test]
async fn what_is_left_of_killed_tasks_and_a_killed_agent_is_removed_by_the_next() {
    let Some(mut scene) = with_bridge(&[]).await else {
        return;
    };
    for id in ["a", "b"] {
        serve(&mut scene.link, id).await;
    }
    let killed = scene.killed().await;
    let traces = killed.work.networks().traces();
    assert_eq!(
        traces.len(),
        6,
        "bridge, two links, two namespaces, table: {traces:?}"
    );
    // Everything of the tasks dies, and of one even its directory is gone.
    let dirs: Vec<_> = fs::read_dir(killed.work.path.join("tasks"))
        .unwrap()
        .flatten()
        .collect();
    for (at, dir) in dirs.iter().enumerate() {
        let dir = TaskDir::new(dir.path());
        let file = PidFile::decode(&fs::read(dir.pid()).unwrap()).unwrap();
        mete_agent::processes::signal(file.runner.unwrap().shim, rustix::process::Signal::KILL);
        mete_agent::shims::kill_remains(&dir);
        if at == 0 {
            fs::remove_dir_all(dir.path()).unwrap();
        }
    }

    let mut scene = killed.again(&[]).await;
    scene.link.until(TaskState::Failed).await;
    until(|| scene.work.networks().traces().is_empty()).await;
}

#[tokio::test]
async fn a_task_opens_no_port_that_is_not_its_own() {
    let Some(mut scene) = with_bridge(&[]).await else {
        return;
    };
    let mut spec = bridged("thief", "true", &[(22, Transport::Tcp)]);
    spec.resources.ports = [31_000].into_iter().collect();

    scene.link.run(&spec).await;
    let failed = scene.link.until(TaskState::Failed).await;

    let message = failed.message.unwrap();
    let expected = "port 22 of the host, mapped to 8080, is none of the task's";
    assert!(message.contains(expected), "{message}");
    assert_eq!(scene.work.networks().traces(), [""; 0]);
}

#[tokio::test]
async fn a_container_without_an_image_has_the_bridge_too() {
    let Some(mut scene) = with_bridge(&[]).await else {
        return;
    };
    let mut spec = bridged("plain", "cat /etc/hosts; hostname; cat /proc/net/dev", &[]);
    if let Some(container) = &mut spec.container {
        container.image = None;
        container.hostname = Some("plain.example".into());
    }

    scene.link.run(&spec).await;
    let ended = scene.link.until(TaskState::Finished).await;

    let address = ended.ip_addresses.first().unwrap();
    let said = scene.work.said_now("plain", "stdout");
    let expected =
        format!("127.0.0.1 localhost\n::1 localhost\n{address} plain.example\nplain.example\n");
    assert!(said.starts_with(&expected), "{said}");
    let devices: Vec<_> = said
        .lines()
        .filter_map(|line| line.trim().split_once(": "))
        .collect();
    let names: Vec<_> = devices.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["lo", "eth0"], "{said}");
}

/// Two networks by the distribution's plugins, with leases in a directory of the test; their bridge goes with this.
pub(super) struct Plugged {
    place: std::path::PathBuf,
    bridge: String,
}

impl Plugged {
    pub(super) fn new(work: &Work) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let place = work.beside().join("cni");
        fs::create_dir_all(&place).unwrap();
        // Tests run side by side.
        let number = (std::process::id() + MADE.fetch_add(1, Ordering::Relaxed)) % 250;
        let plugged = Self {
            bridge: format!("metetest{number}"),
            place,
        };
        let ipam = |second: u32| {
            let leases = plugged.place.join("leases");
            let subnet = format!("10.{second}.{number}.0/24");
            serde_json::json!({ "type": "host-local", "dataDir": leases, "ranges": [[{ "subnet": subnet }]] })
        };
        let networks = [
            serde_json::json!({ "cniVersion": "1.0.0", "name": "blue", "plugins": [
                { "type": "bridge", "bridge": plugged.bridge, "isGateway": true, "ipam": ipam(231) },
            ] }),
            serde_json::json!({ "cniVersion": "1.0.0", "name": "green", "type": "ptp", "ipam": ipam(232) }),
        ];
        for (at, network) in networks.iter().enumerate() {
            let file = plugged.place.join(format!("{at}.conflist"));
            fs::write(file, network.to_string()).unwrap();
        }
        plugged
    }

    /// The option of an agent that has them.
    pub(super) fn option(&self) -> String {
        format!("--network-cni-config={}", self.place.display())
    }

    /// Whether the plugins are there; says when not.
    pub(super) fn possible() -> bool {
        let there = std::path::Path::new("/usr/lib/cni/ptp").exists();
        if !there {
            eprintln!("skipped: containernetworking-plugins are not installed");
        }
        there
    }

    /// Addresses that are given out.
    pub(super) fn leases(&self) -> Vec<String> {
        let mut found = Vec::new();
        for network in ["blue", "green"] {
            let leases = fs::read_dir(self.place.join("leases").join(network));
            let names = leases.into_iter().flatten().flatten();
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            found.extend(names.filter(|name| name.starts_with("10.")));
        }
        found
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        // Plugins leave their bridge.
        let mut removed = std::process::Command::new("ip");
        let _ = removed.args(["link", "del", &self.bridge]).status();
    }
}

/// The first of its networks has a label.
fn labelled(spec: &TaskSpec) -> mesos::TaskInfo {
    let mut info = mesos::TaskInfo::from(spec);
    let asked = &mut info.container.as_mut().unwrap().network_infos[0];
    let tier = mesos::Label {
        key: "tier".into(),
        value: Some("front".into()),
    };
    asked.labels = Some(mesos::Labels { labels: vec![tier] });
    info
}

/// Names, labels and addresses of networks, as a report has them.
fn networks_told(status: &TaskStatus) -> String {
    let whole = status.original.as_deref().unwrap();
    let whole = mesos::TaskStatus::decode(whole).unwrap();
    let networks = whole.container_status.unwrap().network_infos;
    let each = networks.iter().map(|one| {
        let labels = one.labels.iter().flat_map(|all| &all.labels);
        let keys = labels.map(|label| format!(" {}", label.key));
        let there = one.ip_addresses[0].ip_address();
        format!("{}{} {there}", one.name(), keys.collect::<String>())
    });
    each.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn networks_by_name_are_joined_by_plugins_and_left_again() {
    let work = Work::new();
    if !bridges(&work) {
        return;
    }
    if !Plugged::possible() {
        return;
    }
    let plugged = Plugged::new(&work);
    let config = plugged.option();
    let mut scene = Scene::in_work(work, &[&config]).await;
    let mut attributes = scene.register.agent_info.attributes.iter();
    let networks = attributes.find(|one| one.name == "networks").unwrap();
    let names = &networks.text.as_ref().unwrap().value;
    assert_eq!(names, "host,none,bridge,blue,green");
    let line =
        "cat /proc/net/dev > devices; echo this is web > page; exec busybox httpd -f -p 8080 -h .";
    let mut spec = bridged("web", line, &[]);
    if let Some(container) = &mut spec.container {
        container.network = Network::Named {
            names: vec!["blue".into(), "green".into()],
            ports: Vec::new(),
        };
    }

    scene.link.run_info(labelled(&spec)).await;
    let running = scene.link.until(TaskState::Running).await;
    let [blue, green] = running.ip_addresses.as_slice() else {
        panic!("an address on each: {:?}", running.ip_addresses)
    };
    assert!(blue.starts_with("10.231.") && green.starts_with("10.232."));
    let told = format!("blue tier {blue}, green {green}");
    assert_eq!(networks_told(&running), told);
    assert_eq!(plugged.leases().len(), 2);
    let inside: SocketAddr = format!("{blue}:8080").parse().unwrap();
    assert!(soon(page(inside)).await.ends_with("this is web\n"));
    let devices = scene.work.said("web", "devices").await;
    assert!(
        devices.contains("eth0:") && devices.contains("eth1:"),
        "{devices}"
    );

    let mut scene = scene.again(&[&config]).await;
    assert!(soon(page(inside)).await.ends_with("this is web\n"));
    scene.link.run(&with_network("lost", "violet")).await;
    let refused = scene.link.until(TaskState::Failed).await.message.unwrap();
    assert!(refused.contains("violet: no file in"), "{refused}");
    scene.link.kill("web").await;
    scene.link.until(TaskState::Killed).await;
    let work = scene.end().await;
    assert_eq!(work.networks().traces(), [""; 0]);
    assert_eq!(plugged.leases(), [""; 0]);
}

#[tokio::test]
async fn rules_that_somebody_has_removed_are_made_again_with_the_next_container() {
    let Some(mut scene) = with_bridge(&[EVERY_PORT]).await else {
        return;
    };
    let one = serve(&mut scene.link, "one").await;
    let traces = scene.work.networks().traces();
    let table = traces.iter().find(|name| name.starts_with("mete_"));
    let removed = std::process::Command::new("nft")
        .args(["delete", "table", "ip", table.unwrap()])
        .status();
    assert!(removed.unwrap().success());

    let other = serve(&mut scene.link, "other").await;

    assert_served([one, other]).await;
}

fn with_network(id: &str, name: &str) -> TaskSpec {
    contained(id, "true", |container| {
        container.network = Network::Named {
            names: vec![name.into()],
            ports: Vec::new(),
        };
    })
}

#[tokio::test]
async fn a_range_that_another_bridge_has_is_refused_and_the_other_is_left_alone() {
    const SUBNET: &str = "--bridge-subnet=172.30.211.0/24";
    let Some(mut one) = with_bridge(&[EVERY_PORT, SUBNET]).await else {
        return;
    };
    let served = serve(&mut one.link, "one").await;
    let Some(mut other) = with_bridge(&[EVERY_PORT, SUBNET]).await else {
        return;
    };

    let port = (free_port(), Transport::Tcp);
    other.link.run(&bridged("other", SERVE, &[port])).await;
    let failed = other.link.until(TaskState::Failed).await;

    let said = failed.message.unwrap_or_default();
    assert!(
        said.contains("172.30.211.0/24") && said.contains("172.30.211.1"),
        "{said}"
    );
    assert_served([served, served]).await;
    other.end().await;
    one.link.kill("one").await;
    one.link.until(TaskState::Killed).await;
    let work = one.end().await;
    assert_eq!(work.networks().traces(), [""; 0]);
}
