//! What an operator may say about images: each field's comment is its help text.

use std::path::PathBuf;
use std::time::Duration;

use mete_daemon::config::{self, Fault};

use super::reference::is_host;
use crate::containerizer::image_root::ImageRootChoice;

/// Larger than any layer that is known, small against a disk.
const DEFAULT_MAX_LAYER_BYTES: u64 = 16 << 30;
/// Images with models in them have tens of gigabytes.
const DEFAULT_MAX_IMAGE_BYTES: u64 = 64 << 30;
/// A registry may have to fetch a layer from its own storage first.
const DEFAULT_STALL: Duration = Duration::from_secs(60);
/// That of sandboxes.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// From 90 % on sandboxes go at once; images, which can be had again, go before.
const DEFAULT_HIGH_WATER_PERCENT: u8 = 85;

/// How an agent treats images.
#[derive(Clone, Debug, clap::Args)]
pub struct ImageOptions {
    /// Registry (`host:port`, or `host` for port 80) that is spoken to in plain HTTP; all others need TLS, but for those
    /// on loopback, which do without when they know none. May be given more than once.
    #[arg(long = "insecure-registry", value_name = "HOST:PORT")]
    pub insecure_registries: Vec<String>,
    /// Logins for registries: a Docker `config.json` with `auths`. Read anew for each pull.
    #[arg(long = "registry-logins", value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Certificates (PEM) of authorities that registries may have besides those that the machine trusts. May be given
    /// more than once.
    #[arg(long = "registry-ca-file", value_name = "FILE")]
    pub authorities: Vec<PathBuf>,
    /// How long a registry may be silent, or send less than 16 KiB.
    #[arg(long = "registry-stall", value_name = "TIME", default_value = "60s", value_parser = config::duration)]
    pub stall: Duration,
    /// What a layer of an image may unpack to.
    #[arg(long = "image-max-layer", value_name = "SIZE", default_value_t = DEFAULT_MAX_LAYER_BYTES, value_parser = config::bytes)]
    pub max_layer_bytes: u64,
    /// What a whole image may unpack to, and what an uploaded archive may have.
    #[arg(long = "image-max-size", value_name = "SIZE", default_value_t = DEFAULT_MAX_IMAGE_BYTES, value_parser = config::bytes)]
    pub max_image_bytes: u64,
    /// What the root of a container with an image is: `overlay` (layers that containers share), `copy` (all of the image
    /// for each container), `auto` for a copy where the machine has no overlayfs.
    #[arg(long = "image-root", value_enum, default_value_t = ImageRootChoice::Auto)]
    pub root: ImageRootChoice,
    /// How long an image that no task uses is kept.
    #[arg(long = "image-gc-delay", value_name = "TIME", default_value = "168h", value_parser = config::duration)]
    pub max_age: Duration,
    /// On a disk that is fuller than this, images that no task uses go before their time, oldest use first.
    #[arg(long = "image-high-water", value_name = "PERCENT", default_value_t = DEFAULT_HIGH_WATER_PERCENT)]
    pub high_water_percent: u8,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            insecure_registries: Vec::new(),
            credentials: None,
            authorities: Vec::new(),
            stall: DEFAULT_STALL,
            max_layer_bytes: DEFAULT_MAX_LAYER_BYTES,
            max_image_bytes: DEFAULT_MAX_IMAGE_BYTES,
            root: ImageRootChoice::Auto,
            max_age: DEFAULT_MAX_AGE,
            high_water_percent: DEFAULT_HIGH_WATER_PERCENT,
        }
    }
}

impl ImageOptions {
    /// What is wrong, by key.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for registry in self
            .insecure_registries
            .iter()
            .filter(|name| !is_host(name))
        {
            let reason = format!("{registry:?} is neither host:port nor a host");
            faults.push(Fault::new("insecure-registry", reason));
        }
        if self.high_water_percent == 0 || self.high_water_percent > 100 {
            faults.push(Fault::new("image-high-water", "must be from 1 to 100"));
        }
        for (key, bytes) in [
            ("image-max-layer", self.max_layer_bytes),
            ("image-max-size", self.max_image_bytes),
        ] {
            if bytes == 0 {
                faults.push(Fault::new(key, "must be above zero"));
            }
        }
        if self.stall.is_zero() {
            faults.push(Fault::new("registry-stall", "must be above zero"));
        }
        faults
    }
}
