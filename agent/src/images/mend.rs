//! What the layers of an image mean together and none of them says alone: one more layer on top, where they need it.
//!
//! It is a layer like the others, kept, shared and removed as they are. Its digest is that of the digests below it:
//! images with the same layers have the same. See [`parents`](super::layers) for what is in it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use tokio_util::sync::CancellationToken;

use super::Inner;
use super::digest::{Digest, Hasher};
use super::error::ImageError;
use super::layers::{self, Told};
use super::state::Layer;
use super::store::ImageRecord;

/// What the digest begins with: no layer is called by the same.
const MEANT: &[u8] = b"mete: directories as the layers below have them\n";

/// The digests of layers, and of what may come on top of them.
pub(super) fn with_mended(layers: &[Digest]) -> Vec<String> {
    let mut all: Vec<String> = layers.iter().map(ToString::to_string).collect();
    all.push(mended(&all).to_string());
    all
}

fn mended(layers: &[String]) -> Digest {
    let mut hasher = Hasher::sha256();
    hasher.update(MEANT);
    for layer in layers {
        hasher.update(layer.as_bytes());
        hasher.update(b"\n");
    }
    hasher.finish()
}

/// Most bytes of names of directories that the layers of an image imply together: far more than those of any that is meant.
const MAX_IMPLIED_BYTES: u64 = 16 << 20;

impl Inner {
    /// Adds the layer that an image needs on top of its own, which are here and pinned, if it needs any. Blocks.
    ///
    /// # Errors
    /// What the system says; a pull that nobody waits for any more.
    pub(super) fn mend(
        &self,
        mut record: ImageRecord,
        image: &str,
        cancel: &CancellationToken,
    ) -> Result<ImageRecord, ImageError> {
        let doing = || format!("layers of image {image} cannot be joined");
        let failed = |error| ImageError::io(image, doing(), error);
        let mut all = Vec::with_capacity(record.layers.len());
        let mut bytes = 0;
        for layer in &record.layers {
            let implied = self.store.implied(layer).map_err(failed)?;
            let names = implied.iter().map(|path| path.as_os_str().len() as u64);
            bytes += names.sum::<u64>();
            if bytes > MAX_IMPLIED_BYTES {
                return Err(ImageError::TooLarge {
                    image: image.to_owned(),
                    what: "what its layers are together".to_owned(),
                    bound: MAX_IMPLIED_BYTES,
                    unit: "bytes in names of directories without an entry",
                });
            }
            let place = self.store.layer(layer);
            all.push(Told { place, implied });
        }
        if all.iter().skip(1).all(|layer| layer.implied.is_empty()) {
            return Ok(record);
        }
        let digest = mended(&record.layers).to_string();
        let lock = self.state().making(&digest);
        let _making = lock.blocking_lock();
        let is_there = self.state().layers.contains_key(&digest);
        if !is_there {
            let tree = self.store.temporary();
            DirBuilder::new()
                .mode(0o755)
                .create(tree.path())
                .map_err(failed)?;
            let form = self.store.form();
            let is_any = layers::mend(&all, tree.path(), form, cancel)
                .map_err(|error| error.of(image, "what its layers are together"))?;
            if !is_any {
                return Ok(record);
            }
            let mut state = self.state();
            if !state.layers.contains_key(&digest) {
                let nothing = Default::default();
                self.store
                    .add_layer(&tree, &digest, &nothing)
                    .map_err(failed)?;
                // Directories and names of what others have: next to nothing.
                let (bytes, is_sealed) = (0, false);
                state
                    .layers
                    .insert(digest.clone(), Layer { bytes, is_sealed });
            }
        }
        record.layers.push(digest);
        Ok(record)
    }
}
