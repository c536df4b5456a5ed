//! Images that the engine brings.

use std::path::Path;
use std::time::Duration;

use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use mete_model::container::Pull;

use super::engine::Engine;
use crate::containerizer::image::Tell;

/// How long the engine may say nothing while it pulls: unpacking a layer of some GiB takes minutes.
const SILENCE: Duration = Duration::from_secs(600);

/// Brings an image, unless it is there and may be old.
pub(super) async fn pull(
    socket: &Path,
    reference: &str,
    pull: Pull,
    tell: &Tell,
) -> Result<(), String> {
    let failed = |why: &dyn std::error::Error| {
        let cause = why
            .source()
            .map_or_else(String::new, |it| format!(": {it}"));
        format!("image {reference:?}: {why}{cause}")
    };
    let engine = Engine::connect(socket).await;
    let engine = engine.map_err(|error| failed(&error))?;
    if pull == Pull::IfMissing {
        match engine.call(engine.docker.inspect_image(reference)).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    let options = CreateImageOptionsBuilder::new()
        .from_image(&tagged(reference))
        .build();
    let mut words = std::pin::pin!(engine.docker.create_image(Some(options), None, None));
    loop {
        match tokio::time::timeout(SILENCE, words.next()).await {
            Ok(Some(Ok(word))) => tell(format!("image {reference}: {}", sentence(&word))),
            Ok(Some(Err(error))) => return Err(failed(&engine.error(error))),
            Ok(None) => return Ok(()),
            Err(_) => {
                let seconds = SILENCE.as_secs();
                return Err(format!(
                    "image {reference:?}: the Docker Engine has said nothing for {seconds} s"
                ));
            }
        }
    }
}

/// With a tag: without one the engine pulls them all.
fn tagged(reference: &str) -> String {
    let name = reference.rsplit('/').next().unwrap_or(reference);
    match name.contains([':', '@']) {
        true => reference.to_owned(),
        false => format!("{reference}:latest"),
    }
}

fn sentence(word: &CreateImageInfo) -> String {
    let layer = word
        .id
        .as_ref()
        .map_or_else(String::new, |id| format!("{id} "));
    let status = word.status.as_deref().unwrap_or("pulling").to_lowercase();
    let far = word.progress_detail.as_ref();
    let far = far.and_then(|far| Some((far.current?, far.total?)));
    let far = far.map_or_else(String::new, |(now, all)| format!(" {now} of {all} bytes"));
    format!("{layer}{status}{far}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_is_pulled() {
        assert_eq!(tagged("busybox"), "busybox:latest");
        assert_eq!(tagged("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(tagged("a/b:1"), "a/b:1");
        assert_eq!(tagged("a@sha256:00"), "a@sha256:00");
    }
}
