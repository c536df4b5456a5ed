//! An image as containers need it, and who gives it.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use mete_model::ContainerId;
pub use mete_model::container::Pull;
use mete_model::container::SecretValue;

pub use crate::images::Image;
use crate::images::{Images, Progress};

/// Hears how far something is, in words for people.
pub type Tell = Arc<dyn Fn(String) + Send + Sync>;

/// Gives an image by its reference, for one container, and tells how far it is; the error is a sentence. A login is a Docker
/// `config.json`; without one it is pulled by the agent's.
pub type ImageSource = Arc<
    dyn Fn(
            &str,
            Pull,
            Option<SecretValue>,
            &ContainerId,
            Tell,
        ) -> BoxFuture<'static, Result<Image, String>>
        + Send
        + Sync,
>;

/// Those of an agent's own store, pulled when they are not there.
pub fn of(images: Images) -> ImageSource {
    Arc::new(move |reference, pull, login, container, tell| {
        let (images, reference) = (images.clone(), reference.to_owned());
        let name = reference.clone();
        let container = container.clone();
        let provided = async move {
            let progress = move |far: Progress| tell(format!("image {reference}: {far}"));
            let image = images
                .provide_by(login, &name, pull, &container, progress)
                .await;
            image.map_err(|error| error.to_string())
        };
        provided.boxed()
    })
}
