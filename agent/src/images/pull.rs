//! One pull: manifest, configuration, layers; for as long as anybody waits for it.
//!
//! ```text
//! manifest (index: this machine's) ─▶ configuration ─▶ layers that are not here, some side by side:
//!     blob into tmp, hashed ─▶ unpacked, hashed ─▶ appears                           ─▶ sealed ─▶ image, name
//! ```
//! Everybody who wants one reference at a time waits for one [`Job`]. It ends, and cleans up, when the last of them has
//! gone.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use mete_model::container::SecretValue;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _, BufWriter};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::digest::Digest;
use super::error::ImageError;
use super::layers::{self, Limits};
use super::manifest::{
    self, Configuration, Descriptor, ImageManifest, MAX_CONFIG_BYTES, Manifest, Platform,
};
use super::mend;
use super::progress::Progress;
use super::reference::Reference;
use super::registry::{Session, Sink};
use super::state::Layer;
use super::store::{ImageRecord, Temporary};
use super::{Inner, broken};

/// Layers of one image that come side by side: enough that one unpacks while others come.
const LAYERS_SIDE_BY_SIDE: usize = 3;
/// Indexes within indexes that are followed.
const MAX_INDEXES: usize = 2;
/// How often progress is told.
const TOLD_BYTES: u64 = 1 << 20;
/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// How far a pull is.
#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// It goes on; the last that is known.
    Working(Option<Progress>),
    /// It is over: the digest of the image.
    Done(Result<String, ImageError>),
}

/// A pull that somebody waits for.
pub(super) struct Job {
    pub(super) stages: watch::Receiver<Stage>,
    /// Ends the pull when the last who waits drops the job.
    _guard: DropGuard,
}

/// Begins a pull, by the agent's login or another.
pub(super) fn start(
    inner: &Arc<Inner>,
    reference: Reference,
    login: Option<SecretValue>,
) -> Arc<Job> {
    let cancel = CancellationToken::new();
    let (told, stages) = watch::channel(Stage::Working(None));
    let pull = Pull {
        inner: Arc::clone(inner),
        image: reference.to_string(),
        reference,
        login,
        told,
        cancel: cancel.clone(),
        unpacked: AtomicU64::new(0),
    };
    tokio::spawn(pull.run());
    Arc::new(Job {
        stages,
        _guard: cancel.drop_guard(),
    })
}

struct Pull {
    inner: Arc<Inner>,
    reference: Reference,
    login: Option<SecretValue>,
    image: String,
    told: watch::Sender<Stage>,
    cancel: CancellationToken,
    /// Bytes of the image's layers so far.
    unpacked: AtomicU64,
}

/// One layer of the image.
struct Wanted<'a> {
    at: usize,
    of: usize,
    blob: &'a Descriptor,
    diff_id: &'a Digest,
}

impl Pull {
    async fn run(self) {
        let outcome = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(ImageError::GivenUp { image: self.image.clone() }),
            outcome = self.pull() => outcome,
        };
        self.leave();
        match &outcome {
            Ok(digest) => info!(image = self.image, digest, "image is here"),
            Err(error) => warn!(image = self.image, %error, "image could not be pulled"),
        }
        self.told.send_replace(Stage::Done(outcome));
    }

    /// Whoever comes from now on begins anew. The place may belong to a successor already.
    fn leave(&self) {
        let mine = self.told.subscribe();
        let mut state = self.inner.state();
        let job = state.jobs.get(&self.image).and_then(Weak::upgrade);
        if job.is_none_or(|job| job.stages.same_channel(&mine)) {
            state.jobs.remove(&self.image);
        }
    }

    async fn pull(&self) -> Result<String, ImageError> {
        let _turn = self.inner.turn_at(self.reference.registry()).await?;
        let session = self
            .inner
            .registries
            .session(&self.reference, self.login.as_ref())
            .await?;
        let (digest, manifest) = self.manifest(&session).await?;
        let name = Some(self.image.clone());
        if let Some((record, pins)) = self.inner.known(digest.as_str()) {
            return self.inner.keep(record, name, pins).await;
        }
        let Configuration { config, diff_ids } = self.configuration(&session, &manifest).await?;
        let record = ImageRecord::new(&digest, &diff_ids, config);
        let pins = self.inner.pin(mend::with_mended(&diff_ids));
        let of = diff_ids.len();
        let wanted = manifest.layers.iter().zip(&diff_ids).enumerate();
        let layers: Vec<_> = wanted
            .map(|(at, (blob, diff_id))| Wanted {
                at: at + 1,
                of,
                blob,
                diff_id,
            })
            .map(|wanted| self.layer(&session, wanted))
            .collect();
        stream::iter(layers)
            .buffer_unordered(LAYERS_SIDE_BY_SIDE)
            .try_collect::<Vec<()>>()
            .await?;
        let (inner, image) = (Arc::clone(&self.inner), self.image.clone());
        let cancel = self.cancel.clone();
        let record = spawn_blocking(move || inner.mend(record, &image, &cancel))
            .await
            .map_err(broken)??;
        self.inner.keep(record, name, pins).await
    }

    /// The manifest for this machine.
    async fn manifest(&self, session: &Session<'_>) -> Result<(Digest, ImageManifest), ImageError> {
        let here = Platform::here();
        let mut version = self.reference.version().to_owned();
        for _ in 0..=MAX_INDEXES {
            let (bytes, digest) = session.manifest(&version).await?;
            match manifest::read(&self.image, &bytes)? {
                Manifest::Image(manifest) => return Ok((digest, manifest)),
                Manifest::Index(all) => {
                    let chosen = manifest::choose(&self.image, &all, &here)?;
                    version = chosen.digest(&self.image)?.to_string();
                }
            }
        }
        Err(ImageError::NotCarried {
            image: self.image.clone(),
            what: "an index of indexes of indexes".to_owned(),
        })
    }

    async fn configuration(
        &self,
        session: &Session<'_>,
        manifest: &ImageManifest,
    ) -> Result<Configuration, ImageError> {
        let what = "the configuration";
        let (digest, size) = (manifest.config.digest(&self.image)?, manifest.config.size);
        let bytes = session
            .small_blob(what, &digest, size, MAX_CONFIG_BYTES)
            .await?;
        manifest::read_configuration(&self.image, &bytes, manifest.layers.len())
    }

    async fn layer(&self, session: &Session<'_>, wanted: Wanted<'_>) -> Result<(), ImageError> {
        let diff_id = wanted.diff_id.as_str();
        let lock = self.inner.state().making(diff_id);
        let _making = lock.lock().await;
        let known = self.inner.state().layers.get(diff_id).copied();
        let bytes = match known {
            Some(layer) => layer.bytes,
            None => self.make(session, &wanted).await?,
        };
        let total = self.unpacked.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.check(total, "it unpacked")
    }

    /// Fetches and unpacks one layer; how large it is then.
    async fn make(&self, session: &Session<'_>, wanted: &Wanted<'_>) -> Result<u64, ImageError> {
        let what = format!("layer {} of {}", wanted.at, wanted.of);
        self.check(wanted.blob.size, &what)?;
        let kept = self.inner.store.temporary();
        let blob = wanted.blob.digest(&self.image)?;
        let mut sink = Blob::create(self, wanted, &kept).await.map_err(|error| {
            ImageError::io(&self.image, format!("{what} cannot be kept"), error)
        })?;
        session
            .blob(&what, &blob, wanted.blob.size, &mut sink)
            .await?;
        sink.end().await.map_err(|error| {
            ImageError::io(&self.image, format!("{what} cannot be kept"), error)
        })?;
        let _turn = self.inner.unpacks.acquire().await.map_err(broken)?;
        self.tell(Progress::Unpacking {
            layer: wanted.at,
            of: wanted.of,
        });
        let (inner, cancel) = (Arc::clone(&self.inner), self.cancel.clone());
        let (image, diff_id) = (self.image.clone(), wanted.diff_id.clone());
        let room = self.inner.options.max_image_bytes;
        let left = room.saturating_sub(self.unpacked.load(Ordering::Relaxed));
        spawn_blocking(move || {
            // It goes with the thread: whoever waited may have gone.
            let kept = kept;
            let blob = std::fs::File::open(kept.path())
                .map_err(|error| ImageError::io(&image, format!("{what} cannot be read"), error))?;
            inner.unpack(blob, &image, &what, &diff_id, left, &cancel)
        })
        .await
        .map_err(broken)?
    }

    /// Holds a size of a part against the bound of the whole.
    fn check(&self, bytes: u64, what: &str) -> Result<(), ImageError> {
        let bound = self.inner.options.max_image_bytes;
        if bytes <= bound {
            return Ok(());
        }
        Err(ImageError::TooLarge {
            image: self.image.clone(),
            what: what.to_owned(),
            bound,
            unit: "bytes",
        })
    }

    fn tell(&self, progress: Progress) {
        self.told.send_replace(Stage::Working(Some(progress)));
    }
}

impl Inner {
    /// Unpacks a layer and lets it appear; its size. Blocks.
    pub(super) fn unpack(
        &self,
        compressed: impl io::Read,
        image: &str,
        what: &str,
        diff_id: &Digest,
        room: u64,
        cancel: &CancellationToken,
    ) -> Result<u64, ImageError> {
        let failed = |error| ImageError::io(image, format!("{what} cannot be unpacked"), error);
        let tree = self.store.temporary();
        DirBuilder::new()
            .mode(0o755)
            .create(tree.path())
            .map_err(failed)?;
        let limits = Limits {
            bytes: self.options.max_layer_bytes.min(room),
        };
        let form = self.store.form();
        let unpacked = layers::unpack(compressed, diff_id, tree.path(), form, limits, cancel)
            .map_err(|error| error.of(image, what))?;
        // Within the lock: a pull that was given up may be at this point of the same layer.
        let mut state = self.state();
        if let Some(there) = state.layers.get(diff_id.as_str()) {
            return Ok(there.bytes);
        }
        self.store
            .add_layer(&tree, diff_id.as_str(), &unpacked.implied)
            .map_err(failed)?;
        let layer = Layer {
            bytes: unpacked.bytes,
            is_sealed: false,
        };
        state.layers.insert(diff_id.to_string(), layer);
        Ok(unpacked.bytes)
    }
}

/// A blob on its way to the disk.
struct Blob<'a> {
    pull: &'a Pull,
    wanted: &'a Wanted<'a>,
    file: BufWriter<File>,
    came: u64,
    told: u64,
}

impl<'a> Blob<'a> {
    async fn create(pull: &'a Pull, wanted: &'a Wanted<'a>, kept: &Temporary) -> io::Result<Self> {
        let file = File::create_new(kept.path()).await?;
        Ok(Self {
            pull,
            wanted,
            file: BufWriter::with_capacity(WRITE_BYTES, file),
            came: 0,
            told: 0,
        })
    }

    async fn end(mut self) -> io::Result<()> {
        self.file.flush().await
    }

    fn tell(&mut self) {
        self.told = self.came;
        self.pull.tell(Progress::Pulling {
            layer: self.wanted.at,
            of: self.wanted.of,
            bytes: self.came,
            total: self.wanted.blob.size,
        });
    }
}

impl Sink for Blob<'_> {
    async fn restart(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.get_ref().set_len(0).await?;
        self.file.rewind().await?;
        self.came = 0;
        self.tell();
        Ok(())
    }

    async fn write(&mut self, piece: Bytes) -> io::Result<()> {
        self.file.write_all(&piece).await?;
        self.came += piece.len() as u64;
        if self.came - self.told >= TOLD_BYTES || self.came == self.wanted.blob.size {
            self.tell();
        }
        Ok(())
    }
}
