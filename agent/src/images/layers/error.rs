//! Why a layer cannot be unpacked, before anybody knows of which image it is.

use std::io;

use crate::images::error::ImageError;
use crate::tarball::ArchiveError;

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(in crate::images) enum LayerError {
    /// An entry that may not be.
    #[error("{entry:?}: {why}")]
    Bad {
        /// Its path.
        entry: String,
        /// What is wrong.
        why: String,
    },
    /// More than its bound.
    #[error("it has more than {bound} {unit}")]
    TooLarge {
        /// The bound.
        bound: u64,
        /// Of what.
        unit: &'static str,
    },
    /// It is not the layer that it should be.
    #[error("it should be {wanted}, but is {got}")]
    Mismatch {
        /// The digest that the image says.
        wanted: String,
        /// The digest that it has.
        got: String,
    },
    /// Nobody wants it any more.
    #[error("given up")]
    GivenUp,
    /// The system refuses.
    #[error(transparent)]
    Io(io::Error),
}

/// Why a stream of a layer ends early; inside an [`io::Error`] on its way through the readers.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// It has more bytes than its bound.
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    /// Nobody wants it any more.
    #[error("given up")]
    GivenUp,
}

impl From<io::Error> for LayerError {
    fn from(error: io::Error) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Stop>())
        {
            Some(Stop::TooLarge(bound)) => Self::TooLarge {
                bound: *bound,
                unit: "bytes",
            },
            Some(Stop::GivenUp) => Self::GivenUp,
            None => Self::Io(error),
        }
    }
}

impl From<ArchiveError> for LayerError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Bad { entry, why } => Self::Bad {
                entry,
                why: why.to_owned(),
            },
            ArchiveError::Io(error) => error.into(),
        }
    }
}

impl LayerError {
    /// The error of an image whose layer this is.
    pub(in crate::images) fn of(self, image: &str, layer: &str) -> ImageError {
        let (image, layer) = (image.to_owned(), layer.to_owned());
        match self {
            Self::Bad { entry, why } => ImageError::BadLayer {
                image,
                layer,
                entry,
                why,
            },
            Self::TooLarge { bound, unit } => ImageError::TooLarge {
                image,
                what: layer,
                bound,
                unit,
            },
            Self::Mismatch { wanted, got } => ImageError::DigestMismatch {
                image,
                what: layer,
                wanted,
                got,
            },
            Self::GivenUp => ImageError::GivenUp { image },
            // What decompressors say of bytes that are none of theirs.
            Self::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidInput
                        | io::ErrorKind::InvalidData
                        | io::ErrorKind::UnexpectedEof
                ) =>
            {
                ImageError::Malformed {
                    image,
                    what: layer,
                    why: error.to_string(),
                }
            }
            Self::Io(error) => {
                let doing = format!("{layer} of image {image} cannot be unpacked");
                ImageError::io(&image, doing, error)
            }
        }
    }
}
