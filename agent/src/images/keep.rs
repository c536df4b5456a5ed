//! Whole images become known: layers are sealed, the image and its name written down, and who waits holds it.
//!
//! What a pull or an import needs is pinned until then, so that nothing is removed between two of its steps.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_daemon::clock;
use mete_model::ContainerId;
use tokio::task::spawn_blocking;

use super::error::ImageError;
use super::state::Kept;
use super::store::ImageRecord;
use super::{Inner, broken};

/// Layers that stay while it lives.
pub(super) struct Pins {
    inner: Arc<Inner>,
    layers: Vec<String>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.inner.state().unpin(&self.layers);
    }
}

impl Inner {
    /// The record of an image that is here, whose layers stay as long as the second part lives.
    pub(super) fn known(self: &Arc<Self>, digest: &str) -> Option<(ImageRecord, Pins)> {
        let record = self.state().images.get(digest)?.record.clone();
        let pins = self.pin(record.layers.clone());
        // It may have gone before its layers were pinned.
        let is_there = self.state().images.contains_key(digest);
        is_there.then_some((record, pins))
    }

    pub(super) fn pin(self: &Arc<Self>, layers: Vec<String>) -> Pins {
        self.state().pin(&layers);
        Pins {
            inner: Arc::clone(self),
            layers,
        }
    }

    /// Keeps an image whose layers are here and pinned, under a name; whoever waits for the name holds it from now on.
    /// Its digest.
    pub(super) async fn keep(
        self: &Arc<Self>,
        record: ImageRecord,
        name: Option<String>,
        pins: Pins,
    ) -> Result<String, ImageError> {
        let inner = Arc::clone(self);
        let kept = spawn_blocking(move || {
            // They stay until it is done, also when nobody waits for that any more.
            let _pins = pins;
            inner.keep_now(record, name.as_deref())
        })
        .await;
        kept.map_err(broken)?
    }

    /// As [`Self::keep`]. Blocks.
    pub(super) fn keep_now(
        &self,
        record: ImageRecord,
        name: Option<&str>,
    ) -> Result<String, ImageError> {
        let digest = record.digest.clone();
        let image = name.unwrap_or(&digest);
        let failed = |error| ImageError::io(image, format!("image {image} cannot be kept"), error);
        let _disk = self.disk();
        let unsealed: Vec<(String, u64)> = {
            let state = self.state();
            let mine = record.layers.iter().collect::<BTreeSet<_>>().into_iter();
            mine.filter_map(|layer| Some((layer, state.layers.get(layer)?)))
                .filter(|(_, found)| !found.is_sealed)
                .map(|(layer, found)| (layer.clone(), found.bytes))
                .collect()
        };
        self.store.seal(&unsealed).map_err(failed)?;
        self.store.add_image(&record).map_err(failed)?;
        if let Some(name) = name {
            self.store.add_name(name, &digest).map_err(failed)?;
        }
        let mut state = self.state();
        for (layer, _) in &unsealed {
            if let Some(found) = state.layers.get_mut(layer) {
                found.is_sealed = true;
            }
        }
        let used = clock::now();
        state.images.insert(digest.clone(), Kept { record, used });
        if let Some(name) = name {
            state.names.insert(name.to_owned(), digest.clone());
            let waits = |(container, wanted): (&ContainerId, &String)| {
                (wanted == name).then(|| container.clone())
            };
            let containers: Vec<ContainerId> = state.waiting.iter().filter_map(waits).collect();
            for container in containers {
                state.waiting.remove(&container);
                state.hold(container, digest.clone());
            }
        }
        Ok(digest)
    }
}
