//! Images: pulled from registries or read from disk, verified, unpacked once, shared by all who run them, and removed
//! when nobody has for long.
//!
//! ```text
//! provide(reference) ─▶ known? ─▶ one pull for all who wait ─▶ registry ─▶ layers ─▶ store
//! import(archive)    ────────────────────────────────────────────────────▶ layers ─▶ store
//! collect            ◀── age, full disk; never what a container holds
//! ```
//! Whatever comes from a registry or an archive is hostile until its digest is the one asked for, and stays within
//! bounds after that: see `registry` for the network, `layers` for what lands on disk.
//!
//! Start with [`Images::provide`], then `pull`.

mod collect; // what goes, and when
pub(crate) mod credentials; // logins from a Docker configuration file
mod digest; // sha256:…
mod error; // why not
mod import; // layouts and archives from disk
mod keep; // whole images become known, and stay while they are needed
mod layers; // archives of files, unpacked safely
mod manifest; // what an image is made of
mod mend; // what layers mean together
mod options; // what an operator may say
mod progress; // pulling layer 3 of 7
mod pull; // one pull, from manifest to store
pub(crate) mod reference; // docker.io/library/busybox:latest
mod registry; // manifests and blobs over HTTP
mod state; // who holds what
mod store; // what lies where on disk
mod waiting; // a container until its image is here

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mete_agent_core::image::ImageConfig;
use mete_daemon::clock;
pub use mete_model::container::Pull;
use mete_model::container::SecretValue;
use mete_model::{ContainerId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

pub use self::collect::Removed;
pub(crate) use self::collect::collect_for_ever;
pub use self::error::ImageError;
pub use self::import::Imported;
pub use self::layers::{FlattenError, flatten};
pub use self::options::ImageOptions;
pub use self::progress::Progress;

use self::layers::form::Form;
use self::pull::{Job, Stage};
use self::reference::Reference;
use self::registry::Registries;
use self::state::{Kept, State};
use self::store::{ImageRecord, Store};
use self::waiting::Waiting;

/// Images that are pulled from one registry side by side; the others wait. One that hangs holds up no other registry.
const PULLS_SIDE_BY_SIDE: usize = 4;
/// Layers that are unpacked side by side: it is work for CPU and disk, which belong to tasks.
const UNPACKS_SIDE_BY_SIDE: usize = 2;

/// An image that can be a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Digest of its manifest; of its configuration, when it came from `docker save`, which has no manifest.
    pub digest: String,
    /// Directories of its layers, lowest first; only to be read. See [`Images::carries_overlay`].
    pub layers: Vec<PathBuf>,
    /// How it wants to be run.
    pub config: ImageConfig,
}

/// An image in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its digest.
    pub digest: String,
    /// References that mean it.
    pub names: Vec<String>,
    /// Number of its layers.
    pub layers: usize,
    /// Bytes that its layers unpack to; others may share them.
    pub bytes: u64,
    /// When it came or was last held.
    pub used: Timestamp,
    /// Containers that hold it.
    pub containers: Vec<ContainerId>,
}

/// The images of one agent. Clones are the same.
#[derive(Clone)]
pub struct Images(Arc<Inner>);

struct Inner {
    options: ImageOptions,
    store: Store,
    registries: Registries,
    state: Mutex<State>,
    /// Held by who changes what lies on disk, so that memory and disk agree on who was last.
    disk: Mutex<()>,
    /// Turns of pulls, by registry, as long as anybody has one or waits for it.
    pulls: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    unpacks: Semaphore,
}

impl Images {
    /// Opens the images below `root`, a directory of their own, or begins with none. Blocks.
    ///
    /// # Errors
    /// When the directory cannot be used, or authorities do not read.
    pub fn open(root: PathBuf, options: ImageOptions) -> Result<Self, ImageError> {
        let registries = Registries::new(
            options.credentials.clone(),
            options.insecure_registries.iter().cloned().collect(),
            &options.authorities,
            options.stall,
        )?;
        let (store, found) = Store::open(root)
            .map_err(|error| ImageError::io("of any name", "the images cannot be opened", error))?;
        Ok(Self(Arc::new(Inner {
            options,
            store,
            registries,
            state: Mutex::new(State::new(found)),
            disk: Mutex::new(()),
            pulls: Mutex::default(),
            unpacks: Semaphore::new(UNPACKS_SIDE_BY_SIDE),
        })))
    }

    /// Whether layers can be the lower directories of an overlay mount. Otherwise a root is made by [`flatten`]. The
    /// options of such a mount have one page for all paths: named from within the directory of the layers, all that an
    /// image may have fit.
    pub fn carries_overlay(&self) -> bool {
        self.0.store.form() == Form::Overlay
    }

    /// An image, ready to be a root: pulled if need be, verified, unpacked. `container` holds it then, beside
    /// what it held before, until [`Self::release`]. `progress` is told how far it is, the last state if several came
    /// at once. Dropped before its end, nothing is held, and the pull ends when nobody else waits for it.
    ///
    /// # Errors
    /// [`ImageError`] names the image, the registry and what is wrong.
    pub async fn provide(
        &self,
        reference: &str,
        pull: Pull,
        container: &ContainerId,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Image, ImageError> {
        self.provide_by(None, reference, pull, container, progress)
            .await
    }

    /// The same with a login of the caller's, a Docker `config.json`, in place of the agent's. Such a pull is shared with nobody; an
    /// image that is here already may be had without a login by all.
    ///
    /// # Errors
    /// As [`Self::provide`].
    pub async fn provide_by(
        &self,
        login: Option<SecretValue>,
        reference: &str,
        pull: Pull,
        container: &ContainerId,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Image, ImageError> {
        let reference = Reference::parse(reference)?;
        if pull == Pull::IfMissing
            && let Some(image) = self.0.take(&reference, container)
        {
            return Ok(image);
        }
        let mut waiting = Waiting::begin(&self.0, container, reference.to_string());
        let job = match login {
            None => self.0.join(reference),
            own @ Some(_) => pull::start(&self.0, reference, own),
        };
        let mut stages = job.stages.clone();
        loop {
            let stage = stages.borrow_and_update().clone();
            match stage {
                Stage::Working(None) => {}
                Stage::Working(Some(far)) => progress(far),
                Stage::Done(outcome) => return waiting.end(&outcome?),
            }
            if stages.changed().await.is_err() {
                let image = waiting.image.clone();
                return Err(ImageError::GivenUp { image });
            }
        }
    }

    /// Lets go of what a container holds; nothing is fine. To be called when the container is gone, however
    /// [`Self::provide`] ended.
    pub fn release(&self, container: &ContainerId) {
        let held = {
            let mut state = self.0.state();
            state.waiting.remove(container);
            state.holds.remove(container)
        };
        for digest in held.unwrap_or_default() {
            self.0.touch(&digest);
        }
    }

    /// Lets a container hold an image that it has held in the agent's last life. To be called before the first
    /// [`Self::collect`].
    pub fn hold(&self, container: &ContainerId, digest: &str) {
        let mut state = self.0.state();
        state.hold(container.clone(), digest.to_owned());
    }

    /// All images, by digest.
    pub async fn list(&self) -> Vec<Listed> {
        let state = self.0.state();
        let listed = |kept: &Kept| Listed {
            digest: kept.record.digest.clone(),
            names: state.names_of(&kept.record.digest),
            layers: kept.record.layers.len(),
            bytes: state.bytes(&kept.record.layers),
            used: kept.used,
            containers: state.holders(&kept.record.digest).cloned().collect(),
        };
        state.images.values().map(listed).collect()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves whole entries: every change is one insertion or removal at a time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self) -> MutexGuard<'_, ()> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A known image, held from now on.
    fn take(&self, reference: &Reference, container: &ContainerId) -> Option<Image> {
        let image = {
            let mut state = self.state();
            let name = reference.to_string();
            let digest = reference.digest().map(digest::Digest::as_str);
            let kept = state
                .find(&name)
                .or_else(|| state.images.get(digest?))?
                .clone();
            let digest = kept.record.digest.clone();
            state.hold(container.clone(), digest);
            self.image(&kept.record)
        };
        self.touch(&image.digest);
        Some(image)
    }

    fn image(&self, record: &ImageRecord) -> Image {
        let layers = record.layers.iter();
        Image {
            digest: record.digest.clone(),
            layers: layers.map(|layer| self.store.layer(layer)).collect(),
            config: record.config.clone(),
        }
    }

    /// Notes that an image is used now. A few microseconds: the kernel writes it down in its time.
    fn touch(&self, digest: &str) {
        let now = clock::now();
        let is_known = match self.state().images.get_mut(digest) {
            Some(kept) => {
                kept.used = now;
                true
            }
            None => false,
        };
        if is_known && let Err(error) = self.store.touch(digest, now) {
            warn!(digest, %error, "when an image was used is not noted");
        }
    }

    /// Waits for a turn to pull from a registry.
    async fn turn_at(&self, registry: &str) -> Result<OwnedSemaphorePermit, ImageError> {
        let turns = {
            let mut all = self.pulls.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, turns| Arc::strong_count(turns) > 1);
            let new = || Arc::new(Semaphore::new(PULLS_SIDE_BY_SIDE));
            Arc::clone(all.entry(registry.to_owned()).or_insert_with(new))
        };
        turns.acquire_owned().await.map_err(broken)
    }

    /// The pull of a reference that is under way, or a new one.
    fn join(self: &Arc<Self>, reference: Reference) -> Arc<Job> {
        let mut state = self.state();
        let name = reference.to_string();
        if let Some(job) = state.jobs.get(&name).and_then(std::sync::Weak::upgrade) {
            return job;
        }
        let job = pull::start(self, reference, None);
        state.jobs.insert(name, Arc::downgrade(&job));
        job
    }
}

/// A part of the agent that panicked, or ended.
fn broken(error: impl std::error::Error + Send + Sync + 'static) -> ImageError {
    ImageError::Io {
        doing: "a part of the agent broke".to_owned(),
        said: Arc::new(io::Error::other(error)),
    }
}
