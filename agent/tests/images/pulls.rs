//! What works, against a real registry where it can be told apart from ours.

use std::path::Path;
use std::sync::{Arc, Mutex};

use mete_agent::images::Pull;
use mete_model::container::SecretValue;
use serde_json::json;
use tokio::sync::watch;

use crate::registry::{PATIENCE, Real, run};
use crate::sample::{INDEX, Sample, architecture, index, layer, noise};
use crate::servers::{Fake, Host, container, hanging, until};

fn nothing(_: mete_agent::images::Progress) {}

/// A layout with an image of a program and a link, which says everything that an image can say. The program.
fn make_image(layout: &Path) -> Vec<u8> {
    let made = tempfile::tempdir().unwrap();
    let layout = layout.display().to_string();
    let image = format!("{layout}:x");
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &image]);
    let root = made.path().join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(std::fs::read);
    let busybox = busybox.into_iter().find_map(Result::ok).unwrap();
    std::fs::write(root.join("bin/busybox"), &busybox).unwrap();
    std::os::unix::fs::symlink("/bin/busybox", root.join("bin/sh")).unwrap();
    let rootless: &[&str] = match rustix::process::geteuid().is_root() {
        true => &[],
        false => &["--rootless"],
    };
    let root = root.display().to_string();
    let insert = ["insert", "--image", &image];
    run("umoci", &[&insert, rootless, &[&root, "/"]].concat());
    let says = [
        "--config.entrypoint=/bin/sh",
        "--config.entrypoint=-c",
        "--config.cmd=echo hello",
        "--config.env=PATH=/bin",
        "--config.user=1000:100",
        "--config.workingdir=/bin",
        "--config.stopsignal=SIGQUIT",
        "--config.exposedports=80/tcp",
        "--config.volume=/data",
        "--config.label=maker=umoci",
    ];
    run(
        "umoci",
        &[&["config", "--image", &image][..], &says].concat(),
    );
    busybox
}

#[tokio::test]
async fn an_image_that_other_tools_made_is_pulled_whole() {
    let registry = Real::start().await;
    let made = tempfile::tempdir().unwrap();
    let layout = made.path().join("layout");
    let busybox = make_image(&layout);
    let reference = registry.push_layout(&layout, "tools/bb:1.36", &[]);
    let host = Host::new(&[&registry.address]);

    let pulled = host
        .images
        .provide(&reference, Pull::IfMissing, &container("c"), nothing)
        .await
        .unwrap();

    let config = &pulled.config;
    assert_eq!(config.entrypoint, ["/bin/sh", "-c"]);
    assert_eq!(config.cmd, ["echo hello"]);
    assert!(
        config.env.contains(&"PATH=/bin".to_owned()),
        "{:?}",
        config.env
    );
    assert_eq!(config.user, "1000:100");
    assert_eq!(config.working_dir, "/bin");
    assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    assert_eq!(config.exposed_ports, ["80/tcp"]);
    assert_eq!(config.volumes, ["/data"]);
    assert_eq!(
        config.labels.get("maker").map(String::as_str),
        Some("umoci")
    );
    let top = pulled.layers.last().unwrap();
    let same = std::fs::read(top.join("bin/busybox")).unwrap() == busybox;
    assert!(same, "the program is the one that was put in");
    let link = std::fs::read_link(top.join("bin/sh")).unwrap();
    assert_eq!(link, Path::new("/bin/busybox"));
    assert_eq!(host.unfinished(), 0);
}

#[tokio::test]
async fn tags_move_and_digests_do_not() {
    let registry = Real::start().await;
    let (old, new) = (
        Sample::of(&[layer(&[("a", b"old")])]),
        Sample::of(&[layer(&[("a", b"new")])]),
    );
    let reference = registry.push(&old, "app:1", &[]);
    let host = Host::new(&[&registry.address]);
    let provide = async |name: &str, pull| {
        let image = host
            .images
            .provide(name, pull, &container("c"), nothing)
            .await
            .unwrap();
        image.digest
    };

    assert_eq!(provide(&reference, Pull::IfMissing).await, old.digest());
    registry.push(&new, "app:1", &[]);
    assert_eq!(
        provide(&reference, Pull::IfMissing).await,
        old.digest(),
        "it is here"
    );
    assert_eq!(
        provide(&reference, Pull::Always).await,
        new.digest(),
        "it was asked for"
    );
    let by_digest = format!("{}/app@{}", registry.address, old.digest());
    assert_eq!(provide(&by_digest, Pull::Always).await, old.digest());
    let both = format!("{}/app:1@{}", registry.address, old.digest());
    assert_eq!(
        provide(&both, Pull::Always).await,
        old.digest(),
        "the digest wins"
    );
}

#[tokio::test]
async fn the_manifest_of_docker_is_read_as_well() {
    let registry = Real::start().await;
    let sample = Sample::of(&[layer(&[("a", b"1")]), layer(&[("b", b"2")])]);
    let reference = registry.push(&sample, "app:docker", &["--format", "v2s2"]);
    let host = Host::new(&[&registry.address]);

    let image = host
        .images
        .provide(&reference, Pull::IfMissing, &container("c"), nothing)
        .await
        .unwrap();

    assert_ne!(image.digest, sample.digest(), "it was rewritten");
    assert_eq!(image.config.cmd, ["/app"]);
    assert_eq!(std::fs::read(image.layers[1].join("b")).unwrap(), b"2");
}

#[tokio::test]
async fn a_login_is_taken_from_dockers_file() {
    let registry = Real::start_with_login().await;
    let sample = Sample::of(&[layer(&[("a", b"1")])]);
    let reference = registry.push(&sample, "app:1", &["--dest-creds", "mete:open sesame"]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |auth: &str| {
        let auths = json!({ "auths": { registry.address.clone(): { "auth": auth } } });
        std::fs::write(file.path(), auths.to_string()).unwrap();
    };
    let host = Host::with(&[&registry.address], |options| {
        options.credentials = Some(file.path().to_owned())
    });
    let provide = async || {
        host.images
            .provide(&reference, Pull::IfMissing, &container("c"), nothing)
            .await
    };

    std::fs::write(file.path(), "{}").unwrap();
    let without = provide().await.unwrap_err().to_string();
    assert!(
        without.contains("wants a login: there is no password"),
        "{without}"
    );
    write("bWV0ZTp3cm9uZw=="); // mete:wrong
    let wrong = provide().await.unwrap_err().to_string();
    assert!(wrong.contains("refuses the agent's login"), "{wrong}");
    assert!(!wrong.contains("bWV0ZTp3cm9uZw"), "no secret is told");
    write("bWV0ZTpvcGVuIHNlc2FtZQ=="); // mete:open sesame
    assert_eq!(provide().await.unwrap().digest, sample.digest());
}

#[tokio::test]
async fn a_task_may_bring_its_own_login() {
    let registry = Real::start_with_login().await;
    let sample = Sample::of(&[layer(&[("a", b"1")])]);
    let reference = registry.push(&sample, "app:1", &["--dest-creds", "mete:open sesame"]);
    let host = Host::new(&[&registry.address]);
    let provide = async |login: String| {
        let login = Some(SecretValue::new(login.into_bytes()));
        let (images, who) = (&host.images, container("c"));
        images
            .provide_by(login, &reference, Pull::IfMissing, &who, nothing)
            .await
    };
    let with = |auth: &str| {
        let auths = json!({ "auths": { registry.address.clone(): { "auth": auth } } });
        auths.to_string()
    };

    let damaged = provide("hunter2".into()).await.unwrap_err().to_string();
    assert_eq!(
        damaged,
        "the login that the task has for its image does not read: line 1, column 1"
    );
    let wrong = provide(with("bWV0ZTp3cm9uZw==")).await.unwrap_err();
    let wrong = wrong.to_string();
    assert!(wrong.contains("it refuses the task's login"), "{wrong}");
    assert!(!wrong.contains("bWV0ZTp3cm9uZw"), "no secret is told");
    let none = provide("{}".into()).await.unwrap_err().to_string();
    let words = "there is no password for it in the task's logins";
    assert!(none.contains(words), "{none}");
    let right = provide(with("bWV0ZTpvcGVuIHNlc2FtZQ==")).await;
    assert_eq!(right.unwrap().digest, sample.digest());
}

#[tokio::test]
async fn a_registry_over_tls_is_trusted_by_its_authority() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let registry = Real::start_with_tls(&certificate, &key).await;
    let sample = Sample::of(&[layer(&[("a", b"1")])]);
    let reference = registry.push(&sample, "app:1", &[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), certificate).unwrap();
    let stranger = Host::new(&[]);
    let friend = Host::with(&[], |options| {
        options.authorities = vec![file.path().to_owned()];
    });
    let provide = async |host: &Host| {
        host.images
            .provide(&reference, Pull::IfMissing, &container("c"), nothing)
            .await
    };

    assert_eq!(provide(&friend).await.unwrap().digest, sample.digest());
    let error = provide(&stranger).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn loopback_does_without_tls_when_it_knows_none_and_other_hosts_are_told_how_to() {
    let registry = Real::start_with_login().await;
    let sample = Sample::of(&[layer(&[("a", b"1")])]);
    let creds = ["--dest-creds=mete:open sesame"];
    let reference = registry.push(&sample, "app:1", &creds);
    let file = tempfile::NamedTempFile::new().unwrap();
    let entry = json!({ "auth": "bWV0ZTpvcGVuIHNlc2FtZQ==" });
    let auths = json!({ "auths": { registry.address.clone(): entry } });
    std::fs::write(file.path(), auths.to_string()).unwrap();
    let host = Host::with(&[], |options| {
        options.credentials = Some(file.path().to_owned());
    });
    let provide = async |reference: &str| {
        host.images
            .provide(reference, Pull::IfMissing, &container("c"), nothing)
            .await
    };

    assert_eq!(provide(&reference).await.unwrap().digest, sample.digest());
    let elsewhere = reference.replace("127.0.0.1", "0.0.0.0");
    let error = provide(&elsewhere).await.unwrap_err().to_string();
    assert!(error.contains("does not speak TLS"), "{error}");
    assert!(error.contains("--insecure-registry"), "{error}");
}

#[tokio::test]
async fn the_image_of_this_machine_is_taken_from_an_index() {
    let layers = [layer(&[("a", b"1")])];
    let (mine, other) = (
        Sample::of(&layers),
        Sample::with(&layers, &json!({}), "s390x"),
    );
    let list = index(&[other.entry("s390x"), mine.entry(architecture())]);
    let foreign = index(&[other.entry("s390x")]);
    let fake = Fake::start(
        &[("app:mine", &mine), ("app:other", &other)],
        move |path, _, _| {
            let body = match path {
                "/v2/app/manifests/all" => list.clone(),
                "/v2/app/manifests/foreign" => foreign.clone(),
                _ => return None,
            };
            Some(axum::response::IntoResponse::into_response((
                [("content-type", INDEX)],
                body,
            )))
        },
    )
    .await;
    let host = Host::new(&[&fake.address]);
    let provide = async |name: &str| {
        host.images
            .provide(
                &fake.reference(name),
                Pull::IfMissing,
                &container("c"),
                nothing,
            )
            .await
    };

    assert_eq!(provide("app:all").await.unwrap().digest, mine.digest());
    let none = provide("app:foreign").await.unwrap_err().to_string();
    assert!(none.contains("only for linux/s390x"), "{none}");
    let direct = provide("app:other").await.unwrap_err().to_string();
    assert!(direct.contains("only for linux/s390x"), "{direct}");
}

#[tokio::test]
async fn one_image_is_pulled_once_for_all_who_wait_and_layers_are_shared() {
    let shared = layer(&[("base", &noise(300_000, 1))]);
    let one = Sample::of(&[shared.clone(), layer(&[("a", b"1")])]);
    let two = Sample::of(&[shared, layer(&[("b", b"2")])]);
    let fake = Fake::start(&[("one:1", &one), ("two:1", &two)], |_, _, _| None).await;
    let host = Host::new(&[&fake.address]);

    let waiting: Vec<_> = (0..8)
        .map(|number| {
            let (images, reference) = (
                host.images.clone(),
                fake.reference(["one:1", "two:1"][number % 2]),
            );
            let me = container(&format!("c{number}"));
            tokio::spawn(async move {
                images
                    .provide(&reference, Pull::IfMissing, &me, nothing)
                    .await
            })
        })
        .collect();
    for one in waiting {
        one.await.unwrap().unwrap();
    }

    assert_eq!(fake.count("one/manifests/1"), 1);
    assert_eq!(fake.count("two/manifests/1"), 1);
    assert_eq!(fake.count(&one.layers[0]), 1, "the shared layer came once");
    assert_eq!(host.layers(), 3);
    let held: usize = host
        .images
        .list()
        .await
        .iter()
        .map(|image| image.containers.len())
        .sum();
    assert_eq!(held, 8);
}

#[tokio::test]
async fn progress_is_told_as_people_say_it() {
    let sample = Sample::of(&[layer(&[("a", &noise(3_000_000, 1))]), layer(&[("b", b"2")])]);
    let fake = Fake::start(&[("app:1", &sample)], |_, _, _| None).await;
    let host = Host::new(&[&fake.address]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);

    let tell =
        move |far: mete_agent::images::Progress| telling.lock().unwrap().push(far.to_string());
    host.images
        .provide(
            &fake.reference("app:1"),
            Pull::IfMissing,
            &container("c"),
            tell,
        )
        .await
        .unwrap();

    let told = told.lock().unwrap();
    assert!(!told.is_empty());
    let known =
        |line: &String| line.starts_with("pulling layer ") || line.starts_with("unpacking layer ");
    assert!(
        told.iter()
            .all(|line| known(line) && line.contains(" of 2")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_ends_and_leaves_nothing() {
    let sample = Sample::of(&[layer(&[("a", &noise(100_000, 1))])]);
    let (blob, content) = (
        sample.layers[0].clone(),
        sample.blobs[&sample.layers[0]].clone(),
    );
    let (ended, mut end) = watch::channel(false);
    let fake = Fake::start(&[("app:1", &sample)], move |path, _, before| {
        let is_first = path.ends_with(&blob) && before == 0;
        is_first.then(|| hanging(&content[..1000], content.len(), ended.clone()))
    })
    .await;
    let host = Host::new(&[&fake.address]);
    let reference = fake.reference("app:1");

    let waiting = {
        let (images, reference) = (host.images.clone(), reference.clone());
        tokio::spawn(async move {
            images
                .provide(&reference, Pull::IfMissing, &container("c"), nothing)
                .await
        })
    };
    until("the layer is asked for", || {
        fake.count(&sample.layers[0]) == 1
    })
    .await;
    waiting.abort();

    tokio::time::timeout(PATIENCE, end.wait_for(|ended| *ended))
        .await
        .unwrap()
        .unwrap();
    until("nothing is left", || host.unfinished() == 0).await;
    assert!(host.images.list().await.is_empty());
    let again = host
        .images
        .provide(&reference, Pull::IfMissing, &container("c"), nothing)
        .await;
    assert_eq!(again.unwrap().digest, sample.digest());
}
