//! Images over HTTP: sent, listed, removed.

use reqwest::Method;
use serde_json::{Value, json};
use tar::{Builder, Header};

use super::master::Master;
use super::world::{Work, json as get_json};
use crate::support::soon;

/// A tar of some files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

async fn send(port: i32, method: Method, path: &str, body: Vec<u8>) -> (u16, Value) {
    let client = mete_daemon::http_client::plain()
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}{path}");
    let answer = soon(client.request(method, url).body(body).send()).await;
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    (status, soon(answer.json()).await.unwrap())
}

#[tokio::test]
async fn an_image_is_sent_listed_and_removed() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (_link, register) = master.admit().await;
    let port = register.agent_info.port();
    // More than other bodies may have.
    let layer = archive(&[("large", &vec![b'x'; 10 << 20])]);
    let config = json!({ "rootfs": { "diff_ids": [sha256(&layer)] } }).to_string();
    let saved = json!([{ "Config": "c", "RepoTags": ["app:1"], "Layers": ["l"] }]).to_string();
    let files = [
        ("manifest.json", saved.as_bytes()),
        ("c", config.as_bytes()),
        ("l", &layer),
    ];
    let digest = sha256(config.as_bytes());
    let name = "docker.io/library/app:1";

    let path = "/v1/images/import";
    let (status, imported) = send(port, Method::POST, path, archive(&files)).await;
    assert_eq!(
        (status, &imported["images"][0]["names"]),
        (200, &json!([name]))
    );
    let (_, listed) = get_json(port, "/v1/images", &[]).await;
    let image = &listed["images"][0];
    assert_eq!(
        (&image["digest"], &image["layers"]),
        (&json!(digest), &json!(1))
    );
    assert_eq!(
        (&image["names"], &image["containers"]),
        (&json!([name]), &json!([]))
    );
    let (status, removed) = send(port, Method::DELETE, "/v1/images?name=app:1", vec![]).await;
    assert_eq!((status, &removed["images"]), (200, &json!([digest])));
    let (_, listed) = get_json(port, "/v1/images", &[]).await;
    assert_eq!(listed["images"], json!([]));
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_its_reason() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &["--image-max-size=1MiB"]);
    let (_link, register) = master.admit().await;
    let port = register.agent_info.port();
    let garbage = archive(&[("x", b"y")]);
    let import = "/v1/images/import";
    let named = "/v1/images/import?name=A%20B";

    for (method, path, body, wanted, says) in [
        (Method::POST, import, garbage.clone(), 422, "manifest.json"),
        (
            Method::POST,
            named,
            garbage,
            400,
            "not the name of an image",
        ),
        (
            Method::POST,
            import,
            vec![0; (1 << 20) + 1],
            413,
            "1048576 bytes",
        ),
        (
            Method::DELETE,
            "/v1/images?name=no",
            vec![],
            404,
            "no image",
        ),
        (Method::DELETE, "/v1/images", vec![], 400, "name"),
    ] {
        let (status, said) = send(port, method, path, body).await;
        let message = said["message"].as_str().unwrap();
        assert!(
            status == wanted && message.contains(says),
            "{path}: {status} {said}"
        );
        let path_of_this_machine = work.path.to_str().unwrap();
        assert!(!message.contains(path_of_this_machine), "{message}");
    }
}

#[tokio::test]
async fn images_are_pruned_but_for_those_that_are_named() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (_link, register) = master.admit().await;
    let port = register.agent_info.port();
    for name in ["one", "two"] {
        let layer = archive(&[(name, name.as_bytes())]);
        let config = json!({ "rootfs": { "diff_ids": [sha256(&layer)] } }).to_string();
        let saved = json!([{ "Config": "c", "RepoTags": [name], "Layers": ["l"] }]).to_string();
        let files = [
            ("manifest.json", saved.as_bytes()),
            ("c", config.as_bytes()),
            ("l", &layer[..]),
        ];
        let path = "/v1/images/import";
        let (status, _) = send(port, Method::POST, path, archive(&files)).await;
        assert_eq!(status, 200);
    }
    let left = async || {
        let (_, listed) = get_json(port, "/v1/images", &[]).await;
        let images = listed["images"].as_array().unwrap().clone();
        let names = images.iter().map(|image| image["names"][0].clone());
        names.collect::<Vec<_>>()
    };
    let prune = async |excluded: Value| {
        let call =
            json!({ "type": "PRUNE_IMAGES", "prune_images": { "excluded_images": excluded } });
        let client = mete_daemon::http_client::plain().build().unwrap();
        let url = format!("http://127.0.0.1:{port}/api/v1");
        let answer = soon(client.post(url).json(&call).send()).await.unwrap();
        answer.status().as_u16()
    };
    let docker = |name: &str| json!([{ "type": "DOCKER", "docker": { "name": name } }]);

    assert_eq!(prune(docker("Not A Name")).await, 400);
    assert_eq!(left().await.len(), 2);
    assert_eq!(prune(docker("two:latest")).await, 200);
    assert_eq!(left().await, [json!("docker.io/library/two:latest")]);
    assert_eq!(prune(json!([])).await, 200);
    assert_eq!(left().await, [json!(null); 0]);
}
