//! Images from disk, for hosts without a registry: an OCI layout (a directory, or a tar of it), and what `docker save`
//! writes.
//!
//! ```text
//! manifest.json                          docker save: configuration, layers, names
//! index.json ─▶ manifests ─▶ blobs/…     OCI layout: names stand in annotations
//! ```
//! An archive is walked once for where its files lie, and read in place: nothing of it is unpacked but the layers, and
//! those like any others. Files of a directory are opened below it and through no link.

mod source; // files of a directory or an archive
mod upload; // archives that come over the network

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use mete_agent_core::image::ImageConfig;
use serde::Deserialize;
use tokio::task::spawn_blocking;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::source::Source;
use super::digest::Digest;
use super::error::ImageError;
use super::manifest::{
    self, Descriptor, MAX_CONFIG_BYTES, MAX_LAYERS, MAX_MANIFEST_BYTES, Manifest, Platform,
};
use super::mend;
use super::reference::Reference;
use super::store::ImageRecord;
use super::{Images, Inner, broken};

/// Most images of one archive.
const MAX_IMAGES: usize = 100;
/// The full name of an image in an OCI layout, as containerd and Docker write it.
const NAME_IN_FULL: &str = "io.containerd.image.name";
/// The name of an image in an OCI layout, often a tag only.
const NAME: &str = "org.opencontainers.image.ref.name";

/// One image that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Its digest.
    pub digest: String,
    /// The references that mean it from now on; an archive may have none.
    pub names: Vec<String>,
}

impl Images {
    /// Takes all images of an OCI layout (directory or tar) or of a `docker save` tar in. Those for other machines are
    /// left out when there is one for this. Dropped before its end, it ends, and only whole images stay.
    ///
    /// # Errors
    /// [`ImageError`] names the path and what is wrong; images before that one stay.
    pub async fn import(&self, path: &Path) -> Result<Vec<Imported>, ImageError> {
        self.import_as(path, None).await
    }

    /// As [`Self::import`], under a name instead of those in the archive; with several images the first gets it.
    ///
    /// # Errors
    /// As [`Self::import`], and when the name is none.
    pub async fn import_as(
        &self,
        path: &Path,
        name: Option<&str>,
    ) -> Result<Vec<Imported>, ImageError> {
        self.read(path, path.display().to_string(), name).await
    }

    /// Reads an archive that errors call by a name.
    async fn read(
        &self,
        path: &Path,
        archive: String,
        name: Option<&str>,
    ) -> Result<Vec<Imported>, ImageError> {
        let name = name.map(Reference::parse).transpose()?;
        let cancel = CancellationToken::new();
        let _guard: DropGuard = cancel.clone().drop_guard();
        let (inner, path) = (Arc::clone(&self.0), path.to_owned());
        spawn_blocking(move || {
            let import = Import {
                inner: &inner,
                source: Source::open(&path, &archive)?,
                archive,
                cancel,
            };
            import.run(name.map(|name| name.to_string()))
        })
        .await
        .map_err(broken)?
    }
}

/// One import.
struct Import<'a> {
    inner: &'a Arc<Inner>,
    source: Source,
    /// What errors call it by.
    archive: String,
    cancel: CancellationToken,
}

#[derive(Deserialize)]
struct Saved {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
}

/// An image of the archive, all but its layers.
struct Told {
    digest: Digest,
    config: ImageConfig,
    diff_ids: Vec<Digest>,
    /// Where its layers lie.
    files: Vec<String>,
    names: Vec<String>,
}

impl Import<'_> {
    fn run(&self, name: Option<String>) -> Result<Vec<Imported>, ImageError> {
        // Newer `docker save` writes both forms; this one has the whole names.
        let mut told = match self.source.has("manifest.json") {
            true => self.saved()?,
            false => self.layout()?,
        };
        if let Some(name) = name {
            for one in &mut told {
                one.names.clear();
            }
            if let Some(first) = told.first_mut() {
                first.names.push(name);
            }
        }
        told.into_iter().map(|one| self.take(one)).collect()
    }

    fn take(&self, told: Told) -> Result<Imported, ImageError> {
        let record = ImageRecord::new(&told.digest, &told.diff_ids, told.config);
        let _pins = self.inner.pin(mend::with_mended(&told.diff_ids));
        let mut room = self.inner.options.max_image_bytes;
        let of = told.files.len();
        for (at, (file, diff_id)) in told.files.iter().zip(&told.diff_ids).enumerate() {
            let what = format!("layer {} of {of}", at + 1);
            let lock = self.inner.state().making(diff_id.as_str());
            let _making = lock.blocking_lock();
            let known = self.inner.state().layers.get(diff_id.as_str()).copied();
            let bytes = match known {
                Some(layer) => layer.bytes,
                None => {
                    let content = self.open(file)?;
                    self.inner
                        .unpack(content, &self.archive, &what, diff_id, room, &self.cancel)?
                }
            };
            room = room
                .checked_sub(bytes)
                .ok_or_else(|| ImageError::TooLarge {
                    image: self.archive.clone(),
                    what: "it unpacked".to_owned(),
                    bound: self.inner.options.max_image_bytes,
                    unit: "bytes",
                })?;
        }
        let record = self.inner.mend(record, &self.archive, &self.cancel)?;
        for name in &told.names {
            self.inner.keep_now(record.clone(), Some(name))?;
        }
        if told.names.is_empty() {
            self.inner.keep_now(record, None)?;
        }
        Ok(Imported {
            digest: told.digest.to_string(),
            names: told.names,
        })
    }

    /// What `docker save` has written.
    fn saved(&self) -> Result<Vec<Told>, ImageError> {
        let bytes = self.small("manifest.json", MAX_MANIFEST_BYTES)?;
        let all: Vec<Saved> = serde_json::from_slice(&bytes)
            .map_err(|error| self.malformed("manifest.json", error.to_string()))?;
        self.count(all.len())?;
        all.into_iter().map(|one| self.saved_one(one)).collect()
    }

    fn saved_one(&self, saved: Saved) -> Result<Told, ImageError> {
        if saved.layers.len() > MAX_LAYERS {
            return Err(self.malformed("manifest.json", format!("more than {MAX_LAYERS} layers")));
        }
        let bytes = self.small(&saved.config, MAX_CONFIG_BYTES)?;
        let read = manifest::read_configuration(&self.archive, &bytes, saved.layers.len())?;
        let names = saved.names.unwrap_or_default();
        let names: Result<Vec<_>, _> = names
            .iter()
            .map(|name| Reference::parse(name).map(|name| name.to_string()))
            .collect();
        Ok(Told {
            digest: Digest::of(&bytes),
            config: read.config,
            diff_ids: read.diff_ids,
            files: saved.layers,
            names: names?,
        })
    }

    /// What stands in an OCI layout: each image that an index names, for this machine.
    fn layout(&self) -> Result<Vec<Told>, ImageError> {
        if !self.source.has("index.json") {
            let why = "there is neither manifest.json nor index.json in it".to_owned();
            return Err(self.malformed("it", why));
        }
        let bytes = self.small("index.json", MAX_MANIFEST_BYTES)?;
        let Manifest::Index(index) = manifest::read(&self.archive, &bytes)? else {
            return Err(self.malformed("index.json", "it is no index".to_owned()));
        };
        self.count(index.len())?;
        // Several may be one image for several machines, under one name: then this machine's is meant.
        let mut by_name: BTreeMap<Option<&String>, Vec<Descriptor>> = BTreeMap::new();
        for one in &index {
            let name = one
                .annotations
                .get(NAME_IN_FULL)
                .or_else(|| one.annotations.get(NAME));
            by_name.entry(name).or_default().push(one.clone());
        }
        let mut told = Vec::new();
        for (name, same) in by_name {
            // A name that is none (a digest, a word of the maker) still leaves the image. A word alone is a tag (so in
            // OCI's specification), and of which image nobody says.
            let names: Vec<String> = name
                .filter(|name| name.contains(['/', ':']))
                .and_then(|name| Reference::parse(name).ok())
                .map(|name| name.to_string())
                .into_iter()
                .collect();
            let chosen = manifest::choose(&self.archive, &same, &Platform::here())?;
            told.push(self.layout_one(chosen, names)?);
        }
        Ok(told)
    }

    fn layout_one(&self, at: &Descriptor, names: Vec<String>) -> Result<Told, ImageError> {
        let (digest, bytes) = self.blob(at, MAX_MANIFEST_BYTES)?;
        let (digest, manifest) = match manifest::read(&self.archive, &bytes)? {
            Manifest::Image(manifest) => (digest, manifest),
            Manifest::Index(all) => {
                let chosen = manifest::choose(&self.archive, &all, &Platform::here())?;
                let (digest, bytes) = self.blob(chosen, MAX_MANIFEST_BYTES)?;
                match manifest::read(&self.archive, &bytes)? {
                    Manifest::Image(manifest) => (digest, manifest),
                    Manifest::Index(_) => {
                        let why = "an index of indexes".to_owned();
                        return Err(self.malformed("index.json", why));
                    }
                }
            }
        };
        let (_, bytes) = self.blob(&manifest.config, MAX_CONFIG_BYTES)?;
        let read = manifest::read_configuration(&self.archive, &bytes, manifest.layers.len())?;
        let files: Result<Vec<_>, _> = manifest
            .layers
            .iter()
            .map(|layer| Ok(blob_path(&layer.digest(&self.archive)?)))
            .collect();
        Ok(Told {
            digest,
            config: read.config,
            diff_ids: read.diff_ids,
            files: files?,
            names,
        })
    }

    /// A small blob, which must be what it is called by.
    fn blob(&self, at: &Descriptor, bound: u64) -> Result<(Digest, Vec<u8>), ImageError> {
        let digest = at.digest(&self.archive)?;
        let path = blob_path(&digest);
        let bytes = self.small(&path, bound)?;
        let mut hasher = digest.hasher();
        hasher.update(&bytes);
        let got = hasher.finish();
        if got != digest {
            return Err(ImageError::DigestMismatch {
                image: self.archive.clone(),
                what: path,
                wanted: digest.to_string(),
                got: got.to_string(),
            });
        }
        Ok((digest, bytes))
    }

    fn small(&self, path: &str, bound: u64) -> Result<Vec<u8>, ImageError> {
        let mut bytes = Vec::new();
        let content = self.open(path)?;
        content
            .take(bound + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(path, error))?;
        if bytes.len() as u64 > bound {
            return Err(ImageError::TooLarge {
                image: self.archive.clone(),
                what: path.to_owned(),
                bound,
                unit: "bytes",
            });
        }
        Ok(bytes)
    }

    fn open(&self, path: &str) -> Result<Box<dyn Read + '_>, ImageError> {
        self.source
            .file(path)
            .map_err(|error| self.failed(path, error))
    }

    fn failed(&self, path: &str, error: io::Error) -> ImageError {
        if error.kind() == io::ErrorKind::NotFound {
            return self.malformed(path, "it is not there".to_owned());
        }
        ImageError::io(&self.archive, format!("{path} of {}", self.archive), error)
    }

    fn malformed(&self, what: &str, why: String) -> ImageError {
        ImageError::Malformed {
            image: self.archive.clone(),
            what: what.chars().take(200).collect(),
            why,
        }
    }

    fn count(&self, images: usize) -> Result<(), ImageError> {
        match images {
            0 => Err(self.malformed("it", "there is no image in it".to_owned())),
            1..=MAX_IMAGES => Ok(()),
            _ => Err(self.malformed("it", format!("more than {MAX_IMAGES} images"))),
        }
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}
