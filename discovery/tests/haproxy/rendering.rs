//! The built-in template's text, read in review. `METE_UPDATE_GOLDEN=1 cargo test` writes it anew.

use std::path::Path;
use std::time::Duration;

use mete_discovery::haproxy::backends::{Hosts, Plan, Reserved, plan};
use mete_discovery::haproxy::configuration::Folder;
use mete_discovery::haproxy::render::{Layout, Rendered, render};
use mete_discovery::haproxy::template::{BUILT_IN, Template};
use mete_proto::rest::backends::{Instance, InstanceState, Mode, Service};

use crate::fixture::{service, with_labels};

fn instance(task: &str, port: u16, state: InstanceState) -> Instance {
    Instance {
        task_id: task.into(),
        host: "127.0.0.2".into(),
        port,
        state,
    }
}

fn services() -> Vec<Service> {
    let two = vec![
        instance("shop_web.instance-1f0c", 31000, InstanceState::Up),
        instance("shop_web.instance-7a2e", 31001, InstanceState::Draining),
    ];
    let host = [
        ("HAPROXY_0_VHOST", "shop.example,www.shop.example"),
        ("HAPROXY_0_STICKY", "true"),
    ];
    let api = [
        ("HAPROXY_0_VHOST", "shop.example"),
        ("HAPROXY_0_PATH", "/api"),
        ("HAPROXY_0_BALANCE", "uri"),
    ];
    vec![
        with_labels(service("/shop/web", 10000, Mode::Http, two), &host),
        with_labels(
            service(
                "/shop/api",
                10001,
                Mode::Http,
                vec![instance("api.1", 31002, InstanceState::Up)],
            ),
            &api,
        ),
        service(
            "/db",
            10002,
            Mode::Tcp,
            vec![instance("db.1", 31003, InstanceState::Up)],
        ),
        service("/empty", 10003, Mode::Tcp, vec![]),
    ]
}

fn layout(folder: &Path) -> Layout {
    Layout {
        admin_socket: folder.join("admin.sock"),
        folder: folder.to_owned(),
        http: ([127, 0, 0, 1], 9080).into(),
        stats: ([127, 0, 0, 1], 9090).into(),
        service_ip: [127, 0, 0, 1].into(),
        service_port_shift: 0,
        hard_stop_after: Duration::from_secs(600),
    }
}

fn rendered(template: &str, folder: &Path, services: &[Service]) -> Rendered {
    let plan: Plan = plan(services, &Hosts::new(), &Reserved::new());
    let template = Template::parse(template.to_owned()).expect("it parses");
    render(&template, &layout(folder), &plan).expect("it renders")
}

#[test]
fn the_built_in_template_gives_this_text() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/haproxy/services.cfg");
    let Rendered { text, map_text, .. } = rendered(BUILT_IN, Path::new("/state"), &services());
    let text = format!("{text}\n# ---- the map of host names:\n{map_text}");

    if std::env::var_os("METE_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("written");
    }

    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, expected,
        "run with METE_UPDATE_GOLDEN=1 when this is meant to change"
    );
}

#[tokio::test]
async fn haproxy_accepts_the_built_in_template() {
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let state = Folder::open(folder.path(), Path::new("haproxy")).expect("usable");

    state
        .check(&rendered(BUILT_IN, state.path(), &services()))
        .await
        .expect("accepted");
    state
        .check(&rendered(BUILT_IN, state.path(), &[]))
        .await
        .expect("accepted without any service");
}

#[test]
fn only_what_needs_a_reload_changes_the_frame() {
    let frame = |services: &[Service]| rendered(BUILT_IN, Path::new("/state"), services).frame;
    let base = frame(&services());

    let mut more_instances = services();
    more_instances[2]
        .instances
        .push(instance("db.2", 31009, InstanceState::Up));
    more_instances[0].instances.clear();
    assert_eq!(frame(&more_instances), base);

    let mut other_host = services();
    other_host[0]
        .labels
        .insert("HAPROXY_0_VHOST".into(), "shop.example".into());
    assert_ne!(frame(&other_host), base);
    assert_ne!(frame(&services()[1..]), base);
}

#[test]
fn a_template_that_uses_what_is_not_there_is_refused_by_name() {
    let template =
        Template::parse("{{ http.bind }} {{ http.port }}".to_owned()).expect("it parses");
    let plan = Plan::default();

    let error =
        render(&template, &layout(Path::new("/state")), &plan).expect_err("http.port is not given");

    assert!(error.to_string().contains("undefined"), "{error}");
    assert!(Template::parse("{% if %}".to_owned()).is_err());
}

#[test]
fn hostile_names_stay_in_their_line() {
    let mut hostile = services();
    hostile[0].app_id = "/x\n  server evil 1.2.3.4:80\n#\"'\\".into();
    hostile[0].instances[0].task_id = "t;disable frontend http\nglobal".into();
    hostile[0].instances[1].host = "127.0.0.1:80\nbackend y".into();

    let text = rendered(BUILT_IN, Path::new("/state"), &hostile).text;

    let lines = |word: &str| {
        text.lines()
            .filter(|line| line.split_whitespace().next() == Some(word))
            .count()
    };
    assert_eq!(lines("server"), 3, "{text}");
    assert_eq!((lines("global"), lines("backend")), (2, 4));
    assert!(!text.lines().any(|line| line.contains("evil")
        && !line.starts_with('#')
        && !line.contains("x___server_evil")));
}
