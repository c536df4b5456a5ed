//! Sandboxes over HTTP: what may be read, and what may not.

use mete_model::TaskState;

use super::master::{Master, task};
use super::world::{Scene, Work, get, json};

#[tokio::test]
async fn a_sandbox_can_be_listed_read_and_downloaded() {
    let mut scene = Scene::with(&[]).await;
    let port = scene.port;
    let line = "echo hello; mkdir sub; head -c 200000 /dev/zero | tr '\\0' x > sub/large";
    scene.link.run(&task("t", line)).await;
    scene.link.until(TaskState::Finished).await;

    let (_, tasks) = json(port, "/v1/tasks", &[]).await;
    let sandbox = tasks["tasks"][0]["sandbox"].as_str().unwrap().to_owned();
    let (_, listing) = json(port, "/files/browse", &[("path", &sandbox)]).await;
    let stdout = format!("{sandbox}/stdout");
    let (_, size) = json(port, "/files/read", &[("path", &stdout), ("offset", "-1")]).await;
    let part = [("path", stdout.as_str()), ("offset", "1"), ("length", "3")];
    let (_, part) = json(port, "/files/read", &part).await;
    let large = format!("{sandbox}/sub/large");
    let (_, page) = json(port, "/files/read", &[("path", &large), ("offset", "0")]).await;
    let (_, whole) = get(port, "/files/download", &[("path", &large)]).await;

    let paths: Vec<_> = listing
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].clone())
        .collect();
    assert_eq!(
        paths,
        [
            format!("{sandbox}/stderr"),
            stdout.clone(),
            format!("{sandbox}/sub")
        ]
    );
    assert_eq!(
        listing[2]["mode"].as_str().unwrap().chars().next(),
        Some('d')
    );
    assert_eq!(listing[1]["size"], 6);
    assert_eq!(
        (size["offset"].clone(), size["data"].clone()),
        (6.into(), "".into())
    );
    assert_eq!(
        (part["offset"].clone(), part["data"].clone()),
        (1.into(), "ell".into())
    );
    assert_eq!(page["data"].as_str().unwrap().len(), 64 << 10);
    assert_eq!(whole.len(), 200_000);

    let file = format!("{sandbox}/stdout");
    let (status, within) = json(port, "/files/browse.json", &[("path", &file)]).await;
    assert_eq!((status, within), (200, serde_json::json!([])));
    let newest = sandbox.rsplit_once('/').unwrap().0.to_owned() + "/latest/stdout";
    let (status, _) = json(port, "/files/read", &[("path", &newest)]).await;
    assert_eq!(status, 200);
    let (_, state) = json(port, "/state", &[]).await;
    let shown = state["completed_frameworks"][0]["completed_executors"][0]["directory"].as_str();
    let live = state["frameworks"][0]["executors"][0]["directory"].as_str();
    assert_eq!(shown.or(live), Some(sandbox.as_str()));
}

#[tokio::test]
async fn who_reads_beyond_an_end_is_told_where_it_is() {
    let mut scene = Scene::with(&[]).await;
    let port = scene.port;
    scene.link.run(&task("t", "echo hello")).await;
    scene.link.until(TaskState::Finished).await;

    let (_, all) = json(port, "/files/debug", &[]).await;
    let sandbox = all.as_object().unwrap().keys().next().unwrap();
    let stdout = format!("{sandbox}/stdout");
    let beyond = [("path", stdout.as_str()), ("offset", "1000")];
    let (_, beyond) = json(port, "/files/read.json", &beyond).await;

    assert_eq!(all[sandbox], sandbox.as_str());
    assert_eq!(beyond, serde_json::json!({ "data": "", "offset": 6 }));
}

#[tokio::test]
async fn no_path_leads_out_of_a_sandbox() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, register) = master.admit().await;
    let port = register.agent_info.port();
    let line =
        "ln -s /etc/passwd passwd; ln -s ../../../.. up; ln -s /proc/self/root root; mkfifo pipe";
    link.run(&task("t", line)).await;
    link.until(TaskState::Finished).await;
    let (_, tasks) = json(port, "/v1/tasks", &[]).await;
    let sandbox = tasks["tasks"][0]["sandbox"].as_str().unwrap().to_owned();

    for escape in [
        "/etc/passwd",
        "/",
        "",
        "../../etc/passwd",
        "/agent.redb",
        "/slaves",
        &format!("{sandbox}/../../../../../../../../agent.redb"),
        &format!("{sandbox}/passwd"),
        &format!("{sandbox}/up/agent.redb"),
        &format!("{sandbox}/root/etc/passwd"),
        &format!("{sandbox}/nothing"),
        &format!("{sandbox}/a\0b"),
        &work.path.join("agent.redb").display().to_string(),
    ] {
        for route in ["/files/read", "/files/download", "/files/browse"] {
            let (status, body) = get(port, route, &[("path", escape)]).await;
            let body = String::from_utf8_lossy(&body).into_owned();
            assert!(
                (400..500).contains(&status),
                "{route} {escape:?}: {status} {body}"
            );
            assert!(body.ends_with(".\n"), "{route} {escape:?}: {body}");
            assert!(!body.contains('{'), "{route} {escape:?}: {body}");
        }
    }
    for route in ["/files/read", "/files/download"] {
        let pipe = format!("{sandbox}/pipe");
        let (status, _) = get(port, route, &[("path", &pipe)]).await;
        assert_eq!(status, 400, "{route}");
    }
}

#[tokio::test]
async fn what_is_refused_is_refused_in_the_words_of_mesos() {
    let mut scene = Scene::with(&[]).await;
    let port = scene.port;
    scene.link.run(&task("t", "echo hello")).await;
    scene.link.until(TaskState::Finished).await;
    let (_, tasks) = json(port, "/v1/tasks", &[]).await;
    let sandbox = tasks["tasks"][0]["sandbox"].as_str().unwrap().to_owned();

    let stdout = format!("{sandbox}/stdout");
    let path = ("path", stdout.as_str());
    let directory = ("path", sandbox.as_str());
    for (route, query, words) in [
        (
            "read",
            vec![path, ("offset", "-2")],
            "Negative offset provided: -2.\n",
        ),
        (
            "read",
            vec![path, ("offset", "x")],
            "Failed to parse offset: Failed to convert 'x' to number.\n",
        ),
        (
            "read",
            vec![path, ("length", "-5")],
            "Negative length provided: -5.\n",
        ),
        ("read", vec![directory], "Cannot read a directory.\n"),
        (
            "download",
            vec![directory],
            "Cannot download a directory.\n",
        ),
        ("download", vec![], "Expecting 'path=value' in query.\n"),
        (
            "browse",
            vec![("path", "")],
            "Expecting 'path=value' in query.\n",
        ),
    ] {
        let (status, body) = get(port, &format!("/files/{route}"), &query).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!((status, body.as_str()), (400, words), "{route} {query:?}");
    }
}
