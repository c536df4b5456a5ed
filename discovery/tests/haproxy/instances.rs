//! Instances that come, drain, go and die: runtime commands, never a reload, acknowledged when read back.

use std::time::Duration;

use mete_daemon::clock;
use mete_discovery::haproxy::rows::Admin;
use mete_proto::rest::backends::{Ack, Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{
    Load, Task, World, ask, draining, eventually, free_port, gone, service, with_labels,
};

#[tokio::test(flavor = "multi_thread")]
async fn instances_come_drain_and_go_without_a_reload() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, a, b) = (
        free_port(),
        Task::http("web.a").await,
        Task::http("web.b").await,
    );
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![a.up()])));
    world.framework.acked(version).await;
    assert_eq!(ask(port).await.as_deref(), Some("web.a"));
    let before = world.generation().await;
    let load = Load::on(port);

    let came = world
        .framework
        .instances("/web", |instances| instances.push(b.up()));
    world.framework.acked(came).await;
    let row = world.row("web.b").await.expect("acknowledged means there");
    assert_eq!((row.admin, row.is_checked), (Admin::Ready, true));

    let drains = world.framework.instances("/web", draining("web.a"));
    let ack = world.framework.ack("no sessions left", |ack| {
        (ack.version == drains && ack.draining.iter().all(|task| task.sessions == 0))
            .then(|| ack.clone())
    });
    assert_eq!(ack.await.draining[0].task_id, "web.a");
    assert_eq!(
        world.row("web.a").await.expect("still there").admin,
        Admin::Drain
    );
    assert_eq!(ask(port).await.as_deref(), Some("web.b"));

    drop(a);
    let went = world.framework.instances("/web", gone("web.a"));
    world.framework.acked(went).await;
    assert!(
        world
            .row("web.a")
            .await
            .is_none_or(|row| row.admin == Admin::Maintenance)
    );
    eventually("web.a to be forgotten", || async {
        world.row("web.a").await.is_none().then_some(())
    })
    .await;

    assert!(load.end().await > 0);
    assert_eq!(world.generation().await, before, "no reload");
    eventually("the file to follow", || async {
        let text = world.config_text();
        (text.contains("server web.b ") && !text.contains("server web.a ")).then_some(())
    })
    .await;
    assert!(
        world
            .framework
            .proxies()
            .iter()
            .all(|proxy| proxy.starts_with("haproxy-"))
    );
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_do_not_listen_yet_get_no_request_until_they_do() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, first) = (free_port(), Task::http("web.a").await);
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![first.up()])));
    world.framework.acked(version).await;
    let load = Load::on(port);
    let late = ["web.b", "web.c", "web.d", "web.e"].map(|name| (name, free_port()));

    let came = world.framework.instances("/web", |instances| {
        instances.extend(
            late.map(|(name, port)| mete_proto::rest::backends::Instance {
                task_id: name.to_owned(),
                port,
                ..first.up()
            }),
        );
    });
    world.framework.acked(came).await;
    let row = world.row("web.b").await.expect("acknowledged means there");
    assert_eq!((row.admin, row.is_up), (Admin::Ready, false));

    let begun = Task::http_on("web.b", late[0].1).await;
    eventually("web.b to be up", || async {
        let row = world.row("web.b").await?;
        row.is_up.then_some(())
    })
    .await;
    eventually("web.b to be asked", || async {
        (ask(port).await.as_deref() == Some("web.b")).then_some(())
    })
    .await;

    assert!(load.end().await > 0);
    drop((first, begun));
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_to_drain_serves_on_until_another_listens() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, old) = (free_port(), Task::http("web.a").await);
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![old.up()])));
    world.framework.acked(version).await;
    let load = Load::on(port);
    let late = free_port();

    let replaced = world.framework.instances("/web", |instances| {
        draining("web.a")(instances);
        let next = mete_proto::rest::backends::Instance {
            task_id: "web.b".to_owned(),
            port: late,
            ..old.up()
        };
        instances.push(next);
    });
    let ack = world.framework.acked(replaced).await;
    assert!(ack.draining[0].sessions > 0, "{ack:?}");
    assert_eq!(ask(port).await.as_deref(), Some("web.a"));

    let begun = Task::http_on("web.b", late).await;
    let is_free = |ack: &Ack| (ack.draining[0].sessions == 0).then_some(());
    world.framework.ack("the old one to be free", is_free).await;
    assert_eq!(ask(port).await.as_deref(), Some("web.b"));
    drop(old);
    assert!(load.end().await > 0);
    drop(begun);
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_sessions_of_a_draining_server_are_told_until_they_end() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, a, b) = (
        free_port(),
        Task::echo("tcp.a").await,
        Task::echo("tcp.b").await,
    );
    let version = world
        .framework
        .change(|all| all.push(service("/tcp", port, Mode::Tcp, vec![a.up()])));
    world.framework.acked(version).await;
    let mut session = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    echo(&mut session).await;

    // A reload in between: the session goes on in the old worker, which must be counted too.
    let other = free_port();
    let version = world.framework.change(|all| {
        all[0].instances.push(b.up());
        all.push(service("/other", other, Mode::Http, vec![]));
    });
    world.framework.acked(version).await;
    echo(&mut session).await;

    let drains = world.framework.instances("/tcp", draining("tcp.a"));
    let sessions = |ack: &mete_proto::rest::backends::Ack| {
        (ack.version == drains).then(|| ack.draining[0].sessions)
    };
    assert_eq!(world.framework.ack("the open session", sessions).await, 1);
    let mut second = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    echo(&mut second).await;
    let after_second = world.framework.ack("the same", sessions).await;
    assert_eq!(after_second, 1, "the new session is on the other server");
    echo(&mut session).await;

    let begin = clock::elapsed();
    drop(session);
    world
        .framework
        .ack("no session", |ack| {
            sessions(ack).filter(|sessions| *sessions == 0)
        })
        .await;
    println!(
        "end of a session to acknowledgement: {:?}",
        clock::elapsed() - begin
    );
    sync.end().await.expect("a good end");
}

async fn echo(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.expect("it takes bytes");
    let mut back = [0; 5];
    stream
        .read_exact(&mut back)
        .await
        .expect("it gives them back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_on_a_draining_server_ends_well() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, a, b) = (
        free_port(),
        Task::http("web.a").await,
        Task::http("web.b").await,
    );
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![a.up()])));
    world.framework.acked(version).await;
    let slow = tokio::spawn(async move { crate::fixture::ask_host(port, "x", "/slow").await });
    eventually("the request to be there", || async {
        let answer = world
            .sockets()
            .ask(&format!("show stat web_{port} 4 -1"))
            .await
            .ok()?;
        let mut sessions = Default::default();
        mete_discovery::haproxy::rows::add_sessions(&answer, &mut sessions).ok()?;
        (sessions.values().sum::<u64>() == 1).then_some(())
    })
    .await;

    let drains = world.framework.instances("/web", |instances| {
        draining("web.a")(instances);
        instances.push(b.up());
    });
    let sessions = |ack: &mete_proto::rest::backends::Ack| {
        (ack.version == drains).then(|| ack.draining[0].sessions)
    };

    assert_eq!(
        world.framework.ack("the request in flight", sessions).await,
        1
    );
    assert_eq!(ask(port).await.as_deref(), Some("web.b"));
    world
        .framework
        .ack("its end", |ack| {
            sessions(ack).filter(|sessions| *sessions == 0)
        })
        .await;
    assert_eq!(
        slow.await.expect("no panic"),
        Some((200, "web.a".to_owned()))
    );
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_instance_leaves_although_the_service_framework_is_down() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, a, b) = (
        free_port(),
        Task::http("web.a").await,
        Task::http("web.b").await,
    );
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![a.up(), b.up()])));
    world.framework.acked(version).await;

    world.framework.stop();
    let load = Load::on(port);
    let begin = clock::elapsed();
    drop(a);
    eventually("haproxy's checks to notice", || async {
        world
            .row("web.a")
            .await
            .filter(|row| !row.is_up)
            .map(|_| ())
    })
    .await;
    println!(
        "dead instance out by haproxy's own checks after {:?}",
        clock::elapsed() - begin
    );
    load.end().await;

    // Back with a new epoch, and resumed from the old one's id.
    world.framework.restart().await;
    let version = world.framework.instances("/web", gone("web.a"));
    let ack = world.framework.ack("the new epoch", |ack| {
        (ack.epoch == "epoch-1x" && ack.version == version).then(|| ack.clone())
    });
    ack.await;
    assert!(
        world
            .framework
            .resumed_from()
            .iter()
            .any(|id| id.as_deref() == Some("epoch-1-2"))
    );
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_stay_with_their_server_until_it_drains() {
    let world = World::new().await;
    let sync = world.sync();
    let port = free_port();
    let (a, b) = (Task::http("web.a").await, Task::http("web.b").await);
    let sticky = with_labels(
        service("/web", port, Mode::Http, vec![a.up()]),
        &[("HAPROXY_0_STICKY", "true")],
    );
    let version = world.framework.change(|all| all.push(sticky));
    world.framework.acked(version).await;
    // One that was in the file, one that came later: both must have a cookie.
    let version = world
        .framework
        .instances("/web", |instances| instances.push(b.up()));
    world.framework.acked(version).await;
    let client = mete_daemon::http_client::plain().build().expect("a client");
    let get = |cookie: Option<String>| {
        let request = client
            .get(format!("http://127.0.0.1:{port}/"))
            .header("cookie", cookie.unwrap_or_default());
        async {
            let answer = request.send().await.expect("an answer");
            let cookie = answer
                .headers()
                .get("set-cookie")
                .and_then(|value| value.to_str().ok());
            let cookie = cookie
                .and_then(|value| value.split(';').next())
                .map(str::to_owned);
            (answer.text().await.expect("text"), cookie)
        }
    };
    let mut cookie_of_b = None;
    while cookie_of_b.is_none() {
        let (name, cookie) = get(None).await;
        cookie_of_b = cookie.filter(|_| name == "web.b");
    }
    for _ in 0..5 {
        assert_eq!(get(cookie_of_b.clone()).await.0, "web.b");
    }

    let drains = world.framework.instances("/web", draining("web.b"));
    world.framework.acked(drains).await;

    for _ in 0..5 {
        assert_eq!(get(cookie_of_b.clone()).await.0, "web.a");
    }
    sync.end().await.expect("a good end");
}

/// Not a limit of time but a number for the record: from the service framework's event to its acknowledgement.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_effect_within_milliseconds() {
    let world = World::new().await;
    let sync = world.sync();
    let port = free_port();
    let tasks = [Task::http("web.a").await, Task::http("web.b").await];
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![tasks[0].up()])));
    world.framework.acked(version).await;

    let mut took = Vec::new();
    for _ in 0..20 {
        for change in [true, false] {
            let begin = clock::elapsed();
            let version = world.framework.instances("/web", |instances| {
                instances.truncate(1);
                instances.extend(change.then(|| tasks[1].up()));
            });
            world.framework.acked(version).await;
            took.push(clock::elapsed() - begin);
        }
    }
    took.sort_unstable();
    println!(
        "change of an instance to acknowledgement: p50 {:?}, max {:?}",
        took[20], took[39]
    );
    assert!(took[20] < Duration::from_secs(1));
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_instances_come_at_once() {
    let world = World::new().await;
    let sync = world.sync();
    let port = free_port();
    let task = Task::http("web.a").await;
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![task.up()])));
    world.framework.acked(version).await;
    let before = world.generation().await;

    let begin = clock::elapsed();
    let version = world.framework.instances("/web", |instances| {
        instances.extend((0..1000).map(|number| {
            let mut instance = task.up();
            instance.task_id = format!("web.{number}");
            instance
        }));
    });
    world.framework.acked(version).await;
    println!(
        "1000 instances in effect after {:?}",
        clock::elapsed() - begin
    );

    assert_eq!(world.rows().await.len(), 1001);
    assert_eq!(world.generation().await, before, "no reload");
    sync.end().await.expect("a good end");
}
