//! HAProxy dies, the sync dies, both do, the service framework is away: what is left goes on, what died comes back.

use std::error::Error as _;
use std::time::Duration;

use mete_daemon::clock;
use mete_daemon::exit::Exit;
use mete_proto::rest::backends::Mode;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use crate::fixture::{
    DEADLINE, Load, Running, Task, World, answer_of, ask, draining, eventually, free_port, gone,
    service,
};

fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it was alive");
}

fn master(world: &World) -> u32 {
    let text = std::fs::read_to_string(world.state_dir().join("haproxy.pid")).expect("a pid file");
    text.trim().parse().expect("a pid")
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_killed_is_back_with_all_backends() {
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
    let version = world
        .framework
        .instances("/web", |instances| instances.push(b.up()));
    world.framework.acked(version).await;

    for whom in ["worker", "master"] {
        let (worker, _) = world.generation().await;
        let begin = clock::elapsed();
        kill(if whom == "worker" {
            worker
        } else {
            master(&world)
        });
        eventually("another worker", || async {
            let now = world.sockets().worker().await.ok()?;
            (now.pid != worker).then_some(())
        })
        .await;
        eventually("an answer", || ask(port)).await;
        println!(
            "{whom} killed, traffic again after {:?}",
            clock::elapsed() - begin
        );
        eventually("both servers", || async {
            (world.rows().await.len() == 2).then_some(())
        })
        .await;
    }
    // And it goes on from there.
    let version = world.framework.instances("/web", draining("web.a"));
    world.framework.acked(version).await;
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sync_takes_over_without_a_reload_and_without_a_failed_request() {
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
    let version = world
        .framework
        .instances("/web", |instances| instances.push(b.up()));
    world.framework.acked(version).await;
    let before = (world.generation().await, master(&world));
    let load = Load::on(port);

    sync.kill().await;
    assert_eq!(
        ask(port).await.map(|_| ()),
        Some(()),
        "haproxy goes on by itself"
    );
    // What happens meanwhile is made up for.
    let version = world.framework.instances("/web", draining("web.a"));
    let begin = clock::elapsed();
    let sync = world.sync_with(&[&format!("--port={}", free_port())]);
    world.framework.acked(version).await;
    println!("a new sync in step after {:?}", clock::elapsed() - begin);
    let version = world.framework.instances("/web", gone("web.a"));
    world.framework.acked(version).await;
    eventually("web.a to go", || async {
        world.row("web.a").await.is_none().then_some(())
    })
    .await;

    assert_eq!(
        (world.generation().await, master(&world)),
        before,
        "the same haproxy, not reloaded"
    );
    sync.end().await.expect("a good end");
    assert_eq!(
        ask(port).await.as_deref(),
        Some("web.b"),
        "haproxy outlives a sync that was asked to end"
    );
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_port_that_came_while_no_sync_ran_is_made_up_for() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, new, task) = (free_port(), free_port(), Task::http("web").await);
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![task.up()])));
    world.framework.acked(version).await;

    sync.end().await.expect("a good end");
    let version = world.framework.change(|all| {
        all[0].service_port = new;
    });
    let sync = world.sync();
    world.framework.acked(version).await;

    assert_eq!(ask(new).await.as_deref(), Some("web"));
    assert_eq!(ask(port).await, None, "the old port is closed");
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_and_sync_both_dead_come_back_without_the_service_framework() {
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
    let version = world
        .framework
        .instances("/web", |instances| *instances = vec![b.up()]);
    world.framework.acked(version).await;
    sync.end().await.expect("a good end");
    kill(master(&world));
    eventually("haproxy to be gone", || async {
        ask(port).await.is_none().then_some(())
    })
    .await;
    world.framework.stop();

    let sync = world.sync();

    let answer = eventually("an answer", || ask(port)).await;
    assert_eq!(answer, "web.b");
    assert_eq!(
        world.state().await["version"],
        serde_json::Value::Null,
        "nothing is in effect that nobody has told"
    );
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_ends_with_the_sync_when_asked_to() {
    let world = World::new().await;
    let sync = world.sync_with(&["--stop-haproxy-on-exit"]);
    let (port, task) = (free_port(), Task::http("web").await);
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![task.up()])));
    world.framework.acked(version).await;
    let pid = master(&world);

    let begin = clock::elapsed();
    sync.end().await.expect("a good end");

    println!("haproxy stopped in {:?}", clock::elapsed() - begin);
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(
        !String::from_utf8_lossy(&line).contains("haproxy.cfg"),
        "it is gone"
    );
    assert_eq!(ask(port).await, None);
    for socket in ["admin.sock", "master.sock"] {
        assert!(!world.state_dir().join(socket).exists(), "{socket} is left");
    }
}

#[expect(clippy::too_many_lines, reason = "one straight list of faults")]
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_is_said_at_once() {
    let world = World::new().await;
    let sync = world.sync();
    world.framework.acked(1).await;

    let free = free_port();
    let port = format!("--port={free}");
    let error = failure(world.sync_with(&[&port])).await;
    assert!(
        error.to_string().contains("another haproxy-sync"),
        "{error}"
    );
    assert_eq!(Exit::of(&error), Exit::Store);

    let long = format!("--state-dir=/tmp/{}", "x".repeat(90));
    let error = failure(world.sync_with(&[&port, &long])).await;
    assert!(
        error.to_string().contains("haproxy takes 97")
            || error.to_string().contains("HAProxy takes 97"),
        "{error}"
    );
    std::fs::remove_dir(format!("/tmp/{}", "x".repeat(90))).expect("it was made");

    let odd = format!("--state-dir={}", world.folder.path().join("a b").display());
    let error = failure(world.sync_with(&[&port, &odd])).await;
    assert!(
        error.to_string().contains("has characters other than"),
        "{error}"
    );

    let other = format!(
        "--state-dir={}",
        world.folder.path().join("other").display()
    );
    let error = failure(world.sync_with(&[&port, &other])).await;
    assert_eq!(error.to_string(), "haproxy cannot have its http frontend");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert_eq!(
        cause,
        format!(
            "port {} on 127.0.0.1 is in use by another process",
            world.http
        )
    );

    let error = failure(world.sync_with(&[&port, &other, "--haproxy=/nowhere/haproxy"])).await;
    assert!(
        error
            .to_string()
            .starts_with("cannot run /nowhere/haproxy (install haproxy"),
        "{error}"
    );
    let error = failure(world.sync_with(&[&port, &other, "--haproxy=/bin/true"])).await;
    assert!(
        error.to_string().contains("is not haproxy 2.6 or newer"),
        "{error}"
    );

    let template = world.folder.path().join("bad.j2");
    std::fs::write(&template, "{{ nothing.there }}").expect("written");
    let arguments = [
        format!("--template={}", template.display()),
        format!("--http-bind=127.0.0.1:{}", free_port()),
    ];
    let stats = format!("--stats-bind=127.0.0.1:{}", free_port());
    let error =
        failure(world.sync_with(&[&port, &other, &arguments[0], &arguments[1], &stats])).await;
    assert_eq!(error.to_string(), "there is no usable configuration");
    sync.end().await.expect("a good end");
}

async fn failure(running: Running) -> mete_discovery::RunError {
    let ended = timeout(DEADLINE, running.job)
        .await
        .expect("it ends by itself")
        .expect("no panic");
    ended.expect_err("it cannot work")
}

#[tokio::test(flavor = "multi_thread")]
async fn others_may_neither_read_the_state_nor_open_the_sockets() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let sync = world.sync();
    world.framework.acked(1).await;
    let mode = |name: &str| {
        let path = world.state_dir().join(name);
        std::fs::metadata(path)
            .expect("it exists")
            .permissions()
            .mode()
            & 0o777
    };

    assert_eq!(mode(""), 0o700);
    for name in ["admin.sock", "master.sock", "haproxy.cfg"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let health = answer_of(format!("http://127.0.0.1:{}/health", world.own)).await;
    assert_eq!(health.status(), 200);
    let metrics = answer_of(format!("http://127.0.0.1:{}/metrics", world.own)).await;
    let text = metrics.text().await.expect("text");
    assert!(
        text.contains("mete_haproxy_starts_total 1") && text.contains("mete_haproxy_version 1"),
        "{text}"
    );
    timeout(Duration::from_secs(10), sync.end())
        .await
        .expect("in time")
        .expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_haproxy_is_started_anew() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, task) = (free_port(), Task::http("web").await);
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![task.up()])));
    world.framework.acked(version).await;
    let (hung, _) = world.generation().await;

    let pid = Pid::from_raw(i32::try_from(hung).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::STOP).expect("it was alive");

    let begin = clock::elapsed();
    eventually("another worker", || async {
        let worker = timeout(Duration::from_millis(100), world.sockets().worker()).await;
        worker
            .ok()?
            .ok()
            .filter(|worker| worker.pid != hung)
            .map(|_| ())
    })
    .await;
    println!("hung haproxy replaced after {:?}", clock::elapsed() - begin);
    assert_eq!(ask(port).await.as_deref(), Some("web"));
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_answered_and_the_token_is_shown() {
    let world = World::new().await;
    let token = world.folder.path().join("token");
    std::fs::write(&token, "0123456789abcdef0123\n").expect("written");
    world.framework.want_token("0123456789abcdef0123");
    let sync = world.sync_with(&[
        &format!("--token-file={}", token.display()),
        "--proxy-id=edge-1",
    ]);
    world.framework.acked(1).await;
    let before = world.framework.proxies().len();

    world.framework.beat();

    eventually("one more acknowledgement", || async {
        (world.framework.proxies().len() > before).then_some(())
    })
    .await;
    assert!(
        world
            .framework
            .proxies()
            .iter()
            .all(|proxy| proxy == "edge-1")
    );
    let state = answer_of(format!("http://127.0.0.1:{}/state", world.own)).await;
    assert_eq!(state.status(), 401, "the sync's own port wants it too");
    sync.end().await.expect("a good end");
}
