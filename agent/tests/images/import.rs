//! Images from archives and layouts on disk, made by tools that are not ours, and by people who mean harm.

use std::path::{Path, PathBuf};

use mete_agent::images::{ImageError, Pull};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::registry::run;
use crate::sample::{Sample, gzip, layer, sha256};
use crate::servers::{Host, container};

fn sample() -> Sample {
    Sample::of(&[layer(&[("a", b"1")]), layer(&[("b", b"2")])])
}

/// A tar of some files.
fn archive(at: &Path, files: &[(&str, &[u8])]) -> PathBuf {
    let path = at.join("archive.tar");
    let mut builder = Builder::new(std::fs::File::create(&path).unwrap());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.finish().unwrap();
    path
}

#[tokio::test]
async fn every_form_that_tools_write_is_read() {
    let place = tempfile::tempdir().unwrap();
    let layout = place.path().join("layout");
    let sample = sample();
    sample.write_layout(&layout, "registry:5000/app:1");
    let from = format!("oci:{}:registry:5000/app:1", layout.display());
    let oci = place.path().join("oci.tar");
    let saved = place.path().join("saved.tar");
    let policy = ["copy", "--quiet", "--insecure-policy", &from];
    run(
        "skopeo",
        &[
            &policy[..],
            &[&format!(
                "oci-archive:{}:registry:5000/app:1",
                oci.display()
            )],
        ]
        .concat(),
    );
    run(
        "skopeo",
        &[
            &policy[..],
            &[&format!(
                "docker-archive:{}:registry:5000/app:1",
                saved.display()
            )],
        ]
        .concat(),
    );

    for (form, path) in [
        ("layout", &layout),
        ("oci-archive", &oci),
        ("docker-archive", &saved),
    ] {
        check_form(form, path, &sample).await;
    }
}

async fn check_form(form: &str, path: &Path, sample: &Sample) {
    let host = Host::new(&[]);
    let imported = host.images.import(path).await.unwrap();
    assert_eq!(imported.len(), 1, "{form}");
    assert_eq!(imported[0].names, ["registry:5000/app:1"], "{form}");
    // Without any registry.
    let name = "registry:5000/app:1";
    let image = host
        .images
        .provide(name, Pull::IfMissing, &container("c"), |_| {})
        .await
        .unwrap();
    assert_eq!(image.digest, imported[0].digest, "{form}");
    assert_eq!(image.config.cmd, ["/app"], "{form}");
    let b = std::fs::read(image.layers[1].join("b")).unwrap();
    assert_eq!(b, b"2", "{form}");
    assert_eq!(host.unfinished(), 0, "{form}");
    // What docker saves has no manifest of its own.
    match form {
        "docker-archive" => assert_eq!(image.digest, sample.config),
        _ => assert_eq!(image.digest, sample.digest(), "{form}"),
    }
}

#[tokio::test]
async fn an_image_gets_the_name_that_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    sample().write_layout(place.path(), "Some Words");
    let host = Host::new(&[]);

    let without = host.images.import(place.path()).await.unwrap();
    let with = host
        .images
        .import_as(place.path(), Some("app"))
        .await
        .unwrap();

    assert!(without[0].names.is_empty(), "words are no name");
    sample().write_layout(place.path(), "v1.2");
    let tagged = host.images.import(place.path()).await.unwrap();
    assert!(tagged[0].names.is_empty(), "a tag is no name");
    assert_eq!(with[0].names, ["docker.io/library/app:latest"]);
    assert_eq!(with[0].digest, without[0].digest);
    let bad = host
        .images
        .import_as(place.path(), Some("A B"))
        .await
        .unwrap_err();
    assert!(matches!(bad, ImageError::BadReference { .. }), "{bad}");
}

#[tokio::test]
async fn layers_that_docker_saves_as_links_are_found() {
    let place = tempfile::tempdir().unwrap();
    let content = layer(&[("a", b"1")]);
    let id = sha256(&content);
    let config = json!({ "rootfs": { "type": "layers", "diff_ids": [id, id] } }).to_string();
    let manifest = json!([{ "Config": "c.json", "RepoTags": null, "Layers": ["one/layer.tar", "two/layer.tar"] }]);
    let path = place.path().join("saved.tar");
    let mut builder = Builder::new(std::fs::File::create(&path).unwrap());
    let mut add = |name: &str, content: &[u8], link: Option<&str>| {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        match link {
            Some(to) => {
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, name, to).unwrap();
            }
            None => builder.append_data(&mut header, name, content).unwrap(),
        }
    };
    add("two/layer.tar", b"", Some("../one/layer.tar"));
    add("one/layer.tar", &content, None);
    add("c.json", config.as_bytes(), None);
    add("manifest.json", manifest.to_string().as_bytes(), None);
    builder.finish().unwrap();
    let host = Host::new(&[]);

    let imported = host.images.import(&path).await.unwrap();

    assert_eq!(imported[0].digest, sha256(config.as_bytes()));
    assert_eq!(host.layers(), 1, "the same layer twice is one");
}

#[tokio::test]
async fn what_is_no_image_says_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let at = place.path();
    let endless = json!([{ "Config": "c", "RepoTags": [], "Layers": vec!["l"; 200] }]).to_string();
    let missing =
        json!([{ "Config": "../../etc/passwd", "RepoTags": [], "Layers": [] }]).to_string();
    for (files, says) in [
        (
            &[("x", &b"y"[..])][..],
            "neither manifest.json nor index.json",
        ),
        (&[("manifest.json", b"[]")], "there is no image in it"),
        (&[("manifest.json", b"{")], "manifest.json does not read"),
        (
            &[("manifest.json", endless.as_bytes()), ("c", b"{}")],
            "more than 127 layers",
        ),
        (
            &[("manifest.json", missing.as_bytes())],
            "../../etc/passwd does not read: it is not there",
        ),
        (
            &[("index.json", b"{\"schemaVersion\":1,\"manifests\":[]}")],
            "schema 1",
        ),
    ] {
        let host = Host::new(&[]);
        let error = host
            .images
            .import(&archive(at, files))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{error}");
        assert!(error.contains("archive.tar"), "{error}");
        assert_eq!((host.unfinished(), host.layers()), (0, 0));
    }
    std::fs::write(
        at.join("archive.tar"),
        "no tar at all, but long enough to look at ".repeat(40),
    )
    .unwrap();
    let host = Host::new(&[]);
    let error = host
        .images
        .import(&at.join("archive.tar"))
        .await
        .unwrap_err();
    assert!(matches!(error, ImageError::Malformed { .. }), "{error}");
    let error = host.images.import(&at.join("nowhere")).await.unwrap_err();
    assert!(matches!(error, ImageError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_packed_archive_is_refused_as_such() {
    let place = tempfile::tempdir().unwrap();
    let path = archive(place.path(), &[("x", b"y")]);
    std::fs::write(&path, gzip(&std::fs::read(&path).unwrap())).unwrap();

    let refused = Host::new(&[]).images.import(&path).await.unwrap_err();

    let words = "it is packed with gzip: unpack it first";
    assert!(refused.to_string().ends_with(words), "{refused}");
}

#[tokio::test]
async fn a_layout_leads_to_no_file_outside() {
    let place = tempfile::tempdir().unwrap();
    let sample = sample();
    sample.write_layout(place.path(), "app:1");
    let secret = place.path().join("secret");
    let digest = sample.layers[0].strip_prefix("sha256:").unwrap();
    let blob = place.path().join("blobs/sha256").join(digest);
    std::fs::rename(&blob, &secret).unwrap();
    std::os::unix::fs::symlink(&secret, &blob).unwrap();
    let host = Host::new(&[]);

    let error = host.images.import(place.path()).await.unwrap_err();

    assert!(matches!(error, ImageError::Io { .. }), "{error}");
    assert_eq!(host.layers(), 0);
}

#[tokio::test]
async fn a_blob_that_lies_is_found_out() {
    let place = tempfile::tempdir().unwrap();
    let sample = sample();
    sample.write_layout(place.path(), "app:1");
    let host = Host::new(&[]);
    for digest in [&sample.config, &sample.layers[1]] {
        let blob = place
            .path()
            .join("blobs/sha256")
            .join(digest.strip_prefix("sha256:").unwrap());
        let content = std::fs::read(&blob).unwrap();
        let other = match digest == &sample.config {
            true => b"{\"rootfs\":{\"diff_ids\":[]}}".to_vec(),
            false => layer(&[("b", b"3")]),
        };
        std::fs::write(&blob, other).unwrap();

        let error = host.images.import(place.path()).await.unwrap_err();

        assert!(
            matches!(error, ImageError::DigestMismatch { .. }),
            "{error}"
        );
        assert!(host.images.list().await.is_empty());
        std::fs::write(&blob, content).unwrap();
    }
}
