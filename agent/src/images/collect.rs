//! Removing images: those that nobody has used for long, those that a full disk cannot afford, those that an operator
//! does not want.
//!
//! Never one that a container holds, and no layer that another image has. Oldest use first.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use mete_model::Timestamp;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::error::ImageError;
use super::reference::Reference;
use super::store::Temporary;
use super::{Images, Inner, broken};
use crate::sandbox;

/// How often it is looked for images that may go: a disk fills within minutes.
const COLLECT_EVERY: Duration = Duration::from_secs(60);

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// References that mean nothing any more.
    pub names: Vec<String>,
    /// Digests of images that are gone.
    pub images: Vec<String>,
    /// About the bytes that came free: those of layers that no image has any more.
    pub bytes: u64,
}

/// Removes images that are old, or that the disk has no room for. Begins a while after the start: containers of before
/// have said by then what they hold.
pub(crate) async fn collect_for_ever(images: Images, end: CancellationToken) {
    loop {
        tokio::select! {
            () = end.cancelled() => return,
            () = tokio::time::sleep(COLLECT_EVERY) => {}
        }
        match images.collect(mete_daemon::clock::now()).await {
            Ok(removed) if removed.images.is_empty() && removed.bytes == 0 => {}
            Ok(removed) => info!(
                images = removed.images.len(),
                bytes = removed.bytes,
                "unused images removed"
            ),
            Err(error) => warn!(%error, "unused images cannot be removed"),
        }
    }
}

/// For how long an image that nobody uses is kept on a full disk: whoever has brought it is about to run it.
const KEPT_WHEN_FULL: Duration = Duration::from_secs(600);

impl Images {
    /// Removes what is too old, layers of no image, and then, as long as the disk is fuller than it should be, the
    /// image that was used longest ago. To be called now and then.
    ///
    /// # Errors
    /// What the system says; what was removed by then stays removed.
    pub async fn collect(&self, now: Timestamp) -> Result<Removed, ImageError> {
        let inner = self.0.clone();
        let collected = spawn_blocking(move || inner.collect(now)).await;
        collected
            .map_err(broken)?
            .map_err(|error| ImageError::io("of any name", "images cannot be removed", error))
    }

    /// Removes all images that no container holds, but for those of which one of the names is in `kept`.
    ///
    /// # Errors
    /// [`ImageError::BadReference`] names what in `kept` is none; and what the system says: what was removed by then stays
    /// removed.
    pub async fn prune(&self, kept: &[&str]) -> Result<Removed, ImageError> {
        let kept: Result<BTreeSet<String>, ImageError> = kept
            .iter()
            .map(|name| Ok(Reference::parse(name)?.to_string()))
            .collect();
        let (inner, kept) = (self.0.clone(), kept?);
        let pruned = spawn_blocking(move || inner.prune(&kept)).await;
        pruned
            .map_err(broken)?
            .map_err(|error| ImageError::io("of any name", "images cannot be removed", error))
    }

    /// Removes a reference, and the image with its last one; with a digest, the image and all references to it.
    ///
    /// # Errors
    /// [`ImageError::Unknown`]; [`ImageError::InUse`] when a container holds what would go.
    pub async fn remove(&self, reference_or_digest: &str) -> Result<Removed, ImageError> {
        let (inner, name) = (self.0.clone(), reference_or_digest.to_owned());
        spawn_blocking(move || inner.remove(&name))
            .await
            .map_err(broken)?
    }
}

impl Inner {
    fn collect(&self, now: Timestamp) -> io::Result<Removed> {
        let mut removed = Removed::default();
        let _disk = self.disk();
        self.sweep(&mut removed)?;
        loop {
            let doomed = self
                .state()
                .oldest_unused()
                .map(|(used, digest)| (now.since(used), digest.to_owned()));
            let Some((unused_for, digest)) = doomed else {
                return Ok(removed);
            };
            let is_old = unused_for >= self.options.max_age;
            if !is_old && (unused_for < KEPT_WHEN_FULL || !self.is_disk_full()?) {
                return Ok(removed);
            }
            info!(digest, is_old, "image is removed");
            self.drop_image(&digest, &mut removed)?;
        }
    }

    fn prune(&self, kept: &BTreeSet<String>) -> io::Result<Removed> {
        let mut removed = Removed::default();
        let _disk = self.disk();
        let all: Vec<String> = self.state().images.keys().cloned().collect();
        for digest in all {
            let names = self.state().names_of(&digest);
            if !names.iter().any(|name| kept.contains(name)) {
                self.drop_image(&digest, &mut removed)?;
            }
        }
        self.sweep(&mut removed)?;
        Ok(removed)
    }

    fn is_disk_full(&self) -> io::Result<bool> {
        let space = sandbox::space(self.store.root())?;
        let bound = u128::from(space.total_bytes) * u128::from(self.options.high_water_percent);
        Ok(u128::from(space.used_bytes) * 100 > bound)
    }

    fn remove(&self, name: &str) -> Result<Removed, ImageError> {
        let failed = |error| ImageError::io(name, format!("image {name} cannot be removed"), error);
        let _disk = self.disk();
        let mut removed = Removed::default();
        // A digest is taken as it is; anything else in its full form.
        let name = match self.state().images.contains_key(name) {
            true => name.to_owned(),
            false => Reference::parse(name)?.to_string(),
        };
        let (digest, names) = {
            let state = self.state();
            let Some(kept) = state.find(&name) else {
                return Err(ImageError::Unknown { image: name });
            };
            let digest = kept.record.digest.clone();
            let names = state.names_of(&digest);
            (digest, names)
        };
        if digest != name && names.len() > 1 {
            self.state().names.remove(&name);
            self.store.remove_name(&name).map_err(failed)?;
            removed.names.push(name);
            return Ok(removed);
        }
        let holder = self.state().holders(&digest).next().cloned();
        if let Some(container) = holder {
            return Err(ImageError::InUse {
                image: name,
                container: container.to_string(),
            });
        }
        self.drop_image(&digest, &mut removed).map_err(failed)?;
        Ok(removed)
    }

    /// Removes an image, its names and the layers that nobody else has; unless somebody has taken it meanwhile.
    fn drop_image(&self, digest: &str, removed: &mut Removed) -> io::Result<()> {
        let names = {
            let mut state = self.state();
            if state.holders(digest).next().is_some() {
                return Ok(());
            }
            let names = state.names_of(digest);
            state.names.retain(|_, meant| meant != digest);
            state.images.remove(digest);
            names
        };
        for name in &names {
            self.store.remove_name(name)?;
        }
        self.store.remove_image(digest)?;
        removed.names.extend(names);
        removed.images.push(digest.to_owned());
        self.sweep(removed)
    }

    /// Removes layers that no image has and no pull needs.
    fn sweep(&self, removed: &mut Removed) -> io::Result<()> {
        let mut aside: Vec<Temporary> = Vec::new();
        {
            // Within the lock: a pull that wants one of them from now on finds its place free.
            let mut state = self.state();
            for layer in state.orphans() {
                aside.push(self.store.retire_layer(&layer)?);
                removed.bytes += state.layers.remove(&layer).map_or(0, |gone| gone.bytes);
            }
        }
        // Deleting takes its time, and happens without the lock.
        drop(aside);
        Ok(())
    }
}
