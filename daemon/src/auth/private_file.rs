//! Files with secrets: only their owner may read and write them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Why a file with secrets cannot be used. Says nothing of what it holds.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("{} has mode {mode:o}: only its owner may read and write it (chmod 600)", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is some other file.
    #[error("{} is larger than {most_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it may be.
        most_bytes: u64,
    },
}

/// What a file holds that nobody but its owner may touch.
///
/// # Errors
/// When others may, when it is larger than `most_bytes`, or cannot be read.
pub fn read(path: &Path, most_bytes: u64) -> Result<String, PrivateFileError> {
    let unreadable = |source| PrivateFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(PrivateFileError::Mode { path, mode });
    }
    let mut text = String::new();
    let mut bounded = file.take(most_bytes.saturating_add(1));
    bounded.read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > most_bytes {
        let path = path.to_owned();
        return Err(PrivateFileError::TooLarge { path, most_bytes });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn what_others_may_touch_or_is_too_large_is_not_read() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "secret").expect("written");
        let with = |mode, most| {
            fs::set_permissions(file.path(), Permissions::from_mode(mode)).expect("set");
            read(file.path(), most).map_err(|error| error.to_string())
        };

        assert_eq!(with(0o600, 6), Ok("secret".to_owned()));
        for (mode, most, words) in [
            (0o640, 6, "mode 640"),
            (0o602, 6, "mode 602"),
            (0o600, 5, "larger than 5 bytes"),
        ] {
            let error = with(mode, most).expect_err("refused");
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
