//! A container until its image is here: it does not hold it yet, and nothing is left of that when it goes.

use std::sync::Arc;

use mete_model::ContainerId;

use super::error::ImageError;
use super::{Image, Inner};

/// A container that waits for an image. Dropped before its end, it holds no more than before.
pub(super) struct Waiting {
    inner: Arc<Inner>,
    container: ContainerId,
    pub(super) image: String,
    is_over: bool,
}

impl Waiting {
    pub(super) fn begin(inner: &Arc<Inner>, container: &ContainerId, image: String) -> Self {
        let mut state = inner.state();
        state.waiting.insert(container.clone(), image.clone());
        drop(state);
        Self {
            inner: Arc::clone(inner),
            container: container.clone(),
            image,
            is_over: false,
        }
    }

    pub(super) fn end(&mut self, digest: &str) -> Result<Image, ImageError> {
        let mut state = self.inner.state();
        state.waiting.remove(&self.container);
        let Some(kept) = state.images.get(digest) else {
            // Removed by an operator between the two: whoever joined a pull at its very end may see it.
            let image = self.image.clone();
            return Err(ImageError::Unknown { image });
        };
        let image = self.inner.image(&kept.record);
        state.hold(self.container.clone(), digest.to_owned());
        self.is_over = true;
        Ok(image)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.inner.state();
            state.waiting.remove(&self.container);
        }
    }
}
