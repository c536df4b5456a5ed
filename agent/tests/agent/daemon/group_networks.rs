//! Groups on the bridge and on networks by name: their tasks are one to the outside, and at home with each other.

use std::net::SocketAddr;

use mete_model::container::{Network, PortMapping, Transport};
use mete_model::{TaskSpec, TaskState, TaskStatus};

use super::contained::contained;
use super::groups::{executor, heard, run, sandbox};
use super::master::{Link, task};
use super::networks::{
    EVERY_PORT, Plugged, bridged, bridges, free_port, made_of, neighbour, page, with_bridge,
};
use super::world::{Scene, Work};
use crate::support::soon;

/// In an image: serves a page that it asks its neighbour for.
fn front() -> TaskSpec {
    contained(
        "front",
        "cat /etc/hosts > hosts; hostname > name; echo $MESOS_CONTAINER_IP > address; \
         until busybox wget -q -O page http://127.0.0.1:9000/page; do sleep 0.02; done; exec busybox httpd -f -p 8080 -h .",
        |_| {},
    )
}

/// On the machine's files: the neighbour.
fn back() -> TaskSpec {
    task(
        "back",
        "hostname > name; echo from behind > page; exec busybox httpd -f -p 127.0.0.1:9000 -h .",
    )
}

fn written(work: &Work, task: &str, file: &str) -> String {
    std::fs::read_to_string(sandbox(work, task).join(file)).unwrap()
}

/// Has both run; the address that both tell.
async fn both_run(link: &mut Link) -> String {
    let wanted = [("front", TaskState::Running), ("back", TaskState::Running)];
    let running = heard(link, &wanted).await;
    let [one, other] = &*running else {
        panic!("{running:?}")
    };
    assert_eq!(one.ip_addresses, other.ip_addresses);
    one.ip_addresses.first().unwrap().clone()
}

async fn both_end(link: &mut Link) {
    link.kill("front").await;
    let wanted = [("front", TaskState::Killed), ("back", TaskState::Killed)];
    heard(link, &wanted).await;
}

#[tokio::test]
async fn a_group_on_the_bridge_is_reached_by_its_port_and_talks_over_its_loopback() {
    let Some(mut scene) = with_bridge(&[EVERY_PORT]).await else {
        return;
    };
    let port = free_port();
    let mut pod = executor(Network::Bridge {
        ports: vec![PortMapping {
            host: port,
            container: 8080,
            transport: Transport::Tcp,
        }],
    });
    pod.resources.ports = [u64::from(port)].into_iter().collect();

    run(&scene.link, &pod, &[front(), back()]).await;
    let address = both_run(&mut scene.link).await;

    assert_eq!(neighbour(&address).await, made_of(&address));
    let outside = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(soon(page(outside)).await.ends_with("from behind\n"));
    assert_eq!(
        written(&scene.work, "front", "address"),
        format!("{address}\n")
    );
    let name = written(&scene.work, "front", "name");
    assert_eq!(name, written(&scene.work, "back", "name"));
    assert_eq!(
        written(&scene.work, "front", "hosts"),
        format!("127.0.0.1 localhost\n::1 localhost\n{address} {name}")
    );
    let traces = scene.work.networks().traces();
    assert_eq!(traces.len(), 4, "one link and one namespace: {traces:?}");
    let killed = scene.killed().await;
    assert!(soon(page(outside)).await.ends_with("from behind\n"));
    let mut scene = killed.again(&[EVERY_PORT]).await;
    assert_eq!(scene.register.tasks.len(), 2);
    assert!(soon(page(outside)).await.ends_with("from behind\n"));
    both_end(&mut scene.link).await;
    let work = scene.end().await;
    assert_eq!(work.networks().traces(), [""; 0]);
    let mut left = std::fs::read_dir(work.path.join("tasks")).unwrap();
    assert!(left.next().is_none());
}

#[tokio::test]
async fn a_group_joins_networks_by_name_as_one() {
    let work = Work::new();
    if !bridges(&work) || !Plugged::possible() {
        return;
    }
    let plugged = Plugged::new(&work);
    let config = plugged.option();
    let mut scene = Scene::in_work(work, &[&config]).await;
    let pod = executor(Network::Named {
        names: vec!["blue".into()],
        ports: Vec::new(),
    });

    run(&scene.link, &pod, &[front(), back()]).await;
    let address = both_run(&mut scene.link).await;

    assert_eq!(plugged.leases(), std::slice::from_ref(&address));
    let inside: SocketAddr = format!("{address}:8080").parse().unwrap();
    assert!(soon(page(inside)).await.ends_with("from behind\n"));
    both_end(&mut scene.link).await;
    let work = scene.end().await;
    assert_eq!(work.networks().traces(), [""; 0]);
    assert_eq!(plugged.leases(), [""; 0]);
}

#[tokio::test]
async fn a_group_opens_no_port_that_is_not_its_own_and_its_tasks_have_no_other_network() {
    let mut scene = Scene::with(&[]).await;
    let ports = vec![PortMapping {
        host: 22,
        container: 8080,
        transport: Transport::Tcp,
    }];

    run(&scene.link, &executor(Network::Bridge { ports }), &[back()]).await;
    let refused = scene.link.until(TaskState::Failed).await.message.unwrap();
    assert_eq!(
        refused,
        "port 22 of the host, mapped to 8080, is none of the executor's or of its tasks'"
    );
    let own = contained("own", "true", |around| around.network = Network::None);
    run(&scene.link, &executor(Network::Host), &[own]).await;
    let refused = scene.link.until(TaskState::Error).await.message.unwrap();
    assert_eq!(
        refused,
        "task_group.tasks[0].container.network_infos: a value is not possible: tasks of a group have the network of their executor"
    );
}

#[tokio::test]
async fn a_port_of_a_groups_task_leads_into_the_group_until_somebody_else_opens_it() {
    let Some(mut scene) = with_bridge(&[EVERY_PORT]).await else {
        return;
    };
    let port = free_port();
    let pod = executor(Network::Bridge {
        ports: vec![PortMapping {
            host: port,
            container: 8080,
            transport: Transport::Tcp,
        }],
    });
    let mut neighbour = back();
    neighbour.resources.ports = [u64::from(port)].into_iter().collect();
    let outside = SocketAddr::from(([127, 0, 0, 1], port));

    run(&scene.link, &pod, &[front(), neighbour]).await;
    both_run(&mut scene.link).await;
    assert!(soon(page(outside)).await.ends_with("from behind\n"));

    let line = "echo of another > page; exec busybox httpd -f -p 8080 -h .";
    scene
        .link
        .run(&bridged("other", line, &[(port, Transport::Tcp)]))
        .await;
    let other = |status: &TaskStatus| status.task.as_str() == "other";
    let told = scene.link.until_it(other).await;
    assert_ne!(told.state, TaskState::Failed, "{told:?}");
    until_page(outside, "of another\n").await;
    let _scene = scene.again(&[EVERY_PORT]).await;
    until_page(outside, "of another\n").await;
}

async fn until_page(address: SocketAddr, end: &str) {
    let served = async { while !page(address).await.ends_with(end) {} };
    soon(served).await;
}
