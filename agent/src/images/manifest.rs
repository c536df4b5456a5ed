//! Manifests: what an image is made of, in OCI's words and in Docker's, which differ in names only.
//!
//! ```text
//! index ──(this machine's platform)──▶ manifest ──▶ configuration, layers
//! ```
//! Fields that we do not use are not read; those that we use may be `null`, as Docker writes them.

use std::collections::BTreeMap;

use mete_agent_core::image::ImageConfig;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::digest::Digest;
use super::error::ImageError;

/// The largest manifest or index; registries themselves refuse more than 4 MiB.
pub(super) const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// The largest configuration; with a history of a hundred steps and many labels it is some 100 kB.
pub(super) const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// The most layers: Docker's own bound, below what overlayfs can stack (500).
pub(super) const MAX_LAYERS: usize = 127;

/// What is asked of a registry, most wanted first.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// What something is called by, and how large it is.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Descriptor {
    #[serde(rename = "mediaType", default)]
    pub(super) media_type: String,
    digest: String,
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// Its digest.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn digest(&self, image: &str) -> Result<Digest, ImageError> {
        Digest::parse(&self.digest).ok_or_else(|| {
            let shown: String = self.digest.chars().take(100).collect();
            malformed(image, "the manifest", format!("{shown:?} is not a digest"))
        })
    }
}

/// For which machines something is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default, deserialize_with = "null_is_default")]
    variant: String,
}

impl Platform {
    /// This machine's, in the words of Go, which images use.
    pub(super) fn here() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "aarch64" => ("arm64", "v8"),
            "arm" => ("arm", "v7"),
            "x86" => ("386", ""),
            "powerpc64" => ("ppc64le", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
        }
    }

    /// How well something made for `self` runs on `here`; `None`: not at all.
    fn fit(&self, here: &Self) -> Option<u8> {
        if self.os != here.os || self.architecture != here.architecture {
            return None;
        }
        match self.variant.as_str() {
            same if same == here.variant => Some(2),
            "" => Some(1),
            // The first level of amd64 is what every such machine has.
            "v1" if here.architecture == "amd64" => Some(1),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self.variant.as_str() {
            "" => format!("{}/{}", self.os, self.architecture),
            variant => format!("{}/{}/{variant}", self.os, self.architecture),
        }
    }
}

/// A manifest, or the list of those for each platform.
#[derive(Debug)]
pub(super) enum Manifest {
    /// For several platforms.
    Index(Vec<Descriptor>),
    /// One image.
    Image(ImageManifest),
}

/// One image: its configuration, its layers from the lowest on.
#[derive(Debug)]
pub(super) struct ImageManifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct AnyManifest {
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

/// Reads a manifest or an index.
///
/// # Errors
/// When it is neither, or could be taken for both.
pub(super) fn read(image: &str, bytes: &[u8]) -> Result<Manifest, ImageError> {
    let any: AnyManifest = serde_json::from_slice(bytes)
        .map_err(|error| malformed(image, "the manifest", error.to_string()))?;
    if any.schema_version != 2 {
        let what = format!("a manifest of schema {}", any.schema_version);
        let image = image.to_owned();
        return Err(ImageError::NotCarried { image, what });
    }
    match (any.manifests, any.config, any.layers) {
        (Some(manifests), None, None) => Ok(Manifest::Index(manifests)),
        (None, Some(config), Some(layers)) => {
            check_layers(image, &layers)?;
            Ok(Manifest::Image(ImageManifest { config, layers }))
        }
        _ => {
            let why = "it is neither that of an image nor an index, or both".to_owned();
            Err(malformed(image, "the manifest", why))
        }
    }
}

fn check_layers(image: &str, layers: &[Descriptor]) -> Result<(), ImageError> {
    if layers.len() > MAX_LAYERS {
        return Err(ImageError::TooLarge {
            image: image.to_owned(),
            what: "the manifest".to_owned(),
            bound: MAX_LAYERS as u64,
            unit: "layers",
        });
    }
    // Artifacts that are no file systems (charts, signatures, programs for a browser) have manifests of the same form.
    let strange = |layer: &&Descriptor| !layer.media_type.contains(".tar");
    match layers.iter().find(strange) {
        None => Ok(()),
        Some(layer) => {
            let kind: String = layer.media_type.chars().take(100).collect();
            Err(ImageError::NotCarried {
                image: image.to_owned(),
                what: format!("a layer of type {kind:?}"),
            })
        }
    }
}

/// The manifest of an index that fits this machine best; the first of equals.
///
/// # Errors
/// [`ImageError::NoPlatform`] names those there are.
pub(super) fn choose<'a>(
    image: &str,
    manifests: &'a [Descriptor],
    here: &Platform,
) -> Result<&'a Descriptor, ImageError> {
    let mut best: Option<(u8, &Descriptor)> = None;
    for one in manifests {
        let fit = match &one.platform {
            Some(platform) => platform.fit(here),
            // Layouts on disk often say no platform: then the configuration decides.
            None => Some(0),
        };
        if let Some(fit) = fit.filter(|fit| best.is_none_or(|(before, _)| *fit > before)) {
            best = Some((fit, one));
        }
    }
    best.map(|(_, one)| one).ok_or_else(|| {
        let has = manifests.iter().filter_map(|one| one.platform.as_ref());
        no_platform(image, here, has)
    })
}

fn no_platform<'a>(
    image: &str,
    here: &Platform,
    has: impl Iterator<Item = &'a Platform>,
) -> ImageError {
    // A list of thousands would not help anybody.
    let has: Vec<String> = has.take(20).map(Platform::text).collect();
    ImageError::NoPlatform {
        image: image.to_owned(),
        wanted: here.text(),
        has: has.join(", "),
    }
}

/// The configuration of an image, and the digests of its layers once unpacked.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) config: ImageConfig,
    pub(super) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(flatten)]
    platform: Platform,
    #[serde(default, deserialize_with = "null_is_default")]
    config: Said,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "null_is_default")]
    diff_ids: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    #[serde(deserialize_with = "null_is_default")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    user: String,
    #[serde(deserialize_with = "null_is_default")]
    working_dir: String,
    #[serde(deserialize_with = "null_is_default")]
    stop_signal: String,
    #[serde(deserialize_with = "null_is_default")]
    exposed_ports: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "null_is_default")]
    volumes: BTreeMap<String, IgnoredAny>,
    #[serde(deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
}

/// Reads a configuration that belongs to `layers` layers.
///
/// # Errors
/// When it does not read, is for other machines, or has other layers.
pub(super) fn read_configuration(
    image: &str,
    bytes: &[u8],
    layers: usize,
) -> Result<Configuration, ImageError> {
    let what = "the configuration";
    let file: ConfigFile =
        serde_json::from_slice(bytes).map_err(|error| malformed(image, what, error.to_string()))?;
    let here = Platform::here();
    // Images made by hand may leave it out.
    let says = !file.platform.architecture.is_empty() || !file.platform.os.is_empty();
    let runs = file.platform.os == here.os && file.platform.architecture == here.architecture;
    if says && !runs {
        return Err(no_platform(image, &here, std::iter::once(&file.platform)));
    }
    if file.rootfs.diff_ids.len() != layers {
        let why = format!(
            "it speaks of {} layers, the manifest of {layers}",
            file.rootfs.diff_ids.len()
        );
        return Err(malformed(image, what, why));
    }
    let diff_ids: Option<Vec<Digest>> = file
        .rootfs
        .diff_ids
        .iter()
        .map(|text| Digest::parse(text))
        .collect();
    let diff_ids =
        diff_ids.ok_or_else(|| malformed(image, what, "a layer's digest is none".to_owned()))?;
    let said = file.config;
    let config = ImageConfig {
        entrypoint: said.entrypoint,
        cmd: said.cmd,
        env: said.env,
        user: said.user,
        working_dir: said.working_dir,
        stop_signal: Some(said.stop_signal).filter(|signal| !signal.is_empty()),
        exposed_ports: said.exposed_ports.into_keys().collect(),
        volumes: said.volumes.into_keys().collect(),
        labels: said.labels,
    };
    Ok(Configuration { config, diff_ids })
}

fn malformed(image: &str, what: &str, why: String) -> ImageError {
    ImageError::Malformed {
        image: image.to_owned(),
        what: what.to_owned(),
        why,
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(platform: &str, digit: char) -> String {
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        format!(
            r#"{{"mediaType":"m","digest":"{digest}","size":1,"platform":{platform},"annotations":null}}"#
        )
    }

    fn chosen(here: (&str, &str), platforms: &[&str]) -> Result<char, String> {
        let all: Vec<String> = platforms
            .iter()
            .zip('0'..)
            .map(|(platform, digit)| descriptor(platform, digit))
            .collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(","));
        let Manifest::Index(index) = read("i", text.as_bytes()).expect("reads") else {
            panic!("it is an index");
        };
        let here = Platform {
            os: "linux".into(),
            architecture: here.0.into(),
            variant: here.1.into(),
        };
        let one = choose("i", &index, &here).map_err(|error| error.to_string())?;
        Ok(one.digest.chars().last().expect("digits"))
    }

    #[test]
    fn the_platform_that_fits_best_is_chosen() {
        let windows = r#"{"os":"windows","architecture":"amd64"}"#;
        let amd64 = r#"{"os":"linux","architecture":"amd64"}"#;
        let v3 = r#"{"os":"linux","architecture":"amd64","variant":"v3"}"#;
        let arm = r#"{"os":"linux","architecture":"arm64"}"#;
        let v8 = r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#;

        assert_eq!(chosen(("amd64", ""), &[windows, v3, amd64, arm]), Ok('2'));
        assert_eq!(chosen(("arm64", "v8"), &[amd64, arm, v8]), Ok('2'));
        assert_eq!(chosen(("arm64", "v8"), &[amd64, arm]), Ok('1'));
        let error = chosen(("riscv64", ""), &[windows, v8]).expect_err("there is none");
        assert_eq!(
            error,
            "image i: there is none for linux/riscv64, only for windows/amd64, linux/arm64/v8"
        );
    }

    #[test]
    fn what_could_be_taken_for_two_things_is_refused() {
        let one = descriptor("null", '0');
        let both =
            format!(r#"{{"schemaVersion":2,"manifests":[{one}],"config":{one},"layers":[]}}"#);

        let error = read("i", both.as_bytes()).expect_err("it is both");

        assert!(matches!(error, ImageError::Malformed { .. }), "{error}");
    }

    #[test]
    fn a_configuration_may_be_full_of_nulls() {
        let text = r#"{"config":{"Entrypoint":null,"Cmd":["sh"],"Env":null,"ExposedPorts":{"80/tcp":{}},
            "Volumes":null,"StopSignal":null,"Labels":null,"Healthcheck":{"x":1}},"rootfs":{"type":"layers"}}"#;

        let read = read_configuration("i", text.as_bytes(), 0).expect("reads");

        assert_eq!(read.config.cmd, ["sh"]);
        assert_eq!(read.config.exposed_ports, ["80/tcp"]);
        assert_eq!(read.config.stop_signal, None);
    }

    #[test]
    fn a_configuration_of_other_layers_or_machines_is_refused() {
        let layers = read_configuration("i", br#"{"rootfs":{"diff_ids":[]}}"#, 1);
        let machine = br#"{"os":"plan9","architecture":"mips","rootfs":{"diff_ids":[]}}"#;
        let machine = read_configuration("i", machine, 0);

        assert!(matches!(layers, Err(ImageError::Malformed { .. })));
        assert!(matches!(machine, Err(ImageError::NoPlatform { .. })));
    }
}
