//! Service ports that come and go: reloads that nobody notices. Configurations that HAProxy refuses.

use mete_daemon::clock;
use mete_proto::rest::backends::Mode;
use std::time::Duration;

use crate::fixture::{
    Load, Task, World, ask, ask_host, draining, eventually, free_port, service, with_labels,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_port_is_a_reload_that_fails_no_request() {
    let world = World::new().await;
    let sync = world.sync();
    let (port, web, other) = (
        free_port(),
        Task::http("web.a").await,
        Task::http("other.a").await,
    );
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![web.up()])));
    world.framework.acked(version).await;
    let (_, reloads) = world.generation().await;
    let load = Load::on(port);

    let mut took = Vec::new();
    for round in 0..4 {
        let new = free_port();
        let begin = clock::elapsed();
        let app = format!("/other-{round}");
        let version = world
            .framework
            .change(|all| all.push(service(&app, new, Mode::Http, vec![other.up()])));
        world.framework.acked(version).await;
        took.push(clock::elapsed() - begin);
        assert_eq!(ask(new).await.as_deref(), Some("other.a"));
    }
    let version = world
        .framework
        .change(|all| all.retain(|service| service.app_id == "/web"));
    world.framework.acked(version).await;

    let done = load.end().await;
    let (_, now) = world.generation().await;
    println!(
        "{done} requests over {} reloads, none failed; new port to acknowledgement {took:?}",
        now - reloads
    );
    assert_eq!(now - reloads, 5);
    assert_eq!(ask(port).await.as_deref(), Some("web.a"));
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_port_that_an_app_leaves_goes_to_another_without_a_failed_request() {
    let world = World::new().await;
    let sync = world.sync();
    let (blue, green) = (Task::http("blue.a").await, Task::http("green.a").await);
    let port = free_port();
    let version = world.framework.change(|all| {
        all.push(service("/blue", port, Mode::Http, vec![blue.up()]));
        let mut waits = service("/green", port, Mode::Http, vec![green.up()]);
        waits.since = "2026-11-30T12:00:00.000Z".to_owned();
        all.push(waits);
    });
    world.framework.acked(version).await;
    let load = Load::on(port);
    eventually("blue has it", async || {
        ask(port).await.filter(|name| name == "blue.a")
    })
    .await;

    let version = world.framework.change(|all| {
        all[0].left = true;
        draining("blue.a")(&mut all[0].instances);
    });
    world.framework.acked(version).await;

    assert_eq!(ask(port).await.as_deref(), Some("green.a"));
    let version = world
        .framework
        .change(|all| all.retain(|service| service.app_id == "/green"));
    world.framework.acked(version).await;
    let done = load.end().await;
    println!("{done} requests, none failed");
    assert_eq!(ask(port).await.as_deref(), Some("green.a"));
    sync.end().await.expect("a good end");
}

#[expect(clippy::too_many_lines, reason = "one straight list of answers")]
#[tokio::test(flavor = "multi_thread")]
async fn host_names_and_paths_lead_to_their_services() {
    let world = World::new().await;
    let sync = world.sync();
    let (a, b, c) = (
        Task::http("a").await,
        Task::http("b").await,
        Task::http("c").await,
    );
    let host = ("HAPROXY_0_VHOST", "Shop.Example,www.shop.example");
    let version = world.framework.change(|all| {
        all.push(with_labels(
            service("/a", free_port(), Mode::Tcp, vec![a.up()]),
            &[host],
        ));
        let labels = [
            ("HAPROXY_0_VHOST", "shop.example"),
            ("HAPROXY_0_PATH", "/api"),
        ];
        all.push(with_labels(
            service("/b", free_port(), Mode::Http, vec![b.up()]),
            &labels,
        ));
        // Hostile, and served on its port all the same.
        let labels = [
            ("HAPROXY_0_VHOST", "x.example\n  server evil 127.0.0.1:1"),
            ("HAPROXY_0_MODE", "http"),
        ];
        all.push(with_labels(
            service("/c", 19_999, Mode::Tcp, vec![c.up()]),
            &labels,
        ));
        all[2].service_port = free_port();
    });
    world.framework.acked(version).await;

    let answer = |host: &'static str, path: &'static str| ask_host(world.http, host, path);
    assert_eq!(answer("shop.example", "/").await, Some((200, "a".into())));
    assert_eq!(
        answer("SHOP.example:9080", "/x/y").await,
        Some((200, "a".into()))
    );
    assert_eq!(
        answer("www.shop.example", "/api").await,
        Some((200, "a".into()))
    );
    assert_eq!(
        answer("shop.example", "/api/x").await,
        Some((200, "b".into()))
    );
    assert_eq!(
        answer("x.example", "/").await.map(|(status, _)| status),
        Some(404)
    );
    assert!(!world.config_text().contains("evil"));
    assert!(
        world.state().await["problems"][0]
            .as_str()
            .is_some_and(|text| text.contains("HAPROXY_0_VHOST"))
    );
    let stats = ask_host(world.stats, "x", "/;csv")
        .await
        .expect("the stats page");
    assert!(stats.1.contains("BACKEND"));
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_goes_wrong_never_replaces_a_good_configuration() {
    let world = World::new().await;
    let template = world.folder.path().join("mine.j2");
    let built_in = mete_discovery::haproxy::template::BUILT_IN;
    let broken = "\n{% if backends | length > 1 %}\nnonsense\n{% endif %}\n";
    std::fs::write(&template, format!("{built_in}{broken}")).expect("written");
    let sync = world.sync_with(&[&format!("--template={}", template.display())]);
    let (port, a, b) = (
        free_port(),
        Task::http("web.a").await,
        Task::http("web.b").await,
    );
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![a.up()])));
    world.framework.acked(version).await;
    let before = world.generation().await;

    // Two services together are refused: one of them is found at fault, the good one stays.
    let other = free_port();
    let version = world
        .framework
        .change(|all| all.push(service("/zoo", other, Mode::Http, vec![b.up()])));
    world.framework.acked(version).await;

    assert_eq!(world.generation().await, before, "no reload");
    assert!(!world.config_text().contains("nonsense"));
    assert_eq!(ask(port).await.as_deref(), Some("web.a"));
    let version = world
        .framework
        .instances("/web", |instances| instances.push(b.up()));
    world.framework.acked(version).await;
    assert!(world.row("web.b").await.is_some(), "instances still come");
    let problems = world.state().await["problems"].to_string();
    assert!(
        problems.contains("/zoo") && problems.contains("nonsense"),
        "{problems}"
    );

    // Without the second service all is well again.
    let version = world
        .framework
        .change(|all| all.retain(|service| service.app_id == "/web"));
    world.framework.acked(version).await;
    assert_eq!(world.state().await["problems"], serde_json::json!([]));
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_started_from_the_last_good_configuration_still_follows_its_instances() {
    let world = World::new().await;
    let (port, a, b) = (
        free_port(),
        Task::http("web.a").await,
        Task::http("web.b").await,
    );
    let version = world
        .framework
        .change(|all| all.push(service("/web", port, Mode::Http, vec![a.up()])));
    let sync = world.sync();
    world.framework.acked(version).await;
    sync.end().await.expect("a good end");
    let template = world.folder.path().join("bad.j2");
    let built_in = mete_discovery::haproxy::template::BUILT_IN;
    std::fs::write(&template, format!("{built_in}\nfrontend bad\n  nonsense\n")).expect("written");

    let sync = world.sync_with(&[&format!("--template={}", template.display())]);
    let version = world
        .framework
        .instances("/web", |instances| instances.push(b.up()));
    world.framework.acked(version).await;
    let (worker, _) = world.generation().await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(worker).expect("a pid"));
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL)
        .expect("it was alive");
    eventually("another worker", || async {
        let now = world.sockets().worker().await.ok()?;
        (now.pid != worker).then_some(())
    })
    .await;
    eventually("an answer", || ask(port)).await;
    // A new service makes it look again at what could be served.
    let version = world
        .framework
        .change(|all| all.push(service("/zoo", free_port(), Mode::Http, vec![b.up()])));
    world.framework.acked(version).await;
    let version = world
        .framework
        .instances("/web", |instances| drop(instances.remove(0)));
    world.framework.acked(version).await;

    assert_eq!(ask(port).await.as_deref(), Some("web.b"));
    let problems = world.state().await["problems"].to_string();
    assert!(!problems.contains("cannot listen"), "{problems}");
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_that_is_refused_does_not_block_others() {
    let world = World::new().await;
    let template = world.folder.path().join("mine.j2");
    let built_in = mete_discovery::haproxy::template::BUILT_IN;
    let broken = "{% if backend.app == \"/bad\" %}\n    nonsense\n{% endif %}\n    mode {{ backend.mode }}\n    balance";
    let text = built_in.replacen("    mode {{ backend.mode }}\n    balance", broken, 1);
    assert_ne!(text, built_in);
    std::fs::write(&template, text).expect("written");
    let sync = world.sync_with(&[&format!("--template={}", template.display())]);
    let task = Task::http("good").await;
    let ports: Vec<u16> = (0..6).map(|_| free_port()).collect();

    let version = world.framework.change(|all| {
        for (number, port) in ports.iter().enumerate() {
            let app = if number == 3 {
                "/bad".to_owned()
            } else {
                format!("/good-{number}")
            };
            all.push(service(&app, *port, Mode::Http, vec![task.up()]));
        }
    });
    world.framework.acked(version).await;

    for (number, port) in ports.iter().enumerate() {
        assert_eq!(ask(*port).await.is_some(), number != 3, "service {number}");
    }
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_service_port_keeps_out_only_its_own_service() {
    let world = World::new().await;
    let sync = world.sync();
    let task = Task::http("web").await;
    let squatter = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (busy, free) = (
        squatter.local_addr().expect("an address").port(),
        free_port(),
    );
    world.framework.acked(1).await;

    let version = world.framework.change(|all| {
        all.push(service("/busy", busy, Mode::Http, vec![task.up()]));
        all.push(service("/free", free, Mode::Http, vec![task.up()]));
    });
    world.framework.acked(version).await;

    assert_eq!(ask(free).await.as_deref(), Some("web"));
    let problems = world.state().await["problems"].to_string();
    assert!(
        problems.contains(&format!("cannot listen on 127.0.0.1:{busy}")),
        "{problems}"
    );

    // Free again, it is taken with the next change of its definition, or by itself after a while.
    drop(squatter);
    let version = world.framework.change(|all| {
        all[0]
            .labels
            .insert("HAPROXY_0_BALANCE".into(), "leastconn".into());
    });
    world.framework.acked(version).await;
    assert_eq!(ask(busy).await.as_deref(), Some("web"));
    sync.end().await.expect("a good end");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_changes_at_once_are_few_reloads() {
    let world = World::new().await;
    let sync = world.sync();
    let task = Task::http("web").await;
    world.framework.acked(1).await;
    let (_, before) = world.generation().await;

    let mut version = 0;
    for number in 0..30 {
        let port = free_port();
        version = world.framework.change(|all| {
            all.push(service(
                &format!("/app-{number}"),
                port,
                Mode::Http,
                vec![task.up()],
            ))
        });
        tokio::time::sleep(Duration::from_millis(10)).await; // a stream of changes, not one
    }
    world.framework.acked(version).await;

    let (_, after) = world.generation().await;
    assert!(after - before <= 4, "{} reloads", after - before);
    eventually("all servers", || async {
        (world.rows().await.len() == 30).then_some(())
    })
    .await;
    sync.end().await.expect("a good end");
}
