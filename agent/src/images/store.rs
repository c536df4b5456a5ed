//! What lies on disk, and what of it counts.
//!
//! ```text
//! <root>/
//!     form                      how layers say what is gone, see `layers::form`
//!     layers/<20 digits>/       an unpacked layer, by the beginning of its digest (see `layer_name`)
//!     layers/<20 digits>.json   its whole digest and size; written when all of it is on the disk
//!     layers/<20 digits>.implied  directories that it has without an entry of their own, if any: paths with a zero byte
//!                               behind each
//!     images/<digest>.json      an image: configuration, layers; its time of modification is that of its last use
//!     names/<digest>.json       a reference and the image it means; the file's name is the digest of the reference
//!     tmp/                      what is being made; emptied at start
//! ```
//! Invariants: a layer appears by one rename, whole and verified; it counts after a restart only when its `.json` is
//! there, which comes after the data are safe; an image only when all its layers count. Small files are replaced by
//! renames. So whatever moment the agent dies at, what is found is true.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mete_agent_core::image::ImageConfig;
use mete_model::Timestamp;
use rustix::fs::syncfs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::digest::Digest;
use super::layers::form::Form;
use crate::sandbox::remove_tree;

/// Digits of a layer's digest that name its directory. Overlayfs takes all directories of a mount in one page of text:
/// with whole digests it would hold some forty layers, with these all that an image may have, named from within
/// `layers`. The whole digest stands beside, and is compared.
const LAYER_DIGITS: usize = 20;
/// How the file ends that names the directories which a layer implies.
const IMPLIED: &str = "implied";
/// The largest small file; a configuration has at most 4 MiB of text.
const MAX_RECORD_BYTES: u64 = 16 << 20;
/// The version of the small files.
const VERSION: u32 = 1;

/// An image as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    version: u32,
    /// Digest of its manifest.
    pub(super) digest: String,
    /// Digests of its unpacked layers, lowest first.
    pub(super) layers: Vec<String>,
    /// How it wants to be run.
    pub(super) config: ImageConfig,
}

impl ImageRecord {
    pub(super) fn new(digest: &Digest, layers: &[Digest], config: ImageConfig) -> Self {
        Self {
            version: VERSION,
            digest: digest.to_string(),
            layers: layers.iter().map(ToString::to_string).collect(),
            config,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct NameRecord {
    version: u32,
    reference: String,
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct LayerRecord {
    version: u32,
    diff_id: String,
    bytes: u64,
}

/// What was found at start.
#[derive(Default)]
pub(super) struct Found {
    /// Images by digest, with the time of their last use.
    pub(super) images: BTreeMap<String, (ImageRecord, Timestamp)>,
    /// Digests of images by reference.
    pub(super) names: BTreeMap<String, String>,
    /// Sizes of layers by digest.
    pub(super) layers: BTreeMap<String, u64>,
}

/// The directories of one agent's images. All of it blocks.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    form: Form,
    next: AtomicU64,
}

impl Store {
    /// Opens or makes a store; removes what was being made when the agent died, and what has no meaning.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub(super) fn open(root: PathBuf) -> io::Result<(Self, Found)> {
        for part in ["", "layers", "images", "names"] {
            let directory = root.join(part);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(|error| named(&directory, error))?;
        }
        let tmp = root.join("tmp");
        remove_tree(&tmp)?;
        DirBuilder::new().mode(0o700).create(&tmp)?;
        let form = form_of(&root)?;
        let store = Self {
            root,
            form,
            next: AtomicU64::new(0),
        };
        let found = store.find()?;
        Ok((store, found))
    }

    pub(super) const fn form(&self) -> Form {
        self.form
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where an unpacked layer lies, or will lie.
    pub(super) fn layer(&self, diff_id: &str) -> PathBuf {
        self.root.join("layers").join(layer_name(diff_id))
    }

    /// A path in `tmp` that nobody else has.
    pub(super) fn temporary(&self) -> Temporary {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Temporary(self.root.join("tmp").join(number.to_string()))
    }

    /// Lets an unpacked layer appear, with what is known of directories that it `implied`. Not safe from a power cut
    /// before [`Self::seal`].
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn add_layer(
        &self,
        unpacked: &Temporary,
        diff_id: &str,
        implied: &BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let layer = self.layer(diff_id);
        let beside = layer.with_extension(IMPLIED);
        if implied.is_empty() {
            gone_is_fine(fs::remove_file(beside))?;
        } else {
            let mut paths = Vec::new();
            for path in implied {
                paths.extend_from_slice(path.as_os_str().as_bytes());
                paths.push(0);
            }
            fs::write(beside, paths)?;
        }
        fs::rename(&unpacked.0, layer)
    }

    /// The directories that a layer has without an entry of their own.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn implied(&self, diff_id: &str) -> io::Result<BTreeSet<PathBuf>> {
        let beside = self.layer(diff_id).with_extension(IMPLIED);
        let paths = match fs::read(beside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            read => read?,
        };
        let paths = paths.split(|byte| *byte == 0);
        let paths = paths.filter(|path| !path.is_empty());
        Ok(paths
            .map(|path| PathBuf::from(OsStr::from_bytes(path)))
            .collect())
    }

    /// Makes layers safe: their data first, then the word that they are there.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn seal(&self, layers: &[(String, u64)]) -> io::Result<()> {
        if layers.is_empty() {
            return Ok(());
        }
        let directory = File::open(self.root.join("layers"))?;
        // One call for thousands of files; a file by file would take minutes.
        syncfs(&directory)?;
        for (diff_id, bytes) in layers {
            let record = LayerRecord {
                version: VERSION,
                diff_id: diff_id.clone(),
                bytes: *bytes,
            };
            self.write(&self.layer(diff_id).with_extension("json"), &record)?;
        }
        Ok(())
    }

    /// Keeps an image, whose layers are sealed.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn add_image(&self, record: &ImageRecord) -> io::Result<()> {
        self.write(&self.image(&record.digest), record)
    }

    /// Lets a reference mean an image.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn add_name(&self, reference: &str, digest: &str) -> io::Result<()> {
        let record = NameRecord {
            version: VERSION,
            reference: reference.to_owned(),
            digest: digest.to_owned(),
        };
        self.write(&self.name(reference), &record)
    }

    /// Notes when an image was last used.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn touch(&self, digest: &str, at: Timestamp) -> io::Result<()> {
        let since = Duration::from_micros(at.as_micros());
        File::open(self.image(digest))?.set_modified(UNIX_EPOCH + since)
    }

    /// Forgets a reference.
    ///
    /// # Errors
    /// What the system says; one that is not there is fine.
    pub(super) fn remove_name(&self, reference: &str) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.name(reference)))
    }

    /// Forgets an image; its layers stay.
    ///
    /// # Errors
    /// What the system says; one that is not there is fine.
    pub(super) fn remove_image(&self, digest: &str) -> io::Result<()> {
        gone_is_fine(fs::remove_file(self.image(digest)))
    }

    /// Takes a layer out of use; what comes back is to be removed, in its time.
    ///
    /// # Errors
    /// What the system says; one that is not there is fine.
    pub(super) fn retire_layer(&self, diff_id: &str) -> io::Result<Temporary> {
        let layer = self.layer(diff_id);
        gone_is_fine(fs::remove_file(layer.with_extension("json")))?;
        gone_is_fine(fs::remove_file(layer.with_extension(IMPLIED)))?;
        let aside = self.temporary();
        gone_is_fine(fs::rename(layer, &aside.0))?;
        Ok(aside)
    }

    fn image(&self, digest: &str) -> PathBuf {
        let name = digest.replace(':', "-");
        self.root.join("images").join(format!("{name}.json"))
    }

    fn name(&self, reference: &str) -> PathBuf {
        let digest = Digest::of(reference.as_bytes());
        self.root
            .join("names")
            .join(format!("{}.json", digest.hex()))
    }

    /// Replaces a small file.
    fn write(&self, path: &Path, record: &impl Serialize) -> io::Result<()> {
        let aside = self.temporary();
        replace(&aside.0, path, &serde_json::to_vec(record)?)
    }

    fn find(&self) -> io::Result<Found> {
        let mut found = Found::default();
        self.find_layers(&mut found)?;
        for (path, record) in records::<ImageRecord>(&self.root.join("images"))? {
            let is_whole = record
                .layers
                .iter()
                .all(|layer| found.layers.contains_key(layer));
            let is_named =
                Digest::parse(&record.digest).is_some() && self.image(&record.digest) == path;
            if is_whole && is_named {
                let used = modified(&path)?;
                found.images.insert(record.digest.clone(), (record, used));
            } else {
                warn!(
                    digest = record.digest,
                    "image without all its layers is forgotten"
                );
                fs::remove_file(path)?;
            }
        }
        for (path, record) in records::<NameRecord>(&self.root.join("names"))? {
            if found.images.contains_key(&record.digest) {
                found.names.insert(record.reference, record.digest);
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(found)
    }

    /// Layers that are whole; others are removed.
    fn find_layers(&self, found: &mut Found) -> io::Result<()> {
        let directory = self.root.join("layers");
        let mut kept = BTreeSet::new();
        for (path, record) in records::<LayerRecord>(&directory)? {
            let layer = self.layer(&record.diff_id);
            if layer.with_extension("json") == path && layer.is_dir() {
                kept.insert(layer);
                found.layers.insert(record.diff_id, record.bytes);
            } else {
                fs::remove_file(path)?;
            }
        }
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() && !kept.contains(&path) {
                warn!(layer = %path.display(), "layer that was not finished is removed");
                remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

/// A file or directory that goes when it is not kept.
#[derive(Debug)]
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let removed = match fs::symlink_metadata(&self.0) {
            Err(_) => return,
            Ok(found) if found.is_dir() => remove_tree(&self.0),
            Ok(_) => fs::remove_file(&self.0),
        };
        if let Err(error) = removed {
            warn!(path = %self.0.display(), %error, "what was being made stays until the next start");
        }
    }
}

/// Puts a small file, made aside, in the place of another, and both safe.
fn replace(aside: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(aside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(aside, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// The beginning of a digest's digits.
fn layer_name(diff_id: &str) -> &str {
    let digits = diff_id.split_once(':').map_or("", |(_, digits)| digits);
    digits.get(..LAYER_DIGITS).unwrap_or(digits)
}

/// The form of a store: as it was begun, or what is possible.
fn form_of(root: &Path) -> io::Result<Form> {
    let path = root.join("form");
    match fs::read_to_string(&path) {
        Ok(text) => Form::parse(text.trim()).ok_or_else(|| {
            let text = format!("{}: {text:?} is no form of layers", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let tmp = root.join("tmp");
            let form = Form::possible_in(&tmp)?;
            replace(&tmp.join("form"), &path, form.as_str().as_bytes())?;
            Ok(form)
        }
        Err(error) => Err(named(&path, error)),
    }
}

/// All small files of a directory that read; others are removed, for the next pull writes them anew.
fn records<T: DeserializeOwned>(directory: &Path) -> io::Result<Vec<(PathBuf, T)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let mut text = Vec::new();
        File::open(&path)?
            .take(MAX_RECORD_BYTES)
            .read_to_end(&mut text)?;
        match serde_json::from_slice(&text) {
            Ok(record) => all.push((path, record)),
            Err(error) => {
                warn!(path = %path.display(), %error, "damaged record of an image is removed");
                fs::remove_file(path)?;
            }
        }
    }
    Ok(all)
}

fn modified(path: &Path) -> io::Result<Timestamp> {
    let at = fs::metadata(path)?.modified()?;
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(Timestamp::EPOCH + since)
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn gone_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
