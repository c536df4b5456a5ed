//! What the agent knows of its images while it runs: who holds what, what is being made.
//!
//! ```text
//! image    known ──held by containers──▶ in use ──▶ known ──old, or the disk is full──▶ gone
//! layer    being made (one at a time) ─▶ there, of no image yet (pinned by its pull) ─▶ of images ─▶ gone
//! ```
//! Invariants: an image that a container holds is not removed; a layer goes only when no image has it and no pull has
//! pinned it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use mete_model::{ContainerId, Timestamp};
use tokio::sync::Mutex;

use super::pull::Job;
use super::store::{Found, ImageRecord};

/// One image.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) record: ImageRecord,
    /// When it was last held by anybody, or came.
    pub(super) used: Timestamp,
}

/// One unpacked layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub(super) bytes: u64,
    /// Whether it survives a power cut.
    pub(super) is_sealed: bool,
}

/// All of it, behind one lock that is held for moments.
#[derive(Default)]
pub(super) struct State {
    /// By digest.
    pub(super) images: BTreeMap<String, Kept>,
    /// Digests by reference.
    pub(super) names: BTreeMap<String, String>,
    /// By digest of the unpacked layer.
    pub(super) layers: BTreeMap<String, Layer>,
    /// Which images a container holds.
    pub(super) holds: BTreeMap<ContainerId, BTreeSet<String>>,
    /// Which reference a container waits for.
    pub(super) waiting: BTreeMap<ContainerId, String>,
    /// Layers that pulls need, and how many of them.
    pub(super) pins: BTreeMap<String, usize>,
    /// Pulls under way, by reference; they live as long as somebody waits.
    pub(super) jobs: BTreeMap<String, Weak<Job>>,
    /// Layers that are being made.
    making: BTreeMap<String, Weak<Mutex<()>>>,
}

impl State {
    pub(super) fn new(found: Found) -> Self {
        let kept = |(digest, (record, used))| (digest, Kept { record, used });
        let layer = |(digest, bytes)| {
            let is_sealed = true;
            (digest, Layer { bytes, is_sealed })
        };
        Self {
            images: found.images.into_iter().map(kept).collect(),
            names: found.names,
            layers: found.layers.into_iter().map(layer).collect(),
            ..Self::default()
        }
    }

    /// The image that a reference, or a digest, means.
    pub(super) fn find(&self, name: &str) -> Option<&Kept> {
        let digest = self.names.get(name).map_or(name, String::as_str);
        self.images.get(digest)
    }

    /// All references that mean an image.
    pub(super) fn names_of(&self, digest: &str) -> Vec<String> {
        let mine = self.names.iter().filter(|(_, meant)| *meant == digest);
        mine.map(|(name, _)| name.clone()).collect()
    }

    /// A container holds an image, too.
    pub(super) fn hold(&mut self, container: ContainerId, digest: String) {
        self.holds.entry(container).or_default().insert(digest);
    }

    /// The containers that hold an image.
    pub(super) fn holders<'a>(&'a self, digest: &'a str) -> impl Iterator<Item = &'a ContainerId> {
        let mine = move |(_, held): &(&ContainerId, &BTreeSet<String>)| held.contains(digest);
        self.holds
            .iter()
            .filter(mine)
            .map(|(container, _)| container)
    }

    /// The lock of a layer that is to be made: whoever has it makes the layer, the others find it done.
    pub(super) fn making(&mut self, diff_id: &str) -> Arc<Mutex<()>> {
        if let Some(lock) = self.making.get(diff_id).and_then(Weak::upgrade) {
            return lock;
        }
        self.making.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Mutex::new(()));
        self.making
            .insert(diff_id.to_owned(), Arc::downgrade(&lock));
        lock
    }

    /// Keeps layers from being removed.
    pub(super) fn pin(&mut self, layers: &[String]) {
        for layer in layers {
            *self.pins.entry(layer.clone()).or_default() += 1;
        }
    }

    /// The opposite.
    pub(super) fn unpin(&mut self, layers: &[String]) {
        for layer in layers {
            if let Some(count) = self.pins.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    self.pins.remove(layer);
                }
            }
        }
    }

    /// The unused image that was used longest ago; the digest decides between equals.
    pub(super) fn oldest_unused(&self) -> Option<(Timestamp, &str)> {
        let held: BTreeSet<&str> = self.holds.values().flatten().map(String::as_str).collect();
        let unused = self
            .images
            .iter()
            .filter(|(digest, _)| !held.contains(digest.as_str()));
        unused
            .map(|(digest, kept)| (kept.used, digest.as_str()))
            .min()
    }

    /// Layers that no image has and no pull needs.
    pub(super) fn orphans(&self) -> Vec<String> {
        let needed: BTreeSet<&String> = self
            .images
            .values()
            .flat_map(|kept| &kept.record.layers)
            .chain(self.pins.keys())
            .collect();
        let orphan = |layer: &&String| !needed.contains(layer);
        self.layers.keys().filter(orphan).cloned().collect()
    }

    /// Bytes of some layers, each once.
    pub(super) fn bytes(&self, layers: &[String]) -> u64 {
        let once: BTreeSet<&String> = layers.iter().collect();
        once.into_iter()
            .filter_map(|layer| self.layers.get(layer))
            .map(|layer| layer.bytes)
            .sum()
    }
}
