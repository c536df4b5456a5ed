//! Files of an image on disk, by their names in it: in a directory, or within a tar.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::images::error::ImageError;
use crate::tarball::{Archive, Kind};

/// Most files of an archive: all images with all layers, in any of the forms.
const MAX_FILES: usize = 100_000;
/// Bytes read at once.
const READ_BYTES: usize = 128 << 10;

/// How archives begin that are packed as a whole, and with what.
const PACKINGS: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (b"BZh", "bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
];

/// Where files come from.
pub(super) enum Source {
    Directory(OwnedFd),
    Archive {
        file: File,
        /// Begin and size of each file.
        files: BTreeMap<PathBuf, (u64, u64)>,
    },
}

impl Source {
    /// Opens what errors call `archive`.
    pub(super) fn open(path: &Path, archive: &str) -> Result<Self, ImageError> {
        let failed = |error| ImageError::io(archive, archive, error);
        let file = File::open(path).map_err(failed)?;
        let kind = file.metadata().map_err(failed)?;
        if kind.is_dir() {
            return Ok(Self::Directory(file.into()));
        }
        if !kind.is_file() {
            return Err(failed(io::Error::other(
                "it is neither a file nor a directory",
            )));
        }
        let malformed = |why| ImageError::Malformed {
            image: archive.to_owned(),
            what: "the archive".to_owned(),
            why,
        };
        if let Some(packing) = packing(&file).map_err(failed)? {
            let why = format!("it is packed with {packing}: unpack it first");
            return Err(malformed(why));
        }
        let files = index(&file).map_err(malformed)?;
        Ok(Self::Archive { file, files })
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.file(path).is_ok()
    }

    pub(super) fn file(&self, path: &str) -> io::Result<Box<dyn Read + '_>> {
        match self {
            Self::Directory(directory) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let how =
                    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
                let opened = openat2(directory, path, flags, Mode::empty(), how)?;
                Ok(Box::new(File::from(opened)))
            }
            Self::Archive { file, files } => {
                let path: PathBuf = normal(Path::new(path));
                let (begin, size) = files
                    .get(&path)
                    .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let mut file = file;
                file.seek(SeekFrom::Start(*begin))?;
                Ok(Box::new(
                    BufReader::with_capacity(READ_BYTES, file).take(*size),
                ))
            }
        }
    }
}

/// What a whole archive is packed with, so that nothing can be read in place.
fn packing(file: &File) -> io::Result<Option<&'static str>> {
    let mut begin = [0; 6];
    let read = file.read_at(&mut begin, 0)?;
    let begin = begin.get(..read).unwrap_or_default();
    let found = PACKINGS.iter().find(|(magic, _)| begin.starts_with(magic));
    Ok(found.map(|(_, name)| *name))
}

/// Where the files of an archive lie. Links among them, which `docker save` wrote for layers that several images
/// share, count as what they lead to.
fn index(file: &File) -> Result<BTreeMap<PathBuf, (u64, u64)>, String> {
    let mut files = BTreeMap::new();
    let mut links = Vec::new();
    let mut archive = Archive::new(BufReader::with_capacity(READ_BYTES, file));
    while let Some(entry) = archive.next().map_err(|error| error.to_string())? {
        if files.len() + links.len() >= MAX_FILES {
            return Err(format!("it has more than {MAX_FILES} files"));
        }
        let path = normal(&entry.path);
        match entry.kind {
            Kind::File => {
                files.insert(path, (archive.position(), entry.size));
            }
            Kind::HardLink(to) => links.push((path, normal(&to))),
            Kind::Symlink(to) => {
                let from = path.parent().unwrap_or_else(|| Path::new(""));
                links.push((path.clone(), normal(&from.join(to))));
            }
            Kind::Directory | Kind::Fifo | Kind::Device => {}
        }
    }
    for (path, to) in links {
        if let Some(place) = files.get(&to).copied() {
            files.insert(path, place);
        }
    }
    Ok(files)
}

/// A path as a key: without `.`, and with `..` taken back. Nothing is opened by it.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path {
        match part.to_str() {
            Some("." | "/") => {}
            Some("..") => {
                normal.pop();
            }
            Some(_) | None => normal.push(part),
        }
    }
    normal
}
