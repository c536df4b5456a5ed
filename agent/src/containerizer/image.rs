//! An image as containers need it, and who gives it.

use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use mete_agent_core::image::ImageConfig;
use mete_model::ContainerId;
use mete_model::container::Pull;

/// An image on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Directories with what each layer holds, lowest first; at least one. Nobody writes into them.
    pub layers: Vec<PathBuf>,
    /// What it says of its program.
    pub config: ImageConfig,
}

/// Gives an image by its reference, for one container; the error is a sentence.
pub type ImageSource = Arc<
    dyn Fn(&str, Pull, &ContainerId) -> BoxFuture<'static, Result<Image, String>> + Send + Sync,
>;

/// The source of an agent that has none.
pub fn no_images() -> ImageSource {
    Arc::new(|reference, _, _| {
        let why = format!("image {reference:?} cannot be had: this agent has no images");
        futures::future::ready(Err(why)).boxed()
    })
}
