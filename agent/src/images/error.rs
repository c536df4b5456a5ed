//! Why an image cannot be had: each error names the image, and the registry or the part of it that is at fault.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::sandbox;

/// Why an image cannot be pulled, imported, listed or removed. Shared by all who wait for the same pull, hence `Clone`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ImageError {
    /// The text is no reference.
    #[error("{text:?} is not the name of an image: {why}")]
    BadReference {
        /// Its beginning.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The registry does not have it.
    #[error("image {image}: {registry} has no {what}")]
    NotFound {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// The image itself, or the part that is missing.
        what: String,
    },
    /// The registry wants to know who asks.
    #[error("image {image}: {registry} wants a login: {why}")]
    Unauthorized {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// Whether there was a login, and what became of it.
        why: String,
    },
    /// The registry knows who asks, and says no.
    #[error("image {image}: {registry} denies access{says}")]
    Denied {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// What the registry says, after a colon.
        says: String,
    },
    /// The registry answers something else than what was asked for.
    #[error("image {image}: {registry} answered {status}{says}")]
    Refused {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What the registry says, after a colon.
        says: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The registry does not answer, or not on.
    #[error("image {image}: {registry} was too slow: {what}")]
    Timeout {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// What did not come in which time.
        what: String,
    },
    /// No connection, or one that broke.
    #[error("image {image}: {registry} cannot be reached: {why}")]
    Unreachable {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// What the network says.
        why: String,
    },
    /// The registry leads to where we do not go.
    #[error("image {image}: {registry} leads to {to}: {why}")]
    Astray {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// Where to.
        to: String,
        /// Why not.
        why: &'static str,
    },
    /// Content is not what it is called by.
    #[error("image {image}: {what} should be {wanted}, but is {got}")]
    DigestMismatch {
        /// Which image.
        image: String,
        /// Which part.
        what: String,
        /// The digest it is called by.
        wanted: String,
        /// The digest it has.
        got: String,
    },
    /// More than its bound.
    #[error("image {image}: {what} has more than {bound} {unit}")]
    TooLarge {
        /// Which image.
        image: String,
        /// Which part.
        what: String,
        /// The bound.
        bound: u64,
        /// Of what.
        unit: &'static str,
    },
    /// A manifest, a configuration or an archive that does not read.
    #[error("image {image}: {what} does not read: {why}")]
    Malformed {
        /// Which image.
        image: String,
        /// Which part.
        what: String,
        /// Why not.
        why: String,
    },
    /// It reads, but is nothing that we can run.
    #[error("image {image}: {what} is not carried")]
    NotCarried {
        /// Which image.
        image: String,
        /// What.
        what: String,
    },
    /// Not made for machines like this one.
    #[error("image {image}: there is none for {wanted}, only for {has}")]
    NoPlatform {
        /// Which image.
        image: String,
        /// This machine's platform.
        wanted: String,
        /// The platforms there are.
        has: String,
    },
    /// A layer that may not be unpacked.
    #[error("image {image}: {layer}: entry {entry:?}: {why}")]
    BadLayer {
        /// Which image.
        image: String,
        /// Which layer.
        layer: String,
        /// The path in it.
        entry: String,
        /// What is wrong.
        why: String,
    },
    /// The disk of the images is full.
    #[error("image {image}: the disk is full")]
    DiskFull {
        /// Which image.
        image: String,
    },
    /// The file with logins does not read. Its content is never shown.
    #[error("the logins in {} do not read: {why}", path.display())]
    Credentials {
        /// Which file.
        path: PathBuf,
        /// Where in it, or what the system says.
        why: String,
    },
    /// The login that a task brings does not read. Its content is never shown.
    #[error("the login that the task has for its image does not read: {why}")]
    OwnCredentials {
        /// Where in it.
        why: String,
    },
    /// The login is kept by a program that is not run.
    #[error(
        "image {image}: the login for {registry} is kept by the helper {helper}, which an agent does not run; put it under \"auths\""
    )]
    Helper {
        /// Which image.
        image: String,
        /// Which registry.
        registry: String,
        /// Which helper.
        helper: String,
    },
    /// There is no such image here.
    #[error("there is no image {image} here")]
    Unknown {
        /// What was asked for.
        image: String,
    },
    /// It is held by a container.
    #[error("image {image} is in use by container {container}")]
    InUse {
        /// Which image.
        image: String,
        /// One of those who hold it.
        container: String,
    },
    /// Nobody waits for it any more.
    #[error("image {image}: given up, nobody waits for it")]
    GivenUp {
        /// Which image.
        image: String,
    },
    /// The system refuses.
    #[error("{doing}: {said}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system says.
        said: Arc<io::Error>,
    },
}

impl ImageError {
    /// What the system says; a full disk gets its own word.
    pub(super) fn io(image: &str, doing: impl Into<String>, source: io::Error) -> Self {
        if sandbox::is_full(&source) {
            return Self::DiskFull {
                image: image.to_owned(),
            };
        }
        Self::Io {
            doing: doing.into(),
            said: Arc::new(source),
        }
    }

    /// How long the registry wants to be left alone.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        if let Self::Refused { retry_after, .. } = self {
            return *retry_after;
        }
        None
    }

    /// Whether the same may succeed a moment later: the network, a busy registry.
    pub(super) const fn is_passing(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            Self::BadReference { .. }
            | Self::NotFound { .. }
            | Self::Unauthorized { .. }
            | Self::Denied { .. }
            | Self::Astray { .. }
            | Self::DigestMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Malformed { .. }
            | Self::NotCarried { .. }
            | Self::NoPlatform { .. }
            | Self::BadLayer { .. }
            | Self::DiskFull { .. }
            | Self::Credentials { .. }
            | Self::OwnCredentials { .. }
            | Self::Helper { .. }
            | Self::Unknown { .. }
            | Self::InUse { .. }
            | Self::GivenUp { .. }
            | Self::Io { .. } => false,
        }
    }
}
