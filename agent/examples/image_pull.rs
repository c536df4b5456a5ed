//! How long an image of 100 MB takes from a registry on this machine to unpacked layers; beside it `skopeo copy` and
//! `umoci unpack`, which do the same. Needs what the tests of images need; build it with `--release`.
//!
//! ```text
//! cargo run --release -p mete-agent --example image_pull
//! ```

#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on says where"
)]
#![allow(dead_code, reason = "the tests use the rest of it")]

#[path = "../tests/images/registry.rs"]
mod registry;
#[path = "../tests/images/sample.rs"]
mod sample;
#[path = "../tests/images/servers.rs"]
mod servers;

use std::time::Duration;

use mete_agent::images::Pull;
use mete_daemon::clock;

use crate::registry::{Real, run};
use crate::sample::{Sample, layer, noise};
use crate::servers::{Host, container};

/// How often each is measured, in turns.
const ROUNDS: usize = 7;
/// Layers of the image.
const LAYERS: u64 = 4;
/// Files of a layer.
const FILES: u64 = 500;
/// Bytes of a file; half of them cannot be packed.
const FILE_BYTES: usize = 50_000;

#[tokio::main]
async fn main() {
    let registry = Real::start().await;
    let layers: Vec<Vec<u8>> = (0..LAYERS).map(one_layer).collect();
    let reference = registry.push(&Sample::of(&layers), "measured:1", &[]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let host = Host::new(&[&registry.address]);
        let begin = clock::elapsed();
        let pulled = host
            .images
            .provide(&reference, Pull::IfMissing, &container("c"), |_| {})
            .await;
        ours.push(clock::elapsed() - begin);
        assert_eq!(pulled.unwrap().layers.len(), layers.len());

        let place = tempfile::tempdir().unwrap();
        let image = format!("{}/layout:x", place.path().display());
        let bundle = format!("{}/bundle", place.path().display());
        let begin = clock::elapsed();
        let from = format!("docker://{reference}");
        let copy = ["copy", "--quiet", "--insecure-policy"];
        let plain = ["--src-tls-verify=false", &from, &format!("oci:{image}")];
        run("skopeo", &[&copy[..], &plain].concat());
        run("umoci", &["unpack", "--image", &image, &bundle]);
        theirs.push(clock::elapsed() - begin);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("mete                          {:>6} ms", ours.as_millis());
    println!("skopeo copy and umoci unpack  {:>6} ms", theirs.as_millis());
    println!(
        "ratio                         {:>6.2}",
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}

fn one_layer(seed: u64) -> Vec<u8> {
    let content = |file: u64| {
        let mut bytes = noise(FILE_BYTES / 2, seed * FILES + file);
        bytes.resize(FILE_BYTES, b'x');
        bytes
    };
    let files: Vec<(String, Vec<u8>)> = (0..FILES)
        .map(|file| (format!("part{seed}/{}/{file}", file % 20), content(file)))
        .collect();
    let entries: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, content)| (name.as_str(), content.as_slice()))
        .collect();
    layer(&entries)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
