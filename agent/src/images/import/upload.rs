//! Archives that come over the network: kept in the store until they have been read, and gone then.
//!
//! An upload rather than a path: so nobody who may speak to the agent can have files of its host read to him.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::time::timeout;

use super::Imported;
use crate::images::Images;
use crate::images::error::ImageError;

/// What errors call it.
const UPLOAD: &str = "in the upload";
/// Longest silence of who sends it.
const STALL: Duration = Duration::from_secs(60);
/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

impl Images {
    /// As [`Images::import_as`], for an archive that comes in pieces; it may have as many bytes as an image may unpack
    /// to.
    ///
    /// # Errors
    /// As [`Images::import_as`]; more bytes than that, silence, or an end before its time.
    pub async fn receive<E: Error>(
        &self,
        pieces: impl Stream<Item = Result<Bytes, E>>,
        name: Option<&str>,
    ) -> Result<Vec<Imported>, ImageError> {
        let failed = |error| ImageError::io(UPLOAD, "the upload cannot be kept", error);
        let broken = |why: String| ImageError::Malformed {
            image: UPLOAD.to_owned(),
            what: "the upload".to_owned(),
            why,
        };
        let bound = self.0.options.max_image_bytes;
        let kept = self.0.store.temporary();
        let file = File::create_new(kept.path()).await.map_err(failed)?;
        let mut file = BufWriter::with_capacity(WRITE_BYTES, file);
        let mut pieces = std::pin::pin!(pieces);
        let mut came: u64 = 0;
        while let Some(piece) = timeout(STALL, pieces.next())
            .await
            .map_err(|_| broken(format!("nothing came for {} s", STALL.as_secs())))?
        {
            let piece = piece.map_err(|error| broken(error.to_string()))?;
            came += piece.len() as u64;
            if came > bound {
                return Err(ImageError::TooLarge {
                    image: UPLOAD.to_owned(),
                    what: "the upload".to_owned(),
                    bound,
                    unit: "bytes",
                });
            }
            file.write_all(&piece).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        self.read(kept.path(), UPLOAD.to_owned(), name).await
    }
}
