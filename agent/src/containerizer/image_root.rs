//! How the layers of an image become the root of a container: put on top of one another by the kernel, or copied
//! together where it cannot do that.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mete_agent_core::task_dir::{Layers, Root, Source};

use super::image::Image;
use super::oci::{OciError, directory, text};
use crate::images::flatten;

/// What an operator may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ImageRootChoice {
    /// `overlay` where containers can be built with it, else `copy`.
    #[default]
    Auto,
    /// Overlayfs only.
    Overlay,
    /// A copy for each container.
    Copy,
}

/// What was found to work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageRoot {
    /// Layers are shared by all containers; each has its own on top.
    #[default]
    Overlay,
    /// Each container has all files for itself.
    Copy,
}

impl ImageRoot {
    /// The root of a container with `image`, below the directory `top`, which goes with its task. Blocks for as long as
    /// a copy takes.
    pub(super) fn of_container(self, image: &Image, top: &Path) -> Result<Root, OciError> {
        Ok(match self {
            Self::Overlay => Root::Layers(layers(image, top)?),
            Self::Copy => Root::Directory {
                path: copy(image, top)?,
            },
        })
    }

    /// The same for an image that is mounted somewhere in a container.
    pub(super) fn of_mount(self, image: &Image, top: &Path) -> Result<Source, OciError> {
        Ok(match self {
            Self::Overlay => Source::Layers {
                layers: layers(image, top)?,
                place: directory(top, "place", 0o700)?,
            },
            Self::Copy => Source::Copy {
                path: copy(image, top)?,
            },
        })
    }
}

/// The layers of an image, and what is written on top of them.
fn layers(image: &Image, top: &Path) -> Result<Layers, OciError> {
    let lower = image.layers.iter().map(|layer| text(layer));
    Ok(Layers {
        lower: lower.collect::<Result<_, _>>()?,
        // Its mode is that of the root inside, which everybody passes through.
        upper: directory(top, "upper", 0o755)?,
        work: directory(top, "work", 0o700)?,
    })
}

fn copy(image: &Image, top: &Path) -> Result<String, OciError> {
    let path = directory(top, "copy", 0o755)?;
    let place = Path::new(&path);
    flatten(&image.layers, place)?;
    // The lowest layer's own directory may be closed to others, and this is the root inside.
    let opened = fs::set_permissions(place, fs::Permissions::from_mode(0o755));
    opened.map_err(|source: io::Error| OciError::Io {
        path: place.to_owned(),
        source,
    })?;
    Ok(path)
}
