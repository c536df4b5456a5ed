//! Images made in memory, in OCI's form.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// This machine's word for its processor.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let digits: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{digits}")
}

/// A layer: a tar with some files.
pub(crate) fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        // As it is: some tests want names that no tool would write.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Bytes that no compressor makes smaller, the same in every run.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(count);
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// One image with all that belongs to it.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifest: Vec<u8>,
    /// Digests of its packed layers, lowest first.
    pub(crate) layers: Vec<String>,
    pub(crate) config: String,
}

impl Sample {
    /// An image of these layers (tars), lowest first, for this machine.
    pub(crate) fn of(layers: &[Vec<u8>]) -> Self {
        Self::with(layers, &json!({ "Cmd": ["/app"] }), architecture())
    }

    pub(crate) fn with(layers: &[Vec<u8>], config: &Value, architecture: &str) -> Self {
        let mut blobs = BTreeMap::new();
        let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = json!({
            "os": "linux",
            "architecture": architecture,
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let config = serde_json::to_vec(&config).unwrap();
        let config_at = descriptor(CONFIG, &config);
        let config_digest = sha256(&config);
        blobs.insert(config_digest.clone(), config);
        let mut at = Vec::new();
        let mut digests = Vec::new();
        for layer in layers {
            let packed = gzip(layer);
            at.push(descriptor(LAYER, &packed));
            digests.push(sha256(&packed));
            blobs.insert(sha256(&packed), packed);
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config_at,
            "layers": at,
        });
        Self {
            blobs,
            manifest: serde_json::to_vec(&manifest).unwrap(),
            layers: digests,
            config: config_digest,
        }
    }

    pub(crate) fn digest(&self) -> String {
        sha256(&self.manifest)
    }

    /// Its place in an index.
    pub(crate) fn entry(&self, architecture: &str) -> Value {
        let mut entry = descriptor(MANIFEST, &self.manifest);
        entry["platform"] = json!({ "os": "linux", "architecture": architecture });
        entry
    }

    /// Writes an OCI layout that calls it `name`.
    pub(crate) fn write_layout(&self, directory: &Path, name: &str) {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let manifest = (self.digest(), self.manifest.clone());
        for (digest, content) in self.blobs.clone().into_iter().chain([manifest]) {
            let file = blobs.join(digest.strip_prefix("sha256:").unwrap());
            std::fs::write(file, content).unwrap();
        }
        let mut entry = descriptor(MANIFEST, &self.manifest);
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] });
        std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
        let version = r#"{"imageLayoutVersion":"1.0.0"}"#;
        std::fs::write(directory.join("oci-layout"), version).unwrap();
    }
}

/// An index of some entries.
pub(crate) fn index(entries: &[Value]) -> Vec<u8> {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    serde_json::to_vec(&index).unwrap()
}

fn descriptor(kind: &str, content: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": sha256(content), "size": content.len() })
}
